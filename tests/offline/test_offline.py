"""Evaluation without a simulator: against plain loops, in worlds that a model knows, copies or knows nothing of."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import lewm_cli
from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import ActionStats, Inputs, ProprioStats
from lewm_cli.data import Dataset, DecodedFrames, MemoryFrames, open_dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.methods import JEPA, METHODS, Provenance, RunCard, TrainConfig
from lewm_cli.model import rollout
from lewm_cli.offline import OfflineClips, OfflineConfig, OfflineResult, draw_clips, measure_offline, measured_units
from lewm_cli.offline.goal_retrieval import Places
from lewm_cli.statistics import BreakEven, Estimate, Rate
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from synthetic import write_recording
from walks import CONFIG, EPISODES, SIZE, SKIP, Copying, Knowing, walks

RUN, RECORDING = "robot/lewm", "robot/pick"
LENGTHS = (40,) * 10
SMALL = OfflineConfig.build({"pairs": 24, "planner": {"candidates": 12, "horizon": 3}}, "the test")


class Shuffled(Knowing):
    """Knows how actions add up, and takes those of another sequence for them."""

    def embed_actions(self, blocks: Tensor) -> Tensor:
        order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(len(blocks)))
        return super().embed_actions(blocks)[order]


Build = Callable[[type[JEPA]], Run]


@pytest.fixture
def build(tmp_path: Path, small_card: Callable[[JEPA], RunCard]) -> Build:
    def build(kind: type[Knowing]) -> Run:
        card = small_card(JEPA(CONFIG, block_dim=SKIP * 2))
        return Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), kind(card).eval(), "lewm", card, tensors=1, sha256="")

    return build


def drawn(run: Run, dataset: Dataset, config: OfflineConfig) -> OfflineClips:
    frames = DecodedFrames(dataset, run.card.model.image_size)
    return draw_clips(run, dataset, frames, np.arange(dataset.episodes), config)


def measured(run: Run, dataset: Dataset, config: OfflineConfig = SMALL) -> OfflineResult:
    clips, counted = drawn(run, dataset, config), []
    result = measure_offline(run, clips, config, held_out=True, begun=time.monotonic(), advance=counted.append)
    assert sum(counted) == measured_units(clips, run)
    return result


# The numbers


def test_numbers_are_those_of_plain_loops(tmp_path: Path, small_card: Callable, scramble: Callable):
    dataset = walks(tmp_path / "walks.h5")
    model = scramble(JEPA(CONFIG, block_dim=2 * SKIP)).eval()
    run = Run("tworoom/lewm", RunFiles(tmp_path / "lewm"), model, "lewm", small_card(model), tensors=1, sha256="")
    config = OfflineConfig.build({"pairs": 9, "steps": 4, "planner": {"candidates": 7, "horizon": 2}}, "the test")
    found, clips, frames = measured(run, dataset, config), drawn(run, dataset, config), DecodedFrames(dataset, SIZE)

    def latent(row: int) -> Tensor:
        return run.embed(frames.rows(np.array([row])))

    def block(row: int) -> np.ndarray:
        return run.card.inputs.actions.normalize(dataset.actions[row : row + SKIP]).reshape(1, 1, -1)

    assert found.rows == tuple(clips.begins.tolist())
    starts = torch.cat([latent(row) for row in found.rows])
    imagined, copied, mean, predicted = np.zeros((9, 4)), np.zeros((9, 4)), np.zeros((9, 4)), {}
    for n, row in enumerate(found.rows):
        context = torch.stack([latent(row + SKIP * k) for k in (-2, -1, 0)], dim=1)
        blocks = torch.from_numpy(np.concatenate([block(row + SKIP * k) for k in range(-2, 4)], axis=1))
        with torch.inference_mode():
            ahead = rollout(model, context, blocks)[0, 3:]
        predicted[row] = ahead
        for k in range(4):
            actual = latent(row + SKIP * (k + 1))[0]
            guesses = (ahead[k], starts[n], starts.mean(dim=0))
            for errors, guess in zip((imagined, copied, mean), guesses, strict=True):
                errors[n, k] = ((guess - actual) ** 2).mean()
    assert [one.value for one in found.errors.share] == pytest.approx((imagined.mean(0) / copied.mean(0)), rel=1e-3)
    assert found.errors.copying == pytest.approx(copied.mean(0), rel=1e-3)
    assert found.errors.mean == pytest.approx(mean.mean(0) / copied.mean(0), rel=1e-3)

    for one in found.rankings:
        for n, row in enumerate(found.rows):
            random = clips.candidates.random[one.drawn][n]
            taken = torch.cat([torch.from_numpy(block(row + SKIP * k)) for k in range(one.horizon)], dim=1)
            goal, costs = latent(row + SKIP * one.horizon)[0], []
            for sequence in (taken, *(each[None, : one.horizon] for each in random)):
                with torch.inference_mode():
                    ahead = rollout(model, starts[n][None, None], sequence)[0, -1]
                costs.append(float(((ahead - goal) ** 2).sum()))
            beaten = sum(cost > costs[0] for cost in costs[1:])
            assert one.percentiles[n] == pytest.approx(beaten / 7, abs=1e-6)
        assert one.percentile.value == pytest.approx(np.mean(one.percentiles))
        assert one.first.successes == sum(each == 1 for each in one.percentiles)

    for one in found.retrievals:
        goals = [row + SKIP * one.horizon for row in found.rows]
        gallery = sorted({*found.rows, *goals})
        assert one.frames == len(gallery) - 1
        for n, (row, goal) in enumerate(zip(found.rows, goals, strict=True)):
            apart = {each: ((predicted[row][one.horizon - 1] - latent(each)[0]) ** 2).sum() for each in gallery}
            assert one.ranks[n] == 1 + sum(apart[each] < apart[goal] for each in gallery if each not in (row, goal))
        assert one.model.nearest.successes == sum(rank == 1 for rank in one.ranks)
        assert one.model.median_rank == np.median(one.ranks)


def test_random_actions_are_of_other_episodes_or_normal(build: Build, tmp_path: Path):
    dataset, run = walks(tmp_path / "walks.h5"), build(Knowing)
    config = OfflineConfig.build({"pairs": 24, "planner": {"candidates": 200, "horizon": 3, "std": 0.5}}, "the test")
    clips = drawn(run, dataset, config)
    assert len(clips.begins) == 24
    assert np.bincount(clips.owners).tolist() == [2] * EPISODES
    normal = clips.candidates.random["normal"]
    assert (normal.mean().item(), normal.std().item()) == pytest.approx((0, 0.5), abs=0.01)
    blocks = run.card.inputs.actions.normalize(dataset.actions)
    for n, owner in enumerate(clips.owners):
        first = {
            blocks[row : row + SKIP].tobytes()
            for other in range(EPISODES)
            if other != owner
            for row in range(dataset.offsets[other], dataset.offsets[other] + dataset.lengths[other] - SKIP)
        }
        assert {one[0].numpy().tobytes() for one in clips.candidates.random["recorded"][n]} <= first


def test_model_that_knows_everything_ranks_the_truth_first(build: Build, tmp_path: Path):
    found = measured(build(Knowing), walks(tmp_path / "walks.h5"))
    assert max(one.value for one in found.errors.share) < 1e-9
    assert (found.errors.shown, found.errors.break_even.step) == (10, None)
    for one in found.rankings:
        assert one.percentile.value > (0.97 if one.drawn == "recorded" else 0.9999)  # others may lead to the same place
        assert one.shown
        assert abs(one.untrained - 0.5) < 0.2
    for one in found.retrievals:
        assert one.model.among_five.rate == 1
        assert one.model.median_rank == 1
        assert one.copying.nearest.rate < 0.5
        assert one.shown
    doubtful = Estimate(value=0.1, low=-0.1, high=0.3)  # nothing is shown by one of two comparisons alone
    assert not found.ranking.model_copy(update={"above_untrained": doubtful}).shown
    assert not found.ranking.model_copy(update={"percentile": doubtful}).shown
    rare = found.retrievals[-1].model.model_copy(update={"nearest": Rate(successes=1, trials=9, rate=0, low=0, high=1)})
    assert not found.retrievals[-1].model_copy(update={"model": rare}).shown
    early = BreakEven(horizon=10, step=None, low=4, high=None)
    assert found.errors.model_copy(update={"break_even": early}).shown == 3
    assert found.errors.model_copy(update={"break_even_mean": early}).shown == 3
    assert "NOT" not in found.verdict
    assert found.verdict.startswith("predicts better than standing still over all 10 steps measured (50 rows); ranks ")


def test_model_that_expects_no_change_shows_nothing(build: Build, tmp_path: Path):
    found = measured(build(Copying), walks(tmp_path / "walks.h5"))
    assert [one.value for one in found.errors.share] == [1] * 10
    assert found.errors.shown == 0
    for one in found.rankings:
        assert set(one.percentiles) == {0.5}  # every action costs the same
        assert one.first.successes == 0
    for one in found.retrievals:
        assert one.model == one.copying
    assert found.verdict.count("NOT shown") == 3


def test_goal_that_ties_with_another_frame_is_not_found():
    places = Places(nearer=np.array([0, 0, 3, 4, 5]), tied=np.array([0, 1, 1, 1, 0]))
    assert places.within(1).tolist() == [True, False, False, False, False]
    assert places.within(5).tolist() == [True, True, True, False, False]
    assert places.ranks.tolist() == [1, 1.5, 4.5, 5.5, 6]


def test_model_with_shuffled_actions_is_at_chance(build: Build, tmp_path: Path):
    dataset = walks(tmp_path / "walks.h5")
    config = OfflineConfig.build({"pairs": 60, "planner": {"candidates": 40}}, "the test")
    found = measured(build(Shuffled), dataset, config)
    for one in found.rankings:
        assert one.percentile == Estimate.of_mean(np.array(one.percentiles), np.array(found.episodes))
        assert one.percentile.low < 0.5 < one.percentile.high
        assert not one.shown


def test_seed_decides_everything(build: Build, tmp_path: Path):
    run, dataset = build(Knowing), walks(tmp_path / "walks.h5")
    one, same, other = (
        measured(run, dataset, SMALL.model_copy(update={"seed": seed})).model_dump(exclude={"seconds", "time"})
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one["rows"] != other["rows"]


# Other networks


def a_run(tmp_path: Path, dataset: Dataset, method: str, proprio: int | None = None) -> Run:
    """A run of a method on patch tokens, never trained."""
    model = {
        "image_size": 16,
        "encoder": {"patch_size": 8, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
        "predictor": {"depth": 3, "heads": 2, "head_dim": 8, "mlp": 32},
    }
    model |= {"proprio": proprio} if proprio else {}
    config = TrainConfig.build({"method": method, "model": model}, "the test")
    seen = ProprioStats.fit(dataset.read("proprio", slice(0, dataset.rows))) if proprio else None
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats.fit(dataset.actions), proprio=seen)
    card = RunCard(method=method, model=config.model, inputs=inputs, statistics_from=dataset.identity)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = METHODS[method].network(config.model, inputs.block_dim).eval()
    return Run("robot/other", RunFiles(tmp_path / "other"), network, method, card, tensors=1, sha256="")


@pytest.mark.parametrize(("method", "proprio"), [("dinowm_noprop", None), ("dinowm", 4)])
def test_patch_latents_are_measured(tmp_path: Path, method: str, proprio: int | None):
    states = np.random.default_rng(0).normal(size=(sum(LENGTHS), 4)).astype(np.float32)
    path = write_recording(tmp_path / "pick.h5", LENGTHS, columns={"proprio": states})
    dataset = open_dataset(path, "robot/pick")
    found = measured(a_run(tmp_path, dataset, method, proprio), dataset)
    assert len(found.errors.share) == 10
    assert [(one.horizon, one.drawn) for one in found.rankings] == [
        (1, "recorded"),
        (1, "normal"),
        (3, "recorded"),
        (3, "normal"),
    ]
    without = open_dataset(write_recording(tmp_path / "blind.h5", LENGTHS), "robot/blind")
    if proprio:
        with pytest.raises(LewmError, match="proprio"):
            measured(a_run(tmp_path, dataset, method, proprio), without)


def test_policy_ranks_its_next_actions_only(tmp_path: Path):
    dataset = open_dataset(write_recording(tmp_path / "pick.h5", LENGTHS), "robot/pick")
    run = a_run(tmp_path, dataset, "gcbc")
    found, clips = measured(run, dataset), drawn(run, dataset, SMALL)
    assert (found.errors, found.retrievals) == (None, ())
    frames, one = DecodedFrames(dataset, 16), found.ranking
    for n, row in enumerate(found.rows):
        seen, goal = (run.prepare(frames.rows(np.array([at]))) for at in (row, row + 2 * one.horizon))
        with torch.inference_mode():
            acted = run.model.act(seen, goal)[0]
        apart = [(each[0] - acted).square().sum() for each in clips.candidates.random[one.drawn][n]]
        own = (clips.candidates.recorded[n, 0, 0] - acted).square().sum()
        assert one.percentiles[n] == pytest.approx(np.mean([float(other > own) for other in apart]))
    assert found.verdict.startswith(("NOT shown to rank", "ranks "))


# The command


def save_generic(
    home: Home, dataset: Dataset, trained_on: tuple[int, ...], scramble: Callable, **inputs: object
) -> Run:
    """A run of no known task, never trained, that holds out the other episodes."""
    model = scramble(JEPA(CONFIG, block_dim=6)).eval()
    known = {"task": "generic", "frameskip": 2, "actions": ActionStats.fit(dataset.actions)} | inputs
    card = RunCard(
        model=model.config,
        inputs=Inputs(**known),
        provenance=Provenance(
            dataset=dataset.identity,
            held_out=tuple(sorted(set(range(dataset.episodes)) - set(trained_on))),
            trained_on=tuple(dataset.episode_digests[episode] for episode in trained_on),
            train=TrainConfig(model=model.config),
            step=7,
            device="cpu",
            versions={},
            command="the test",
            finished="2026-01-01T00:00:00Z",
        ),
    )
    save_run(RunFiles(home.run_stem(RUN)), model, card)
    return load_run(home, RUN)


@pytest.fixture
def robot_run(home: Home, scramble: Callable) -> Run:
    """A run of a robot without a simulator, and its recording, of ten seconds' worth of frames per episode."""
    path = write_recording(home.write / f"{RECORDING}.h5", LENGTHS, fps=10.0)
    return save_generic(home, open_dataset(path, RECORDING), (0, 1, 2), scramble)


