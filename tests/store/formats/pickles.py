"""Building files of torch.save by hand: from a pickle, honest or not, and the bytes of its storages."""

import io
import itertools
import pickle
import pickletools
import random
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
OBJECTS = sorted(FIXTURES.glob("*_object.ckpt")) + sorted(FIXTURES.glob("*_legacy.ckpt"))
STATES = [FIXTURES / "tf4_weight.ckpt", FIXTURES / "tf5_weight.ckpt", FIXTURES / "lightning_tf4.ckpt"]

CPU_SECONDS = 60.0
"""Processor time that no file may take on the slowest machine; most take milliseconds, whatever else runs beside."""


@contextmanager
def little_cpu() -> Iterator[None]:
    """Ends what takes more processor time than any file may, which would else go on for ever."""

    def end(number: int, frame: object) -> None:
        raise AssertionError(f"took more than {CPU_SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def in_zip(content: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """The zip format around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", b"little")
        for key, value in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", value)
    return buffer.getvalue()


def in_legacy(content: bytes) -> bytes:
    """The legacy format around a pickle without storages."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, system))
    return head + content + pickle.dumps([], 2)


def take_apart(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """Pickle and storages of a file in the zip format."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        named = {name.removeprefix(f"{root}/data/"): archive.read(name) for name in archive.namelist()}
        storages = {key: value for key, value in named.items() if not key.startswith(root)}
        return archive.read(f"{root}/data.pkl"), storages


def assert_one_sentence(error: BaseException) -> None:
    """A message that fits on a terminal, tells what is wrong, and holds nothing that a terminal would obey."""
    message = str(error)
    assert 20 < len(message) < 700
    assert message.isprintable(), ascii(message)


def with_value(content: bytes, key: str, value: bytes) -> bytes:
    """A pickle in which the value that follows the first mention of an attribute is another one (same opcode)."""
    instructions = [(opcode.name, argument, position) for opcode, argument, position in pickletools.genops(content)]
    at = next(i for i, (_, argument, _) in enumerate(instructions) if argument == key)
    values = (i for i in range(at + 1, len(instructions)) if "PUT" not in instructions[i][0])
    first = next(values)
    return content[: instructions[first][2]] + value + content[instructions[first + 1][2] :]


def mutated(content: bytes, seed: int) -> bytes:
    """A pickle with a few instructions or bytes changed, dropped, doubled, moved or taken from elsewhere in it."""
    chance = random.Random(seed)
    starts = [position for _, _, position in pickletools.genops(content)] + [len(content)]
    pieces = [content[start:end] for start, end in itertools.pairwise(starts)]
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
        kind = chance.randrange(6)
        if kind == 0:
            del pieces[at]
        elif kind == 1:
            pieces.insert(at, pieces[other])
        elif kind == 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 3:
            pieces[at] = bytes(chance.choices(range(256), k=len(pieces[at])))
        elif kind == 4:
            piece = bytearray(pieces[at])
            piece[chance.randrange(len(piece))] ^= 1 << chance.randrange(8)
            pieces[at] = bytes(piece)
        else:
            pieces.insert(at, chance.choice(pickletools.opcodes).code.encode("latin-1"))
    return b"".join(pieces)
