"""Films of an evaluation: some pairs planned for again, with the candidates of every plan followed in simulators."""

import base64
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lewm_cli.control import Clock, Frame
from lewm_cli.data import Dataset, resize
from lewm_cli.diagnose.film_result import Candidates, FilmedPlan, FilmResult, Frames, Picture, Places, PlanFilm
from lewm_cli.diagnose.plan_recorder import KeptPlan, PlanRecorder
from lewm_cli.diagnose.true_cost import TrueRollout
from lewm_cli.evaluate import EpisodeResult, EvalResult, EvaluationLoop, Film, pair_seed, recorded_pairs
from lewm_cli.heads import Points
from lewm_cli.simulate import InProcess, SimulatorPool
from lewm_cli.store import Run
from lewm_cli.tasks import Task

HOW: tuple[Mapping[str, int], ...] = ({"lossless": True}, {"quality": 80})
"""Ways to pack a picture; without loss is smaller for very flat ones."""

WIDEST = 2**14 - 1
"""Pixels of the side of a WebP picture, at most."""

UNITS = 2**13
"""Positions are stored in units of the frame's side by this: whole numbers of 16 bits reach four sides far."""


def choose_episodes(evaluation: EvalResult, count: int) -> list[EpisodeResult]:
    """Choose the pairs worth seeing: a failure if there is one, the longest successes, other failures; by their rows.

    None of them was solved at the start.
    """
    failures = [one for one in evaluation.episodes if not one.success]
    successes = [one for one in evaluation.episodes if one.success and not one.solved_at_start]
    longest = sorted(successes, key=lambda one: one.first_hit or 0, reverse=True)
    chosen = [*failures[:1], *longest, *failures[1:]][:count]
    return sorted(chosen, key=lambda one: one.start_row)


def film(
    run: Run,
    task: Task,
    dataset: Dataset,
    evaluation: EvalResult,
    chosen: list[EpisodeResult],
    advance: Callable[[int], None],
    simulators: SimulatorPool | None = None,
) -> FilmResult:
    """Plan again for some pairs of an evaluation, and keep frames and plans with their candidates.

    Args:
        run: the model that was evaluated, in eval mode on its device.
        chosen: pairs of the evaluation, none of them solved at the start.
        advance: gets the number of environment steps done since the last call, all pairs together; then those of every
            pair once more, when its candidates have been followed.
        simulators: of the task; in this process if not given.

    Raises:
        LewmError: the recording is damaged, or lacks the proprioception that the run takes.
    """
    pool = simulators or InProcess(task)
    begun, protocol = time.monotonic(), evaluation.protocol
    pairs = recorded_pairs(dataset, task, [(one.episode, one.start_row, one.goal_row) for one in chosen])
    actor, scenes = PlanRecorder(run, protocol.planning, dataset, protocol.budget), dict[int, _Scene]()

    def keep(seen: Film) -> None:
        scenes[seen.number] = _Scene.of(seen, actor)

    baselines = {number: one.random_success for number, one in enumerate(chosen)}
    outcomes = EvaluationLoop(protocol, actor, pool, Clock(), advance, keep, baselines).play(pairs, None, begun)
    numbers = {(one.start_row, one.goal_row): k for k, one in enumerate(evaluation.episodes)}
    films = []
    for number, (pair, outcome) in enumerate(zip(pairs, outcomes, strict=True)):
        rollout = TrueRollout.from_start(run, pool, protocol.gate, pair)
        plans = actor.plans[pair_seed(protocol.drawn_with, pair, stream=0)]
        place = numbers[outcome.start_row, outcome.goal_row]
        films.append(_plan_film(rollout, outcome, scenes[number], plans, place))
        advance(protocol.budget)
    return FilmResult.of(
        run,
        dataset,
        held_out=evaluation.held_out,
        begun=begun,
        protocol=protocol,
        frame_size=max(scene.size for scene in scenes.values()),
        frameskip=run.card.inputs.frameskip,
        latent_maps=tuple(one.map for one in actor.embeddings),
        films=tuple(films),
    )


