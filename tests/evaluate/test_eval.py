"""What `lewm eval` measures: fair pairs, honest intervals, routes through the door, and plans that do not mix."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

import lewm_cli
from commands import Done, flat, lewm, lewm_here
from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control import Observation, Planner
from lewm_cli.data import open_dataset
from lewm_cli.errors import UsageError
from lewm_cli.evaluate import EvalResult, Film, choose_pairs, evaluate
from lewm_cli.report.video import VideoFolder
from lewm_cli.simulate import Pair
from lewm_cli.statistics import Difference
from lewm_cli.store import Home, load_run, read_card
from lewm_cli.tasks import Task, find_task
from synthetic import join_recordings

pytest_plugins = ("recordings",)

QUICK = {"candidates": 32, "elites": 8, "iterations": 3}
SETTINGS = [word for key, value in QUICK.items() for word in ("--set", f"planner.{key}={value}")]
RUN = "tworoom/lewm"


@pytest.fixture(scope="module")
def tworoom() -> Task:
    return find_task("tworoom")


def newest_result(home: Path) -> EvalResult:
    path = max((home / "tworoom" / "lewm.run" / "results").glob("eval-*.json"))
    assert re.fullmatch(r"eval-\d{8}-\d{6}-\d{6}\.json", path.name)
    return EvalResult.model_validate_json(path.read_text(encoding="utf-8"))


# Through the real command


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    home = tmp_path_factory.mktemp("world") / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    return home


@pytest.fixture(scope="module")
def evaluated(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    videos = tmp_path_factory.mktemp("videos")
    arguments = ["--dataset", "tworoom/test", "--episodes", 8, "--video", videos, "--json"]
    return lewm(world, "eval", RUN, *SETTINGS, *arguments), videos


@pytest.fixture(scope="module")
def result(evaluated: tuple[Done, Path]) -> EvalResult:
    done, _ = evaluated
    assert done.code == 0, done.err
    return EvalResult.model_validate(done.json())


@pytest.mark.slow
def test_stdout_is_the_result_and_nothing_else(evaluated: tuple[Done, Path], result: EvalResult):
    done, _ = evaluated
    assert result.run == RUN
    assert len(result.episodes) == result.overall.success.trials == 8
    assert "stored:" in done.err
    assert "104/104 tensors" in done.err


@pytest.mark.slow
def test_result_counts_what_it_lists(result: EvalResult):
    episodes = result.episodes
    assert result.overall.success.successes == sum(one.success for one in episodes)
    assert result.overall.random.successes == sum(one.random_success for one in episodes)
    assert result.solved_at_start.successes == sum(one.solved_at_start for one in episodes)
    assert len({one.episode for one in episodes}) == 8  # one pair per episode
    for one in episodes:
        assert one.goal_row - one.start_row == 25
        assert one.success == (one.first_hit is not None)
        assert one.solved_at_start == (one.first_hit == 0)
        assert one.first_hit is None or one.first_hit <= 50
        assert not one.success or one.final_distance < 16
        assert one.random_success or not one.solved_at_start
    assert result.overall.name == "all"
    for group in (result.overall, *result.groups):
        members = [one for one in episodes if group.name in (*one.groups, "all")]
        assert (group.success.trials, group.success.successes) == (len(members), sum(one.success for one in members))
        assert group.random.successes == sum(one.random_success for one in members)
        assert group.route_valid is not None
        assert group.route_valid.successes == sum(one.success and one.route_valid for one in members)
    assert result.plans <= 2 * sum(not one.solved_at_start for one in episodes)
    success, random, clusters = (
        np.array([getattr(one, name) for one in episodes]) for name in ("success", "random_success", "episode")
    )
    assert result.above_random == Difference.of(success, random, clusters)


@pytest.mark.slow
def test_result_says_where_it_comes_from(world: Path, result: EvalResult):
    run = load_run(Home(world, (world,)), RUN)
    assert result.weights_sha256 == run.sha256
    assert result.dataset == open_dataset(world / "tworoom" / "test.h5", "tworoom/test").identity
    assert result.held_out  # none of it was trained on
    assert result.protocol.planner == PlannerConfig(**QUICK)
    assert (result.protocol.offset, result.protocol.budget, result.protocol.pairs) == (25, 50, 8)
    assert result.versions["torch"]
    assert "eval" in result.command


@pytest.mark.slow
def test_python_measures_the_same(world: Path, result: EvalResult):
    run = lewm_cli.load(RUN, cache_dir=world)
    settings = {f"planner.{key}": value for key, value in QUICK.items()}
    torch.set_num_threads(2)
    mine = lewm_cli.evaluate(run, 8, dataset="tworoom/test", settings=settings, record=0, quiet=True)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    for name in ("episodes", "overall", "protocol", "weights_sha256", "dataset", "held_out"):
        assert getattr(mine, name) == getattr(result, name)
    assert f"success {mine.overall.success}" in repr(run)
    assert mine == newest_result(world)  # it is stored
    with pytest.raises(UsageError, match=r"unknown setting 'planner\.itertions'; did you mean 'planner\.iterations'"):
        lewm_cli.evaluate(run, settings={"planner.itertions": 3})


@pytest.mark.slow
def test_result_is_kept_beside_the_run_and_shown(world: Path, result: EvalResult):
    stored = [
        EvalResult.model_validate_json(path.read_text(encoding="utf-8"))
        for path in (world / "tworoom" / "lewm.run" / "results").glob("eval-*.json")
    ]
    assert result in stored
    shown = lewm_here(world, "show", RUN, "--json").json()["evaluations"]
    assert result in [EvalResult.model_validate(one) for one in shown]
    assert str(result.overall.success) in lewm_here(world, "show", RUN).out


@pytest.mark.slow
def test_videos_show_the_agent_beside_the_goal(
    world: Path, evaluated: tuple[Done, Path], result: EvalResult, tworoom: Task
):
    _, folder = evaluated
    videos = sorted(folder.iterdir())
    assert [video.suffix for video in videos] == [".mp4"] * 8
    dataset = open_dataset(world / "tworoom" / "test.h5", "tworoom/test")
    for number, (video, one) in enumerate(zip(videos, result.episodes, strict=True)):
        assert video.name.startswith(f"pair-{number:03}-{'success' if one.success else 'failure'}")
        frames = imageio.imread(video, plugin="FFMPEG").astype(int)
        steps = 50 if one.first_hit is None else one.first_hit
        assert frames.shape == (steps + 1 + 10, 224, 224 + 8 + 224, 3)
        start, goal = dataset.read("pixels", np.array([one.start_row, one.goal_row])).astype(int)
        assert np.abs(frames[0, :, :224] - start).mean() < 4
        assert np.abs(frames[0, :, 232:] - goal).mean() < 4
        assert np.abs(frames[-1, :, 232:] - goal).mean() < 4
        assert frames[0, :, 226:230].min() > 230  # the gap is white


@pytest.mark.slow
def test_held_out_episodes_are_the_default(world: Path):
    nowhere = world / "tworoom" / "demos.h5"  # no folder, so that no video can be written: that stops nothing
    settings = ["--set", "pairs=2", "--set", "seed=5", "--set", "budget=5", "--video", nowhere]
    done = lewm_here(world, "eval", RUN, *SETTINGS, *settings)
    assert done.code == 0, done.err
    held_out = read_card(world / "tworoom" / "lewm.safetensors").provenance.held_out
    stored = newest_result(world)
    assert {one.episode for one in stored.episodes} <= set(held_out)
    assert stored.held_out
    assert (stored.protocol.pairs, stored.protocol.seed, stored.protocol.budget) == (2, 5, 5)
    assert "never trained on" in flat(done.out)
    assert not stored.above_random.shown  # however many of two pairs were solved
    assert f"{stored.above_random} points, not shown to beat random." in flat(done.out)
    assert done.err.count("no video of pair") == 2


@pytest.mark.slow
def test_options_win_over_settings(world: Path):
    settings = ["--set", "pairs=9", "--set", "seed=9", "--set", "budget=5", "--episodes", 1, "--seed", 6]
    done = lewm_here(world, "eval", RUN, *SETTINGS, *settings)
    assert done.code == 0, done.err
    stored = newest_result(world)
    assert (stored.protocol.pairs, stored.protocol.seed) == (1, 6)


@pytest.mark.slow
def test_stopped_while_filming_it_is_not_measured_again(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    home = tmp_path / "home"
    shutil.copytree(world, home)
    arguments = (home, "eval", RUN, *SETTINGS, "--dataset", "tworoom/test", "--episodes", 1, "--workers", 1)
    before = set(home.rglob("eval-*.json"))
    with monkeypatch.context() as patched:
        patched.setattr("lewm_cli.flows.evaluate.film", stop)
        stopped = lewm_here(*arguments)
    assert (stopped.code, "--resume" in stopped.err) == (130, True), stopped.err
    assert lewm_here(*arguments, "--resume").code == 0
    assert len(set(home.rglob("eval-*.json")) - before) == 1
    assert not list(home.rglob("eval-*.journal"))


@pytest.mark.slow
def test_same_seed_records_what_was_trained_on_and_only_the_rest_is_used(
    world: Path, trained: Path, other_demos: Path, tmp_path: Path
):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    few = lewm(home, "collect", "tworoom", "--episodes", 3, "--seed", 0, "--workers", 1, "--name", "tworoom/few")
    assert few.code == 0, few.err
    demos, few, other = (
        open_dataset(path, path.stem)
        for path in (home / "tworoom/demos.h5", home / "tworoom/few.h5", other_demos / "tworoom/demos.h5")
    )
    held_out = read_card(home / "tworoom" / "lewm.safetensors").provenance.held_out
    assert few.episode_digests == demos.episode_digests[:3]
    assert not set(held_out) & {0, 1, 2}
    refused = lewm_here(home, "eval", RUN, "--dataset", "tworoom/few").sentence()
    assert "was trained on every episode of tworoom/few" in refused
    assert "lewm collect tworoom --episodes 100 --seed 1 --name tworoom/test" in refused
    unseen = [episode for episode in range(other.episodes) if other.lengths[episode] > 30][:2]
    join_recordings(home / "mixed.h5", [(few, [0]), (other, unseen[:1]), (few, [1]), (other, unseen[1:])])
    settings = ["--dataset", "mixed", "--set", "budget=5", "--episodes", 4]
    done = lewm_here(home, "eval", RUN, *SETTINGS, *settings)
    assert done.code == 0, done.err
    assert "the 2 of 4 in mixed that the run was not trained on" in done.err
    stored = newest_result(home)
    assert {one.episode for one in stored.episodes} == {1, 3}
    assert stored.held_out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tworoom/lwem"], 1, "tworoom/lewm"),
        ([RUN, "--device", "abacus"], 2, "abacus"),
        ([RUN, "--episodes", 0], 2, "--episodes"),
        ([RUN, "--episodes", 5000], 1, "5000 pairs were asked for"),
        ([RUN, "--dataset", "tworoom/nothing"], 1, "there is no dataset 'tworoom/nothing'"),
        ([RUN, "--set", "planner.elite=3"], 2, "planner.elites"),
        ([RUN, "--set", "planner.elites=1000"], 2, "elites 1000"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(trained: Path, arguments: list, code: int, said: str):
    assert said in lewm_here(trained, "eval", *arguments).sentence(code)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_refused(trained: Path):
    assert "device 'cuda' is not available" in lewm_here(trained, "eval", RUN, "--device", "cuda").sentence()


# One pair does not see the others


@pytest.fixture(scope="module")
def measure(world: Path, tworoom: Task) -> Callable[[list[Pair]], EvalResult]:
    run = load_run(Home(world, (world,)), RUN)
    dataset = open_dataset(world / "tworoom" / "test.h5", "tworoom/test")
    protocol = EvalProtocol(planner=PlannerConfig(**QUICK))

    def apply(pairs: list[Pair]) -> EvalResult:
        actor = Planner(run, protocol.planner)
        return evaluate(run, tworoom, dataset, pairs, protocol, actor, held_out=True, advance=lambda done: None)

    return apply


@pytest.mark.slow
def test_outcome_of_a_pair_does_not_depend_on_the_others(
    world: Path, tworoom: Task, measure: Callable[[list[Pair]], EvalResult], result: EvalResult
):
    dataset = open_dataset(world / "tworoom" / "test.h5", "tworoom/test")
    pairs = choose_pairs(dataset, tworoom, np.arange(dataset.episodes), EvalProtocol(pairs=8))
    together = measure(pairs).episodes
    assert together == result.episodes  # in this process as through the command
    for subset in ([0], [5, 2], [7, 6, 5, 4, 3]):
        alone = measure([pairs[number] for number in subset]).episodes
        for one, number in zip(alone, subset, strict=True):
            other = together[number]
            assert (one.success, one.first_hit) == (other.success, other.first_hit)
            assert one.random_success == other.random_success
            assert one.final_distance == pytest.approx(other.final_distance, abs=1e-2)


# Videos


@pytest.mark.parametrize("where", ["file", "full"])
def test_video_that_cannot_be_written_is_said_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    said: list[str] = []
    folder = tmp_path / "videos"
    if where == "file":
        folder.touch()
    else:

        def fail(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("imageio.v3.imwrite", fail)
    film = VideoFolder(folder, said.append)
    for number in range(2):
        seen = Observation(np.zeros((8, 8, 3), np.uint8))
        film(Film(number, [seen, seen], seen, np.zeros((2, 2)), success=True))
    assert [line.partition(":")[0] for line in said] == ["no video of pair 0", "no video of pair 1"]
    assert ("cannot be written" if where == "file" else "is full") in said[0]
    assert [path for path in tmp_path.rglob("*") if path != folder] == []
