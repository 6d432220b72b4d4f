"""Recordings on disk, clips cut from them, frames at the model's size, and recording itself."""

from lewm_cli.data.clips import Clip, ClipBatches, Split, split_clips
from lewm_cli.data.dataset import Dataset
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
from lewm_cli.data.hdf5_dataset import DATASET_SUFFIXES, HDF5Dataset, names_recording, open_dataset
from lewm_cli.data.recording import record

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
