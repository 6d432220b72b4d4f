"""What things are called on the page."""

from lewm_cli.surprise import PerturbationResult
from lewm_cli.tasks import find_task


def what_happens(result: PerturbationResult) -> str:
    """A perturbation as a clause, in the words of its task: the agent jumps to a random free place."""
    task = find_task(result.task)
    known = {one.name: one.title for one in task.perturbations} if task else {}
    return known.get(result.perturbation, f"a {result.perturbation}")
