"""Checkpoints of every generation of LeWM, PLDM and DINO-WM, read without running a stranger's code."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.store.formats.checkpoint import Checkpoint, read_checkpoint, read_trusted
    from lewm_cli.store.formats.config_json import config_tree
    from lewm_cli.store.formats.model_spec import ModelSpec
    from lewm_cli.store.formats.refused import ChoiceError, ForeignError, MistakenError
    from lewm_cli.store.formats.shards import INDEX, shard_files
else:
    __getattr__ = lazy_names(__name__)
