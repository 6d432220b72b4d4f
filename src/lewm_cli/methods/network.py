"""The interface of what a method trains: a world model that can be published."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Self

from torch import nn

from lewm_cli.methods.info_contract import InfoContract
from lewm_cli.methods.loss import Batch


class Network(InfoContract):
    """A world model as a run holds it; whatever objective trained it, it is planned with in the same way."""

    def __repr__(self) -> str:
        """One line; the layers are in the line of each part, as `print(model.encoder)` shows them."""
        parts = ", ".join(f"{name} {_parameters(part):,}" for name, part in self.named_children() if _parameters(part))
        sizes = f"frames of {self.config.image_size} px, latent {self.config.latent}, action blocks of {self.block_dim}"
        return f"{type(self).__name__}({self.parameter_count:,} parameters: {parts}; {sizes})"

    @property
    def parameter_count(self) -> int:
        """The number of parameters of the whole network."""
        return _parameters(self)

    @abstractmethod
    def published(self, batches: Iterable[Batch]) -> Self:
        """A copy in eval mode as it is measured and saved; the network being trained is left as it is.

        Args:
            batches: of training clips, for statistics that trail the weights.
        """


def _parameters(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