def evaluated(home: Home, *arguments: object) -> Done:
    return lewm_here(home.write, "eval", RUN, *arguments)


def test_run_without_a_simulator_is_measured_on_what_it_held_out(home: Home, robot_run: Run):
    done = evaluated(home, "--episodes", 20, "--set", "planner.candidates=9", "--seed", 3)
    assert done.code == 0, done.err
    text = flat(done.out)
    assert "robot/lewm on robot/pick, episodes never trained on" in text
    assert "20 starts in 7 episodes; a model step is 2 rows (0.200 s)." in text
    assert "9 random ones each" in text
    (path,) = (home.write / "robot" / "lewm.run" / "results").glob("offline-*.json")
    stored = OfflineResult.model_validate_json(path.read_text())
    assert set(stored.episodes) <= set(range(3, 10))
    for line in stored.verdict.split("; "):
        assert f"{line[1:]}." in done.out
    assert left_behind(home.write) == []
    printed = evaluated(home, "--episodes", 20, "--set", "planner.candidates=9", "--seed", 3, "--json").json()
    again = OfflineResult.model_validate(printed)
    same = {"errors", "rankings", "retrievals", "rows"}
    assert again.model_dump(include=same) == stored.model_dump(include=same)
    page = home.write / "page.html"
    assert lewm_here(home.write, "report", RUN, "--output", page).code == 0
    assert stored.verdict.partition(";")[0] in page.read_text()
    assert "percentile of recorded actions" in flat(lewm_here(home.write, "show", RUN).out)
    rows = lewm_cli.load(RUN, home.write).results()
    assert {row.kind for row in rows} == {"offline"}


