"""Films of planning: the frames of the camera, and the ways that the candidates of a plan would have led."""

from pydantic import NonNegativeInt

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.store import Measurement

Picture = str
"""A frame as a base64 PNG."""

Path = tuple[tuple[float, float], ...]
"""Positions x, y in pixels of the frame, one per environment step, the first one included."""


class Candidates(Section):
    """Some candidates of one iteration of the planner, by latent cost, each followed in the simulator."""

    iteration: NonNegativeInt
    """From 1."""
    costs: tuple[float, ...]
    paths: tuple[Path, ...]


class PlanFilm(Section):
    """One pair: its first plan as it came to be, then how the episode went."""

    number: NonNegativeInt
    """Number of the pair in the evaluation."""
    episode: int
    start_row: int
    goal_row: int
    groups: tuple[str, ...]
    success: bool
    first_hit: int | None
    frame_size: int
    """Side of a frame, pixels, which positions refer to."""
    start: Picture
    goal: Picture
    goal_position: tuple[float, float]
    candidates: tuple[Candidates, ...]
    plan: Path
    """The way that the chosen plan leads in the simulator."""
    path: Path
    """The way of the agent until the goal was reached or the budget was used up."""
    steps: tuple[int, ...]
    frames: tuple[Picture, ...]
    """The view of the camera at these environment steps."""


class FilmResult(Measurement):
    """Some pairs of an evaluation, filmed."""

    protocol: EvalProtocol
    films: tuple[PlanFilm, ...]
