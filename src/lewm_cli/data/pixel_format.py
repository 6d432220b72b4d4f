"""The ways in which frames are stored, and how all of them become RGB frames of uint8."""

from dataclasses import dataclass, field, replace

import cv2
import h5py
import numpy as np

from lewm_cli.data.frame_format import FrameFormat, white_of
from lewm_cli.data.hdf5_file import GUIDE, read_rows
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import HEAD, FileKind, look_at
from lewm_cli.suggestion import command

COLORS = (3, 4)

LARGEST = 2**14
"""Pixels of a side; what claims more is no frame."""

SAMPLED = 8
"""Frames that are looked at to see what the value of white is."""

SMALLEST = 8
"""Pixels of a side of what is taken for frames without being called pixels."""


@dataclass(frozen=True)
class PixelFormat:
    """The way that frames are stored; by default as recordings have them, (N, size, size, 3) uint8.

    Args:
        column: path of the data set in the file.
        raw: the format of one, which is square; as decoded where every row is an image file.
        encoded: every row is an image file, JPEG or PNG for example.
    """

    column: str = "pixels"
    raw: FrameFormat = field(default_factory=lambda: FrameFormat(0, 0))
    encoded: bool = False

    @property
    def size(self) -> int:
        """Side of a frame in pixels."""
        return self.raw.height

    @property
    def plain(self) -> bool:
        """Tell whether stored frames are what is read."""
        return not self.encoded and not self.raw.notes

    @property
    def note(self) -> str | None:
        """The way they are read, in words; None if there is nothing to say."""
        words = (
            *([f"from {self.column}"] if self.column != "pixels" else []),
            *(["decoded from image files"] if self.encoded else self.raw.notes),
        )
        return f"frames are read {', '.join(words)}" if words else None

    def frames(self, stored: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of stored rows.

        Raises:
            LewmError: a row is damaged, of another size, or has values that the others have not.
        """
        if self.plain:
            return stored
        if self.encoded:
            images = [self._same_size(decode_image(bytes(row), f"a row of {self.column}")) for row in stored]
            return np.array(images, np.uint8).reshape(-1, self.size, self.size, 3)
        if not self.raw.in_range(stored):
            raise LewmError(
                f"{self.column} holds values outside of 0 to {self.raw.white} or NaN, and most frames do not; "
                "write those rows anew"
            )
        return self.raw.rgb(stored)

    def _same_size(self, frame: np.ndarray) -> np.ndarray:
        if frame.shape[:2] != (self.size, self.size):
            height, width = frame.shape[:2]
            raise LewmError(
                f"{self.column} holds an image of {width} x {height} pixels, and the first has {self.size} x "
                f"{self.size}; bring them to one size"
            )
        return frame


def decode_image(content: bytes, where: object, *, as_stored: bool = False) -> np.ndarray:
    """Decode the bytes of an image file, padded or not, to a frame (H, W, 3) uint8, RGB; a photograph upright.

    Args:
        where: it lies, for the error.
        as_stored: gray stays (H, W), transparency stays, and 16 bits do.

    Raises:
        LewmError: it is damaged, or no image.
    """
    whole = as_stored and not content.startswith(b"\xff\xd8\xff")  # a JPEG file is turned upright otherwise
    try:
        frame = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED if whole else cv2.IMREAD_COLOR)
    except cv2.error:  # of nothing
        frame = None
    if frame is None:
        raise LewmError(f"{where} is damaged, or an image of a kind that is not read; write it again as PNG")
    if frame.ndim == 2:
        return frame
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def pixel_format(stored: h5py.Dataset, column: str) -> PixelFormat:
    """Look at how frames are stored.

    Raises:
        LewmError: what they are cannot be known, or they are not square; the sentence says how to convert them.
    """
    file = stored.file.filename
    held = f"{file}: {column} is {stored.dtype} of shape {stored.shape}"
    if stored.ndim == 0 or len(stored) == 0:
        raise LewmError(
            f"{held} and holds no frames; record some with: {command('collect', 'TASK', '--episodes', 'N')}"
        )
    if _is_encoded(stored):
        (row,) = read_rows(stored, slice(0, 1))
        height, width = decode_image(bytes(row), f"{file}: row 0 of {column}").shape[:2]
        _refuse_oblong(height, width, held, file)
        return PixelFormat(column, FrameFormat(height, width), encoded=True)
    if stored.dtype.kind not in "uifb" or stored.ndim not in (3, 4):
        raise LewmError(
            f"{held}; square RGB frames (N, size, size, 3) of uint8 are needed: {GUIDE}#frames-of-other-shapes"
        )
    if stored.ndim == 4 and "MATLAB_class" in stored.attrs:
        raise LewmError(
            f"{held}, written by MATLAB, which turns the order of axes around, so rows of a frame may be its columns; "
            f"write frames (N, size, size, 3): {GUIDE}#frames-of-other-shapes"
        )
    raw = FrameFormat.of_shape(stored.shape[1:])
    if raw is None:
        raise LewmError(
            f"{held}, without an axis of 1, 3 or 4 channels; square RGB frames (N, size, size, 3) of uint8 are needed: "
            f"{GUIDE}#frames-of-other-shapes"
        )
    _refuse_oblong(raw.height, raw.width, held, file)
    white = None if stored.dtype == np.uint8 else _white(stored, held)
    return PixelFormat(column, replace(raw, white=white))


def looks_like_frames(stored: h5py.Dataset) -> bool:
    """Tell whether a data set that is not called pixels can be nothing but color frames."""
    if stored.ndim == 0 or len(stored) == 0:
        return False
    if stored.ndim != 4 or stored.dtype.kind not in "uif":
        return _is_encoded(stored)
    _, one, two, three = stored.shape
    return any(
        channels in COLORS and min(sides) >= SMALLEST for channels, sides in ((three, (one, two)), (one, (two, three)))
    )


def _is_encoded(stored: h5py.Dataset) -> bool:
    """Tell whether every row is the bytes of an image file: numbers, text, or of no type that is known."""
    kind, byte = stored.dtype, (np.uint8, np.int8)
    opaque = kind.kind in "SV" and kind.names is None and kind.subdtype is None
    strings = opaque or h5py.check_string_dtype(kind) is not None or h5py.check_vlen_dtype(kind) in byte
    if stored.size != len(stored) * max(stored.shape[1:], default=1) or not (strings or kind in byte):
        return False
    if strings and stored.size != len(stored):
        return False
    row = read_rows(stored, slice(0, 1)).reshape(-1)
    return look_at(bytes(row[0] if strings else row)[:HEAD]) is FileKind.IMAGE


def _refuse_oblong(height: int, width: int, held: str, path: str) -> None:
    if height != width:
        raise LewmError(
            f"{held}: frames of {width} x {height} pixels, and they have to be square; this crops them, and --fit pad "
            f"or squash keeps the whole: {command('import', path)}"
        )
    if not 0 < height <= LARGEST:
        raise LewmError(f"{held}: frames of {width} x {height} pixels, and a side has 1 to {LARGEST:,}")


def _white(stored: h5py.Dataset, held: str) -> int:
    """The value of white, told by some of the frames."""
    rows = np.unique(np.linspace(0, len(stored) - 1, SAMPLED).astype(int))
    sample = np.concatenate([read_rows(stored, slice(row, row + 1)) for row in rows])
    low, high = sample.min(), sample.max()  # NaN if any is
    white = white_of(low, high, stored.dtype.kind)
    if white:
        return white
    imports = command("import", stored.file.filename, "--white", "65535")
    raise LewmError(
        f"{held} with values from {low:g} to {high:g}, which may mean several things; "
        f"this makes 0 to 255 of them, where 65535 is white: {imports}"
    )
