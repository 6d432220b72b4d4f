"""Anchors: which frame is aimed at, which sequences are tried, the file beside the run, and what is refused."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from commands import flat, left_behind, lewm, lewm_here
from lewm_cli import Policy
from lewm_cli.config import DatasetIdentity, PlannerConfig
from lewm_cli.control import Planner
from lewm_cli.data import Dataset, open_dataset, resize
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import EvalResult
from lewm_cli.heads import AnchorIndex, Anchors, find_anchors, save_anchors
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.tasks import find_task
from places import GOAL, RUN, START
from synthetic import write_recording

pytest_plugins = ("untrained", "recordings")

DEMO = "tworoom/demo"
LENGTHS, HELD_OUT = (40, 31, 1, 28, 33), (1, 4)
QUICK = ("--set", "planner.candidates=16", "--set", "planner.elites=4", "--set", "planner.iterations=2")
ANCHORED = ("--set", f"planner.anchors={DEMO}")


def anchors_of(latents: torch.Tensor, actions: torch.Tensor, lengths: list[int], every: int, frameskip: int) -> Anchors:
    index = AnchorIndex(
        run=RUN,
        weights_sha256="0" * 64,
        task="tworoom",
        device="cpu",
        versions={},
        command="lewm eval",
        time="2026-01-01T00:00:00+00:00",
        dataset=DatasetIdentity(name=DEMO, episodes=len(lengths), rows=sum(lengths), fingerprint="0" * 64),
        digests=tuple(str(number) for number in range(len(lengths))),
        every=every,
        frameskip=frameskip,
    )
    return Anchors(index, latents, actions, torch.tensor(lengths))


@st.composite
def recorded(draw: st.DrawFn) -> tuple[Anchors, list[list[int]]]:
    """Anchors of whole numbers, so that distances are exact, and the places of the latents of every episode."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    every, frameskip = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kept = [-(-length // every) for length in lengths]
    numbers = st.lists(st.integers(-3, 3), min_size=2 * sum(kept), max_size=2 * sum(kept))
    latents = torch.tensor(draw(numbers), dtype=torch.float32).reshape(-1, 2)
    actions = torch.arange(sum(lengths), dtype=torch.float32)[:, None].repeat(1, 2)
    unknown = draw(st.lists(st.sampled_from(range(sum(lengths))), max_size=2))
    actions[unknown] = torch.nan
    starts = np.cumsum(kept) - kept
    places = [list(range(start, start + count)) for start, count in zip(starts, kept, strict=True)]
    return anchors_of(latents, actions, lengths, every, frameskip), places


POINT = st.lists(st.integers(-3, 3), min_size=2, max_size=2).map(lambda two: torch.tensor(two, dtype=torch.float32))


@given(recorded(), POINT, POINT, st.integers(1, 3))
def test_aim_is_on_the_best_of_all_recorded_segments(
    made: tuple[Anchors, list[list[int]]], here: torch.Tensor, goal: torch.Tensor, horizon: int
):
    anchors, episodes = made
    ahead, segments = anchors.ahead(horizon), {}
    for places in episodes:
        for begin in places:
            for end in places[places.index(begin) :]:
                cost = float(
                    (anchors.latents[begin] - here).square().sum() + (anchors.latents[end] - goal).square().sum()
                )
                aimed = goal if end - begin <= 2 * ahead else anchors.latents[begin + ahead]
                segments.setdefault(cost, []).append(tuple(aimed.tolist()))
    assert tuple(anchors.aim(here, goal, horizon).tolist()) in segments[min(segments)]


@given(recorded(), POINT, st.integers(1, 2), st.integers(1, 6))
def test_sequences_are_those_taken_from_the_nearest_frames(
    made: tuple[Anchors, list[list[int]]], here: torch.Tensor, horizon: int, count: int
):
    anchors, episodes = made
    steps, usable = horizon * anchors.index.frameskip, dict[int, float]()
    stops, lengths = np.cumsum(anchors.lengths.numpy()), anchors.lengths.tolist()
    for places, stop, length in zip(episodes, stops.tolist(), lengths, strict=True):
        for number, place in enumerate(places):
            row = stop - length + number * anchors.index.every
            if row + steps <= stop and anchors.actions[row : row + steps].isfinite().all():
                usable[row] = float((anchors.latents[place] - here).square().sum())
    if not usable:
        with pytest.raises(LewmError, match="known actions in a row"):
            anchors.sequences(here, horizon, count)
        return
    found = anchors.sequences(here, horizon, count)
    assert found.shape == (min(count, len(usable)), horizon, 2 * anchors.index.frameskip)
    rows = found[:, 0, 0].long().tolist()  # actions are the numbers of their rows
    assert len(set(rows)) == len(rows)
    for row, sequence in zip(rows, found, strict=True):
        assert torch.equal(sequence.reshape(-1, 2), anchors.actions[row : row + steps])
    assert [usable[row] for row in rows] == sorted(usable.values())[: len(rows)]
    drawn = anchors.sequences(here, horizon, count, torch.Generator().manual_seed(0))
    again = anchors.sequences(here + 1, horizon, count, torch.Generator().manual_seed(0))
    assert drawn.shape == found.shape
    assert torch.equal(drawn, again)  # wherever this is
    assert len({*drawn[:, 0, 0].tolist()}) == len(drawn)
    assert {int(row) for row in drawn[:, 0, 0]} <= set(usable)