def test_python_returns_the_same(home: Home, robot_run: Run):
    asked = {"episodes": 20, "seed": 3, "horizon": 2, "settings": {"planner.candidates": 9}, "quiet": True}
    found = lewm_cli.evaluate(lewm_cli.load(RUN, home.write), **asked)
    assert (found.horizon, found.candidates, len(found.rows)) == (2, 9, 20)
    assert found.verdict in repr(found)
    with pytest.raises(UsageError, match="protocol means nothing where nothing is simulated"):
        lewm_cli.evaluate(RUN, protocol="heldout", quiet=True)


def test_results_on_the_same_clips_are_compared(home: Home, robot_run: Run, scramble: Callable):
    settings = ("--episodes", 20, "--set", "planner.candidates=9")
    assert evaluated(home, *settings).code == 0
    for file in (home.write / "robot").glob("lewm.safetensors"):
        (home.write / "robot" / "other.safetensors").write_bytes(file.read_bytes())
    assert lewm_here(home.write, "eval", "robot/other", *settings).code == 0
    done = lewm_here(home.write, "compare", RUN, "robot/other")
    assert done.code == 0, done.err
    assert "+0.0 [+0.0, +0.0]" in done.out.replace("\N{NO-BREAK SPACE}", " ")
    assert f"success is not compared: {RUN} was never evaluated" in done.err
    assert "OTHER CLIPS" not in done.out
    assert lewm_here(home.write, "eval", "robot/other", *settings, "--seed", 1).code == 0
    other = lewm_here(home.write, "compare", RUN, "robot/other", "--json").json()["offline"]
    assert [one["above_baseline"] is None for one in other] == [False, True]


