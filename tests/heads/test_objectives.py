"""What plans can be judged by: objectives by hand, heads that learn what is there, and the files they lie in."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from commands import flat, left_behind, lewm, lewm_here
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control import Policy, find_objective
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import EvalResult, Journaled
from lewm_cli.files import locked
from lewm_cli.fit_cost import Distances, draw_pairs, draw_strangers, fit_reach, fitting_steps, score_reach
from lewm_cli.methods import LeWM, RunCard
from lewm_cli.model import PositionHead, ReachHead
from lewm_cli.plan import LastLatent, LatentCost, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.probe import fit_positions
from lewm_cli.store import (
    ONLY,
    SHUFFLED,
    Home,
    LatentEpisodes,
    LatentSplit,
    ProbeFit,
    ReachFit,
    Run,
    RunFiles,
    find_head,
    load_run,
    read_head,
    save_head,
    save_run,
    weights_digest,
)
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording

pytest_plugins = ("drives", "recordings")

RUN = "tworoom/lewm"
LENGTHS = (60, 45, 50, 70, 55, 40, 65, 50, 48, 62, 58, 52, 44, 66)
HELD_OUT = (2, 5, 7, 10, 12)
QUICK = ("--set", "planner.candidates=16", "--set", "planner.elites=4", "--set", "planner.iterations=2")


@pytest.fixture(autouse=True)
def short_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and bootstraps as large as these small problems need."""
    monkeypatch.setattr("lewm_cli.fit_cost.reach.BATCH", 128)
    monkeypatch.setattr("lewm_cli.fit_cost.reach.TESTED_PAIRS", 600)
    monkeypatch.setattr("lewm_cli.fit_cost.score.RESAMPLES", 100)


# Objectives


