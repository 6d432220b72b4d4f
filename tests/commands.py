"""Runs the command `lewm`: to its end, in this process, or in the background to be interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lewm_cli.cli.main import main

LEWM = str(Path(sys.executable).with_name("lewm"))

PATIENCE = 1200.0
"""Seconds after which a wait is taken for a hang: ten times the longest ever seen, on a busy machine.

The only such limit in the tests, and no test asserts how long something takes.
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Parses what it printed on stdout; strict, so that NaN is not let through."""
        return json.loads(self.out, parse_constant=_refuse)

    def sentence(self, code: int = 1) -> str:
        """Returns the one line on stderr that says what went wrong, and checks that stdout is empty."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        errors = [line for line in self.err.splitlines() if line.startswith("lewm: ")]
        assert len(errors) == 1, self.err
        assert self.err.splitlines()[-1] == errors[0]
        assert not errors[0].startswith("lewm: unexpected ")
        assert self.out == ""
        return errors[0]


def lewm(home: Path, *arguments: object, **options: Any) -> Done:
    """Runs the command to its end."""
    ended = subprocess.run(
        [LEWM, *map(str, arguments)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def lewm_here(home: Path, *arguments: object) -> Done:
    """Runs the command in this process, which has imported what it needs; for commands that end at once."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), _captured(patch) as (out, err):
        patch.setenv("STABLEWM_HOME", str(home))
        patch.delenv("LEWM_WRITE_HOME", raising=False)
        patch.setattr(sys, "argv", [LEWM, *map(str, arguments)])
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return Done(int(ended.value.code or 0), out(), err())


@contextmanager
def running(home: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Starts the command in a process group of its own; what is left of it is killed at the end."""
    process = subprocess.Popen(
        [LEWM, *map(str, arguments)],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def ended(process: subprocess.Popen[str]) -> Done:
    """Waits for the end of a command that was started."""
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Waits for a condition; fails if it never comes true, or if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"ended too early: {process.communicate()[1]}")
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.005)


def descendants(pid: int) -> set[int]:
    """Finds all processes below one; their numbers."""
    found, waiting = set(), [pid]
    while waiting:
        try:
            children = [
                int(child)
                for task in Path(f"/proc/{waiting.pop()}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except OSError:  # it has just ended
            continue
        found.update(children)
        waiting += children
    return found


def alive(pid: int) -> bool:
    """True while a process runs; one that has ended and was not waited for does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environment(home: Path) -> dict[str, str]:
    """Builds the environment of a command: one thread, and no home but this one."""
    kept = {key: value for key, value in os.environ.items() if key != "LEWM_WRITE_HOME"}
    return kept | {"STABLEWM_HOME": str(home), "OMP_NUM_THREADS": "1"}


def flat(text: str) -> str:
    """Puts the words of a table on one line, without its frame."""
    return " ".join(text.replace("│", " ").split())


def left_behind(home: Path) -> list[Path]:
    """Finds files that were never finished."""
    return sorted(home.rglob("*.part"))


@contextmanager
def _captured(patch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    import io

    out, err = io.StringIO(), io.StringIO()
    patch.setattr(sys, "stdout", out)
    patch.setattr(sys, "stderr", err)
    yield out.getvalue, err.getvalue


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
