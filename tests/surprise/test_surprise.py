"""What `lewm surprise` measures: the predictor's own error, staged violations, and detectors that know less."""

import dataclasses
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score

from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import ModelConfig
from lewm_cli.data import Dataset, DecodedFrames, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import model_steps
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Run, RunFiles, read_card, save_run
from lewm_cli.surprise import (
    DETECTORS,
    DoseResult,
    PerturbationResult,
    Staging,
    SurpriseResult,
    bands,
    correct,
    draw_episodes,
    measure_perturbation,
    measure_surprise,
)
from lewm_cli.surprise.curves import detect
from lewm_cli.surprise.horizon import surprise, surprise_ahead
from lewm_cli.surprise.perturbation_result import score_detector
from lewm_cli.tasks import FROZEN, REVERSED, TWOROOM, Perturbation, Simulator, Task
from reports import full_report
from synthetic import write_recording

pytest_plugins = ("recordings",)

RUN = "tworoom/lewm"
TELEPORT, COLOR = TWOROOM.perturbations[:2]
STRICT = {"held_out": True, "seed": 0, "advance": lambda done: None}

Build = Callable[..., Run]


def frames_of(run: Run, dataset: Dataset) -> DecodedFrames:
    """The frames that a run sees."""
    return DecodedFrames(dataset, run.card.model.image_size)


@pytest.fixture
def build(
    tmp_path: Path, small_config: ModelConfig, scramble: Callable, small_card: Callable[[JEPA], RunCard]
) -> Build:
    """Make a scrambled run, as yet in memory."""

    def build(history: int = 3, task: str = "tworoom", dims: int = 2) -> Run:
        model = scramble(JEPA(small_config.model_copy(update={"history": history}), block_dim=5 * dims)).eval()
        card = small_card(model)
        card = card.model_copy(update={"inputs": card.inputs.model_copy(update={"task": task})})
        return Run(RUN, RunFiles(tmp_path / "lewm"), model, "lewm", card, tensors=1, sha256="")

    return build


# The model's surprise


@pytest.mark.parametrize("history", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 11])
@torch.inference_mode()
def test_windows_are_those_of_a_loop(build: Build, history: int, steps: int):
    run = build(history)
    generator = torch.Generator().manual_seed(steps)
    latents = torch.randn(steps + 1, run.card.model.latent, generator=generator)
    blocks = torch.randn(steps, run.card.inputs.block_dim, generator=generator)
    ours = surprise(run, latents, blocks)
    actions = run.model.embed_actions(blocks.unsqueeze(0))
    looped = []
    for step in range(steps):
        context = slice(max(0, step + 1 - history), step + 1)
        predicted = run.model.predict(latents[None, context], actions[:, context])[0, -1]
        looped.append((predicted - latents[step + 1]).square().sum().item())
    assert ours.shape == (steps,)
    assert ours.tolist() == pytest.approx(looped, rel=1e-4)


@pytest.mark.parametrize("history", [1, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 4, 9])
@pytest.mark.parametrize("horizon", [1, 2, 4])
@torch.inference_mode()
def test_horizon_is_that_of_a_loop(build: Build, history: int, steps: int, horizon: int):
    run = build(history)
    generator = torch.Generator().manual_seed(steps)
    latents = torch.randn(steps + 1, run.card.model.latent, generator=generator)
    blocks = torch.randn(steps, run.card.inputs.block_dim, generator=generator)
    actions = run.model.embed_actions(blocks.unsqueeze(0))
    looped = []
    for last in range(steps + 1 - horizon):
        known = list(latents[: last + 1])
        for step in range(last, last + horizon):
            context = slice(max(0, step + 1 - history), step + 1)
            known.append(run.model.predict(torch.stack(known)[None, context], actions[:, context])[0, -1])
        looped.append((known[-1] - latents[last + horizon]).square().sum().item())
    assert surprise_ahead(run, latents, blocks, horizon).tolist() == pytest.approx(looped, rel=1e-4)
    if horizon == 1:
        assert torch.equal(surprise_ahead(run, latents, blocks), surprise(run, latents, blocks))


def test_curves_that_look_ahead_begin_where_they_can(build: Build):
    run, other, generator = build(history=2), build(history=3), np.random.default_rng(0)
    frames = generator.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    actions = generator.normal(size=(40, 2)).astype(np.float32)
    actions[22] = np.nan  # in block 4
    found = detect(run, run.untrained(0), frames, actions, beside=other, horizon=3)
    # Values 2 to 7 are about frames 3 to 8, predicted from 2 latents and 3 more actions.
    missing = {"model": {0, 1, *range(4, 8)}, "beside": {0, 1, *range(4, 8)}, "latent": set()}
    for detector, unknown in missing.items():
        assert {step for step, value in enumerate(found[detector]) if value is None} == unknown, detector
    short = detect(run, run.untrained(0), frames[:3], actions[:10], horizon=3)
    assert short["model"] == (None, None)


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("missing", [0, 7, 14, 22, 54])
def test_action_that_was_not_recorded_leaves_out_the_steps_that_saw_it_and_no_other(
    build: Build, history: int, missing: int
):
    run, generator = build(history), np.random.default_rng(missing)
    frames = generator.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    actions = generator.normal(size=(55, 2)).astype(np.float32)
    whole = detect(run, run.untrained(0), frames, actions)
    holed = actions.copy()
    holed[missing, 1] = np.nan
    found = detect(run, run.untrained(0), frames, holed)
    block = missing // 5
    unknown = set(range(block, min(block + history, 11)))
    for detector in ("model", "untrained"):
        assert {step for step, value in enumerate(found[detector]) if value is None} == unknown
        for step in set(range(11)) - unknown:
            assert found[detector][step] == pytest.approx(whole[detector][step], rel=1e-5)
    for detector in ("latent", "pixels"):  # these need no action
        assert found[detector] == whole[detector]


