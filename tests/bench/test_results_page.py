"""The pages of docs/ as bench/ makes them: every row beside its floor, and what is not shown is said."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest

from commands import flat
from lewm_cli.config import ObjectiveName
from lewm_cli.evaluate import (
    EpisodeResult,
    EvalResult,
)
from lewm_cli.evaluate.eval_result import summarize
from lewm_cli.heads import ReachFit
from lewm_cli.heads.reach import ReachScores
from lewm_cli.heads.reach_score import ReachScore
from lewm_cli.statistics import Difference, Estimate, Rate
from lewm_cli.store import Measurement
from reports import full_report

ROOT = Path(__file__).parents[2]
EVALUATION = full_report().evaluation
PAIRS = 20


def generator(name: str) -> ModuleType:
    """A file of bench/, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results() -> ModuleType:
    return generator("results")


def evaluated(
    run: str, protocol: str, solved: int, *, by_chance: int = 2, pairs: int = PAIRS, group: str = "far"
) -> EvalResult:
    """An evaluation in which the first so many of the pairs are solved, and the last so many at random.

    Two starts are solutions already, and every third pair belongs to the group.
    """
    episodes = [
        EpisodeResult(
            seed=42,
            episode=k // 2,
            start_row=50 * k,
            goal_row=50 * k + 25,
            groups=(group,) if k % 3 == 0 else (),
            solved_at_start=k < 2,
            success=k < solved,
            first_hit=0 if k < 2 else 10 if k < solved else None,
            held=True if k < solved else None,
            final_distance=1.0,
            route_valid=None,
            random_success=k >= pairs - by_chance,
            iterations=30,
            flops=1e9,
        )
        for k in range(pairs)
    ]
    changed = EVALUATION.protocol.model_copy(update={"name": protocol})
    about = {"run": run, "task": run.split("/")[0], "protocol": changed}
    summary = summarize(episodes, changed, EVALUATION.plans, EVALUATION.split, seconds=31.2)
    return EVALUATION.model_copy(update=about | summary)


def finish(results: ModuleType, home: Path, row: Any, *solved: int) -> list[EvalResult]:
    """Keep every step of a row as if it had been done; `solved` pairs by training seed."""
    found = []
    for step in row.steps():
        printed = "{}"
        if step.kind == "evaluating":
            run, protocol = step.command[1], step.command[step.command.index("--protocol") + 1]
            found.append(evaluated(run, protocol, solved[row.runs.index(run)]))
            printed = found[-1].model_dump_json()
        seconds = {"recording": 600.0, "training": 300.0, "evaluating": 30.0}[step.kind]
        kept = results.done_path(home, row.task, step)
        kept.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(("lewm", *step.command))
        done = results.Done(
            kind=step.kind, command=command, seconds=seconds, cpu_seconds=seconds / 2, cores=2, printed=printed
        )
        kept.write_text(done.model_dump_json(), encoding="utf-8")
    return found


def cells(page: str, section: str, *beginning: str) -> list[str]:
    """The table line of a section that begins so, cell by cell."""
    _, _, text = page.partition(f"## {section}\n")
    text, _, _ = text.partition("\n## ")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    (found,) = (line for line in lines if tuple(line[: len(beginning)]) == beginning)
    return found


def row_named(results: ModuleType, task: str) -> Any:
    return next(row for row in results.ROWS if row.task == task)


def test_rate_stands_beside_its_floor_and_the_difference_on_the_same_pairs(results: ModuleType, tmp_path: Path):
    row = row_named(results, "pusht")
    first, *_ = finish(results, tmp_path, row, *[17] * len(row.seeds))
    page = results.page(results.rows_of(tmp_path))
    success, random, clusters = (
        np.array([getattr(one, name) for one in first.episodes]) for name in ("success", "random_success", "episode")
    )
    success = np.array([success] * len(row.seeds))
    above = Difference.of(success, np.array([random] * len(row.seeds)), clusters)
    assert cells(page, "Protocol `heldout`", "pusht") == [
        *("pusht", "3", str(PAIRS), str(Rate.of(success, clusters)), str(Rate.of(random, clusters)), str(above), "yes")
    ]
    assert cells(page, "Protocol `moderate`", "pusht")[-1] == "yes"
    assert cells(page, "Each training seed", "pusht/delta-seed0")[1] == str(first.overall.success)


