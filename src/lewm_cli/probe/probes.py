"""Linear and MLP probes: fitted to features of the same frames from several sources, and scored on every quantity."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.heads import BATCH, Recorded, in_parts, latent_view, probed_width, train_mlp
from lewm_cli.model import HIDDEN
from lewm_cli.probe.probe_result import FEATURES, Feature, ProbePoint, ProbeResult, ProbeScore, TargetResult
from lewm_cli.probe.samples import Features, ProbeSamples
from lewm_cli.statistics import Estimate, estimate_r2
from lewm_cli.store import Run

STEPS = 1500
RECIPE = (
    "features and targets z-scored on the training episodes; linear: ordinary least squares with intercept; "
    f"MLP: two hidden layers of {HIDDEN} with GELU, AdamW 2e-3 with cosine, weight decay 1e-4, {STEPS} steps of {BATCH}"
)
"""In words: the recipe of the published probes is not known."""

SHOWN_POINTS = 600
"""Test frames kept in the result for pictures."""

STAGES = 2 * len(FEATURES)
"""Probes fitted, for progress."""

ROUNDING = 1e-5
"""Share of the widest dimension's standard deviation below which that of another is rounding."""


def fit_probes(
    run: Run,
    dataset: Dataset,
    samples: ProbeSamples,
    features: Features,
    *,
    held_out: bool,
    begun: float,
    seed: int,
    advance: Callable[[int], None],
) -> ProbeResult:
    """Fits a linear and an MLP probe to each kind of features for all quantities, and scores them on test episodes.

    Args:
        held_out: whether the model was trained on none of the episodes.
        begun: `time.monotonic()` when the frames began to be encoded.
        seed: of the MLPs, the shuffle and the bootstrap.
        advance: called with the number of probes fitted since the last call, `STAGES` in all.
    """
    test, owners = samples.test, samples.episodes[samples.test]
    truth = torch.from_numpy(samples.values)
    actual = _z_score(truth, ~test)
    linear: dict[Feature, Tensor] = {}
    mlp: dict[Feature, Tensor] = {}
    for feature in FEATURES:
        values: Tensor = features.model if feature == "shuffled" else getattr(features, feature)
        inputs, targets = _z_score(values, ~test), actual[~test]
        if feature == "shuffled":
            targets = targets[np.random.default_rng(seed).permutation(len(targets))]
        linear[feature] = _fit_linear(inputs, targets, test)
        advance(1)
        network = train_mlp(inputs[~test], targets, seed, STEPS)
        with torch.inference_mode():
            mlp[feature] = network(inputs[test].float()).double()
        advance(1)

    def scores(predicted: dict[Feature, Tensor], k: int) -> dict[Feature, ProbeScore]:
        return {
            feature: ProbeScore.of(values[:, k].numpy(), actual[test][:, k].numpy(), owners, seed)
            for feature, values in predicted.items()
        }

    mean, std = truth[~test].mean(dim=0), truth[~test].std(dim=0, unbiased=False)
    explained, plane = _plane(features.model[~test], features.model[test])
    shown = np.sort(np.random.default_rng(seed).permutation(int(test.sum()))[:SHOWN_POINTS])
    in_units = (truth[test], linear["model"] * std + mean, mlp["model"] * std + mean)
    rounded = (column[shown].round(decimals=3) for column in (*in_units, plane))
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
        targets=tuple(
            TargetResult(name=target.name, unit=target.unit, linear=scores(linear, k), mlp=scores(mlp, k))
            for k, target in enumerate(samples.targets)
        ),
        left_out=samples.left_out,
        map_explained=explained,
        points=tuple(
            ProbePoint(row=row, episode=episode, actual=true, linear=line, mlp=net, map=place)
            for row, episode, true, line, net, place in points
        ),
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
    inputs, actual = _z_score(latents, ~test), _z_score(torch.from_numpy(samples.values), ~test)
    predicted = _fit_linear(inputs, actual[~test], test)
    return {
        target.name: estimate_r2(predicted[:, k].numpy(), actual[test][:, k].numpy(), owners, seed)
        for k, target in enumerate(samples.targets)
    }


def _fit_linear(inputs: Tensor, targets: Tensor, test: np.ndarray) -> Tensor:
    """Predicts the test rows of inputs (N, D) by least squares on the others, whose targets these are."""
    with_intercept = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
    fitted = torch.linalg.lstsq(with_intercept[~test], targets, driver="gelsd").solution
    predicted: Tensor = with_intercept[test] @ fitted
    return predicted


def _z_score(values: Tensor, train: np.ndarray) -> Tensor:
    """Standardizes (N, D) by mean and standard deviation of the training rows.

    Of a dimension that is constant but for rounding (a patch that never changes, a principal component more than there
    are directions) hardly anything is left: divided by such a deviation, it would be all that a probe sees.
    """
    fitted = values[train]
    std = fitted.std(dim=0, unbiased=False)
    widest = std.max() if std.any() else torch.ones_like(std.max())
    return (values - fitted.mean(dim=0)) / torch.where(std > ROUNDING * widest, std, widest)


def _plane(fitted: Tensor, shown: Tensor) -> tuple[tuple[float, float], Tensor]:
    """Principal plane of latents: the share of variance along each axis, and (M, 2) coordinates of others in it."""
    mean = fitted.mean(dim=0)
    _, singular, axes = torch.linalg.svd(fitted - mean, full_matrices=False)
    share = singular.square() / singular.square().sum().clamp_min(1e-30)
    coordinates = (shown - mean) @ axes[:2].T
    if len(axes) == 1:  # a latent of one dimension has a line
        return (share[0].item(), 0.0), torch.cat([coordinates, torch.zeros_like(coordinates)], dim=1)
    return (share[0].item(), share[1].item()), coordinates