def test_detectors_are_what_they_say(build: Build):
    run, generator = build(), np.random.default_rng(0)
    frames = generator.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    curves = detect(run, run.untrained(0), frames, np.zeros((15, 2), np.float32))
    assert tuple(curves) == DETECTORS
    latents = run.embed(frames).numpy()
    assert curves["latent"] == pytest.approx(tuple(np.square(np.diff(latents, axis=0)).sum(axis=1)), rel=1e-5)
    change = [np.mean(((late.astype(float) - early) / 255) ** 2) for early, late in pairwise(frames)]
    assert curves["pixels"] == pytest.approx(tuple(change), rel=1e-5)
    assert curves["model"] != pytest.approx(curves["untrained"])


@pytest.mark.slow
def test_episodes_without_a_step_are_left_out(build: Build, tmp_path: Path):
    dataset = open_dataset(write_recording(tmp_path / "x.h5", (6, 5, 1, 31, 30), dims=2, size=8), "x")
    told: list[int] = []

    def measure(episodes: list[int]) -> SurpriseResult:
        return measure_surprise(
            build(), dataset, DecodedFrames(dataset, 64), episodes, held_out=True, seed=0, advance=told.append
        )

    result = measure([0, 1, 2, 3, 4])
    assert [one.episode for one in result.episodes] == [0, 3, 4]
    assert (
        [len(one.curves["model"]) for one in result.episodes] == [1, 6, 5] == [model_steps(n, 5) for n in (6, 31, 30)]
    )
    assert result.left_out == (1, 2)
    assert sum(told) == 3
    with pytest.raises(LewmError, match="the longest episode has 5 rows, but one step of tworoom/lewm needs 6"):
        measure([1, 2])


# Scores

VALUES = st.floats(0, 1e6, allow_nan=False)


def several(count: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, (4, count), elements=VALUES)


