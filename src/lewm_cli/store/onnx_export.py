"""Writes a run as ONNX models, one per part of it, with the normalization of what they take inside."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lewm_cli import __version__
from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_folder
from lewm_cli.model import Network, normalize_pixels
from lewm_cli.store.runs import Run

CARD = "card.json"
ONNX_FILES = (CARD, "encoder.onnx", "action_encoder.onnx", "predictor.onnx")
"""Files of an ONNX folder."""

OPSET = 18
"""The version of ONNX's operators; older runtimes than the newest know it, too."""

TOLERANCE = 1e-4
BATCHES = (1, 2, 7)
"""The most that a number from onnxruntime may differ from torch's, as a share of the largest where that is above 1, and
the sizes of a batch that are compared."""


@dataclass(frozen=True)
class Part:
    """A part of the model that becomes one file.

    Args:
        inputs: an example for every argument of the module, by name; the first axis is the batch.
        output: name of what it returns.
        timed: the second axis is time, of any length.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    output: str
    timed: bool


class Function(nn.Module):
    """A function that uses a model, as a module."""

    def __init__(self, model: Network, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor:
        """The result of the function."""
        return self.function(*inputs)


@dataclass(frozen=True)
class ModelParts:
    """The networks as ONNX files: normalization of frames and actions is inside."""

    encoder: bytes
    action_encoder: bytes
    predictor: bytes


def write_onnx(run: Run, path: Path) -> float:
    """Write a folder of ONNX models, as `export_parts` makes them.

    Returns:
        the largest difference of a number that onnxruntime computes from what torch computes.
    """
    with atomic_folder(path, replaces=ONNX_FILES) as folder:
        parts, difference = export_parts(run)
        for field in fields(parts):
            (folder / f"{field.name}.onnx").write_bytes(getattr(parts, field.name))
        (folder / CARD).write_text(card_text(run), encoding="utf-8")
    return difference


def export_parts(run: Run) -> tuple[ModelParts, float]:
    """Export the networks of a run (on the CPU), and compare them with it.

    Returns:
        the networks, and the largest difference of a number that onnxruntime computes from what torch computes; where
        numbers are larger than 1, as a share of the largest.

    Raises:
        LewmError: a package is missing, or the difference is too large.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise LewmError(
            f'onnx models are written with {error.name}, which is not installed; type: pip install "lewm-cli[onnx]"'
        ) from error

    parts = ModelParts(**{part.name: _exported(part, run) for part in _parts(run)})
    difference = max(_differences(run, parts))
    if difference > TOLERANCE:
        raise LewmError(
            f"onnxruntime computes numbers of {run.name} that differ by {difference:.1e} from torch's, and "
            f"{TOLERANCE:.0e} is the most allowed, so nothing was written; other versions may be closer: "
            "pip install --upgrade onnx onnxruntime onnxscript"
        )
    return parts, difference


def card_text(run: Run) -> str:
    """The content of card.json."""
    return run.card.model_dump_json(by_alias=True, indent=2) + "\n"


def _parts(run: Run) -> tuple[Part, ...]:
    model, inputs = run.world_model, run.card.inputs
    mean, std = torch.tensor(inputs.actions.mean), torch.tensor(inputs.actions.std)

    def latents(frames: Tensor, *beside: Tensor) -> Tensor:  # (B, S, S, 3) uint8, (B, P), as recorded, to (B, D)
        scaled = [((proprio - center) / spread).unsqueeze(1) for proprio in beside]
        return model.embed(normalize_pixels(frames, inputs.pixels).unsqueeze(1), *scaled)[:, 0]

    def action_embeddings(actions: Tensor) -> Tensor:  # (B, T, frameskip, A) in the environment's units to (B, T, D)
        return model.embed_actions(((actions - mean) / std).flatten(2))

    size = model.config.image_size
    seen = {"frames": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    if inputs.proprio:
        center, spread = torch.tensor(inputs.proprio.mean), torch.tensor(inputs.proprio.std)
        seen["proprio"] = torch.zeros(2, inputs.proprio.dim)
    actions = torch.zeros(2, 2, inputs.frameskip, inputs.actions.dim)
    # The exporter takes an axis of length 1 for one that is always so, which it is if the model sees one step only.
    window = torch.zeros(2, min(2, model.history), model.config.latent_dim)
    embedded = model.embed_actions(torch.zeros(*window.shape[:2], model.block_dim))
    steps = {"latents": window, "action_embeddings": embedded}
    return (
        Part("encoder", Function(model, latents), seen, "latents", timed=False),
        Part(
            "action_encoder", Function(model, action_embeddings), {"actions": actions}, "action_embeddings", timed=True
        ),
        Part("predictor", Function(model, model.predict), steps, "next_latents", timed=model.history > 1),
    )


def _exported(part: Part, run: Run) -> bytes:
    axes = {0: "batch", 1: "time"} if part.timed else {0: "batch"}
    with _silenced():
        program = torch.onnx.export(
            part.module.eval(),
            tuple(part.inputs.values()),
            input_names=list(part.inputs),
            output_names=[part.output],
            dynamic_shapes={"inputs": tuple(axes for _ in part.inputs)},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        exported = program.model_proto
    graph = exported.graph
    graph.name = part.name
    # What the exporter notes down for its developers: lines of source code, and where they lay on this machine.
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for key, value in (("run", run.name), ("weights_sha256", run.sha256), ("lewm_version", __version__)):
        exported.metadata_props.add(key=key, value=value)
    serialized: bytes = exported.SerializeToString(deterministic=True)
    return serialized


@torch.inference_mode()
def _differences(run: Run, parts: ModelParts) -> Iterator[float]:
    """Differences of every part at several sizes of a batch and all lengths of a window, for random input."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = 4
    encoder, action_encoder, predictor = (
        InferenceSession(getattr(parts, field.name), options, providers=["CPUExecutionProvider"])
        for field in fields(parts)
    )

    def difference(session: Any, expected: Tensor, **inputs: npt.NDArray[Any]) -> float:
        (found,), known = session.run(None, inputs), run.finite(expected).numpy()
        apart = np.nan_to_num(np.abs(found - known), nan=np.inf)  # NaN is not larger than anything
        return float(apart.max() / max(1.0, np.abs(known).max()))

    model, actions, proprio = run.world_model, run.card.inputs.actions, run.card.inputs.proprio
    size = model.config.image_size
    draw = np.random.default_rng(0)
    for batch in BATCHES:
        frames = draw.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        felt = None if proprio is None else proprio.denormalize(draw.standard_normal((batch, proprio.dim)))
        beside = {} if felt is None else {"proprio": felt}
        yield difference(encoder, run.embed(frames, felt), frames=frames, **beside)
        for steps in range(1, model.history + 1):
            normal = draw.standard_normal((batch, steps, run.card.inputs.frameskip, actions.dim))
            taken = actions.denormalize(normal)
            blocks = torch.from_numpy(actions.normalize(taken).reshape(batch, steps, -1))
            embedded = model.embed_actions(blocks)
            yield difference(action_encoder, embedded, actions=taken)
            latents = torch.from_numpy(draw.standard_normal((batch, steps, model.config.latent_dim), dtype=np.float32))
            expected = model.predict(latents, embedded)
            yield difference(predictor, expected, latents=latents.numpy(), action_embeddings=embedded.numpy())


@contextmanager
def _silenced() -> Iterator[None]:
    """Silences warnings and loggers, through which the exporter speaks to its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
