"""Results as one picture: a plain SVG that any viewer shows."""

import re
import textwrap
from html import escape

from lewm_cli.evaluate import PairedComparison
from lewm_cli.latent import LatentResult
from lewm_cli.report.page.figures import draw_comparison, draw_doses, draw_perturbation, draw_surprise
from lewm_cli.report.page.latent_figures import draw_latent, draw_maps
from lewm_cli.report.page.style import Drawing, house_style, level_colors, light_colors
from lewm_cli.surprise import DoseResult, PerturbationResult, SurpriseResult

WIDTH, TITLE, GAP = 600, 36, 24
"""Pixels: of a drawing, above it for a title of one line, and around it."""

LETTERS, LINE = 76, 18
"""Of a title that have room in a line, and pixels from one line to the next."""


def result_svg(result: SurpriseResult | PerturbationResult | DoseResult | LatentResult) -> str:
    """Draw surprise along episodes, around an event or by the size of a change; or a latent space and its maps."""
    with house_style():
        match result:
            case SurpriseResult():
                return plain_svg(draw_surprise(result))
            case PerturbationResult():
                return plain_svg(draw_perturbation(result, "event"))
            case DoseResult():
                return plain_svg(draw_doses(result))
            case LatentResult():
                return plain_svg([*draw_latent(result), *draw_maps(result)])


def comparison_svg(comparison: PairedComparison) -> str:
    """Draw the differences between evaluations of the same pairs."""
    with house_style():
        return plain_svg(draw_comparison(comparison))


def plain_svg(drawings: list[Drawing]) -> str:
    """Drawings made in the house style one below the other, in the page's light colors."""
    parts, top = [], GAP
    for drawing in drawings:
        svg = str(drawing.svg)  # no longer Markup, which would escape what is put in
        width, height = (float(side) for side in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
        high = round(WIDTH * height / width)
        for line in textwrap.wrap(drawing.title, LETTERS):
            place = f'x="{GAP}" y="{top + 14}"'
            parts.append(f'<text {place} font-size="14" font-weight="600" fill="var(--ink)">{escape(line)}</text>')
            top += LINE
        top -= LINE
        parts.append(svg.replace("<svg", f'<svg x="{GAP}" y="{top + TITLE}" width="{WIDTH}" height="{high}"', 1))
        top += TITLE + high + GAP
    size = f'width="{WIDTH + 2 * GAP}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">'
    stacked = f'{head}<rect {size} fill="var(--card)"/>{"".join(parts)}</svg>'
    light = light_colors() | {f"level-{k}": color for k, color in enumerate(level_colors(dark=False))}
    return re.sub(r"var\(--([\w-]+)\)", lambda variable: light[variable[1]], stacked)
