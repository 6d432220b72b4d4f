"""The one door to stable_worldmodel's environments: imported late, and quietly."""

import logging
import warnings
from typing import Any

import gymnasium


def make_environment(gym_id: str) -> Any:
    """Build one of stable_worldmodel's environments, without wrappers.

    Its import takes seconds and warns about environments that are not installed; neither matters here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The shadow of its import: a gymnasium logger that repeats the same warnings on stderr.
        gymnasium.logger.min_level = logging.ERROR
        import stable_worldmodel  # noqa: F401  (registers the environments)

        return gymnasium.make(gym_id).unwrapped
