"""A run on disk: `<name>.safetensors` is the truth, what other tools want is derived from it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lewm_cli.data import Dataset, require_proprio, resize
from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.methods import RunCard
from lewm_cli.model import Network, WorldModel, normalize_pixels
from lewm_cli.plural import counted
from lewm_cli.store.formats import shard_files
from lewm_cli.store.header import damaged
from lewm_cli.store.run_files import HEADER, RunFiles
from lewm_cli.suggestion import command

EMBEDDED_AT_ONCE = 64
"""Frames in one pass of the encoder."""


@dataclass(frozen=True, repr=False)
class LoadedWeights:
    """A model with everything that its files say about it.

    Args:
        name: of the run; not what was typed, if that was an alias.
        model: in eval mode.
        method: that trained it, as far as is known.
        card: sizes, normalization and provenance; None if another tool made it.
        tensors: how many were loaded, all of them by name and shape.
        sha256: of the weight file.
        source: what the file was, if another tool made it.
    """

    name: str
    files: RunFiles
    model: Network
    method: str
    card: RunCard | None
    tensors: int
    sha256: str
    source: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([repr(self.name), *self.facts])})"

    @property
    def facts(self) -> list[str]:
        """A few words on what it is: task, size, and what it was trained on."""
        facts = [f"method {self.method}", f"{self.model.parameter_count:,} parameters"]
        latent = self.model.config.latent_dim
        facts.append("a policy" if latent is None else f"latent {latent:,}")
        if self.card is None:
            return [*facts, "normalization not known"]
        made = self.card.provenance
        trained = f"trained on {made.dataset.name} for {made.step:,} steps" if made else "trained elsewhere"
        return [f"task {self.card.inputs.task}", *facts, trained]

    @property
    def world_model(self) -> WorldModel:
        """The model, if it is one that imagines; else see `require_world_model`."""
        return self.require_world_model()

    def require_world_model(self, instead: str = "") -> WorldModel:
        """Returns the model, if it is one that imagines.

        Args:
            instead: a clause that says what to do with a policy; to measure its success if not given.

        Raises:
            LewmError: it is a policy.
        """
        if not isinstance(self.model, WorldModel):
            instead = instead or f"only its success can be measured: {command('eval', self.name)}"
            raise LewmError(f"{self.name} is a policy ({self.method}): it acts and imagines nothing, so {instead}")
        return self.model

    @property
    def origin(self) -> str:
        """The number of tensors and their file: "303/303 tensors from FILE (state dict ...)"."""
        said = f"{self.tensors}/{self.tensors} tensors from {self.files.weights}"
        return f"{said} ({self.source})" if self.source else said


@dataclass(frozen=True, repr=False)
class Run(LoadedWeights):
    """A trained model with everything needed to use it: its normalization is known.

    Args:
        card: as it carries it; of weights that another tool made, with what was computed for them.
        notes: where notes on it are written, if that is not beside it.
    """

    card: RunCard
    notes: RunFiles | None = None

    @property
    def places(self) -> tuple[RunFiles, ...]:
        """The places where notes on it may lie; first the one where they are written."""
        return (self.notes or self.files, self.files)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device

    def use_threads(self) -> None:
        """Compute with the CPU threads of its training, where they were chosen: more would wait for each other."""
        if self.card.threads:
            torch.set_num_threads(self.card.threads)

    def prepare(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Frames (N, H, W, 3) uint8 of any square size as the model takes them: (N, 3, h, w), on the run's device."""
        small = torch.from_numpy(np.ascontiguousarray(resize(frames, self.card.model.image_size)))
        return normalize_pixels(small.to(self.device), self.card.inputs.pixels)

    def prepare_proprio(self, proprio: npt.NDArray[np.floating] | None) -> Tensor | None:
        """Proprioception (..., P), environment units, as the model takes it, on the run's device; None if it does not.

        Raises:
            LewmError: the run takes it, and there is none, or other numbers of it.
        """
        taken = self.card.inputs.proprio
        if taken is None:
            return None
        if proprio is None or proprio.shape[-1] != taken.dim:
            given = "only a frame" if proprio is None else counted(proprio.shape[-1], "number")
            raise LewmError(
                f"{self.name} sees {counted(taken.dim, 'number')} of proprioception beside every frame, and here is "
                f"{given}; measure it where that is recorded or simulated: {command('eval', self.name)}"
            )
        return torch.from_numpy(taken.normalize(proprio)).to(self.device)

    @torch.inference_mode()
    def embed(self, frames: npt.NDArray[np.uint8], proprio: npt.NDArray[np.floating] | None = None) -> Tensor:
        """Latents (N, D), on the run's device, of frames (N, H, W, 3) uint8 of any square size.

        Args:
            proprio: (N, P) beside them, environment units; it counts for a run that takes it.

        Raises:
            LewmError: the run takes proprioception, and there is none.
        """
        beside, parts = self.prepare_proprio(proprio), []
        for start in range(0, len(frames), EMBEDDED_AT_ONCE):
            part = slice(start, start + EMBEDDED_AT_ONCE)
            own = None if beside is None else beside[part].unsqueeze(1)
            parts.append(self.world_model.embed(self.prepare(frames[part]).unsqueeze(1), own)[:, 0])
        return self.finite(torch.cat(parts))

    def recorded_proprio(self, dataset: Dataset) -> npt.NDArray[np.floating] | None:
        """Proprioception (N, P) of all rows of a recording, if the run takes it.

        Raises:
            LewmError: it takes it, and it is not recorded.
        """
        taken = self.card.inputs.proprio
        if taken is None:
            return None
        return require_proprio(dataset, taken.dim, self.name, "name another recording")

    def finite(self, computed: Tensor) -> Tensor:
        """Returns a tensor that the model computed, if every number is finite; else raises LewmError."""
        if not computed.isfinite().all():
            raise LewmError(
                f"{self.name} computes numbers that are not finite: its weights are damaged, or its training diverged; "
                "train or fetch it again"
            )
        return computed

    def untrained(self, seed: int) -> "Run":
        """The same run with random weights, except for what is never trained: a frozen encoder."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            fresh = self.card.new_model()
        frozen = {name for name, weights in fresh.named_parameters() if not weights.requires_grad}
        kept = {name: value for name, value in self.model.state_dict().items() if name in frozen}
        fresh.load_state_dict(kept, strict=False)
        return replace(self, model=fresh.to(self.device).eval())


def save_run(files: RunFiles, model: Network, card: RunCard) -> None:
    """Write weights and card where they belong; see `save_weights`."""
    save_weights(files.weights, model, card)


def save_weights(path: Path, model: Network, card: RunCard) -> None:
    """Write weights and card into one file, as `write_tensors` does."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_tensors(path, state, card.model_dump_json(by_alias=True))


