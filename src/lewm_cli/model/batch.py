"""A batch of clips as a network takes them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of clips as the network takes them.

    Args:
        pixels: (B, T, 3, H, W) normalized frames, T the history length plus one; or (B, T, P, width) the patch tokens
            of frames that a frozen encoder has seen before.
        blocks: (B, T, block_dim) normalized action blocks.
        proprio: (B, T, P) normalized proprioception; None for a network that does not take it.
        goals: (B, 3, H, W) normalized frames that the clips are to lead to, or (B, P, width) their tokens; None for an
            objective without goals.
        at_goal: (B, T) true where a frame is the goal to the last pixel; None without goals.
        phase: of the training that the batch is for; empty where there is one only.
    """

    pixels: Tensor
    blocks: Tensor
    proprio: Tensor | None = None
    goals: Tensor | None = None
    at_goal: Tensor | None = None
    phase: str = ""
