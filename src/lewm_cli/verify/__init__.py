"""Checks what lies in a home: every run and every dataset is whole, and holds what it says."""

from lewm_cli.verify.check import Check, DatasetCheck, Problem, RunCheck
from lewm_cli.verify.check_dataset import check_dataset
from lewm_cli.verify.check_run import check_run

__all__ = ["Check", "DatasetCheck", "Problem", "RunCheck", "check_dataset", "check_run"]
