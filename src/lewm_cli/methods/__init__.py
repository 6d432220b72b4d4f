"""Methods: what is trained, one module each, and the configuration and the metadata that name one of them."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.methods.card import Provenance, RunCard, Validated
    from lewm_cli.methods.info_contract import InfoContract
    from lewm_cli.methods.jepa import JEPA
    from lewm_cli.methods.loss import Embedded, Loss, Term
    from lewm_cli.methods.objective import Objective
    from lewm_cli.methods.phase import Phase
    from lewm_cli.methods.table import DEFAULT, METHODS
    from lewm_cli.methods.train_config import TrainConfig
else:
    __getattr__ = lazy_names(__name__)
