"""`lewm view`: the newest films of a run, two runs on the pairs that both have, and what to type without any."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import ModelConfig, PlannerConfig, SolverName
from lewm_cli.flows.results import keep_result
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, load_run, save_run
from reports import full_report
from toy_policy import ToyPolicy, ToySizes, add_imitation

REPORT = full_report()
FILMS = REPORT.films
AGAIN = f"lewm eval tworoom/evaluated --dataset {REPORT.evaluation.dataset.name} --record 4"
EVERY = f"lewm eval RUN --dataset {FILMS.dataset.name} --manifest pairs.json --record 50"


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig, small_card: Callable[[JEPA], RunCard]
) -> Path:
    """A home with runs of the same weights: two that were filmed, one only evaluated, and a new one."""
    home = tmp_path_factory.mktemp("filmed") / "home"
    model = JEPA(small_config, block_dim=10).eval()
    for name in ("one", "other", "evaluated", "new"):
        save_run(RunFiles(home / "tworoom" / name), model, small_card(model))
    keep(home, "one")
    keep(home, "other", FILMS.films[:0:-1])
    keep(home, "evaluated", kind="eval")
    return home


@pytest.fixture
def home(measured: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    return shutil.copytree(measured, tmp_path / "home")


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pages that were opened in the browser, of which there is none here."""
    opened: list[Path] = []
    monkeypatch.setattr("lewm_cli.report.output.open_in_browser", lambda page: opened.append(page) or len(opened) < 2)
    return opened


def keep(home: Path, name: str, films: Sequence[Any] = FILMS.films, kind: str = "films", **changes: Any) -> Path:
    """Store films of a run, or an evaluation of it."""
    store = Home(home, (home,))
    run = load_run(store, f"tworoom/{name}")
    result = FILMS.model_copy(update={"films": tuple(films)}) if kind == "films" else REPORT.evaluation
    made = {"run": run.name, "weights_sha256": run.sha256, **changes}
    return keep_result(store, run, kind, result.model_copy(update=made))


def with_solver(solver: SolverName) -> dict[str, Any]:
    return {"protocol": FILMS.protocol.model_copy(update={"planner": PlannerConfig(solver=solver)})}


def view(home: Path, *arguments: object) -> Done:
    return lewm_here(home, "view", *arguments)


def test_newest_films_of_a_run_are_drawn_beside_it_and_opened(home: Path, shown: list[Path]):
    keep(home, "one", FILMS.films[:1], weights_sha256="0" * 64)  # of weights that are gone
    done = view(home, "tworoom/one")
    assert done.code == 0, done.err
    page = home / "tworoom" / "one.run" / "view.html"
    assert shown == [page]
    assert f"view: {page}" in done.err
    assert "no browser" not in done.err
    html = page.read_text(encoding="utf-8")
    assert "tworoom/one" in html
    assert all(film.frames.sheet in html for film in FILMS.films)
    assert [line.split()[:2] for line in done.out.splitlines()[-3:]] == [["3", "3"], ["7", "7"], ["9", "9"]]
    assert "3 3 3 to 28 step 20" in flat(done.out)
    assert "7 7 7 to 32 not reached" in flat(done.out)
    newer = keep(home, "one", FILMS.films[:1])
    again = view(home, "tworoom/one")
    assert again.code == 0, again.err
    assert f"tworoom/one: {newer}" in again.err
    assert FILMS.films[1].frames.sheet not in page.read_text(encoding="utf-8")
    assert "there is no browser or no screen here to open it" in again.err


@pytest.mark.parametrize(
    ("options", "opens"), [([], True), (["--json"], False), (["--open", "--json"], True), (["-o", "page.html"], False)]
)
def test_page_is_opened_if_nothing_else_was_asked_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[Path], options: list[str], opens: bool
):
    monkeypatch.chdir(tmp_path)
    done = view(home, "tworoom/one", *options)
    assert done.code == 0, done.err
    assert len(shown) == opens
    page = tmp_path / "page.html" if "-o" in options else home / "tworoom" / "one.run" / "view.html"
    assert page.exists()
    assert left_behind(tmp_path) == []


def test_json_says_file_bytes_runs_and_pairs(measured: Path, tmp_path: Path):
    page = tmp_path / "both.html"
    found = view(measured, "tworoom/one", "tworoom/other", "--output", page, "--json").json()
    assert found["view"] == str(page)
    assert found["bytes"] == page.stat().st_size
    assert [side["name"] for side in found["runs"]] == ["tworoom/one", "tworoom/other"]
    for side in found["runs"]:
        assert [(pair["start_row"], pair["goal_row"], pair["success"]) for pair in side["pairs"]] == [
            (7, 32, False),
            (9, 34, True),
        ]


