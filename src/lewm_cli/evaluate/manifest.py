"""Pairs stored in a file, so that every run and every planner meets exactly the same ones."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, ValidationError

from lewm_cli.config import DatasetIdentity, EvalProtocol, Section
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate.eval_result import PairsOrigin
from lewm_cli.evaluate.pairs import PairFilter, recorded_pairs, refuse_missing_states
from lewm_cli.files import write_text
from lewm_cli.simulate import Pair
from lewm_cli.system_errors import explain
from lewm_cli.tasks import Task
from lewm_cli.text_file import read_text


class ManifestPair(Section):
    """Rows of the recording."""

    episode: NonNegativeInt
    start_row: NonNegativeInt
    goal_row: NonNegativeInt


class PairManifest(Section):
    """Pairs of a recording, and the protocol that they were drawn by."""

    format: Literal[1] = 1
    task: str
    dataset: DatasetIdentity
    protocol: EvalProtocol
    pairs: tuple[ManifestPair, ...]


def write_manifest(path: Path, task: Task, dataset: Dataset, protocol: EvalProtocol, pairs: list[Pair]) -> PairsOrigin:
    """Write pairs to a file that does not exist yet.

    Raises:
        LewmError: it cannot be written.
    """
    manifest = PairManifest(
        task=task.name,
        dataset=dataset.identity,
        protocol=protocol,
        pairs=tuple(
            ManifestPair(episode=pair.episode, start_row=pair.start_row, goal_row=pair.goal_row) for pair in pairs
        ),
    )
    write_text(path, manifest.model_dump_json(indent=1) + "\n")
    return _origin(path, manifest)


def read_manifest(path: Path) -> PairManifest:
    """Read a manifest; `manifest_pairs` checks that it fits a recording.

    Raises:
        LewmError: it cannot be read, or is something else.
    """
    try:
        manifest = PairManifest.model_validate_json(read_text(path, "a manifest of pairs"))
    except OSError as error:
        raise explain(error, f"the manifest {path}", "read") from error
    except ValidationError as error:
        raise LewmError(
            f"{path} is no manifest of pairs as this version writes it; name a file that does not exist, and it will "
            "be written"
        ) from error
    if not manifest.pairs:
        raise LewmError(f"the manifest {path} holds no pairs; remove it, and it will be written again")
    if len(set(manifest.pairs)) < len(manifest.pairs):
        raise LewmError(f"the manifest {path} names a pair twice, and a pair counts once; name each once in it")
    return manifest


def manifest_pairs(
    path: Path, manifest: PairManifest, task: Task, dataset: Dataset, protocol: EvalProtocol, say: Callable[[str], None]
) -> tuple[list[Pair], PairsOrigin]:
    """Take the pairs of a manifest, which was read from `path`, from a recording.

    Raises:
        LewmError: the pairs are of another recording, task or offset, or the protocol asks for other ones.
    """
    if manifest.task != task.name or manifest.dataset.fingerprint != dataset.identity.fingerprint:
        raise LewmError(
            f"the pairs in {path} are of another recording ({manifest.dataset.name}, {manifest.dataset.episodes} "
            f"episodes, {manifest.dataset.fingerprint[:8]}) than {dataset.name} ({dataset.episodes} episodes, "
            f"{dataset.identity.fingerprint[:8]}); name that one with --dataset, or another --manifest"
        )
    if manifest.protocol.offset != protocol.offset:
        raise LewmError(
            f"the goals in {path} are {manifest.protocol.offset} steps ahead, and {protocol.offset} were asked for; "
            "name another --manifest"
        )
    rows = [(one.episode, one.start_row, one.goal_row) for one in manifest.pairs]
    if not all(_holds(dataset, *numbers, protocol.offset) for numbers in rows):
        raise LewmError(f"{path} names rows that are no pairs of {dataset.name}; write another --manifest")
    refuse_missing_states(dataset, task)
    pairs = recorded_pairs(dataset, task, rows)
    if protocol.selects:
        wanted = PairFilter(task, protocol)
        others = sum(not wanted(pair) for pair in pairs)
        if others:
            raise LewmError(
                f"protocol {protocol.name} asks for pairs {wanted}, and {others} of the {len(pairs)} in {path} are "
                "not; name another --manifest, or another --protocol"
            )
    origin = _origin(path, manifest)
    say(f"pairs: the {len(pairs)} of {path}, drawn by {origin.protocol}")
    return pairs, origin


def _holds(dataset: Dataset, episode: int, start: int, goal: int, offset: int) -> bool:
    if episode >= dataset.episodes or goal - start != offset:
        return False
    first = dataset.offsets[episode]
    return bool(first <= start and goal < first + dataset.lengths[episode])


def _origin(path: Path, manifest: PairManifest) -> PairsOrigin:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PairsOrigin(file=str(path), sha256=digest, protocol=str(manifest.protocol))
