"""Files of sources with bytes cut off or flipped, and what reading them may end in."""

from pathlib import Path

from columns import opened
from hypothesis import strategies as st

from lewm_cli.errors import LewmError


def damaged_copy(path: Path, folder: Path, data: st.DataObject) -> Path:
    """A copy of a file that is cut, or in which some bits are flipped."""
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "length") :]
    else:
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8), "places"):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
    copy = folder / f"damaged{path.suffix}"
    copy.write_bytes(content)
    return copy


def read_or_refused(path: Path, **asked: object) -> None:
    """Everything is read, or what fails is a sentence."""
    try:
        source = opened(path, **asked)
    except LewmError as error:
        assert_sentence(error)
        return
    for number in range(len(source.episodes)):
        try:
            episode = source.read(number)
            count = sum(1 for _ in episode.frames)
            assert count == source.episodes[number].frames == len(episode.actions)
        except LewmError as error:
            assert_sentence(error)


def assert_sentence(error: LewmError) -> None:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 900
    assert "Error" not in text
