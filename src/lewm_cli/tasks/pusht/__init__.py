"""PushT: a disk that pushes a T-shaped block (stable_worldmodel's `swm/PushT-v1`)."""

from functools import partial
from pathlib import Path

import numpy as np

from lewm_cli.tasks.task import EVERYWHERE, Fidelity, Perturbation, ProbeTarget, Task, import_simulator

PUSHT = Task(
    name="pusht",
    folder=Path(__file__).parent,
    title="a disk that pushes a T-shaped block",
    aliases=("push-t",),
    released_dataset="pusht_expert_train",
    demonstrator="weak policy of stable_worldmodel (random, biased to the block), drawn to places between the walls",
    episode_column="episode_idx",
    start_columns=("state",),
    goal_columns=("state",),
    probe_targets=(
        ProbeTarget("agent x", "state", 0, "px"),
        ProbeTarget("agent y", "state", 1, "px"),
        ProbeTarget("block x", "state", 2, "px"),
        ProbeTarget("block y", "state", 3, "px"),
        # Not the angle itself: no probe should be scored on the jump from 2 pi to 0.
        ProbeTarget("sin block angle", "state", 4, "", np.sin),
        ProbeTarget("cos block angle", "state", 4, "", np.cos),
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
    make_simulator=partial(import_simulator, "lewm_cli.tasks.pusht.simulator:PushTSimulator"),
)
