"""Record demonstrations of a task into the home."""

from lewm_cli.data import Dataset, open_dataset, record
from lewm_cli.errors import LewmError, TakenError, UsageError
from lewm_cli.flows import Progress
from lewm_cli.stop import StopRequest
from lewm_cli.store import Home
from lewm_cli.suggestion import command, offer
from lewm_cli.tasks import TASKS, find_task


def collect(
    home: Home,
    task_name: str,
    *,
    episodes: int,
    seed: int,
    workers: int,
    progress: Progress,
    name: str | None = None,
    policy: str | None = None,
    any_start: bool = False,
    vary_color: bool = False,
) -> Dataset:
    """Record, and open what was recorded; arguments as of `record`, and the next free `<task>/demos` without a name.

    Args:
        policy: that acts; the task's usual one if not given.

    Raises:
        UsageError: the name is that of a released dataset, or the task has no such policy.
        LewmError: no such task, it has no simulator, the name is taken, or the disk is full.
        StoppedError: Ctrl-C or SIGTERM; nothing is left behind.
    """
    task = find_task(task_name)
    if task is None or task.make_simulator is None:
        there = offer(task_name, (task.name for task in TASKS), command("presets"))
        raise LewmError(f"there is no task {task_name!r} with a simulator to record from; {there}")
    policy = policy or next(iter(task.demonstrators))
    if policy not in task.demonstrators:
        there = offer(policy, task.demonstrators, command("collect", "--help"))
        raise UsageError(f"{task.name} has no policy {policy!r}; {there}")
    if name and home.new_dataset_path(name) and home.dataset_file(name):
        raise LewmError(f"the dataset {name!r} exists and recordings are never overwritten; choose another --name")
    workers = min(workers, episodes)
    with progress("recording", episodes, "episodes") as advance, StopRequest() as stop:

        def advance_or_stop(done: int) -> None:
            # Not by an exception out of the signal handler: one that hits a weakref callback is swallowed.
            advance(done)
            stop.check()

        for free in [name] if name else home.free_names(f"{task.name}/demos", "dataset"):
            path = home.dataset_path(free)
            try:
                record(
                    task,
                    path,
                    episodes=episodes,
                    seed=seed,
                    workers=workers,
                    policy=policy,
                    any_start=any_start,
                    vary_color=vary_color,
                    advance=advance_or_stop,
                    waiting=stop.check,
                )
            except TakenError:
                if name:
                    raise
                continue  # by another job that began at the same time
            break
    return open_dataset(path, free)
