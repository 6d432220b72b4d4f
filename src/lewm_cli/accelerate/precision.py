"""The choice of the precision that imagines fastest here."""

import time

import torch
from torch import Tensor

from lewm_cli.model import Imaginer, WorldModel

SEQUENCES, STEPS, ROUNDS = 64, 4, 3
"""Size and number of the trials: milliseconds for a small model, half a second for the released one."""

CLEARLY = 1.2
"""Times faster that bfloat16 must be: a near tie must not be decided by chance, or plans could not be made again."""


@torch.inference_mode()
def fastest_dtype(model: WorldModel) -> torch.dtype:
    """Returns bfloat16 if a model in eval mode imagines clearly faster with products in it, else float32."""
    # As few as one of a model whose sequences are large.
    sequences = min(SEQUENCES, model.sequences_at_once(STEPS, gradient=True) or SEQUENCES)
    emb = torch.zeros(sequences, 1, model.config.latent_dim, device=model.device)
    blocks = torch.zeros(sequences, STEPS, model.block_dim, device=model.device)
    exact, half = (_seconds(model.imaginer(dtype), emb, blocks) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if half * CLEARLY < exact else torch.float32


def _seconds(imagine: Imaginer, emb: Tensor, blocks: Tensor) -> float:
    """The least time of some rounds; the first is not counted."""
    seconds = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        imagine(emb, blocks).cpu()  # the device may still compute
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
