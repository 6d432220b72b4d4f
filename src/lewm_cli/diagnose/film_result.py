"""Films of an evaluation: frames, plans with their candidates, and latents of some pairs, as they are stored."""

from pydantic import Field, NonNegativeInt, PositiveInt

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.heads import LatentMap, Points
from lewm_cli.store import Measurement

Picture = str
"""A WebP file, base64."""


Places = tuple[Points, ...]
"""The same latents on each of the latent maps."""


class Candidates(Section):
    """Some candidates of one iteration of the solver, evenly spaced by rank of cost, each followed in the simulator."""

    iteration: PositiveInt
    costs: tuple[float, ...]
    """(S,), the lowest first."""
    elites: NonNegativeInt
    """So many of them, the first ones, are candidates that the solver learned from."""
    paths: Points
    """(S, K, 2) positions in pixels of the frame: where the plan began, and after every model step."""


class FilmedPlan(Section):
    """One plan of an episode, as it came to be."""

    step: NonNegativeInt
    """The environment step before which it was made."""
    seconds: float
    """Time that the solver took, per episode that was planned for at the same time."""
    lowest: tuple[float, ...]
    """The lowest cost of every iteration."""
    mean: tuple[float, ...]
    """The mean cost of every iteration."""
    iterations: tuple[Candidates, ...]
    """Some iterations, evenly spaced; the first and the last are among them."""
    path: Points
    """(L, 2) positions in pixels: where the chosen plan leads in the simulator, at every environment step."""
    imagined: Places
    """(horizon + 1, 2) on a latent map: what the model sees, and what it imagines after every model step."""


class Frames(Section):
    """The frames of an episode in one picture, row by row from the left."""

    count: PositiveInt
    columns: PositiveInt
    sheet: Picture


class PlanFilm(Section):
    """One pair: how the episode went, and every plan that was made on the way."""

    number: NonNegativeInt
    """Number of the pair in the evaluation."""
    episode: int
    start_row: int
    goal_row: int
    groups: tuple[str, ...]
    success: bool
    first_hit: int | None
    goal: Picture
    goal_position: tuple[float, float]
    frames: Frames
    """The view of the camera at every environment step, the start included (T)."""
    path: Points
    """(T, 2) positions of the agent in pixels, until the goal was reached or the budget was used up."""
    latents: Places
    """(T, 2) of the frames on a latent map."""
    goal_latent: Places
    """(1, 2) of the goal on a latent map."""
    plans: tuple[FilmedPlan, ...]


class FilmResult(Measurement):
    """Some pairs of an evaluation, filmed."""

    protocol: EvalProtocol
    frame_size: PositiveInt
    """Side of a frame in pixels, which positions refer to."""
    frameskip: PositiveInt
    """Environment steps per model step."""
    latent_maps: tuple[LatentMap, ...] = Field(min_length=1)
    films: tuple[PlanFilm, ...] = Field(min_length=1)
