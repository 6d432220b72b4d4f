"""Every figure of the page as an inline SVG."""

from lewm_cli.report.page.figures.comparison import draw_comparison
from lewm_cli.report.page.figures.latent import draw_latent_map
from lewm_cli.report.page.figures.probe_scatter import draw_probes
from lewm_cli.report.page.figures.style import Drawing, house_style, level_colors
from lewm_cli.report.page.figures.success import draw_planning
from lewm_cli.report.page.figures.surprise_curves import SHOWN_EPISODES, draw_perturbation, draw_surprise
from lewm_cli.report.page.figures.training_curves import draw_training

__all__ = [
    "SHOWN_EPISODES",
    "Drawing",
    "draw_comparison",
    "draw_latent_map",
    "draw_perturbation",
    "draw_planning",
    "draw_probes",
    "draw_surprise",
    "draw_training",
    "house_style",
    "level_colors",
]
