"""What `lewm eval` prints of its result."""

import io

import numpy as np
import pytest
from rich.console import Console, Group

from commands import flat
from lewm_cli.evaluate import EvalResult
from lewm_cli.report import evaluation_tables
from lewm_cli.statistics import Difference
from reports import full_report

EVALUATION = full_report().evaluation


def printed(result: EvalResult) -> str:
    """What a terminal of 80 columns shows, in one line."""
    console = Console(file=io.StringIO(), width=80)
    console.print(Group(*evaluation_tables([result])))
    return flat(console.file.getvalue())


@pytest.mark.parametrize(("solved", "shown"), [(1, False), (20, True)])
def test_verdict_is_a_line_of_its_own(solved: int, shown: bool):
    success, random = np.arange(20) < solved, np.zeros(20, bool)
    above = Difference.of(success, random, np.arange(20))
    result = EVALUATION.model_copy(update={"above_random": above})
    verdict = "." if shown else ", not shown to beat random."
    assert f"Above random, same pairs: {above} points{verdict}" in printed(result)
