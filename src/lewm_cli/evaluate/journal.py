"""Finished episodes are kept while others go on, so that an interrupted evaluation can be resumed."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from lewm_cli.config import DatasetIdentity, EvalProtocol, Section
from lewm_cli.control import TimeSplit, find_objective, find_prior
from lewm_cli.data import Dataset
from lewm_cli.evaluate.eval_result import EpisodeResult
from lewm_cli.files import lock_path, locked, write_text
from lewm_cli.heads import find_anchors
from lewm_cli.provenance import installed_versions
from lewm_cli.simulate import Pair
from lewm_cli.stop import StopRequest
from lewm_cli.store import Run
from lewm_cli.system_errors import explained


class Journaled(Section):
    """Everything that an evaluation depends on: a journal of another one says nothing about it."""

    weights_sha256: str
    head_sha256: str | None = None
    """Digest of the head that plans are judged by, if one is asked."""
    prior_sha256: str | None = None
    """Digest of the behavior prior, if one is asked."""
    anchors: DatasetIdentity | None = None
    """The recording at whose frames plans aim, if they do."""
    dataset: DatasetIdentity
    protocol: EvalProtocol
    plans_by: str = "model"
    """The maker of plans: the model, or a reference."""
    rows: tuple[tuple[int, int], ...]
    """Start and goal of every pair."""
    device: str
    versions: dict[str, str]

    @classmethod
    def of(
        cls, run: Run, dataset: Dataset, pairs: list[Pair], protocol: EvalProtocol, plans_by: str = "model"
    ) -> "Journaled":
        """Describes an evaluation that is about to begin."""
        prior, name = find_prior(run, protocol.prior), protocol.planner and protocol.planner.anchors
        return cls(
            weights_sha256=run.sha256,
            head_sha256=find_objective(run, protocol.planner).head_sha256 if protocol.planner else None,
            prior_sha256=prior.sha256 if prior else None,
            anchors=find_anchors(run, name).index.dataset if name else None,
            dataset=dataset.identity,
            protocol=protocol,
            plans_by=plans_by,
            rows=tuple((pair.start_row, pair.goal_row) for pair in pairs),
            device=run.device.type,
            versions=installed_versions(),
        )


class Entry(Section):
    """One finished episode."""

    number: int
    """Number of the pair."""
    result: EpisodeResult
    seconds: float
    """Since the evaluation began, interruptions left out."""
    spent: TimeSplit


class Journal:
    """The finished episodes of one evaluation, in a file that grows by a line whenever one ends.

    The first line says what they belong to. A journal that nobody goes on from is replaced when the first episode
    has ended, not before.
    """

    def __init__(self, path: Path, about: Journaled, entries: tuple[Entry, ...]) -> None:
        self.path, self.entries = path, entries
        self._head = about.model_dump_json(by_alias=True)
        self._file: IO[str] | None = None

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, about: Journaled, *, resume: bool, say: Callable[[str], None]) -> "Iterator[Journal]":
        """The journal of an evaluation among a run's results, locked against a second process with the very same one.

        Args:
            resume: go on from the episodes that are in it.
            say: gets a remark on what was found.

        Raises:
            LewmError: another process is at it, or the folder cannot be written.
        """
        path = _path(folder, about)
        with locked(path, "another process runs this very evaluation; wait for it, or choose another --seed"):
            entries = _read(path, about)
            if entries and not resume:
                say(f"an interrupted evaluation of these pairs finished {len(entries)} of {len(about.rows)}: --resume")
            elif entries:
                say(f"resuming: {len(entries)} of {len(about.rows)} episodes are done")
            elif resume:
                say("there is no interrupted evaluation of these pairs; starting from the first")
            journal = cls(path, about, entries if resume else ())
            try:
                yield journal
            finally:
                if journal._file is not None:
                    journal._file.close()
                if not path.exists():
                    lock_path(path).unlink(missing_ok=True)

    @staticmethod
    def begun(folder: Path, about: Journaled) -> bool:
        """True if there is an interrupted evaluation to go on from."""
        return bool(_read(_path(folder, about), about))

    def add(self, entry: Entry) -> None:
        """Keep a finished episode; raises `LewmError` if the disk is full."""
        line = f"{entry.model_dump_json()}\n"
        with StopRequest():  # Ctrl-C waits, so that what is written is counted too
            if self._file is None:
                kept = (earlier.model_dump_json() for earlier in self.entries)
                write_text(self.path, "".join(f"{one}\n" for one in (self._head, *kept)) + line)
                self._file = self.path.open("a", encoding="utf-8")
            else:
                with explained(self.path):
                    self._file.write(line)
                    self._file.flush()
            self.entries = (*self.entries, entry)

    @property
    def finished(self) -> int:
        """Episodes that are kept."""
        return len(self.entries)

    @property
    def episodes(self) -> tuple[EpisodeResult, ...]:
        """The finished episodes, in the order of the pairs."""
        return tuple(entry.result for entry in sorted(self.entries, key=lambda entry: entry.number))

    def remove(self) -> None:
        """Remove the file: the result is stored, and nothing is left to go on from."""
        self.path.unlink(missing_ok=True)


def _path(folder: Path, about: Journaled) -> Path:
    digest = hashlib.sha256(about.model_dump_json(by_alias=True).encode()).hexdigest()
    return folder / f"eval-{digest[:16]}.journal"


def _read(path: Path, about: Journaled) -> tuple[Entry, ...]:
    """The entries of a journal of this evaluation, up to the first that was not written to its end."""
    try:
        # What a power cut leaves at the end need not be text.
        head, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if Journaled.model_validate_json(head) != about:
            return ()
    except (OSError, ValueError):  # it is not there, or not of this version
        return ()
    entries: dict[int, Entry] = {}
    for line in lines:
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            break
        if 0 <= entry.number < len(about.rows):
            entries[entry.number] = entry
    return tuple(entries.values())
