"""A page in which a run plans, in a few words: what it weighs, and what to do with it."""

from pathlib import Path

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.demo import LiveModel
from lewm_cli.report.pieces import Tree
from lewm_cli.suggestion import command

LARGE = 25e6
"""Bytes of a page that takes a while to open."""


PLAY = "in it: click where it should go, and press play"


def served_tables(model: LiveModel) -> list[RenderableType]:
    """A line on what is served, and what to do with it."""
    here = "steps the simulator" if model.served else "gives it several threads"
    return [f"{model.run} plans in a page, and this command {here}, until Ctrl-C", PLAY]


def demo_tables(model: LiveModel, path: Path) -> list[RenderableType]:
    """A line on what the page is, and lines on what to do next."""
    size = path.stat().st_size
    serve = command("demo", model.run, "--serve")
    return [
        f"{model.run} in a page of {decimal(size)}, which needs no network and can be given to anybody",
        PLAY,
        f"{'so large a file takes a while to open; rather' if size > LARGE else 'faster, with more threads'}: {serve}",
    ]


def demo_tree(model: LiveModel, **place: object) -> Tree:
    """The same for programs, with where the page is."""
    return {
        **place,
        "run": model.run,
        "task": model.task,
        "planner": model.planner.model_dump(mode="json", exclude_none=True),
    }
