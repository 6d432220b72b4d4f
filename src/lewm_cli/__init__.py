"""LeWorldModel from one command, and its public Python API.

`load(run_name)` returns a trained run (model, normalization, configuration); `AutoCostModel(run_name)` returns
only the module, as stable_worldmodel's solvers and policies expect it; `Policy(run, goal)` drives a robot towards a
goal image, one frame in and one action out; `SwmSolver(run)` plans for stable_worldmodel's policies. All are imported
on first use, so that `import lewm_cli` costs nothing.
"""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.control import Policy, SwmSolver
    from lewm_cli.store.load import AutoCostModel, load
else:
    __getattr__ = lazy_names(__name__)

__version__ = "0.1.0"
__all__ = ["AutoCostModel", "Policy", "SwmSolver", "__version__", "load"]