@pytest.mark.parametrize("count", [2, 3, 10, 60])
def test_scores_are_those_of_scipy_and_scikit_learn(count: int):
    generator = np.random.default_rng(count)
    untouched, perturbed = generator.gamma(2.0, size=(2, count)) * np.array([[1.0], [1.7]])
    after = generator.gamma(2.0, size=(2, count))
    found = score_detector(untouched, perturbed, *after, seed=0)
    assert found.t_test == pytest.approx(stats.ttest_rel(perturbed, untouched).pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(perturbed, untouched).pvalue)
    labels = np.repeat([0, 1], count)
    assert found.auroc == pytest.approx(roc_auc_score(labels, np.concatenate([untouched, perturbed])))
    assert found.ratio == pytest.approx(perturbed.mean() / untouched.mean())
    assert found.after == pytest.approx(after[1].mean() / after[0].mean())
    logs = np.log(perturbed / untouched)
    interval = stats.t.interval(0.95, count - 1, loc=logs.mean(), scale=stats.sem(logs))
    assert found.log_ratio == pytest.approx(logs.mean())
    assert (found.log_ratio_low, found.log_ratio_high) == pytest.approx(interval)
    if count > 3:
        theirs = stats.bootstrap(
            (perturbed, untouched),
            lambda late, early, axis: late.mean(axis=axis) / early.mean(axis=axis),
            paired=True,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert (found.ratio_low, found.ratio_high) == pytest.approx(tuple(theirs), rel=0.06)


def test_p_values_are_corrected_over_all_that_was_tested():
    first, second = full_report().perturbations
    tested = [("model", 0.01, 0.06), ("latent", 0.02, 0.1), ("pixels", 0.5, 1.0)]
    results = []
    for one, shift in ((first, 0.0), (second, 0.001)):
        scores = {name: one.scores["model"].model_copy(update={"t_test": p + shift}) for name, p, _ in tested}
        results.append(one.model_copy(update={"scores": scores}))
    found = correct(results)
    # By hand: the lowest of 6 times 6, the next times 5, ..., never below an earlier one, at most 1.
    for one, expected in zip(found, ([0.06, 0.08, 1.0], [0.06, 0.08, 1.0]), strict=True):
        assert one.tests == 6
        assert [score.corrected for score in one.scores.values()] == pytest.approx(expected)
        assert [score.t_test for score in one.scores.values()] != [score.corrected for score in one.scores.values()]


@pytest.mark.parametrize(
    ("times", "written"), [(2.5, "2.5 [2.5, 2.5]"), (999.7, "1000 [1000, 1000]"), (2824, "2824 [2824, 2824]")]
)
def test_ratio_is_written_so_that_a_table_has_room_for_it(times: float, written: str):
    before = np.full(4, 0.25)
    assert str(score_detector(before, times * before, before, before, seed=0)) == written


@pytest.mark.parametrize("value", [0.0, 1e-30, 0.25])
def test_no_change_at_all_is_no_evidence(value: float):
    same = np.full(8, value)
    found = score_detector(same, same, same, same, seed=0)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (1, 1, 1)
    assert (found.log_ratio, found.log_ratio_low, found.log_ratio_high) == (0, 0, 0)
    assert (found.after, found.t_test, found.wilcoxon, found.auroc) == (1, 1, 1, 0.5)


@settings(max_examples=50)
@given(values=st.integers(2, 40).flatmap(several), seed=st.integers(0, 9))
def test_scores_are_numbers_whatever_is_compared(values: np.ndarray, seed: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scipy, where all differences agree
        found = score_detector(*values, seed=seed)
        swapped = score_detector(values[1], values[0], values[3], values[2], seed=seed)
    for name, value in found.model_dump(exclude={"corrected"}).items():
        assert np.isfinite(value), name
    assert 0 <= found.auroc <= 1
    assert 0 <= found.t_test <= 1
    assert 0 <= found.wilcoxon <= 1
    # A resample of values that are all alike has another rounding.
    assert found.ratio_low <= found.ratio_high
    assert found.log_ratio_low <= found.log_ratio <= found.log_ratio_high
    assert found.auroc + swapped.auroc == pytest.approx(1)
    assert found.log_ratio == pytest.approx(-swapped.log_ratio, abs=1e-9)
    assert found.t_test == pytest.approx(swapped.t_test)


def test_curves_are_laid_over_each_other_at_the_event():
    # The event scores 100 + k in episode k, each step before or after it one less.
    found = bands([(tuple(100.0 + k - abs(step - (6 + k)) for step in range(12 + k)), 6 + k) for k in range(3)])
    at = {band.offset: band for band in found}
    assert sorted(at) == list(range(-5, 6))
    assert (at[0].median, at[0].episodes) == (101, 3)
    assert at[-5].median == at[5].median == 96
    assert (at[0].low, at[0].high) == (pytest.approx(100.2), pytest.approx(101.8))
    assert bands([((None, 2.0, None), 1)]) == [bands([((2.0,), 0)])[0]]
    assert bands([]) == []


# Which episodes


def with_holes(path: Path, lengths: list[int], holes: set[int]) -> Dataset:
    actions = np.zeros((sum(lengths), 2), np.float32)
    ends = np.cumsum(lengths)
    actions[ends - 1] = np.nan
    for episode in holes:
        actions[ends[episode] - lengths[episode] + 2] = np.nan
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns={"action": actions}), "x")


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 20), count=st.integers(2, 9))
def test_drawn_episodes_can_be_simulated(
    tmp_path_factory: pytest.TempPathFactory,
    small_config: ModelConfig,
    small_card: Callable[[JEPA], RunCard],
    data: st.DataObject,
    seed: int,
    count: int,
):
    model = JEPA(small_config, block_dim=10)
    run = Run(RUN, RunFiles(Path("lewm")), model, "lewm", small_card(model), tensors=1, sha256="")
    lengths = data.draw(st.lists(st.integers(20, 45), min_size=2, max_size=10))
    holes = data.draw(st.sets(st.integers(0, len(lengths) - 1), max_size=3))
    allowed = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    dataset = with_holes(tmp_path_factory.mktemp("draw") / "x.h5", lengths, holes)
    lasts = data.draw(st.integers(1, 2))
    least = 21 + 10 * lasts  # 2 x history 3 x skip 5 and one; twice a further step
    usable = {int(one) for one in allowed if lengths[one] >= least and one not in holes}
    if len(usable) < 2:
        with pytest.raises(LewmError, match=rf"{len(usable)} of {len(allowed)} episodes of x have every action and"):
            draw_episodes(run, dataset, allowed, count=count, seed=seed, lasts=lasts)
        return
    drawn = draw_episodes(run, dataset, allowed, count=count, seed=seed, lasts=lasts).tolist()
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= usable
    assert len(drawn) == min(count, len(usable))
    assert drawn == draw_episodes(run, dataset, allowed, count=count, seed=seed, lasts=lasts).tolist()


# A world in which one thing happens


class Lamp(Simulator):
    """A dark world whose lamp is lit by the perturbation: for good, or for one frame."""

    def __init__(self, lasting: bool) -> None:
        self.lasting = lasting
        self.begun: list[tuple[np.ndarray, np.ndarray]] = []
        self.steps: list[np.ndarray] = []
        self.lit_after: list[int] = []

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self.begun.append((start, goal))
        self.steps, self.lit = [], False

    def step(self, action: np.ndarray) -> None:
        self.steps.append(action)

    def perturb(self, name: str, generator: np.random.Generator) -> float:
        assert name == "lamp"
        self.lit = True
        self.lit_after.append(len(self.steps))
        return float(generator.integers(1, 100))

    def frame(self) -> np.ndarray:
        frame = np.full((64, 64, 3), 255 if self.lit else 0, np.uint8)
        self.lit = self.lit and self.lasting
        return frame


LAMP = Perturbation("lamp", "a lamp is lit", "lamps")


