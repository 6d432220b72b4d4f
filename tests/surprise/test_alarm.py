"""Thresholds of surprise keep the rate of false alarms that they promise, and what lies above is found and told."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import lewm_cli
from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import EncoderConfig, ModelConfig, PlannerConfig, PredictorConfig, ProjectorConfig
from lewm_cli.data import HDF5Dataset, open_dataset
from lewm_cli.errors import UnlikeError
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import RunFiles, read_card, save_run
from lewm_cli.surprise import Alarm, SurpriseResult, TooFewError, conformal_threshold, find_events, needed_episodes
from lewm_cli.surprise.alarm import calibrating, draw_calibrating
from places import QUICK
from synthetic import join_recordings, write_recording

pytest_plugins = ("recordings",)

RUN = "tworoom/lewm"
HELD_OUT = "tworoom/demo"
"""Name of the recording that the run says it was trained on."""


# The threshold


def episodes_of(generator: np.random.Generator, count: int) -> list[np.ndarray]:
    """Curves of episodes that differ from each other far more than their steps do; the short ones surprise more."""
    lengths = generator.integers(2, 30, count)
    levels = np.exp(generator.normal(size=count)) * np.where(lengths < 8, 3.0, 1.0)
    return [level * generator.uniform(0.9, 1.1, length) for level, length in zip(levels, lengths.tolist(), strict=True)]


@pytest.fixture(scope="module")
def false_alarms() -> Callable[[float], float]:
    """The mean share of steps above a threshold, over very many episodes."""
    fresh = episodes_of(np.random.default_rng(1), 20_000)
    values, weights = np.concatenate(fresh), np.concatenate([np.full(len(one), 1 / len(one)) for one in fresh])
    order = np.argsort(values)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0) / len(fresh)
    return lambda threshold: above[np.searchsorted(values[order], threshold, "right")]


@pytest.mark.parametrize(("rate", "episodes"), [(0.05, 19), (0.05, 60), (0.1, 30), (0.2, 30), (0.01, 99)])
def test_rate_of_false_alarms_is_kept_over_many_draws(
    false_alarms: Callable[[float], float], rate: float, episodes: int
):
    generator, found, of_steps = np.random.default_rng(0), [], []
    for _ in range(400):
        drawn = episodes_of(generator, episodes)
        found.append(false_alarms(conformal_threshold(drawn, rate)))
        of_steps.append(false_alarms(float(np.quantile(np.concatenate(drawn), 1 - rate))))
    assert np.mean(found) <= 1.05 * rate  # as exactly as so many draws tell
    assert np.mean(found) >= rate - 1.5 / (episodes + 1)  # of no use if it were never above
    assert np.mean(of_steps) > 1.2 * rate  # steps are no independent draws


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("rounded", [True, False])
def test_threshold_is_the_lowest_that_promises_the_rate(rate: float, rounded: bool):
    generator = np.random.default_rng(int(100 * rate))
    curves = [curve.round(1) if rounded else curve for curve in episodes_of(generator, 25)]  # with ties

    def promised(threshold: float) -> bool:
        return (sum((curve > threshold).mean() for curve in curves) + 1) / (len(curves) + 1) <= rate + 1e-12

    threshold = conformal_threshold(curves, rate)
    assert promised(threshold)
    assert not any(promised(value) for value in np.unique(np.concatenate(curves)) if value < threshold)


@pytest.mark.parametrize(("rate", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99), (0.003, 333), (0.001, 999)])
def test_episodes_that_a_rate_needs(rate: float, needed: int):
    assert needed_episodes(rate) == needed
    assert conformal_threshold([np.ones(3)] * needed, rate) == 1
    with pytest.raises(TooFewError, match=rf"^{needed - 1} episodes? to calibrate on .* takes {needed} of them$"):
        conformal_threshold([np.ones(3)] * (needed - 1), rate)


@pytest.mark.parametrize(
    ("drawn", "rate", "calibrate"),
    [(400, 0.01, 300), (200, 0.01, 150), (100, 0.01, 99), (40, 0.05, 30), (20, 0.05, 19), (2, 0.5, 1)],
)
def test_as_many_episodes_calibrate_as_the_rate_takes_and_one_is_left(drawn: int, rate: float, calibrate: int):
    assert calibrating(drawn, rate) == calibrate
    assert sorted(draw_calibrating(range(drawn), rate, 0)) == list(range(drawn))
    assert draw_calibrating(range(drawn), rate, 0) != draw_calibrating(range(drawn), rate, 1) or drawn == 2


@pytest.mark.parametrize("episodes", [0, 1, 99])
def test_too_few_episodes_are_refused_before_they_are_measured(episodes: int):
    with pytest.raises(TooFewError, match="can promise no rate of false alarms below"):
        draw_calibrating(range(episodes), 0.01, 0)


def test_of_many_episodes_some_are_drawn():
    assert len(set(draw_calibrating(range(5000), 0.05, 0))) == 400
    assert len(draw_calibrating(range(5000), 0.001, 0)) == 4000


# Events


@pytest.mark.parametrize(
    ("curve", "found"),
    [
        ((0.1, 2.0, 3.0, 0.2), [(10, 2, 3.0)]),
        ((2.0, 0.1, 4.0), [(5, 1, 2.0), (15, 1, 4.0)]),
        ((2.0, None, 4.0), [(5, 1, 2.0), (15, 1, 4.0)]),
        ((3.0, 2.0), [(5, 2, 3.0)]),
        ((1.0, 1.0, 1.0), []),  # not above
        ((None, None), []),
        ((), []),
    ],
)
def test_steps_above_the_threshold_that_touch_are_one_event(curve: tuple, found: list):
    events = find_events(7, curve, 1.0, 5, 0.1)
    assert [(one.row, one.steps, one.peak) for one in events] == found
    for one in events:
        assert (one.episode, one.size) == (7, one.peak)
        assert (one.seconds, one.duration) == (pytest.approx(0.1 * one.row), pytest.approx(0.5 * one.steps))


def test_time_and_size_are_not_made_up():
    (event,) = find_events(0, (0.0, 2.0), 0.0, 5, None)
    assert (event.seconds, event.duration, event.size) == (None, None, None)


def test_surprise_that_is_constant_is_no_event():
    curves = [np.full(4, 0.25)] * 30
    assert find_events(0, (0.25,) * 4, conformal_threshold(curves, 0.1), 5, None) == []


# The command, on recordings of noise


@pytest.fixture
def home(tmp_path: Path, scramble: Callable, small_card: Callable[[JEPA], RunCard]) -> Path:
    """A home with a tiny run, the recording that it held out, and another of the same noise, at 20 rows a second."""
    config = ModelConfig(
        image_size=16,
        latent=4,
        encoder=EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=16),
        projector=ProjectorConfig(hidden=16),
        predictor=PredictorConfig(depth=1, heads=2, head_dim=8, mlp=16, dropout=0.0),
    )
    model = scramble(JEPA(config, block_dim=10)).eval()
    save_run(RunFiles(tmp_path / "home" / RUN), model, small_card(model))
    write_recording(tmp_path / "home" / f"{HELD_OUT}.h5", (26,) * 24, dims=2, size=16, task="tworoom")
    write_recording(tmp_path / "home" / "x.h5", (31, 4, 21), dims=2, size=16, noise=1, task="tworoom", fps=20.0)
    return tmp_path / "home"


def measured(home: Path, *arguments: object, code: int = 0) -> tuple[SurpriseResult, Done]:
    done = lewm_here(home, "surprise", *arguments, "--json")
    assert done.code == code, done.err
    assert left_behind(home) == []
    return SurpriseResult.model_validate(done.json()), done


def alarms(home: Path) -> list[Alarm]:
    paths = sorted((home / f"{RUN}.run" / "results").glob("alarm-*.json"))
    return [Alarm.model_validate_json(path.read_text(encoding="utf-8")) for path in paths]


def keep(home: Path, **changed: object) -> None:
    """Stores the newest alarm once more, changed, as an even newer one."""
    text = alarms(home)[-1].model_copy(update=changed).model_dump_json()
    (home / f"{RUN}.run" / "results" / "alarm-29990101-000000-000000.json").write_text(text, encoding="utf-8")


def test_alarm_is_calibrated_once_and_used_from_then_on(home: Path):
    plain, done = measured(home, "x")
    assert (plain.threshold, plain.events) == (None, ())
    assert done.err.splitlines()[-1] == f"events above a threshold: lewm surprise x --run {RUN} --false-alarms 1%"
    first, done = measured(home, "x", "--false-alarms", "20%")
    (alarm,) = alarms(home)
    assert (alarm.dataset.name, alarm.false_alarms, alarm.held_out, alarm.seed) == (HELD_OUT, 0.2, True, 0)
    assert (len(alarm.calibrated), len(alarm.tried)) == (18, 6)
    assert sorted(alarm.calibrated + alarm.tried) == list(range(24))
    assert alarm.measured.trials == 30
    assert f"{alarm}" in done.err
    assert f"at most 20% of the steps of an undisturbed episode, calibrated on 18 episodes of {HELD_OUT}" in done.err
    assert first.threshold == alarm.used
    assert first.episodes == plain.episodes
    for again in (["--false-alarms", "0.2"], []):
        result, done = measured(home, "x", *again)
        assert (result.threshold, result.events) == (first.threshold, first.events)
        assert "calibrating" not in done.err
        assert ("stored; --false-alarms chooses another" in done.err) == (again == [])
    assert len(alarms(home)) == 1
    keep(home, threshold=1e9)
    assert measured(home, "x")[0].threshold.value == 1e9


def test_threshold_and_what_it_was_tried_on_are_those_of_the_measured_curves(home: Path):
    measured(home, "x", "--false-alarms", "20%", "--seed", 3)
    (alarm,) = alarms(home)
    result, done = measured(home, HELD_OUT)
    curves = {one.episode: np.array(one.curves["model"], float) for one in result.episodes}
    assert alarm.threshold == conformal_threshold([curves[episode] for episode in alarm.calibrated], 0.2)
    above = [curves[episode] > alarm.threshold for episode in alarm.tried]
    assert alarm.measured.successes == np.sum(above)
    assert alarm.with_event.successes == sum(one.any() for one in above)
    assert "note: the threshold was calibrated on 18 of these 24 episodes, so it fits them too well" in done.err
    found = {(one.episode, one.row) for one in result.events}
    first_above = {(e, 5 * (k + 1)) for e, c in curves.items() for k in range(5) if c[k] > alarm.threshold}
    assert found == {(e, row) for e, row in first_above if (e, row - 5) not in first_above}


@pytest.mark.parametrize(
    ("arguments", "calibrated"),
    [
        (["--false-alarms", "20%"], 0),
        (["--false-alarms", "20%", "--calibrate", HELD_OUT], 0),
        (["--false-alarms", "25%"], 1),
        (["--false-alarms", "20%", "--seed", "1"], 1),
        (["--false-alarms", "20%", "--calibrate", "other"], 1),
    ],
)
def test_what_is_asked_for_otherwise_is_calibrated_anew(home: Path, arguments: list[str], calibrated: int):
    write_recording(home / "other.h5", (16,) * 12, dims=2, size=16, noise=2, task="tworoom")
    measured(home, "x", "--false-alarms", "20%")
    result, _ = measured(home, "x", *arguments)
    assert len(alarms(home)) == 1 + calibrated
    assert result.threshold == alarms(home)[-1].used


def test_alarm_of_other_weights_is_not_used(home: Path):
    measured(home, "x", "--false-alarms", "20%")
    keep(home, weights_sha256="0" * 64, threshold=1e9)
    assert measured(home, "x")[0].threshold == alarms(home)[0].used


def test_events_are_listed_and_their_exit_code_is_asked_for(home: Path):
    result, _ = measured(home, "x", "--false-alarms", "50%")
    assert len(result.events) > 1
    assert result.seconds_per_row == 0.05
    assert all(one.seconds == pytest.approx(one.row / 20) for one in result.events)
    done = lewm_here(home, "surprise", "x", "--fail-on-event")
    assert done.code == 3
    highest = max(result.events, key=lambda event: event.peak)
    assert f"events of {RUN} on x" in flat(done.out)
    assert done.out.splitlines()[3].split()[:3] == [f"{highest.episode}", f"{highest.row}", f"{highest.seconds:.2f}"]
    assert f"{len(result.events)} events in 2 of 2 episodes: " in done.out
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
    keep(home, threshold=1e9)
    quiet = lewm_here(home, "surprise", "x", "--fail-on-event")
    assert quiet.code == 0
    assert "0 events in 0 of 2 episodes: 0 of 10 steps above 1e+09." in quiet.out


def test_page_and_plot_show_the_events(home: Path):
    result, _ = measured(home, "x", "--false-alarms", "50%", "--plot", home / "plot.svg")
    said = f"{len(result.events)} events in 2 of 2 episodes above the threshold"
    assert said in (home / "plot.svg").read_text(encoding="utf-8")
    assert lewm_here(home, "report", RUN).code == 0
    page = (home / f"{RUN}.run" / "report.html").read_text(encoding="utf-8")
    assert said in page
    assert "on average at most 50% of the steps of an undisturbed episode lie above it" in page
    assert "<th>highest events</th>" in page
    shown = lewm_here(home, "show", RUN)
    assert "threshold, 50% false alarms" in flat(shown.out)


def test_actions_that_are_not_known_make_no_event(home: Path):
    actions = np.zeros((40, 2), np.float32)
    actions[:20] = np.nan
    write_recording(home / "y.h5", (20, 20), dims=2, size=16, columns={"action": actions}, task="tworoom")
    measured(home, "x", "--false-alarms", "50%")
    keep(home, threshold=0.0)
    result, _ = measured(home, "y", "--csv", home / "y.csv", "--video", home / "v", "--episodes", 2)
    assert [(one.episode, one.row, one.steps, one.size) for one in result.events] == [(1, 5, 3, None)]
    assert (home / "y.csv").read_text(encoding="utf-8").splitlines()[1] == "0,5,,,0.0,"
    assert len(list((home / "v").iterdir())) == 2


def test_table_has_a_row_for_every_model_step(home: Path):
    measured(home, "x", "--csv", home / "plain.csv")
    result, done = measured(home, "x", "--false-alarms", "50%", "--csv", home / "deep" / "x.csv")
    assert f"table: {home / 'deep' / 'x.csv'}" in done.err
    with (home / "deep" / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [(one.episode, k, value) for one in result.episodes for k, value in enumerate(one.curves["model"])]
    assert [(int(row["episode"]), float(row["surprise"])) for row in rows] == [(e, value) for e, _, value in steps]
    assert [(int(row["row"]), float(row["seconds"])) for row in rows] == [
        (5 * k + 5, (5 * k + 5) / 20) for _, k, _ in steps
    ]
    assert [row["event"] == "yes" for row in rows] == [value > result.threshold.value for *_, value in steps]
    assert {row["threshold"] for row in rows} == {f"{result.threshold.value}"}
    with (home / "plain.csv").open(newline="") as file:
        assert {(row["threshold"], row["event"]) for row in csv.DictReader(file)} == {("", "")}


def test_video_shows_the_recorded_frames_and_marks_events(home: Path):
    result, done = measured(home, "x", "--false-alarms", "50%", "--video", home / "videos")
    assert f"videos: {home / 'videos'} (2 episodes with events)" in done.err
    assert sorted(path.name for path in (home / "videos").iterdir()) == ["episode-000.mp4", "episode-002.mp4"]
    path = home / "videos" / "episode-000.mp4"
    assert imageio.immeta(path, plugin="FFMPEG")["fps"] == 20
    film = imageio.imread(path, plugin="FFMPEG").astype(int)
    recorded = open_dataset(home / "x.h5", "x").read("pixels", slice(0, 31)).astype(int)
    left = (film.shape[2] - 16) // 2
    assert len(film) == 31
    shown = film[:, 6:22, left : left + 16]
    error = np.abs(shown - recorded).mean(axis=(1, 2, 3))
    other = np.abs(shown[:-1] - recorded[1:]).mean(axis=(1, 2, 3))
    assert error.max() < other.min()  # of noise, coding keeps little
    rows = {row for one in result.events if one.episode == 0 for row in range(one.row, one.row + 5 * one.steps)}
    marked = film[:, 1:5, left : left + 16].mean(axis=(1, 2))
    assert {row for row in range(31) if marked[row, 0] - marked[row, 2] > 80} == rows & set(range(31))
    assert (np.abs(film[30, 23:] - film[0, 23:]) > 30).any()  # the curve has run


def test_only_some_episodes_are_filmed_unless_their_number_is_given(home: Path):
    measured(home, "x", "--false-alarms", "50%")
    _, done = measured(home, HELD_OUT, "--video", home / "some")
    with_events = len({event.episode for event in measured(home, HELD_OUT)[0].events})
    assert with_events > 12
    assert f"videos: {home / 'some'} (12 of {with_events} episodes with events)" in done.err
    assert len(list((home / "some").iterdir())) == 12
    _, done = measured(home, HELD_OUT, "--video", home / "all", "--episodes", 14)
    assert f"videos: {home / 'all'} (14 episodes)" in done.err
    keep(home, threshold=1e9)
    _, done = measured(home, "x", "--video", home / "none")
    assert "no video: no episode has an event; --episodes N films the first N" in done.err
    shutil.rmtree(home / f"{RUN}.run")
    assert "(2 episodes of the highest peaks)" in measured(home, "x", "--video", home / "peaks")[1].err


def test_ctrl_c_while_filming_leaves_nothing_half_written(home: Path, monkeypatch: pytest.MonkeyPatch):
    read = HDF5Dataset.read

    def interrupted(self: HDF5Dataset, name: str, rows: np.ndarray | slice) -> np.ndarray:
        if name == "pixels" and isinstance(rows, slice) and rows.start > 0:
            raise KeyboardInterrupt
        return read(self, name, rows)

    monkeypatch.setattr(HDF5Dataset, "read", interrupted)
    done = lewm_here(home, "surprise", "x", "--video", home / "videos", "--episodes", 3)
    assert done.code == 130
    assert [path.name for path in (home / "videos").iterdir()] == ["episode-000.mp4"]


def test_video_with_actions_has_seconds_and_a_film(home: Path):
    frames = np.random.default_rng(5).integers(0, 256, (30, 32, 48, 3), dtype=np.uint8)
    imageio.imwrite(home / "clip.mp4", frames, plugin="FFMPEG", fps=25, codec="libx264", macro_block_size=1)
    np.save(home / "a.npy", np.zeros((30, 2), np.float32))
    clip = (home / "clip.mp4", "--actions", home / "a.npy", "--run", RUN)
    _, done = measured(home, *clip)
    assert f"--actions {home / 'a.npy'} --run {RUN} --false-alarms 1%" in done.err.splitlines()[-1]
    result, _ = measured(home, *clip, "--false-alarms", "50%", "--video", home / "v", "--episodes", 2)
    assert result.seconds_per_row == pytest.approx(1 / 25)
    assert len(imageio.imread(home / "v" / "episode-000.mp4", plugin="FFMPEG")) == 30


# Single frames


def gray(count: int) -> np.ndarray:
    """Frames that hardly change."""
    levels = np.random.default_rng(3).integers(126, 131, (count, 1, 1, 1), dtype=np.uint8)
    return np.broadcast_to(levels, (count, 16, 16, 3)).copy()


def test_alarm_of_a_run_is_what_its_policy_checks_with(home: Path):
    done = lewm_here(home, "surprise", "x", "--false-alarms", "20%", "--json")
    assert done.code == 0, done.err
    (alarm,) = alarms(home)
    assert f"{alarm.frames.measured.rate:.2%} of their frames are unlike the others" in done.err
    run = lewm_cli.load(RUN, cache_dir=home)
    noise = np.random.default_rng(9).integers(60, 190, (16, 16, 3), dtype=np.uint8)  # inside of what was recorded
    policy = lewm_cli.Policy(run, noise, planner=PlannerConfig(**QUICK))
    assert policy.alarm == alarm.frames
    assert np.isfinite(policy.act(noise)).all()
    low, high = np.zeros_like(noise), np.full_like(noise, 255)
    for strange in (np.where(noise > 120, high, low), low, high):
        assert alarm.frames.score(strange) > 0
    write_recording(home / "narrow.h5", (26,) * 24, dims=2, size=16, task="tworoom", columns={"pixels": gray(26 * 24)})
    assert lewm_here(home, "surprise", "x", "--false-alarms", "20%", "--calibrate", "narrow").code == 0
    strict = lewm_cli.Policy(run, gray(1)[0], planner=PlannerConfig(**QUICK))
    with pytest.raises(UnlikeError):
        strict.act(noise)


# What cannot be meant, and what cannot be calibrated


@pytest.mark.parametrize("rate", ["1", "0", "100%", "0%", "-1%", "one", "1e-2", "nan", "1 percent", "1%%", ""])
def test_rate_that_is_none_is_refused(home: Path, rate: str):
    said = lewm_here(home, "surprise", "x", f"--false-alarms={rate}").sentence(2)
    assert "is no share of steps between 0 and 1, like 1% or 0.01" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--fail-on-event"], 2, f"--fail-on-event needs a threshold, and {RUN} has none: add --false-alarms 1%"),
        (["--calibrate", HELD_OUT], 2, "--calibrate names what --false-alarms is calibrated on; add --false-alarms 1%"),
        (["--csv", "-"], 2, "--csv takes the name of a file"),
        (["--csv", "{home}/x.h5/y.csv"], 1, "x.h5/y.csv cannot be written"),
        (["--csv", "{home}"], 1, "it is a folder; name a file"),
        (["--video", "{home}/x.h5"], 1, "x.h5/episode.mp4 cannot be written"),
        (["--perturb", "color", "--video", "v"], 2, "--video is for recordings as they are; leave out one of them"),
        (["--perturb", "color", "--fail-on-event"], 2, "--fail-on-event is for recordings as they are"),
        (["--false-alarms", "1%", "--calibrate", "nope"], 1, "there is no dataset 'nope'"),
        (["--false-alarms", "1%", "--calibrate", "wide"], 1, "wide has 3 action dimensions"),
        (
            ["--false-alarms", "1%"],
            1,
            "23 episodes to calibrate on can promise no rate of false alarms below 4.17%; 1% takes 99 of them; record "
            "more (lewm collect tworoom --episodes 400 --seed 1 --name tworoom/calibration) and name them with "
            "--calibrate, or ask for --false-alarms 5%",
        ),
        (["--false-alarms", "50%", "--calibrate", "short"], 1, "0 episodes to calibrate on"),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_is_measured(home: Path, arguments: list[str], code: int, said: str):
    write_recording(home / "wide.h5", (30,) * 4, dims=3, size=16, task="tworoom")
    write_recording(home / "short.h5", (4,) * 4, dims=2, size=16, task="tworoom")
    typed = [argument.replace("{home}", str(home)) for argument in arguments]
    done = lewm_here(home, "surprise", "x", *typed)
    assert said in done.sentence(code)
    assert "measuring" not in done.err
    assert not list(home.rglob("results/*"))


def test_offered_rate_can_be_calibrated(home: Path):
    said = lewm_here(home, "surprise", "x", "--false-alarms", "1%").sentence()
    assert measured(home, "x", "--false-alarms", said.rpartition(" ")[2])[0].threshold


def test_recording_that_is_gone_is_said_with_the_option(home: Path):
    (home / f"{HELD_OUT}.h5").unlink()
    said = lewm_here(home, "surprise", "x", "--false-alarms", "10%").sentence()
    assert f"{RUN} was trained on {HELD_OUT}, and there is no dataset" in said
    assert said.endswith("; name another one with --calibrate")


# TwoRoom


@pytest.mark.slow
def test_held_out_episodes_of_a_real_run_calibrate_it(trained: Path, other_demos: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    demos = open_dataset(home / "tworoom" / "demos.h5", "tworoom/demos")
    held_out = read_card(home / f"{RUN}.safetensors").provenance.held_out
    learned = sorted({*range(demos.episodes)} - {*held_out})
    join_recordings(home / "tworoom" / "learned.h5", [(demos, learned)], task="tworoom")
    few = lewm_here(home, "surprise", "tworoom/test", "--run", RUN, "--false-alarms", "1%").sentence()
    assert "to calibrate on can promise no rate of false alarms below" in few
    same = lewm_here(home, "surprise", "tworoom/test", "--false-alarms", "10%", "--calibrate", "tworoom/test")
    assert same.code == 0, same.err
    (alarm,) = alarms(home)
    assert (alarm.held_out, len(alarm.calibrated)) == (True, 9)
    taught = lewm_here(home, "surprise", "tworoom/test", "--false-alarms", "20%", "--calibrate", "tworoom/learned")
    assert f"{RUN} was trained on every episode of tworoom/learned, which would make the threshold too low" in (
        taught.sentence()
    )
    assert alarm.tried  # without the episodes that are too short for a step
    assert "9 of these 12 episodes, so it fits them too well" in same.err