# The file beside the run


@dataclass(frozen=True)
class World:
    """A home with a run that was trained on some episodes of a recording, and held out two."""

    home: Home

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.home.run_stem(RUN))

    @property
    def run(self) -> Run:
        return load_run(self.home, RUN)

    @property
    def path(self) -> Path:
        return self.files.folder / "anchors" / "tworoom%2Fdemo.safetensors"

    def lewm(self, *arguments: object):
        return lewm_here(self.home.write, *arguments)


def record(path: Path, lengths: tuple[int, ...] = LENGTHS, noise: int = 0) -> Dataset:
    """A recording whose every episode leads from near START straight to near GOAL; the last action is not known."""
    places, pixels = walks(lengths, noise)
    actions = np.random.default_rng(noise).normal(0.5, 2.0, (len(places), 2)).astype(np.float32)
    actions[-1] = np.nan
    columns = {"pixels": pixels, "proprio": places, "action": actions}
    write_recording(path, lengths, columns=columns, task="tworoom")
    return open_dataset(path, path.stem)


@cache
def walks(lengths: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (N, 2), pixels, and frames (N, H, W, 3)."""
    generator, simulator, places, frames = np.random.default_rng(seed), find_task("tworoom").make_simulator(), [], []
    for length in lengths:
        begin, end = (place + generator.uniform(-4, 4, 2).astype(np.float32) for place in (START, GOAL))
        for share in np.linspace(0, 1, length, dtype=np.float32):
            places.append(begin + share * (end - begin))
            simulator.begin(places[-1], GOAL)
            frames.append(resize(simulator.frame()[None], 64)[0])
    return np.stack(places), np.stack(frames)


@pytest.fixture
def world(home: Home, seeing_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> World:
    dataset, card = record(home.dataset_path(DEMO)), small_card(seeing_model)
    digests = tuple(one for number, one in enumerate(dataset.episode_digests) if number not in HELD_OUT)
    identity = dataset.identity.model_copy(update={"name": DEMO})
    change = {"dataset": identity, "held_out": HELD_OUT, "trained_on": digests}
    made = card.provenance.model_copy(update=change)
    save_run(RunFiles(home.run_stem(RUN)), seeing_model, card.model_copy(update={"provenance": made}))
    return World(home)


@pytest.fixture
def between(images: tuple[Path, Path]) -> tuple[object, ...]:
    """A plan that aims at anchors, 10 frames ahead."""
    return ("plan", RUN, "--start", images[0], "--goal", images[1], "--horizon", 2, *QUICK, *ANCHORED)


def test_anchors_are_of_what_the_run_was_trained_on_and_encoded_once(world: World, between: tuple[object, ...]):
    done = world.lewm(*between, "--json")
    assert done.code == 0, done.err
    assert "anchors: 69 frames of 3 of 5 episodes of tworoom/demo" in done.err
    anchors, dataset = find_anchors(world.run, DEMO), world.home.find_dataset(DEMO)
    assert anchors.index.digests == tuple(dataset.episode_digests[number] for number in (0, 2, 3))
    rows = np.concatenate([dataset.offsets[number] + np.arange(LENGTHS[number]) for number in (0, 2, 3)])
    assert torch.allclose(anchors.latents, world.run.embed(dataset.read("pixels", rows)), atol=1e-5)
    known = np.isfinite(dataset.actions[rows]).all(axis=1)
    assert torch.equal(anchors.actions.isfinite().all(dim=1), torch.from_numpy(known))
    taken = world.run.card.inputs.actions.denormalize(anchors.actions.numpy())
    assert np.allclose(taken[known], dataset.actions[rows][known], atol=1e-5)
    content = world.path.read_bytes()
    again = world.lewm(*between, "--json")
    assert "anchors:" not in again.err
    assert again.json()["actions"] == done.json()["actions"]
    assert world.path.read_bytes() == content
    assert not left_behind(world.home.write)
    plain = world.lewm(*between[:-2], "--json")
    assert plain.json()["actions"] != done.json()["actions"]
    assert plain.json()["standing_still"] != done.json()["standing_still"]


def test_the_aim_is_what_a_plan_costs(world: World, between: tuple[object, ...], frames: tuple[np.ndarray, np.ndarray]):
    said = world.lewm(*between, "--json").json()
    run = world.run
    here, goal = run.embed(np.stack(frames))
    aimed = find_anchors(run, DEMO).aim(here, goal, 2)
    assert not torch.equal(aimed, goal)
    assert said["standing_still"] == pytest.approx(float((here - aimed).square().sum()), rel=1e-4)
    about = {True: "distance to a frame of tworoom/demo on the way to the goal", False: "distance to the goal"}
    for typed, anchored in ((between, True), (between[:-2], False), ((*between, "--horizon", 5), False)):
        assert world.lewm(*typed, "--json").json()["anchored"] is anchored
        assert about[anchored] in flat(world.lewm(*typed).out)


def test_recorded_sequences_are_judged_by_the_model(world: World, between: tuple[object, ...]):
    done = world.lewm(*between[:-8], *ANCHORED, "--solver", "recorded", "--json")
    assert done.code == 0, done.err
    control = world.lewm(*between[:-8], *ANCHORED, "--solver", "recorded-random", "--json").json()
    assert control["planner"]["solver"] == "recorded-random"
    actions = np.array(done.json()["actions"], np.float32)
    anchors, statistics = find_anchors(world.run, DEMO), world.run.card.inputs.actions
    taken = statistics.denormalize(anchors.actions.unfold(0, len(actions), 1).movedim(2, 1).numpy())
    distances = np.abs(taken - actions).max(axis=(1, 2))
    assert np.nanmin(distances) < 1e-4
    assert done.json()["iterations_per_plan"] == 1


def test_policy_encodes_them_too(world: World, images: tuple[Path, Path], frames: tuple[np.ndarray, np.ndarray]):
    planner = PlannerConfig(anchors=DEMO, candidates=16, elites=4, iterations=2)
    with pytest.raises(MissingError, match=r"has no anchors of tworoom/demo yet; .* planner.anchors=tworoom/demo$"):
        Planner(world.run, planner)
    policy = Policy(world.run, images[1], planner=planner, on_unlike="ignore")
    assert world.path.exists()
    assert policy.act(frames[0]).shape == (2,)


def test_another_recording_is_taken_as_a_whole(world: World, between: tuple[object, ...]):
    record(world.home.dataset_path("tworoom/other"), noise=1)
    done = world.lewm(*between[:-2], "--set", "planner.anchors=tworoom/other")
    assert "anchors: 133 frames of 5 of 5 episodes of tworoom/other" in done.err


def test_episodes_that_came_later_to_what_was_trained_on_are_left_out(world: World, between: tuple[object, ...]):
    record(world.home.dataset_path(DEMO), (*LENGTHS, 30))
    assert "anchors: 69 frames of 3 of 6 episodes of tworoom/demo" in world.lewm(*between).err


def test_recording_or_weights_that_changed_are_encoded_anew(world: World, between: tuple[object, ...]):
    assert world.lewm(*between).code == 0
    before = world.path.read_bytes()
    record(world.home.dataset_path(DEMO), noise=2)
    assert "anchors: 133 frames of 5 of 5 episodes" in world.lewm(*between).err
    changed = world.path.read_bytes()
    assert changed != before
    run = world.run
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(world.files, run.model, run.card)
    with pytest.raises(LewmError, match="were encoded by other weights than it has now"):
        find_anchors(world.run, DEMO)
    assert "tworoom%2Fdemo.safetensors is of earlier weights" in flat(world.lewm("verify", RUN).out)
    assert "anchors: 133 frames" in world.lewm(*between).err
    assert find_anchors(world.run, DEMO).index.weights_sha256 == world.run.sha256


def test_recording_that_is_gone_is_not_needed_again(world: World, between: tuple[object, ...]):
    first = world.lewm(*between, "--json")
    world.home.dataset_path(DEMO).unlink()
    second = world.lewm(*between, "--json")
    assert "note: tworoom/demo is not here anymore" in second.err
    assert second.json()["actions"] == first.json()["actions"]
    world.path.unlink()
    assert "there is no dataset 'tworoom/demo'" in world.lewm(*between).sentence()


@pytest.mark.parametrize("damage", ["cut", "empty", "endless", "fewer", "other"])
def test_damaged_file_is_refused_and_made_anew(world: World, between: tuple[object, ...], damage: str):
    assert world.lewm(*between).code == 0
    whole, content = find_anchors(world.run, DEMO), world.path.read_bytes()
    world.path.unlink()  # what was read of it stays mapped
    match damage:
        case "cut":
            world.path.write_bytes(content[: len(content) // 2])
        case "empty":
            world.path.write_bytes(b"")
        case "endless":
            whole.latents[3, 1] = torch.inf
            save_anchors(world.run, DEMO, whole)
        case "fewer":
            save_anchors(world.run, DEMO, replace(whole, latents=whole.latents[:-1]))
        case "other":
            save_file({"latents": whole.latents}, world.path, metadata={"lewm": "{}"})
    with pytest.raises(LewmError, match="holds no anchors that can be read"):
        find_anchors(world.run, DEMO)
    checked = world.lewm("verify", RUN)
    assert checked.code == 1
    assert "holds no anchors that can be read" in flat(checked.out)
    assert world.lewm(*between).code == 0
    assert load_file(world.path).keys() == {"latents", "actions", "lengths"}
    assert torch.equal(find_anchors(world.run, DEMO).actions.isnan(), whole.actions.isnan())


def test_large_recording_is_thinned_and_that_is_said(
    world: World, between: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lewm_cli.flows.anchors.MOST_FRAMES", 20)
    assert "anchors: 18 frames, every 4th, of 3 of 5 episodes" in world.lewm(*between).err
    anchors = find_anchors(world.run, DEMO)
    assert (len(anchors.latents), len(anchors.actions), anchors.ahead(3)) == (18, 69, 4)
    world.path.unlink()
    monkeypatch.setattr("lewm_cli.flows.anchors.MOST_NUMBERS", 8)
    said = world.lewm(*between).sentence()
    assert "latents of tworoom/lewm hold 8 numbers each, so only every 69th frame of tworoom/demo" in said


# What is refused


@pytest.mark.parametrize(
    ("lengths", "dims", "task", "says"),
    [
        (LENGTHS, 2, "cube", "is a recording of cube, and tworoom/lewm was trained on tworoom"),
        (LENGTHS, 3, "tworoom", "has 3 action dimensions, and tworoom/lewm was trained with 2"),
        ((1, 1, 1), 2, "tworoom", "every episode of tworoom/bad is a single frame, so nobody knows which leads to"),
        ((6, 10), 2, "tworoom", "plans aim 10 frames ahead, and no episode of tworoom/bad that may be used is longer"),
    ],
)
def test_recordings_that_lead_nowhere_are_refused(
    world: World, between: tuple[object, ...], lengths: tuple[int, ...], dims: int, task: str, says: str
):
    columns = {"action": np.ones((sum(lengths), dims), np.float32)}
    write_recording(world.home.dataset_path("tworoom/bad"), lengths, columns=columns, task=task)
    assert says in world.lewm(*between[:-2], "--set", "planner.anchors=tworoom/bad").sentence()
    assert not world.path.parent.exists()


def test_horizon_that_grew_too_long_for_what_is_encoded_is_refused(world: World, between: tuple[object, ...]):
    assert world.lewm(*between).code == 0
    assert "plans aim 40 frames ahead, and no episode" in world.lewm(*between, "--horizon", 8).sentence()


def test_ways_to_the_goals_that_are_measured_are_not_looked_up(world: World):
    asked = ("eval", RUN, "--dataset", DEMO, "--protocol", "release", "--episodes", 3, "--set", "offset=5", *ANCHORED)
    done = world.lewm(*asked)
    said = done.sentence()
    assert "encoding" not in done.err
    assert not world.path.exists()
    assert (
        "episodes to measure on are among the anchors of tworoom/demo, so the way to their goals would only be" in said
    )
    assert not any(world.files.results.glob("*"))


def test_evaluation_aims_at_what_the_run_was_trained_on(trained: Path, tmp_path: Path):
    home = shutil.copytree(trained, tmp_path / "own")
    few = ("--episodes", 1, "--set", "offset=10", "--set", "budget=10", "--record", 0, "--workers", 1)
    asked = ("eval", RUN, *few, *QUICK, "--set", "planner.anchors=tworoom/demos", "--horizon", 2, "--receding", 2)
    # An interrupted evaluation is looked for in either precision before they are encoded.
    done = lewm(home, *asked, "--resume", "--set", "planner.precision=auto", "--json")
    assert done.code == 0, done.err
    result, run = EvalResult.model_validate(done.json()), load_run(Home.locate(home), RUN)
    assert result.protocol.planning.anchors == "tworoom/demos"
    assert result.anchors == find_anchors(run, "tworoom/demos").index.dataset
    assert set(find_anchors(run, "tworoom/demos").index.digests) <= set(run.card.trained_on)
