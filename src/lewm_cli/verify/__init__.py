"""Checks what lies in a home: every run and every dataset is whole, and holds what it says."""

from lewm_cli.verify.check import Check, DatasetCheck, RunCheck
from lewm_cli.verify.dataset_check import check_dataset
from lewm_cli.verify.run_check import check_run