def staged(run: Run, task: Task, dataset: Dataset) -> Staging:
    return Staging(run, task, dataset, frames_of(run, dataset), held_out=True, seed=0)


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("lasting", [True, False])
def test_event_is_where_the_change_is_seen_first(build: Build, tmp_path: Path, history: int, lasting: bool):
    run, lamp, lengths = build(history), Lamp(lasting), (31, 35, 36, 58)
    states = np.arange(2 * sum(lengths), dtype=np.float32).reshape(-1, 2)
    path = write_recording(tmp_path / "x.h5", lengths, dims=2, size=1, columns={"proprio": states})
    dataset = open_dataset(path, "x")
    task = dataclasses.replace(TWOROOM, make_simulator=lambda: lamp)
    result = measure_perturbation(staged(run, task, dataset), np.arange(4), LAMP, lambda done: None)
    assert [one.episode for one in result.episodes] == [0, 1, 2, 3]
    assert (result.perturbation, result.size_unit, result.frameskip) == ("lamp", "lamps", 5)
    for number, one in enumerate(result.episodes):
        steps = (lengths[number] - 1) // 5
        assert one.event == steps // 2 - 1
        assert one.event >= history - 1  # the event is predicted from a whole history
        assert one.event + 1 < steps  # and something comes after it
        assert lamp.lit_after[number] == 5 * (one.event + 1)
        bright = {step for step, value in enumerate(one.perturbed["pixels"]) if value == 1}
        assert bright == ({one.event} if lasting else {one.event, one.event + 1})
        assert set(one.untouched["pixels"]) == {0}
        for detector in DETECTORS:
            assert one.perturbed[detector][: one.event] == one.untouched[detector][: one.event]
            assert None not in one.perturbed[detector]
        assert one.size >= 1
    # Every episode is played twice, from its recorded start to its recorded goal.
    ends = np.cumsum(lengths)
    for number, (start, goal) in enumerate(lamp.begun):
        first, last = ends[number // 2] - lengths[number // 2], ends[number // 2] - 1
        assert (start.tolist(), goal.tolist()) == (states[first].tolist(), states[last].tolist())
    assert result.scores["pixels"].auroc == 1
    assert result.scores["pixels"].ratio > 1e9
    assert result.scores["pixels"].after == pytest.approx(1 if lasting else result.scores["pixels"].after)


@pytest.mark.slow
@pytest.mark.parametrize("perturbation", [FROZEN, REVERSED])
def test_lasting_violation_is_scored_over_the_steps_that_it_lasts(
    build: Build, tmp_path: Path, perturbation: Perturbation
):
    class Clock(Lamp):
        def frame(self) -> np.ndarray:
            return np.full((64, 64, 3), 3 * len(self.steps), np.uint8)

    states = np.zeros((2 * 46, 2), np.float32)
    path = write_recording(tmp_path / "x.h5", [46, 46], dims=2, size=1, columns={"proprio": states})
    dataset, run = open_dataset(path, "x"), build(history=3)
    task = dataclasses.replace(TWOROOM, make_simulator=lambda: Clock(lasting=True))
    result = measure_perturbation(staged(run, task, dataset), np.arange(2), perturbation, lambda done: None)
    assert result.lasts == perturbation.lasts == 2
    for one in result.episodes:
        event = one.event
        tick = one.untouched["pixels"][0]
        shown = [0, 0] if perturbation == FROZEN else [tick, tick]
        assert one.perturbed["pixels"] == pytest.approx([*[tick] * event, *shown, *[tick] * (9 - event - 2)])
        assert one.difference > 0
    for detector in ("model", "latent"):
        lasting, after = (
            np.array([[np.mean(getattr(one, side)[detector][part]) for one in result.episodes] for side in SIDES])
            for part in (slice(event, event + 2), slice(event + 4, None))
        )
        score = result.scores[detector]
        means = np.maximum(lasting, 1e-12).mean(axis=1)
        assert score.ratio == pytest.approx(means[0] / means[1])
        assert score.after == pytest.approx(after[0].mean() / after[1].mean())


SIDES = ("perturbed", "untouched")


@pytest.mark.slow
def test_change_of_an_episode_does_not_depend_on_the_others(build: Build, tmp_path: Path):
    states = np.zeros((4 * 40, 2), np.float32)
    path = write_recording(tmp_path / "x.h5", [40] * 4, dims=2, size=1, columns={"proprio": states})
    dataset = open_dataset(path, "x")

    def sizes(episodes: list[int], seed: int) -> dict[int, float]:
        task = dataclasses.replace(TWOROOM, make_simulator=lambda: Lamp(lasting=True))
        staging = dataclasses.replace(staged(build(), task, dataset), seed=seed)
        result = measure_perturbation(staging, np.array(episodes), LAMP, lambda done: None)
        return {one.episode: one.size for one in result.episodes}

    together = sizes([0, 1, 2, 3], seed=7)
    assert sizes([2, 3], seed=7) == {key: together[key] for key in (2, 3)}
    assert sizes([0, 1, 2, 3], seed=8) != together


# TwoRoom


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return TWOROOM.make_simulator()


def recorded(dataset: Dataset, episode: int) -> tuple[slice, np.ndarray, np.ndarray]:
    rows = slice(dataset.offsets[episode], dataset.offsets[episode] + dataset.lengths[episode])
    states = dataset.read("proprio", rows)
    return rows, states, dataset.actions[rows][:-1]


@pytest.fixture(scope="module")
def other(other_demos: Path) -> Dataset:
    return open_dataset(other_demos / "tworoom" / "demos.h5", "tworoom/test")


@pytest.mark.slow
def test_simulating_again_gives_the_recorded_frames_bit_for_bit(other: Dataset, simulator: Simulator):
    for episode in np.argsort(other.lengths)[-3:]:
        rows, states, actions = recorded(other, episode)
        simulator.begin(states[0], states[-1])
        frames = [simulator.frame()]
        for action in actions:
            simulator.step(action)
            frames.append(simulator.frame())
        seen = other.read("pixels", rows)
        # Where the target is drawn differs if the demonstrator did not reach it; it is not drawn by default.
        assert (np.stack(frames) == seen).all()


@pytest.mark.slow
def test_teleport_moves_the_agent_to_a_free_place_far_away(simulator: Simulator):
    start, goal = np.array([60.0, 150.0]), np.array([160.0, 150.0])
    places = []
    for seed in range(50):
        simulator.begin(start, goal)
        assert simulator.position().tolist() == start.tolist()
        size = simulator.perturb("teleport", np.random.default_rng(seed))
        place = simulator.position()
        places.append(place)
        assert size == pytest.approx(np.linalg.norm(place - start), abs=1e-3)
        assert size >= 32
        assert simulator.route_valid(place[None])
        assert (simulator.frame() != background(simulator, start, goal)).any()
    places = np.stack(places)
    assert (places[:, 0] < 100).any()
    assert (places[:, 0] > 124).any()  # both rooms


def background(simulator: Simulator, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    before = simulator.position()
    simulator.begin(start, goal)
    frame = simulator.frame()
    assert (before != simulator.position()).any()
    return frame


@pytest.mark.slow
def test_color_changes_pixels_of_the_agent_only_and_a_new_beginning_restores_it(simulator: Simulator):
    start, goal = np.array([60.0, 150.0]), np.array([160.0, 150.0])
    simulator.begin(start, goal)
    plain = simulator.frame()
    simulator.begin(np.array([180.0, 60.0]), goal)
    own = (simulator.frame() != plain).any(axis=2)
    own[:, 124:] = False  # what changes on this side where the agent leaves is the agent
    for seed in range(20):
        simulator.begin(start, goal)
        assert (simulator.frame() == plain).all()
        size = simulator.perturb("color", np.random.default_rng(seed))
        assert size >= 128
        changed = (simulator.frame() != plain).any(axis=2)
        assert changed[150, 60]
        assert not changed[~own].any()
        assert simulator.position().tolist() == start.tolist()
        simulator.step(np.zeros(2, np.float32))
        assert (simulator.frame() != plain).any()  # it stays
    simulator.begin(start, goal)
    assert (simulator.frame() == plain).all()


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    home = tmp_path_factory.mktemp("surprise") / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    return home


@pytest.fixture(scope="module", params=["teleport", "color"])
def perturbed(world: Path, request: pytest.FixtureRequest) -> tuple[str, Done]:
    arguments = ["tworoom/test", "--run", RUN, "--perturb", request.param, "--episodes", 4, "--seed", 3, "--json"]
    return request.param, lewm_here(world, "surprise", *arguments)


@pytest.mark.slow
def test_perturbed_episodes_are_as_they_were_until_the_event(world: Path, perturbed: tuple[str, Done]):
    name, done = perturbed
    assert done.code == 0, done.err
    result = PerturbationResult.model_validate(done.json())
    assert (result.perturbation, result.run, result.seed, result.held_out) == (name, RUN, 3, True)
    dataset = open_dataset(world / "tworoom" / "test.h5", "tworoom/test")
    assert len(result.episodes) == 4
    for one in result.episodes:
        assert one.size >= (32 if name == "teleport" else 128)
        assert one.event == (dataset.lengths[one.episode] - 1) // 5 // 2 - 1
        for detector in DETECTORS:
            ours, theirs = one.untouched[detector], one.perturbed[detector]
            assert len(ours) == len(theirs) == (dataset.lengths[one.episode] - 1) // 5
            assert ours[: one.event] == theirs[: one.event]  # to the last bit
            assert ours[one.event] != theirs[one.event]
    assert result.scores["pixels"].ratio > 1


@pytest.mark.slow
def test_perturbation_is_stored_and_said(world: Path, perturbed: tuple[str, Done]):
    name, done = perturbed
    paths = list((world / "tworoom" / "lewm.run" / "results").glob(f"perturb-{name}-*.json"))
    assert [PerturbationResult.model_validate_json(path.read_text()) for path in paths] == [
        PerturbationResult.model_validate(done.json())
    ]
    assert f"stored: {paths[0]}" in done.err
    assert "the run was trained on none of them" in done.err


@pytest.mark.slow
def test_untouched_curves_are_those_of_the_recording(world: Path, perturbed: tuple[str, Done]):
    """The simulated episode is the recorded one, so the measurement of the recording says the same."""
    _, done = perturbed
    recording = SurpriseResult.model_validate(
        lewm_here(world, "surprise", "tworoom/test", "--seed", 3, "--json").json()
    )
    curves = {one.episode: one.curves for one in recording.episodes}
    for one in PerturbationResult.model_validate(done.json()).episodes:
        for detector in ("model", "untrained", "latent"):
            assert one.untouched[detector] == pytest.approx(curves[one.episode][detector], rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_table_of_a_perturbation_fits_a_terminal(world: Path):
    done = lewm_here(world, "surprise", "tworoom/test", "--perturb", "teleport", "--episodes", 2)
    assert done.code == 0, done.err
    for words in ("teleport", "model", "untrained", "latent step", "pixel step", "AUROC", "2 episodes of tworoom/test"):
        assert words in flat(done.out)
    assert [line for line in done.out.splitlines() if len(line.rstrip()) > 80] == []


@pytest.mark.slow
def test_episodes_too_few_to_perturb_are_said(world: Path):
    done = lewm_here(world, "surprise", "tworoom/test", "--perturb", "color", "--episodes", 1000, "--json")
    assert done.code == 0, done.err
    measured = len(done.json()["episodes"])
    assert f"only {measured} of the 12 episodes can be simulated" in done.err


@pytest.mark.slow
def test_recording_that_was_trained_on_is_said(world: Path):
    done = lewm_here(world, "surprise", "tworoom/demos", "--run", RUN, "--json")
    assert done.code == 0, done.err
    assert not done.json()["held_out"]
    trained_on = 12 - len(read_card(world / "tworoom" / "lewm.safetensors").provenance.held_out)
    assert f"note: {RUN} was trained on {trained_on} of these 12 episodes" in done.err


# The command, on recordings of noise


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def save(home: Path, build: Build) -> Callable[..., None]:
    """Put a run under a name, with a time of its last change."""

    def save(name: str, modified: float | None = None, **options: object) -> None:
        run, files = build(**options), RunFiles(home / name)
        save_run(files, run.model, run.card)
        if modified:
            os.utime(files.weights, (modified, modified))

    return save


def measured(home: Path, *arguments: object) -> tuple[SurpriseResult, Done]:
    done = lewm_here(home, "surprise", *arguments, "--json")
    assert done.code == 0, done.err
    assert left_behind(home) == []
    return SurpriseResult.model_validate(done.json()), done


def test_json_is_the_stored_result_and_nothing_else(home: Path, save: Callable[..., None]):
    save(RUN)
    write_recording(home / "tworoom" / "test.h5", (30, 24, 40), dims=2, size=64, task="tworoom")
    result, done = measured(home, "tworoom/test")
    (path,) = (home / "tworoom" / "lewm.run" / "results").glob("surprise-*.json")
    assert SurpriseResult.model_validate_json(path.read_text(encoding="utf-8")) == result
    assert f"stored: {path}" in done.err
    assert f"plot: {path.with_suffix('.svg')}" in done.err
    assert path.with_suffix(".svg").read_text(encoding="utf-8").startswith("<svg ")
    assert [len(one.curves["model"]) for one in result.episodes] == [5, 4, 7]
    assert (result.held_out, result.left_out, result.frameskip) == (True, (), 5)
    table = lewm_here(home, "surprise", "tworoom/test")
    assert "highest peaks first" in flat(table.out)
    assert max(len(line.rstrip()) for line in table.out.splitlines()) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 16, 63, 64, 100, 224])
def test_frames_of_any_size_are_measured(home: Path, save: Callable[..., None], size: int):
    save(RUN)
    write_recording(home / "x.h5", (12,) * 2, dims=2, size=size, task="tworoom")
    result, _ = measured(home, "x")
    assert len(result.episodes) == 2


@pytest.mark.slow
def test_recording_can_be_given_by_path_from_anywhere(home: Path, save: Callable[..., None], tmp_path: Path):
    save(RUN)
    path = write_recording(tmp_path / "elsewhere" / "video.h5", (12, 16), dims=2, task="tworoom")
    assert len(measured(home, path)[0].episodes) == 2
    assert len(measured(home, path.rename(path.with_suffix(".hdf5")))[0].episodes) == 2


@pytest.mark.slow
def test_only_so_many_episodes_are_measured(home: Path, save: Callable[..., None]):
    save(RUN)
    write_recording(home / "x.h5", (12,) * 5, dims=2, task="tworoom")
    assert [one.episode for one in measured(home, "x", "--episodes", 2)[0].episodes] == [0, 1]
    assert len(measured(home, "x", "--episodes", 50)[0].episodes) == 5


def test_actions_that_were_not_recorded_are_left_out_of_the_curves(home: Path, save: Callable[..., None]):
    save(RUN)
    actions = np.zeros((60, 2), np.float32)
    actions[12] = np.nan  # within the first episode
    actions[30:] = np.nan  # no action of the second one
    write_recording(home / "x.h5", (30, 30), dims=2, columns={"action": actions}, task="tworoom")
    result, _ = measured(home, "x")
    first, second = (one.curves for one in result.episodes)
    assert [value is None for value in first["model"]] == [False, False, True, True, True]
    assert set(second["model"]) == {None}
    assert None not in second["pixels"]
    table = lewm_here(home, "surprise", "x")
    assert table.code == 0
    assert "no actions" in table.out


def test_episodes_that_are_too_short_are_said(home: Path, save: Callable[..., None]):
    save(RUN)
    write_recording(home / "x.h5", (5, 6, 3, 30), dims=2, task="tworoom")
    result, done = measured(home, "x")
    assert result.left_out == (0, 2)
    assert "left out: 2 episodes with fewer than 6 rows" in done.err
    write_recording(home / "y.h5", (5, 3), dims=2, task="tworoom")
    said = lewm_here(home, "surprise", "y").sentence()
    assert "the longest episode has 5 rows, but one step of tworoom/lewm needs 6" in said


# Which run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns", "attributes"),
    [
        ("named", (), {"task": "tworoom"}),
        ("aliased", (), {"task": "two-room"}),
        ("tworoom", (), {}),  # the released file
        ("columns", ("proprio", "pos_agent", "pos_target"), {}),
    ],
)
def test_newest_run_of_the_task_is_taken_and_said(
    home: Path, save: Callable[..., None], name: str, columns: tuple[str, ...], attributes: dict[str, str]
):
    save("tworoom/older", 1e9)
    save("tworoom/newer", 1e9 + 5)
    save("tworoom/oldest", 1e9 - 5)
    save("robot/newest", 2e9, task="generic")
    states = {column: np.zeros((24, 2), np.float32) for column in columns}
    write_recording(home / f"{name}.h5", (12, 12), dims=2, columns=states, **attributes)
    result, done = measured(home, name)
    assert result.run == "tworoom/newer"
    assert "run: tworoom/newer, the newest run of tworoom (--run chooses another)" in done.err
    os.utime(home / "tworoom" / "oldest.safetensors", (3e9, 3e9))
    assert measured(home, name)[0].run == "tworoom/oldest"
    assert measured(home, name, "--run", "tworoom/older")[0].run == "tworoom/older"