def test_two_runs_are_shown_on_the_pairs_that_both_have(measured: Path, tmp_path: Path):
    page = tmp_path / "both.html"
    done = view(measured, "tworoom/one", "tworoom/other", "--output", page)
    assert done.code == 0, done.err
    assert f"2 pairs in both, of 3 and 2; to see more, film both with: {EVERY}" in done.err
    assert "pair episode rows tworoom/one tworoom/other" in flat(done.out)
    assert FILMS.films[0].frames.sheet not in page.read_text(encoding="utf-8")


def test_files_of_films_stand_for_two_solvers_of_one_run(home: Path, shown: list[Path]):
    first, second = (keep(home, "one", **with_solver(solver)) for solver in ("cem", "icem"))
    found = view(home, first, second, "--json").json()
    assert [side["name"] for side in found["runs"]] == ["tworoom/one, cem", "tworoom/one, icem"]
    assert found["view"] == str(first.with_suffix(".html"))
    found = view(home, "tworoom/one", second, "--json").json()
    assert [side["name"] for side in found["runs"]] == ["tworoom/one (1)", "tworoom/one (2)"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing argument 'RUN'"),
        (["tworoom/ones"] * 3, 2, "a page shows one run, or two side by side, and here are 3"),
        (["tworoom/ones"], 1, "there is no run 'tworoom/ones' under"),
        (["nothing.json"], 1, "there is no file nothing.json; stored films lie in <run>.run/results"),
        (
            ["tworoom/new"],
            1,
            "was never evaluated, so there are no plans to look at; start with: lewm eval tworoom/new",
        ),
        (
            ["tworoom/evaluated"],
            1,
            f"evaluated without keeping plans; evaluate it once more: {AGAIN}",
        ),
        (["tworoom/one", "--output", "films.json"], 2, "films.json ends in .json, as files of films do"),
        (["tworoom/one", "--output", "."], 1, "it is a folder; name a file"),
    ],
)
def test_what_cannot_be_viewed_is_refused(
    measured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[Path],
    arguments: list[str],
    code: int,
    said: str,
):
    monkeypatch.chdir(tmp_path)
    assert said in view(measured, *arguments).sentence(code)
    assert not shown
    assert list(tmp_path.iterdir()) == []


def test_films_of_other_weights_are_refused(home: Path):
    keep(home, "evaluated", weights_sha256="0" * 64)
    said = view(home, "tworoom/evaluated").sentence()
    assert "no films of tworoom/evaluated are of the weights it has now" in said
    assert said.endswith(AGAIN)
    assert not (home / "tworoom" / "evaluated.run" / "view.html").exists()


def test_policy_makes_no_plans(home: Path, monkeypatch: pytest.MonkeyPatch, small_card: Callable[..., RunCard]):
    add_imitation(monkeypatch)
    policy = ToyPolicy(ToySizes(image_size=16), block_dim=10)
    save_run(RunFiles(home / "tworoom" / "policy"), policy, small_card(policy, "imitation"))
    said = view(home, "tworoom/policy").sentence()
    assert "tworoom/policy is a policy, which makes no plans to look at" in said
    assert said.endswith("lewm eval tworoom/policy --video videos")


@pytest.mark.parametrize(
    ("changes", "films", "said"),
    [
        ({}, FILMS.films[:1], "1 and 2 pairs, none of them shared"),
        (
            {"dataset": FILMS.dataset.model_copy(update={"fingerprint": "cd" * 32, "name": "tworoom/demos"})},
            FILMS.films,
            "the recordings differ (tworoom/demos and tworoom/test)",
        ),
    ],
)
def test_two_without_a_common_pair_are_told_how_to_get_some(home: Path, changes: dict, films: Sequence, said: str):
    keep(home, "one", films, **changes)
    refused = view(home, "tworoom/one", "tworoom/other").sentence()
    assert f"tworoom/one and tworoom/other were not filmed on the same pairs: {said}; film both with: " in refused
    dataset = changes.get("dataset", FILMS.dataset).name
    assert refused.endswith(f"lewm eval RUN --dataset {dataset} --manifest pairs.json --record 50")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no film as this version stores it (invalid JSON"),
        (json.dumps(FILMS.model_dump(mode="json", exclude={"latent_maps"})), "(latent_maps: field required)"),
        (REPORT.probe.model_dump_json(), "a stored probe result, and only films can be viewed"),
    ],
)
def test_file_that_holds_no_films_is_refused(measured: Path, tmp_path: Path, content: str, said: str):
    path = tmp_path / "films.json"
    path.write_text(content, encoding="utf-8")
    refused = view(measured, path, "--output", tmp_path / "page.html").sentence()
    assert said in refused
    assert "lewm eval RUN --record 4" in refused
    assert list(tmp_path.iterdir()) == [path]


def test_report_says_what_to_look_at_next(home: Path):
    evaluation = keep(home, "one", kind="eval", protocol=FILMS.protocol, dataset=FILMS.dataset)
    assert evaluation.exists()
    done = lewm_here(home, "report", "tworoom/one")
    assert done.code == 0, done.err
    assert done.err.splitlines()[-2:] == ["next: lewm view tworoom/one", "next: lewm demo tworoom/one"]
