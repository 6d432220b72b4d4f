"""Names of other tools' classes, in configurations and pickles: models by the method that trains them, and parts."""

from typing import Final

STABLE_WORLDMODEL: Final = {
    "lewm": "stable_worldmodel.wm.lewm.LeWM",
    "pldm": "stable_worldmodel.wm.pldm.PLDM",
}
"""The class in which stable_worldmodel keeps what a method trains; the network is the same in all of them."""

TRAINED_BY: Final[dict[str, str | None]] = {
    **{path: method for method, path in STABLE_WORLDMODEL.items()},
    "stable_worldmodel.wm.lewm.lewm.LeWM": "lewm",
    "stable_worldmodel.wm.pldm.pldm.PLDM": "pldm",
    # The authors trained LeWM and PLDM in one class.
    "jepa.JEPA": None,
    "stable_worldmodel.wm.lewm.module.JEPA": None,
}
"""Every model that is known, and the method that its class says."""

MODEL = "JEPA"
"""The kind of all models."""

_PARTS = ["Predictor", "Transformer", "ConditionalBlock", "Attention", "FeedForward", "Embedder", "MLP"]


def home_of_parts(model: str) -> str:
    """The module in which stable_worldmodel has the parts of a model."""
    return f"{model.rpartition('.')[0]}.module"


_HOMES = ("module", *map(home_of_parts, STABLE_WORLDMODEL.values()))
"""Modules of parts; the code is the same in all of them, so that a model may take its parts from any."""

KINDS: Final = (
    dict.fromkeys(TRAINED_BY, MODEL)
    | {f"{home}.{part}": part for home in _HOMES for part in _PARTS}
    | {f"{home}.ARPredictor": "Predictor" for home in _HOMES}  # its old name
)
"""Full names of models and parts to the kind of each."""