@pytest.mark.slow
def test_recording_without_a_task_takes_what_fits_its_actions(home: Path, save: Callable[..., None]):
    save("tworoom/lewm", 1e9 + 5)
    save("robot/two", 1e9, task="generic")
    save("robot/three", 1e9 + 9, task="generic", dims=3)
    write_recording(home / "two.h5", (12, 12), dims=2)
    write_recording(home / "three.h5", (12, 12), dims=3)
    write_recording(home / "arm.h5", (12, 12), dims=3, task="an arm")
    assert measured(home, "two")[0].run == "robot/two"
    for name in ("three", "arm"):
        result, done = measured(home, name)
        assert result.run == "robot/three"
        assert "run: robot/three, the newest run of generic" in done.err
    (home / "robot" / "two.safetensors").unlink()
    result, done = measured(home, "two")
    assert result.run == "tworoom/lewm"
    assert "run: tworoom/lewm, the newest run with 2 action dimensions (--run chooses another)" in done.err


def test_damaged_runs_are_never_chosen(home: Path, save: Callable[..., None]):
    save(RUN, 1e9)
    (home / "tworoom" / "broken.safetensors").write_bytes(bytes(100))
    write_recording(home / "x.h5", (12, 12), dims=2, task="tworoom")
    assert measured(home, "x")[0].run == RUN


