"""The environment variables that change how the commands behave."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.workers import available_cores


@dataclass(frozen=True, kw_only=True)
class VariableFinding(Finding):
    """An environment variable and its value, None where it is not set."""

    value: str | None


def variables(renderers: Iterable[Finding]) -> Iterator[VariableFinding]:
    """Look at every variable.

    Args:
        renderers: tell which values of MUJOCO_GL work.
    """
    yield _variable("STABLEWM_HOME")
    yield _variable("LEWM_WRITE_HOME")
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    counts = all(number.strip().isdecimal() and int(number) for number in (threads or "1").split(","))
    advice = f"export OMP_NUM_THREADS={available_cores()}"
    yield _variable("OMP_NUM_THREADS", None if counts else "is not a number of threads", advice)
    tried = {each.name: each.state for each in renderers if each.name.startswith("MUJOCO_GL=")}
    working = [name for name, state in tried.items() if state is State.OK]
    chosen = f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '').strip().lower()}"
    fails = working and chosen in tried and chosen not in working
    yield _variable("MUJOCO_GL", "does not work here" if fails else None, f"export {working[0]}" if working else None)


def _variable(name: str, problem: str | None = None, advice: str | None = None) -> VariableFinding:
    value = os.environ.get(name)
    state = State.WARNING if problem else State.OK if value else State.NONE
    says = (f"{value}: {problem}" if problem else value) if value else "not set"
    return VariableFinding(name=name, state=state, says=says, advice=advice if problem else None, value=value)
