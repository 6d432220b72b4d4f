"""The environment variables that change what the commands do."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.workers import available_cores

FOLDERS = ("STABLEWM_HOME", "LEWM_WRITE_HOME")


@dataclass(frozen=True, kw_only=True)
class VariableFinding(Finding):
    """An environment variable and its value, None where it is not set."""

    value: str | None


def variables(renderers: Iterable[Finding]) -> Iterator[VariableFinding]:
    """Look at every variable.

    Args:
        renderers: which values of MUJOCO_GL work.
    """
    for name in FOLDERS:
        yield _variable(name, None, None)
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and not all(number.strip().isdecimal() and int(number) for number in threads.split(",")):
        yield _variable("OMP_NUM_THREADS", "is not a number of threads", f"export OMP_NUM_THREADS={available_cores()}")
    else:
        yield _variable("OMP_NUM_THREADS", None, None)
    yield _back_end(tuple(renderers))


def _back_end(renderers: tuple[Finding, ...]) -> VariableFinding:
    chosen = f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '').strip().lower()}"
    back_ends = {finding.name: finding for finding in renderers if finding.name.startswith("MUJOCO_GL=")}
    working = [name for name, finding in back_ends.items() if finding.state is State.OK]
    if chosen in back_ends and working and chosen not in working:
        return _variable("MUJOCO_GL", "does not work here", f"export {working[0]}")
    return _variable("MUJOCO_GL", None, None)


def _variable(name: str, problem: str | None, advice: str | None) -> VariableFinding:
    value = os.environ.get(name)
    state = State.WARNING if problem else State.OK if value else State.NONE
    says = (f"{value}: {problem}" if problem else value) if value else "not set"
    return VariableFinding(name=name, state=state, says=says, advice=advice, value=value)