def test_no_run_that_fits_is_said_with_what_there_is(home: Path, save: Callable[..., None]):
    write_recording(home / "x.h5", (12, 12), dims=2, task="tworoom")
    write_recording(home / "arm.h5", (12, 12), dims=7)
    none = lewm_here(home, "surprise", "x").sentence()
    assert "no run fits x (tworoom, 2 action dimensions); there is no run yet; train one: lewm train tworoom" in none
    save("robot/lewm", task="generic", dims=3)
    save("tworoom/wide", dims=4)
    said = lewm_here(home, "surprise", "x").sentence()
    assert "there is robot/lewm (generic, 3), tworoom/wide (tworoom, 4)" in said
    arm = lewm_here(home, "surprise", "arm").sentence()
    assert "no run fits arm (generic, 7 action dimensions)" in arm
    assert arm.endswith("train one: lewm train arm")


# Another run beside it


@pytest.mark.slow
def test_another_run_is_a_detector(world: Path, save: Callable[..., None], home: Path):
    shutil.copytree(world, home)
    save("tworoom/other", history=2)
    line = ["surprise", "tworoom/test", "--run", RUN, "--beside", "tworoom/other", "--episodes", 2]
    done = lewm_here(home, *line, "--perturb", "teleport,frozen", "--horizon", 2, "--json")
    assert done.code == 0, done.err
    teleport, frozen = (PerturbationResult.model_validate(one) for one in done.json())
    assert (teleport.perturbation, frozen.perturbation, teleport.horizon, teleport.tests) == (
        "teleport",
        "frozen",
        2,
        10,
    )
    assert teleport.beside.run == "tworoom/other"
    assert [one.episode for one in teleport.episodes] == [one.episode for one in frozen.episodes]
    for one in (*teleport.episodes, *frozen.episodes):
        assert one.untouched["beside"][0] is one.untouched["model"][0] is None
        assert one.untouched["beside"][1:] != one.untouched["model"][1:]
    assert [float(score.corrected) >= score.t_test for score in teleport.scores.values()] == [True] * 5
    table = lewm_here(home, *line, "--perturb", "all")
    for words in ("wall", "Holm", "beside", "Beside: surprise of tworoom/other", "pixels differ by"):
        assert words in table.out
    assert [line for line in table.out.splitlines() if len(line.rstrip()) > 80] == []
    result, _ = measured(home, *line[1:])
    assert all(len(one.curves["beside"]) == len(one.curves["model"]) for one in result.episodes)


