"""Files that machines with wrong clocks have written: the newest is the one written last, or a doubt is said."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commands import lewm_here
from lewm_cli.flows.results import keep_result, result_paths, results_folder, stored_results
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Home, Run, list_runs, newest_run
from reports import full_report

pytest_plugins = ("untrained",)


def test_new_result_is_the_newest_whatever_other_clocks_have_said(home: Home, pick_run: Run):
    probe = full_report().probe.model_copy(update={"run": pick_run.name, "weights_sha256": pick_run.sha256})
    folder = results_folder(home, pick_run)
    folder.mkdir(parents=True)
    for name in ("eval-20990101-000000-000000.json", "probe-99991231-235959-999998.json.part", "probe-nonsense.json"):
        (folder / name).write_text("{}")
    written = [
        keep_result(home, pick_run, "probe", probe.model_copy(update={"seconds": float(number)})) for number in range(3)
    ]
    assert [path for path in result_paths([folder]) if path in written] == written
    assert stored_results(home, pick_run).newest(ProbeResult).seconds == 2
    assert all("-20990101-00000" in path.name for path in written)


@pytest.mark.parametrize("seconds", [4_070_908_800, 8_000_000_000])
def test_run_dated_in_the_future_is_doubted(home: Home, pick_run: Run, seconds: int):
    said: list[str] = []
    assert newest_run(list_runs(home), said.append).name == pick_run.name
    assert said == []
    os.utime(pick_run.files.weights, (seconds, seconds))
    assert newest_run(list_runs(home), said.append).name == pick_run.name
    year = datetime.fromtimestamp(seconds, UTC).year
    assert f"is dated in the future ({year}-" in said[0]


@pytest.mark.parametrize("seconds", [-1, -(2**40), 2**40])
def test_dates_that_nothing_can_have_are_listed(tmp_path: Path, seconds: int):
    (tmp_path / "run.pt").write_bytes(b"weights")
    os.utime(tmp_path / "run.pt", (seconds, seconds))
    (run,) = lewm_here(tmp_path, "ls", "--json").json()["runs"]
    assert datetime.fromisoformat(run["modified"])
