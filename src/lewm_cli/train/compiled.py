"""Encoder and predictor as compiled code: the same numbers but for rounding, with less traffic of memory."""

from torch import nn

from lewm_cli.model import FrozenEncoder, PatchPredictor, Predictor, VisionTransformer

BACKEND = "inductor"

COMPILED = VisionTransformer, Predictor, FrozenEncoder, PatchPredictor

PAYS_AFTER = 2000
"""Steps on a GPU that save more time than compiling takes."""


def compile_parts(network: nn.Module) -> None:
    """Have the parts that most is computed with compiled, each at its next call; names of weights stay as they are.

    Copies of the network are not compiled.
    """
    for part in _parts(network):
        part.compile(backend=BACKEND, dynamic=False)


def compute_as_is(network: nn.Module) -> None:
    """Call the plain parts again."""
    for part in _parts(network):
        part._compiled_call_impl = None


def _parts(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, COMPILED)]
