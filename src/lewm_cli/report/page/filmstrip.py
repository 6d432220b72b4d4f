"""Filmed planning: candidates of every stored iteration over the start frame, then the episode."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from lewm_cli.diagnose import FilmResult, PlanFilm

RAMP = "plasma"
"""From dim to bright on the darkened frame; cheap plans are bright."""

REACH = (0.97, 0.33)
"""The part of the ramp that reads on the dark frame, cheapest first."""


MARGIN, LEAST_CROP = 0.06, 0.5
"""Margin and least side of a panel, as shares of the frame's side."""


@dataclass(frozen=True)
class Line:
    """A path over a frame.

    Args:
        points: of an SVG polyline.
        color: hex.
        opacity: expensive plans step back.
    """

    points: str
    color: str
    opacity: float


@dataclass(frozen=True)
class CandidatePanel:
    """One iteration of the planner: its candidates, the expensive ones first so that cheap ones lie on top."""

    iteration: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class FilmView:
    """A film, ready to be drawn.

    Args:
        film: what was filmed.
        verdict: in words.
        crop: left, top and side of the part of the frame that plans reach.
        panels: the candidates, by iteration.
        plan, path: points of SVG polylines.
        costs: the cheapest and the most expensive candidate, None where none were stored.
        shots: pairs of a label and a frame, the goal last.
    """

    film: PlanFilm
    verdict: str
    crop: tuple[float, float, float]
    panels: tuple[CandidatePanel, ...]
    plan: str
    path: str
    costs: tuple[float, float] | None
    shots: tuple[tuple[str, str], ...]


def film_views(result: FilmResult) -> list[FilmView]:
    """Every film of a result."""
    return [_view(film, result.protocol.budget) for film in result.films]


def ramp(stops: int = 7) -> list[str]:
    """Colors from cheap to expensive, for the scale beside the films."""
    return [to_hex(colormaps[RAMP](position)) for position in np.linspace(*REACH, stops)]


def _view(film: PlanFilm, budget: int) -> FilmView:
    costs = [cost for candidates in film.candidates for cost in candidates.costs]
    shots = [(_moment(film, step), frame) for step, frame in zip(film.steps, film.frames, strict=True)]
    return FilmView(
        film=film,
        verdict=_verdict(film, budget),
        crop=_crop(film),
        panels=_panels(film, np.array(costs)) if costs else (),
        plan=_points(film.plan),
        path=_points(film.path),
        costs=(min(costs), max(costs)) if costs else None,
        shots=(*shots, ("goal", film.goal)),
    )


def _verdict(film: PlanFilm, budget: int) -> str:
    if not film.success:
        return f"goal not reached within {budget} steps"
    if film.first_hit is None:
        return "goal reached"
    return f"goal reached after {film.first_hit} step{'' if film.first_hit == 1 else 's'}"


def _crop(film: PlanFilm) -> tuple[float, float, float]:
    """The smallest square that holds everything drawn, with a margin; never less than half of the frame's side."""
    size = film.frame_size
    paths = [path for candidates in film.candidates for path in candidates.paths]
    drawn = np.array([film.goal_position, *(point for path in (film.plan, film.path, *paths) for point in path)])
    drawn = drawn.clip(0, size)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    side = min(float(size), max(MARGIN * size * 2 + float((high - low).max()), LEAST_CROP * size))
    left, top = np.clip((low + high) / 2 - side / 2, 0, size - side).round(1).tolist()
    return left, top, round(side, 1)


def _moment(film: PlanFilm, step: int) -> str:
    return f"step {step}, reached" if film.success and step == film.first_hit else f"step {step}"


def _panels(film: PlanFilm, costs: np.ndarray) -> tuple[CandidatePanel, ...]:
    # By rank over all iterations: costs span decades, and what matters is that they fall.
    order = np.sort(costs)
    panels = []
    for candidates in film.candidates:
        ranked = sorted(zip(candidates.costs, candidates.paths, strict=True), key=lambda pair: -pair[0])
        lines = [_line(path, float(np.searchsorted(order, cost)) / max(1, len(order) - 1)) for cost, path in ranked]
        panels.append(CandidatePanel(candidates.iteration, tuple(lines)))
    return tuple(panels)


def _line(path: tuple[tuple[float, float], ...], rank: float) -> Line:
    color = to_hex(colormaps[RAMP](REACH[0] + rank * (REACH[1] - REACH[0])))
    return Line(_points(path), color, round(0.95 - 0.45 * rank, 2))


def _points(path: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
