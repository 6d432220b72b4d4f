"""The same rollout and training step, faster: folded weights, products, recorded graphs, lower precision. Optional."""

from lewm_cli.accelerate.folded import fast_rollout
from lewm_cli.accelerate.precision import fastest_dtype
from lewm_cli.accelerate.training_products import TrainingProducts

__all__ = ["TrainingProducts", "fast_rollout", "fastest_dtype"]
