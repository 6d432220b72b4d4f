"""Measures a run on recorded episodes alone: prediction, ranking of actions, and retrieval of goals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import draw_stretches, imagine_recorded, untrained_reference, usual_horizon
from lewm_cli.model import GoalConditionedPolicy, WorldModel
from lewm_cli.offline.action_ranks import Candidates, Costs, Ranks, draw_candidates, rank_recorded, summarize_ranks
from lewm_cli.offline.goal_retrieval import Gallery, summarize_retrieval
from lewm_cli.offline.offline_config import OfflineConfig
from lewm_cli.offline.offline_result import DRAWN, Drawn, OfflineResult, PredictionErrors
from lewm_cli.plan import LatentCost
from lewm_cli.statistics import BreakEven, Estimate
from lewm_cli.store import Run

FEWEST = 2
"""Episodes with starts: the actions that a recorded one is ranked among are those of others."""

FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class OfflineClips:
    """Stretches of recorded episodes, which all networks are measured on.

    Args:
        begins: (N,) rows of the starts.
        owners: (N,) their episodes.
        steps: model steps that prediction is measured over, at least the farthest goal.
        goals: model steps from the starts to their goals, rising.
        candidates: for every start, as long as the farthest goal.
    """

    dataset: Dataset
    frames: Frames
    begins: np.ndarray
    owners: np.ndarray
    steps: int
    goals: tuple[int, ...]
    candidates: Candidates

    def rows(self, goal: int, skip: int) -> np.ndarray:
        """Rows (N,) of the goals so many model steps ahead."""
        return self.begins + goal * skip


@dataclass(frozen=True)
class Seen:
    """The clips as one world model sees them.

    Args:
        errors: (N, S) of imagined latents, of the last one seen, and of the mean one.
        starts: (N, D) latents.
        imagined, actual: (N, D) latents at every goal.
        ranks: by goal and by where candidates come from.
    """

    errors: tuple[np.ndarray, np.ndarray, np.ndarray]
    starts: Tensor
    imagined: dict[int, Tensor]
    actual: dict[int, Tensor]
    ranks: dict[tuple[int, Drawn], Ranks]


def draw_clips(run: Run, dataset: Dataset, frames: Frames, episodes: np.ndarray, config: OfflineConfig) -> OfflineClips:
    """Draws starts and candidates.

    Args:
        frames: of the recording, at the model's image size.
        episodes: (E,) to measure on.

    Raises:
        LewmError: fewer than two of the episodes are long enough.
    """
    horizon = config.planner.horizon
    steps = max(horizon, config.steps or usual_horizon(run, dataset, episodes))
    drawn = np.random.default_rng(config.seed).permutation(episodes)[: config.pairs]
    each = -(-config.pairs // len(drawn))
    begins, owners = draw_stretches(run, dataset, drawn, steps, per_episode=each, seed=config.seed)
    kept = np.sort(np.random.default_rng(config.seed).permutation(len(begins))[: config.pairs])
    begins, owners = begins[kept], owners[kept]
    if (found := len(np.unique(owners))) < FEWEST:
        raise LewmError(
            f"starts in {FEWEST} episodes are needed, for actions are compared with those of others, and {found} of "
            f"the {len(episodes)} that may be used of {dataset.name} can have one, {steps} model steps "
            f"({steps * run.card.inputs.frameskip} rows) before the end; name another recording with --dataset, hold "
            "out more with --set data.validation=0.2 when training, or ask for fewer steps with --horizon"
        )
    return OfflineClips(
        dataset,
        frames,
        begins,
        owners,
        steps,
        tuple(sorted({1, horizon})),
        draw_candidates(run, dataset, episodes, begins, owners, config.planner, config.seed),
    )


def measured_units(clips: OfflineClips, run: Run) -> int:
    """Starts that are gone through: each once per network and ranking, and once to be imagined."""
    rankings = len(clips.goals) * len(DRAWN)
    return 2 * len(clips.begins) * (rankings + isinstance(run.model, WorldModel))


def measure_offline(
    run: Run,
    clips: OfflineClips,
    config: OfflineConfig,
    *,
    held_out: bool,
    begun: float,
    advance: Callable[[int], None],
) -> OfflineResult:
    """Measures a run, beside an untrained network of the same sizes.

    Args:
        held_out: whether the run was trained on none of the episodes.
        begun: `time.monotonic()` when the measurement began.
        advance: gets the number of starts gone through since the last call, `measured_units` in all.

    Raises:
        LewmError: latents never change, or are not finite.
    """
    inputs, owners, dataset = run.card.inputs, clips.owners, clips.dataset
    errors, retrievals = None, []
    if isinstance(run.model, GoalConditionedPolicy):
        fresh = run.untrained(config.seed)
        ranks, floor = (_rank_by_policy(one, clips, advance) for one in (run, fresh))
    else:
        fresh = untrained_reference(run, dataset, clips.frames, config.seed)
        own, other = (_look(one, clips, advance) for one in (run, fresh))
        ranks, floor = own.ranks, other.ranks
        if not own.errors[1].any(axis=0).all():
            raise LewmError(
                f"in no stretch of {dataset.name} that was drawn does a latent of {run.name} change, so nothing can be "
                "compared; name another recording with --dataset"
            )
        errors = _summarize_errors(own.errors, other.errors, owners)
        for goal in clips.goals:
            rows = clips.rows(goal, inputs.frameskip)
            gallery, gallery_of_other = (
                Gallery(clips.begins, rows, seen.starts, seen.actual[goal]) for seen in (own, other)
            )
            retrievals.append(
                summarize_retrieval(
                    goal,
                    gallery.frames,
                    model=gallery.places(run.world_model, own.imagined[goal]),
                    copying=gallery.places(run.world_model, own.starts),
                    untrained=gallery_of_other.places(fresh.world_model, other.imagined[goal]),
                    owners=owners,
                )
            )
    return OfflineResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        seed=config.seed,
        frameskip=inputs.frameskip,
        history=run.model.history,
        seconds_per_row=None if dataset.fps is None else 1 / dataset.fps,
        horizon=config.planner.horizon,
        candidates=config.planner.candidates,
        std=config.planner.std,
        rows=tuple(clips.begins.tolist()),
        episodes=tuple(owners.tolist()),
        errors=errors,
        rankings=tuple(
            summarize_ranks(goal, drawn, ranks[goal, drawn], floor[goal, drawn], owners)
            for goal in clips.goals
            for drawn in DRAWN
        ),
        retrievals=tuple(retrievals),
    )


def _look(run: Run, clips: OfflineClips, advance: Callable[[int], None]) -> Seen:
    """Imagines the clips with a world model, and ranks their actions by its costs."""
    mean = _mean_latent(run, clips)
    errors: tuple[list[np.ndarray], ...] = ([], [], [])
    starts: list[Tensor] = []
    imagined: dict[int, list[Tensor]] = {goal: [] for goal in clips.goals}
    actual: dict[int, list[Tensor]] = {goal: [] for goal in clips.goals}
    for part in imagine_recorded(run, clips.dataset, clips.frames, clips.begins, clips.steps):
        for of_kind, guess in zip(errors, (part.imagined, part.copied, mean), strict=True):
            of_kind.append(part.errors(guess))
        starts.append(part.last)
        for goal in clips.goals:
            imagined[goal].append(part.imagined[:, goal - 1].clone())  # a view would keep all steps
            actual[goal].append(part.actual[:, goal - 1].clone())
        advance(len(part.rows))
    begun = torch.cat(starts)
    joined = {goal: torch.cat(latents) for goal, latents in actual.items()}
    imagine = run.world_model.imaginer(torch.float32, None)

    def costs_to(goal: int) -> Costs:
        def costs(part: slice, sequences: Tensor) -> Tensor:
            start, end = (latents[part].to(run.device) for latents in (begun, joined[goal]))
            return run.finite(LatentCost(run.world_model, start.unsqueeze(1), end, imagine=imagine)(sequences))

        return costs

    first, second, third = map(np.concatenate, errors)
    return Seen(
        (first, second, third),
        begun,
        {goal: torch.cat(latents) for goal, latents in imagined.items()},
        joined,
        {
            (goal, drawn): rank_recorded(clips.candidates, drawn, goal, costs_to(goal), advance)
            for goal in clips.goals
            for drawn in DRAWN
        },
    )


def _mean_latent(run: Run, clips: OfflineClips) -> Tensor:
    """Mean latent (D,) of all starts, float32 on the CPU."""
    proprio, total = run.recorded_proprio(clips.dataset), torch.zeros(())
    for begin in range(0, len(clips.begins), FRAMES_AT_ONCE):
        rows = clips.begins[begin : begin + FRAMES_AT_ONCE]
        latents = run.embed(clips.frames.rows(rows), None if proprio is None else proprio[rows])
        total = total + latents.float().cpu().sum(dim=0)
    return total / len(clips.begins)


@torch.inference_mode()
def _rank_by_policy(run: Run, clips: OfflineClips, advance: Callable[[int], None]) -> dict[tuple[int, Drawn], Ranks]:
    """Ranks the next actions by their squared distance to those that a policy takes."""
    policy, found = run.model, {}
    assert isinstance(policy, GoalConditionedPolicy)
    for goal in clips.goals:
        rows, parts = clips.rows(goal, run.card.inputs.frameskip), []
        for begin in range(0, len(rows), FRAMES_AT_ONCE):
            part = slice(begin, begin + FRAMES_AT_ONCE)
            seen, wanted = (run.prepare(clips.frames.rows(one[part])) for one in (clips.begins, rows))
            parts.append(run.finite(policy.act(seen, wanted)))
        acted = torch.cat(parts)

        def costs(part: slice, sequences: Tensor, acted: Tensor = acted) -> Tensor:
            return (sequences[:, :, 0] - acted[part].unsqueeze(1)).square().sum(dim=-1)

        for drawn in DRAWN:
            found[goal, drawn] = rank_recorded(clips.candidates, drawn, 1, costs, advance)
    return found


def _summarize_errors(
    own: tuple[np.ndarray, np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray, np.ndarray], owners: np.ndarray
) -> PredictionErrors:
    """Puts errors (N, S) of imagined, copied and mean latents beside the first two of an untrained network."""
    imagined, copied, mean = own
    unit = np.maximum(copied.mean(axis=0), np.finfo(float).tiny)
    unit_of_other = np.maximum(other[1].mean(axis=0), np.finfo(float).tiny)
    return PredictionErrors(
        copying=tuple(copied.mean(axis=0).tolist()),
        share=tuple(Estimate.of_ratio(*step, owners) for step in zip(imagined.T, copied.T, strict=True)),
        mean=tuple((mean.mean(axis=0) / unit).tolist()),
        untrained=tuple((other[0].mean(axis=0) / unit_of_other).tolist()),
        break_even=BreakEven.of(imagined, copied, owners),
        break_even_mean=BreakEven.of(imagined, mean, owners),
    )