@pytest.fixture
def latents() -> Tensor:
    """Of three candidates, now and after four steps."""
    return torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def goal() -> Tensor:
    return torch.randn(3, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def objectives(small_model: LeWM, scramble: Callable) -> dict[str, Objective]:
    """All there are, their heads scrambled."""
    return {
        "last": LastLatent(small_model),
        "path": WholePath(small_model),
        "probe": ProbedPosition(scramble(PositionHead(8, 2))),
        "reach": Reachability(scramble(ReachHead(8, 6))),
    }


def gelu(x: np.ndarray) -> np.ndarray:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def network(head: nn.Module, x: np.ndarray) -> np.ndarray:
    """Its layers, by hand, after the inputs are standardized."""
    first, second, third = (head.net[k] for k in (0, 2, 4))
    for layer in (first, second):
        x = gelu(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    return x @ third.weight.detach().numpy().T + third.bias.detach().numpy()


def test_last_is_the_squared_distance_of_the_last_latent(objectives: dict[str, Objective], latents, goal):
    expected = [sum((latents[n, 4, d] - goal[n, d]).item() ** 2 for d in range(8)) for n in range(3)]
    assert objectives["last"](latents, goal).tolist() == pytest.approx(expected, rel=1e-5)


def test_path_is_the_mean_over_the_imagined_steps(objectives: dict[str, Objective], latents, goal):
    apart = ((latents - goal[:, None]).numpy() ** 2).sum(axis=2)
    assert objectives["path"](latents, goal).tolist() == pytest.approx(apart[:, 1:].mean(axis=1).tolist(), rel=1e-5)
    still = objectives["path"](latents[:, :1], goal)
    assert still.tolist() == pytest.approx(apart[:, 0].tolist(), rel=1e-5)


def test_probe_is_the_squared_distance_of_the_positions_read(objectives: dict[str, Objective], latents, goal):
    head = objectives["probe"].head

    def read(values: Tensor) -> np.ndarray:
        scaled = ((values - head.scale.mean) / head.scale.std).numpy()
        return network(head, scaled) * head.unit.numpy() + head.offset.numpy()

    expected = ((read(latents[:, 4]) - read(goal)) ** 2).sum(axis=1)
    assert objectives["probe"](latents, goal).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_reach_is_the_mean_over_classes_of_steps(objectives: dict[str, Objective], latents, goal):
    head = objectives["reach"].head
    scaled = [((values - head.scale.mean) / head.scale.std).numpy() for values in (latents[:, 4], goal)]
    logits = network(head, np.concatenate(scaled, axis=1))
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (likely * head.steps.numpy()).sum(axis=1)
    assert objectives["reach"](latents, goal).tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["last", "path", "probe", "reach"])
def test_every_objective_can_be_followed_by_gradients_and_takes_any_batch(
    objectives: dict[str, Objective], latents, goal, name: str
):
    free = latents.clone().requires_grad_()
    cost = objectives[name](free, goal)
    cost.sum().backward()
    moving = free.grad.abs().sum(dim=2)
    assert (moving[:, -1] > 0).all()
    assert (moving[:, 1:-1] > 0).all() == (name == "path")
    assert (moving[:, 0] == 0).all()  # nobody can change where they are
    grouped = objectives[name](latents[None].expand(2, -1, -1, -1), goal[None].expand(2, -1, -1))
    assert torch.allclose(grouped, cost.detach().expand(2, -1), rtol=1e-4, atol=1e-5)


def test_path_prefers_arriving_early_and_last_does_not_care(objectives: dict[str, Objective], goal):
    late = torch.stack([goal[0] + far for far in (4.0, 3.0, 2.0, 1.0, 0.0)])
    early = torch.stack([goal[0] + far for far in (4.0, 1.0, 0.0, 0.0, 0.0)])
    both, goals = torch.stack([late, early]), goal[:1].expand(2, -1)
    assert objectives["path"](both, goals).diff() < 0
    assert objectives["last"](both, goals).diff() == 0


def test_cost_of_candidates_is_what_the_objective_says_of_what_is_imagined(
    small_model: LeWM, objectives: dict[str, Objective]
):
    generator = torch.Generator().manual_seed(3)
    start, goals = torch.randn(2, 1, 8, generator=generator), torch.randn(2, 8, generator=generator)
    candidates = torch.randn(2, 6, 4, 10, generator=generator)
    for name, objective in objectives.items():
        cost = LatentCost(small_model, start, goals, objective)
        costs = cost(candidates)
        with torch.inference_mode():
            for number, sequence in itertools.product(range(2), range(6)):
                imagined = small_model.imaginer()(start[number][None], candidates[number, sequence][None])
                alone = objective(imagined, goals[number][None])
                assert costs[number, sequence].item() == pytest.approx(alone.item(), rel=1e-4, abs=1e-5), name
            standing = objective(start, goals)
        assert torch.allclose(cost.of(1)(candidates[1:]), costs[1:], rtol=1e-4, atol=1e-5)
        assert torch.allclose(cost.along(candidates[:, 0])[:, 0], standing, rtol=1e-4, atol=1e-5)
        assert torch.allclose(cost.along(candidates[:, 0])[:, -1], costs[:, 0], rtol=1e-4, atol=1e-5)
    default = LatentCost(small_model, start, goals)(candidates)
    assert torch.equal(default, LatentCost(small_model, start, goals, objectives["last"])(candidates))


# What the head learns from


def episodes_of(latents: Tensor, lengths: tuple[int, ...]) -> LatentEpisodes:
    """Episodes that lie one after the other in a recording, numbered from 0."""
    spans = np.array(lengths)
    return LatentEpisodes(latents, np.arange(spans.sum()), np.arange(len(spans)), np.cumsum(spans) - spans, spans)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_pairs_are_of_one_episode_and_strangers_of_two(lengths: list[int], seed: int):
    episodes = episodes_of(torch.zeros(sum(lengths), 1), tuple(lengths))
    generator, owners = torch.Generator().manual_seed(seed), torch.from_numpy(episodes.owners)
    pairs = draw_pairs(episodes, 50, generator)
    assert torch.equal(owners[pairs.earlier], pairs.owners)
    assert torch.equal(owners[pairs.later], pairs.owners)
    assert torch.equal(pairs.later - pairs.earlier, pairs.steps)
    assert (pairs.steps >= 0).all()
    strangers = draw_strangers(episodes, pairs.owners, generator)
    assert ((owners[strangers] != pairs.owners) | (len(lengths) == 1)).all()


@given(longest=st.floats(1, 400))
def test_classes_of_distances_cover_every_distance_in_order(longest: float):
    distances = Distances.up_to(longest)
    asked = torch.linspace(0, longest, 500)
    found = distances.classes(asked)
    assert (found.diff() >= 0).all()
    assert found.max() < distances.beyond
    assert (distances.steps.diff() > 0).all()
    assert distances.steps[-1] > longest
    wide = torch.maximum(torch.ones(500), 0.25 * asked)
    assert ((distances.steps[found] - asked).abs() <= wide).all()


def test_scores_are_those_of_others():
    generator = np.random.default_rng(0)
    steps, owners = generator.integers(0, 60, 400), generator.integers(0, 12, 400)
    told = steps + generator.normal(0, 20, 400)
    found = score_reach(told[None], steps, owners, 25, seed=0)
    assert found.correlation.value == pytest.approx(spearmanr(told, steps).statistic)
    assert found.auroc.value == pytest.approx(roc_auc_score(steps > 25, told))
    for each in (found.correlation, found.auroc):
        assert each.low < each.value < each.high
    tied = score_reach(np.round(told / 20)[None], steps, owners, 25, seed=0)
    assert tied.auroc.value == pytest.approx(roc_auc_score(steps > 25, np.round(told / 20)))
    nothing = score_reach(np.ones((1, 400)), steps, owners, 25, seed=0)
    assert (nothing.correlation.value, nothing.auroc.value) == (0, 0.5)
    against = score_reach(np.stack([told, -told]), steps, owners, 25, seed=0)
    assert against.correlation.value == pytest.approx(0)
    assert against.correlation.low < -0.5 < 0.5 < against.correlation.high


def walks(lengths: tuple[int, ...], seed: int) -> Tensor:
    """Latents that climb a winding stair at a steady pace: what lies above each other is near, and far in time."""
    generator = np.random.default_rng(seed)
    turns = [generator.uniform(0, 6) + 0.05 * np.arange(length) for length in lengths]
    angle = np.concatenate(turns)
    noise = generator.normal(0, 0.05, (len(angle), 3))
    return torch.from_numpy(np.stack([np.cos(3 * angle), np.sin(3 * angle), 0.5 * angle], axis=1) + noise).float()


@pytest.fixture
def walker(tmp_path: Path, small_model: LeWM, small_card: Callable) -> tuple[Run, Dataset]:
    run = Run(RUN, RunFiles(tmp_path / "lewm"), small_model, small_card(small_model), tensors=1, sha256="")
    return run, open_dataset(write_recording(tmp_path / "x.h5", dims=2), "x")


def test_head_learns_time_and_its_controls_nothing(walker: tuple[Run, Dataset]):
    lengths = (110,) * 12
    fitted, tested = (episodes_of(walks(lengths, seed), lengths) for seed in (0, 1))
    told: list[int] = []
    split = LatentSplit(*walker, fitted, tested, held_out=True)
    heads, fit = fit_reach(split, seed=0, steps=250, advance=told.append)
    assert sum(told) == fitting_steps(250)
    assert fit.head.correlation.low > 0.85
    assert fit.head.auroc.low > 0.95
    assert fit.latent_distance.correlation.high < fit.head.correlation.low
    assert abs(fit.shuffled.correlation.value) < 0.35
    assert abs(fit.shuffled.auroc.value - 0.5) < 0.2
    with torch.inference_mode():
        near, middle, far = (heads[ONLY](tested.latents[:10], tested.latents[k : k + 10]) for k in (0, 50, 100))
        assert near.mean() < 6
        assert 7 < middle.mean() < 15  # 10, if no strangers were among the pairs
        assert 15 < far.mean() < 30
        strange = heads[SHUFFLED](tested.latents[:60], tested.latents[50:110])
    assert strange.std() < 0.1 * strange.mean()
    again, _ = fit_reach(split, seed=0, steps=250, advance=told.append)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in heads.state_dict().items())


