"""The parts of world models in plain torch, the interface of a model, and the plain rollout."""

from lewm_cli.model.batch import Batch
from lewm_cli.model.device import has_bf16, resolve_device
from lewm_cli.model.difference_decoder import DifferenceDecoder
from lewm_cli.model.flops import ComponentProfile, PlanFlops, prior_flops, profile, step_flops
from lewm_cli.model.frame_decoder import FrameDecoder
from lewm_cli.model.frozen_encoder import FrozenEncoder
from lewm_cli.model.goal_predictor import Critic, GoalPredictor
from lewm_cli.model.heads import HIDDEN, PositionHead, PriorHead, ReachHead, perceptron
from lewm_cli.model.network import GoalConditionedPolicy, Network
from lewm_cli.model.patch_predictor import PatchPredictor, VectorEmbedder, frame_causal_mask
from lewm_cli.model.predictor import ActionEncoder, Attention, ConditionalBlock, FeedForward, Predictor, Projector
from lewm_cli.model.products import onednn_is_faster
from lewm_cli.model.rollout import rollout
from lewm_cli.model.sigreg import SIGReg, epps_pulley
from lewm_cli.model.vit import VisionTransformer, normalize_pixels
from lewm_cli.model.world_model import Imaginer, WorldModel

__all__ = [
    "HIDDEN",
    "ActionEncoder",
    "Attention",
    "Batch",
    "ComponentProfile",
    "ConditionalBlock",
    "Critic",
    "DifferenceDecoder",
    "FeedForward",
    "FrameDecoder",
    "FrozenEncoder",
    "GoalConditionedPolicy",
    "GoalPredictor",
    "Imaginer",
    "Network",
    "PatchPredictor",
    "PlanFlops",
    "PositionHead",
    "Predictor",
    "PriorHead",
    "Projector",
    "ReachHead",
    "SIGReg",
    "VectorEmbedder",
    "VisionTransformer",
    "WorldModel",
    "epps_pulley",
    "frame_causal_mask",
    "has_bf16",
    "normalize_pixels",
    "onednn_is_faster",
    "perceptron",
    "prior_flops",
    "profile",
    "resolve_device",
    "rollout",
    "step_flops",
]
