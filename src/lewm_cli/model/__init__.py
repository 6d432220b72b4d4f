"""LeWorldModel in plain torch: a ViT that encodes frames, a predictor that imagines the next latent, two losses."""

from lewm_cli.model.device import resolve_device
from lewm_cli.model.flops import PlanFlops
from lewm_cli.model.heads import HIDDEN, PositionHead, ReachHead, perceptron
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
    "HIDDEN",
    "ComponentProfile",
    "Imaginer",
    "LeWM",
    "Losses",
    "Objective",
    "PlanFlops",
    "PositionHead",
    "Predictor",
    "ReachHead",
    "Rollout",
    "SIGReg",
    "VisionTransformer",
    "WorldModel",
    "fastest_dtype",
    "normalize_pixels",
    "perceptron",
    "profile",
    "recalibrated",
    "resolve_device",
]
