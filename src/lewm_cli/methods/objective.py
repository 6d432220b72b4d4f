"""The interface of a training objective: what a method minimizes, and how it is configured.

Objectives are settings, and commands that compute nothing read settings. So these modules import torch only where a
network is built or a loss computed.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from lewm_cli.config import Inputs, ModelConfig, NetworkConfig, Section
from lewm_cli.methods.phase import Phase

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Loss
    from lewm_cli.model import Batch, Network


class Objective(Section):
    """The section `objective` of a configuration, and the loss that is made of it.

    A method is one module in this folder and one entry in `table.py`. Heads that only the loss needs belong to the
    objective: they are trained with the network and kept for `--resume`, and are no part of the weights of a run.

    Attributes:
        name: of the method in configurations and run names, `method = "lewm"`.
        summary: what it does, in a sentence.
        source: where it comes from.
        Sizes: the section `model` of a configuration; a `ProprioConfig` if the network takes proprioception.
        without_proprio: name of the method that is the same without proprioception, if there is one.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    Sizes: ClassVar[type[NetworkConfig]] = ModelConfig
    without_proprio: ClassVar[str | None] = None

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> "Network":
        """Builds the network with random weights; unless a method has its own, that of LeWorldModel."""
        from lewm_cli.methods.jepa import JEPA

        assert isinstance(sizes, ModelConfig)
        return JEPA(sizes, block_dim)

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """Builds what only the loss needs, with random weights, by name."""
        return {}

    @abstractmethod
    def loss(
        self, model: "Network", heads: "nn.ModuleDict", batch: "Batch", generator: "torch.Generator | None" = None
    ) -> "Loss":
        """The loss of a batch.

        Args:
            model: that is trained, or a published copy.
            heads: as `heads` builds them.
            batch: on the device of the weights.
            generator: random numbers that the loss draws; torch's global ones if not given.
        """

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The parts of a training that minimize a loss of their own, in their order; mostly it is one."""
        return (Phase(),)

    def begin(self, model: "Network", heads: "nn.ModuleDict") -> None:
        """Called before the first step, and before a state is resumed."""

    def after_step(self, model: "Network", heads: "nn.ModuleDict", phase: Phase) -> None:
        """Called after every step, for heads that are not trained by a gradient."""

    @property
    def several_step_terms(self) -> tuple[str, ...]:
        """Terms that need more than one step in a clip, that is a history of two or more."""
        return ()

    @property
    def action_terms(self) -> tuple[str, ...]:
        """Terms that compare latents with actions: they say nothing where actions never change."""
        return ()

    @property
    @abstractmethod
    def explanation(self) -> str:
        """The loss in words, for the page of a run."""

    @property
    def collapse_advice(self) -> str:
        """A clause that says what to change when the latent space has collapsed; empty for a policy, which has none."""
        return ""