def test_episodes_that_never_leave_the_horizon_are_refused(walker: tuple[Run, Dataset]):
    short = episodes_of(walks((26,) * 8, 0), (26,) * 8)
    with pytest.raises(LewmError, match=r"longer than the planner's horizon \(25 steps\)"):
        fit_reach(LatentSplit(*walker, short, short, held_out=True), seed=0, steps=3, advance=print)


def test_positions_are_read_in_their_unit(walker: tuple[Run, Dataset], tmp_path: Path):
    lengths = (60,) * 14
    latents = walks(lengths, 0)
    places = (latents @ torch.tensor([[30.0, 4.0], [-5.0, 20.0], [3.0, 3.0]]) + torch.tensor([112.0, 90.0])).numpy()
    path = write_recording(tmp_path / "places.h5", lengths, dims=2, size=1, columns={"proprio": places})
    dataset, every = open_dataset(path, "places"), episodes_of(latents, lengths)
    cut = 10 * 60
    fitted = LatentEpisodes(latents[:cut], every.rows[:cut], every.numbers[:10], every.starts[:10], every.lengths[:10])
    tested = LatentEpisodes(latents[cut:], every.rows[cut:], every.numbers[10:], every.starts[:4], every.lengths[10:])
    told: list[int] = []
    split = LatentSplit(walker[0], dataset, fitted, tested, held_out=True)
    heads, fit = fit_positions(split, TWOROOM, seed=0, steps=300, advance=told.append)
    assert sum(told) == 300
    assert [(one.name, one.unit) for one in fit.positions] == [("agent x", "px"), ("agent y", "px")]
    assert min(one.r2.low for one in fit.positions) > 0.98
    with torch.inference_mode():
        assert heads[ONLY](tested.latents).numpy() == pytest.approx(places[cut:], abs=8)


