"""The server that every test of fetching asks."""

from hub_server import hub

__all__ = ["hub"]
