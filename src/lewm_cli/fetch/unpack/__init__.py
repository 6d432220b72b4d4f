"""Archives become files: hostile until proven otherwise, by content and not by name."""

from lewm_cli.fetch.unpack.unpack import unpack
from lewm_cli.fetch.unpack.writer import UnpackedFile

__all__ = ["UnpackedFile", "unpack"]
