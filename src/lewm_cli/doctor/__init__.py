"""Checks this machine: what is installed, what computes, what draws, where files go, and what to type."""

from lewm_cli.doctor.checkup import Checkup, check_machine
from lewm_cli.doctor.finding import Finding, State
from lewm_cli.doctor.packages import check_imports
