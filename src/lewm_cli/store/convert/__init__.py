"""A run in the formats of other tools."""

from lewm_cli.store.convert.write import FOLDERS, Conversion, Names, Target, write_as

__all__ = ["FOLDERS", "Conversion", "Names", "Target", "write_as"]
