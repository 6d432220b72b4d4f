"""What is measured on a GPU, tried on a CPU: bench/gpu.py, whose sections fail or run out of time one by one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def measured(out: Path, *arguments: str, **environment: str) -> tuple[dict, str]:
    """The numbers and the page."""
    command = [sys.executable, str(ROOT / "bench" / "gpu.py"), "--device", "cpu", "--tiny", "--out", str(out)]
    subprocess.run([*command, *arguments], check=True, env=os.environ | environment, capture_output=True)
    tree = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    return {section["section"]: section for section in tree["sections"]}, (out / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sections_are_measured_one_by_one_and_one_that_fails_says_why(tmp_path: Path):
    sections, page = measured(tmp_path, "--only", "limits", "tests", "bf16", PYTEST_ADDOPTS="--no-such-option")
    rates = {row["what"]: row["rate"] for row in sections["limits"]["rows"]}
    assert rates.keys() >= {"bf16", "float32", "copy"}
    assert min(rates.values()) > 0
    assert sections["tests"]["rows"] == []
    assert "**RuntimeError: pytest ended with" in page
    usual, large = sections["bf16"]["rows"]
    assert usual["batch"] < large["batch"]
    for row in (usual, large):
        assert row["of_peak"] == pytest.approx(row["tflops"] / rates["bf16"])
        assert row["forward"] + row["backward"] + row["optimizer"] > 0
        assert row["clips"] == pytest.approx(row["batch"] * row["steps"])
    assert large["tflops"] / large["steps"] == pytest.approx(2 * usual["tflops"] / usual["steps"])
    late, page = measured(tmp_path, "--only", "limits", "--minutes", "0")
    assert (late["limits"]["rows"], late["limits"]["failure"]) == ([], "no time was left")
