"""`lewm report` and what it is made from: stored results, the newest of each kind, whatever else lies beside them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commands import flat, left_behind, lewm_here
from lewm_cli.config import ModelConfig
from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import EvalResult
from lewm_cli.flows.results import keep_result, stored_results
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.probe import FEATURES, ProbeResult
from lewm_cli.probe.probe_result import ProbeScore, TargetResult
from lewm_cli.report import RunReport
from lewm_cli.store import Home, RunFiles, load_run, save_run
from lewm_cli.surprise import DETECTORS, PerturbationResult, SurpriseResult
from lewm_cli.surprise.perturbation_result import PerturbedEpisode, score_detector
from lewm_cli.surprise.surprise_result import Curve
from synthetic import write_recording

RUN = "tworoom/lewm"
KINDS = (EvalResult, FilmResult, ProbeResult, SurpriseResult, PerturbationResult)


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig, small_card: Callable[[JEPA], RunCard]
) -> Path:
    """A home with a run, and with its surprise along a recording of noise; not to be written to."""
    home = tmp_path_factory.mktemp("measured") / "home"
    model = JEPA(small_config, block_dim=10).eval()
    save_run(RunFiles(home / RUN), model, small_card(model))
    write_recording(home / "tworoom" / "demo.h5", (30, 24, 40), dims=2, size=64, task="tworoom")
    done = lewm_here(home, "surprise", "tworoom/demo", "--run", RUN)
    assert done.code == 0, done.err
    return home


@pytest.fixture
def home(measured: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    return shutil.copytree(measured, tmp_path / "home")


def results(home: Path) -> Path:
    return home / "tworoom" / "lewm.run" / "results"


def read(home: Path):
    store = Home(home, (home,))
    return stored_results(store, load_run(store, RUN))


def keep(home: Path, kind: str, build: Callable[..., SurpriseResult | ProbeResult | PerturbationResult]) -> Path:
    """Store another result of the run, as a measurement does."""
    store = Home(home, (home,))
    run = load_run(store, RUN)
    provenance = read(home).newest(SurpriseResult)
    fields = {key: getattr(provenance, key) for key in ("dataset", "held_out", "seconds", "device", "versions")}
    common = fields | {key: getattr(provenance, key) for key in ("run", "weights_sha256", "task", "command", "time")}
    return keep_result(store, run, kind, build(common))


def staged(name: str, seed: int) -> Callable[[dict], PerturbationResult]:
    def build(common: dict) -> PerturbationResult:
        generator = np.random.default_rng(seed)

        def curves() -> dict[str, Curve]:
            return {detector: tuple(generator.gamma(2.0, size=8).tolist()) for detector in DETECTORS}

        return PerturbationResult(
            **common,
            perturbation=name,
            size_unit="px",
            frameskip=5,
            seed=seed,
            scores={detector: score_detector(*generator.gamma(2.0, size=(4, 5)), seed=0) for detector in DETECTORS},
            episodes=tuple(
                PerturbedEpisode(episode=k, event=4, size=40.0, untouched=curves(), perturbed=curves())
                for k in range(3)
            ),
        )

    return build


def probed(seed: int) -> Callable[[dict], ProbeResult]:
    def build(common: dict) -> ProbeResult:
        one = ProbeScore(mse=0.1, r=0.95, r2=0.9, r2_low=0.8, r2_high=0.95, rmse=3.0)
        scores = dict.fromkeys(FEATURES, one)
        return ProbeResult(
            **common,
            train_frames=80,
            test_frames=20,
            train_episodes=(0, 1),
            test_episodes=(2,),
            latent=8,
            recipe="a recipe",
            seed=seed,
            targets=(TargetResult(name="agent x", unit="px", linear=scores, mlp=scores),),
            left_out={},
            map_explained=(0.5, 0.25),
            points=(),
        )

    return build


# The command


@pytest.mark.slow
def test_page_is_written_beside_the_run_and_said(home: Path):
    done = lewm_here(home, "report", RUN)
    assert done.code == 0, done.err
    page = home / "tworoom" / "lewm.run" / "report.html"
    assert done.err.splitlines()[-2:] == [f"report: {page}", f"next: lewm demo {RUN}"]
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert RUN in done.out
    assert left_behind(home) == []


@pytest.mark.slow
def test_json_is_strict_and_alone_on_stdout(home: Path, tmp_path: Path):
    keep(home, "probe", probed(0))
    keep(home, "perturb-teleport", staged("teleport", 0))
    page = tmp_path / "new folder" / "page.html"
    done = lewm_here(home, "report", RUN, "-o", page, "--json")
    assert done.code == 0, done.err
    tree = done.json()
    assert (tree["run"], tree["report"]) == (RUN, str(page))
    assert [line["what"] for line in tree["measured"]] == ["MLP probe R2, agent x", "surprise at teleport"]
    assert tree["measured"][0]["text"] == "0.900 [0.800, 0.950]"
    assert [tree["measured"][0][key] for key in ("value", "low", "high")] == [0.9, 0.8, 0.95]
    assert page.exists()
    quiet = lewm_here(home, "report", RUN, "-o", page, "--json", "-q")
    assert (quiet.code, quiet.err, quiet.json()) == (0, "", tree)


@pytest.mark.slow
def test_page_is_replaced_and_nothing_is_measured(home: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("old")
    before = sorted(path.name for path in results(home).iterdir())
    for _ in range(2):
        assert lewm_here(home, "report", RUN, "--output", page).code == 0
    assert page.stat().st_size > 5000
    assert sorted(path.name for path in results(home).iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tworoom/lwem"], 1, "there is no run 'tworoom/lwem'"),
        (["tworoom/demo"], 1, "there is no run 'tworoom/demo'"),
        ([], 2, "run"),
    ],
)
def test_what_cannot_be_reported_is_refused(measured: Path, arguments: list[str], code: int, said: str):
    assert said in lewm_here(measured, "report", *arguments).sentence(code).lower()


@pytest.mark.parametrize("where", ["in a file", "folder", ".", "/"])
def test_page_that_cannot_be_written_is_a_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    output = "file/page.html" if where == "in a file" else where
    said = lewm_here(home, "report", RUN, "--output", output).sentence()
    assert ("cannot be written" if where == "in a file" else "is a folder") in said
    assert (tmp_path / "file").read_text() == "kept"
    assert list((tmp_path / "folder").iterdir()) == []
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("task", "next_command"),
    [("tworoom", "lewm eval tworoom/lewm"), ("generic", "lewm eval tworoom/lewm")],
)
def test_run_without_results_says_what_to_measure_first(
    tmp_path: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard], task: str, next_command: str
):
    card = small_card(small_model)
    card = card.model_copy(update={"inputs": card.inputs.model_copy(update={"task": task})})
    save_run(RunFiles(tmp_path / RUN), small_model, card)
    said = lewm_here(tmp_path, "report", RUN).sentence()
    assert "nothing was measured on tworoom/lewm yet, so there is nothing to report" in said
    assert said.endswith(f"start with: {next_command}")
    assert not (tmp_path / "tworoom" / "lewm.run").exists()


# Stored results


def test_results_come_back_by_kind_oldest_first(home: Path):
    keep(home, "probe", probed(1))
    keep(home, "perturb-teleport", staged("teleport", 1))
    keep(home, "perturb-color", staged("color", 2))
    keep(home, "probe", probed(3))
    keep(home, "perturb-teleport", staged("teleport", 4))
    found = read(home)
    assert [len(found.of(kind)) for kind in KINDS] == [0, 0, 2, 1, 3]
    assert [one.seed for one in found.of(ProbeResult)] == [1, 3]
    assert [one.seed for one in found.of(PerturbationResult) if one.perturbation == "teleport"] == [1, 4]
    assert found.unreadable == ()


@pytest.mark.slow
def test_newest_of_each_kind_is_reported(home: Path):
    for seed in (1, 2, 3):
        keep(home, "probe", probed(seed))
        keep(home, "perturb-teleport", staged("teleport", seed))
    keep(home, "perturb-color", staged("color", 4))
    store = Home(home, (home,))
    run = load_run(store, RUN)
    report = RunReport.of(run, stored_results(store, run))
    assert report.probe.seed == 3
    assert {one.perturbation: one.seed for one in report.perturbations} == {"teleport": 3, "color": 4}
    assert (report.evaluation, report.films) == (None, None)
    assert report.surprise == read(home).newest(SurpriseResult)
    assert report.parameters == sum(parameter.numel() for parameter in run.model.parameters())


def test_results_of_earlier_weights_are_passed_over(
    home: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
):
    assert read(home).measurements
    save_run(RunFiles(home / RUN), small_model, small_card(small_model))  # other weights under the same name
    found = read(home)
    assert not found.measurements
    assert found.unreadable == ()
    assert "nothing was measured on tworoom/lewm yet" in lewm_here(home, "report", RUN).sentence()
    assert lewm_here(home, "show", RUN, "--json").json()["surprises"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "[]", '{"run": "tworoom/lewm"}', "LONGER", "NAN", "bytes", "folder", "link to nowhere"],
)
def test_file_that_is_no_result_is_named_and_breaks_nothing(home: Path, content: str):
    path = results(home) / "surprise-20990101-000000-000000.json"
    (good,) = results(home).glob("surprise-*.json")
    text = good.read_text(encoding="utf-8")
    match content:
        case "bytes":
            path.write_bytes(b"\xff\xfe\x00\x80")
        case "folder":
            path.mkdir()
        case "link to nowhere":
            path.symlink_to(home / "nowhere.json")
        case "LONGER":  # of a later version
            path.write_text(json.dumps(json.loads(text) | {"added": 1}))
        case "NAN":
            path.write_text(json.dumps(json.loads(text) | {"seconds": float("nan")}))
        case _:
            path.write_text(content)
    found = read(home)
    assert (len(found.of(SurpriseResult)), found.unreadable) == (1, (path,))
    assert lewm_here(home, "report", RUN).code == 0
    shown = lewm_here(home, "show", RUN)
    assert shown.code == 0, shown.err
    assert f"not a result of this version: {path}" in flat(shown.out)
    assert lewm_here(home, "show", RUN, "--json").json()["unreadable"] == [str(path)]


def test_files_that_nobody_calls_results_are_left_alone(home: Path):
    for name in ("notes.json", "eval.json", "surprise.txt", "surprise-1.svg", ".surprise-1.json.99.part"):
        (results(home) / name).write_text("mine")
    assert read(home).unreadable == ()
    assert lewm_here(home, "report", RUN).code == 0
    assert (results(home) / "notes.json").read_text() == "mine"


@pytest.mark.slow
def test_surprises_of_one_name_do_not_hide_each_other(home: Path):
    """Results are stored under the time of their end; two within a second are two files."""
    paths = {keep(home, "probe", probed(seed)) for seed in range(20)}
    assert len(paths) == 20
    assert [one.seed for one in read(home).of(ProbeResult)] == list(range(20))


@pytest.mark.slow
def test_results_of_a_run_on_storage_that_cannot_be_written_go_to_the_home_that_can(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = tmp_path / "own"
    monkeypatch.setattr("lewm_cli.store.home.os.access", lambda path, mode: Path(path).is_relative_to(own))
    before = sorted(measured.rglob("*"))
    done = lewm_here(measured, "surprise", "tworoom/demo", "--run", RUN, "--home", own, "--json")
    assert done.code == 0, done.err
    (path,) = (own / "tworoom" / "lewm.run" / "results").glob("surprise-*.json")
    assert f"stored: {path}" in done.err
    reported = lewm_here(measured, "report", RUN, "--home", own)
    assert reported.code == 0, reported.err
    assert (own / "tworoom" / "lewm.run" / "report.html").exists()
    store = Home(own, (own, measured))
    assert len(stored_results(store, load_run(store, RUN)).of(SurpriseResult)) == 2
    assert sorted(measured.rglob("*")) == before
