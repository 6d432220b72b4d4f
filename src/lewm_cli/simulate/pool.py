"""Many simulators in few processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Protocol

import torch

from lewm_cli.errors import LewmError
from lewm_cli.simulate.requests import OWN_CRITERION, Request, Response, SimulatorSet
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task
from lewm_cli.workers import Answer, Worker, WorkerDiedError

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
        self._processes = [_Process(task, say) for _ in range(workers)]

    def submit(self, number: int, request: Request) -> "Future[Response]":
        """Have a request run by the process that `number` belongs to."""
        return self._processes[number % self.workers].submit(request)

    def wait(self) -> None:
        """Wait until every process has built a simulator."""
        gather([process.submit(None) for process in self._processes])

    def close(self) -> None:
        """End all processes at once; there is nothing that they would have to finish."""
        for process in self._processes:
            process.kill()
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


class _Process:
    """One process, and the thread that talks to it."""

    def __init__(self, task: Task, say: Callable[[str], None]) -> None:
        self._task, self._say = task, say
        self._worker: Worker | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1)

    def submit(self, request: Request | None) -> "Future[Response]":
        """Have a request run; None starts the process and waits for its first simulator."""
        return self._thread.submit(self._run, request)

    def kill(self) -> None:
        """End the process; the thread ends when it notices."""
        self._closed = True
        if worker := self._worker:
            worker.process.kill()

    def close(self) -> None:
        """Wait for the end of the process and the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._worker:
            self._worker.close()

    def _run(self, request: Request | None) -> Response:
        deaths = list[str]()
        while len(deaths) < LIVES and not self._closed:
            try:
                return self._exchange(request)
            except WorkerDiedError as death:
                deaths.append(str(death))
                self._worker = None
                if not self._closed:
                    self._say(f"a simulator process of {self._task.name} {death}; starting another")
        how = " and ".join(dict.fromkeys(deaths))
        about = f" on rows {request.pair.start_row} to {request.pair.goal_row}" if request else " before its first step"
        raise LewmError(
            f"the simulator of {self._task.name} died {len(deaths)} times in a row{about}: it {how}; "
            "`--workers 1` simulates in this process and shows what it says, and "
            f"`{command('doctor')}` what is installed"
        )

    def _exchange(self, request: Request | None) -> Response:
        if self._worker is None:
            self._worker = Worker(partial(_simulator, self._task), how="spawn")
        if self._closed:  # meanwhile, by one who saw no process to end
            self._worker.process.kill()
        self._worker.ask(request)
        response: Response = self._worker.answer()
        return response


def _simulator(task: Task) -> Answer:
    """Make, in a worker, the function that runs requests."""
    torch.set_num_threads(1)
    simulators = SimulatorSet(task)

    def run(request: Request | None) -> Response:
        if request:
            return request.run(simulators)
        simulators.release(simulators.acquire(OWN_CRITERION))
        return Response()

    return run
