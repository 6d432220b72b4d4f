"""Probes of imagined latents, in a world of which the model knows everything, and one where it expects no change."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commands import flat, lewm_here
from lewm_cli.data import Dataset, DecodedFrames, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import usual_horizon
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.probe import (
    Imagination,
    ProbeResult,
    draw_samples,
    encode,
    fit_probes,
    measure_open_loop,
    probe_imagination,
    rows_before,
)
from lewm_cli.statistics import BreakEven, Estimate
from lewm_cli.store import Run, RunFiles, save_run
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording
from walks import CONFIG, EPISODES, ROWS, SIZE, SKIP, Copying, Knowing, walks


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 60)
    monkeypatch.setattr("lewm_cli.heads.position.BATCH", 64)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return walks(tmp_path / "walks.h5")


@pytest.fixture
def build(tmp_path: Path, small_card: Callable[[JEPA], RunCard]) -> Callable[[type[Knowing]], Run]:
    def build(kind: type[Knowing]) -> Run:
        card = small_card(JEPA(CONFIG, block_dim=SKIP * 2))
        return Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), kind(card).eval(), "lewm", card, tensors=1, sha256="")

    return build


def imagine(run: Run, dataset: Dataset, horizon: int = 6) -> Imagination:
    every = np.arange(dataset.episodes)
    samples = draw_samples(dataset, TWOROOM, every, frames=10_000, seed=0, before=rows_before(run), frameskip=SKIP)
    frames = DecodedFrames(dataset, SIZE)
    features = encode(run, dataset, frames, samples, 0, lambda done: None)
    fitted = fit_probes(samples, features, seed=0, advance=lambda done: None)
    return probe_imagination(run, dataset, frames, samples, fitted, features.view, horizon=horizon, seed=0)


def test_model_that_knows_everything_imagines_what_is_re_encoded(build: Callable, dataset: Dataset):
    found = imagine(build(Knowing), dataset)
    assert (found.horizon, found.frameskip, found.history) == (6, SKIP, 3)
    assert [target.name for target in found.targets] == ["agent x", "agent y"]
    for target in found.targets:
        assert (target.linear.break_even.step, target.mlp.break_even.step) == (None, None)
        assert str(target.linear.break_even) == ">6 [>6, >6]"
        for reading in (target.linear, target.mlp):
            for imagined, encoded in zip(reading.errors["imagined"], reading.errors["encoded"], strict=True):
                assert imagined.rmse == pytest.approx(encoded.rmse, abs=1e-3)
                assert imagined.r2 == pytest.approx(encoded.r2, abs=1e-3)
        assert max(error.rmse for error in target.linear.errors["encoded"]) < 1e-3
        assert min(error.r2 for error in target.linear.errors["imagined"]) > 0.9999
        copied = [error.rmse for error in target.linear.errors["copying"]]
        assert copied == sorted(copied)
        assert copied[0] == pytest.approx(np.sqrt(5 * 2), rel=0.2)  # five steps, each of variance 2


def test_model_that_expects_no_change_breaks_even_at_once(build: Callable, dataset: Dataset):
    for target in imagine(build(Copying), dataset).targets:
        for reading in (target.linear, target.mlp):
            assert reading.errors["imagined"] == reading.errors["copying"]
            assert (reading.break_even.step, reading.break_even.low, reading.break_even.high) == (1, 1, 1)


def test_open_loop_errors_are_those_of_the_latents(build: Callable, dataset: Dataset):
    frames, every = DecodedFrames(dataset, SIZE), np.arange(dataset.episodes)
    found = measure_open_loop(build(Knowing), dataset, frames, every, seed=0)
    assert (found.episodes, found.history) == (EPISODES, 3)
    assert [(one.asked, one.steps) for one in found.horizons] == [(15, 3), (25, 5)]
    copied = measure_open_loop(build(Copying), dataset, frames, every, seed=0)
    for one, other in zip(found.horizons, copied.horizons, strict=True):
        assert one.copying == other.copying == other.imagined > 1e-3
        assert other.ratio == Estimate(value=1, low=1, high=1)
        assert one.ratio.value == pytest.approx(one.imagined / one.copying)
        assert one.ratio.low <= one.ratio.value <= one.ratio.high < 1e-6


@pytest.mark.parametrize(("skip", "steps"), [(1, [15, 25]), (4, [4, 6]), (10, [2, 2]), (40, [1, 1])])
def test_horizons_that_are_no_whole_number_of_steps_are_measured_at_the_nearest(
    tmp_path: Path, small_card: Callable, scramble: Callable, skip: int, steps: list[int]
):
    model = scramble(JEPA(CONFIG, block_dim=2 * skip)).eval()
    card = small_card(JEPA(CONFIG, block_dim=10))
    card = card.model_copy(update={"inputs": card.inputs.model_copy(update={"frameskip": skip})})
    run = Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), model, "lewm", card, tensors=1, sha256="")
    dataset = walks(tmp_path / "long.h5", rows=130)
    found = measure_open_loop(run, dataset, DecodedFrames(dataset, SIZE), np.arange(EPISODES), seed=0)
    assert [one.steps for one in found.horizons] == steps


def test_usual_horizon_is_one_that_half_of_the_episodes_allow(build: Callable, tmp_path: Path):
    run = build(Knowing)
    for rows, horizon in ((200, 10), (61, 10), (60, 9), (36, 5), (16, 1), (15, 0), (2, 0)):
        assert usual_horizon(run, walks(tmp_path / f"{rows}.h5", rows), np.arange(EPISODES)) == horizon
    with pytest.raises(LewmError, match="66 rows that 11 imagined steps of tworoom/lewm take"):
        imagine(run, walks(tmp_path / "x.h5", 65), horizon=11)


def test_stretch_whose_quantity_is_not_known_is_left_out(build: Callable, tmp_path: Path):
    dataset = walks(tmp_path / "x.h5")
    run, every, frames = build(Knowing), np.arange(dataset.episodes), DecodedFrames(dataset, SIZE)
    drawn = {"frames": 300, "seed": 0, "before": rows_before(run), "frameskip": SKIP}
    samples = draw_samples(dataset, TWOROOM, every, **drawn)
    features = encode(run, dataset, frames, samples, 0, lambda done: None)
    fitted = fit_probes(samples, features, seed=0, advance=lambda done: None)
    unread = np.setdiff1d(np.arange(dataset.rows), samples.rows)
    holed = dataset.read("proprio", np.arange(dataset.rows)).copy()
    holed[unread[::9]] = np.nan
    columns = {name: dataset.read(name, np.arange(dataset.rows)) for name in ("pixels", "action")}
    path = write_recording(tmp_path / "y.h5", [ROWS] * EPISODES, dims=2, columns=columns | {"proprio": holed})
    whole, gaps = (
        probe_imagination(run, one, frames, samples, fitted, features.view, horizon=1, seed=0)
        for one in (dataset, open_dataset(path, "y"))
    )
    assert 0 < gaps.stretches < whole.stretches


# The numbers


def test_break_even_is_the_first_step_at_which_the_reference_is_as_good():
    reference = np.ones((40, 5))
    errors = np.tile([0.2, 0.5, 0.9, 1.1, 0.3], (40, 1))
    episodes = np.arange(40) // 2
    found = BreakEven.of(errors, reference, episodes)
    assert (found.step, found.low, found.high) == (4, 4, 4)
    assert str(found) == "4 [4, 4]"
    assert BreakEven.of(errors[:, :3], reference[:, :3], episodes).step is None
    assert BreakEven.of(reference * (1 - 1e-7), reference, episodes).step == 1  # lower by rounding only


def test_interval_of_break_even_draws_whole_episodes():
    generator = np.random.default_rng(0)
    episodes = np.repeat(np.arange(10), 4)
    level = generator.normal(1, 0.3, (10, 1))[episodes]
    errors = level * np.linspace(0.5, 1.5, 9)
    found = BreakEven.of(errors, np.ones((40, 9)), episodes)
    alone = BreakEven.of(errors, np.ones((40, 9)), np.arange(40))
    assert found.low < found.step < found.high
    assert found.high - found.low > alone.high - alone.low


def test_interval_of_a_ratio_is_that_of_resampled_episodes():
    generator = np.random.default_rng(1)
    episodes = np.repeat(np.arange(12), 3)
    values, reference = generator.uniform(1, 2, 36), generator.uniform(3, 5, 36)
    found = Estimate.of_ratio(values, reference, episodes)
    resampled = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(episodes == one) for one in generator.integers(12, size=12)])
        resampled.append(values[rows].mean() / reference[rows].mean())
    assert found.value == pytest.approx(values.mean() / reference.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(resampled, [2.5, 97.5])), abs=0.005)
    assert Estimate.of_ratio(np.zeros(3), np.zeros(3), np.arange(3)).value == 0


# The command


@pytest.fixture
def world(tmp_path: Path, scramble: Callable, small_card: Callable[[JEPA], RunCard]) -> Path:
    home = tmp_path / "home"
    model = scramble(JEPA(CONFIG, block_dim=SKIP * 2)).eval()
    save_run(RunFiles(home / "tworoom" / "lewm"), model, small_card(model))
    walks(home / "tworoom" / "test.h5")
    walks(home / "tworoom" / "short.h5", rows=14)
    return home


def test_command_prints_and_stores_what_is_imagined(world: Path):
    done = lewm_here(
        world, "probe", "tworoom/lewm", "--dataset", "tworoom/test", "--imagine", 4, "--seeds", 2, "--paper"
    )
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    for words in ("+1", "+4", "break-even", "re-encoded", "Open-loop error", "environment steps"):
        assert words in flat(done.out)
    (path,) = (world / "tworoom" / "lewm.run" / "results").glob("probe-*.json")
    result = ProbeResult.model_validate_json(path.read_text(encoding="utf-8"))
    assert (result.imagination.horizon, result.open_loop.episodes) == (4, EPISODES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "tworoom/test", "--imagine", 0], ""),
        (["--dataset", "tworoom/short"], "nothing is imagined: most episodes of tworoom/short are shorter than"),
    ],
)
def test_nothing_is_imagined_where_nothing_can_or_should_be(world: Path, arguments: list, said: str):
    done = lewm_here(world, "probe", "tworoom/lewm", *arguments)
    assert done.code == 0, done.err
    assert said in flat(done.err)
    assert "break-even" not in done.out


def test_horizon_that_no_episode_allows_is_refused(world: Path):
    done = lewm_here(world, "probe", "tworoom/lewm", "--dataset", "tworoom/test", "--imagine", 13)
    assert "no episode of tworoom/test has all actions and the 76 rows" in done.sentence(1)
    assert not (world / "tworoom" / "lewm.run" / "results").exists()