def test_what_is_not_shown_is_said(results: ModuleType, tmp_path: Path):
    finish(results, tmp_path, row_named(results, "cube"), 3, 3, 3)
    page = results.page(results.rows_of(tmp_path))
    assert cells(page, "Protocol `heldout`", "cube")[-1] == "**not shown to beat random**"
    assert cells(page, "Kinds of pairs", "cube", "start not solved")[2] == str(PAIRS - 2)
    assert cells(page, "Kinds of pairs", "cube", "far")[-1] == "**not shown to beat random**"


def test_training_seeds_are_pooled_and_listed(results: ModuleType, tmp_path: Path):
    row = row_named(results, "tworoom")
    found = finish(results, tmp_path, row, 20, 18, 10)
    page = results.page(results.rows_of(tmp_path))
    first = [one for one in found if one.protocol.name == "heldout"]
    outcomes = np.array([[one.success for one in result.episodes] for result in first])
    pooled = Rate.of(outcomes, np.array([one.episode for one in first[0].episodes]))
    assert cells(page, "Protocol `heldout`", "tworoom")[1:4] == ["3", str(PAIRS), str(pooled)]
    for run, result in zip(row.runs, first, strict=True):
        assert cells(page, "Each training seed", run)[1] == str(result.overall.success)


def test_page_tells_what_it_took_and_what_was_typed(results: ModuleType, tmp_path: Path):
    row = row_named(results, "reacher")
    finish(results, tmp_path, row, 9, 9, 9)
    page = results.page(results.rows_of(tmp_path))
    # Two recordings of ten minutes, three trainings of five, six evaluations of half a minute.
    episodes = f"{row.train} + {row.test}"
    assert cells(page, "What it took", "reacher") == [
        *("reacher", episodes, "20.0 (10.0)", "15.0 (7.5)", "3.0 (1.5)", "38.0 (19.0)", "2")
    ]
    assert f"    lewm collect reacher --episodes {row.train} --seed 0 --name reacher/demos" in page
    assert "`python bench/results.py reacher --home .results`" in page


def test_only_finished_rows_are_on_the_page(results: ModuleType, tmp_path: Path):
    finish(results, tmp_path, row_named(results, "pusht"), 17, 17, 17)
    unfinished = row_named(results, "reacher")
    finish(results, tmp_path, unfinished, 9, 9, 9)
    *_, last = unfinished.steps()
    results.done_path(tmp_path, "reacher", last).unlink()
    assert [one.row.task for one in results.rows_of(tmp_path)] == ["pusht"]
    assert "| reacher" not in results.page(results.rows_of(tmp_path))


def test_variants_of_tworoom_are_pooled_over_their_own_seeds(results: ModuleType):
    variants = generator("tworoom_results")
    printed = '{"held_out": {"std": 0.9, "prediction": 0.02, "copying": 0.2}}'
    trained = results.Done(kind="training", command="lewm", seconds=60, cpu_seconds=None, cores=2, printed=printed)
    measured = {
        variant: [variants.Seed(trained, EVALUATION.model_copy(update={"run": run})) for run in runs]
        for variant in variants.VARIANTS
        for runs in [[f"tworoom/{variant.stem}-seed{seed}" for seed in variant.seeds]]
    }
    page = variants.page(measured)
    for variant in variants.VARIANTS:
        title, seeds, success, *_, routes = cells(f"## all\n{page}", "all", variant.title)
        assert (title, int(seeds)) == (variant.title, len(variant.seeds))
        assert success.startswith(f"{EVALUATION.overall.success.rate:.1%} [")
        assert routes.startswith(f"{EVALUATION.groups[1].route_valid.rate:.1%} [")
        for seed in variant.seeds:
            line = cells(page, "Each training seed", f"tworoom/{variant.stem}-seed{seed}")
            assert line[1:5] == [str(EVALUATION.overall.success), "0.900", "0.100", "1.0"]


@pytest.fixture(scope="module")
def objectives(results: ModuleType) -> ModuleType:
    return generator("objectives")