def test_simulated_task_can_be_measured_without_its_simulator(home: Home, scramble: Callable):
    path = write_recording(home.write / f"{RECORDING}.h5", LENGTHS, dims=2, task="tworoom")
    dataset = open_dataset(path, RECORDING)
    save_generic(home, dataset, (0, 1), scramble, task="tworoom", frameskip=3)
    done = evaluated(home, "--offline", "--episodes", 8, "--set", "planner.candidates=4", "--quiet")
    assert done.code == 0, done.err
    assert "Rank of the recorded actions" in done.out
    said = evaluated(home, "--offline", "--goal-image", "x.png").sentence(2)
    assert "--goal-image does not go with --offline" in said


@pytest.mark.parametrize(
    "typed",
    [
        ("--protocol", "heldout"),
        ("--record", 2),
        ("--solver", "cem"),
        ("--references",),
        ("--seeds", 2),
        ("--offsets", "25"),
        ("--video", "videos"),
        ("--resume",),
        ("--workers", 1),
        ("--manifest", "pairs.json"),
        ("--plan-ms", 5),
    ],
)
def test_options_of_planning_are_refused(home: Home, robot_run: Run, typed: tuple[object, ...]):
    said = evaluated(home, *typed).sentence(2)
    assert f"{typed[0]} means nothing to {RUN}, whose task has no simulator" in said


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["--set", "planner.iterations=3"], 2, "planner.iterations means nothing where nothing is simulated"),
        (["--set", "gate=tight"], 2, "gate means nothing where nothing is simulated; what can be set is pairs, seed"),
        (["--set", "planner.candidtes=3"], 2, "did you mean 'planner.candidates'"),
        (["--set", "planner.candidates=0"], 2, "planner.candidates = 0"),
        (["--horizon", 30], 1, "no episode of robot/pick has all actions and the 65 rows that 30 imagined steps"),
        (["--dataset", "robot/nothing"], 1, "there is no dataset 'robot/nothing'"),
    ],
)
def test_what_means_nothing_is_said_in_a_sentence(home: Home, robot_run: Run, typed: list, code: int, said: str):
    assert said in evaluated(home, *typed).sentence(code)
    assert not (home.write / "robot" / "lewm.run").exists()