@pytest.mark.slow
def test_sizes_of_a_teleport_are_measured_at_few_false_alarms(world: Path):
    line = ["surprise", "tworoom/test", "--run", RUN, "--perturb", "teleport", "--doses", "--episodes", 2]
    done = lewm_here(world, *line, "--json")
    assert done.code == 0, done.err
    result = DoseResult.model_validate(done.json())
    others = len(result.calibrated)
    assert len(result.tried) == 2
    assert not set(result.tried) & set(result.calibrated)
    assert result.false_alarms == pytest.approx(1 / (others + 1))
    assert f"the fewest that {others} other episodes can promise" in done.err
    assert result.sizes[-1] == result.arena / 2 == 91
    for detector in DETECTORS:
        values = np.array(result.values[detector])
        assert values.shape == (len(result.sizes), 2)
        found = result.detectors[detector]
        assert [one.rate for one in found.found] == (values > found.threshold).mean(axis=1).tolist()
    (path,) = (world / "tworoom" / "lewm.run" / "results").glob("doses-*.json")
    assert DoseResult.model_validate_json(path.read_text()) == result
    assert path.with_suffix(".svg").exists()
    table = lewm_here(world, *line)
    assert "half" in table.out
    assert [line for line in table.out.splitlines() if len(line.rstrip()) > 80] == []


