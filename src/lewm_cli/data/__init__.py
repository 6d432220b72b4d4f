"""Recordings on disk, clips cut from them, frames at the model's size, and recording itself."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.data.clips import Clip, ClipBatches, Split, split_clips
    from lewm_cli.data.dataset import DATASET_SUFFIXES, Dataset, names_recording
    from lewm_cli.data.frames import (
        DecodedFrames,
        Frames,
        Image,
        checked_frame,
        find_packed,
        open_frames,
        pack_frames,
        packed_paths,
        read_image,
        resize,
    )
    from lewm_cli.data.hdf5_dataset import HDF5Dataset, open_dataset
    from lewm_cli.data.recording import record
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "DATASET_SUFFIXES",
    "Clip",
    "ClipBatches",
    "Dataset",
    "DecodedFrames",
    "Frames",
    "HDF5Dataset",
    "Image",
    "Split",
    "checked_frame",
    "find_packed",
    "names_recording",
    "open_dataset",
    "open_frames",
    "pack_frames",
    "packed_paths",
    "read_image",
    "record",
    "resize",
    "split_clips",
]
