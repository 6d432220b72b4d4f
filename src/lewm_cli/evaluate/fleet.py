"""Many simulators in few processes; what their cameras see comes back through shared memory."""

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import torch

from lewm_cli.errors import LewmError
from lewm_cli.evaluate.stage import NO_FRAMES, OWN_RULE, Answer, Request, Stage
from lewm_cli.tasks import Task
from lewm_cli.workers import behave_as_worker, starting_workers

SHARED_BYTES = 32 * 224 * 224 * 3
"""Shared with each process: the frames of one answer. An answer with more goes through the pipe, which is slower."""

DYING = 5.0
"""Seconds that a process which no longer answers gets to end by itself, so that it can be said how."""

LIVES = 3
"""Processes that may die over one request."""


class Simulators(Protocol):
    """Something that answers requests to simulators.

    Args:
        workers: processes that simulate; 1 is this one.
    """

    workers: int

    def ask(self, number: int, request: Request) -> "Future[Answer]":
        """Have a request answered; those about the same number are answered in their order, by the same simulator."""
        ...

    def wait(self) -> None:
        """Wait until everything is imported, so that what is timed next is work."""
        ...


class Here:
    """Simulators in this process; a request is answered while it is made.

    Args:
        task: with a simulator.
    """

    workers = 1

    def __init__(self, task: Task) -> None:
        self._stage = Stage(task)

    def ask(self, number: int, request: Request) -> "Future[Answer]":
        """Answer at once."""
        future: Future[Answer] = Future()
        future.set_result(request.answer(self._stage))
        return future

    def wait(self) -> None:
        """Build a simulator."""
        self._stage.give_back(self._stage.take(OWN_RULE))


class Fleet:
    """Simulators in worker processes. One that dies is started again, and what it was asked is asked again.

    Args:
        task: with a simulator.
        workers: processes.
        say: told when one has died.
    """

    def __init__(self, task: Task, workers: int, say: Callable[[str], None]) -> None:
        self.workers = workers
        self._ships = [_Ship(task, say) for _ in range(workers)]

    def ask(self, number: int, request: Request) -> "Future[Answer]":
        """Have a request answered by the process that `number` belongs to."""
        return self._ships[number % self.workers].ask(request)

    def wait(self) -> None:
        """Wait until every process has built a simulator."""
        gather([ship.launch() for ship in self._ships])

    def close(self) -> None:
        """End all processes at once; there is nothing that they would have to finish."""
        for ship in self._ships:
            ship.sink()


@contextmanager
def simulators(task: Task, workers: int, say: Callable[[str], None]) -> Iterator[Simulators]:
    """Simulators in so many processes; with one, in this process and no other."""
    if workers == 1:
        yield Here(task)
        return
    fleet = Fleet(task, workers, say)
    try:
        yield fleet
    finally:
        fleet.close()


def gather(futures: "Sequence[Future[Any]]") -> list[Any]:
    """All results; the first failure as soon as it happens."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]


class _Ship:
    """One process, and the thread that talks to it."""

    def __init__(self, task: Task, say: Callable[[str], None]) -> None:
        self._task, self._say = task, say
        self._context = multiprocessing.get_context("spawn")
        self._shared = self._context.RawArray("B", SHARED_BYTES)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._sunk = False
        self._thread = ThreadPoolExecutor(1)

    def launch(self) -> "Future[Answer]":
        """Start the process, and wait for its first simulator."""
        return self._thread.submit(self._exchange, None)

    def ask(self, request: Request) -> "Future[Answer]":
        """Have a request answered."""
        return self._thread.submit(self._exchange, request)

    def sink(self) -> None:
        """End the process and the thread."""
        self._sunk = True
        process = self._process
        if process is not None:
            process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._forget()

    def _exchange(self, request: Request | None) -> Answer:
        codes = []
        while len(codes) < LIVES and not self._sunk:
            try:
                answer, shape = self._spoken(request)
            except (EOFError, OSError):  # it ended before its answer did
                codes.append(self._forget())
                if not self._sunk:
                    self._say(f"a simulator process of {self._task.name} died ({codes[-1]}); starting another")
                continue
            if isinstance(answer, Exception):
                raise answer
            if shape is None:
                return answer
            frames = np.frombuffer(self._shared, np.uint8, count=int(np.prod(shape))).reshape(shape)
            return replace(answer, frames=frames.copy())
        about = f" on rows {request.pair.start_row} to {request.pair.goal_row}" if request else " before its first step"
        raise LewmError(
            f"the simulator of {self._task.name} died {len(codes)} times in a row{about} ({', '.join(codes)}); "
            "`--workers 1` simulates in this process and shows what it says, and `lewm doctor` what is installed"
        )

    def _spoken(self, request: Request | None) -> tuple[Answer | Exception, tuple[int, ...] | None]:
        """An answer or a failure, and the shape of the frames that lie in shared memory, if they do."""
        if self._connection is None:
            self._connection, theirs = self._context.Pipe()
            with theirs:
                arguments = (self._task, theirs, self._shared)
                process = self._context.Process(target=_simulate, args=arguments, daemon=True)
                with starting_workers():
                    process.start()
            self._process = process
            if self._sunk:  # meanwhile, by one who saw no process to end
                raise EOFError
        self._connection.send(request)
        return self._connection.recv()

    def _forget(self) -> str:
        """Be without a process; how it ended, in words."""
        if self._connection is not None:
            self._connection.close()
        code = None
        if self._process is not None:
            self._process.join(DYING)
            self._process.kill()
            self._process.join()
            code = self._process.exitcode
        self._process = self._connection = None
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _simulate(task: Task, connection: Connection, shared: Any) -> None:
    """What a worker process does until it is killed."""
    behave_as_worker()
    torch.set_num_threads(1)
    stage, memory = Stage(task), np.frombuffer(shared, np.uint8)
    while True:
        request = connection.recv()
        try:
            if request is None:
                stage.give_back(stage.take(OWN_RULE))
            answer = request.answer(stage) if request else Answer(NO_FRAMES)
        except Exception as error:
            error.add_note(traceback.format_exc())
            connection.send((error, None))
            continue
        fits = answer.frames.nbytes <= memory.nbytes
        if fits:
            memory[: answer.frames.nbytes] = answer.frames.reshape(-1)
        connection.send((replace(answer, frames=NO_FRAMES), answer.frames.shape) if fits else (answer, None))
