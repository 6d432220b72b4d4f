"""The fast rollout of an AdaLN predictor between an action encoder and a projector; equal to the plain one."""

import math

import torch
from torch import Tensor

from lewm_cli.accelerate.folded import Folded
from lewm_cli.accelerate.graphed import GraphedCallable
from lewm_cli.model import ActionEncoder, Predictor, Projector

AT_ONCE = {"cpu": 512, "cuda": 16384, "mps": 4096}
"""Sequences imagined together, by device: bounds the memory; on a CPU, what one product leaves is in the cache."""


class FastRollout:
    """Imagines part by part, with folded weights, and as recorded graphs where the device records.

    It keeps to the weights as they are now, and can be differentiated with respect to its inputs.

    Args:
        predictor: of latents.
        action_encoder: embeds action blocks.
        projector: makes latents of the predictor's output.
        dtype: of matrix products.
        history: steps that are looked back at, at most as many as the predictor has learned; all of them if not given.
    """

    def __init__(
        self,
        predictor: Predictor,
        action_encoder: ActionEncoder,
        projector: Projector,
        dtype: torch.dtype = torch.float32,
        history: int | None = None,
    ) -> None:
        # What is made in inference mode could not be part of a gradient.
        with torch.inference_mode(False), torch.no_grad():
            self._imagine = GraphedCallable(Folded(predictor, action_encoder, projector, dtype, history))

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and action blocks (N, T, block_dim) to latents (N, T + 1, D)."""
        parts = math.ceil(len(emb) / AT_ONCE[emb.device.type]) or 1
        pairs = zip(emb.tensor_split(parts), blocks.tensor_split(parts), strict=True)
        return torch.cat([self._imagine(*pair) for pair in pairs])
