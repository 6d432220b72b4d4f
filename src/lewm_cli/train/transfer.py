"""The way of batches to the device: the next one is under way while the present one is computed with."""

from collections.abc import Iterator
from itertools import chain

import torch

from lewm_cli.data import Clip


def batches_on(device: torch.device, clips: Iterator[Clip]) -> Iterator[Clip]:
    """The same batches on a device, in the fastest way that it has; on a CPU they stay where they are."""
    return prefetched(clips, device) if device.type == "cuda" else copied(clips, device)


def copied(clips: Iterator[Clip], device: torch.device) -> Iterator[Clip]:
    """The plain way: a batch is copied when it is asked for, and whoever asks waits for it."""
    for clip in clips:
        yield clip.each(lambda part: part.to(device))


def prefetched(clips: Iterator[Clip], device: torch.device) -> Iterator[Clip]:
    """Batches of which one more is copied beforehand, on a stream of its own, from memory that the device can read.

    Nobody waits for a copy but the device, when it comes to the step that needs it. Frames travel as bytes: what makes
    numbers of them happens on the device.

    Args:
        clips: pinned already, or they are copied into pinned memory first; what a batch lies in must stay as it is.
    """
    copying: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(clip: Clip) -> tuple[Clip, torch.cuda.Event]:
        with torch.cuda.stream(copying):
            pinned = clip.each(lambda part: part if part.is_pinned() else part.pin_memory())
            sent = pinned.each(lambda part: part.to(device, non_blocking=True))
            return sent, copying.record_event()

    present: tuple[Clip, torch.cuda.Event] | None = None
    for coming in chain(map(send, clips), [None]):
        if present:
            batch, arrived = present
            computing = torch.cuda.current_stream(device)
            computing.wait_event(arrived)
            for part in batch.parts:
                part.record_stream(computing)  # their memory is used again only when it has been computed with
            yield batch
        present = coming
