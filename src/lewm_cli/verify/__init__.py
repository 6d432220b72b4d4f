"""Looks at what lies in a home: is every run and every dataset whole, and does it say what it holds?"""

from lewm_cli.verify.check import Check, DatasetCheck, Finding, Problem, Remark, RunCheck, Verification
from lewm_cli.verify.dataset import check_dataset
from lewm_cli.verify.run import check_run

__all__ = [
    "Check",
    "DatasetCheck",
    "Finding",
    "Problem",
    "Remark",
    "RunCheck",
    "Verification",
    "check_dataset",
    "check_run",
]