# The command


@dataclass(frozen=True)
class World:
    """A home with a run that was trained on most episodes of a recording, and held out five."""

    home: Home

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.home.run_stem(RUN))

    @property
    def run(self) -> Run:
        return load_run(self.home, RUN)

    def lewm(self, *arguments: object):
        return lewm_here(self.home.write, *arguments)

    def fit(self, *arguments: object):
        done = self.lewm("fit-cost", RUN, "--steps", 10, *arguments)
        assert done.code == 0, done.err
        return done


def record(path: Path, lengths: tuple[int, ...] = LENGTHS, noise: int = 0, **attributes: str) -> Dataset:
    """A recording of noise in which something moves."""
    places = np.random.default_rng(noise).uniform(20, 200, (sum(lengths), 2)).astype(np.float32)
    columns = {"proprio": places}
    write_recording(path, lengths, dims=2, noise=noise, columns=columns, **({"task": "tworoom"} | attributes))
    return open_dataset(path, path.stem)


def trained_on(run: RunCard, dataset: Dataset, name: str, held_out: tuple[int, ...] = HELD_OUT) -> RunCard:
    digests = tuple(digest for number, digest in enumerate(dataset.episode_digests) if number not in held_out)
    identity = dataset.identity.model_copy(update={"name": name})
    change = {"dataset": identity, "held_out": held_out, "trained_on": digests}
    return run.model_copy(update={"provenance": run.provenance.model_copy(update=change)})


@pytest.fixture
def world(home: Home, seeing_model: LeWM, small_card: Callable[[LeWM], RunCard]) -> World:
    dataset = record(home.dataset_path("tworoom/demo"))
    save_run(RunFiles(home.run_stem(RUN)), seeing_model, trained_on(small_card(seeing_model), dataset, "tworoom/demo"))
    return World(home)


def test_head_is_fitted_to_what_the_run_was_trained_on_and_tested_on_what_it_held_out(world: World):
    done = world.fit("--json")
    fit = ReachFit.model_validate(done.json())
    assert (fit.run, fit.weights_sha256, fit.held_out) == (RUN, weights_digest(world.files.weights), True)
    assert (fit.fitted_episodes, fit.tested_episodes) == (9, 5)
    assert fit.tested_frames == sum(LENGTHS[number] for number in HELD_OUT)
    assert fit.fitted_frames == sum(LENGTHS) - fit.tested_frames
    path = world.files.head("reach")
    assert done.err.splitlines()[-2:] == [
        f"stored: {path}",
        f"next: lewm eval {RUN} --set planner.objective=reach",
    ]
    stored = read_head(path, "reach", "again")
    assert stored.fit == fit
    assert stored.sha256 == weights_digest(path)
    assert not left_behind(world.home.write)


def test_tables_put_the_references_beside_the_head(world: World):
    done = world.fit()
    for words in ("reachability head", "shuffled labels", "latent distance", "95 % intervals"):
        assert words in flat(done.out)
    assert max(len(line) for line in done.out.splitlines()) <= 80
    done = world.fit("--kind", "probe")
    assert "agent x, px" in flat(done.out)
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN} --set planner.objective=probe"


