"""Films of an evaluation: frames, plans with their candidates, and latents of some pairs, as they are stored."""

import base64
import math
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.store import Measurement

Picture = str
"""A WebP file, base64."""


class Points(Section):
    """Points of a plane, stored as whole numbers of a small unit, so that many of them take little room."""

    shape: tuple[NonNegativeInt, ...]
    """(..., 2)."""
    unit: PositiveFloat
    """The length that the number 1 stands for."""
    data: str
    """Little-endian int16, row by row, base64."""

    @classmethod
    def of(cls, points: npt.ArrayLike, unit: float) -> Self:
        """Store points (..., 2), each number rounded to the unit and clipped to what 16 bits hold."""
        whole = (np.asarray(points, float) / unit).round().clip(-(2**15), 2**15 - 1).astype("<i2")
        return cls(shape=whole.shape, unit=unit, data=base64.b64encode(whole.tobytes()).decode())

    @model_validator(mode="after")
    def _data_fills_the_shape(self) -> Self:
        if self.shape[-1:] != (2,) or len(base64.b64decode(self.data)) != 2 * math.prod(self.shape):
            raise ValueError(f"data does not hold the points of shape {self.shape}")
        return self

    def array(self) -> npt.NDArray[np.float64]:
        """The points (..., 2)."""
        return np.frombuffer(base64.b64decode(self.data), "<i2").reshape(self.shape) * self.unit


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


class LatentMap(Section):
    """Latents of recorded frames in a plane."""

    method: Literal["PCA", "UMAP"]
    """PCA: x along the first principal component, y along the second. UMAP: neighbors stay near each other."""
    shares: tuple[float, float] | None
    """Parts of the latents' variance that the two components hold; None of UMAP, which has none."""
    points: Points
    """(N, 2) frames of the recording."""


class FilmResult(Measurement):
    """Some pairs of an evaluation, filmed."""

    protocol: EvalProtocol
    frame_size: PositiveInt
    """Side of a frame in pixels, which positions refer to."""
    frameskip: PositiveInt
    """Environment steps per model step."""
    latent_maps: tuple[LatentMap, ...] = Field(min_length=1)
    films: tuple[PlanFilm, ...] = Field(min_length=1)
