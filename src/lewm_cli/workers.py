"""Worker processes that ignore Ctrl-C and SIGTERM, end with their parent, and are missed when they die."""

import math
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from lewm_cli import messages
from lewm_cli.cgroup import cpu_quota, memory_left, memory_limit
from lewm_cli.errors import LewmError
from lewm_cli.stop import SIGNALS, StopRequest, signal_name

Answer = Callable[[Any], Any]
"""Answers requests in a worker process."""

Waiting = Callable[[], None]
"""Called now and then while something is waited for; what it raises ends that."""

LOOK_SECONDS = 0.2
"""Seconds from one such call to the next."""

DYING_SECONDS = 5.0
"""Seconds that a process which no longer answers gets to end by itself, so that its exit code can be told."""

IN_FLIGHT = 2
"""Requests that wait at each worker of `answers`."""

CORES_GRANTED = ("SLURM_CPUS_PER_TASK", "LSB_DJOB_NUMPROC", "NSLOTS", "NCPUS")
"""Variables in which batch systems (Slurm, LSF, Grid Engine, PBS) say how many cores a job has asked for."""


class WorkerDiedError(LewmError):
    """A worker process ended before it had answered; the message says how, and why it probably did."""


@dataclass(frozen=True)
class _Raised:
    """An error in place of an answer."""

    error: Exception


class Worker:
    """A process that answers requests, one after the other.

    Args:
        make: called in the process, makes the function that answers; what it raises is the answer to everything.
        how: to start the process, "fork" or "spawn"; as this system does by default if not given.
    """

    def __init__(self, make: Callable[[], Answer], how: str | None = None) -> None:
        context: Any = multiprocessing.get_context(how)
        self.connection: Connection[Any, Any]
        self.connection, theirs = context.Pipe()
        forked = context.get_start_method() == "fork"
        with theirs:
            process: BaseProcess = context.Process(target=_serve, args=(theirs, make if forked else None), daemon=True)
            with starting_workers():
                process.start()
                # At the latest when Python exits, which otherwise waits for what does not hear its SIGTERM.
                self._end = util.Finalize(self, _kill, (process, self.connection), exitpriority=1)
        self.process = process
        if not forked:
            self.ask(make)  # through the pipe: an import that fails is an answer then

    def ask(self, request: object) -> None:
        """Send a request; that nobody was there to hear it shows when the answer is asked for."""
        with suppress(OSError):
            messages.send(self.connection, request)

    def answer(self, waiting: Waiting = lambda: None) -> Any:
        """Wait for the answer to the oldest request.

        Raises:
            WorkerDiedError: the process has ended.
            Exception: what was raised in it.
        """
        while not (ready := wait([self.connection, self.process.sentinel], LOOK_SECONDS)):
            waiting()
        try:
            if self.connection not in ready:
                raise EOFError
            found = messages.receive(self.connection)
        except (EOFError, OSError):
            raise self.death() from None
        if isinstance(found, _Raised):
            raise found.error
        return found

    def death(self) -> WorkerDiedError:
        """End a process that no longer answers; the error says how it ended."""
        self.process.join(DYING_SECONDS)
        self.process.kill()
        self.process.join()
        return WorkerDiedError(ending(self.process.exitcode or 0))

    def close(self) -> None:
        """End the process at once; there is nothing that it would have to finish."""
        self._end()


def answers(
    make: Callable[[], Answer],
    requests: Iterable[object],
    workers: int,
    waiting: Waiting = lambda: None,
    how: str | None = None,
) -> Generator[Any, None, None]:
    """Have requests answered in several processes; the answers come in the order of the requests.

    Requests are small: one that fills the pipe of a worker whose answer fills it too would wait for ever.
    Closing it ends the processes. Arguments and errors as of `Worker`.
    """
    fleet: list[Worker] = []
    asked: deque[Worker] = deque()

    def looking() -> None:
        waiting()
        for worker in fleet:
            if not worker.process.is_alive():  # one whose turn has not come yet
                raise worker.death()

    try:
        fleet.extend(Worker(make, how) for _ in range(workers))
        for number, request in enumerate(requests):
            asked.append(fleet[number % workers])
            asked[-1].ask(request)
            if len(asked) > IN_FLIGHT * workers:
                yield asked.popleft().answer(looking)
        while asked:
            yield asked.popleft().answer(looking)
    finally:
        for worker in fleet:  # all at once
            worker.process.kill()
        for worker in fleet:
            worker.close()


