"""Names of other tools' classes, in configurations and pickles: models by the method that trains them, and parts."""

from typing import Final

PREJEPA = "stable_worldmodel.wm.prejepa.PreJEPA"

STABLE_WORLDMODEL: Final = {
    "lewm": "stable_worldmodel.wm.lewm.LeWM",
    "pldm": "stable_worldmodel.wm.pldm.PLDM",
    "dinowm": PREJEPA,
    "dinowm_noprop": PREJEPA,
}
"""The class in which stable_worldmodel keeps what a method trains."""

TRAINED_BY: Final[dict[str, str | None]] = {
    "stable_worldmodel.wm.lewm.LeWM": "lewm",
    "stable_worldmodel.wm.lewm.lewm.LeWM": "lewm",
    "stable_worldmodel.wm.pldm.PLDM": "pldm",
    "stable_worldmodel.wm.pldm.pldm.PLDM": "pldm",
    # The authors trained LeWM and PLDM in one class.
    "jepa.JEPA": None,
    "stable_worldmodel.wm.lewm.module.JEPA": None,
}
"""Classes of the network of LeWM, and the method that each says: the tensors are the same in all of them."""

POLICIES: Final = "stable_worldmodel.wm.gcrl."
"""Where stable_worldmodel has its goal-conditioned policies."""

MODEL, PATCH_MODEL = "JEPA", "PreJEPA"
"""The kinds of models: around one latent vector, as LeWM, and around patch tokens, as DINO-WM."""

MODELS = (MODEL, PATCH_MODEL)

ALL: Final = "LeWM, PLDM or DINO-WM"
"""The models that are read, for sentences."""

_PARTS = ["Predictor", "Transformer", "ConditionalBlock", "Attention", "FeedForward", "Embedder", "MLP"]
_PATCH_PARTS = {part: part for part in ("CausalPredictor", "Transformer", "FeedForward", "Embedder")}
_PATCH_PARTS |= {"Attention": "FrameAttention"}  # with the names of LeWM's, and another mask


def home_of_parts(model: str) -> str:
    """The module in which stable_worldmodel has the parts of a model."""
    return f"{model.rpartition('.')[0]}.module"


_HOMES = ("module", *dict.fromkeys(home_of_parts(STABLE_WORLDMODEL[method]) for method in ("lewm", "pldm")))
"""Modules of parts; the code is the same in all of them, so that a model may take its parts from any."""

_PATCH_HOME = PREJEPA.rpartition(".")[0]
"""The module of everything of DINO-WM, until its model and its parts got modules of their own."""

KINDS: Final = (
    dict.fromkeys(TRAINED_BY, MODEL)
    | {f"{home}.{part}": part for home in _HOMES for part in _PARTS}
    | {f"{home}.ARPredictor": "Predictor" for home in _HOMES}  # its old name
    | dict.fromkeys(("stable_worldmodel.wm.PreJEPA", PREJEPA, f"{_PATCH_HOME}.prejepa.PreJEPA"), PATCH_MODEL)
    | {f"{home}.{part}": kind for home in (_PATCH_HOME, home_of_parts(PREJEPA)) for part, kind in _PATCH_PARTS.items()}
)
"""Full names of models and parts to the kind of each."""
