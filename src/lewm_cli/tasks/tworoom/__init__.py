"""TwoRoom: a disk in two rooms joined by a door (stable_worldmodel's `swm/TwoRoom-v1`)."""

from functools import partial
from pathlib import Path

from lewm_cli.tasks.probe_target import ProbeTarget
from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, Task, import_simulator

GOAL_RADIUS = 16.0
"""Pixels between the centers of agent and target, within which the simulator counts the target as reached."""

TWOROOM = Task(
    name="tworoom",
    folder=Path(__file__).parent,
    title="a disk in two rooms joined by a door",
    aliases=("two-room", "tworooms"),
    released_dataset="tworoom",
    demonstrators={"expert": "scripted expert of stable_worldmodel, action noise 2.0"},
    start_columns=("proprio",),
    goal_columns=("proprio",),
    probe_targets=(
        ProbeTarget("agent x", "proprio", 0, "px"),
        ProbeTarget("agent y", "proprio", 1, "px"),
        ProbeTarget("agent velocity x", "proprio", 0, "px/step", "differenced"),
        ProbeTarget("agent velocity y", "proprio", 1, "px/step", "differenced"),
    ),
    perturbations=(
        Perturbation("teleport", "the agent jumps to a random free place", "px", arena=182.0),
        Perturbation("color", "the agent takes a random color", "RGB levels"),
        *EVERYWHERE,
        Perturbation("wall", "the agent walks through the wall", "px", lasts=2, approached=True),
    ),
    recognized_by=(("action", 2), ("proprio", 2), ("pos_agent", 2), ("pos_target", 2)),
    fidelity=Fidelity(alike=0.01, refused=0.3),  # bit for bit; a disk some pixels away
    success_criteria=("simulator", "swept", "route"),
    goal_radius=GOAL_RADIUS,
    action_bounds=((-1.0, 1.0),) * 2,
    fps=10,
    make_simulator=partial(import_simulator, "lewm_cli.tasks.tworoom.simulator:TwoRoomSimulator"),
)
