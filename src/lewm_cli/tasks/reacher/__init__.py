"""Reacher: a two-link arm in the plane (stable_worldmodel's `swm/ReacherDMControl-v0`, task `qpos_match`)."""

from functools import partial
from pathlib import Path

from lewm_cli.tasks.mujoco import prepare_mujoco
from lewm_cli.tasks.probe_target import Angle, ProbeTarget
from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, Task, import_simulator

PREPARE = partial(prepare_mujoco, "reacher", "dm_control")


REACHER = Task(
    name="reacher",
    folder=Path(__file__).parent,
    title="a two-link arm in the plane",
    aliases=("reacher_random", "dmc/reacher", "dmc/reacher_random"),
    released_dataset="reacher",
    demonstrators={"random": "uniform random actions"},
    start_columns=("qpos", "qvel"),
    goal_columns=("qpos", "qvel"),
    probe_targets=(
        Angle("shoulder angle", "qpos", 0),
        Angle("wrist angle", "qpos", 1),
        ProbeTarget("finger x", "finger_pos", 0, "m"),
        ProbeTarget("finger y", "finger_pos", 1, "m"),
        ProbeTarget("shoulder velocity", "qvel", 0, "rad/s", "recorded"),
        ProbeTarget("wrist velocity", "qvel", 1, "rad/s", "recorded"),
    ),
    perturbations=(
        Perturbation("teleport", "the arm jumps to random joint angles", "cm"),
        Perturbation("color", "the arm takes a random color", "RGB levels"),
        *EVERYWHERE,
    ),
    recognized_by=(("action", 2), ("qpos", 2), ("qvel", 2), ("finger_pos", 2)),
    success_criteria=("simulator", "wrapped"),
    action_bounds=((-1.0, 1.0),) * 2,
    fps=50,
    # Bit for bit, by the same driver. An arm recolored at random is 0.4 to 1.5 away, and 2 anywhere else; a driver that
    # does not smooth edges 0.24.
    fidelity=Fidelity(alike=0.01, refused=0.5),
    prepare=PREPARE,
    make_simulator=partial(import_simulator, "lewm_cli.tasks.reacher.simulator:ReacherSimulator", PREPARE),
)