@pytest.mark.slow
def test_same_seed_gives_the_same_file_content_and_another_one_another(world: World):
    contents = []
    for seed in (3, 3, 4):
        world.fit("--seed", seed)
        contents.append(load_file(world.files.head("reach")))
    first, second, other = contents
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.net.0.weight"], other["head.net.0.weight"])


def test_run_that_held_out_too_little_is_tested_on_episodes_set_apart(world: World, small_card: Callable):
    run = world.run
    dataset = world.home.find_dataset("tworoom/demo")
    save_run(world.files, run.model, trained_on(small_card(run.model), dataset, "tworoom/demo", held_out=(2,)))
    fit = ReachFit.model_validate(world.fit("--json").json())
    assert (fit.held_out, fit.fitted_episodes, fit.tested_episodes) == (False, 8, 5)


@pytest.mark.parametrize("objective", ["probe", "reach", "reach-shuffled"])
def test_planning_without_the_head_says_what_to_type(world: World, images: tuple[Path, Path], objective: str):
    kind = objective.partition("-")[0]
    command = f"lewm fit-cost {RUN}" + (" --kind probe" if kind == "probe" else "")
    setting = ("--set", f"planner.objective={objective}")
    for asked in (("eval", RUN, "--episodes", 5), ("plan", RUN, "--start", images[0], "--goal", images[1])):
        said = world.lewm(*asked, *setting, *QUICK).sentence()
        assert f"{RUN} has no {kind} head" in said
        assert said.endswith(command)
    with pytest.raises(MissingError, match="has no"):
        Policy(world.run, images[1], planner=PlannerConfig(objective=objective))


def test_unknown_objective_is_refused(world: World, images: tuple[Path, Path]):
    asked = ("plan", RUN, "--start", images[0], "--goal", images[1], "--set", "planner.objective=fastest")
    assert "'last', 'path', 'probe', 'reach' or 'reach-shuffled'" in world.lewm(*asked).sentence(2)


@pytest.mark.slow
def test_head_of_other_weights_is_refused_listed_and_remarked_on(
    world: World, images: tuple[Path, Path], scramble: Callable, small_card: Callable
):
    world.fit()
    run = world.run
    assert find_head(run, "reach").fit.weights_sha256 == run.sha256
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(world.files, run.model, run.card)
    asked = ("plan", RUN, "--start", images[0], "--goal", images[1], "--set", "planner.objective=reach", *QUICK)
    said = world.lewm(*asked).sentence()
    assert f"the reach head of {RUN} was fitted to other weights than it has now" in said
    assert said.endswith(f"lewm fit-cost {RUN}")
    assert "fitted to other weights" in flat(world.lewm("show", RUN).out)
    checked = world.lewm("verify", RUN, "--json").json()["checked"][0]
    assert checked["heads"] == 0
    assert any("reach.safetensors is of earlier weights" in remark for remark in checked["remarks"])
    world.fit()
    assert world.lewm(*asked).code == 0


