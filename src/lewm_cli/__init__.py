"""LeWorldModel from one command, and its public Python API.

`load(run_name)` returns a trained run (model, normalization, configuration, log and results); `evaluate(run)` measures
it as `lewm eval` does; `AutoCostModel(run_name)` returns only the module, as stable_worldmodel's solvers and policies
expect it; `Policy(run, goal)` drives a robot towards a goal image, one frame in and one action out, and
`ControlLoop(policy, robot)` does so at a fixed rate, with a `LeRobotArm(robot, run)` for one of LeRobot;
`SwmSolver(run)` plans for stable_worldmodel's policies; `Surprise(run)` tells frame by frame how far the world is from
what was predicted. All are imported on first use, so that `import lewm_cli` costs nothing.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.control import ControlLoop, LeRobotArm, Observation, SwmSolver
    from lewm_cli.flows.checked_policy import Policy
    from lewm_cli.flows.stored_run import StoredRun, evaluate, load
    from lewm_cli.flows.stream import Surprise
    from lewm_cli.store.load import AutoCostModel
else:
    __getattr__ = lazy_names(__name__)

__version__ = "0.1.0"
__all__ = [
    "AutoCostModel",
    "ControlLoop",
    "LeRobotArm",
    "Observation",
    "Policy",
    "StoredRun",
    "Surprise",
    "SwmSolver",
    "__version__",
    "evaluate",
    "load",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `lewm_cli.evaluate` the function: Python would put the room of that name there once it is imported."""

    @property
    def evaluate(self) -> Any:
        from lewm_cli.flows.stored_run import evaluate

        return evaluate

    @evaluate.setter
    def evaluate(self, room: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
