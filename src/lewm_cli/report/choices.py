"""Methods, presets and protocols: what `lewm methods` and `lewm presets` print."""

from dataclasses import asdict, dataclass
from typing import Any

import tomli_w
from pydantic_core import to_jsonable_python
from rich.console import RenderableType

from lewm_cli.config import EvalProtocol
from lewm_cli.methods import Objective, TrainConfig
from lewm_cli.methods.latent_prediction import LatentPrediction
from lewm_cli.report.numbers import setting
from lewm_cli.report.pieces import Tree, framed_table
from lewm_cli.train import Preset


@dataclass(frozen=True)
class ObjectiveSetting:
    """A setting of a method: its key, as `--set` takes it, its default and its meaning."""

    key: str
    default: Any
    meaning: str


def method_tables(methods: list[type[Objective]]) -> list[RenderableType]:
    """One line per method, and one per addition that all around LeWorldModel's network take."""
    table = framed_table("methods", "name", "what it does", "lambda", "source", fold=(1, 2, 3))
    for method in methods:
        weights = (one for one in _settings(method) if one.key == "objective.lambda")
        shown = next((f"{setting(one.default)}: {one.meaning}" for one in weights), "none")
        table.add_row(method.name, method.summary, shown, method.source)
    taking = ", ".join(method.name for method in methods if issubclass(method, LatentPrediction))
    added = framed_table(f"additions to {taking}, for --set", "setting", "meaning", fold=(1,))
    for one in _settings(LatentPrediction):
        added.add_row(one.key, one.meaning)
    return [
        table,
        added,
        "`lewm train TASK --method NAME` trains one; `lewm presets TASK/PRESET --method NAME` prints all its settings",
    ]


def method_tree(methods: list[type[Objective]]) -> Tree:
    """The same for programs, with every setting of every method."""
    added = _settings(LatentPrediction)
    return to_jsonable_python(
        {
            "methods": [
                {
                    "name": method.name,
                    "summary": method.summary,
                    "source": method.source,
                    "settings": [asdict(one) for one in _settings(method) if one not in added],
                }
                for method in methods
            ],
            "additions": [asdict(one) for one in added],
        }
    )


def _settings(method: type[Objective]) -> list[ObjectiveSetting]:
    return [
        ObjectiveSetting(f"objective.{field.alias or name}", field.default, field.description or "")
        for name, field in method.model_fields.items()
    ]


def preset_tables(presets: list[Preset]) -> list[RenderableType]:
    """One line per preset: the settings that decide its size and its time."""
    table = framed_table("presets", "name", "frames", "latent", "blocks", "batch", "until", "method", fold=())
    for preset in presets:
        config = preset.config()
        model, optimizer = config.model, config.optimizer
        table.add_row(
            str(preset),
            f"{model.image_size} px",
            "" if model.latent_dim is None else f"{model.latent_dim:,}",
            model.blocks,
            str(optimizer.batch_size),
            config.schedule.stop,
            config.method,
        )
    return [table, "`lewm presets NAME` prints one in full, ready for --config"]


def preset_text(config: TrainConfig) -> str:
    """The whole configuration as TOML."""
    return tomli_w.dumps(config.model_dump(by_alias=True, exclude_none=True)).rstrip()


def protocol_tables(protocols: list[tuple[str, EvalProtocol]]) -> list[RenderableType]:
    """One line per protocol of a task: what it is for."""
    table = framed_table("protocols", "name", "purpose")
    for task, protocol in protocols:
        table.add_row(f"{task}/{protocol.name}", protocol.purpose)
    return [table, "`lewm eval RUN --protocol NAME` measures by one of them"]
