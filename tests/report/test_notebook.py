"""What a notebook shows of runs, models, policies and results: a line each, and tables that pandas takes."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import lewm_cli
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows.results import keep_result
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.report import Table, log_rows, result_rows, run_html
from lewm_cli.report.rows import SHOWN
from lewm_cli.store import Home, RunFiles, StoredResults, load_run, load_weights, save_run
from lewm_cli.train import JsonLog
from reports import bare_report, full_report, history
from synthetic import write_recording

RUN = "tworoom/lewm"
NASTY = """tworoom/<script>alert("1")</script>&'x"""


@pytest.fixture
def run(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> lewm_cli.StoredRun:
    """A run with a log and one of every result."""
    files = RunFiles(home.run_stem(RUN))
    save_run(files, small_model, small_card(small_model))
    past = history()
    for event in (*past.steps, *past.held_out):
        JsonLog(files.log)(event)
    loaded, report = load_run(home, RUN), full_report()
    measured = {"eval": report.evaluation, "probe": report.probe, "surprise": report.surprise, "films": report.films}
    measured["latent"] = report.latent
    measured["decode"] = report.decoded
    for kind, one in (measured | {f"perturb-{one.perturbation}": one for one in report.perturbations}).items():
        keep_result(home, loaded, kind, one.model_copy(update={"weights_sha256": loaded.sha256}))
    return lewm_cli.load(RUN)


def test_run_is_a_line(run: lewm_cli.StoredRun, home: Home):
    parts = f"{RUN!r}, task tworoom, method lewm, 202,094 parameters, latent 8, trained on tworoom/demo for 7 steps"
    assert repr(run) == f"StoredRun({parts}, success 87.5% [74, 95])"
    assert repr(load_run(home, RUN)) == f"Run({parts})"
    assert repr(load_weights(home, RUN)) == f"LoadedWeights({parts})"
    unknown = dataclasses.replace(load_weights(home, RUN), card=None)
    assert (
        repr(unknown) == f"LoadedWeights({RUN!r}, method lewm, 202,094 parameters, latent 8, normalization not known)"
    )


def test_run_without_log_and_results_is_a_line_and_has_empty_tables(
    home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
):
    save_run(RunFiles(home.run_stem("a/b")), small_model, small_card(small_model))
    bare = lewm_cli.load("a/b")
    assert repr(bare).endswith("trained on tworoom/demo for 7 steps)")
    assert "202,094" in bare._repr_html_()
    for table in (bare.log(), bare.results()):
        assert (list(table), repr(table), table.columns) == ([], "no rows", [])
        assert "<table>" in table._repr_html_()


def test_model_policy_and_results_are_a_line(run: lewm_cli.StoredRun):
    model = repr(run.model)
    assert model.startswith("JEPA(202,094 parameters: encoder 150,464, predictor 26,824, ")
    assert model.endswith("; latent 8, frames of 64 px, action blocks of 10)")
    assert repr(lewm_cli.AutoCostModel(RUN)) == model
    frame = np.zeros((64, 64, 3), np.uint8)
    policy = lewm_cli.Policy(run, frame)
    assert repr(policy) == (
        f"Policy({RUN!r}, cem, 300 candidates, 30 iterations, seed 42, actions clipped to the action space, frames not "
        "checked, on cpu, no plan yet)"
    )
    policy.act(frame)
    assert "24 actions of the plan left" in repr(policy)
    report = full_report()
    for one in (report.evaluation, report.probe, report.surprise, report.films, report.decoded, *report.perturbations):
        assert repr(one).startswith(f"{type(one).__name__}(run={RUN!r}, time=")
        assert len(repr(one)) < 200
    assert "success='87.5% [74, 95]', random='20.0% [" in repr(report.evaluation)
    for line in (model, repr(policy), repr(run)):
        assert "\n" not in line


# Tables


def test_log_has_a_row_per_step_and_a_column_per_part(run: lewm_cli.StoredRun):
    log, past = run.log(), history()
    assert isinstance(log, list)
    assert all(dataclasses.is_dataclass(row) for row in log)  # what pandas.DataFrame asks for
    assert [row.step for row in log] == [25 * k for k in range(1, 13)]
    assert [row.loss for row in log] == [taken.loss for taken in past.steps]
    assert [row.SIGReg for row in log] == [taken.parts["SIGReg"] for taken in past.steps]
    measured = {row.step: row for row in log if not math.isnan(row.held_out_prediction)}
    assert list(measured) == [100, 200, 300]
    assert measured[200].held_out_SIGReg == past.held_out[1].held_out.parts["SIGReg"]
    assert repr(log).startswith("12 rows of step, loss, prediction, SIGReg, lr, ")


def test_log_of_a_method_whose_parts_are_no_names_of_fields():
    past = history(1)
    odd = dataclasses.replace(past.steps[0], parts={"prediction": 0.1, "EMA drift (x)": 0.5})
    (row,) = log_rows(dataclasses.replace(past, steps=(odd,)))
    assert row.EMA_drift__x_ == 0.5


def test_part_with_the_name_of_a_measurement_has_a_column_of_its_own():
    past = history(4, names=("prediction", "std", "cosine", "cov"))
    row, held_out = log_rows(past)[-1], past.held_out[-1].held_out
    assert (row.held_out_std, row.held_out_cosine) == (held_out.std, held_out.cosine)
    assert (row.held_out_std_term, row.held_out_cosine_term) == (held_out.parts["std"], held_out.parts["cosine"])
    assert row.held_out_cov == held_out.parts["cov"]


def test_results_have_a_row_per_number(run: lewm_cli.StoredRun):
    rows, report = run.results(), full_report()
    assert all(dataclasses.is_dataclass(row) for row in rows)
    found = {row.what: row for row in rows}
    assert len(found) == len(rows)
    every, success = found["success, all"], report.evaluation.overall.success
    assert (every.kind, every.value, every.low, every.high) == ("eval", success.rate, success.low, success.high)
    assert found["success, all, clear of walls"].value == report.evaluation.overall.route_valid.rate
    assert found["MLP probe R2, agent x"].value == 0.998
    assert found["surprise, median step"].low is None
    straight = found["latent straightness"]
    assert (straight.kind, straight.value, straight.low) == ("latent", 0.4, pytest.approx(0.35))
    assert straight.beside == "untrained \N{MINUS SIGN}0.30"
    assert found["surprise at teleport"].kind == "teleport"
    imagined = found["PSNR imagined, step 6"]
    assert (imagined.kind, imagined.value, imagined.low, imagined.high) == ("decode", 31.0, 30.0, 32.0)
    assert imagined.beside == "re-encoded 48.0, copied 24.0, mean 27.0"
    assert found["PSNR where changed, step 6"].value == 19.0
    assert {row.dataset for row in rows} == {"tworoom/test"}


def test_damaged_results_are_passed_over(run: lewm_cli.StoredRun):
    before = run.results()
    (run.files.results / "eval-20990101-000000-000000.json").write_text("{")
    first = full_report().perturbations[0].model_copy(update={"scores": {}})
    assert run.results() == before
    assert list(result_rows(StoredResults((first,)))) == []


def test_names_are_text_in_a_notebook():
    table = Table([named_row(NASTY) for _ in range(SHOWN + 2)])
    for html in (run_html(full_report(NASTY, NASTY), NASTY), run_html(bare_report(NASTY), ""), table._repr_html_()):
        seen = Seen(html)
        assert "script" not in seen.tags
        assert NASTY in seen.text
        assert seen.tags.count("table") == 1
    assert table._repr_html_().endswith("<p>2 rows more</p>")


@dataclasses.dataclass(frozen=True)
class NamedRow:
    name: str
    value: float | None


def named_row(name: str) -> NamedRow:
    return NamedRow(name, None)


class Seen(HTMLParser):
    """Tags and text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


# What is measured, and what is imported


def test_run_whose_tensors_were_changed_is_not_measured(run: lewm_cli.StoredRun):
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    with pytest.raises(LewmError, match="the tensors of tworoom/lewm are not those that are stored"):
        lewm_cli.evaluate(run)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"episodes": 0}, r"pairs = 0: input should be greater than 0 \(in protocol tworoom/heldout \+ episodes=0\)"),
        ({"settings": {"planner.horizon": 0}}, r"heldout \+ settings planner\.horizon=0\)"),
        ({"settings": ["planner.horizon=3"]}, "settings is no dictionary; give one like"),
        ({"seeds": 0}, "seeds=0 means nothing; give 1 or more"),
        ({"workers": 0}, "workers=0 means nothing; give 1 or more"),
        ({"record": -1}, "record=-1 means nothing; give 0 or more"),
    ],
)
def test_evaluation_that_means_nothing_is_a_sentence(run: lewm_cli.StoredRun, asked: dict[str, object], said: str):
    write_recording(run.home.write / "tworoom" / "demo.h5", (60, 60), dims=2, size=64, task="tworoom")
    with pytest.raises(UsageError, match=said):
        lewm_cli.evaluate(run, dataset=Path("tworoom/demo"), quiet=True, **asked)


@pytest.mark.slow
def test_public_names_are_light_and_stay_what_they_are():
    script = """if True:
        import inspect, sys, lewm_cli
        assert "torch" not in sys.modules and "numpy" not in sys.modules
        assert set(lewm_cli.__all__) <= set(dir(lewm_cli))
        from lewm_cli.evaluate import EvalResult  # the room of the same name
        assert inspect.isfunction(lewm_cli.evaluate)
        assert list(inspect.signature(lewm_cli.evaluate).parameters)[:2] == ["run", "episodes"]
        for name in lewm_cli.__all__:
            getattr(lewm_cli, name)
    """
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", script], check=True)


def test_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        lewm_cli.trian  # noqa: B018
