"""Presets as a table, and one of them as TOML."""

import tomli_w
from rich.console import RenderableType
from rich.table import Table

from lewm_cli.methods import TrainConfig
from lewm_cli.train import Preset


def preset_tables(presets: list[Preset]) -> list[RenderableType]:
    """One line per preset: the settings that decide its size and its time."""
    table = Table(title="presets", title_justify="left")
    for heading in ("name", "frames", "latent", "blocks", "batch", "lr", "until"):
        table.add_column(heading, no_wrap=True)
    for preset in presets:
        config = preset.config
        model, schedule = config.model, config.schedule
        table.add_row(
            f"{preset.task.name}/{preset.name}",
            f"{model.image_size} px",
            str(model.latent),
            f"{model.encoder.depth} + {model.predictor.depth}",
            str(config.optimizer.batch_size),
            f"{config.optimizer.lr:g}",
            schedule.stop,
        )
    return [table, "`lewm presets NAME` prints one in full, ready for --config"]


def preset_text(config: TrainConfig) -> str:
    """The whole configuration as TOML."""
    return tomli_w.dumps(config.model_dump(by_alias=True, exclude_none=True)).rstrip()
