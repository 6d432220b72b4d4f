"""Frames as videos: every episode encoded by itself, and joined into files in which frame n stands at n / rate."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from lewm_cli.errors import LewmError
from lewm_cli.system_errors import number_of

KEYFRAMES = 2
"""Every second frame can be decoded without others, so that frames are read at random."""


class VideoCodec(StrEnum):
    """A compression of videos."""

    AV1 = "av1"
    H264 = "h264"
    HEVC = "hevc"

    @property
    def encoder(self) -> tuple[str, ...]:
        """Arguments for ffmpeg: one thread, and no frames out of order, so that packet n is frame n."""
        match self:
            case VideoCodec.AV1:
                return ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1")
            case VideoCodec.H264:
                return ("-c:v", "libx264", "-bf", "0", "-threads", "1")
        return ("-c:v", "libx265", "-x265-params", "bframes=0:pools=1:frame-threads=1:log-level=error")


@dataclass(frozen=True)
class VideoFormat:
    """The way that frames are encoded.

    Args:
        quality: constant rate factor; 0 is best, and what a number means differs between codecs.
        rate: frames per second.
    """

    codec: VideoCodec
    quality: int
    rate: Fraction


def encode_video(path: Path, frames: Iterable[npt.NDArray[np.uint8]], size: int, video: VideoFormat) -> None:
    """Encode blocks of frames (K, size, size, 3) as one mp4.

    Raises:
        LewmError: this ffmpeg cannot encode it.
        OSError: the disk is full.
    """
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size}x{size}", "-framerate", str(video.rate), "-i", "-")
    quality = ("-crf", str(video.quality), "-g", str(KEYFRAMES), "-pix_fmt", "yuv420p")
    _run((*raw, *video.codec.encoder, *quality, str(path)), frames)


def join_videos(parts: Sequence[Path], path: Path, rate: Fraction) -> None:
    """Join videos of one folder, one after the other and without encoding again; errors as of `encode_video`."""
    listing = parts[0].with_suffix(".txt")
    listing.write_text("".join(f"file '{part.name}'\n" for part in parts), encoding="utf-8")
    # What the parts say of their lengths is rounded, which would add up.
    frame = f"{rate.denominator}/{rate.numerator}/TB"
    times = f"setts=ts=N*{frame}:duration={frame}"
    copy = ("-c", "copy", "-bsf:v", times, "-movflags", "+faststart", str(path))
    _run(("-f", "concat", "-i", str(listing), *copy))
    listing.unlink()


def _run(arguments: Sequence[str], frames: Iterable[npt.NDArray[np.uint8]] = ()) -> None:
    """Run ffmpeg on frames that it reads from its input, away from the signals that stop this program."""
    try:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", *arguments]
    except RuntimeError as error:
        raise LewmError("there is no ffmpeg to encode videos with; pip install imageio-ffmpeg") from error
    quiet = {**os.environ, "SVT_LOG": "1"}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, env=quiet, start_new_session=True) as process,
    ):
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError), process.stdin as pipe:  # it says why it ended
                for block in frames:
                    pipe.write(np.ascontiguousarray(block).data)
            code = process.wait()
        finally:
            process.kill()
        log.seek(0)
        said = log.read().decode("utf-8", "replace").strip()
    if not code:
        return
    number = number_of(RuntimeError(said))
    if number in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(number, os.strerror(number))
    if "Unknown encoder" in said:
        raise LewmError(
            f"{command[0]} has no encoder {arguments[arguments.index('-c:v') + 1]}; choose another --codec, or take "
            "that of imageio-ffmpeg: pip install -U imageio-ffmpeg, with IMAGEIO_FFMPEG_EXE unset"
        )
    reason = said.splitlines()[0] if said else f"it ended with {code}"
    raise LewmError(f"ffmpeg cannot encode these frames ({reason}); choose another --codec, or --frames png")
