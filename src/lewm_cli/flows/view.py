"""The page on which films of an evaluation are looked at, one run alone or two side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.diagnose import FilmResult, PlanFilm
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows.compare import EVALUATIONS
from lewm_cli.flows.named_result import NamedKind, numbered
from lewm_cli.flows.results import result_paths, results_folders
from lewm_cli.plural import counted
from lewm_cli.report import Viewed, render_view
from lewm_cli.store import FoundRun, Home, Say, read_card, silent
from lewm_cli.suggestion import command

FILMS = NamedKind("films", FilmResult, "film", "films can be viewed", ("eval", "RUN", "--record", "4"))

EVERY = ("--manifest", "pairs.json", "--record", "50")
"""Options with which two runs are filmed on the same pairs, whatever each of them solves."""


@dataclass(frozen=True)
class ViewPage:
    """A page that was drawn, and its file."""

    sides: tuple[Viewed, ...]
    path: Path


def write_view(home: Home, typed: Sequence[str], output: Path | None, say: Say) -> ViewPage:
    """Draw the page of films, at `<run>.run/view.html` of the first run if no file is given.

    Args:
        typed: one or two paths of stored films, whose page lies beside them, or names of runs, of which the newest
            films are taken.

    Raises:
        UsageError: the page would be named like a file of films.
        LewmError: there are no films, they are of other weights, or two have no pair in common; or the page cannot be
            written.
    """
    if output and output.suffix == ".json":
        raise UsageError(f"{output} ends in .json, as files of films do, and the page is HTML; name it page.html")
    path = output or _place(home, typed[0])
    try_writing(path)
    films = [FILMS.read(Path(one)) if one.endswith(".json") else _newest(home, one, say) for one in typed]
    names = [one.run for one in films]
    solvers = [one.protocol.planning.solver for one in films]
    if len(set(names)) < len(names) and len(set(solvers)) == len(solvers):
        names = [f"{name}, {solver}" for name, solver in zip(names, solvers, strict=True)]
    sides = tuple(map(Viewed, numbered(names), films))
    if len(sides) == 2:
        sides = _on_the_same_pairs(*sides, say)
    write_text(path, render_view(sides))
    return ViewPage(sides, path)


def _place(home: Home, typed: str) -> Path:
    if typed.endswith(".json"):
        return Path(typed).with_suffix(".html")
    run = home.find_run(typed)
    return results_folders(home, run.name, run.files)[-1].parent / "view.html"


def _newest(home: Home, name: str, say: Say) -> FilmResult:
    """The newest films of a run's present weights."""
    run = home.find_run(name)
    found = FILMS.newest(home, run, say)
    if found is None:
        raise LewmError(_why_there_are_none(home, run))
    return found[1]


def _why_there_are_none(home: Home, run: FoundRun) -> str:
    """Says why a run has no films, and what makes some."""
    folders = results_folders(home, run.name, run.files)
    if run.own and read_card(run.files.weights).model.latent_dim is None:
        videos = command("eval", run.name, "--video", "videos")
        return f"{run.name} is a policy, which makes no plans to look at; see what it does in videos: {videos}"
    if not result_paths(folders, ["eval"]):
        first = command("eval", run.name)
        return f"{run.name} was never evaluated, so there are no plans to look at; start with: {first}"
    last = EVALUATIONS.newest(home, run, silent)
    again = command("eval", run.name, *(("--dataset", last[1].dataset.name) if last else ()), "--record", 4)
    if result_paths(folders, [FILMS.word]):
        return f"no films of {run.name} are of the weights it has now; make new ones: {again}"
    return f"{run.name} was evaluated without keeping plans; evaluate it once more: {again}"


def _on_the_same_pairs(one: Viewed, other: Viewed, say: Say) -> tuple[Viewed, ...]:
    """Both with the films of pairs that both have; raises LewmError if there is none."""
    sides, recordings = (one, other), [side.films.dataset for side in (one, other)]
    shared = set(map(_pair, one.films.films)) & set(map(_pair, other.films.films))
    counts = [len(side.films.films) for side in sides]
    if recordings[0].fingerprint != recordings[1].fingerprint:
        shared, why = set(), f"the recordings differ ({recordings[0].name} and {recordings[1].name})"
    else:
        why = f"{counts[0]} and {counts[1]} pairs, none of them shared"
    all_of_them = command("eval", "RUN", "--dataset", recordings[0].name, *EVERY)
    if not shared:
        raise LewmError(
            f"{one.name} and {other.name} were not filmed on the same pairs: {why}; film both with: {all_of_them}"
        )
    if counts != [len(shared)] * 2:
        both = f"{counted(len(shared), 'pair')} in both, of {counts[0]} and {counts[1]}"
        say(f"{both}; to see more, film both with: {all_of_them}")
    found = []
    for side in sides:
        films = {_pair(film): film for film in side.films.films}
        kept = tuple(films[pair] for pair in sorted(shared))
        found.append(Viewed(side.name, side.films.model_copy(update={"films": kept})))
    return tuple(found)


def _pair(film: PlanFilm) -> tuple[int, int]:
    return film.start_row, film.goal_row