@pytest.mark.slow
def test_objective_decides_what_is_planned_and_what_is_said(world: World, images: tuple[Path, Path]):
    world.fit("--steps", 30)
    world.fit("--steps", 30, "--kind", "probe")
    seen = {}
    for objective in ("last", "path", "probe", "reach", "reach-shuffled"):
        setting = ("--set", f"planner.objective={objective}")
        done = world.lewm("plan", RUN, "--start", images[0], "--goal", images[1], *setting, *QUICK, "--json")
        assert done.code == 0, done.err
        seen[objective] = done.json()
        assert seen[objective]["planner"]["objective"] == objective
    costs = [plan["standing_still"] for plan in seen.values()]
    assert costs[0] == costs[1]  # standing still is the whole path
    assert len(set(costs[1:])) == 4
    assert len({str(plan["actions"]) for plan in seen.values()}) == 5
    # What a policy hands out one by one is the same plan.
    policy = Policy(world.run, images[1], planner=PlannerConfig(**seen["reach"]["planner"]), seed=42)
    frame = imageio.imread(images[0])
    handed = [policy.act(frame) for _ in seen["reach"]["actions"]]
    assert np.stack(handed) == pytest.approx(np.array(seen["reach"]["actions"]), rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_journal_of_an_evaluation_with_another_head_is_another(world: World):
    dataset = world.home.find_dataset("tworoom/demo")
    protocol = EvalProtocol(planner=PlannerConfig(objective="reach"))
    about = []
    for seed in (0, 0, 1):
        world.fit("--seed", seed, "-q")
        about.append(Journaled.of(world.run, dataset, [], protocol).head_sha256)
    assert about[0] is not None
    assert about[2] != about[0]
    assert Journaled.of(world.run, dataset, [], EvalProtocol()).head_sha256 is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "tworoom/other"], "was trained on no episode of tworoom/other"),
        (["--dataset", "wide"], "wide has 3 action dimensions, and tworoom/lewm was trained with 2"),
        (["--dataset", "nothing"], "there is no dataset 'nothing'"),
        (["--dataset", "cube"], "cube is a recording of cube, and tworoom/lewm was trained on tworoom"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(world: World, arguments: list[str], said: str):
    record(world.home.dataset_path("tworoom/other"), noise=1)
    write_recording(world.home.dataset_path("wide"), dims=3, task="tworoom")
    record(world.home.dataset_path("cube"), task="cube")
    assert said in world.lewm("fit-cost", RUN, *arguments).sentence()
    assert not world.files.head("reach").exists()


def test_too_few_episodes_are_refused(world: World, small_card: Callable):
    dataset = record(world.home.dataset_path("tworoom/few"), LENGTHS[:9], noise=2)
    card = trained_on(small_card(world.run.model), dataset, "tworoom/few", held_out=(0,))
    save_run(world.files, world.run.model, card)
    assert "tworoom/few has 9 episodes, too few to fit a head to some" in world.lewm("fit-cost", RUN).sentence()


def test_task_without_positions_has_no_probe(world: World):
    run = world.run
    inputs = run.card.inputs.model_copy(update={"task": "generic"})
    save_run(world.files, run.model, run.card.model_copy(update={"inputs": inputs}))
    record(world.home.dataset_path("tworoom/demo"), task="generic")
    said = world.lewm("fit-cost", RUN, "--kind", "probe").sentence()
    assert "the task generic names no position to read" in said


# The file


def test_run_that_is_being_written_is_left_alone(world: World):
    with locked(world.files.weights, "never"):
        said = world.lewm("fit-cost", RUN, "--steps", 1).sentence()
    assert f"another process is writing '{RUN}'" in said
    assert not world.files.head("reach").exists()


def test_head_of_weights_that_changed_meanwhile_is_not_kept(world: World):
    world.fit()
    before, run = world.files.head("reach").read_bytes(), world.run
    stored = find_head(run, "reach")
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(world.files, run.model, run.card)
    with pytest.raises(LewmError, match="have changed while its head was fitted"):
        save_head(run, stored.heads, stored.fit)
    world.files.weights.unlink()
    with pytest.raises(LewmError, match="have changed while its head was fitted"):
        save_head(run, stored.heads, stored.fit)
    assert world.files.head("reach").read_bytes() == before


def test_head_of_a_run_on_shared_storage_lies_where_notes_are_written(world: World, tmp_path: Path):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    noting = replace(run, notes=RunFiles(tmp_path / "mine" / "lewm"))
    path = save_head(noting, stored.heads, stored.fit)
    assert path == tmp_path / "mine" / "lewm.run" / "reach.safetensors"
    assert find_head(noting, "reach").path == path
    path.unlink()
    assert find_head(noting, "reach").path == world.files.head("reach")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_killed_in_the_middle_of_its_bytes_the_old_head_is_there_or_none(world: World, share: float):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    path, content = stored.path, stored.path.read_bytes()
    cut = int(share * len(content))
    for old in (content, None):
        if old is None:
            path.unlink()
        assert killed_at_byte(cut, lambda: save_head(run, stored.heads, stored.fit)) != 0
        assert (path.read_bytes() if path.exists() else None) == old
    save_head(run, stored.heads, stored.fit)
    assert find_head(run, "reach").fit == stored.fit
    assert not left_behind(world.home.write)


@pytest.mark.slow
def test_killed_at_any_step_the_head_is_the_old_one_or_the_new_one(world: World):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    other = stored.fit.model_copy(update={"seed": 99})

    def write() -> None:
        save_head(run, stored.heads, other)

    points = kill_points(stored.path, write)
    seen = set()
    for step, calls in points[:: max(1, len(points) // 5)]:
        save_head(run, stored.heads, stored.fit)
        killed_at_step(step, calls, stored.path, write)
        seen.add(find_head(run, "reach").fit.seed)
    assert seen <= {0, 99}
    assert 0 in seen
    save_head(run, stored.heads, stored.fit)
    assert not left_behind(world.home.write)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "holds no reach head that can be read"),
        (lambda path: path.write_bytes(b"nothing"), "holds no reach head that can be read"),
        (lambda path: path.write_bytes(b""), "holds no reach head that can be read"),
        (lambda path: save_file(load_file(path), path), "holds no reach head that can be read"),
        (
            lambda path: _change(path, lambda state: state.pop("head.net.0.bias")),
            "holds no reach head that can be read",
        ),
        (lambda path: _change(path, lambda state: state["head.net.0.bias"].fill_(torch.nan)), "not finite"),
    ],
)
def test_damaged_head_is_refused_and_found(world: World, spoil: Callable[[Path], object], said: str):
    world.fit()
    path = world.files.head("reach")
    spoil(path)
    with pytest.raises(LewmError, match=said):
        find_objective(world.run, PlannerConfig(objective="reach"))
    (checked,) = world.lewm("verify", RUN, "--json").json()["checked"]
    texts = [f"{problem['says']}" for problem in checked["problems"] if "reach" in problem["says"]]
    assert len(texts) == 1
    assert said in texts[0]
    assert texts[0].endswith(f"lewm fit-cost {RUN}")
    assert said in flat(world.lewm("show", RUN).out)
    world.fit()
    find_objective(world.run, PlannerConfig(objective="reach"))


