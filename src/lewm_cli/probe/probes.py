"""Linear and MLP probes: fitted to features of the same frames from several sources, and scored on every quantity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.heads import Recorded, in_parts, latent_view, probed_width
from lewm_cli.probe.fitted import KINDS, RECIPE, Kind, Probes, Quantities, Scale, least_squares
from lewm_cli.probe.imagination_result import Imagination, OpenLoop
from lewm_cli.probe.probe_result import (
    FEATURES,
    SIZED,
    Feature,
    ProbePoint,
    ProbeResult,
    ProbeScore,
    SampleSize,
    TargetResult,
)
from lewm_cli.probe.samples import Features, ProbeSamples
from lewm_cli.statistics import Estimate, estimate_r2
from lewm_cli.store import Run

LEAST = 1e-12
"""Sum of squares that counts as none."""

SHOWN_POINTS = 600
"""Test frames kept in the result for pictures."""


@dataclass(frozen=True)
class FittedProbes:
    """The probes of all kinds of features, and what they read on test rows.

    Args:
        probes: of the model's latents.
        quantities: that they read.
        actual: (M, C) standardized coordinates of the test rows.
        read: (M, C) by kind of probe and of features.
    """

    probes: Probes
    quantities: Quantities
    actual: Tensor
    read: dict[Kind, dict[Feature, Tensor]]

    def r2(self, kind: Kind, feature: Feature, k: int) -> float:
        """R2 of the k-th quantity."""
        own = self.quantities.columns[k]
        off = (self.read[kind][feature] - self.actual)[:, own].square().sum()
        spread = self.actual[:, own].var(dim=0, unbiased=False).sum() * len(self.actual)
        return 1 - off.item() / max(spread.item(), LEAST)


def fit_probes(samples: ProbeSamples, features: Features, *, seed: int, advance: Callable[[int], None]) -> FittedProbes:
    """Fits a linear and an MLP probe to each kind of features for all quantities.

    Args:
        seed: of the MLPs and the shuffle.
        advance: called with the number of kinds of features fitted since the last call, `len(kinds(features))` in all.
    """
    test = samples.test
    quantities = Quantities.of(samples.targets, samples.coordinates, ~test)
    actual = quantities.standardized(samples.coordinates)
    read: dict[Kind, dict[Feature, Tensor]] = {kind: {} for kind in KINDS}
    fitted = {}
    for feature, values in kinds(features).items():
        targets = actual[~test]
        if feature == "shuffled":
            targets = targets[np.random.default_rng(seed).permutation(len(targets))]
        fitted[feature] = Probes.fit(values[~test], targets, seed)
        for kind in KINDS:
            read[kind][feature] = fitted[feature].read(values[test], kind)
        advance(1)
    return FittedProbes(fitted["model"], quantities, actual[test], read)


def fit_fewer(
    samples: ProbeSamples, features: Features, frames: Sequence[int], *, seed: int, advance: Callable[[int], None]
) -> tuple[tuple[SampleSize, ...], ...]:
    """Fits probes to so many of the training frames, and scores them on all test frames: by quantity, by number.

    Args:
        frames: as many as there are training frames, or fewer.
        seed: of the draw, the MLPs and the bootstrap.
        advance: called with the number of kinds of features fitted since the last call, `SIZED` for each number.
    """
    test, owners = samples.test, samples.episodes[samples.test]
    quantities = Quantities.of(samples.targets, samples.coordinates, ~test)
    actual = quantities.standardized(samples.coordinates)
    found: list[list[SampleSize]] = [[] for _ in samples.targets]
    for count in sorted(frames):
        read: dict[Kind, dict[Feature, Tensor]] = {kind: {} for kind in KINDS}
        for feature in SIZED:
            values, kept = kinds(features)[feature], samples.fewer(count, seed)
            probes = Probes.fit(values[kept], actual[kept], seed)
            for kind in KINDS:
                read[kind][feature] = probes.read(values[test], kind)
            advance(1)
        for k, own in enumerate(quantities.columns):
            scores = {
                kind: {
                    feature: estimate_r2(values[:, own].numpy(), actual[test][:, own].numpy(), owners, seed)
                    for feature, values in read[kind].items()
                }
                for kind in KINDS
            }
            found[k].append(SampleSize(frames=count, **scores))
    return tuple(map(tuple, found))


def kinds(features: Features) -> dict[Feature, Tensor]:
    """The features (N, D) that probes are fitted to, by kind."""
    found = {feature: features.model if feature == "shuffled" else getattr(features, feature) for feature in FEATURES}
    return {feature: values for feature, values in found.items() if values is not None}


def score_probes(
    run: Run,
    dataset: Dataset,
    samples: ProbeSamples,
    features: Features,
    fitted: FittedProbes,
    *,
    held_out: bool,
    begun: float,
    seed: int,
    others: Mapping[int, FittedProbes] = MappingProxyType({}),
    sizes: tuple[tuple[SampleSize, ...], ...] = (),
    imagination: Imagination | None = None,
    open_loop: OpenLoop | None = None,
) -> ProbeResult:
    """Scores fitted probes on test episodes.

    Args:
        held_out: whether the model was trained on none of the episodes.
        begun: `time.monotonic()` when the frames began to be encoded.
        seed: of the bootstrap and the choice of points.
        others: probes fitted under other seeds.
        sizes: of each quantity, what `fit_fewer` found.
        imagination, open_loop: what was measured of imagined latents.
    """
    test, owners = samples.test, samples.episodes[samples.test]
    quantities = fitted.quantities

    def scores(kind: Kind, k: int) -> dict[Feature, ProbeScore]:
        own, actual = quantities.columns[k], fitted.actual
        found = {
            feature: ProbeScore.of(
                read[:, own].numpy(), actual[:, own].numpy(), quantities.errors(k, read, actual), owners, seed
            )
            for feature, read in fitted.read[kind].items()
        }
        every = [fitted, *others.values()] if others else []
        return {
            feature: score.model_copy(update={"by_seed": tuple(one.r2(kind, feature, k) for one in every)})
            for feature, score in found.items()
        }

    explained, plane = _plane(features.model[~test], features.model[test])
    shown = np.sort(np.random.default_rng(seed).permutation(int(test.sum()))[:SHOWN_POINTS])
    of_model = (fitted.actual, *(fitted.read[kind]["model"] for kind in KINDS))
    rounded = (column[shown].round(decimals=3) for column in (*map(quantities.values, of_model), plane.numpy()))
    columns = (samples.rows[test][shown], owners[shown], *rounded)
    points = zip(*(column.tolist() for column in columns), strict=True)
    latent, width = run.world_model.config.latent_dim, probed_width(run)
    return ProbeResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        train_frames=int((~test).sum()),
        test_frames=int(test.sum()),
        train_episodes=tuple(np.unique(samples.episodes[~test]).tolist()),
        test_episodes=tuple(np.unique(samples.episodes[test]).tolist()),
        latent=latent,
        proprio=run.card.inputs.proprio is not None,
        recipe=RECIPE if width == latent else f"{RECIPE}; latents through {width} principal components",
        seed=seed,
        seeds=(seed, *others) if others else (),
        targets=tuple(
            TargetResult(
                name=target.name,
                unit=target.unit,
                rate=target.rate is not None,
                linear=scores("linear", k),
                mlp=scores("mlp", k),
                sizes=sizes[k] if sizes else (),
            )
            for k, target in enumerate(samples.targets)
        ),
        left_out=samples.left_out,
        map_explained=explained,
        points=tuple(
            ProbePoint(row=row, episode=episode, actual=true, linear=line, mlp=net, map=place)
            for row, episode, true, line, net, place in points
        ),
        imagination=imagination,
        open_loop=open_loop,
    )


def score_linear(run: Run, dataset: Dataset, frames: Frames, samples: ProbeSamples, seed: int) -> dict[str, Estimate]:
    """R2 of every quantity by the linear probe of `fit_probes` on the model's latents alone, which takes no time.

    Args:
        dataset: that the samples were drawn from, and its frames.
    """
    test, owners = samples.test, samples.episodes[samples.test]
    recorded = Recorded(frames, run.recorded_proprio(dataset))
    view = latent_view(run, recorded, samples.rows[~test], seed)
    latents = torch.cat([view(*recorded.rows(part)) for part in in_parts(samples.rows)]).double().cpu()
    quantities = Quantities.of(samples.targets, samples.coordinates, ~test)
    actual = quantities.standardized(samples.coordinates)
    scale = Scale.of(latents[~test])
    weights = least_squares(scale.apply(latents[~test]), actual[~test])
    predicted = scale.apply(latents[test]) @ weights[:-1] + weights[-1]
    return {
        target.name: estimate_r2(predicted[:, own].numpy(), actual[test][:, own].numpy(), owners, seed)
        for target, own in zip(quantities.targets, quantities.columns, strict=True)
    }


def _plane(fitted: Tensor, shown: Tensor) -> tuple[tuple[float, float], Tensor]:
    """Principal plane of latents: the share of variance along each axis, and (M, 2) coordinates of others in it."""
    mean = fitted.mean(dim=0)
    _, singular, axes = torch.linalg.svd(fitted - mean, full_matrices=False)
    share = singular.square() / singular.square().sum().clamp_min(1e-30)
    coordinates = (shown - mean) @ axes[:2].T
    if len(axes) == 1:  # a latent of one dimension has a line
        return (share[0].item(), 0.0), torch.cat([coordinates, torch.zeros_like(coordinates)], dim=1)
    return (share[0].item(), share[1].item()), coordinates
