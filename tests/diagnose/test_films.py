"""Films of an evaluation: the pairs worth seeing, planned for again with the same outcome, told truthfully."""

import base64
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from commands import lewm_here
from lewm_cli import diagnose
from lewm_cli.config import Layer, PlannerConfig
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.diagnose import FilmResult, PlanFilm, choose_episodes
from lewm_cli.diagnose.film_result import Frames
from lewm_cli.diagnose.plan_recorder import PlanRecorder, spread
from lewm_cli.evaluate import EpisodeResult, EvalResult, pair_seed
from lewm_cli.flows.evaluate import evaluate_run
from lewm_cli.flows.planned import EvalRequest
from lewm_cli.heads import Points, UmapEmbedding
from lewm_cli.plan import LatentCost, Problem
from lewm_cli.plan.cem import CEM
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import Simulator, find_task

pytest_plugins = ("recordings",)

RUN = "tworoom/lewm"
PLANNER = {"candidates": 128, "elites": 32, "iterations": 4, "receding": 2}
STEPS = 10
"""Environment steps between two plans."""

PIXEL = 0.02
"""Positions are kept in units of 1/8192 of the frame's side."""


# Which pairs


def outcome(number: int, first_hit: int | None) -> EpisodeResult:
    return EpisodeResult(
        seed=42,
        episode=number // 2,
        start_row=10 * number,
        goal_row=10 * number + 25,
        groups=(),
        solved_at_start=first_hit == 0,
        success=first_hit is not None,
        first_hit=first_hit,
        held=None,
        final_distance=1.0,
        route_valid=None,
        random_success=False,
        iterations=1,
        flops=1.0,
    )


def evaluation(hits: list[int | None]) -> EvalResult:
    """Of these first hits; nothing else of it matters here."""
    return EvalResult.model_construct(episodes=tuple(outcome(number, hit) for number, hit in enumerate(hits)))


@given(hits=st.lists(st.none() | st.integers(0, 50), max_size=30), count=st.integers(0, 6))
def test_one_failure_and_the_longest_successes_are_chosen(hits: list[int | None], count: int):
    found = evaluation(hits)
    chosen = choose_episodes(found, count)
    assert [one.start_row for one in chosen] == sorted({one.start_row for one in chosen})
    assert all(one in found.episodes for one in chosen)
    assert not any(one.solved_at_start for one in chosen)
    failures = [one for one in found.episodes if not one.success]
    successes = [one for one in found.episodes if one.first_hit]
    assert len(chosen) == min(count, len(failures) + len(successes))
    filmed = [one for one in chosen if one.success]
    assert len(filmed) == min(len(successes), count - min(count, 1, len(failures)))
    assert [one for one in chosen if not one.success] == failures[: len(chosen) - len(filmed)]
    missed = [one.first_hit for one in successes if one not in chosen]
    assert min((one.first_hit for one in filmed), default=51) >= max(missed, default=0) or not filmed


# The planner remembers


class Slope(LatentCost):
    """A cost that does not ask a model; the same for every environment."""

    def __init__(self, environments: int) -> None:
        self.start = torch.zeros(environments, 1, 1)

    def __call__(self, candidates: torch.Tensor) -> torch.Tensor:
        return (candidates - torch.arange(candidates.shape[-1]) / 4).square().sum(dim=(2, 3))


