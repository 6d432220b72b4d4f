"""Cube: a robot arm and a block on a table (OGBench's scene as stable_worldmodel's `swm/OGBCube-v0`)."""

from functools import partial
from pathlib import Path

from lewm_cli.tasks.mujoco import prepare_mujoco
from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, ProbeTarget, Task, import_simulator

PREPARE = partial(prepare_mujoco, "cube", "ogbench")


def _targets(name: str, column: str, dimensions: str | int, unit: str) -> tuple[ProbeTarget, ...]:
    """One target per dimension, which go by letters or by numbers from 1."""
    labels = dimensions if isinstance(dimensions, str) else [str(number + 1) for number in range(dimensions)]
    return tuple(ProbeTarget(f"{name} {label}", column, index, unit) for index, label in enumerate(labels))


CUBE = Task(
    name="cube",
    folder=Path(__file__).parent,
    title="a robot arm and a block on a table",
    aliases=("ogb_cube", "ogbench/cube", "cube-single"),
    released_dataset="cube_single_expert",
    demonstrator="scripted plan oracle of OGBench, noise 0.1",
    start_columns=("qpos", "qvel"),
    goal_columns=("qpos", "qvel"),
    probe_targets=(
        *_targets("block", "privileged_block_0_pos", "xyz", "m"),
        *_targets("block quaternion", "privileged_block_0_quat", "wxyz", ""),
        ProbeTarget("block yaw", "privileged_block_0_yaw", 0, "rad"),
        *_targets("effector", "proprio_effector_pos", "xyz", "m"),
        ProbeTarget("effector yaw", "proprio_effector_yaw", 0, "rad"),
        ProbeTarget("gripper opening", "proprio_gripper_opening", 0, ""),
        *_targets("joint angle", "proprio_joint_pos", 6, "rad"),
        *_targets("joint velocity", "proprio_joint_vel", 6, "rad/s"),
    ),
    perturbations=(
        Perturbation("teleport", "the block jumps to a random free place on the table", "cm"),
        Perturbation("color", "the block takes a random color", "RGB levels"),
        *EVERYWHERE,
    ),
    recognized_by=(("action", 5), ("qpos", 21), ("qvel", 20), ("privileged_block_0_pos", 3)),
    success_criteria=("simulator", "tight"),
    action_bounds=((-1.0, 1.0),) * 5,
    # Bit for bit, by the same driver. A block recolored at random is 0.06 to 0.5 away, and 0.4 to 1.1 somewhere else.
    # But a driver that does not smooth edges is 0.5 to 1.1 away, and light dimmer by a twentieth 1.7.
    fidelity=Fidelity(alike=0.01, refused=1.5),
    prepare=PREPARE,
    make_simulator=partial(import_simulator, "lewm_cli.tasks.cube.simulator:CubeSimulator", PREPARE),
)
