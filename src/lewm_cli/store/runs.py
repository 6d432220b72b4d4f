"""A run on disk: `<name>.safetensors` is the truth, what other tools want is derived from it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lewm_cli.config import RunCard
from lewm_cli.data import resize
from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path
from lewm_cli.model import LeWM, normalize_pixels
from lewm_cli.store.home import Home
from lewm_cli.store.keys import released_key
from lewm_cli.store.objects import save_object

EMBEDDED_AT_ONCE = 64
"""Frames in one pass of the encoder."""

HEADER = "lewm"
"""The metadata entry of a safetensors file that holds the run card as JSON."""


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run lie.

    Args:
        stem: path without suffix.
    """

    stem: Path

    @property
    def weights(self) -> Path:
        """Weights and card."""
        return Path(f"{self.stem}.safetensors")

    @property
    def state_dict(self) -> Path:
        """Derived: the state dict under the names of the released weights."""
        return Path(f"{self.stem}_weight.ckpt")

    @property
    def object(self) -> Path:
        """Derived: the module as a pickle, for stable_worldmodel."""
        return Path(f"{self.stem}_object.ckpt")

    @property
    def folder(self) -> Path:
        """Everything else about the run; never named like the run, for stable_worldmodel would look only inside."""
        return Path(f"{self.stem}.run")

    @property
    def resume(self) -> Path:
        """State to go on training from."""
        return self.folder / "resume.pt"

    @property
    def stopped(self) -> bool:
        """Whether training ended before its last step: what is derived is written after it."""
        return self.resume.exists() and not self.object.exists()

    @property
    def config(self) -> Path:
        """The resolved training configuration."""
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        """One JSON object per event."""
        return self.folder / "log.jsonl"

    @property
    def results(self) -> Path:
        """Measurements, one JSON file each."""
        return self.folder / "results"


@dataclass(frozen=True)
class Run:
    """A trained model with everything needed to use it.

    Args:
        name: as typed on the command line.
        files: where it lies.
        model: in eval mode.
        card: sizes, normalization and provenance.
        tensors: how many were loaded, all of them by name and shape.
        sha256: of the weight file.
    """

    name: str
    files: RunFiles
    model: LeWM
    card: RunCard
    tensors: int
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def embed(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Latents (N, D), on the run's device, of frames (N, H, W, 3) uint8 of any square size."""
        small = torch.from_numpy(np.ascontiguousarray(resize(frames, self.card.model.image_size)))
        parts = []
        for start in range(0, len(small), EMBEDDED_AT_ONCE):
            part = small[start : start + EMBEDDED_AT_ONCE].to(self.device)
            parts.append(self.model.embed(normalize_pixels(part, self.card.inputs.pixels).unsqueeze(1))[:, 0])
        return self.finite(torch.cat(parts))

    def finite(self, computed: Tensor) -> Tensor:
        """What the model computed, if it is numbers.

        Raises:
            LewmError: some are not finite.
        """
        if not computed.isfinite().all():
            raise LewmError(
                f"{self.name} computes numbers that are not finite: its weights are damaged, or its training diverged; "
                f"train it again: lewm train {self.card.inputs.task} --name {self.name} --overwrite"
            )
        return computed

    def untrained(self, seed: int) -> "Run":
        """The same run with a model of the same sizes that has learned nothing."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            fresh = LeWM(self.card.model, self.card.inputs.block_dim)
        return replace(self, model=fresh.to(self.device).eval())


def save_run(files: RunFiles, model: LeWM, card: RunCard) -> None:
    """Write weights and card into one file, in one step.

    Raises:
        LewmError: the disk is full or the folder cannot be written; the earlier file, if any, is as it was.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic_path(files.weights) as part:
        try:
            save_file(state, part, metadata={"format": "pt", HEADER: card.model_dump_json(by_alias=True)})
        except SafetensorError as error:
            # It wraps what the system says into a text of its own.
            raise OSError(f"{error}") from error


def save_derived(files: RunFiles, model: LeWM) -> None:
    """Write `<name>_weight.ckpt` and `<name>_object.ckpt` for tools that know only these."""
    save_state_dict(model, files.state_dict)
    save_object(model, files.object)


def save_state_dict(model: LeWM, path: Path) -> None:
    """Write a state dict under the names of the released weights."""
    state = {released_key(key): value.detach().cpu() for key, value in model.state_dict().items()}
    with atomic_path(path) as part, part.open("wb") as file:
        torch.save(state, file)


def read_card(path: Path) -> RunCard:
    """The card in the header of a weight file; reads no tensors.

    Raises:
        LewmError: it is no safetensors file, or has no card.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return RunCard.model_validate_json((file.metadata() or {})[HEADER])
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    except (KeyError, ValidationError) as error:
        raise LewmError(
            f"{path} carries no usable lewm header, so its sizes and normalization are unknown; "
            "it was not written by this version of lewm"
        ) from error


def read_tensors(path: Path, model: LeWM) -> dict[str, Tensor]:
    """The tensors of a weight file, which are exactly the model's, by name and shape.

    Args:
        path: the weight file.
        model: what they are for; it may be on the device "meta".

    Raises:
        LewmError: the file is damaged, or tensors are missing, extra or of another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dictionary)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    expected = model.state_dict()
    wrong = sorted(
        key
        for key in state.keys() | expected.keys()
        if key not in state or key not in expected or state[key].shape != expected[key].shape
    )
    if wrong:
        raise LewmError(
            f"{path}: {len(wrong)} of {len(expected)} tensors are missing, extra or of another shape, "
            f"first {wrong[0]!r}: the file does not belong to its own header; train or fetch it again"
        )
    return state


