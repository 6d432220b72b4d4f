"""LeWorldModel in plain torch: a ViT that encodes frames, a predictor that imagines the next latent, two losses."""

from lewm_cli.model.device import resolve_device
from lewm_cli.model.lewm import LeWM
from lewm_cli.model.objective import Losses, Objective
from lewm_cli.model.pixels import normalize_pixels
from lewm_cli.model.precision import fastest_dtype
from lewm_cli.model.predictor import Predictor
from lewm_cli.model.profile import ComponentProfile, profile
from lewm_cli.model.recalibration import recalibrated
from lewm_cli.model.rollout import Rollout
from lewm_cli.model.sigreg import SIGReg
from lewm_cli.model.vit import VisionTransformer
from lewm_cli.model.world_model import Imaginer, WorldModel

__all__ = [
    "ComponentProfile",
    "Imaginer",
    "LeWM",
    "Losses",
    "Objective",
    "Predictor",
    "Rollout",
    "SIGReg",
    "VisionTransformer",
    "WorldModel",
    "fastest_dtype",
    "normalize_pixels",
    "profile",
    "recalibrated",
    "resolve_device",
]
