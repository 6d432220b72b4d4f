"""Films of planning, played in a browser: one HTML file that loads nothing."""

from lewm_cli.report.viewer.viewer import Viewed, player, player_style, render_view, templates

__all__ = ["Viewed", "player", "player_style", "render_view", "templates"]
