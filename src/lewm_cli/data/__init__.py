"""Episodes on disk, clips cut from them, recording, and the packed cache."""

from lewm_cli.data.batches import Clip, ClipBatches
from lewm_cli.data.clips import ClipIndex, Split, split_clips
from lewm_cli.data.dataset import Column, Dataset, open_dataset
from lewm_cli.data.frames import Frames, HDF5Frames, find_packed, open_frames, pack_frames, packed_paths, resize
from lewm_cli.data.images import Image, checked_frame, read_image
from lewm_cli.data.recording import record

__all__ = [
    "Clip",
    "ClipBatches",
    "ClipIndex",
    "Column",
    "Dataset",
    "Frames",
    "HDF5Frames",
    "Image",
    "Split",
    "checked_frame",
    "find_packed",
    "open_dataset",
    "open_frames",
    "pack_frames",
    "packed_paths",
    "read_image",
    "record",
    "resize",
    "split_clips",
]
