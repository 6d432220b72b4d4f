"""Methods by what they train."""

from lewm_cli.methods import METHODS
from lewm_cli.methods.latent_prediction import LatentPrediction

AROUND_LEWM = tuple(name for name, method in METHODS.items() if issubclass(method, LatentPrediction))
"""The methods that train LeWorldModel's network, each with an objective of its own."""
