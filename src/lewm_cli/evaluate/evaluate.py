"""Success at reaching goals, measured on recorded pairs."""

from collections.abc import Callable

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Actor
from lewm_cli.data import Dataset
from lewm_cli.evaluate.film import Film
from lewm_cli.evaluate.journal import Journal
from lewm_cli.evaluate.loop import EvaluationLoop, resume_clock
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.evaluate.result import EvalResult
from lewm_cli.simulate import InProcess, SimulatorPool
from lewm_cli.store import Run
from lewm_cli.tasks import Task


def evaluate(
    run: Run,
    task: Task,
    dataset: Dataset,
    pairs: list[Pair],
    protocol: EvalProtocol,
    actor: Actor,
    *,
    held_out: bool,
    advance: Callable[[int], None],
    film: Callable[[Film], None] | None = None,
    simulators: SimulatorPool | None = None,
    journal: Journal | None = None,
    redrawn: Redrawn | None = None,
) -> EvalResult:
    """Let an actor act from every start towards its goal, until that is reached or the budget is used up.

    What is drawn for a pair depends on the protocol's seed and the pair alone. On a CPU its outcome does, too, bit for
    bit: not on the other pairs, on how many are active, or on the processes that simulate. On an accelerator the
    others of the batch may change how a latent is rounded. After the first hit the actions are followed for a few steps
    more, to see whether the goal stays reached; nothing else of the result knows of them.

    Args:
        run: the model that is measured, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        pairs: starts and goals.
        protocol: budget, success criterion, planner and seeds.
        actor: acts; a `Planner` with the run, or another one that uses it.
        held_out: none of the episodes was trained on; stored.
        advance: told the number of environment steps done since the last call, all pairs together.
        film: takes the frames, pair by pair; every frame is rendered only if it is given.
        simulators: of the task; in this process if not given.
        journal: takes every episode as it ends; those that are in it are not done again.
        redrawn: how well recorded states were drawn again; stored.

    Raises:
        LewmError: a simulator does not take a state, or dies again and again.
    """
    pool = simulators or InProcess(task)
    pool.wait()
    begun, clock = resume_clock(journal)
    episodes = EvaluationLoop(protocol, actor, pool, clock, advance, film).play(pairs, journal, begun)
    steps = (protocol.budget if one.first_hit is None else one.first_hit for one in episodes)
    return EvalResult.summarizing(
        run,
        dataset,
        episodes,
        protocol,
        held_out=held_out,
        begun=begun,
        plans=sum(-(-taken // actor.steps) for taken in steps),
        split=clock.spent,
        workers=pool.workers,
        redrawn=redrawn,
        head_sha256=actor.head_sha256,
    )
