"""Recordings on disk, clips cut from them, frames at the model's size, and recording itself."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.data.action_file import ActionTable, follow_actions, read_actions, read_table
    from lewm_cli.data.clips import Clip, ClipBatches, ClipIndex, Split, split_clips
    from lewm_cli.data.dataset import DATASET_SUFFIXES, Dataset, names_recording
    from lewm_cli.data.frame_alarm import Coarse, FrameAlarm, coarse, outside
    from lewm_cli.data.frame_stream import followed_frames, piped_frames
    from lewm_cli.data.frame_writer import Codec, Packing
    from lewm_cli.data.frames import (
        COMFORTABLE,
        DecodedFrames,
        Frames,
        Image,
        MemoryFrames,
        Placement,
        belongs_in_memory,
        checked_frame,
        frame_bytes,
        read_image,
        resize,
    )
    from lewm_cli.data.framing import square
    from lewm_cli.data.hdf5_dataset import HDF5Dataset, open_dataset
    from lewm_cli.data.imported import Imported
    from lewm_cli.data.likeness import Likeness, estimate_psnr, squared_errors, ssim
    from lewm_cli.data.packed_copy import PackedCopy, PackedRecording, one_of_each, original_stem, packing_of
    from lewm_cli.data.recording import record
    from lewm_cli.data.recording_check import (
        Finding,
        Problem,
        RecordedFacts,
        Remark,
        require_columns,
        require_proprio,
        require_usable,
        used_actions,
        used_rows,
    )
    from lewm_cli.data.video_dataset import VideoDataset, holds_frames, middle_square, open_video, unequal
    from lewm_cli.data.video_frames import decoded_frames, frame_times, video_rate
else:
    __getattr__ = lazy_names(__name__)
