"""What `lewm compare` says: the same pairs or nothing, exact tests, and intervals that know how few pairs there are."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import LEWM, Done, environment, flat, lewm, lewm_here
from lewm_cli.config import ModelConfig, PlannerConfig
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import EpisodeResult, EvalResult, NamedResult, PairedComparison, compare
from lewm_cli.flows.results import keep_result
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.report.plain_svg import comparison_svg
from lewm_cli.statistics import holm
from lewm_cli.store import Home, RunFiles, load_run, save_run
from reports import full_report

pytest_plugins = ("recordings",)

REPORT = full_report()
RANDOM = tuple(one.random_success for one in REPORT.evaluation.episodes)
PAIRS = len(RANDOM)
NONE, ALL = (False,) * PAIRS, (True,) * PAIRS

Outcomes = Sequence[bool]


def evaluated(outcomes: Outcomes, *, run: str = "tworoom/lewm", random: Outcomes | None = None) -> EvalResult:
    """An evaluation with these outcomes, one pair per episode."""
    floor = random or (False,) * len(outcomes)
    return of_pairs([(k, success) for k, success in enumerate(outcomes)], floor, run=run)


def of_pairs(pairs: Sequence[tuple[int, bool]], random: Outcomes, **changes: Any) -> EvalResult:
    """An evaluation of pairs given as episode and outcome."""
    template = REPORT.evaluation.episodes[0]
    episodes = tuple(
        EpisodeResult.model_validate(
            template.model_dump()
            | {"episode": episode, "start_row": k + 7, "goal_row": k + 32, "success": success, "random_success": floor}
        )
        for k, ((episode, success), floor) in enumerate(zip(pairs, random, strict=True))
    )
    return REPORT.evaluation.model_copy(update={"episodes": episodes, **changes})


def compared(*results: EvalResult) -> PairedComparison:
    return compare([NamedResult(f"{k}", f"{k}.json", result) for k, result in enumerate(results)])


outcomes_of_two = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 6)), min_size=1)


# Statistics


@pytest.mark.slow
@given(outcomes_of_two)
def test_to_swap_two_results_is_to_turn_the_difference_round(drawn: list[tuple[bool, bool, bool, int]]):
    one, other, random, episodes = (np.array(part) for part in zip(*drawn, strict=True))
    there, back = (
        compared(
            of_pairs(list(zip(episodes, first, strict=True)), random),
            of_pairs(list(zip(episodes, second, strict=True)), random),
        )
        for first, second in ((one, other), (other, one))
    )
    forth, other_way = there.results[1].above_baseline, back.results[1].above_baseline
    assert forth.rate == -other_way.rate
    assert forth.rate == pytest.approx(there.results[1].success.rate - there.baseline.success.rate)
    assert (forth.low, forth.high) == pytest.approx((-other_way.high, -other_way.low), abs=1e-12)
    assert (forth.only_this, forth.only_other) == (other_way.only_other, other_way.only_this)
    assert forth.p == other_way.p
    assert -1 <= forth.low <= forth.rate <= forth.high <= 1
    assert there.results[0].above_random == back.results[1].above_random


@pytest.mark.slow
@given(outcomes_of_two)
def test_same_result_twice_differs_by_nothing_and_the_order_of_pairs_says_nothing(drawn: list):
    one, other, random, episodes = (np.array(part) for part in zip(*drawn, strict=True))
    first, second = (of_pairs(list(zip(episodes, part, strict=True)), random) for part in (one, other))
    same = compared(first, first).results[1].above_baseline
    assert (same.rate, same.only_this, same.only_other, same.p) == (0, 0, 0, 1)
    assert same.low == pytest.approx(-same.high)
    assert same.low < 0  # to be alike on few pairs is not to be alike
    shuffled = second.model_copy(update={"episodes": second.episodes[::-1]})
    assert compared(first, shuffled) == compared(first, second)


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_few_pairs_do_not_show_that_random_is_beaten(pairs: int):
    comparison = compared(*[evaluated((True,) * pairs)] * 2)
    assert not comparison.baseline.beats_random
    assert compared(*[evaluated((True,) * 20)] * 2).baseline.beats_random


def test_p_is_corrected_only_where_there_are_several_comparisons():
    poor, fair, good = (evaluated([k < solved for k in range(40)]) for solved in (5, 20, 33))
    assert compared(poor, good).results[1].p_holm is None
    several = compared(poor, fair, good).results
    assert several[0].above_baseline is several[0].p_holm is None
    assert [one.p_holm for one in several[1:]] == holm([one.above_baseline.p for one in several[1:]])
    assert several[2].above_baseline == compared(poor, good).results[1].above_baseline


# What is no pair


def with_protocol(**changes: int) -> EvalResult:
    return REPORT.evaluation.model_copy(update={"protocol": REPORT.evaluation.protocol.model_copy(update=changes)})


def on_dataset(**changes: str) -> EvalResult:
    return REPORT.evaluation.model_copy(update={"dataset": REPORT.evaluation.dataset.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (on_dataset(fingerprint="cd" * 32), r"the recordings differ \(tworoom/test and another of the same name\)"),
        (on_dataset(fingerprint="cd" * 32, name="x"), r"the recordings differ \(tworoom/test and x\)"),
        (with_protocol(offset=10, budget=9), "offset 25 and 10"),
        (with_protocol(budget=80), "budget 50 and 80"),
        (evaluated(ALL), "40 and 40 pairs, 0 of them shared"),
        (
            REPORT.evaluation.model_copy(update={"episodes": REPORT.evaluation.episodes[3:]}),
            "40 and 37 pairs, 37 of them shared",
        ),
    ],
)
def test_other_pairs_are_refused_with_what_differs_first(other: EvalResult, said: str):
    with pytest.raises(LewmError, match=f"0 and 1 were not evaluated on the same pairs: {said}"):
        compared(REPORT.evaluation, other)
    with pytest.raises(LewmError, match=f"0 and 2 were not evaluated on the same pairs: {said}"):
        compared(REPORT.evaluation, REPORT.evaluation, other)


def test_recording_is_known_by_content_and_planner_and_seed_may_differ():
    compared(REPORT.evaluation, on_dataset(name="elsewhere"))
    compared(REPORT.evaluation, with_protocol(seed=5, pairs=41))


@pytest.mark.parametrize("count", [0, 1])
def test_one_result_is_no_comparison(count: int):
    with pytest.raises(UsageError, match="at least two results"):
        compared(*[REPORT.evaluation] * count)


# The command


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig, small_card: Callable[[JEPA], RunCard]
) -> Path:
    """A home with three runs of the same weights, good, poor and unmeasured; not to be written to."""
    home = tmp_path_factory.mktemp("measured") / "home"
    model = JEPA(small_config, block_dim=10).eval()
    for name, outcomes in (("good", (*ALL[:33], *NONE[:7])), ("poor", RANDOM), ("new", None)):
        save_run(RunFiles(home / "tworoom" / name), model, small_card(model))
        if outcomes:
            keep(home, f"tworoom/{name}", outcomes)
    return home


def keep(home: Path, name: str, outcomes: Outcomes, **changes: Any) -> Path:
    """Store an evaluation of a run."""
    store = Home(home, (home,))
    run = load_run(store, name)
    result = evaluated(outcomes, run=name, random=RANDOM)
    return keep_result(store, run, "eval", result.model_copy(update={"weights_sha256": run.sha256, **changes}))


@pytest.fixture
def home(measured: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    return shutil.copytree(measured, tmp_path / "home")


def stored(home: Path, name: str) -> Path:
    return max((home / "tworoom" / f"{name}.run" / "results").glob("eval-*.json"))


def run_compare(home: Path, *arguments: object) -> Done:
    return lewm_here(home, "compare", *arguments)


def test_runs_and_files_mean_the_same(measured: Path):
    by_name = run_compare(measured, "tworoom/poor", "tworoom/good", "--json")
    assert by_name.code == 0, by_name.err
    comparison = PairedComparison.model_validate(by_name.json())
    assert (comparison.pairs, comparison.episodes, comparison.budget) == (40, 40, 50)
    poor, good = comparison.results
    assert (poor.name, good.name) == ("tworoom/poor", "tworoom/good")
    assert (poor.success.successes, good.success.successes) == (8, 33)
    assert good.above_baseline.rate == pytest.approx(25 / 40)
    assert (good.above_baseline.only_this, good.above_baseline.only_other) == (26, 1)
    assert good.above_baseline.p == pytest.approx(2 * 28 / 2**27)
    assert good.beats_random
    assert not poor.beats_random
    for one in comparison.results:
        assert f"{one.name}: {one.file}" in by_name.err
        assert Path(one.file).exists()
    paths = [stored(measured, name) for name in ("poor", "good")]
    assert PairedComparison.model_validate(run_compare(measured, *paths, "--json").json()) == comparison


def measure_latents(home: Path, *names: str, **changes: Any) -> None:
    """Store a latent result of each run."""
    store = Home(home, (home,))
    for name in names:
        run = load_run(store, name)
        changes |= {"run": name, "weights_sha256": run.sha256}
        keep_result(store, run, "latent", REPORT.latent.model_copy(update=changes))


def test_latent_spaces_stand_side_by_side_below_evaluations(home: Path):
    names = ("tworoom/poor", "tworoom/good")
    measure_latents(home, names[0])
    assert "latent space" not in run_compare(home, *names).out  # one of them has none
    measure_latents(home, names[1], held_out=False, episodes=(0, 1))
    done = run_compare(home, *names)
    assert done.code == 0, done.err
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
    said = flat(done.out)
    assert "compared with tworoom/poor, on the same pairs" in said
    assert "latent space straightness eff. rank Epps-Pulley distance" in said
    row = "0.40 [0.35, 0.45] 2.8 1.94 0.90 [0.85, 0.95]"
    assert f"tworoom/poor {row} tworoom/good {row}" in said
    assert "tworoom/good: MEASURED ON OTHER FRAMES THAN tworoom/poor" in said
    assert "tworoom/good: EPISODES IT MAY HAVE BEEN TRAINED ON" in said
    tree = run_compare(home, *names, "--json").json()
    poor, good = tree.pop("latents")
    assert PairedComparison.model_validate(tree).pairs == 40
    assert (poor["name"], good["name"]) == names
    assert (poor["measured"][0]["what"], poor["measured"][0]["value"]) == ("straightness", 0.4)
    files = run_compare(home, *(stored(home, name) for name in ("poor", "good")))
    assert "latent space" not in files.out


def test_latent_spaces_of_runs_that_were_never_evaluated_are_compared_alone(home: Path):
    names = ("tworoom/new", "tworoom/good")
    measure_latents(home, "tworoom/good")
    assert "tworoom/new was never evaluated" in run_compare(home, *names).sentence()
    measure_latents(home, "tworoom/new")
    done = run_compare(home, *names)
    assert done.code == 0, done.err
    assert "success is not compared: tworoom/new was never evaluated" in done.err
    assert "start with: lewm eval tworoom/new" in done.err
    assert "success" not in done.out
    assert "tworoom/new 0.40" in flat(done.out)
    assert list(run_compare(home, *names, "--json").json()) == ["latents"]
    assert "tworoom/new was never evaluated" in run_compare(home, *names, "--plot", home / "x.svg").sentence()
    assert "at least two results" in run_compare(home, "tworoom/good").sentence(code=2)


def test_table_fits_a_terminal_and_says_what_is_not_shown(measured: Path):
    done = run_compare(measured, "tworoom/poor", "tworoom/good")
    assert done.code == 0, done.err
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
    said = flat(done.out)
    assert "tworoom/poor: not shown to beat random" in said
    assert "tworoom/good: not shown" not in said
    assert re.search(r"tworoom/good \+62\.5 \[\+\d\d\.\d, \+\d\d\.\d\] 26 1 <0.001", said)
    assert "Holm" not in said
    assert "p, Holm" in flat(run_compare(measured, "tworoom/poor", "tworoom/good", "tworoom/good").out)


def test_newest_evaluation_of_the_present_weights_is_taken(home: Path):
    first = stored(home, "good")
    keep(home, "tworoom/good", NONE, weights_sha256="0" * 64)  # of weights that are gone
    assert f"tworoom/good: {first}" in run_compare(home, "tworoom/good", "tworoom/poor").err
    second = keep(home, "tworoom/good", ALL)
    assert f"tworoom/good: {second}" in run_compare(home, "tworoom/good", "tworoom/poor").err
    damaged = second.with_name("eval-20990101-000000-000000.json")
    damaged.write_text("{", encoding="utf-8")
    done = run_compare(home, "tworoom/good", "tworoom/poor")
    assert f"passed over: {damaged} is no evaluation" in done.err
    assert f"tworoom/good: {second}" in done.err


def test_several_results_of_one_run_are_numbered(home: Path):
    first, second = stored(home, "good"), keep(home, "tworoom/good", NONE, held_out=False)
    done = run_compare(home, first, second)
    assert done.code == 0, done.err
    said = "".join(done.out.split())  # a path may be broken anywhere
    assert f"tworoom/good(1):{first}" in said
    assert f"tworoom/good(2):{second}" in said
    assert "tworoom/good(2):EPISODESITMAYHAVEBEENTRAINEDON" in said


def test_another_planner_is_said(home: Path):
    protocol = REPORT.evaluation.protocol
    planner = protocol.planner.model_copy(update={"iterations": 10})
    other = keep(home, "tworoom/poor", RANDOM, protocol=protocol.model_copy(update={"planner": planner, "seed": 3}))
    said = flat(run_compare(home, "tworoom/good", other).out)
    assert "planned otherwise than tworoom/good: seed 3 instead of 42, iterations 10 instead of 30" in said


def test_another_head_is_said(home: Path):
    protocol = REPORT.evaluation.protocol
    reach = protocol.model_copy(update={"planner": protocol.planner.model_copy(update={"objective": "reach"})})
    first, again, refitted = (
        keep(home, "tworoom/good", ALL, protocol=reach, head_sha256=digest * 64) for digest in ("a", "a", "b")
    )
    said = "planned otherwise than tworoom/good (1): by another head of the same weights"
    assert f"tworoom/good (2): {said}" in flat(run_compare(home, first, refitted).out)
    assert said not in flat(run_compare(home, first, again).out)


def test_anchors_of_another_recording_of_the_same_name_are_said(home: Path):
    anchored = REPORT.evaluation.protocol.model_copy(update={"planner": PlannerConfig(anchors="tworoom/demos")})
    first, same, other = (
        keep(home, "tworoom/good", ALL, protocol=anchored, anchors=REPORT.evaluation.dataset.model_copy(update=change))
        for change in ({}, {}, {"fingerprint": "9" * 64})
    )
    said = "planned otherwise than tworoom/good (1): anchors of another recording of the name tworoom/demos"
    assert said in flat(run_compare(home, first, other).out)
    assert "planned otherwise" not in run_compare(home, first, same).out
    known = run_compare(home, first, other, "--json").json()["results"]
    assert known[1]["anchors"]["fingerprint"] == "9" * 64


def test_pairs_that_share_episodes_are_said(home: Path):
    result = of_pairs([(k // 2, k % 3 > 0) for k in range(PAIRS)], RANDOM)
    paths = [keep(home, f"tworoom/{name}", ALL, episodes=result.episodes) for name in ("good", "poor")]
    said = flat(run_compare(home, *paths).out)
    assert "40 pairs of 20 episodes" in said
    assert "Pairs share episodes" in said


@pytest.mark.slow
def test_plot_shows_every_difference(measured: Path, tmp_path: Path):
    plot = tmp_path / "compared.svg"
    done = run_compare(measured, "tworoom/poor", "tworoom/good", "--plot", plot)
    assert done.code == 0, done.err
    assert f"plot: {plot}" in done.err
    svg = plot.read_text(encoding="utf-8")
    texts = ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("tworoom/good") == 2
    assert texts.count("tworoom/poor") == 1
    comparison = PairedComparison.model_validate(run_compare(measured, "tworoom/poor", "tworoom/good", "--json").json())
    assert any(text.startswith("+62.5 [") for text in texts)
    assert "var(--" not in svg
    assert comparison_svg(comparison) == svg  # the same numbers, the same file


@pytest.mark.slow
def test_stored_results_can_be_piped_without_a_terminal(measured: Path):
    done = lewm(measured, "compare", "tworoom/poor", "tworoom/good", stdin=subprocess.DEVNULL)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    with subprocess.Popen(
        [LEWM, "compare", "tworoom/poor", "tworoom/good", "--json", "-q"],
        env=environment(measured),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as wrote:
        read = subprocess.run([sys.executable, "-m", "json.tool"], stdin=wrote.stdout, capture_output=True, check=True)
        assert wrote.stderr.read() == b""
    assert json.loads(read.stdout)["pairs"] == 40


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tworoom/good"], 2, "at least two results"),
        ([], 2, "RESULT"),
        (["tworoom/good", "tworoom/goof"], 1, "there is no run 'tworoom/goof'"),
        (["tworoom/good", "tworoom/new"], 1, "was never evaluated with the weights it has now"),
        (["tworoom/good", "tworoom/new"], 1, "lewm eval tworoom/new"),
        (["tworoom/good", "nothing.json"], 1, "there is no file nothing.json"),
        (["tworoom/good", "tworoom/poor", "--plot", "a.png"], 2, "'a.png' does not end in .svg"),
    ],
)
def test_what_cannot_be_compared_is_refused(measured: Path, arguments: list, code: int, said: str):
    assert said in run_compare(measured, *arguments).sentence(code)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no evaluation as this version stores it (invalid JSON"),
        (b'{"run": "tworoom/lewm", ', "no evaluation as this version stores it (invalid JSON"),
        ("[]".encode("utf-16"), "no evaluation as this version stores it"),
        (b"[]", "no evaluation as this version stores it"),
        (b"{}", "no evaluation as this version stores it (run: field required)"),
        (REPORT.probe.model_dump_json().encode(), "a stored probe result, and only evaluations can be compared"),
        (REPORT.films.model_dump_json().encode(), "a stored films result, and only evaluations can be compared"),
        (evaluated(()).model_dump_json().encode(), "holds no pairs"),
    ],
)
def test_file_that_is_no_evaluation_is_refused(measured: Path, tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    sentence = run_compare(measured, path, "tworoom/good").sentence()
    assert str(path) in sentence
    assert said in sentence
    assert "lewm eval RUN" in sentence


@pytest.mark.slow
def test_folder_is_refused(measured: Path, tmp_path: Path):
    (tmp_path / "folder.json").mkdir()
    assert (
        "cannot be read (Is a directory)" in run_compare(measured, tmp_path / "folder.json", "tworoom/good").sentence()
    )


def test_refusal_leaves_no_plot(home: Path, tmp_path: Path):
    other = keep(home, "tworoom/good", ALL, dataset=on_dataset(fingerprint="cd" * 32).dataset)
    plot = tmp_path / "compared.svg"
    sentence = run_compare(home, stored(home, "poor"), other, "--plot", plot).sentence()
    assert "tworoom/poor and tworoom/good were not evaluated on the same pairs: the recordings differ" in sentence
    assert not plot.exists()


@pytest.mark.slow
def test_real_evaluations_are_compared(trained: Path, tmp_path: Path):
    home = shutil.copytree(trained, tmp_path / "home")
    quick = ["--set", "budget=10", "--record", 0, "--set", "planner.candidates=16", "--set", "planner.elites=4"]
    for iterations in (1, 2):
        done = lewm_here(
            home, "eval", "tworoom/lewm", "--episodes", 1, *quick, "--set", f"planner.iterations={iterations}"
        )
        assert done.code == 0, done.err
    first, second = sorted((home / "tworoom" / "lewm.run" / "results").glob("eval-*.json"))
    comparison = PairedComparison.model_validate(run_compare(home, first, second, "--json").json())
    found = [EvalResult.model_validate_json(path.read_bytes()) for path in (first, second)]
    assert [one.success for one in comparison.results] == [one.overall.success for one in found]
    assert comparison.baseline.random == found[0].overall.random
    longer = lewm_here(home, "eval", "tworoom/lewm", "--episodes", 1, *quick, "--set", "budget=15")
    assert longer.code == 0, longer.err
    assert "budget 10 and 15" in run_compare(home, first, "tworoom/lewm").sentence()
