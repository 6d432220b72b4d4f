"""A source on the disk, one file for an episode, whose frames are of any kind."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.exchange.source import Asked, RawEpisode, Source, SourceEpisode

FACTS = "toy.json"


@dataclass(frozen=True)
class ToySource(Source):
    """Reads `episode-K.npz`, whose arrays are called like the fields of a raw episode."""

    def actions(self, number: int) -> np.ndarray:
        """Actions of an episode."""
        return self._stored(number)["actions"]

    def read(self, number: int) -> RawEpisode:
        """An episode; a frame that is all 13 cannot be decoded."""
        stored = self._stored(number)
        times = {name: stored.pop(name, None) for name in ("frame_times", "action_times")}
        frames, actions = stored.pop("frames"), stored.pop("actions")
        return RawEpisode(self._decoded(number, frames), actions, **times, columns=stored)

    def _decoded(self, number: int, frames: np.ndarray) -> Iterator[np.ndarray]:
        for row, frame in enumerate(frames):
            if (frame == 13).all():
                raise LewmError(f"frame {row} of {self.episodes[number].name} is damaged; copy it again")
            yield frame

    def _stored(self, number: int) -> dict[str, np.ndarray]:
        with np.load(self.files[number + 1]) as file:
            return {name: file[name] for name in file.files}


def write_toy(folder: Path, episodes: Sequence[dict[str, Any]], **facts: Any) -> Path:
    """Writes episodes, each the arrays of a raw one, and facts of the source."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, arrays in enumerate(episodes):
        np.savez(folder / f"episode-{number}.npz", **arrays)
    lengths = [len(arrays["frames"]) for arrays in episodes]
    (folder / FACTS).write_text(json.dumps({"lengths": lengths, **facts}))
    return folder


def open_toy(path: Path, name: str, asked: Asked) -> ToySource | None:
    """Opens a toy."""
    if not (path / FACTS).exists():
        return None
    facts = json.loads((path / FACTS).read_text())
    lengths = facts.pop("lengths")
    named = tuple(SourceEpisode(f"episode-{number}", length) for number, length in enumerate(lengths))
    files = (path / FACTS, *(path / f"episode-{number}.npz" for number in range(len(lengths))))
    facts = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    facts = {"kind": "toy", "camera": "front", "cameras": ("front", "wrist"), "fps": 10.0, **facts}
    return ToySource(**facts, name=name, files=files, episodes=named)
