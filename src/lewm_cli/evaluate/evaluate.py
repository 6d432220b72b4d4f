"""Success at reaching goals by planning, measured on recorded pairs."""

from collections.abc import Callable

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset
from lewm_cli.evaluate.costs import LatentCosts
from lewm_cli.evaluate.fleet import Here, Simulators
from lewm_cli.evaluate.journal import Journal
from lewm_cli.evaluate.loop import Film, Loop, open_at_once, resumed
from lewm_cli.evaluate.objectives import find_judge
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.evaluate.result import EpisodeResult, EvalResult
from lewm_cli.plan import PerEnvironment, Solver
from lewm_cli.store import Run
from lewm_cli.tasks import Task


def evaluate(
    run: Run,
    task: Task,
    dataset: Dataset,
    pairs: list[Pair],
    protocol: EvalProtocol,
    solver: Solver,
    *,
    held_out: bool,
    advance: Callable[[int], None],
    film: Callable[[Film], None] | None = None,
    simulators: Simulators | None = None,
    journal: Journal | None = None,
    redrawn: Redrawn | None = None,
) -> EvalResult:
    """Plan from every start towards its goal, follow the plan, replan, until the budget is used up.

    What is drawn for a pair depends on the protocol's seed and the pair alone. On a CPU its outcome does, too, bit for
    bit: not on the other pairs, on how many are open, or on the processes that simulate. On an accelerator the
    others of the batch may change how a latent is rounded. After the first hit the plan is followed for a few steps
    more, to see whether the goal stays reached; nothing else of the result knows of them.

    Args:
        run: the model, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        pairs: starts and goals.
        protocol: budget, gate, planner and seeds.
        solver: finds the plans.
        held_out: whether none of the episodes was trained on; stored.
        advance: told the number of environment steps done since the last call, all pairs together.
        film: takes what the camera saw, pair by pair; frames are only rendered if given.
        simulators: of the task; in this process if not given.
        journal: takes every episode as it ends; those that are in it are not done again.
        redrawn: how well recorded states were drawn again; stored.

    Raises:
        LewmError: the planner's objective needs a head that is not there or does not fit, or a simulator does not take
            a state, or dies again and again.
    """
    judge = find_judge(run, protocol.planner)
    simulators = simulators or Here(task)
    simulators.wait()
    begun, clock = resumed(journal)
    solver = PerEnvironment(solver) if run.device.type == "cpu" else solver
    costs = LatentCosts(judge, clock)
    loop = Loop(run, protocol, solver, costs, simulators, clock, advance, open_at_once(run), film)
    ordered = loop.play(pairs, journal, begun)
    plans = sum(_plans(one, protocol, run.card.inputs.frameskip) for one in ordered)
    return EvalResult.summarizing(
        run,
        dataset,
        ordered,
        protocol,
        held_out=held_out,
        begun=begun,
        plans=plans,
        split=clock.spent,
        workers=simulators.workers,
        redrawn=redrawn,
        head_sha256=judge.head_sha256,
    )


def _plans(episode: EpisodeResult, protocol: EvalProtocol, block: int) -> int:
    """How many plans an episode took."""
    steps = protocol.budget if episode.first_hit is None else episode.first_hit
    return -(-steps // (protocol.planner.receding * block))
