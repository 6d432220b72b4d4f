"""The help of long commands: what most people need first, the rest in panels."""

import subprocess
import sys
from pathlib import Path

import pytest

from commands import flat, lewm_here
from lewm_cli import __version__


@pytest.mark.parametrize(
    ("command", "first", "panels"),
    [
        ("eval", ["--episodes", "--protocol", "--dataset"], ["Pairs", "Planner", "Results", "Weights of other tools"]),
        ("train", ["--preset", "--dataset", "--steps"], ["Settings", "The run"]),
        ("fetch", ["--list", "--dataset", "--checkpoint"], ["Source", "Files that are there"]),
        ("surprise", ["--run", "--perturb"], ["Events", "While frames are taken", "Weights of other tools"]),
        ("plan", ["--start", "--goal"], ["Planner", "Settings", "Weights of other tools"]),
    ],
)
def test_what_most_people_need_stands_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, first: list[str], panels: list[str]
):
    monkeypatch.setenv("COLUMNS", "120")
    lines = lewm_here(tmp_path, command, "--help").out.splitlines()
    places = [next(number for number, line in enumerate(lines) if f"─ {name} ─" in line) for name in panels]
    head = "\n".join(lines[: places[0]])
    assert places == sorted(places)
    assert len(head.splitlines()) < 40
    assert all(option in head for option in (*first, "--home", "--help"))


def test_module_is_the_command(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "lewm_cli", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == f"lewm {__version__}\n"


def test_paragraphs_break_where_the_terminal_does(tmp_path: Path):
    said = lewm_here(tmp_path, "eval", "--help").out
    assert "A random policy on the same pairs is the baseline" in flat(said)
    lines = [line.strip() for line in said.splitlines()]
    assert "allowed. A random policy on the" not in lines
    assert "object: lewm's module as a pickle" in [
        line.strip() for line in lewm_here(tmp_path, "convert", "--help").out.splitlines()
    ]