# What cannot be measured


def pixels(*shape: int) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        del file["pixels"]
        file["pixels"] = np.zeros((24, *shape), np.uint8)

    return write


def without(*names: str) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return write


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("action"), "has no column 'action'"),
        (without("pixels"), "has no column 'pixels'"),
        (without("ep_len", "ep_offset"), "has no column 'ep_len'"),
        (pixels(20, 20, 2), "square RGB frames (N, size, size, 3)"),
        (pixels(20, 30, 3), "frames of 30 x 20 pixels, and they have to be square"),
    ],
)
def test_recording_that_is_none_is_refused(
    home: Path, save: Callable[..., None], spoil: Callable[[h5py.File], None], said: str
):
    save(RUN)
    with h5py.File(write_recording(home / "x.h5", (12, 12), dims=2, task="tworoom"), "a") as file:
        spoil(file)
    assert said in lewm_here(home, "surprise", "x").sentence()


@pytest.fixture
def mixed(home: Path, save: Callable[..., None]) -> Iterator[Path]:
    """A home with runs and recordings that do not all fit each other; nothing is measured in it."""
    save(RUN)
    save("robot/lewm", task="generic")
    save("robot/wide", task="generic", dims=3)
    write_recording(home / "test.h5", (40, 40, 40), dims=2, task="tworoom")
    write_recording(home / "wide.h5", (40, 40), dims=3, task="tworoom")
    write_recording(home / "arm.h5", (40, 40), dims=2, task="an arm")
    write_recording(home / "plain.h5", (40, 40), dims=2)
    write_recording(home / "short.h5", (30, 29, 40), dims=2, task="tworoom")
    (home / "broken.h5").write_bytes(b"no HDF5")
    yield home
    assert list(home.rglob("results")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing"], 1, "there is no dataset 'nothing'"),
        (["nothing.h5"], 1, "there is no file nothing.h5"),
        (["/nowhere/at/all.h5"], 1, "there is no file /nowhere/at/all.h5"),
        (["../all.hdf5"], 1, "there is no file ../all.hdf5"),
        (["./all.h5"], 1, "there is no file ./all.h5"),
        (["test.safetensors"], 1, "there is no dataset 'test.safetensors'"),
        (["broken"], 1, "cannot be read as HDF5"),
        (["test", "--run", "tworoom/lwem"], 1, "there is no run 'tworoom/lwem'"),
        (["wide", "--run", RUN], 1, "wide has 3 action dimensions, and tworoom/lewm was trained with 2"),
        (["arm", "--run", RUN], 1, "arm is a recording of an arm, and tworoom/lewm was trained on tworoom"),
        (["test", "--run", "robot/lewm"], 1, "test is a recording of tworoom, and robot/lewm was trained on generic"),
        (["test", "--perturb", "earthquake"], 1, "no perturbation 'earthquake'; there is teleport, color, matched"),
        (["test", "--perturb", "color,telport"], 1, "no perturbation 'telport'; did you mean 'teleport'?"),
        (["test", "--doses"], 2, "add --perturb teleport"),
        (
            ["test", "--perturb", "color", "--doses"],
            1,
            "no perturbation 'color' whose size can be chosen; there is teleport",
        ),
        (["test", "--perturb", "color,wall", "--plot", "x.svg"], 2, "--plot names one file"),
        (["test", "--run", RUN, "--beside", RUN], 1, "is the run that is measured"),
        (["test", "--run", RUN, "--beside", "robot/wide"], 1, "action dimensions 3 and 2"),
        (["test", "--run", RUN, "--beside", "robot/no"], 1, "there is no run 'robot/no'"),
        (["plain", "--run", "robot/lewm", "--perturb", "teleport"], 1, "has no simulator to perturb"),
        (["short", "--perturb", "teleport"], 1, "1 of 3 episodes of short have every action and the 31 rows"),
        (["test", "--episodes", 1], 2, "--episodes"),
        (["test", "--seed", -1], 2, "--seed"),
        (["test", "--plot", "surprise.png"], 2, "'surprise.png' does not end in .svg"),
        (["test", "--device", "abacus"], 2, "abacus"),
        ([], 2, "recording"),
    ],
)
def test_what_cannot_be_measured_is_refused(mixed: Path, arguments: list, code: int, said: str):
    assert said.lower() in lewm_here(mixed, "surprise", *arguments).sentence(code).lower()


def test_recording_without_states_cannot_be_perturbed(home: Path, save: Callable[..., None]):
    save(RUN)
    write_recording(home / "x.h5", (40, 40), dims=2, task="tworoom", columns={"action": np.zeros((80, 2), np.float32)})
    assert "has no column 'proprio'" in lewm_here(home, "surprise", "x", "--perturb", "color").sentence()


@pytest.mark.slow
def test_generic_run_measures_the_recording_it_was_made_for_whatever_its_task_is_called(
    home: Path, save: Callable[..., None]
):
    save("robot/lewm", task="generic")
    for name, attributes in (("plain", {}), ("arm", {"task": "an arm"}), ("said", {"task": "generic"})):
        write_recording(home / f"{name}.h5", (12, 12), dims=2, **attributes)
        assert measured(home, name, "--run", "robot/lewm")[0].task == "generic"
