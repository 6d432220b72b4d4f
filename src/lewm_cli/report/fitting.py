"""What a fitted head can tell, as a table."""

from rich.console import RenderableType
from rich.table import Table

from lewm_cli.report.pieces import plain_table
from lewm_cli.store import ProbeFit, ReachFit


def head_tables(fit: ReachFit | ProbeFit) -> list[RenderableType]:
    """How good a head is on episodes that it was not fitted to, with its references."""
    seen = "episodes never trained on" if fit.held_out else "EPISODES THE MODEL MAY HAVE BEEN TRAINED ON"
    return [
        f"{fit.run} on {fit.dataset.name}, {seen}",
        _reach_table(fit) if isinstance(fit, ReachFit) else _probe_table(fit),
        f"Fitted to {fit.fitted_frames:,} frames of {fit.fitted_episodes:,} episodes in {fit.seconds:.0f} s,\n"
        f"tested on {fit.tested_episodes:,} others; 95 % intervals over these.{_read(fit)}",
    ]


def _reach_table(fit: ReachFit) -> Table:
    table = plain_table("distance told by", "rank correlation", f"AUROC, {fit.horizon} steps")
    for name, score in (
        ("reachability head", fit.head),
        ("shuffled labels", fit.shuffled),
        ("latent distance", fit.latent_distance),
    ):
        table.add_row(name, str(score.correlation), str(score.auroc))
    return table


def _probe_table(fit: ProbeFit) -> Table:
    table = plain_table("position", "R2")
    for position in fit.positions:
        table.add_row(f"{position.name}, {position.unit}", str(position.r2))
    return table


def _read(fit: ReachFit | ProbeFit) -> str:
    if isinstance(fit, ProbeFit):
        return "".join(f"\nLeft out: {name} {reason}." for name, reason in fit.left_out.items())
    better = fit.head.correlation.low > fit.latent_distance.correlation.high
    return (
        f"\nAUROC: of pairs up to {fit.horizon} model steps apart against others.\n"
        f"The head is {'' if better else 'NOT '}shown to tell time better than the distance of latents does."
    )