@dataclass(frozen=True)
class _Scene:
    """One episode as it was seen, packed at once, for many frames take much memory.

    Args:
        size: side of a frame.
        path: (T, 2) positions in pixels.
        latents, goal_latent: on each latent map, (T, 2) and (1, 2).
    """

    size: int
    goal: Picture
    frames: Frames
    path: npt.NDArray[np.floating]
    latents: Places
    goal_latent: Places

    @classmethod
    def of(cls, film: Film, actor: PlanRecorder) -> Self:
        latents, goal_latent = (actor.places(actor.embed(seen)) for seen in (film.seen, [film.goal]))
        # Tried with one frame, for many take a while.
        goal, how = min(((_picture(film.goal.frame, how), how) for how in HOW), key=lambda tried: len(tried[0]))
        return cls(len(film.goal.frame), goal, _sheet(film.frames, how), film.path, latents, goal_latent)


def _plan_film(
    rollout: TrueRollout, outcome: EpisodeResult, scene: _Scene, plans: Sequence[KeptPlan], number: int
) -> PlanFilm:
    at_goal = replace(rollout, pair=replace(rollout.pair, start=rollout.pair.goal))
    x, y = _paths(at_goal, plans[0].blocks[:, :0])[0, 0].round(2).tolist()
    unit = scene.size / UNITS
    return PlanFilm(
        number=number,
        episode=outcome.episode,
        start_row=outcome.start_row,
        goal_row=outcome.goal_row,
        groups=outcome.groups,
        success=outcome.success,
        first_hit=outcome.first_hit,
        goal=scene.goal,
        goal_position=(x, y),
        frames=scene.frames,
        path=Points.of(scene.path, unit),
        latents=scene.latents,
        goal_latent=scene.goal_latent,
        plans=tuple(_filmed(replace(rollout, before=plan.before), plan, unit) for plan in plans),
    )


def _filmed(rollout: TrueRollout, plan: KeptPlan, unit: float) -> FilmedPlan:
    """Follow the candidates of a plan, and the plan that was chosen."""
    ends = np.cumsum([len(one.blocks) for one in plan.iterations])
    paths = _paths(rollout, torch.cat([*(one.blocks for one in plan.iterations), plan.blocks]))
    *tried, chosen = np.split(paths, ends)
    return FilmedPlan(
        step=len(plan.before),
        seconds=plan.seconds,
        lowest=_shortened(plan.lowest),
        mean=_shortened(plan.mean),
        iterations=tuple(
            Candidates(
                iteration=one.number,
                costs=_shortened(one.costs.tolist()),
                elites=one.elites,
                paths=Points.of(part[:, :: rollout.inputs.frameskip], unit),
            )
            for one, part in zip(plan.iterations, tried, strict=True)
        ),
        path=Points.of(chosen[0], unit),
        imagined=plan.imagined,
    )


def _paths(rollout: TrueRollout, blocks: Tensor) -> npt.NDArray[np.floating]:
    """Positions (S, L + 1, 2) on the way of sequences of normalized blocks (S, horizon, block_dim)."""
    return rollout.follow(blocks).paths


def _shortened(costs: Sequence[float]) -> tuple[float, ...]:
    """Costs with as many digits as can be told apart in a picture."""
    return tuple(float(f"{cost:.5g}") for cost in costs)


def _sheet(frames: Frame, how: Mapping[str, int]) -> Frames:
    """Frames (T, H, W, 3) in one picture, nearly square; smaller ones if there are very many."""
    columns = math.isqrt(len(frames) - 1) + 1
    frames = resize(frames, min(frames.shape[1], WIDEST // columns))
    rows = -(-len(frames) // columns)
    sheet = np.zeros((rows * columns, *frames.shape[1:]), np.uint8)
    sheet[: len(frames)] = frames
    side = frames.shape[1]
    sheet = sheet.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    return Frames(count=len(frames), columns=columns, sheet=_picture(sheet, how))


def _picture(frame: Frame, how: Mapping[str, int]) -> Picture:
    """A WebP file, base64."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "webp", **how)
    return base64.b64encode(buffer.getvalue()).decode()
