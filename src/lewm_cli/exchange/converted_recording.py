"""A source converted into a recording: episodes in several processes, gone on with after a kill."""

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from lewm_cli import __version__
from lewm_cli.data.frame_writer import USUAL, EncodedFrames, FrameWriter, written_frames
from lewm_cli.data.imported import RESERVED, SOURCE_EPISODES, SOURCE_ROW, Imported
from lewm_cli.errors import LewmError
from lewm_cli.exchange.converted_episode import FRAMES, SIZES, ConvertedEpisode, converter
from lewm_cli.exchange.source import Asked
from lewm_cli.exchange.source_digest import source_digest, stamps
from lewm_cli.exchange.survey import Survey
from lewm_cli.files import write_text
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.system_errors import explained
from lewm_cli.workers import Waiting, spread

LENGTH = 8
"""Bytes of the number that stands before an episode in the journal."""

APPENDED = 256
"""Frames that are in memory at once, packed."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Finished:
    """The end of an import: what was left out, and split.

    Args:
        short: episodes that were left out because no action leads from a frame to another.
        frames: number of frames that were left out, for they stand alone or no action is known near them.
        gaps: places at which an episode was split.
        damaged: sentences about episodes that were left out because they cannot be read.
        left_out: columns that hold no numbers, or that not every episode has.
    """

    short: int
    frames: int
    gaps: int
    damaged: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """A recording that comes together in a folder of its own.

    Args:
        asked: with what the survey knows all that decides the content.
        folder: where it comes together; what an earlier import left there is gone on with.
        skip_damaged: leave out episodes that cannot be read, instead of ending there.
    """

    survey: Survey
    asked: Asked
    folder: Path
    skip_damaged: bool = False

    @property
    def path(self) -> Path:
        """The recording itself."""
        return self.folder / "recording.h5"

    def left(self, advance: Advance, waiting: Waiting, say: Callable[[str], None]) -> list[ConvertedEpisode]:
        """The episodes that an earlier import left; what it left of anything else is thrown away, and said.

        Args:
            advance: called with the number of bytes of the source that were read for its digest.
            waiting: called now and then; what it raises ends it.
        """
        with explained(self.folder):
            there, now = self._kept_about(), stamps(self.survey.source.files)
            same = there.get("options") == self._options()
            if not (same and there["stamps"] == now):
                digest = source_digest(self.survey.source.files, advance, waiting)
                same = same and there["sha256"] == digest
                if not same:
                    if self.folder.exists():
                        say(
                            "what an earlier import left is of another source or with other options, or the source "
                            "has changed since; it begins anew"
                        )
                    self.forget()
                    self.folder.mkdir(parents=True)
                about = {"options": self._options(), "stamps": now, "sha256": digest}
                write_text(self._about, json.dumps(about))
            for ending in (FRAMES, SIZES):
                for part in self.folder.glob(f"*{ending}"):
                    part.unlink()
            return list(self._kept())

    def write(self, left: list[ConvertedEpisode], workers: int, advance: Advance, waiting: Waiting) -> Finished:
        """Write the recording, except for what is left of it; ended in any way, the next call goes on from there.

        Args:
            advance: called with the number of frames decoded since the last call.
            waiting: called now and then; what it raises ends it.

        Raises:
            LewmError: an episode is damaged, the disk is full, or nothing is left to record.
        """
        with explained(self.path), written_frames(self.path) as writer:
            for episode in left:
                waiting()
                if len(episode.places) and not writer.take_over(USUAL, self.survey.framing.size, episode.places):
                    self.forget()
                    raise LewmError("what an earlier import left cannot be gone on with; type the same again")
            episodes = [*left]
            with closing(self._answered(len(left), workers, advance, waiting)) as made:
                writer.keep(self._appended(writer, made, episodes), self._journal)
            return self._finish(writer.file, episodes)

    def forget(self) -> None:
        """Throw away what has been converted so far."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _about(self) -> Path:
        return self.folder / "source.json"

    @property
    def _journal(self) -> Path:
        """Converted episodes one after the other, each behind the number of its bytes."""
        return self.folder / "episodes"

    def _options(self) -> dict[str, str]:
        """Everything but the files that decides the content and the places of packed frames."""
        return {
            "kind": self.survey.source.kind,
            "asked": repr(replace(self.asked, camera=self.survey.source.camera)),
            "pixels": repr(self.survey.pixels),
            "framing": self.survey.framing.model_dump_json(),
            "lewm": __version__,
            "hdf5": h5py.version.hdf5_version,
        }

    def _kept_about(self) -> dict[str, object]:
        """The description that an earlier import left; empty if there is none."""
        with suppress(FileNotFoundError, ValueError):
            about = json.loads(self._about.read_text(encoding="utf-8"))
            if isinstance(about, dict) and about.keys() >= {"options", "stamps", "sha256"}:
                return about
        return {}

    def _kept(self) -> Generator[ConvertedEpisode, None, None]:
        """Episodes of the journal; it is cut off behind the last whole one that can stay."""
        if not self._journal.exists():
            return
        content, whole = self._journal.read_bytes(), 0
        while len(content) >= whole + LENGTH:
            end = whole + LENGTH + int.from_bytes(content[whole : whole + LENGTH], "little")
            if end > len(content):
                break
            episode = ConvertedEpisode.unpacked(content[whole + LENGTH : end])
            if episode is None or (episode.damaged and not self.skip_damaged):
                break
            yield episode
            whole = end
        os.truncate(self._journal, whole)

    def _appended(
        self, writer: FrameWriter, made: Iterable[ConvertedEpisode], episodes: list[ConvertedEpisode]
    ) -> Iterator[tuple[bytes, int]]:
        """Append episodes, to the list too; yields each as the journal has it, and the number of its frames."""
        for episode in made:
            if episode.damaged and not self.skip_damaged:
                raise LewmError(f"{episode.damaged}; mend it, or leave such episodes out with --skip-damaged")
            episodes.append(self._moved(writer, episode))
            content = episodes[-1].packed()
            yield len(content).to_bytes(LENGTH, "little") + content, len(episode.places)

    def _moved(self, writer: FrameWriter, episode: ConvertedEpisode) -> ConvertedEpisode:
        """Move the packed frames of an episode into the recording."""
        parts = [self.folder / f"{episode.number}{ending}" for ending in (FRAMES, SIZES)]
        places = [np.empty((0, 2), np.int64)]
        if len(episode.places):
            with parts[0].open("rb") as file:
                for start in range(0, len(episode.places), APPENDED):
                    chunks = []
                    for place, size in episode.places[start : start + APPENDED].tolist():
                        file.seek(place)
                        chunks.append(file.read(size))
                    places.append(writer.append(EncodedFrames(USUAL, self.survey.framing.size, tuple(chunks))))
        for part in parts:
            part.unlink(missing_ok=True)
        return replace(episode, places=np.concatenate(places))

    def _answered(
        self, start: int, workers: int, advance: Advance, waiting: Waiting
    ) -> Generator[ConvertedEpisode, None, None]:
        """Yield the episodes from a number on in order, converted in this process or, by many workers, in theirs."""
        numbers = range(start, len(self.survey.source.episodes))
        make = partial(converter, self.survey, self.folder)
        done = told = 0

        def look() -> None:
            nonlocal told
            waiting()
            under_way = sum(part.stat().st_size for part in self.folder.glob(f"*{SIZES}")) // 8
            if done + under_way > told:
                advance(done + under_way - told)
                told = done + under_way

        instead = "the same command goes on from there, with --workers 1 in less memory"
        made = spread(make, numbers, workers, look, "converts episodes", instead, here=partial(make, look))
        with closing(made):
            for episode in made:
                yield episode
                done += episode.decoded
                look()

    def _finish(self, file: h5py.File, episodes: list[ConvertedEpisode]) -> Finished:
        """Write everything but the frames."""
        filled = [episode for episode in episodes if len(episode.lengths)]
        damaged = tuple(episode.damaged for episode in episodes if episode.damaged)
        if not filled:
            self.forget()
            raise LewmError(
                f"{self.survey.source.name} holds no episode of two frames or more"
                + (f", and {len(damaged):,} are damaged, first {damaged[0]}" if damaged else "")
            )
        lengths = np.concatenate([episode.lengths for episode in filled])
        names = dict.fromkeys(name for episode in filled for name in episode.columns)
        columns = {name.replace("/", "."): _column(name, filled) for name in names}
        left_out = [
            name for name, values in columns.items() if values is None or (name in RESERVED and name != "action")
        ]
        for name in left_out:
            del columns[name]
        columns["ep_idx"] = np.repeat(np.arange(len(lengths)), lengths)
        columns["step_idx"] = np.concatenate([np.arange(length) for length in lengths])
        columns[SOURCE_ROW] = np.concatenate([episode.source_rows for episode in filled])
        columns["ep_len"], columns["ep_offset"] = lengths, np.cumsum(lengths) - lengths
        for name, values in columns.items():
            file[name] = values
        named = [self.survey.source.episodes[episode.number].name for episode in filled for _ in episode.lengths]
        file[SOURCE_EPISODES] = np.array(named, h5py.string_dtype())
        rates = [episode.rate for episode in filled if np.isfinite(episode.rate)]
        if fps := self.survey.source.fps or (float(np.median(rates)) if rates else None):
            file.attrs["fps"] = fps
        if self.survey.source.tasks:
            file.attrs["tasks"] = np.array(self.survey.source.tasks, h5py.string_dtype())
        file.attrs["versions"] = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
        about = self._kept_about()
        if about.get("stamps") != stamps(self.survey.source.files):
            self.forget()
            raise LewmError(f"{self.survey.source.name} has changed while it was imported; type the same again")
        Imported(
            kind=self.survey.source.kind,
            source=self.survey.source.name,
            sha256=str(about["sha256"]),
            files=len(self.survey.source.files),
            camera=self.survey.source.camera,
            action_names=self.survey.source.action_names,
            framing=self.survey.framing,
            command=command_line(),
        ).write(file)
        return Finished(
            sum(not episode.damaged and not len(episode.lengths) for episode in episodes),
            sum(episode.decoded for episode in filled) - int(lengths.sum()),
            len(lengths) - len(filled),
            damaged,
            tuple(left_out),
        )


def _column(name: str, episodes: list[ConvertedEpisode]) -> np.ndarray | None:
    """A column of all episodes; None if one has none, they differ in shape, or it holds no numbers."""
    found = [episode.columns.get(name) for episode in episodes]
    parts = [part for part in found if part is not None]
    alike = len(parts) == len(found) and len({part.shape[1:] for part in parts}) == 1
    if not alike or any(part.dtype.kind not in "biuf" for part in parts):
        return None
    return np.concatenate(parts)