def write_tensors(path: Path, tensors: dict[str, Tensor], header: str) -> None:
    """Write a safetensors file whose header is JSON, in one step.

    Raises:
        LewmError: the disk is full or the folder cannot be written; the earlier file, if any, is as it was.
    """
    with atomic_path(path) as part:
        try:
            save_file(tensors, part, metadata={"format": "pt", HEADER: header})
        except SafetensorError as error:
            raise OSError(f"{error}") from error  # it wraps what the system says into a text of its own


def read_tensors(path: Path, model: Network) -> dict[str, Tensor]:
    """The tensors of a weight file, exactly those of the model (which may be on the device "meta") by name and shape.

    Raises:
        LewmError: the file is damaged, or tensors are missing, extra or of another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dictionary)
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
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


def load_head(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Reads the header of a head, JSON, and its tensors by name; raises OSError, SafetensorError or KeyError."""
    with safe_open(path, framework="pt") as file:
        header: str = (file.metadata() or {})[HEADER]
        return header, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dictionary)


def write_head(run: Run, kind: str, tensors: dict[str, Tensor], header: str, *, again: str) -> Path:
    """Writes a head, its header JSON, in one step and under the run's lock; returns the file.

    Raises:
        LewmError: another process writes the run, its weights have changed since it was loaded (it is fitted anew with
            the command `again`), the disk is full, or the folder cannot be written.
    """
    path, guard = run.places[0].head(kind), (run.notes or run.files).weights
    with locked(guard, f"another process is writing {run.name!r}; wait for its end, and fit the head again"):
        if not run.files.weights.exists() or weights_digest(run.files.weights) != run.sha256:
            raise LewmError(
                f"the weights of {run.name} have changed while its head was fitted, so it is of no use; fit another: "
                f"{again}"
            )
        remove_stale_parts(path)
        write_tensors(path, tensors, header)
    return path


def weights_digest(path: Path) -> str:
    """The sha256 of a weight file, or of the shards that an index names, by which stored measurements name it."""
    digest = hashlib.sha256()
    for part in shard_files(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
