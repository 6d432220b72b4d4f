"""A run that plans in a page: what the page is given, and the simulators that it can drive from a server."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.demo.live_model import LatentAxes, LiveModel, tworoom_frames
    from lewm_cli.store.onnx_export import ModelParts, export_parts
else:
    __getattr__ = lazy_names(__name__)

__all__ = ["LatentAxes", "LiveModel", "ModelParts", "export_parts", "tworoom_frames"]