def seeded(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def test_planner_that_remembers_finds_the_same_plan():
    config = PlannerConfig(candidates=40, elites=6, iterations=5, horizon=3, receding=2)
    plain = CEM(config).solve(Problem(Slope(3), 4, seeded(3)))
    remembering = CEM(config, record=True).solve(Problem(Slope(3), 4, seeded(3)))
    assert plain.history == ()
    assert torch.equal(plain.actions, remembering.actions)
    assert torch.equal(plain.cost, remembering.cost)
    assert len(remembering.history) == 5
    for iteration in remembering.history:
        assert iteration.actions.shape == (3, 40, 3, 4)
        assert torch.equal(iteration.cost, Slope(3)(iteration.actions))
    last = remembering.history[-1]
    best = last.cost.argsort(dim=1)[:, :6]
    elites = torch.stack([last.actions[environment, best[environment]] for environment in range(3)])
    assert torch.allclose(elites.mean(dim=1), plain.actions, atol=1e-6)
    means = [iteration.cost.topk(6, dim=1, largest=False).values.mean().item() for iteration in remembering.history]
    assert means == sorted(means, reverse=True)


# Of a real evaluation


@dataclass(frozen=True)
class Filmed:
    """An evaluation and its films, with what they were made from."""

    home: Home
    run: Run
    dataset: Dataset
    result: EvalResult
    films: FilmResult
    said: list[str]


@contextmanager
def silent(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Progress that has to add up."""
    done: list[int] = []
    yield done.append
    assert sum(done) == total, label


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    folder = tmp_path_factory.mktemp("films") / "home"
    shutil.copytree(trained, folder)
    shutil.copy(other_demos / "tworoom" / "demos.h5", folder / "tworoom" / "test.h5")
    return Home(folder, (folder,))


@pytest.fixture(scope="module")
def filmed(world: Home) -> Filmed:
    said: list[str] = []
    settings = (Layer("the test", {"planner": PLANNER, "pairs": 6}),)
    request = EvalRequest("tworoom/test", settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        (done,) = evaluate_run(world, RUN, request, said.append, silent, record=3, device="cpu")
    (path,) = done.path.parent.glob("films-*.json")
    assert path == done.films
    films = FilmResult.model_validate_json(path.read_text(encoding="utf-8"))
    dataset = open_dataset(world.write / "tworoom" / "test.h5", "tworoom/test")
    return Filmed(world, load_run(world, RUN), dataset, done.result, films, said)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return find_task("tworoom").make_simulator()


def states(filmed: Filmed, film: PlanFilm) -> tuple[np.ndarray, np.ndarray]:
    start, goal = filmed.dataset.read("proprio", np.array([film.start_row, film.goal_row]))
    return start, goal


def picture(encoded: str) -> np.ndarray:
    return imageio.imread(base64.b64decode(encoded), extension=".webp")


def tiles(frames: Frames) -> list[np.ndarray]:
    """The pictures of a sheet, row by row."""
    sheet = picture(frames.sheet)
    side = sheet.shape[1] // frames.columns
    places = (divmod(number, frames.columns) for number in range(frames.count))
    return [sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] for row, column in places]


@pytest.mark.slow
def test_films_are_of_the_chosen_pairs_with_the_outcome_of_the_evaluation(filmed: Filmed):
    chosen = choose_episodes(filmed.result, 3)
    assert len(filmed.films.films) == len(chosen) > 0
    for film, one in zip(filmed.films.films, chosen, strict=True):
        assert filmed.result.episodes[film.number] == one
        for field in ("episode", "start_row", "goal_row", "groups", "success", "first_hit"):
            assert getattr(film, field) == getattr(one, field)
    for field in ("run", "weights_sha256", "dataset", "held_out", "protocol", "task"):
        assert getattr(filmed.films, field) == getattr(filmed.result, field)


@pytest.mark.slow
def test_path_is_what_the_episode_did_and_every_plan_begins_where_it_had_come_to(filmed: Filmed):
    for film in filmed.films.films:
        start, goal = states(filmed, film)
        path, taken = film.path.array(), 50 if film.first_hit is None else film.first_hit
        assert path[0] == pytest.approx(start, abs=PIXEL)
        assert film.goal_position == pytest.approx(goal, abs=PIXEL)
        assert len(path) == taken + 1
        distance = np.linalg.norm(path[-1] - goal)
        assert (distance < 16 + 2 * PIXEL) == film.success
        assert distance == pytest.approx(filmed.result.episodes[film.number].final_distance, abs=2 * PIXEL)
        assert [plan.step for plan in film.plans] == list(range(0, taken, STEPS))
        for plan in film.plans:
            led, went = plan.path.array(), path[plan.step :][: STEPS + 1]
            assert led.shape == (5 * 5 + 1, 2)
            assert led[: len(went)] == pytest.approx(went, abs=PIXEL)
            assert plan.seconds > 0


@pytest.mark.slow
def test_candidates_are_ordered_by_cost_which_falls_by_the_iteration(filmed: Filmed):
    for film in filmed.films.films:
        path = film.path.array()
        for plan in film.plans:
            assert len(plan.lowest) == len(plan.mean) == 4
            assert all(low < mean for low, mean in zip(plan.lowest, plan.mean, strict=True))
            assert plan.mean[-1] < plan.mean[0]
            numbers = [tried.iteration for tried in plan.iterations]
            assert numbers == [1, 3, 4]  # several plans, so that fewer of each are kept
            for tried in plan.iterations:
                places = tried.paths.array()
                assert places.shape == (24, 6, 2)
                assert places[:, 0] == pytest.approx(np.broadcast_to(path[plan.step], (24, 2)), abs=PIXEL)
                assert list(tried.costs) == sorted(tried.costs)
                assert tried.costs[0] == plan.lowest[tried.iteration - 1]
                assert tried.elites == 6  # of 24 that are spread over 128, those among the first 32


@pytest.mark.slow
def test_plan_is_the_one_that_the_planner_finds_for_this_pair_alone(filmed: Filmed, simulator: Simulator):
    """Found again from nothing but the stored rows, protocol and seed; so is where latents lie on the map."""
    inputs, protocol, place = filmed.run.card.inputs, filmed.films.protocol, on_the_map(filmed)
    for film in filmed.films.films:
        start, goal = states(filmed, film)
        simulator.begin(start, goal)
        latents = filmed.run.embed(np.stack([simulator.frame(), simulator.goal_frame()]))
        pair = Pair(film.episode, film.start_row, film.goal_row, start, goal)
        generator = torch.Generator().manual_seed(pair_seed(protocol.seed, pair, stream=0))
        cost = LatentCost(filmed.run.model, latents[:1].unsqueeze(1), latents[1:])
        plan = CEM(protocol.planner).solve(Problem(cost, inputs.block_dim, [generator]))
        path = [simulator.position()]
        for action in inputs.actions.denormalize(plan.actions[0].numpy().reshape(-1, inputs.actions.dim)):
            simulator.step(action)
            path.append(simulator.position())
        assert film.plans[0].path.array() == pytest.approx(np.stack(path), abs=PIXEL)
        near = 3 * filmed.films.latent_maps[0].points.unit
        assert film.latents[0].array()[0] == pytest.approx(place(latents[0]), abs=near)
        assert film.goal_latent[0].array()[0] == pytest.approx(place(latents[1]), abs=near)
        assert film.plans[0].imagined[0].array() == pytest.approx(place(cost.imagined(plan.actions)[0]), abs=near)


@pytest.mark.slow
def test_latents_on_the_map_are_those_of_the_frames(filmed: Filmed):
    shares = filmed.films.latent_maps[0].shares
    assert [one.method for one in filmed.films.latent_maps] == ["PCA"]
    assert 1 >= sum(shares) > shares[0] > shares[1] > 0
    recorded = filmed.films.latent_maps[0].points.array()
    assert recorded.mean(axis=0) == pytest.approx(0, abs=filmed.films.latent_maps[0].points.unit)
    for film in filmed.films.films:
        latents = film.latents[0].array()
        assert len(latents) == len(film.path.array()) == film.frames.count
        for plan in film.plans:
            imagined = plan.imagined[0].array()
            assert imagined.shape == (6, 2)
            assert imagined[0] == pytest.approx(latents[plan.step], abs=film.latents[0].unit)


class Cut:
    """Stands in for UMAP: places are the first two numbers of latents."""

    def __init__(self, **settings: int) -> None:
        self.settings = settings

    def fit_transform(self, latents: np.ndarray) -> np.ndarray:
        assert np.isfinite(latents).all()
        warnings.warn("one thread is slow", UserWarning, stacklevel=1)
        return latents[:, :2]

    transform = fit_transform


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Cut))


@pytest.mark.slow
def test_with_umap_the_films_have_a_second_map_and_are_else_the_same(filmed: Filmed, cut: None):
    plane = PlanRecorder(filmed.run, filmed.films.protocol.planning, filmed.dataset, 50).embeddings[0]
    chosen = choose_episodes(filmed.result, 1)
    films = diagnose.film(filmed.run, find_task("tworoom"), filmed.dataset, filmed.result, chosen, id)
    assert FilmResult.model_validate_json(films.model_dump_json()) == films
    assert [one.method for one in films.latent_maps] == ["PCA", "UMAP"]
    assert films.latent_maps[0] == filmed.films.latent_maps[0] == plane.map
    (found,) = films.films
    (alone,) = (one for one in filmed.films.films if one.number == found.number)
    every = [(found.latents, alone.latents), (found.goal_latent, alone.goal_latent)]
    every += [(two.imagined, one.imagined) for two, one in zip(found.plans, alone.plans, strict=True)]
    for (pca, umap), (only,) in every:
        assert (pca.data, umap.shape) == (only.data, only.shape)
    start, goal = filmed.run.embed(filmed.dataset.read("pixels", np.array([found.start_row, found.goal_row])))[:, :2]
    near = 0.02  # frames were stored as pictures
    assert found.latents[1].array()[0] == pytest.approx(start.numpy(), abs=near)
    assert found.goal_latent[1].array()[0] == pytest.approx(goal.numpy(), abs=near)
    for plan in found.plans:
        assert plan.imagined[1].array()[0] == pytest.approx(found.latents[1].array()[plan.step], abs=near)


@pytest.mark.slow
def test_frames_show_what_happened(filmed: Filmed, simulator: Simulator):
    assert filmed.films.frame_size == 224
    assert filmed.films.frameskip == 5
    for film in filmed.films.films:
        _, goal = states(filmed, film)
        recorded = filmed.dataset.read("pixels", np.array([film.start_row, film.goal_row]))
        frames = tiles(film.frames)
        for seen, shown in zip((frames[0], picture(film.goal)), recorded, strict=True):
            assert np.abs(seen.astype(int) - shown).mean() < 0.5
        for place, frame in zip(film.path.array(), frames, strict=True):
            simulator.begin(place.astype(np.float32), goal)
            assert frame.shape == (224, 224, 3)
            assert np.abs(simulator.frame().astype(int) - frame).mean() < 0.5
            simulator.begin((place + np.array([0, 20 if place[1] < 150 else -20])).astype(np.float32), goal)
            assert np.abs(simulator.frame().astype(int) - frame).mean() > 1


def on_the_map(filmed: Filmed) -> Callable[[torch.Tensor], np.ndarray]:
    """Where latents lie on the map: read from its points, which are of evenly spaced rows."""
    rows = np.unique(np.linspace(0, filmed.dataset.rows - 1, 1000).astype(int))
    latents = filmed.run.embed(filmed.dataset.read("pixels", rows)).numpy()
    points = filmed.films.latent_maps[0].points.array()
    axes, *_ = np.linalg.lstsq(latents - latents.mean(axis=0), points, rcond=None)
    return lambda some: (some.numpy() - latents.mean(axis=0)) @ axes


def test_umap_has_a_seed_and_one_thread_and_its_warnings_are_not_heard(cut: None, recwarn: pytest.WarningsRecorder):
    latents = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    found = UmapEmbedding.of(latents)
    assert found.reducer.settings.items() >= {"random_state": 0, "transform_seed": 0, "n_jobs": 1}.items()
    assert (found.map.method, found.map.shares) == ("UMAP", None)
    assert found.map.points.array() == pytest.approx(latents[:, :2], abs=found.unit)
    assert found.places(torch.tensor([[np.nan, 0.0], [np.inf, 1.0]])).array().tolist()[0] == [0, 0]
    assert recwarn.list == []


@pytest.mark.parametrize(
    ("package", "frames"),
    [(None, 40), (SimpleNamespace(), 40), (SimpleNamespace(UMAP=Cut), 15)],
    ids=["missing", "damaged", "few frames"],
)
def test_without_umap_there_is_no_second_map(monkeypatch: pytest.MonkeyPatch, package: object, frames: int):
    monkeypatch.setitem(sys.modules, "umap", package)
    assert UmapEmbedding.of(np.zeros((frames, 8), np.float32)) is None


@pytest.mark.slow
def test_umap_maps_the_same_latents_always_the_same_way(recwarn: pytest.WarningsRecorder):
    if find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    generator = np.random.default_rng(0)
    rooms = np.arange(300)[:, None] % 2
    places = generator.uniform(size=(300, 2)) + 3 * rooms
    latents = np.cos(places @ generator.normal(size=(2, 16))).astype(np.float32) + 2 * rooms.astype(np.float32)
    first, second = (UmapEmbedding.of(latents) for _ in range(2))
    assert first.map == second.map
    some = torch.from_numpy(latents[:20])
    assert first.places(some) == second.places(some)
    points = first.map.points.array()
    size = np.ptp(points, axis=0).max()
    assert first.places(some).array() == pytest.approx(points[:20], abs=size / 20)
    even, odd = points[::2], points[1::2]
    apart = np.linalg.norm(even[:, None] - odd, axis=-1).min(axis=1)
    nearest = np.sort(np.linalg.norm(even[:, None] - even, axis=-1), axis=1)[:, 1]
    assert np.median(apart) > 3 * np.median(nearest)  # the two rooms are two clouds
    wild = torch.full((2, 16), torch.inf)
    assert np.isfinite(first.places(wild).array()).all()
    assert recwarn.list == []


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 300])
def test_spread_numbers_reach_from_the_first_to_the_last(count: int):
    chosen = spread(count, 10)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, count - 1, min(count, 10))
    assert np.ptp(np.diff(chosen)) <= 1 if count > 1 else True


def test_points_are_kept_to_half_a_unit_and_clipped():
    points = np.random.default_rng(0).normal(0, 3, (4, 5, 2))
    kept = Points.of(points, 0.01)
    assert kept.array() == pytest.approx(points, abs=0.005 + 1e-9)
    assert Points.of([[1e9, -1e9]], 0.5).array().tolist() == [[16383.5, -16384.0]]


@pytest.mark.parametrize("changed", [{"shape": (3, 2)}, {"shape": (8,)}, {"data": "AAAA"}, {"data": "?"}])
def test_points_that_do_not_fill_their_shape_are_refused(changed: dict[str, object]):
    kept = Points.of(np.zeros((4, 2)), 0.01).model_dump()
    with pytest.raises(ValidationError):
        Points.model_validate(kept | changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [(("--record", 0), []), (("--offsets", 1), ["films: none, for every goal was reached at the start"])],
)
def test_evaluation_without_films_keeps_none(filmed: Filmed, options: tuple, said: list[str]):
    folder = filmed.run.files.results
    before = set(folder.iterdir())
    settings = ("--set", "planner.candidates=8", "--set", "planner.elites=2", "--set", "planner.iterations=1")
    arguments = ("--dataset", "tworoom/test", "--episodes", 2, *options, *settings)
    done = lewm_here(filmed.home.write, "eval", RUN, *arguments, "--json")
    assert done.code == 0, done.err
    (added,) = set(folder.iterdir()) - before
    assert added.name.startswith("eval-")
    assert "filming" not in done.err
    assert [line for line in done.err.splitlines() if line.startswith("films: ")] == said
    assert "--record" in lewm_here(filmed.home.write, "eval", RUN, "--record", -1).sentence(code=2)


@pytest.mark.slow
def test_report_shows_films_of_the_evaluation_that_it_shows_or_none(filmed: Filmed, tmp_path: Path):
    from lewm_cli.flows.results import stored_results
    from lewm_cli.report import RunReport

    home = tmp_path / "home"
    shutil.copytree(filmed.home.write / "tworoom", home / "tworoom")
    run = load_run(Home(home, (home,)), RUN)
    folder = run.files.results
    for path in folder.iterdir():
        path.unlink()

    def write(name: str, result: EvalResult | FilmResult) -> None:
        (folder / name).write_text(result.model_dump_json(by_alias=True), encoding="utf-8")

    def shown() -> FilmResult | None:
        return RunReport.of(run, stored_results(Home(home, (home,)), run)).films

    write("eval-1.json", filmed.result)
    assert shown() is None
    write("films-1.json", filmed.films)
    assert shown() == filmed.films
    # Another evaluation of the same recording that was not filmed.
    protocol = filmed.result.protocol.model_copy(update={"seed": 43})
    write("eval-2.json", filmed.result.model_copy(update={"protocol": protocol}))
    assert shown() is None
    newer = filmed.films.model_copy(update={"protocol": protocol})
    write("films-2.json", newer)
    assert shown() == newer


@pytest.mark.slow
def test_films_are_strict_json(filmed: Filmed):
    (path,) = filmed.run.files.results.glob("films-*.json")

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    tree = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert len(tree["films"]) == len(filmed.films.films)
    assert path.stat().st_size < 250e3 * len(filmed.films.films)
