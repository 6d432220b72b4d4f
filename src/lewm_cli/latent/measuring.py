"""Measures the latent space of a run on recorded episodes, beside that of an untrained one."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import (
    LatentMap,
    LatentPlane,
    Recorded,
    UmapEmbedding,
    latent_view,
    probed_width,
    read_targets,
    untrained_reference,
)
from lewm_cli.latent.coverage import measure_coverage, nearest_elsewhere
from lewm_cli.latent.distances import FramePairs, compare_distances
from lewm_cli.latent.gaussianity import FEWEST, gaussian_reference, measure_gaussianity
from lewm_cli.latent.latent_result import ENCODERS, Encoder, LatentResult, LatentScores, MapQuantity, TrueDistance
from lewm_cli.latent.neighbors import draw_strips
from lewm_cli.latent.spectrum import measure_spectrum
from lewm_cli.latent.straightness import measure_straightness
from lewm_cli.latent.tracks import Tracks, encode
from lewm_cli.store import Run
from lewm_cli.tasks import ProbeTarget, Task

SHOWN = 1000
"""Frames on the maps, at most."""


def measure_latent(
    run: Run,
    task: Task,
    dataset: Dataset,
    frames: Frames,
    tracks: Tracks,
    *,
    held_out: bool,
    begun: float,
    seed: int,
    advance: Callable[[int], None],
) -> LatentResult:
    """Encodes tracks twice, and measures both.

    Args:
        frames: of the recording, at the model's image size.
        held_out: whether the model was trained on none of the episodes.
        begun: `time.monotonic()` when the measurement began.
        seed: of the untrained model, and of everything that is drawn.
        advance: gets the number of frames encoded since the last call, twice those of the tracks in all.
    """
    recorded, width = Recorded(frames, run.recorded_proprio(dataset)), run.world_model.config.latent_dim
    runs: dict[Encoder, Run] = {"model": run, "untrained": untrained_reference(run, dataset, frames, seed)}
    whole = probed_width(run) == width
    encoded: dict[Encoder, Tensor] = {}
    for encoder in ENCODERS:
        view = latent_view(runs[encoder], recorded, tracks.rows, seed)
        encoded[encoder] = run.finite(encode(view, recorded, tracks, advance))
    left_out = _left_out(tracks)
    targets, values = _quantities(dataset, task, tracks, left_out)
    several, enough = (len(tracks.episodes) >= fewest for fewest in (2, FEWEST))
    positions = [k for k, target in enumerate(targets) if target.is_position]
    state = values[:, positions] if positions and enough else None
    if targets and enough and state is None:
        left_out["true distance"] = f"the positions that the task {task.name} names cannot be read or never change"
    pairs = FramePairs.draw(tracks, seed) if state is not None else None
    scores: dict[Encoder, LatentScores] = {}
    for encoder, latents in encoded.items():
        exact = latents.numpy()
        distances = None
        if state is not None and pairs is not None:
            nearest = nearest_elsewhere(latents, tracks)
            distances = compare_distances(exact, state, tracks, pairs, nearest, seed)
        scores[encoder] = LatentScores(
            spectrum=measure_spectrum(exact, whole=whole),
            gaussianity=measure_gaussianity(latents, tracks, seed, whole=whole) if enough else None,
            coverage=measure_coverage(latents, tracks, seed) if several else None,
            straightness=measure_straightness(exact, tracks),
            distances=distances,
        )
    if scores["model"].straightness is None and "straightness" not in left_out:
        left_out["straightness"] = "latents never move twice in a row"
    if several and scores["model"].coverage is None:
        left_out["coverage"] = "there are too few frames"
    model = encoded["model"]
    shown = np.unique(np.linspace(0, len(tracks.rows) - 1, SHOWN).astype(int))
    return LatentResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        frames=len(tracks.rows),
        episodes=tuple(tracks.episodes.tolist()),
        frameskip=tracks.frameskip,
        latent=width,
        components=None if whole else model.shape[1],
        seed=seed,
        scores=scores,
        gaussian=gaussian_reference(model.shape[1], len(tracks.episodes), seed) if enough else None,
        true_distance=_true_distance([targets[k] for k in positions], state, tracks, pairs, seed),
        neighbors=draw_strips(model.numpy(), state, tracks, frames, seed) if several else (),
        maps=_maps(model[torch.from_numpy(shown)].float().numpy()),
        quantities=tuple(
            MapQuantity(name=target.name, unit=target.unit, values=tuple(values[shown, k].round(4).tolist()))
            for k, target in enumerate(targets)
        ),
        left_out=left_out,
    )


def _left_out(tracks: Tracks) -> dict[str, str]:
    """Names what cannot be measured on such tracks, and why."""
    episodes, found = len(tracks.episodes), {}
    if episodes < FEWEST:
        for name in ("Gaussianity", "true distance"):
            found[name] = f"it takes at least {FEWEST} episodes, and this is measured on {episodes}"
    if episodes < 2:
        for name in ("coverage", "neighbors"):
            found[name] = "it compares episodes, and there is only one"
    if not len(tracks.steps_apart(2)[0]):
        found["straightness"] = f"no episode has three frames, {tracks.frameskip} rows from one to the next"
    return found


def _quantities(
    dataset: Dataset, task: Task, tracks: Tracks, left_out: dict[str, str]
) -> tuple[tuple[ProbeTarget, ...], np.ndarray]:
    """Quantities of the task that can be read in a single frame, K of them, and their values (N, K); notes others."""
    nothing = np.empty((len(tracks.rows), 0))
    if not task.probe_targets:
        left_out["true distance"] = f"the task {task.name} names no quantity; only tasks with a simulator do"
        return (), nothing
    try:
        every_other = np.arange(len(tracks.rows)) % 2 == 0
        still = [target for target in task.probe_targets if target.rate != "differenced"]
        targets, coordinates, unread = read_targets(dataset, still, tracks.rows, every_other)
    except LewmError as error:
        left_out["true distance"] = str(error)
        return (), nothing
    left_out.update(unread)
    values = [target.values(of_each) for target, of_each in zip(targets, coordinates, strict=True)]
    return targets, np.stack(values, axis=1)


def _true_distance(
    positions: Sequence[ProbeTarget], state: np.ndarray | None, tracks: Tracks, pairs: FramePairs | None, seed: int
) -> TrueDistance | None:
    if state is None or pairs is None:
        return None
    places = torch.from_numpy(state)
    nearest = np.linalg.norm(state - state[nearest_elsewhere(places, tracks)], axis=1)
    random = np.linalg.norm(state[pairs.between[0]] - state[pairs.between[1]], axis=1)
    return TrueDistance(
        quantities=tuple(target.name for target in positions),
        unit=positions[0].unit,
        nearest=float(nearest.mean()),
        random=float(random.mean()),
        coverage=measure_coverage(places, tracks, seed),
    )


def _maps(latents: np.ndarray) -> tuple[LatentMap, ...]:
    """Maps of latents (N, D): by PCA, and by UMAP where that is installed and they are enough."""
    found = (LatentPlane.spanned_by(latents), UmapEmbedding.of(latents))
    return tuple(one.map for one in found if one)
