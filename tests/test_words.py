"""First lines of docstrings are plain sentences, and no file name of the package stands for two things."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import lewm_cli

PACKAGE = Path(lewm_cli.__file__).parent

FRAGMENTS = {"What", "Whether", "How", "Where", "Why", "Which", "Of", "As"}
"""Words that a first line does not begin with: what follows is a part of a sentence only."""

ONE_COMMAND = ({"cli", "flows"},)
"""Rooms in which a file name stands for the same command."""

NOT_YET_CLEAN: set[str] = set()
"""Rooms that this test does not judge yet."""


def sources(unjudged: set[str]) -> dict[Path, str]:
    """The modules of all rooms but these, by their path in the package."""
    paths = (path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")))
    return {path: (PACKAGE / path).read_text(encoding="utf-8") for path in paths if room(path) not in unjudged}


def room(path: Path) -> str:
    """The room that a module lies in."""
    return path.parts[0] if len(path.parts) > 1 else "lewm_cli"


def fragments(path: Path, source: str) -> Iterator[str]:
    """Docstrings whose first line is no sentence, one line each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if first.partition(" ")[0].rstrip(",:.") in FRAGMENTS:
                yield f"{path}:{getattr(node, 'lineno', 1)} begins with {first!r}"


def repeated_names(paths: list[Path]) -> list[str]:
    """File names that stand twice, and not for the same command or in the folders of two tasks, one line each."""
    roles = defaultdict(set)
    for path in paths:
        where = path.parent.as_posix()
        if path.parts[0] == "tasks" and len(path.parts) > 2:
            where = "a task"
        for rooms in ONE_COMMAND:
            if where in rooms:
                where = "a command"
        roles[path.name].add(where)
    return [f"{name} in {', '.join(sorted(where))}" for name, where in roles.items() if len(where) > 1]


def test_first_lines_of_docstrings_are_sentences():
    assert [line for path, source in sources(NOT_YET_CLEAN).items() for line in fragments(path, source)] == []


def test_no_file_name_stands_twice():
    assert repeated_names([path for path in sources(NOT_YET_CLEAN) if path.name != "__init__.py"]) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""What a run asks of a solver."""',
        'class Clip:\n    """Of the run."""',
        'def span():\n    """How long a clip is.\n\n    In rows.\n    """',
        'class Clip:\n    def span(self):\n        """Where, and how far."""',
        'async def span():\n    """As above."""',
    ],
)
def test_planted_fragment_is_caught(source):
    assert len(list(fragments(Path("data/clips.py"), source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Clips of a recording."""',
        'def span():\n    """Rows that a clip covers.\n\n    What a row is, the recording says.\n    """',
        'def span():\n    """Officially the length."""',
        "def span():\n    pass",
    ],
)
def test_sentence_is_let_through(source):
    assert list(fragments(Path("data/clips.py"), source)) == []


@pytest.mark.parametrize(
    ("first", "second", "repeated"),
    [
        ("cli/train.py", "flows/train.py", False),
        ("tasks/cube/scene.py", "tasks/reacher/scene.py", False),
        ("cli/train.py", "config/train.py", True),
        ("tasks/cube/scene.py", "tasks/scene.py", True),
        ("report/page/names.py", "report/names.py", True),
    ],
)
def test_file_name_stands_twice_for_one_role_only(first, second, repeated):
    assert bool(repeated_names([Path(first), Path(second)])) is repeated
