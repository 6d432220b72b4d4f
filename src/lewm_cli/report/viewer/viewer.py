"""Puts the viewer together: films as JSON, and the player that shows them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lewm_cli.diagnose.film_result import FilmResult
from lewm_cli.report.numbers import setting
from lewm_cli.tasks import find_task

FOLDER = Path(__file__).parent
PAGE_STYLE = FOLDER.parent / "page" / "page.css"

SHOWN = {"frame_size", "latent_maps", "films"}
"""Fields of the films that the player reads."""


@dataclass(frozen=True)
class Viewed:
    """One side of the viewer: a run by its name, and films of an evaluation of it."""

    name: str
    films: FilmResult

    @property
    def goal_radius(self) -> float | None:
        """Pixels from the goal within which it counts as reached; None where something else decides."""
        known = find_task(self.films.task)
        return known.goal_radius if known else None


def render_view(sides: Sequence[Viewed]) -> str:
    """The page of the viewer: one HTML file that loads nothing, the same bytes for the same films.

    Args:
        sides: one, or two whose films are of the same pairs in the same order.
    """
    style = Markup(PAGE_STYLE.read_text(encoding="utf-8")) + player_style()
    template = templates(FOLDER).get_template("viewer.html.j2")
    return template.render(sides=sides, style=style, player=player(sides, alone=True))


def player(sides: Sequence[Viewed], *, alone: bool = False) -> Markup:
    """The part of a page that plays films, once per page; `player_style` belongs into the head.

    Args:
        sides: one, or two whose films are of the same pairs in the same order.
        alone: there is nothing else on the page, so that all keys are the player's.
    """
    given = as_json([_given(side) for side in sides])
    script = Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("drawing.js", "viewer.js")))
    template = templates(FOLDER).get_template("player.html.j2")
    radius = sides[0].goal_radius
    maps = [one.method for one in min((side.films.latent_maps for side in sides), key=len)]
    return Markup(template.render(sides=sides, radius=radius, maps=maps, alone=alone, given=given, script=script))


def player_style() -> Markup:
    """The style sheet of the player; its colors and letters are those of the page."""
    return Markup((FOLDER / "viewer.css").read_text(encoding="utf-8"))


def _given(side: Viewed) -> dict[str, Any]:
    result = side.films.model_dump(mode="json", include=SHOWN)
    return {"name": side.name, "budget": side.films.protocol.budget, "radius": side.goal_radius, "result": result}


def as_json(tree: object) -> Markup:
    """JSON that ends no script element and opens no comment, whatever its texts say."""
    text = json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def templates(folder: Path) -> Environment:
    """The templates in a folder, in which a name that is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["setting"] = setting
    return environment
