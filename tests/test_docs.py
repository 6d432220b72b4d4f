"""The documentation is right: links lead somewhere, commands parse, and no field of a result is left out."""

import inspect
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer.main

import lewm_cli
from lewm_cli.cli.main import app
from lewm_cli.config import Section
from lewm_cli.data import open_dataset
from lewm_cli.decode import DecodeResult
from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import EvalResult, ImproveResult, PairManifest
from lewm_cli.heads import DecoderFit, PriorFit, ProbeFit, ReachFit
from lewm_cli.latent import LatentResult
from lewm_cli.methods import METHODS, RunCard, TrainConfig
from lewm_cli.offline import OfflineResult
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Measurement, StoredStatistics
from lewm_cli.store.origin import Origin
from lewm_cli.surprise import Alarm, DoseResult, PerturbationResult, SurpriseResult

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands
MEASURED = (
    EvalResult,
    OfflineResult,
    FilmResult,
    ProbeResult,
    LatentResult,
    SurpriseResult,
    PerturbationResult,
    DoseResult,
    Alarm,
    DecodeResult,
    ImproveResult,
)
STORED = (*MEASURED, PairManifest, DecoderFit, PriorFit, ProbeFit, ReachFit, RunCard, StoredStatistics, Origin)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"[{text}]({target}) leads nowhere"
        if anchor:
            assert anchor in _anchors(file), f"[{text}]({target}): {file.name} has no such heading"


@every_page
def test_commands_in_code_blocks_parse(page: Path) -> None:
    for line in _code(page):
        for words in _commands(line):
            name, *arguments = [word for word in words if word != "--debug"]
            if name in ("--version", "--help", "--install-completion"):
                continue
            assert name in COMMANDS, f"{line!r}: there is no command {name!r}"
            # Parses and checks every argument, and runs nothing.
            COMMANDS[name].make_context(name, arguments)


@every_page
def test_commands_in_sentences_exist(page: Path) -> None:
    for span in re.findall(r"`(lewm [^`]*)`", _prose(page)):
        name, *arguments = span.split()[1:]
        if name.startswith("--") or name.isupper():
            continue
        assert name in COMMANDS, f"`{span}`: there is no command {name!r}"
        known = _options(name)
        unknown = [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in known]
        assert not unknown, f"`{span}`: {name} has no {unknown[0]}"


def test_architecture_names_files_that_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for name in named:
        at = ROOT if name.startswith("tests/") else ROOT / "src" / "lewm_cli"
        assert "NAME" in name or (at / name).exists(), f"{name} is named, and there is no such file"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"doctor"}))  # it has only the options that all commands have
def test_every_command_has_a_page_with_all_of_its_options(name: str) -> None:
    page = ROOT / "docs" / "commands" / f"{name}.md"
    assert page.exists(), f"{page.name} is missing"
    first_column = _first_column(page.read_text(encoding="utf-8"))
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", first_column))
    assert named == _options(name) - {"--help", "-h"}


def test_torch_of_the_constraints_is_named() -> None:
    (pinned,) = re.findall(r"^(torch==.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    assert f"(`{pinned}` is met by `{pinned.removeprefix('torch==')}+cpu`)" in page


def test_python_page_names_all_that_is_public() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in {*lewm_cli.__all__} - {"__version__"}:
        assert re.search(rf"^\| `{name}[`(]", page, re.MULTILINE), name
    measuring = _first_column(page.partition("## Measuring")[2])
    assert set(re.findall(r"`(\w+)`", measuring)) == set(inspect.signature(lewm_cli.evaluate).parameters)


def test_every_field_of_a_stored_result_is_explained() -> None:
    tables = _tables(ROOT / "docs" / "results-schema.md")
    for section in {Measurement, *_sections(*STORED)} - _sections(TrainConfig):
        fields = {field.alias or name for name, field in section.model_fields.items()}
        if section is not Measurement and issubclass(section, Measurement):
            fields -= set(Measurement.model_fields)  # they have a table of their own
        assert section.__name__ in tables, f"results-schema.md has no table for {section.__name__}"
        assert tables[section.__name__] == fields, section.__name__


def test_every_setting_is_explained() -> None:
    keys = {key for method in METHODS for key in TrainConfig.keys({"method": method})}
    assert _tables(ROOT / "docs" / "training.md")["Every setting"] == keys


def test_the_recording_that_datasets_shows_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    snippet = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    lengths = np.array([20, 25])
    frames, actions = np.zeros((45, 64, 64, 3), np.uint8), np.zeros((45, 7), np.float32)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {"frames": frames, "actions": actions, "lengths": lengths})
    dataset = open_dataset(tmp_path / "recording.h5", "recording")
    assert (dataset.episodes, dataset.rows) == (2, 45)


def _prose(page: Path) -> str:
    """A page without its code blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def _code(page: Path) -> list[str]:
    """The lines of a page's code blocks, fenced and indented ones; a continued line is one."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:sh|bash|console|text)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    without = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)$", without, flags=re.MULTILINE)
    return "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()


def _commands(line: str) -> Iterator[list[str]]:
    """The words after `lewm` in every command of a shell line; none for output and other programs."""
    if not re.match(r"\$? *(\w+=\S+ +)*(\S*bin/)?lewm ", line.strip()):
        return
    for part in re.split(r" +(?:&&|\|\||\||;) +", line.strip().removeprefix("$ ")):
        words = shlex.split(re.sub(r" [0-9&]?>.*", "", part), comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words and words[0].rpartition("/")[2] == "lewm":
            yield words[1:]


def _options(name: str) -> set[str]:
    return {option for one in COMMANDS[name].params for option in one.opts if option.startswith("-")} | {"--help", "-h"}


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tables(page: Path) -> dict[str, set[str]]:
    """The names in the first column of the tables under every heading."""
    parts = re.split(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bodies = zip(parts[1::2], parts[2::2], strict=True)
    return {heading: set(re.findall(r"`([\w.]+)`", _first_column(body))) for heading, body in bodies}


def _first_column(text: str) -> str:
    """The cells of tables that begin with a name in backticks."""
    return "\n".join(re.findall(r"^\| *(`[^|]*)\|", text, re.MULTILINE))


def _sections(*sections: type[Section]) -> set[type[Section]]:
    """These models and every model inside them."""
    found: set[type[Section]] = set()
    waiting: list[type] = list(sections)
    while waiting:
        one = waiting.pop()
        if inspect.isclass(one) and issubclass(one, Section):
            if one not in found:
                found.add(one)
                waiting += [field.annotation for field in one.model_fields.values() if field.annotation]
        else:
            waiting += typing.get_args(one)
    return found
