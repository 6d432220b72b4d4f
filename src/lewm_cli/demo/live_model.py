"""What a page is given of a run, so that it plans by itself."""

from dataclasses import dataclass

from pydantic import PositiveFloat, PositiveInt

from lewm_cli.config import ActionStats, PlannerConfig, Section
from lewm_cli.diagnose import LatentMap


class LatentAxes(Section):
    """The plane that latents are drawn in, and frames in it."""

    mean: tuple[float, ...]
    """(D,) latent at the origin."""
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    """(2, D) directions of length 1."""
    map: LatentMap


class LiveModel(Section):
    """The numbers of a run beside its weights, and how it plans until the user changes that."""

    run: str
    task: str
    title: str
    """Of the task, in a few words."""
    image_size: PositiveInt
    """Side of the frames that the encoder takes."""
    latent: PositiveInt
    history: PositiveInt
    """Model steps that the predictor looks back at, at most."""
    frameskip: PositiveInt
    """Environment steps per model step."""
    actions: ActionStats
    planner: PlannerConfig
    plane: LatentAxes
    goal_radius: PositiveFloat | None
    """Pixels of the frame within which the goal counts as reached; None where something else decides."""
    served: bool
    """The page comes from `lewm demo --serve`, which steps a simulator for it."""


@dataclass(frozen=True)
class ModelParts:
    """The networks as ONNX files: normalization of frames and actions is inside."""

    encoder: bytes
    action_encoder: bytes
    predictor: bytes
