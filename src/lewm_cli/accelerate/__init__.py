"""The same rollout, faster: folded weights, packed products, recorded graphs, lower precision. Optional."""

from lewm_cli.accelerate.fast_rollout import FastRollout
from lewm_cli.accelerate.precision import fastest_dtype

__all__ = ["FastRollout", "fastest_dtype"]
