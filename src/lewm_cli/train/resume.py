"""The state that lets training go on bit for bit: weights, optimizer, random generators, step."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn, optim

from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path


@dataclass(frozen=True)
class ResumeState:
    """The state of a training run, saved to and loaded from one file."""

    model: nn.Module
    optimizer: optim.Optimizer

    def save(self, path: Path, step: int) -> None:
        """Replace the state on disk in one step; where the disk is full, LewmError leaves the earlier one as it was."""
        # Through a Python file: torch's own does not say that the disk is full.
        with atomic_path(path) as part, part.open("wb") as file:
            torch.save(
                {
                    "step": step,
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "rng": torch.get_rng_state(),
                    "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                    "mps_rng": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
                },
                file,
            )

    def load(self, path: Path, device: torch.device) -> int:
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
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if device.type == "cuda" and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        if device.type == "mps" and state["mps_rng"] is not None:
            torch.mps.set_rng_state(state["mps_rng"])
        step: int = state["step"]
        return step
