"""Many simulators in few processes; the frames come back through shared memory."""

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import torch

from lewm_cli.errors import LewmError
from lewm_cli.simulate.requests import NO_FRAMES, OWN_CRITERION, Request, Response, SimulatorSet
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task
from lewm_cli.workers import behave_as_worker, starting_workers

SHARED_BYTES = 32 * 224 * 224 * 3
"""Shared with each process: the frames of one response. One with more goes through the pipe, which is slower."""

DYING = 5.0
"""Seconds that a process which no longer responds gets to end by itself, so that its exit code can be reported."""

LIVES = 3
"""Processes that may die over one request."""


class SimulatorPool(Protocol):
    """Runs requests to simulators."""

    workers: int
    """Processes that simulate; 1 is this one."""

    def submit(self, number: int, request: Request) -> "Future[Response]":
        """Have a request run; those with the same number are run in their order, by the same process."""

    def wait(self) -> None:
        """Wait until everything is imported, so that what is timed next is work."""


class InProcess:
    """Simulators in this process; a request is run while it is submitted."""

    workers = 1

    def __init__(self, task: Task) -> None:
        self._simulators = SimulatorSet(task)

    def submit(self, number: int, request: Request) -> "Future[Response]":
        """See `SimulatorPool`."""
        future: Future[Response] = Future()
        future.set_result(request.run(self._simulators))
        return future

    def wait(self) -> None:
        """Build a simulator."""
        self._simulators.release(self._simulators.acquire(OWN_CRITERION))


class WorkerPool:
    """Simulators in worker processes. One that dies is started again with its request, and `say` gets a remark."""

    def __init__(self, task: Task, workers: int, say: Callable[[str], None]) -> None:
        self.workers = workers
        self._processes = [_Worker(task, say) for _ in range(workers)]

    def submit(self, number: int, request: Request) -> "Future[Response]":
        """Have a request run by the process that `number` belongs to."""
        return self._processes[number % self.workers].submit(request)

    def wait(self) -> None:
        """Wait until every process has built a simulator."""
        gather([process.submit(None) for process in self._processes])

    def close(self) -> None:
        """End all processes at once; there is nothing that they would have to finish."""
        for process in self._processes:
            process.close()


@contextmanager
def simulator_pool(task: Task, workers: int, say: Callable[[str], None]) -> Iterator[SimulatorPool]:
    """Open simulators in so many processes; with one, in this process and no other."""
    if workers == 1:
        yield InProcess(task)
        return
    with closing(WorkerPool(task, workers, say)) as pool:
        yield pool


def gather(futures: "Sequence[Future[Any]]") -> list[Any]:
    """Wait for all results; raises the first failure as soon as it happens."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]


class _Worker:
    """One process, and the thread that talks to it."""

    def __init__(self, task: Task, say: Callable[[str], None]) -> None:
        self._task, self._say = task, say
        self._context = multiprocessing.get_context("spawn")
        self._shared = self._context.RawArray("B", SHARED_BYTES)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection[Any, Any] | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1)

    def submit(self, request: Request | None) -> "Future[Response]":
        """Have a request run; None starts the process and waits for its first simulator."""
        return self._thread.submit(self._run, request)

    def close(self) -> None:
        """End the process and the thread."""
        self._closed = True
        if process := self._process:
            process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._discard()

    def _run(self, request: Request | None) -> Response:
        codes = list[str]()
        while len(codes) < LIVES and not self._closed:
            try:
                response, shape = self._exchange(request)
            except (EOFError, OSError):  # it ended before it responded
                codes.append(self._discard())
                if not self._closed:
                    self._say(f"a simulator process of {self._task.name} died ({codes[-1]}); starting another")
                continue
            if isinstance(response, Exception):
                raise response
            if shape is None:
                return response
            frames = np.frombuffer(self._shared, np.uint8, count=int(np.prod(shape))).reshape(shape)
            return replace(response, frames=frames.copy())
        about = f" on rows {request.pair.start_row} to {request.pair.goal_row}" if request else " before its first step"
        raise LewmError(
            f"the simulator of {self._task.name} died {len(codes)} times in a row{about} ({', '.join(codes)}); "
            "`--workers 1` simulates in this process and shows what it says, and "
            f"`{command('doctor')}` what is installed"
        )

    def _exchange(self, request: Request | None) -> tuple[Response | Exception, tuple[int, ...] | None]:
        """Send a request; the response or a failure, and the shape of the frames that lie in shared memory, if any."""
        if self._connection is None:
            self._connection, theirs = self._context.Pipe()
            with theirs:
                arguments = (self._task, theirs, self._shared)
                process = self._context.Process(target=_simulate, args=arguments, daemon=True)
                with starting_workers():
                    process.start()
            self._process = process
            if self._closed:  # meanwhile, by one who saw no process to end
                raise EOFError
        self._connection.send(request)
        received: tuple[Response | Exception, tuple[int, ...] | None] = self._connection.recv()
        return received

    def _discard(self) -> str:
        """Give the process up; says how it ended."""
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


def _simulate(task: Task, connection: "Connection[Any, Any]", shared: Any) -> None:
    """Run requests in a worker process until it is killed."""
    behave_as_worker()
    torch.set_num_threads(1)
    simulators, memory = SimulatorSet(task), np.frombuffer(shared, np.uint8)
    while True:
        request: Request | None = connection.recv()
        try:
            if request is None:
                simulators.release(simulators.acquire(OWN_CRITERION))
            response = request.run(simulators) if request else Response(NO_FRAMES)
        except Exception as error:
            error.add_note(traceback.format_exc())
            connection.send((error, None))
            continue
        fits = response.frames.nbytes <= memory.nbytes
        if fits:
            memory[: response.frames.nbytes] = response.frames.reshape(-1)
        shape = response.frames.shape
        connection.send((replace(response, frames=NO_FRAMES), shape) if fits else (response, None))
