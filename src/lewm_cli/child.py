"""Child processes for programs that may abort, hang or print; nothing of them is left afterwards."""

import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from lewm_cli.stop import StopRequest, signal_name

HARNESS = """
import os, signal, sys
signal.alarm(int(sys.argv[2]))  # should the parent be killed before it can end this
try:
    exec(sys.argv[1])
except BaseException as error:
    message = " ".join(str(error).split())
    print(f"{type(error).__name__}: {message}" if message else type(error).__name__, file=sys.stderr, flush=True)
    os._exit(1)  # what libraries say while they are torn down would come after it
"""

LONGEST_MESSAGE = 200

ALARM_SECONDS = 5
"""Seconds after its time is over, after which a child that is still there ends itself."""


@dataclass(frozen=True)
class Attempt:
    """The end of a program: "works", or its last line, the signal that ended it, or the time that it was given."""

    works: bool
    says: str


def attempt(program: str, *, seconds: float, variables: dict[str, str] | None = None) -> Attempt:
    """Run Python source in a child process, its output kept from the terminal; this process goes on whatever happens.

    After these seconds the child, and every process that it started, is killed.
    """
    # A file, not a pipe: reading a pipe waits for whoever else holds it.
    with tempfile.TemporaryFile() as output, ExitStack() as started:
        with StopRequest():  # an interruption comes when it is known what to end
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", HARNESS, program, str(math.ceil(seconds) + ALARM_SECONDS)],
                env=os.environ | (variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            started.callback(_end, child)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return Attempt(False, f"hangs: no end after {seconds:g} s")
        started.close()
        output.seek(0)
        lines = output.read().decode(errors="replace").split("\n")
    if code == 0:
        return Attempt(True, "works")
    if code < 0:
        return Attempt(False, f"aborts ({signal_name(-code)})")
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
    return Attempt(False, f"fails: {last if len(last) <= LONGEST_MESSAGE else last[: LONGEST_MESSAGE - 3] + '...'}")


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nothing is left of the group, or as macOS says it
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
