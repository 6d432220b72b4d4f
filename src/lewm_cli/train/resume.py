"""The state that lets training go on bit for bit: weights, optimizer, random generators, step."""

import pickle
from pathlib import Path

import torch

from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path
from lewm_cli.train.learner import Learner


def save_state(path: Path, learner: Learner, step: int) -> None:
    """Replace the state on disk in one step.

    Raises:
        LewmError: the disk is full; the earlier state is as it was.
    """
    state = {
        "step": step,
        "model": learner.model.state_dict(),
        "heads": learner.heads.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps_rng": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }
    # Through a Python file: torch's own does not say that the disk is full.
    with atomic_path(path) as part, part.open("wb") as file:
        torch.save(state, file)


def load_state(path: Path, learner: Learner) -> int:
    """Restore the state; returns the steps taken so far.

    Raises:
        LewmError: there is no state, or it is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise LewmError(
            f"there is no state to resume at {path}; start again with --overwrite or another --name"
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise LewmError(f"the resume state {path} is damaged; start again with --overwrite") from error
    learner.model.load_state_dict(state["model"])
    learner.heads.load_state_dict(state.get("heads", {}))  # of a run that began when no objective had any
    learner.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if learner.device.type == "cuda" and state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    if learner.device.type == "mps" and state["mps_rng"] is not None:
        torch.mps.set_rng_state(state["mps_rng"])
    return int(state["step"])
