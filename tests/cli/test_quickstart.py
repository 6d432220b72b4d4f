"""From nothing to a page in one call, and from wherever it was interrupted in the next one."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import PATIENCE, Done, environment, flat, left_behind, lewm_here
from lewm_cli.flows.quickstart import QuickstartSize, quickstart
from lewm_cli.flows.report import Page
from lewm_cli.store import Home, RunFiles, load_run
from lewm_cli.tasks import TWOROOM

SIZE = QuickstartSize(train_episodes=8, test_episodes=6, steps=20, pairs=4, frames=300, perturbed=3)
RECIPE = {"lewm_cli.probe.fitted.STEPS": 40, "lewm_cli.heads.position.BATCH": 64}
"""Constants of the MLP probes, made small."""

STAGES = ("recording", "training", "evaluating", "fitting", "simulating teleport")

SCRIPT = f"""
import functools, importlib, os, signal, sys
from contextlib import contextmanager

def prepare(stage):
    import lewm_cli.flows.quickstart as flow
    from lewm_cli.report import Output
    from lewm_cli.train.loop import Trainer

    flow.QuickstartSize = functools.partial(flow.QuickstartSize, **{dataclasses.asdict(SIZE)!r})
    flow.available_cores = lambda: 1
    for name, value in {RECIPE!r}.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    shown, step = Output.progress, Trainer._step

    def interrupt(reached):
        if reached == stage:
            os.killpg(0, signal.SIGINT)

    @contextmanager
    def progress(self, label, total, unit):
        with shown(self, label, total, unit) as advance:
            yield lambda done: (advance(done), interrupt(label))

    def train(self, *arguments):
        interrupt("training")
        return step(self, *arguments)

    Output.progress, Trainer._step = progress, train

if __name__ == "__main__":
    prepare(sys.argv.pop(1))
    from lewm_cli.__main__ import main
    main()
"""
"""`lewm` with a small quickstart, which is interrupted like by Ctrl-C as soon as something is done of a stage."""


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "small.py"  # a file: simulators are started from it
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@contextmanager
def silent(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Progress that has to add up."""
    done: list[int] = []
    yield done.append
    assert sum(done) == total, label


def small_quickstart(folder: Path) -> tuple[Page, list[str]]:
    said: list[str] = []
    with small():
        page = quickstart(folder, SIZE, "cpu", (), said.append, silent)
    return page, said


