"""Tables of a fitted head."""

from rich.console import RenderableType

from lewm_cli.heads import HeadFit
from lewm_cli.report.pieces import plain_table


def head_tables(fit: HeadFit) -> list[RenderableType]:
    """Shows how good a head is on episodes that it was not fitted to, beside its references."""
    seen = "episodes never trained on" if fit.held_out else "EPISODES THE MODEL MAY HAVE BEEN TRAINED ON"
    headings, *rows = fit.table
    table = plain_table(*headings)
    for row in rows:
        table.add_row(*row)
    tested = (
        f"Fitted to {fit.fitted_frames:,} frames of {fit.fitted_episodes:,} episodes in {fit.seconds:.0f} s,\n"
        f"tested on {fit.tested_episodes:,} others; 95 % intervals over these."
    )
    return [f"{fit.run} on {fit.dataset.name}, {seen}", table, "\n".join((tested, *fit.remarks))]
