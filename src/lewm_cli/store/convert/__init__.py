"""A run in the formats of other tools."""

from lewm_cli.store.convert.formats import FOLDERS, HUB_FILES, Names, Target, Written, write_as
from lewm_cli.store.convert.onnx import ONNX_FILES

__all__ = ["FOLDERS", "HUB_FILES", "ONNX_FILES", "Names", "Target", "Written", "write_as"]
