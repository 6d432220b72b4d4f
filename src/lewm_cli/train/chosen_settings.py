"""Settings that are chosen for a recording without a simulator: nobody has tried some on it, so they scale with it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lewm_cli.config import Layer
from lewm_cli.methods import RunCard, TrainConfig
from lewm_cli.plural import counted
from lewm_cli.tasks import GENERIC
from lewm_cli.train.preset import Preset

FRAMESKIP = 5
"""Rows per model step of all released models; it stays where a model step then lasts neither too short nor too long."""

SHORTEST, LONGEST = 0.2, 0.5
"""Seconds of a model step. Those of TwoRoom and PushT, 10 rows per second, last 0.5. In less than 0.2 an arm hardly
moves, so that copying the last latent predicts as well, and a plan of five steps ends before it has moved."""

SHORT_EPISODES = 0.1
"""Share of the episodes that may be shorter than a clip, and are left out then."""

HISTORY = 3
"""Of the released models. Two frames show a velocity too; one does not, and TwoRoom's paper is content with it."""

LARGE = 100_000
"""Clips from which the released network is trained, a tenth of what the smallest released recording has. It has 18
million parameters: of fewer clips it learns the episodes by heart."""

PASSES = 10
"""Over the clips, as the released models were trained; the `small` presets of the tasks take 5 to 15."""

FEWEST = {"small": 1500, "release": 50_000}
"""Steps that a training takes however few clips there are: those of TwoRoom's `small` preset, and about as many as 10
epochs of the smallest released recording are."""

PARTS = 4
"""Batches that a pass over the clips has at least: of fewer clips, a batch takes the largest power of two that fits."""

HELD_OUT, ENOUGH = 5, 20
"""Episodes held out at least, where there are so many: `lewm eval` shows nothing on fewer than 5."""

MOST = 6000
"""Steps of a training on a CPU, so that it takes minutes."""


@dataclass(frozen=True)
class ChosenSettings:
    """The settings of a training and, in words, the reason of each.

    Args:
        preset: of recordings without a simulator, which they are laid over.
        tree: these settings.
        size: the size of the network, and why.
        step: why this frameskip.
    """

    preset: str
    tree: dict[str, Any]
    size: str
    step: str

    @property
    def base(self) -> Preset:
        """The preset with these settings laid over it, and under what it has for single methods."""
        return Preset(GENERIC, self.preset, Layer("what suits the recording", self.tree))

    def told(self, config: TrainConfig) -> tuple[str, str]:
        """Say what was chosen and why, in two lines; of what is set otherwise by now only what it is."""
        stop, skip = config.schedule.stop, config.data.frameskip
        why = f" ({self.step})" if skip == self.tree["data"]["frameskip"] else ""
        return (
            f"size: {self.size}, batches of {config.optimizer.batch_size}, until {stop}",
            f"frameskip: {skip}{why}, history {config.model.history}; --preset or --set chooses others",
        )


def choose_settings(lengths: np.ndarray, fps: float | None, device: str) -> ChosenSettings:
    """Choose the size of the network, its steps in time and how long it is trained.

    Args:
        lengths: (E,) rows per episode.
        fps: rows per second; None if the recording does not say it.
        device: kind of device, like `cpu`.
    """
    wanted = FRAMESKIP if fps is None else _rows_per_step(fps)
    rows = int(np.quantile(lengths, SHORT_EPISODES, method="lower"))
    frameskip, history = _fitting(rows, wanted)
    clips = int(np.maximum(lengths - (history + 1) * frameskip + 1, 0).sum())
    preset = "release" if device == "cuda" and clips >= LARGE else "small"
    there = f"{counted(clips, 'clip')} of {counted(len(lengths), 'episode')}"
    other = f"release takes a GPU and {LARGE:,} clips" if preset == "small" else f"small is for fewer than {LARGE:,}"
    rate = "the recording does not say its rows per second" if fps is None else f"{fps:.4g} rows per second"
    lasts = "" if fps is None else f": {frameskip / fps:.2g} s per model step"
    shortened = (frameskip, history) != (wanted, HISTORY)
    short = f", and a tenth of the episodes have at most {counted(rows, 'row')}" if shortened else ""
    config = Preset(GENERIC, preset).config()
    tree = {
        "data": {"frameskip": frameskip, **_held_out(lengths, (history + 1) * frameskip)},
        "model": {"history": history},
        **_training(config, clips, device, FEWEST[preset]),
    }
    return ChosenSettings(preset, tree, f"{preset} ({there}; {other})", f"{rate}{lasts}{short}")


def parents_settings(name: str, card: RunCard, lengths: np.ndarray) -> ChosenSettings:
    """The sizes of a run and its steps in time, as its weights need them to go on; the rest is the preset's.

    Args:
        lengths: (E,) rows per episode of the recording that it goes on with.
    """
    skip = card.inputs.frameskip
    encoder = getattr(card.model, "encoder", None)
    small = getattr(Preset(GENERIC, "small").config(card.method).model, "encoder", None)
    tree = {
        "method": card.method,  # a network of another kind does not take these sizes
        "data": {"frameskip": skip, **_held_out(lengths, (getattr(card.model, "history", HISTORY) + 1) * skip)},
        # What proprioception is recorded now, the recording says, and whether the weights take it is seen then.
        "model": card.model.model_dump(by_alias=True, exclude_none=True, exclude={"proprio"}),
    }
    preset = "small" if encoder == small else "release"
    return ChosenSettings(preset, tree, f"that of {name}, trained as {preset} is", f"that of {name}")


def _held_out(lengths: np.ndarray, span: int) -> dict[str, float]:
    """The share of the episodes that is held out, where that of the preset would be too few of them; else nothing."""
    usable = int((lengths >= span).sum())
    return {"validation": HELD_OUT / usable} if ENOUGH <= usable < 10 * HELD_OUT else {}


def _rows_per_step(fps: float) -> int:
    least, most = np.ceil(SHORTEST * fps - 1e-6), np.floor(LONGEST * fps + 1e-6)
    return max(1, int(np.clip(FRAMESKIP, least, max(least, most))))


def _fitting(rows: int, frameskip: int) -> tuple[int, int]:
    """Frameskip and history of clips that fit into so many rows: first the history gives way, then the frameskip.

    A velocity is worth more than a long step, and so two frames are kept until steps have half of their length.
    """
    for history, least in ((HISTORY, frameskip), (2, -(-frameskip // 2))):
        fits = min(frameskip, rows // (history + 1))
        if fits >= least:
            return fits, history
    return max(1, min(frameskip, rows // 2)), 1


def _training(preset: TrainConfig, clips: int, device: str, fewest: int) -> dict[str, Any]:
    """Clips per step, and where training stops: after some passes over the clips, within bounds on the steps."""
    usual, most = preset.optimizer.batch_size, max(2, clips // PARTS)
    assert isinstance(usual, int)
    batch = min(usual, 1 << most.bit_length() - 1)
    steps = PASSES * clips // batch
    kept = max(fewest, min(steps, MOST) if device == "cpu" else steps)
    stop = f"{PASSES} epochs" if kept == steps else f"{kept} steps"
    # As in the preset: the released size stops at a tenth of its cosine.
    decay = {} if preset.schedule.decay is None else {"decay": _times(stop, 10)}
    return {"optimizer": {"batch_size": batch}, "schedule": {"stop": stop} | decay}


def _times(duration: str, times: int) -> str:
    count, unit = duration.split()
    return f"{times * int(count)} {unit}"
