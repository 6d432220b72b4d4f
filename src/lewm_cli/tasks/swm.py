"""The only import of stable_worldmodel's environments: late, and without its warnings."""

import logging
import warnings
from typing import Any

import gymnasium


def make_environment(gym_id: str, **settings: Any) -> Any:
    """Build one of stable_worldmodel's environments with its settings, without wrappers."""
    import_stable_worldmodel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(gym_id, **settings).unwrapped


def import_stable_worldmodel() -> None:
    """Import it, which registers its environments.

    It takes seconds and warns about environments that are not installed; neither matters here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The shadow of its import: a gymnasium logger that repeats the same warnings on stderr.
        gymnasium.logger.min_level = logging.ERROR
        import stable_worldmodel  # noqa: F401
