"""Do the derived files of a run hold what the weights hold?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from lewm_cli.errors import LewmError
from lewm_cli.methods import RunCard
from lewm_cli.store import RunFiles
from lewm_cli.store.derived import read_object, read_state_dict
from lewm_cli.verify.check import Problem


def derived_findings(files: RunFiles, card: RunCard, state: dict[str, Tensor], again: str) -> Iterator[Problem | Path]:
    """Compare both derived files with the weights.

    Args:
        files: of the run.
        card: of the run.
        state: tensors of the weight file.
        again: the command that writes them again.

    Yields:
        the path of every file that agrees, a problem for every one that does not.
    """
    others: list[dict[str, Tensor]] = []
    there = [path for path in (files.state_dict, files.object) if path.exists()]
    if len(there) < 2 and not files.stopped:  # the end of training writes both
        missing = " and ".join(path.name for path in (files.state_dict, files.object) if path not in there)
        yield Problem(f"missing, for other tools: {missing}", again)
    for path in there:
        try:
            derived = read_object(files, card) if path == files.object else read_state_dict(files, card)
        except LewmError as error:
            yield Problem(str(error), again)
            continue
        differing = unequal(state, derived)
        if not differing:
            yield path
            continue
        others.append(derived)
        says = f"{path.name} holds other weights: {len(differing)} of {len(state)} tensors, first {differing[0]!r}"
        yield Problem(says, again)
    if len(others) == 2 and not unequal(*others):
        says = f"both derived files agree with each other, so {files.weights.name} itself may have been damaged"
        yield Problem(says, "put it back from a copy, or train it again")


def unequal(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same bit for bit, or are in one of them only."""
    return sorted(key for key in state.keys() | other.keys() if not _same(state.get(key), other.get(key)))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    # Bits, because NaN does not equal itself.
    return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))
