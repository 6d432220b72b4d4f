"""The facts on a run that a page needs to plan by itself."""

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat, PositiveInt

from lewm_cli.config import ActionStats, PatchNetworkConfig, PlannerConfig, Section
from lewm_cli.heads import LatentMap, LatentPlane
from lewm_cli.methods import RunCard
from lewm_cli.store import Run
from lewm_cli.tasks import Simulator, Task

PLANNER = PlannerConfig(solver="icem", candidates=100, elites=10, iterations=5, receding=1, warm_start=True)
"""Fast enough for a page: a new plan after every model step, which begins at what is left of the one before. With iCEM,
whose noise keeps its direction for a while, 120 of 180 pairs of TwoRoom were reached in 30 plans, and with CEM 98."""

PLACES = np.linspace(21, 203, 20, dtype=np.float32)
"""Columns and rows of TwoRoom's frame, from where the disk touches one outer wall to where it touches the other."""


class LatentAxes(Section):
    """The plane that latents are drawn in, and frames in it."""

    mean: tuple[float, ...]
    """(D,) latent at the origin."""
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    """(2, D) directions of length 1."""
    map: LatentMap

    @classmethod
    def of(cls, plane: LatentPlane) -> Self:
        """The plane as a page computes with it."""
        first, second = plane.axes.tolist()
        return cls(mean=tuple(plane.mean.tolist()), axes=(tuple(first), tuple(second)), map=plane.map)


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
    gpu: bool = False
    """Where it comes from, ONNX Runtime with WebGPU can be had, too."""

    @classmethod
    def of(cls, run: Run, task: Task, plane: LatentPlane, *, served: bool, gpu: bool = False) -> Self:
        """Describes a world model of a task to a page, which draws its latents in a plane."""
        model, inputs = run.world_model, run.card.inputs
        return cls(
            run=run.name,
            task=task.name,
            title=task.title,
            image_size=model.config.image_size,
            latent=model.config.latent_dim,
            history=model.history,
            frameskip=inputs.frameskip,
            actions=inputs.actions,
            planner=PLANNER,
            plane=LatentAxes.of(plane),
            goal_radius=task.goal_radius,
            served=served,
            gpu=gpu,
        )


def fits_a_page(card: RunCard) -> bool:
    """Tell if a world model plans by one latent vector per frame, which is what a page computes with."""
    return not (isinstance(card.model, PatchNetworkConfig) or card.inputs.proprio)


def tworoom_frames(simulator: Simulator) -> npt.NDArray[np.uint8]:
    """Frames (N, H, W, 3) of TwoRoom with the disk at places all over both rooms, those free of walls."""
    frames = []
    for place in np.stack(np.meshgrid(PLACES, PLACES), axis=-1).reshape(-1, 2):
        if simulator.route_valid(place[None]):
            simulator.begin(place, place)
            frames.append(simulator.frame())
    return np.stack(frames)
