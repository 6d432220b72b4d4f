"""Looks at this machine: what is installed, what computes, what draws, where files go, and what to type."""

from lewm_cli.doctor.diagnose import Advice, Diagnosis, diagnose
from lewm_cli.doctor.finding import Finding, State
from lewm_cli.doctor.versions import PackageFinding, check_imports

__all__ = ["Advice", "Diagnosis", "Finding", "PackageFinding", "State", "check_imports", "diagnose"]
