"""Filmed planning, ready to be drawn by the template: candidates of every stored iteration, then the episode."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from lewm_cli.config import PlannerConfig
from lewm_cli.diagnose import PlanFilm
from lewm_cli.tasks import find_task

RAMP, REACH = "viridis", (1.0, 0.56)
"""A color map that grows lighter for every eye, and its part that reads on the darkened frame, cheapest first."""

MARGIN, LEAST_CROP = 0.06, 0.5
"""Margin and least side of a panel, as shares of the frame's side."""


@dataclass(frozen=True)
class Line:
    """The way that a candidate leads, as points of an SVG polyline; elites are those that the planner keeps."""

    points: str
    color: str
    elite: bool


def ramp(stops: int = 7) -> list[str]:
    """Colors from cheap to expensive, for the scale beside the films."""
    return [to_hex(colormaps[RAMP](position)) for position in np.linspace(*REACH, stops)]


def goal_radius(task: str) -> float | None:
    """Pixels from the goal within which it counts as reached; None where something else decides."""
    known = find_task(task)
    return known.goal_radius if known else None


def verdict(film: PlanFilm, budget: int) -> str:
    """Says whether the goal was reached, and when."""
    if not film.success:
        return f"goal not reached within {budget} steps"
    if film.first_hit is None:
        return "goal reached"
    return f"goal reached after {film.first_hit} step{'' if film.first_hit == 1 else 's'}"


def crop(film: PlanFilm, radius: float | None) -> tuple[float, float, float]:
    """Left, top and side of the smallest square that holds everything drawn, and half of the frame's side or more."""
    size, goal = film.frame_size, np.array(film.goal_position)
    paths = [path for candidates in film.candidates for path in candidates.paths]
    drawn = np.array([goal, *(point for path in (film.plan, film.path, *paths) for point in path)])
    drawn = np.concatenate([drawn, [goal - (radius or 0), goal + (radius or 0)]]).clip(0, size)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    side = min(float(size), max(MARGIN * size * 2 + float((high - low).max()), LEAST_CROP * size))
    left, top = np.clip((low + high) / 2 - side / 2, 0, size - side).round(1).tolist()
    return left, top, round(side, 1)


def shots(film: PlanFilm) -> list[tuple[str, str]]:
    """Pairs of a label and a frame, the goal last."""
    reached = film.first_hit if film.success else None
    labels = [f"step {step}, reached" if step == reached else f"step {step}" for step in film.steps]
    return [*zip(labels, film.frames, strict=True), ("goal", film.goal)]


def panels(film: PlanFilm, planner: PlannerConfig) -> list[tuple[int, list[Line]]]:
    """Stored iterations, each with its candidates: cheap ones last, so that they show."""
    # By rank over all iterations: costs span decades, and what matters is that they fall.
    order = np.sort([cost for candidates in film.candidates for cost in candidates.costs])
    drawn = []
    for candidates in film.candidates if len(order) else ():
        # Those that are stored are evenly spaced by rank among all.
        places = np.linspace(0, planner.candidates - 1, len(candidates.costs)).astype(int)
        kept = planner.elites or 0 if candidates.iteration <= planner.iterations else 0  # then cem-gd descends
        lines = []
        for cost, path, place in sorted(zip(candidates.costs, candidates.paths, places, strict=True), reverse=True):
            rank = float(np.searchsorted(order, cost)) / max(1, len(order) - 1)
            color = to_hex(colormaps[RAMP](REACH[0] + rank * (REACH[1] - REACH[0])))
            lines.append(Line(points(path), color, elite=bool(place < kept)))
        drawn.append((candidates.iteration, lines))
    return drawn


def points(path: tuple[tuple[float, float], ...]) -> str:
    """Points of an SVG polyline."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