def weights_digest(path: Path) -> str:
    """The sha256 of a weight file, by which stored measurements name it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_run(home: Home, name: str, device: torch.device | str = "cpu") -> Run:
    """Find a run by name and load it strictly.

    Args:
        home: where to look.
        name: run name, `pusht/lewm`.
        device: where the model goes.

    Raises:
        UsageError: the name has a suffix.
        LewmError: there is no such run, or its tensors are not exactly the model's.
    """
    files = RunFiles(home.run_stem(name))
    if not files.weights.exists():
        raise home.missing_run(name)
    card = read_card(files.weights)
    model = LeWM(card.model, card.inputs.block_dim)
    state = read_tensors(files.weights, model)
    model.load_state_dict(state, strict=True)
    return Run(name, files, model.to(device).eval(), card, tensors=len(state), sha256=weights_digest(files.weights))


def load(run_name: str, cache_dir: str | Path | None = None, device: str = "cpu") -> Run:
    """Load a trained run by name.

    Args:
        run_name: path under the home without suffix, `tworoom/lewm`.
        cache_dir: a home to search first; the usual ones otherwise.
        device: where the model goes.

    Returns:
        the run: `model` (eval mode), `card.inputs` (normalization), `card` (configuration and provenance).

    Raises:
        LewmError: there is no such run, or it cannot be loaded strictly.
    """
    return load_run(Home.locate(Path(cache_dir) if cache_dir else None), run_name, device)


def AutoCostModel(run_name: str, cache_dir: str | Path | None = None) -> LeWM:  # noqa: N802  (its name elsewhere)
    """The model of a run in eval mode, as stable_worldmodel's solvers and policies take it.

    Args:
        run_name: path under the home without suffix, `tworoom/lewm`.
        cache_dir: a home to search first; the usual ones otherwise.

    Returns:
        a module with `encode`, `predict`, `rollout`, `criterion` and `get_cost`.

    Raises:
        LewmError: there is no such run, or it cannot be loaded strictly.
    """
    return load(run_name, cache_dir).model


def _damaged(path: Path, error: Exception) -> LewmError:
    return LewmError(f"{path} is damaged or not a safetensors file ({error}); train or fetch it again")
