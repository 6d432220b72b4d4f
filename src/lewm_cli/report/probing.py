"""Probes and fitted heads as tables."""

from rich.console import RenderableType

from lewm_cli.heads import HeadFit
from lewm_cli.probe import FEATURES, Feature, ProbeResult
from lewm_cli.report.pieces import plain_table

TITLES: dict[Feature, str] = {
    "model": "model",
    "untrained": "untrained",
    "pixels": "pixel PCA",
    "shuffled": "shuffled",
}
"""The name of each kind of features, in tables and on pages."""


def probe_tables(result: ProbeResult) -> list[RenderableType]:
    """One row per quantity and kind of features; R2 with its interval."""
    seen = "episodes never trained on" if result.held_out else "EPISODES THE MODEL MAY HAVE BEEN TRAINED ON"
    headings = ("quantity", "probe", "features", "MSE", "r", "R2")
    table = plain_table(*headings, title=f"{result.run} on {result.dataset.name}, {seen}")
    for target in result.targets:
        for probe, scores in (("linear", target.linear), ("MLP", target.mlp)):
            for feature in FEATURES:
                score, first = scores[feature], feature == FEATURES[0]
                table.add_row(
                    ", ".join(filter(None, (target.name, target.unit))) if first and probe == "linear" else "",
                    probe if first else "",
                    TITLES[feature],
                    f"{score.mse:.3f}",
                    f"{score.r:.3f}",
                    str(score),
                    end_section=feature == FEATURES[-1] and probe == "MLP",
                )
    given = "\nThis run is given proprioception, so an R2 of that is handed back, not learned."
    return [
        table,
        f"{result.train_frames:,} frames of {len(result.train_episodes)} episodes to fit, {result.test_frames:,} of "
        f"{len(result.test_episodes)} others to test. MSE of z-scored\n"
        "quantities; 95 % intervals over test episodes. Untrained: the same model before\n"
        "training; pixel PCA: as many principal components as the latent has dimensions." + given * result.proprio,
    ]


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
