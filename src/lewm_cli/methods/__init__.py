"""Methods: what is trained, one module each, and the configuration and the metadata that name one of them."""

from lewm_cli.methods.card import Provenance, RunCard
from lewm_cli.methods.lewm import LeWM
from lewm_cli.methods.method import Batch, Loss, Method
from lewm_cli.methods.table import DEFAULT, METHODS
from lewm_cli.methods.train_config import TrainConfig

__all__ = [
    "DEFAULT",
    "METHODS",
    "Batch",
    "LeWM",
    "Loss",
    "Method",
    "Provenance",
    "RunCard",
    "TrainConfig",
]
