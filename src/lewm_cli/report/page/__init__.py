"""One run as one HTML file: no network, light and dark, readable on a phone."""

from lewm_cli.report.page.page import render_page

__all__ = ["render_page"]