@contextmanager
def small() -> Iterator[None]:
    """Make a quickstart in this process as small as one of the script."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lewm_cli.flows.quickstart.QuickstartSize", lambda: SIZE)
        patch.setattr("lewm_cli.flows.quickstart.available_cores", lambda: 1)
        for name, value in RECIPE.items():
            patch.setattr(name, value)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page, list[str]]:
    """A quickstart that nothing disturbed: its home, its page and what it said; not to be written to."""
    home = tmp_path_factory.mktemp("quickstart") / "home"
    return home, *small_quickstart(home)


def written(home: Path) -> dict[str, int]:
    """When every file was last written that a finished stage leaves, by name; the page is always drawn anew."""
    kept = (path for path in home.rglob("*") if path.is_file() and path.name != "report.html")
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in kept if not path.name.endswith(".lock")}


def results(home: Path) -> dict[str, Any]:
    """The one stored result of each kind, without what differs between any two measurements."""
    found: dict[str, Any] = {}
    for path in (home / "tworoom" / "delta.run" / "results").glob("*.json"):
        kind = path.name.partition("-2")[0]
        assert kind not in found, "measured twice"
        tree = json.loads(path.read_text(encoding="utf-8"))
        left_out = ("seconds", "seconds_per_plan", "time", "command", "weights_sha256")
        found[kind] = {key: value for key, value in tree.items() if key not in left_out}
    return found


KINDS = {"eval", "films", "probe", "surprise", "perturb-teleport", "perturb-color"}


# Undisturbed


@pytest.mark.slow
def test_page_and_every_result_are_there(whole: tuple[Path, Page, list[str]]):
    home, page, _ = whole
    assert page.path == home / "report.html"
    assert page.path.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    report = page.report
    assert None not in (report.evaluation, report.films, report.probe, report.surprise)
    assert {one.perturbation for one in report.perturbations} == {"color", "teleport"}
    assert set(results(home)) == KINDS
    assert left_behind(home) == []
    assert report.history.held_out
    assert report.history.seconds is not None


@pytest.mark.slow
def test_as_much_is_done_as_was_asked_for(whole: tuple[Path, Page, list[str]]):
    home, page, _ = whole
    report = page.report
    assert report.card.provenance.step == SIZE.steps
    assert report.card.provenance.dataset.episodes == SIZE.train_episodes
    assert report.evaluation.overall.success.trials == SIZE.pairs
    assert report.probe.train_frames + report.probe.test_frames == SIZE.frames
    assert len(report.surprise.episodes) == SIZE.test_episodes
    assert [len(one.episodes) for one in report.perturbations] == [SIZE.perturbed] * 2
    home_of_it = Home(home, (home,))
    sha = load_run(home_of_it, "tworoom/delta").sha256
    test = home_of_it.find_dataset("tworoom/test").identity
    for one in (report.evaluation, report.films, report.probe, report.surprise, *report.perturbations):
        assert one.weights_sha256 == sha
        assert one.dataset == test
        assert one.held_out


@pytest.mark.slow
def test_every_stage_is_said(whole: tuple[Path, Page, list[str]]):
    _, _, said = whole
    heard = "\n".join(said)
    stages = [
        "recording 8 episodes",
        "recording 6 episodes",
        "training a world model",
        "planning from 4 recorded starts",
        "probing what the latents know",
        "measuring surprise",
        *(f"staging a surprise: {perturbation.title}" for perturbation in TWOROOM.perturbations[:2]),
    ]
    places = [heard.find(stage) for stage in stages]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.slow
def test_second_call_only_draws_the_page_again(whole: tuple[Path, Page, list[str]]):
    home, page, _ = whole
    before, text = written(home), page.path.read_bytes()
    again, said = small_quickstart(home)
    assert said == []
    assert written(home) == before
    assert again.report == page.report
    assert page.path.read_bytes() == text


@pytest.mark.slow
def test_no_other_home_is_read(whole: tuple[Path, Page, list[str]]):
    home, _, _ = whole
    done = lewm_here(home.parent / "empty", "ls", "--json")
    assert done.json() == {"datasets": [], "runs": []}
    assert not (home.parent / "empty").exists()


@pytest.mark.slow
def test_what_else_was_measured_on_the_run_is_not_taken_for_its_own(
    whole: tuple[Path, Page, list[str]], tmp_path: Path
):
    source, page, _ = whole
    home = tmp_path / "home"
    shutil.copytree(source, home)
    settings = ("--set", "planner.iterations=2", "--record", 0, "--dataset", "tworoom/test")
    assert lewm_here(home, "eval", "tworoom/delta", "--episodes", 2, *settings).code == 0
    assert lewm_here(home, "probe", "tworoom/delta", "--dataset", "tworoom/test", "--frames", 200).code == 0
    assert lewm_here(home, "surprise", "tworoom/test", "--episodes", 2, "--perturb", "color").code == 0
    again, said = small_quickstart(home)
    assert said == []  # nothing had to be measured again
    assert again.report == page.report


@pytest.mark.slow
def test_run_can_be_reported_and_shown_afterwards(whole: tuple[Path, Page, list[str]], tmp_path: Path):
    home, page, _ = whole
    done = lewm_here(home, "report", "tworoom/delta", "--output", tmp_path / "page.html", "--json")
    assert done.code == 0, done.err
    tree = done.json()
    assert (tree["run"], tree["report"]) == ("tworoom/delta", str(tmp_path / "page.html"))
    measured = {line["what"]: line["text"] for line in tree["measured"]}
    assert measured["success, all"] == str(page.report.evaluation.overall.success)
    assert {"surprise at teleport", "surprise at color", "MLP probe R2, agent x"} <= set(measured)
    assert (tmp_path / "page.html").read_bytes() == page.path.read_bytes()
    table = lewm_here(home, "report", "tworoom/delta", "--output", tmp_path / "page.html")
    assert str(page.report.evaluation.overall.success) in flat(table.out)
    shown = lewm_here(home, "show", "tworoom/delta", "--json").json()
    assert [len(shown[kind]) for kind in ("evaluations", "probes", "surprises", "perturbations")] == [1, 1, 1, 2]
    assert "surprise at teleport" in flat(lewm_here(home, "show", "tworoom/delta").out)


def test_home_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("kept")
    for home in ("file", "file/home"):
        said = lewm_here(tmp_path / "nowhere", "quickstart", "--home", tmp_path / home).sentence()
        assert "cannot be written" in said
    assert (tmp_path / "file").read_text() == "kept"


# Interrupted


def run(script: Path, home: Path, stage: str = "none") -> Done:
    """The command in a process group of its own, interrupted in a stage."""
    done = subprocess.run(
        [sys.executable, str(script), stage, "quickstart", "--home", str(home), "--device", "cpu", "--json"],
        env=environment(home.parent / "nowhere"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        start_new_session=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@dataclasses.dataclass
class Interrupted:
    """Calls in one home, each interrupted in the stage after; what was there before and after each."""

    home: Path
    calls: dict[str, Done] = dataclasses.field(default_factory=dict)
    before: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    after: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    parts: dict[str, list[Path]] = dataclasses.field(default_factory=dict)

    def call(self, script: Path, stage: str) -> None:
        self.before[stage] = written(self.home)
        if stage == "none":
            with small():
                self.calls[stage] = lewm_here(self.home, "quickstart", "--home", self.home, "--device", "cpu", "--json")
        else:
            self.calls[stage] = run(script, self.home, stage)
        self.after[stage] = written(self.home)
        self.parts[stage] = left_behind(self.home)


@pytest.fixture(scope="session")
def interrupted(
    whole: tuple[Path, Page, list[str]], script: Path, tmp_path_factory: pytest.TempPathFactory
) -> Interrupted:
    """The first recording is there; then one call is interrupted in each stage, and the last one is left alone."""
    home = tmp_path_factory.mktemp("interrupted") / "home"
    (home / "tworoom").mkdir(parents=True)
    os.link(whole[0] / "tworoom" / "demos.h5", home / "tworoom" / "demos.h5")
    chain = Interrupted(home)
    for stage in (*STAGES, "none"):
        chain.call(script, stage)
    return chain


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_interrupt_is_one_sentence_and_leaves_nothing_half_written(interrupted: Interrupted, stage: str):
    said = interrupted.calls[stage].sentence(130)
    assert said == "lewm: stopped; what is done is kept, and the same command goes on from there"
    assert interrupted.parts[stage] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*STAGES, "none"])
def test_finished_stages_are_not_done_again(interrupted: Interrupted, stage: str):
    before, after = interrupted.before[stage], interrupted.after[stage]
    trained = "tworoom/delta_object.ckpt" in before  # else training goes on, and writes its files again
    finished = {name for name in before if trained or name.endswith(".h5") or "/results/" in name}
    assert {name: after[name] for name in finished} == {name: before[name] for name in finished}
    number = (*STAGES, "none").index(stage)
    words = ("recording 6 episodes", "training a world model", "planning from", "probing what", "staging a surprise")
    for past, said in enumerate(words[:-1]):
        assert (said in interrupted.calls[stage].err) == (past in (number, number - 1)), said
    # Of what was interrupted nothing is there yet.
    present = {name for name in after if "/results/" in name and name.endswith(".json")}
    kinds = {name.rpartition("/")[2].partition("-2")[0] for name in present}
    reached = [set(), set(), set(), {"eval", "films"}, {"eval", "films", "probe", "surprise"}, KINDS]
    assert kinds == reached[number]
    assert ("tworoom/test.h5" in after) == (number > 0)
    assert ("tworoom/delta_object.ckpt" in after) == (number > 1)


@pytest.mark.slow
def test_last_call_finishes_as_if_nothing_had_happened(interrupted: Interrupted, whole: tuple[Path, Page, list[str]]):
    done = interrupted.calls["none"]
    assert done.code == 0, done.err
    tree = done.json()
    assert tree["report"] == str(interrupted.home / "report.html")
    assert Path(tree["report"]).stat().st_size > 10_000
    assert "next:" in done.err
    assert_same(interrupted.home, whole[0])


def assert_same(ours: Path, theirs: Path) -> None:
    """The same recordings, weights and numbers."""
    mine, other = (Home(home, (home,)).find_dataset("tworoom/test") for home in (ours, theirs))
    assert mine.identity == other.identity
    assert mine.episode_digests == other.episode_digests
    weights, others = (load_file(RunFiles(home / "tworoom" / "delta").weights) for home in (ours, theirs))
    assert [name for name in others if not torch.equal(weights[name], others[name])] == []
    mine, other = results(ours), results(theirs)
    assert set(mine) == set(other) == KINDS
    for kind in ("surprise", "perturb-teleport", "perturb-color"):
        for one, two in zip(mine[kind]["episodes"], other[kind]["episodes"], strict=True):
            assert one["episode"] == two["episode"]
            for curves in set(one) & {"curves", "untouched", "perturbed"}:
                for detector, curve in one[curves].items():
                    np.testing.assert_allclose(curve, two[curves][detector], rtol=1e-4, atol=1e-6)
    assert mine["probe"]["test_episodes"] == other["probe"]["test_episodes"]
    rows = [[(one["start_row"], one["goal_row"]) for one in found["eval"]["episodes"]] for found in (mine, other)]
    assert rows[0] == rows[1]


@pytest.mark.soak
def test_interrupts_at_any_time_do_no_harm(whole: tuple[Path, Page, list[str]], script: Path, tmp_path: Path):
    generator, home, rounds = random.Random(0), tmp_path / "round-0", 0
    for _ in range(30):
        command = [sys.executable, str(script), "none", "quickstart", "--home", str(home), "--device", "cpu", "--json"]
        kept = {
            name: when
            for name, when in written(home).items()
            if name.endswith(".h5") or ("/results/" in name and name.endswith(".json"))
        }
        with subprocess.Popen(
            command,
            env=environment(tmp_path / "nowhere"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            process.stderr.readline()  # of the first stage
            time.sleep(generator.uniform(0, 12))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode in (0, 130), err
        assert "Traceback" not in err
        assert (out == "") == (process.returncode == 130)
        assert left_behind(home) == []
        assert kept.items() <= written(home).items()
        if process.returncode == 0:
            assert_same(home, whole[0])
            rounds += 1
            home = tmp_path / f"round-{rounds}"
    assert run(script, home).code == 0
    assert_same(home, whole[0])
