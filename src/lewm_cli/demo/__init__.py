"""A run that plans in a page: what the page is given, and the simulators that it can drive from a server."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.demo.live_episode import LiveEpisode
    from lewm_cli.demo.live_model import LatentAxes, LiveModel, fits_a_page, tworoom_frames
    from lewm_cli.demo.server import serve, try_port
    from lewm_cli.store.onnx_export import ModelParts, export_parts
else:
    __getattr__ = lazy_names(__name__)
