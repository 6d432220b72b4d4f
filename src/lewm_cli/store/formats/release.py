"""Telling the released architecture by its 303 shapes; no other can be told so, for shapes do not show head counts."""

from lewm_cli.config import ModelConfig
from lewm_cli.store.formats.refusals import RefusalError
from lewm_cli.store.formats.state import Named, check

ACTIONS = "action_encoder.patch_embed.weight"


def recognize_release(named: Named) -> tuple[ModelConfig, int]:
    """The released configuration and the width of an action block, if every tensor has its shape.

    Raises:
        RefusalError: some tensor has not.
    """
    model = ModelConfig()
    actions = named.entries.get(ACTIONS)
    block_dim = actions.shape[1] if actions is not None and len(actions.shape) == 3 else 1
    try:
        check(named, model, block_dim)
    except RefusalError as error:
        raise RefusalError(
            f"{error}, so it is not the released architecture, and for another one encoder heads, predictor heads, "
            "head width and dropout cannot be read from shapes; put its config.json beside the weights, or "
            "name it: --config FILE"
        ) from error
    return model, block_dim
