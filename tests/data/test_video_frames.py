"""Ranges of a video are the same frames as those of the whole, at the times that their stamps say."""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from commands import descendants
from lewm_cli.data import decoded_frames, frame_times, video_rate
from lewm_cli.errors import LewmError

COUNT, RATE = 48, 24
PICTURES = ("-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={RATE},noise=alls=60:allf=t:all_seed=1", "-frames:v", COUNT)
H264 = ("-c:v", "libx264", "-preset", "veryfast")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2")


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # where libsvtav1 tells of itself


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with B-frames and a key frame every 16th."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    ffmpeg(*PICTURES, *H264, "-bf", 3, "-g", 16, path)
    return path


MADE: dict[str, Callable[[Path, Path], None]] = {
    "plain.mp4": lambda plain, path: ffmpeg("-i", plain, "-c", "copy", path),
    "long group.mp4": lambda plain, path: ffmpeg(*PICTURES, *H264, "-bf", 3, "-g", 250, path),
    "open groups.mp4": lambda plain, path: ffmpeg(
        *PICTURES, *H264, "-x264-params", "open-gop=1:keyint=12:bframes=3", path
    ),
    "refreshed.mkv": lambda plain, path: ffmpeg(*PICTURES, *H264, "-x264-params", "intra-refresh=1:keyint=12", path),
    "av1.mp4": lambda plain, path: ffmpeg(*PICTURES, "-c:v", "libsvtav1", "-preset", 12, "-g", 2, path),
    "hevc.mp4": lambda plain, path: ffmpeg(*PICTURES, "-c:v", "libx265", "-x265-params", "log-level=none", path),
    "vp8.webm": lambda plain, path: ffmpeg(*PICTURES, "-c:v", "libvpx", "-auto-alt-ref", 1, "-g", 20, path),
    "stream.ts": lambda plain, path: ffmpeg("-i", plain, "-c", "copy", path),
    "old.avi": lambda plain, path: ffmpeg(*PICTURES, "-c:v", "mpeg4", "-bf", 2, path),
    "variable.mp4": lambda plain, path: ffmpeg(
        *PICTURES, "-vf", "setpts=PTS*(1+N/20)", "-fps_mode", "vfr", *H264, "-g", 12, path
    ),
    "cut by an edit list.mp4": lambda plain, path: ffmpeg("-ss", 0.5, "-i", plain, "-c", "copy", path),
    "without edit list.mp4": lambda plain, path: ffmpeg("-i", plain, "-c", "copy", "-use_editlist", 0, path),
    "late.mkv": lambda plain, path: ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", 5, path),
    "after its sound.mkv": lambda plain, path: ffmpeg(
        *(*SOUND, "-itsoffset", 0.3, "-i", plain, "-map", 0, "-map", 1, "-c:v", "copy", path)
    ),
    "in fragments.mp4": lambda plain, path: ffmpeg(
        "-i", plain, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path
    ),
}
FIRST = {"after its sound.mkv": 0.3, "old.avi": 1 / RATE}


def test_signal_to_all_of_the_program_does_not_make_a_whole_video_damaged(plain: Path):
    others = set(descendants(os.getpid()))
    with closing(decoded_frames(plain)) as frames:
        before = [next(frames)]
        (decoder,) = set(descendants(os.getpid())) - others
        assert os.getpgid(decoder) != os.getpgid(0)
        assert len(before + list(frames)) == COUNT


