"""Methods: what is trained, one module each, and the configuration and the metadata that name one of them."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.methods.card import Provenance, RunCard
    from lewm_cli.methods.lewm import LeWM
    from lewm_cli.methods.method import Batch, Loss, Method
    from lewm_cli.methods.table import DEFAULT, METHODS, ListedMethod
    from lewm_cli.methods.train_config import TrainConfig
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "DEFAULT",
    "METHODS",
    "Batch",
    "LeWM",
    "ListedMethod",
    "Loss",
    "Method",
    "Provenance",
    "RunCard",
    "TrainConfig",
]
