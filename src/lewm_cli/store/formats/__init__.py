"""Checkpoints of every generation of LeWM, read without running a stranger's code."""

from lewm_cli.store.formats.checkpoint import Checkpoint, read_checkpoint, read_trusted

__all__ = ["Checkpoint", "read_checkpoint", "read_trusted"]