def test_few_episodes_are_measured_and_show_nothing(build: Build, tmp_path: Path):
    dataset, run = walks(tmp_path / "walks.h5"), build(Knowing)
    for count in (2, 4, 5):
        clips = draw_clips(run, dataset, DecodedFrames(dataset, SIZE), np.arange(count), SMALL)
        found = measure_offline(run, clips, SMALL, held_out=True, begun=0.0, advance=lambda done: None)
        assert set(found.episodes) == set(range(count))
        assert found.ranking.percentile.value > 0.9
        only = f"; was measured on {count} episodes only, and intervals over fewer than 5 show nothing"
        assert found.verdict.endswith(only) is (count < 5)
        assert found.verdict.count("NOT shown") == (3 if count < 5 else 0)


def test_too_few_held_out_episodes_are_refused(home: Home, scramble: Callable):
    dataset = open_dataset(write_recording(home.write / f"{RECORDING}.h5", LENGTHS), RECORDING)
    save_generic(home, dataset, tuple(range(8)), scramble)
    done = evaluated(home, "--episodes", 6, "--set", "planner.candidates=9")
    assert done.code == 0, done.err
    assert "6 starts in 2 episodes" in flat(done.out)
    assert "Was measured on 2 episodes only, and intervals over fewer than 5 show nothing." in flat(done.out)
    save_generic(home, dataset, tuple(range(9)), scramble)
    said = evaluated(home).sentence()
    assert "starts in 2 episodes are needed, for actions are compared with those of others, and 1 of the 1 that" in said
    assert "--dataset" in said
    write_recording(home.write / "robot" / "short.h5", (5,) * 9, noise=1)
    assert "ask for a shorter horizon" in evaluated(home, "--dataset", "robot/short").sentence()


def test_recording_in_which_nothing_moves_is_refused(build: Build, tmp_path: Path):
    dataset = walks(tmp_path / "walks.h5")
    run, still = build(Knowing), np.zeros((dataset.rows, SIZE, SIZE, 3), np.uint8)
    clips = draw_clips(run, dataset, MemoryFrames(still), np.arange(EPISODES), SMALL)
    with pytest.raises(LewmError, match="does a latent of tworoom/lewm change"):
        measure_offline(run, clips, SMALL, held_out=True, begun=0.0, advance=lambda done: None)
