"""Batches that are copied beforehand are those of the plain way, and nobody waits for them."""

from collections.abc import Iterator

import pytest
import torch

from accelerator import DEVICE, Accelerator, attached
from lewm_cli.data import Clip
from lewm_cli.train.transfer import batches_on, copied, prefetched


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    with attached(monkeypatch) as accelerator:
        yield accelerator


def some_clips(count: int) -> list[Clip]:
    generator = torch.Generator().manual_seed(0)
    return [
        Clip(
            torch.randint(256, (2, 3, 4, 4, 3), dtype=torch.uint8, generator=generator),
            torch.randn(2, 3, 5, generator=generator),
        )
        for _ in range(count)
    ]


def here(clips: Iterator[Clip]) -> list[list]:
    return [[clip.pixels.cpu().tolist(), clip.blocks.cpu().tolist()] for clip in clips]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_batches_that_are_copied_beforehand_are_those_of_the_plain_way(accelerator: Accelerator, count: int):
    clips = some_clips(count)
    expected = here(iter(clips))
    assert here(copied(iter(clips), DEVICE)) == expected
    assert here(batches_on(DEVICE, iter(clips))) == expected


def test_one_batch_is_under_way_while_another_is_computed_with_and_the_host_waits_for_none(accelerator: Accelerator):
    asked = []
    clips = prefetched((asked.append(clip) or clip for clip in some_clips(4)), DEVICE)
    taken = [next(clips), next(clips)]
    assert len(asked) == 3
    assert all(clip.pixels.device == DEVICE and clip.pixels.dtype == torch.uint8 for clip in taken)
    assert all(part.used_on is accelerator.streams[0] for clip in taken for part in (clip.pixels, clip.blocks))
    assert accelerator.waits == []
    list(copied(iter(some_clips(1)), DEVICE))
    assert len(accelerator.waits) == 2, "the plain way waits for its pixels and its blocks"


def test_pinned_batches_are_not_copied_once_more(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch):
    pinned = [Clip(clip.pixels.pin_memory(), clip.blocks.pin_memory()) for clip in some_clips(2)]
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pytest.fail("it is pinned already"))
    assert here(prefetched(iter(pinned), DEVICE)) == here(iter(pinned))


def test_on_a_cpu_batches_stay_where_they_are():
    clips = some_clips(2)
    for found, given in zip(batches_on(torch.device("cpu"), iter(clips)), clips, strict=True):
        assert found.pixels is given.pixels
        assert found.blocks is given.blocks
