"""Films on a page, in a few words: which runs, which pairs, and what became of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from lewm_cli.report.pieces import plain_table

if TYPE_CHECKING:  # late: the templates
    from lewm_cli.report.viewer.viewer import Viewed


def view_tables(sides: "Sequence[Viewed]") -> list[RenderableType]:
    """A line per pair: where it is recorded, and when each run reached the goal."""
    table = plain_table("pair", "episode", "rows", *(side.name for side in sides), title="filmed pairs", fold=(3, 4))
    for films in zip(*(side.films.films for side in sides), strict=True):
        one = films[0]
        reached = (f"step {film.first_hit}" if film.success else "not reached" for film in films)
        table.add_row(str(one.number), str(one.episode), f"{one.start_row} to {one.goal_row}", *reached)
    return [table]


def view_tree(sides: "Sequence[Viewed]", path: Path) -> dict[str, Any]:
    """The same for programs, and where the page is, with its bytes."""
    return {
        "view": str(path),
        "bytes": path.stat().st_size,
        "runs": [
            {
                "name": side.name,
                "run": side.films.run,
                "weights_sha256": side.films.weights_sha256,
                "dataset": side.films.dataset.name,
                "pairs": [
                    film.model_dump(include={"number", "episode", "start_row", "goal_row", "success", "first_hit"})
                    for film in side.films.films
                ],
            }
            for side in sides
        ],
    }