def spread(
    make: Callable[[], Answer],
    requests: Sequence[object],
    workers: int,
    waiting: Waiting,
    does: str,
    instead: str = "type the same again with --workers 1",
    here: Callable[[], Answer] | None = None,
) -> Generator[Any, None, None]:
    """Have requests answered in this process or, by several workers, in theirs; in order, as by `answers`.

    Args:
        waiting: also called before every request that this process answers.
        does: the work of such a process, for errors: "packs".
        instead: what to do where one died.
        here: makes the function that answers in this process; the same if not given.

    Raises:
        LewmError: a process died.
    """
    workers = min(workers, len(requests))
    if workers < 2:
        answer = (here or make)()
        for request in requests:
            waiting()
            yield answer(request)
        return
    try:
        yield from answers(make, requests, workers, waiting, how="spawn")
    except WorkerDiedError as death:
        raise LewmError(f"a process that {does} {death}; {instead}") from death


def ending(code: int) -> str:
    """Says how a process ended, by its exit code, and the likely cause: `was killed (SIGKILL), as happens when ...`."""
    match -code:
        case signal.SIGKILL:
            limit = memory_limit()
            allowed = f" (this container has {limit / 1e9:.1f} GB)" if limit else ""
            return f"was killed (SIGKILL), as happens when memory runs out{allowed}"
        case signal.SIGBUS:
            return "crashed (SIGBUS), as happens when a file that is in use is cut short, or /dev/shm is full"
        case number if number > 0:
            return f"crashed ({signal_name(number)}), most likely in a library"
    return f"ended by itself with exit code {code}"


@contextmanager
def starting_workers() -> Iterator[None]:
    """Block signals to stop in the processes that this thread starts meanwhile, even while they import.

    Ctrl-C, and the SIGTERM of a batch system, reach the whole process group; the parent alone decides what they mean.
    It does so afterwards: what it has started, it can end then.
    """
    resource_tracker.ensure_running()  # it unblocks the signals when it starts
    # Both: with other threads about, what this one blocks is heard all the same.
    with StopRequest() if threading.current_thread() is threading.main_thread() else nullcontext():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def behave_as_worker() -> None:
    """Ignore signals to stop and end with the parent; call it first in every worker process.

    A parent that is killed cannot end its workers, so each worker waits for the parent's end.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def available_cores() -> int:
    """Cores that this process may use; taskset, a container's quota or a batch system can make them fewer.

    A quota of a part of a core counts as a whole one. Threads are another matter: see `limit_threads`.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13; PYTHON_CPU_COUNT sets it
        cores = os.process_cpu_count() or 1
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = [int(value) for name in CORES_GRANTED if (value := os.environ.get(name, "")).isdecimal()]
    return min(number for number in (cores, *granted, math.ceil(cpu_quota() or 0)) if number > 0)


def available_memory() -> int:
    """Bytes of memory that can be taken without driving anything out; a container's limit can make them fewer."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux, which does not say either: half of what is there
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    left = memory_left()
    return free if left is None else min(free, left)


def limit_threads() -> None:
    """Have libraries of numbers start no more threads than there are cores; call it before they are imported.

    They know the machine's cores and not the container's. OMP_NUM_THREADS stays where it is set to a number.
    """
    cores, named = available_cores(), os.environ.get("OMP_NUM_THREADS", "")
    if cores < (os.cpu_count() or 1) and not named.lstrip("0")[:1].isdecimal():
        os.environ["OMP_NUM_THREADS"] = str(cores)


def _serve(connection: "Connection[Any, Any]", make: Callable[[], Answer] | None) -> None:
    """Answer requests until the parent has gone; without `make`, that is the first of what it sends."""
    with suppress(EOFError, OSError):
        try:
            behave_as_worker()
            answer = (make or messages.receive(connection))()
        except Exception as error:
            answer = _raising(error)
        while True:
            request = messages.receive(connection)
            messages.send(connection, _answered(answer, request))


def _answered(answer: Answer, request: object) -> Any:
    try:
        return answer(request)
    except Exception as error:
        error.add_note(traceback.format_exc())  # for --debug
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # of a class that takes something else than its message
            return _Raised(RuntimeError(f"{type(error).__name__}: {error}"))
        return _Raised(error)


def _raising(error: Exception) -> Answer:
    def answer(request: object) -> None:
        raise error

    return answer


def _kill(process: BaseProcess, connection: "Connection[Any, Any]") -> None:
    process.kill()
    process.join()
    connection.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
