"""Presets and protocols: what `lewm presets` prints."""

import tomli_w
from rich.console import RenderableType

from lewm_cli.config import EvalProtocol
from lewm_cli.methods import TrainConfig
from lewm_cli.report.pieces import framed_table
from lewm_cli.train import Preset


def preset_tables(presets: list[Preset]) -> list[RenderableType]:
    """One line per preset: the settings that decide its size and its time."""
    table = framed_table("presets", "name", "frames", "latent", "blocks", "batch", "lr", "until", fold=())
    for preset in presets:
        model, optimizer = preset.config.model, preset.config.optimizer
        table.add_row(
            str(preset),
            f"{model.image_size} px",
            str(model.latent),
            model.blocks,
            str(optimizer.batch_size),
            f"{optimizer.lr:g}",
            preset.config.schedule.stop,
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