@pytest.mark.parametrize("name", MADE)
def test_ranges_are_parts_of_the_whole(tmp_path: Path, plain: Path, name: str):
    path = tmp_path / name
    MADE[name](plain, path)
    whole, times = list(decoded_frames(path)), frame_times(path)
    assert len(whole) == len(times) > 20
    assert len({frame.tobytes() for frame in whole}) == len(whole)
    assert times[0] == pytest.approx(FIRST.get(name, 0), abs=0.002)
    if name != "variable.mp4":
        assert np.diff(times) == pytest.approx(1 / RATE, abs=0.0011)  # Matroska counts milliseconds
        assert video_rate(path) == RATE
    else:
        assert np.ptp(np.diff(times)) > 0.04
    between = np.random.default_rng(0).uniform(times[0], times[-1])
    for start in (times[len(times) // 3], round(times[len(times) // 2], 4), times[-1], between):
        nearest = int(np.argmin(np.abs(times - start)))
        part = list(decoded_frames(path, float(start), 3))
        assert np.array_equal(part, whole[nearest : nearest + 3])
    assert not list(decoded_frames(path, times[-1] + 1))


def test_nothing_follows_the_last_frame_of_a_count(plain: Path):
    assert len(list(decoded_frames(plain, count=5))) == 5
    assert not list(decoded_frames(plain, count=0))
    half = decoded_frames(plain, 1.0)
    next(half)
    half.close()  # ends its process, or this would wait for ever


@pytest.mark.parametrize(
    ("rate", "said"), [("30000/1001", 30000 / 1001), ("24000/1001", 24000 / 1001), ("29.9", 29.9), ("50", 50)]
)
def test_rate(tmp_path: Path, rate: str, said: float):
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=32x32:rate={rate}", "-frames:v", 20, tmp_path / "a.mp4")
    assert video_rate(tmp_path / "a.mp4") == pytest.approx(said, abs=1e-9)


def cut_at_its_end(plain: Path, path: Path) -> None:
    """The index comes first, so that frames before the cut are found."""
    ffmpeg("-i", plain, "-c", "copy", "-movflags", "faststart", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (cut_at_its_end, "is damaged or cut short, and frames are guessed or lost"),
        (lambda plain, path: path.write_bytes(plain.read_bytes()[:3000]), "cannot be decoded: damaged or cut short"),
        (lambda plain, path: path.write_bytes(b""), "cannot be decoded"),
        (lambda plain, path: path.write_text("no video"), "cannot be decoded"),
        (lambda plain, path: ffmpeg(*SOUND, path), "holds no picture, only sound or data"),
        (
            lambda plain, path: path.write_bytes(plain.read_bytes().replace(b"avc1", b"zzz1")),
            "is coded in a way that ffmpeg does not know; convert it",
        ),
        (lambda plain, path: None, "there is no video PATH"),
    ],
)
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_what_cannot_be_decoded(
    tmp_path: Path, plain: Path, write: Callable[[Path, Path], None], said: str, start: float
):
    path = tmp_path / "a.mp4"
    write(plain, path)
    with pytest.raises(LewmError) as refused:
        list(decoded_frames(path, start))
    assert said in str(refused.value).replace(str(path), "PATH")
    assert "\n" not in str(refused.value)
    if "guessed" not in said and "know" not in said:  # what is not decoded is not seen
        with pytest.raises(LewmError, match=re.escape(said.replace("PATH", str(path)))):
            frame_times(path)


def test_whoever_listens_keeps_the_frames_before_a_cut(tmp_path: Path, plain: Path):
    cut_at_its_end(plain, tmp_path / "a.mp4")
    lines: list[str] = []
    kept = list(decoded_frames(tmp_path / "a.mp4", say=lines.append))
    assert 10 < len(kept) < COUNT
    assert np.array_equal(kept[:10], list(decoded_frames(plain, count=10)))
    (line,) = lines
    assert line.startswith("note: a.mp4 is damaged, and some of its frames are guessed or lost (")


@pytest.mark.parametrize(
    ("words", "codec"),
    [
        ("[vist#0:0/none @ 0x1] [error] Decoding requested, but no decoder found for: hevc", "HEVC"),
        ("[av1 @ 0x1] [error] Your platform doesn't support hardware accelerated AV1 decoding.", "AV1"),
    ],
)
@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="the stand-in for ffmpeg is a shell script")
def test_ffmpeg_without_a_decoder(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch, words: str, codec: str):
    """As ffmpegs say it that were built without one; the second is the decoder that only drives hardware."""
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 69\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(stand_in))
    with pytest.raises(LewmError) as refused:
        list(decoded_frames(plain))
    expected = f"{plain} is coded as {codec}, for which {stand_in} has no decoder; unset IMAGEIO_FFMPEG_EXE"
    assert str(refused.value).startswith(expected)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(stand_in))
    with pytest.raises(LewmError, match=f"install an ffmpeg with {codec} and name it: export IMAGEIO_FFMPEG_EXE="):
        list(decoded_frames(plain))


def test_without_any_ffmpeg(plain: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(LewmError, match=r"/nowhere/ffmpeg cannot be started"):
        list(decoded_frames(plain))

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(LewmError, match="pip install imageio-ffmpeg"):
        video_rate(plain)
