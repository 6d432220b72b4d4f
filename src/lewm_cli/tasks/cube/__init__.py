"""Cube: a robot arm and a block on a table (OGBench's scene as stable_worldmodel's `swm/OGBCube-v0`)."""

from functools import partial
from pathlib import Path

from lewm_cli.tasks.mujoco import prepare_mujoco
from lewm_cli.tasks.probe_target import Angle, ProbeTarget, Rotation
from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, Task, import_simulator

PREPARE = partial(prepare_mujoco, "cube", "ogbench")


def _place(name: str, column: str) -> tuple[ProbeTarget, ...]:
    return tuple(ProbeTarget(f"{name} {axis}", column, index, "m") for index, axis in enumerate("xyz"))


CUBE = Task(
    name="cube",
    folder=Path(__file__).parent,
    title="a robot arm and a block on a table",
    aliases=("ogb_cube", "ogbench/cube", "cube-single"),
    released_dataset="cube_single_expert",
    demonstrators={"expert": "scripted plan oracle of OGBench, noise 0.1"},
    start_columns=("qpos", "qvel"),
    goal_columns=("qpos", "qvel"),
    probe_targets=(
        *_place("block", "privileged_block_0_pos"),
        Rotation("block rotation", "privileged_block_0_quat", 0),
        Angle("block yaw", "privileged_block_0_yaw", 0),
        *_place("effector", "proprio_effector_pos"),
        Angle("effector yaw", "proprio_effector_yaw", 0),
        ProbeTarget("gripper opening", "proprio_gripper_opening", 0, ""),
        *(Angle(f"joint angle {joint + 1}", "proprio_joint_pos", joint) for joint in range(6)),
        *(
            ProbeTarget(f"joint velocity {joint + 1}", "proprio_joint_vel", joint, "rad/s", "recorded")
            for joint in range(6)
        ),
    ),
    perturbations=(
        Perturbation("teleport", "the block jumps to a random free place on the table", "cm"),
        Perturbation("color", "the block takes a random color", "RGB levels"),
        *EVERYWHERE,
    ),
    recognized_by=(("action", 5), ("qpos", 21), ("qvel", 20), ("privileged_block_0_pos", 3)),
    success_criteria=("simulator", "tight"),
    action_bounds=((-1.0, 1.0),) * 5,
    fps=20,
    # Bit for bit, by the same driver. A block recolored at random is 0.06 to 0.5 away, and 0.4 to 1.1 somewhere else.
    # But a driver that does not smooth edges is 0.5 to 1.1 away, and light dimmer by a twentieth 1.7.
    fidelity=Fidelity(alike=0.01, refused=1.5),
    prepare=PREPARE,
    make_simulator=partial(import_simulator, "lewm_cli.tasks.cube.simulator:CubeSimulator", PREPARE),
)
