"""Prediction alone: the control, whose latents collapse to what is trivial to predict."""

from typing import ClassVar

from lewm_cli.methods.latent_prediction import LatentPrediction


class Prediction(LatentPrediction):
    """Prediction of the next latent and nothing else."""

    name: ClassVar[str] = "prediction"
    summary: ClassVar[str] = "Nothing keeps the latents apart: the control, which collapses."
    source: ClassVar[str] = "the control of LeWorldModel and of SMWM"
