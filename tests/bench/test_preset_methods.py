"""The preset of a task takes another method only if it is shown to be better on the validation recording."""

from pathlib import Path
from types import ModuleType

import pytest
from test_methods_page import Kept
from test_results_page import generator


@pytest.fixture(scope="module")
def presets() -> ModuleType:
    generator("results")
    return generator("preset_methods")


@pytest.mark.parametrize(
    ("solved", "best", "taken"),
    [
        # `lewm` solves 5 with every seed.
        ({"delta-seed0": 18, "delta-seed1": 18, "delta-seed2": 18}, "delta", "delta"),
        ({"pldm-seed0": 18, "pldm-seed1": 18, "pldm-seed2": 18, "delta-seed0": 17}, "pldm", "pldm"),
        ({"delta-seed0": 18}, "delta", "lewm"),  # one lucky seed
        ({"inverse-seed0": 6, "inverse-seed1": 6, "inverse-seed2": 6}, "inverse", "lewm"),
    ],
)
def test_another_method_is_taken_where_it_is_shown_to_be_better(
    presets: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, solved: dict[str, int], best: str, taken: str
):
    kept = Kept({f"pusht/{name}": many for name, many in solved.items()})
    monkeypatch.setattr(presets, "do", kept.do)
    choice = presets.Choice(tmp_path, presets.TASKS["pusht"])
    assert (choice.best, choice.taken) == (best, taken)
    evaluated = [step.command for step in kept.steps]
    assert {command[command.index("--dataset") + 1] for command in evaluated} == {"pusht/validation"}


def test_tasks_that_are_not_measured_are_named(presets: ModuleType, tmp_path: Path):
    assert list(presets.lines(tmp_path)) == ["", "Not measured yet: pusht, cube, reacher."]
