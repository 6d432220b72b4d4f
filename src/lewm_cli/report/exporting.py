"""Shows what `lewm export` has written."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.plural import counted
from lewm_cli.report.pieces import Tree
from lewm_cli.suggestion import few

if TYPE_CHECKING:
    from lewm_cli.exchange.lerobot_writer import Exported


def export_tables(exported: "Exported") -> list[RenderableType]:
    """The folder, what is in it, and how near its frames are to the recorded ones."""
    near = "the frames are those of the recording" if exported.psnr is None else f"PSNR {exported.psnr:.1f} dB"
    size = f"{counted(exported.files, 'file')}, {decimal(exported.bytes)}"
    lines = [
        f"{exported.dataset}: {counted(exported.episodes, 'episode')}, {counted(exported.frames, 'frame')}, "
        f"{exported.fps:g} per second",
        f"  {exported.path}",
        f"  {size}; {near}",
        f"  features: {', '.join(exported.features)}",
        f"  {'task' if len(exported.tasks) == 1 else 'tasks'}: {few(exported.tasks)}",
    ]
    return [*lines, *([f"  not written: {', '.join(exported.left_out)}"] if exported.left_out else [])]


def export_tree(exported: "Exported") -> Tree:
    """The same for programs."""
    return asdict(exported)
