"""A signal to stop is deferred to the end of a step, and workers ignore it."""

import multiprocessing.connection
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from commands import PATIENCE
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.stop import SIGNALS, StopRequest
from lewm_cli.workers import available_cores, behave_as_worker, starting_workers


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the handlers of signals after a test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_is_remembered_and_the_second_stops_at_once(number: int):
    for one in SIGNALS:
        signal.signal(one, lambda number, frame: None)
    before = [signal.getsignal(one) for one in SIGNALS]
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
        with pytest.raises(StoppedError, match="stopped at once") as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert [signal.getsignal(one) for one in SIGNALS] == before


def _fail() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    raise ValueError("this one")


def test_signal_that_came_too_late_to_stop_anything_is_passed_on():
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever was there before
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(ValueError, match="this one"), StopRequest() as stop:
        stop.signal_number = _fail()


def test_what_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as with nohup
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.signal_number is None


def test_work_goes_on_to_its_end_where_the_terminal_has_gone():
    script = """
import os, signal, sys, time
from lewm_cli.stop import StopRequest
os.open(os.ttyname(0), os.O_RDWR)  # from now on the end of this terminal is heard
with StopRequest() as stop:
    print("ready", flush=True)
    while stop.signal_number is None:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGHUP)  # the shell says so, too
    print("saved", flush=True)
    os._exit(7)
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", script], stdin=theirs, stdout=theirs, start_new_session=True)
    os.close(theirs)
    assert os.read(ours, 5) == b"ready"
    os.close(ours)
    assert process.wait(PATIENCE) == 7


def test_being_stopped_is_no_failure_that_anything_recovers_from():
    assert not issubclass(StoppedError, LewmError)
    assert StoppedError("stopped", signal.SIGINT).exit_code == 130


def _worker(pipe: multiprocessing.connection.Connection) -> None:
    behave_as_worker()
    pipe.send(os.getpid())
    pipe.send(pipe.recv())


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_worker_outlives_signals_to_the_whole_group(how: str):
    """From its first moment on, while it imports too: only the parent lifts the mask that it is started under."""
    context = multiprocessing.get_context(how)
    ours, theirs = context.Pipe()
    worker = context.Process(target=_worker, args=(theirs,), daemon=True)
    with starting_workers():
        worker.start()
    try:
        for number in SIGNALS:
            os.kill(worker.pid, number)
        assert ours.poll(PATIENCE)
        assert ours.recv() == worker.pid
        for number in SIGNALS:
            os.kill(worker.pid, number)
        ours.send("still there")
        assert ours.poll(PATIENCE)
        assert ours.recv() == "still there"
        worker.join(PATIENCE)
        assert worker.exitcode == 0
    finally:
        worker.kill()
    assert not set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
