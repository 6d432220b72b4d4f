"""Validated configuration: sizes of networks, training, planning, protocols of measurements, normalization."""

from lewm_cli.config.camera_framing import Box, Fit, Framing
from lewm_cli.config.goals import ActorGoals, Goals, ValueGoals
from lewm_cli.config.inputs import (
    ActionBounds,
    ActionStats,
    DatasetIdentity,
    Inputs,
    PixelStats,
    ProprioStats,
    constant_dimensions,
)
from lewm_cli.config.layers import Layer, merge_layers, parse_setting, read_toml
from lewm_cli.config.logging import LOGGERS, LogConfig
from lewm_cli.config.model import (
    ActionEncoderConfig,
    BlocksConfig,
    DinoWMConfig,
    DinoWMNopropConfig,
    EncoderConfig,
    FrozenEncoderConfig,
    GoalPolicyConfig,
    ModelConfig,
    NetworkConfig,
    PatchNetworkConfig,
    PatchPredictorConfig,
    PredictorConfig,
    ProjectorConfig,
    ProprioConfig,
    TransformerConfig,
    WorldModelConfig,
)
from lewm_cli.config.optimization import DataConfig, EvalConfig, MonitorConfig, OptimizerConfig, ScheduleConfig
from lewm_cli.config.planner import ObjectiveName, PlannerConfig, PriorName, SolverName
from lewm_cli.config.protocol import OWN_FIELDS, EvalProtocol, Expectation, ReferencesConfig
from lewm_cli.config.section import Section

__all__ = [
    "LOGGERS",
    "OWN_FIELDS",
    "ActionBounds",
    "ActionEncoderConfig",
    "ActionStats",
    "ActorGoals",
    "BlocksConfig",
    "Box",
    "DataConfig",
    "DatasetIdentity",
    "DinoWMConfig",
    "DinoWMNopropConfig",
    "EncoderConfig",
    "EvalConfig",
    "EvalProtocol",
    "Expectation",
    "Fit",
    "Framing",
    "FrozenEncoderConfig",
    "GoalPolicyConfig",
    "Goals",
    "Inputs",
    "Layer",
    "LogConfig",
    "ModelConfig",
    "MonitorConfig",
    "NetworkConfig",
    "ObjectiveName",
    "OptimizerConfig",
    "PatchNetworkConfig",
    "PatchPredictorConfig",
    "PixelStats",
    "PlannerConfig",
    "PredictorConfig",
    "PriorName",
    "ProjectorConfig",
    "ProprioConfig",
    "ProprioStats",
    "ReferencesConfig",
    "ScheduleConfig",
    "Section",
    "SolverName",
    "TransformerConfig",
    "ValueGoals",
    "WorldModelConfig",
    "constant_dimensions",
    "merge_layers",
    "parse_setting",
    "read_toml",
]