def judged(objectives: ModuleType, solved: dict[str, tuple[int, int]]) -> Any:
    """Two runs measured with every planner: so many pairs solved by each run, one less for every offset."""
    runs = ("tworoom/small-seed0", "tworoom/small-seed1")

    def by_offset(run: str, solved: int) -> list[EvalResult]:
        return [
            evaluated(run, "heldout", solved - number, group="other room") for number in range(len(objectives.OFFSETS))
        ]

    return objectives.Measured(
        planners={
            planner: [by_offset(run, pairs) for run, pairs in zip(runs, counts, strict=True)]
            for planner, counts in solved.items()
        },
        heads=[REACH.model_copy(update={"run": run}) for run in runs],
        made=["lewm collect tworoom"],
        done=["lewm fit tworoom/small-seed0"],
    )


def told(encoded: float, imagined: float) -> ReachScores:
    def score(correlation: float) -> ReachScore:
        estimate = Estimate(value=correlation, low=correlation - 0.05, high=correlation + 0.05)
        return ReachScore(correlation=estimate, auroc=estimate)

    return ReachScores(encoded=score(encoded), imagined=score(imagined))


REACH = ReachFit(
    **{name: getattr(EVALUATION, name) for name in Measurement.model_fields},
    latent=8,
    hidden=256,
    steps=2500,
    seed=0,
    recipe="",
    fitted_episodes=9,
    fitted_frames=900,
    tested_episodes=5,
    tested_frames=500,
    classes=18,
    horizon=5,
    head=told(0.81, 0.78),
    with_imagined=told(0.82, 0.61),
    shuffled=told(0.1, 0.12),
    latent_distance=told(0.7, 0.68),
    gain=Estimate(value=0.17, low=0.1, high=0.2),
)

SOLVED = {
    "last": (12, 10),
    "path": (11, 9),
    "probe": (15, 16),
    "reach": (20, 18),
    "reach-imagined": (19, 18),
    "reach-shuffled": (6, 5),
    "last, shuffled prior": (8, 7),
    "last, prior": (14, 15),
    "last, anchors": (17, 16),
    "last, prior, anchors": (19, 17),
    "recorded": (18, 20),
    "prior alone": (13, 9),
}


def outcomes(results: ModuleType, name: str, seed: int, success: str, random: str = "1000") -> Any:
    return results.Outcomes(
        task="reacher",
        name=name,
        seed=seed,
        versions={},
        episodes=(0, 0, 1, 1),
        success=success,
        random=random,
        groups={"far": "0111"},
    )


def test_methods_are_compared_pair_by_pair_with_lewm_once_all_their_seeds_are_there(results: ModuleType):
    solved = {"lewm": ("1110", "1111", "0111"), "gcbc": ("0110", "0110", "1110"), "gcivl": ("1111",)}
    known = [outcomes(results, name, seed, one) for name, seeds in solved.items() for seed, one in enumerate(seeds)]
    page = results.METHODS.page(known)
    clusters = np.array([0, 0, 1, 1])
    lewm, gcbc = (np.array([[bit == "1" for bit in one] for one in solved[name]]) for name in ("lewm", "gcbc"))
    lines = [cells(page, "All methods of the release", "reacher", f"`{name}`") for name in ("lewm", "gcbc")]
    assert [line[-1] for line in lines] == ["", str(Difference.of(gcbc, lewm, clusters))]
    assert lines[1][2:5] == ["3", "4", str(Rate.of(gcbc, clusters))]
    far = cells(page, "All methods of the release", "reacher", "far", "`gcbc`")
    assert far[3:5] == ["3", str(Rate.of(gcbc[:, 1:], clusters[1:]))]
    assert far[-1] == str(Difference.of(gcbc[:, 1:], lewm[:, 1:], clusters[1:]))
    assert "`pldm`, `dinowm`, `dinowm_noprop`, `gcivl`, `gciql` on reacher" in page
    assert "all on tworoom" in page


