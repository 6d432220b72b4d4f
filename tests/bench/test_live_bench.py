"""The page of `lewm demo` is measured beside Python, on the same pairs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lewm_cli.report.demo.live_page import RUNTIME, RUNTIME_FILES
from lewm_cli.store import Run

pytest_plugins = ("untrained",)

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # exports networks
@pytest.mark.skipif(not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no browser")
@pytest.mark.skipif(not all((RUNTIME / name).exists() for name in RUNTIME_FILES), reason="no ONNX Runtime Web")
def test_page_and_python_are_measured_on_the_same_pairs(tworoom_run: Run, tmp_path: Path):
    pytest.importorskip("playwright", reason="playwright is not installed")
    home, out = tworoom_run.files.weights.parents[1], tmp_path / "demo.json"
    few = ("--pairs", "3", "--budget", "7", "--loads", "1", "--plans", "4", "--json", str(out))
    command = [sys.executable, str(ROOT / "bench" / "demo.py"), str(home), "--run", tworoom_run.name, *few]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tree = json.loads(out.read_text(encoding="utf-8"))
    assert 5 < tree["megabytes"] < 6
    assert [len(tree[f"milliseconds_{where}"]) for where in ("in_page", "in_python")] == [4, 4]
    assert [len(tree[f"reached_{where}"]) for where in ("in_page", "in_python", "at_random")] == [3, 3, 3]
    gained = sum(tree["reached_in_page"]) - sum(tree["reached_in_python"])
    assert tree["difference"]["rate"] == pytest.approx(gained / 3)
    assert f"| size of the page | {tree['megabytes']:.2f} MB | at most 6 MB |" in done.stdout
