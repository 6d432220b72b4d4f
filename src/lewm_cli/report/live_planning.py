"""A page in which a run plans, in a few words: what it weighs, and what to do with it."""

from pathlib import Path

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.demo import LiveModel
from lewm_cli.report.pieces import Tree
from lewm_cli.suggestion import command

LARGE = 25e6
"""Bytes of a page that takes a while to open."""

THREADS = "with several threads, where this machine has more than two cores"


def served_tables(model: LiveModel, address: str) -> list[RenderableType]:
    """Lines on what is served, what to do with it, and where it is."""
    here = "and its simulator runs here" if model.served else THREADS
    return [f"{model.run} plans in a page until Ctrl-C, {here}", _play(model), f"demo: {address}"]


def demo_tables(model: LiveModel, path: Path) -> list[RenderableType]:
    """A line on what the page is, and lines on what to do next."""
    size = path.stat().st_size
    serve = command("demo", model.run, "--serve")
    return [
        f"{model.run} in a page of {decimal(size)}, which needs no network and can be given to anybody",
        _play(model),
        f"{'so large a file takes a while to open; rather' if size > LARGE else THREADS}: {serve}",
    ]


def demo_tree(model: LiveModel, **place: object) -> Tree:
    """The same for programs, with where the page is."""
    return {
        **place,
        "run": model.run,
        "task": model.task,
        "planner": model.planner.model_dump(mode="json", exclude_none=True),
    }


def _play(model: LiveModel) -> str:
    return "in it: press play" if model.served else "in it: click where it should go, and press play"