def test_kept_outcomes_are_not_measured_again(results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = dataclasses.replace(row_named(results, "pusht"), seeds=(0,))
    kept, asked = tmp_path / "kept.jsonl", []

    def do(home: Path, task: str, step: Any) -> Any:
        asked.append(step.name)
        printed = evaluated("pusht/gcbc-seed0", "heldout", 17).model_dump_json() if step.kind == "evaluating" else "{}"
        return results.Done(kind=step.kind, command="", seconds=1, cpu_seconds=1, cores=2, printed=printed)

    monkeypatch.setattr(results, "do", do)
    results.METHODS.measure(tmp_path, row, ["gcbc"], kept)
    assert asked == ["demos", "test", "small-seed0", "gcbc-seed0", "gcbc-seed0-compared"]
    (found,) = results.read_outcomes(kept)
    assert (found.success, found.random) == ("1" * 17 + "000", "0" * 18 + "11")
    assert found.groups == {"far": ("100" * PAIRS)[:PAIRS]}
    results.METHODS.measure(tmp_path, row, ["gcbc"], kept)
    assert len(asked) == 5


def test_every_planner_is_measured_after_its_heads_were_fitted_and_alone_without_iterations(results: ModuleType):
    row = row_named(results, "cube")
    for planner, options in results.planners("cube").items():
        steps = row.by_planner(planner, 1)
        assert [step.command[0] for step in steps] == ["collect", "collect", "train", "fit", "fit", "eval"]
        *_, evaluated = steps
        assert set(options) < set(evaluated.command)
        assert ("planner.iterations=10" in evaluated.command) == (planner != "prior alone")
    names = [row.by_planner(planner, seed)[-1].name for planner in results.PLANNERS.names for seed in row.seeds]
    assert len(set(names)) == len(names)


def test_outcomes_of_different_pairs_are_refused(results: ModuleType, tmp_path: Path):
    kept = tmp_path / "kept.jsonl"
    lines = [outcomes(results, "lewm", 0, "1110"), outcomes(results, "gcbc", 0, "0110", random="0001")]
    kept.write_text("".join(one.model_dump_json() + "\n" for one in lines), encoding="utf-8")
    with pytest.raises(ValueError, match="different pairs"):
        results.read_outcomes(kept)


def test_planners_are_pooled_over_runs_and_compared_on_the_same_pairs(objectives: ModuleType):
    measured = judged(objectives, SOLVED)
    page = objectives.page(measured)
    every = evaluated("any", "heldout", 0).episodes
    for section, chosen in (("All pairs", range(PAIRS)), ("Goals in the other room", range(0, PAIRS, 3))):
        episodes = np.array([every[k].episode for k in chosen])

        def outcomes(planner: str, number: int, chosen: range = chosen) -> np.ndarray:
            return np.array([[k < solved - number for k in chosen] for solved in SOLVED[planner]])

        numbers = range(len(objectives.OFFSETS))
        assert cells(page, section, "pairs (episodes)")[1] == f"{len(chosen)} ({len(set(episodes))})"
        for planner in SOLVED:
            expected = [str(Rate.of(outcomes(planner, number), episodes)) for number in numbers]
            assert cells(page, section, f"`{planner}`")[1:] == expected
        floor = Rate.of(np.array([every[k].random_success for k in chosen]), episodes)
        assert cells(page, section, "random actions")[1:] == [str(floor)] * len(numbers)
        gains = [Difference.of(outcomes("reach", n), outcomes("last", n), episodes) for n in numbers]
        assert cells(page, section, "`reach` - `last`")[1:] == list(map(str, gains))
        random = np.array([[every[k].random_success for k in chosen]] * 2)
        above = [Difference.of(outcomes("reach-shuffled", n), random, episodes) for n in numbers]
        assert cells(page, section, "`reach-shuffled` - random actions")[1:] == list(map(str, above))
    alone = measured.planners["probe"][1][0].overall.success
    assert cells(page, "Each training seed", "tworoom/small-seed1", "`probe`")[2] == str(alone)
    for kind in ("encoded", "imagined"):
        told = (REACH.head, REACH.with_imagined, REACH.shuffled, REACH.latent_distance)
        correlations = [str(getattr(one, kind).correlation) for one in told]
        assert cells(page, "Each training seed", "tworoom/small-seed0", kind)[2:] == correlations


def test_planners_of_different_pairs_or_of_episodes_trained_on_are_refused(objectives: ModuleType):
    measured = judged(objectives, SOLVED)
    result = measured.planners["reach"][1][2]
    moved = result.episodes[0].model_copy(update={"start_row": 7})
    for change, said in (
        ({"episodes": (moved, *result.episodes[1:])}, "not of the same pairs"),
        ({"held_out": False}, "trained on episodes"),
    ):
        last = [*measured.planners["reach"][1]]
        last[2] = result.model_copy(update=change)
        others = {**measured.planners, "reach": [measured.planners["reach"][0], last]}
        with pytest.raises(ValueError, match=f"offset 75.*{said}"):
            dataclasses.replace(measured, planners=others)


def test_every_planner_is_measured_after_its_heads_were_fitted(objectives: ModuleType, tmp_path: Path):
    bench = objectives.Bench(tmp_path, ("tworoom/a", "tworoom/b"), "tworoom/test", 7)
    for run in bench.runs:
        steps = [step.command for step in bench.steps() if step.command[1] == run]
        assert [command[0] for command in steps] == [*["fit"] * 3, *["eval"] * len(objectives.PLANNERS)]
        typed = [[word for word in command if word.startswith("planner.")][1:] for command in steps[3:]]
        assert len(set(steps)) == len(steps)
        for objective in get_args(ObjectiveName):
            assert [f"planner.objective={objective}"] in typed
        anchors = "planner.anchors=tworoom/demos"
        assert ["planner.prior=true", anchors] in typed
        assert {"--actor", "prior"} <= set(steps[-1])
    assert len({step.name for step in bench.steps()}) == len(list(bench.steps()))


def test_test_recording_is_of_another_seed_and_cube_stays_small(results: ModuleType):
    for row in results.ROWS:
        demos, test = (step.command for step in row.steps() if step.kind == "recording")
        assert demos[demos.index("--seed") + 1] != test[test.index("--seed") + 1]
        assert row.pairs >= 100
    cube = row_named(results, "cube")
    assert cube.train + cube.test <= 100


def test_step_that_was_done_is_not_done_again(results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = row_named(results, "pusht")
    finish(results, tmp_path, row, 17, 17, 17)
    monkeypatch.setattr(results, "LEWM", tmp_path / "nowhere")
    assert [results.do(tmp_path, "pusht", step).kind for step in row.steps()] == [step.kind for step in row.steps()]


@pytest.mark.slow
def test_step_is_done_by_the_command_and_kept(results: ModuleType, tmp_path: Path):
    step = results.recording("tworoom", "demos", 2, seed=0)
    done = results.do(tmp_path, "tworoom", step)
    assert done == results.do(tmp_path, "tworoom", step)
    assert done.command == "lewm collect tworoom --episodes 2 --seed 0 --name tworoom/demos"
    assert '"episodes": 2' in done.printed
    assert done.seconds > 0
    assert done.cpu_seconds > 0
    assert (tmp_path / "tworoom" / "demos.h5").exists()


def test_page_in_the_documentation_has_every_row(results: ModuleType):
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert flat(results.INTRODUCTION) in flat(text)
    for row in results.ROWS:
        for protocol in results.PROTOCOLS:
            assert cells(text, f"Protocol `{protocol}`", row.task)


def test_page_of_objectives_in_the_documentation_has_all_of_them(objectives: ModuleType):
    text = (ROOT / "docs" / "objectives-measured.md").read_text(encoding="utf-8")
    assert flat(objectives.INTRODUCTION) in flat(text)
    for section in ("All pairs", "Goals in the other room"):
        for objective in get_args(ObjectiveName):
            assert len(cells(text, section, f"`{objective}`")) == 1 + len(objectives.OFFSETS)
        assert len(cells(text, section, "`reach` - `last`")) == 1 + len(objectives.OFFSETS)


def test_rates_beside_the_explanation_of_objectives_are_those_of_the_measured_page(objectives: ModuleType):
    explained, measured = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("objectives.md", "objectives-measured.md")
    )
    for how in (*(f"`{objective}`" for objective in get_args(ObjectiveName)), objectives.RANDOM):
        assert cells(explained, "What it does to success", how) == cells(measured, "All pairs", how)
