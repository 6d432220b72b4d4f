"""Stored results as they are named on a command line: by a file, or by a run, which means its newest one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from lewm_cli.config import unreadable
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.flows.results import KINDS, result_paths, results_folders
from lewm_cli.store import FoundRun, Home, Measurement, Say, weights_digest
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text

Kind = TypeVar("Kind", bound=Measurement)


@dataclass(frozen=True)
class NamedKind(Generic[Kind]):
    """One kind of results, and what messages call it.

    Args:
        word: that its files begin with.
        what: one of them, "evaluation".
        purpose: that only they are good for, "evaluations can be compared".
        made_by: the words of the command that makes one.
    """

    word: str
    type: type[Kind]
    what: str
    purpose: str
    made_by: tuple[str, ...]

    def read(self, path: Path) -> Kind:
        """Read a file; raises LewmError if it holds anything else, MissingError if there is none."""
        try:
            content = read_text(path, f"a stored {self.what}")
        except FileNotFoundError as error:
            hint = f"stored {self.what}s lie in <run>.run/results, and the name of a run means its newest one"
            raise MissingError(f"there is no file {path}; {hint}") from error
        except OSError as error:
            raise explain(error, path, "read") from error
        try:
            return self.type.model_validate_json(content)
        except ValidationError as error:
            raise LewmError(f"{path} is {self._what_else(content, error)}; {self.advice}") from error

    @property
    def advice(self) -> str:
        """Says how to make one."""
        return f"make one with: {command(*self.made_by)}"

    def newest(self, home: Home, run: FoundRun, say: Say) -> tuple[Path, Kind] | None:
        """Find the newest of a run's present weights; `say` is told of files that are passed over."""
        digest = weights_digest(run.files.weights)
        for path in reversed(result_paths(results_folders(home, run.name, run.files), [self.word])):
            try:
                result = self.read(path)
            except LewmError as error:
                say(f"passed over: {error}")
                continue
            if result.weights_sha256 == digest:
                say(f"{run.name}: {path}")
                return path, result
        return None

    def _what_else(self, content: str, error: ValidationError) -> str:
        """Names the contents of a file that holds none."""
        for word, kind in KINDS.items():
            try:
                kind.model_validate_json(content)
            except ValidationError:
                continue
            return f"a stored {word} result, and only {self.purpose}"
        return f"no {self.what} as this version stores it ({unreadable(error)})"


def numbered(names: Sequence[str]) -> list[str]:
    """The same names, those that come several times with a number behind them."""
    total, seen, found = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return found
