"""Weights of `lewm` after 50 steps are those that it gave when it was the only method.

`lewm_weights.json` was made by the same command with the last code before there were methods. On the machine where it
was made all weights were equal bit for bit. Other processors round otherwise: with older vector instructions (AVX2,
SSE) the numbers below differed by 2e-5 at most. 0.6 % more lambda moves them by 3.5e-4.
"""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from commands import lewm_here

pytest_plugins = ("recordings",)

FILE = Path(__file__).with_name("lewm_weights.json")

WITHOUT_GRADIENT = (
    "encoder.layernorm.bias",
    "k_proj.bias",
    "pred_proj.net.0.bias",
    "projector.net.0.bias",
    "predictor.transformer.norm.bias",
    "running_mean",
    "num_batches_tracked",
)
"""Biases that a BatchNorm or a softmax takes away again: Adam makes steps of what rounding leaves of their gradient."""


@pytest.mark.slow
def test_weights_after_50_steps_are_those_of_before_there_were_methods(robot: Path, tiny: Path):
    done = lewm_here(robot, "train", "robot/pick", "--config", tiny, "--steps", 50)
    assert done.code == 0, done.err
    weights = {
        key: [value.norm().item(), *value.flatten()[:3].tolist()]
        for key, value in load_file(robot / "robot" / "lewm.safetensors").items()
        if not key.endswith(WITHOUT_GRADIENT)
    }
    before = json.loads(FILE.read_text(encoding="utf-8"))
    assert weights.keys() == before.keys()
    for key, numbers in before.items():
        assert weights[key] == pytest.approx(numbers, rel=0, abs=1e-4), key
