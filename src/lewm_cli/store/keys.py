"""Parameter names of the ViT changed between transformers 4, which the released weights use, and 5, which we use."""

import re

_RELEASED = (
    (r"^encoder\.layers\.(\d+)\.", r"encoder.encoder.layer.\1."),
    (r"(layer\.\d+)\.attention\.q_proj\.", r"\1.attention.attention.query."),
    (r"(layer\.\d+)\.attention\.k_proj\.", r"\1.attention.attention.key."),
    (r"(layer\.\d+)\.attention\.v_proj\.", r"\1.attention.attention.value."),
    (r"(layer\.\d+)\.attention\.o_proj\.", r"\1.attention.output.dense."),
    (r"(layer\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(layer\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
)


def released_key(key: str) -> str:
    """Our name of a tensor to the one it has in the released weights; only names under `encoder.` differ."""
    if key.startswith("encoder."):
        for ours, theirs in _RELEASED:
            key = re.sub(ours, theirs, key)
    return key
