"""Frames of a video and their times, decoded by ffmpeg: all of them, or a range that starts anywhere.

Times are seconds since the file begins, as players count them: the first frame is at 0 whatever its stamp is, and later
where sound comes first. Every frame is shown once, upright, whatever the rate is.
"""

import os
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO

import numpy as np
import numpy.typing as npt

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.system_errors import explain

Frame = npt.NDArray[np.uint8]
Say = Callable[[str], None]

LONGEST_HEADER = 64
"""Bytes of the longest line before the pixels of a PPM image."""

THREADS = 2
"""Threads of one decoder; importing decodes as many videos at once as there are cores."""

ROUNDING = 0.0005
"""Seconds by which a time may be off that was computed of a frame's number."""

DISCARDED = 4
"""Flag of packets that are decoded and not shown, as edit lists want it."""

UNSTAMPED = -(2**63)

EVERY_FRAME = ("-fps_mode", "passthrough", "-vf", "showinfo=checksum=0")
COLORS = ("-sws_flags", "accurate_rnd+full_chroma_int+bicubic")
"""Colors that are computed exactly: by default, ffmpeg's are further from those that were encoded, by 1 to 2 dB."""

PICTURES = (*COLORS, "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-")
NOTHING = ("-f", "null", "-")


def decoded_frames(
    path: Path, start: float = 0.0, count: int | None = None, say: Say | None = None
) -> Generator[Frame, None, None]:
    """Decode frames (H, W, 3), RGB, from the one whose time is nearest to `start` on.

    They are the same bit for bit as those of the whole video. None come where it ends before `start`, and fewer than
    `count` where it ends early.

    Args:
        start: seconds since the file begins.
        count: frames at most; all that follow if None.
        say: is told that frames are guessed or lost; without it, that is an error.

    Raises:
        LewmError: the file is damaged or cut short, holds no picture, or there is no decoder for it.
    """
    begun = _seeking(path, start, say) if start > 0 else _timed_frames(path, None, say)
    with closing(begun) as timed:
        chosen = _from_nearest(timed, start, path) if start > 0 else timed
        for _, frame in islice(chosen, count):
            yield frame


def frame_times(path: Path) -> npt.NDArray[np.float64]:
    """Return the times (T,) of all frames, in seconds since the file begins; errors as of `decoded_frames`."""
    if _is_indexed(path) and (times := _packet_times(path)) is not None:
        return times
    with _ffmpeg(path, None, *EVERY_FRAME, *NOTHING) as (_, log):
        decoded = list(iter(log.times.get, None))
    if log.errors:
        raise LewmError(_damaged(path, log.errors[0]))
    return np.array(decoded, np.float64)


def video_rate(path: Path) -> float | None:
    """Return the mean number of frames per second that a video says it has; None where it says none."""
    with _ffmpeg(path, None, "-c", "copy", "-t", 0, *NOTHING) as (_, log):
        pass
    if log.rate is None:
        return None
    # The log rounds to hundredths; rates of television are whole ones times 1000/1001.
    whole = round(log.rate * 1.001)
    return whole / 1.001 if abs(whole / 1.001 - log.rate) < 0.005 < abs(whole - log.rate) else log.rate


