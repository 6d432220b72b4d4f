"""Filmed planning, ready to be drawn by the template: candidates of every stored iteration, then the episode."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from lewm_cli.diagnose import PlanFilm

RAMP = "plasma"
"""From dim to bright on the darkened frame; cheap plans are bright."""

REACH = (0.97, 0.33)
"""The part of the ramp that reads on the dark frame, cheapest first."""

MARGIN, LEAST_CROP = 0.06, 0.5
"""Margin and least side of a panel, as shares of the frame's side."""


def ramp(stops: int = 7) -> list[str]:
    """Colors from cheap to expensive, for the scale beside the films."""
    return [to_hex(colormaps[RAMP](position)) for position in np.linspace(*REACH, stops)]


def verdict(film: PlanFilm, budget: int) -> str:
    """Says whether the goal was reached, and when."""
    if not film.success:
        return f"goal not reached within {budget} steps"
    if film.first_hit is None:
        return "goal reached"
    return f"goal reached after {film.first_hit} step{'' if film.first_hit == 1 else 's'}"


def crop(film: PlanFilm) -> tuple[float, float, float]:
    """Left, top and side of the smallest square that holds everything drawn, and half of the frame's side or more."""
    size = film.frame_size
    paths = [path for candidates in film.candidates for path in candidates.paths]
    drawn = np.array([film.goal_position, *(point for path in (film.plan, film.path, *paths) for point in path)])
    drawn = drawn.clip(0, size)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    side = min(float(size), max(MARGIN * size * 2 + float((high - low).max()), LEAST_CROP * size))
    left, top = np.clip((low + high) / 2 - side / 2, 0, size - side).round(1).tolist()
    return left, top, round(side, 1)


def shots(film: PlanFilm) -> list[tuple[str, str]]:
    """Pairs of a label and a frame, the goal last."""
    reached = film.first_hit if film.success else None
    labels = [f"step {step}, reached" if step == reached else f"step {step}" for step in film.steps]
    return [*zip(labels, film.frames, strict=True), ("goal", film.goal)]


def panels(film: PlanFilm) -> list[tuple[int, list[tuple[str, str, float]]]]:
    """Stored iterations, each with points, color and opacity of its candidates: cheap ones last, so that they show."""
    # By rank over all iterations: costs span decades, and what matters is that they fall.
    order = np.sort([cost for candidates in film.candidates for cost in candidates.costs])
    drawn = []
    for candidates in film.candidates if len(order) else ():
        lines = []
        for cost, path in sorted(zip(candidates.costs, candidates.paths, strict=True), key=lambda pair: -pair[0]):
            rank = float(np.searchsorted(order, cost)) / max(1, len(order) - 1)
            color = to_hex(colormaps[RAMP](REACH[0] + rank * (REACH[1] - REACH[0])))
            lines.append((points(path), color, round(0.95 - 0.45 * rank, 2)))
        drawn.append((candidates.iteration, lines))
    return drawn


def points(path: tuple[tuple[float, float], ...]) -> str:
    """Points of an SVG polyline."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
