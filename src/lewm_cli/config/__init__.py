"""Validated configuration: what a model is, how it is trained, how it is measured, what travels with weights."""

from lewm_cli.config.card import DatasetIdentity, Provenance, RunCard
from lewm_cli.config.inputs import ActionStats, Inputs, PixelStats
from lewm_cli.config.layers import Layer, merge_layers, parse_setting, read_toml
from lewm_cli.config.model import (
    ActionEncoderConfig,
    EncoderConfig,
    ModelConfig,
    PredictorConfig,
    ProjectorConfig,
)
from lewm_cli.config.planner import ObjectiveName, PlannerConfig, SolverName
from lewm_cli.config.protocol import (
    OWN_FIELDS,
    EvalProtocol,
    Expectation,
    Gate,
    Sampler,
)
from lewm_cli.config.references import ReferencesConfig
from lewm_cli.config.section import Section, nearest
from lewm_cli.config.train import (
    DataConfig,
    MonitorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)

__all__ = [
    "OWN_FIELDS",
    "ActionEncoderConfig",
    "ActionStats",
    "DataConfig",
    "DatasetIdentity",
    "EncoderConfig",
    "EvalProtocol",
    "Expectation",
    "Gate",
    "Inputs",
    "Layer",
    "ModelConfig",
    "MonitorConfig",
    "ObjectiveConfig",
    "ObjectiveName",
    "OptimizerConfig",
    "PixelStats",
    "PlannerConfig",
    "PredictorConfig",
    "ProjectorConfig",
    "Provenance",
    "ReferencesConfig",
    "RunCard",
    "Sampler",
    "ScheduleConfig",
    "Section",
    "SolverName",
    "TrainConfig",
    "merge_layers",
    "nearest",
    "parse_setting",
    "read_toml",
]
