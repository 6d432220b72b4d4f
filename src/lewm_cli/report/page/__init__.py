"""One run as one HTML file: no network, light and dark, readable on a phone."""

from lewm_cli.report.page.commands import next_commands
from lewm_cli.report.page.page import render_page

__all__ = ["next_commands", "render_page"]