class _Log(Thread):
    """Follows what ffmpeg says: facts about the video, the time of every frame before it comes, and errors."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.times: SimpleQueue[float | None] = SimpleQueue()  # seconds; None is the end
        self.errors: list[str] = []
        self.codec: str | None = None
        self.rate: float | None = None
        self.begin = Fraction(0)
        self._unit = Fraction(1)
        self._stream = stream
        self.start()

    def run(self) -> None:
        try:
            for line in self._stream:
                self._follow(line.decode("utf-8", "replace").rstrip())
        finally:
            self.times.put(None)

    def _follow(self, line: str) -> None:
        if found := re.search(r"showinfo.* pts: *(-?\d+)", line):
            self.times.put(float(int(found[1]) * self._unit - self.begin))
        elif found := re.search(r"config in time_base: (\d+/\d+)", line):
            self._unit = Fraction(found[1])
        elif found := re.match(r"\[info\]   Duration: .*, start: (-?[\d.]+)", line):
            self.begin = Fraction(found[1])
        elif self.codec is None and (found := re.search(r"Stream #.*: Video: (\w+)(?:.* ([\d.]+) fps)?", line)):
            self.codec, self.rate = found[1], float(found[2]) if found[2] else None
        elif (found := re.search(r"\[(?:error|fatal|panic)\] (.*)", line)) and "to muxer" not in line:
            self.errors.append(found[1])


class _MissedError(Exception):
    """A jump ended where frames refer to others before it, or the file is damaged."""


@contextmanager
def _ffmpeg(path: Path, seek: float | None, *output: object) -> Iterator[tuple[IO[bytes], _Log]]:
    """Run ffmpeg on the pictures of a file, from the key frame before `seek` on; see how it ended, if it did itself."""
    if not path.exists():
        raise MissingError(f"there is no video {path}; copy it again, or check the path")
    from_key_frame = () if seek is None else ("-noaccurate_seek", "-ss", f"{seek:.6f}")
    program = _program()
    command = [
        *(program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"),
        *("-threads", THREADS, "-copyts", *from_key_frame, "-protocol_whitelist", "file"),
        *("-i", f"file:{path.absolute()}", "-map", "0:v:0", *output),
    ]
    try:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise explain(error, program, "started") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        log = _Log(process.stderr)
        try:
            yield process.stdout, log
            code = process.wait()
        finally:
            process.kill()
            log.join()
    if code:
        raise LewmError(_failure(path, program, log.errors or [f"ffmpeg ended with {code}"]))


def _failure(path: Path, program: str, said: list[str]) -> str:
    every = " ".join(said)
    if "matches no streams" in every:
        return f"{path} holds no picture, only sound or data; give a video"
    if found := re.search(r"no decoder found for: (\w+)|hardware accelerated (\w+) decoding", every):
        codec = found[1] or found[2]
        if codec == "none":
            return f"{path} is coded in a way that ffmpeg does not know; convert it to H.264 where it was recorded"
        remedy = (
            "unset IMAGEIO_FFMPEG_EXE, which names it, and use that of imageio-ffmpeg"
            if os.environ.get("IMAGEIO_FFMPEG_EXE")
            else f"install an ffmpeg with {codec.upper()} and name it: export IMAGEIO_FFMPEG_EXE=/usr/bin/ffmpeg"
        )
        return f"{path} is coded as {codec.upper()}, for which {program} has no decoder; {remedy}"
    return f"{path} cannot be decoded: damaged or cut short ({said[0]}); copy or record it again"


def _damaged(path: Path, reason: str) -> str:
    kept = "or keep what can be decoded: ffmpeg -i OLD -crf 10 NEW"
    return f"{path} is damaged or cut short, and frames are guessed or lost ({reason}); copy it again, {kept}"


def _program() -> str:
    import imageio_ffmpeg  # late: few commands decode videos

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise LewmError("there is no ffmpeg to decode videos with; pip install imageio-ffmpeg") from error


def _timed_frames(path: Path, seek: float | None, say: Say | None) -> Generator[tuple[float, Frame], None, None]:
    """Frames and their times, all of them or from the key frame before `seek` on."""
    begun = False
    with _ffmpeg(path, seek, *EVERY_FRAME, *PICTURES) as (pipe, log):
        while found := re.fullmatch(
            rb"P6\n(\d+) (\d+)\n", pipe.readline(LONGEST_HEADER) + pipe.readline(LONGEST_HEADER)
        ):
            pipe.readline(LONGEST_HEADER)  # the largest value
            width, height = int(found[1]), int(found[2])
            content = pipe.read(width * height * 3)
            moment = log.times.get()  # was said before
            if len(content) < width * height * 3 or moment is None:
                break
            if seek is not None and log.errors and not begun:
                raise _MissedError
            begun = True
            yield moment, np.frombuffer(content, np.uint8).reshape(height, width, 3)
    if log.errors and say is None:
        raise LewmError(_damaged(path, log.errors[0]))
    if log.errors and say is not None:
        say(f"note: {path.name} is damaged, and some of its frames are guessed or lost ({log.errors[0]})")


def _packet_times(path: Path) -> npt.NDArray[np.float64] | None:
    """Times by the file's bookkeeping, which takes no decoding; None where packets and frames are not the same."""
    with _ffmpeg(path, None, "-c", "copy", "-f", "framecrc", "-") as (pipe, log):
        lines = [line.decode().strip() for line in pipe]
    unit = next((Fraction(line.split()[-1]) for line in lines if line.startswith("#tb")), Fraction(1))
    packets = [line.split(",") for line in lines if not line.startswith("#")]
    flags = (next((int(part.strip()[2:], 16) for part in packet if "F=" in part), 0) for packet in packets)
    stamps = [int(packet[2]) for packet, flag in zip(packets, flags, strict=True) if not flag & DISCARDED]
    if log.codec == "vp8" or log.errors or UNSTAMPED in stamps:  # VP8 has packets that are never shown
        return None
    return np.array([float(stamp * unit - log.begin) for stamp in sorted(stamps)], np.float64)


def _seeking(path: Path, start: float, say: Say | None) -> Generator[tuple[float, Frame], None, None]:
    """Frames and their times from some frame at or before `start` on."""
    if _is_indexed(path):
        with closing(_timed_frames(path, start + ROUNDING, say)) as timed, suppress(_MissedError):
            if (first := next(timed, None)) and first[0] <= start + ROUNDING:
                yield first
                yield from timed
                return
    yield from _timed_frames(path, None, say)


def _is_indexed(path: Path) -> bool:
    """True for MP4 and Matroska, which say where key frames are; in others, a jump may miss frames."""
    if not path.is_file():  # whoever opens it says so
        return False
    with path.open("rb") as file:
        head = file.read(8)
    return head[4:] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


def _from_nearest(timed: Iterator[tuple[float, Frame]], start: float, path: Path) -> Iterator[tuple[float, Frame]]:
    """Leave out all before the frame whose time is nearest to `start`; of two alike, the earlier one is."""
    before, period = None, None
    for moment, frame in timed:
        if moment <= start:
            period = moment - before[0] if before else period
            before = (moment, frame)
            continue
        if before and start - before[0] <= moment - start:
            yield before
        yield moment, frame
        yield from timed
        return
    period = period or 1 / (video_rate(path) or 1)
    if before and start - before[0] <= period / 2:  # the last one
        yield before
