"""PushT: a disk that pushes a T-shaped block (stable_worldmodel's `swm/PushT-v1`)."""

from functools import partial
from pathlib import Path

from lewm_cli.tasks.probe_target import Angle, ProbeTarget
from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, Task, import_simulator

PUSHT = Task(
    name="pusht",
    folder=Path(__file__).parent,
    title="a disk that pushes a T-shaped block",
    aliases=("push-t",),
    released_dataset="pusht_expert_train",
    demonstrators={
        "weak": "weak policy of stable_worldmodel (random, biased to the block), drawn to places between the walls",
        "pusher": "scripted pusher: behind a point of the block, a smooth push, and back; to no goal",
    },
    episode_column="episode_idx",
    start_columns=("state",),
    goal_columns=("state",),
    probe_targets=(
        ProbeTarget("agent x", "state", 0, "px"),
        ProbeTarget("agent y", "state", 1, "px"),
        ProbeTarget("block x", "state", 2, "px"),
        ProbeTarget("block y", "state", 3, "px"),
        Angle("block angle", "state", 4),
        ProbeTarget("agent velocity x", "state", 5, "px/s", "recorded"),
        ProbeTarget("agent velocity y", "state", 6, "px/s", "recorded"),
        ProbeTarget("block velocity x", "state", 2, "px/step", "differenced"),
        ProbeTarget("block velocity y", "state", 3, "px/step", "differenced"),
    ),
    perturbations=(
        Perturbation("teleport", "agent and block jump to random free places", "px", arena=471.0),
        Perturbation("color", "the block takes a random color", "RGB levels"),
        *EVERYWHERE,
    ),
    recognized_by=(("action", 2), ("proprio", 4), ("state", 7)),
    fidelity=Fidelity(alike=0.01, refused=0.5),  # bit for bit; a recolored block is 1.0 to 3.8 away
    success_criteria=("simulator", "tight"),
    action_bounds=((-1.0, 1.0),) * 2,
    fps=10,
    make_simulator=partial(import_simulator, "lewm_cli.tasks.pusht.simulator:PushTSimulator"),
)
