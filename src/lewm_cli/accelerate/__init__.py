"""The same rollout, faster: folded weights, packed products, recorded graphs, lower precision. Optional."""

from lewm_cli.accelerate.folded import fast_rollout
from lewm_cli.accelerate.precision import fastest_dtype

__all__ = ["fast_rollout", "fastest_dtype"]