def _change(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, metadata=metadata)


@pytest.mark.slow
def test_show_verify_ls_and_rm_know_heads(world: World):
    world.fit()
    world.fit("--kind", "probe")
    shown = world.lewm("show", RUN, "--json").json()["heads"]
    assert [(head["kind"], head["problem"]) for head in shown] == [("reach", None), ("probe", None)]
    assert ReachFit.model_validate(shown[0]["fit"])
    assert ProbeFit.model_validate(shown[1]["fit"])
    text = flat(world.lewm("show", RUN).out)
    assert "reach.safetensors" in text
    assert "probe.safetensors" in text
    (checked,) = world.lewm("verify", RUN, "--json").json()["checked"]
    assert checked["heads"] == 2
    assert "heads: 2" in flat(world.lewm("verify", RUN).out)
    assert [run["name"] for run in world.lewm("ls", "--json").json()["runs"]] == [RUN]
    listed = world.lewm("rm", RUN, "--dry-run", "--json").out
    assert "reach.safetensors" in listed
    assert world.lewm("rm", RUN, "--yes").code == 0
    assert not world.files.folder.exists()


# The real thing


@pytest.mark.slow
def test_fitted_on_a_real_recording_plans_are_judged_by_it(trained: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    done = lewm(home, "fit-cost", RUN, "--steps", 200, "--json")
    assert done.code == 0, done.err
    fit = ReachFit.model_validate(done.json())
    assert not fit.held_out  # it held out one episode of twelve, which is too few
    assert fit.head.correlation.low > 0  # little, for the model has hardly learned and six episodes are few
    assert fit.head.auroc.low > 0.5
    assert abs(fit.shuffled.correlation.value) < 0.35
    assert lewm(home, "fit-cost", RUN, "--kind", "probe", "--steps", 100, "-q").code == 0
    seen = {}
    for objective in ("last", "reach", "probe"):
        setting = ("--set", f"planner.objective={objective}", "--protocol", "release")
        done = lewm(home, "eval", RUN, "--episodes", 2, "--films", 1, *setting, *QUICK, "--json")
        assert done.code == 0, done.err
        seen[objective] = EvalResult.model_validate(done.json())
    assert seen["last"].head_sha256 is None
    assert seen["reach"].head_sha256 == weights_digest(home / "tworoom" / "lewm.run" / "reach.safetensors")
    assert seen["probe"].head_sha256 == weights_digest(home / "tworoom" / "lewm.run" / "probe.safetensors")
    assert seen["reach"].protocol.changed == (
        "pairs",
        "planner.candidates",
        "planner.elites",
        "planner.iterations",
        "planner.objective",
    )
