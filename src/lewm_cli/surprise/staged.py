"""Simulates an episode twice with the same actions: untouched, and with a violation of what the actions explain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lewm_cli.tasks import FROZEN, MATCHED, REVERSED, Perturbation, Simulator

CORNERS = 255.0 * np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
"""The colors (8, 3) that are farthest from each other, RGB levels."""

AROUND = 4
"""Pixels within which a thing's surroundings are looked at."""

HALVINGS = 16
"""Of the strength of a color, until rounding decides."""


class Film(NamedTuple):
    """Frames (K + 1, H, W, 3) and proprioception (K + 1, P), if any, at every model step."""

    frames: np.ndarray
    proprio: np.ndarray | None

    def at(self, steps: np.ndarray) -> "Film":
        """Selects what was seen at some model steps, in their order."""
        return Film(self.frames[steps], None if self.proprio is None else self.proprio[steps])

    def then(self, after: "Film") -> "Film":
        """Joins this film and another one after it."""
        own, other = self.proprio, after.proprio
        beside = None if own is None or other is None else np.concatenate([own, other])
        return Film(np.concatenate([self.frames, after.frames]), beside)


@dataclass(frozen=True)
class Scene:
    """Holds what an episode is simulated from.

    Args:
        start, goal: recorded states.
        blocks: (K, frameskip, A) actions.
        event: number of the first frame that may differ, at least 1.
    """

    start: np.ndarray
    goal: np.ndarray
    blocks: np.ndarray
    event: int


@dataclass(frozen=True)
class Staged:
    """Both versions of an episode.

    Args:
        scene: that was simulated in the end.
        size: of the violation, in its unit.
        matched: mean squared difference of pixels that the perturbed version was matched to, if it was.
    """

    scene: Scene
    untouched: Film
    perturbed: Film
    size: float
    matched: float | None = None

    @property
    def difference(self) -> float:
        """Mean squared difference between the two frames at the event, pixels from 0 to 1."""
        return pixel_difference(self.perturbed.frames[self.scene.event], self.untouched.frames[self.scene.event])


def stage(
    simulator: Simulator, perturbation: Perturbation, scene: Scene, history: int, generator: np.random.Generator
) -> Staged:
    """Simulates both versions of an episode.

    Args:
        history: model steps that come before the frame at the event of an approached perturbation.
        generator: of the change.
    """
    if perturbation.approached:
        return _approached(simulator, perturbation, scene, history, generator)
    untouched = play(simulator, scene, scene.blocks)
    if perturbation == MATCHED:
        return _matched(simulator, scene, untouched, generator)
    if perturbation in (FROZEN, REVERSED):
        return _out_of_time(simulator, perturbation, scene, untouched)
    return Staged(scene, untouched, *_sudden(simulator, perturbation.name, scene, generator))


def play(
    simulator: Simulator, scene: Scene, blocks: np.ndarray, change: Callable[[], object] = lambda: None, after: int = -1
) -> Film:
    """Takes action blocks from the scene's start on, with a change after so many of them."""
    simulator.begin(scene.start, scene.goal)
    frames, proprio = [], []
    for step in range(len(blocks) + 1):
        for action in blocks[step - 1] if step else ():
            simulator.step(action)
        if step == after:
            change()
        frames.append(simulator.frame())
        proprio.append(simulator.proprio())
    known = [one for one in proprio if one is not None]
    return Film(np.stack(frames), np.stack(known) if known else None)


def pixel_difference(frame: np.ndarray, other: np.ndarray) -> float:
    """Mean squared difference of two frames uint8, pixels from 0 to 1."""
    return float(np.square((frame.astype(np.float32) - other.astype(np.float32)) / 255).mean())


def _sudden(simulator: Simulator, name: str, scene: Scene, generator: np.random.Generator) -> tuple[Film, float]:
    """Films a change of the world right before the event's frame; returns its size, too."""
    sizes: list[float] = []
    film = play(simulator, scene, scene.blocks, lambda: sizes.append(simulator.perturb(name, generator)), scene.event)
    return film, sizes[0]


def _approached(
    simulator: Simulator, perturbation: Perturbation, scene: Scene, history: int, generator: np.random.Generator
) -> Staged:
    """Repeats one action; the law that it meets within the last step of a history counts in one of the two versions."""
    skip = scene.blocks.shape[1]
    simulator.begin(scene.start, scene.goal)  # the world is there
    steps = int(generator.integers((history - 1) * skip, history * skip))
    start, action = simulator.approach(perturbation.name, scene.start, steps)
    blocks = np.tile(action, (2 * history + perturbation.lasts - 1, skip, 1))
    here, sizes = Scene(start, scene.goal, blocks, event=history), []
    untouched = play(simulator, here, blocks)
    film = play(simulator, here, blocks, lambda: sizes.append(simulator.perturb(perturbation.name, generator)), 0)
    return Staged(here, untouched, film, sizes[0])


def _out_of_time(simulator: Simulator, perturbation: Perturbation, scene: Scene, untouched: Film) -> Staged:
    """Lets the world stand still, or its film run backward; it goes on from there with later actions."""
    lasts, last = perturbation.lasts, scene.event - 1
    back = np.zeros(lasts, int) if perturbation == FROZEN else np.arange(1, lasts + 1)
    shown = np.maximum(last - back, 0)
    taken, later = scene.blocks[: shown[-1]], scene.blocks[last + lasts :]
    after = play(simulator, scene, np.concatenate([taken, later]))
    rest = after.at(np.arange(shown[-1] + 1, len(taken) + len(later) + 1))
    film = untouched.at(np.append(np.arange(scene.event), shown)).then(rest)
    return Staged(scene, untouched, film, float(lasts))


def _matched(simulator: Simulator, scene: Scene, untouched: Film, generator: np.random.Generator) -> Staged:
    """Blends what `color` paints with a color unlike its own and that around it; lets it grow if that is too little."""
    moved, _ = _sudden(simulator, "teleport", scene, generator)
    recolored, _ = _sudden(simulator, "color", scene, generator)
    event, plain = scene.event, untouched.frames
    target = pixel_difference(moved.frames[event], plain[event])
    masks = (recolored.frames != plain).any(axis=3)
    if not masks[event].any():  # hidden behind something
        return Staged(scene, untouched, untouched, 0.0, target)
    around = ndimage.binary_dilation(masks[event], iterations=AROUND) & ~masks[event]
    own, ground = (plain[event][where].mean(axis=0) for where in (masks[event], around))
    color = max(CORNERS, key=lambda corner: min(np.linalg.norm(corner - own), np.linalg.norm(corner - ground)))

    def painted(step: int, grown: int, strength: float) -> np.ndarray:
        frame, mask = plain[step].astype(float), masks[step]
        where = ndimage.binary_dilation(mask, iterations=grown) if grown else mask
        frame[where] += strength * (color - frame[where])
        return np.rint(frame).astype(np.uint8)

    def difference(grown: int, strength: float) -> float:
        return pixel_difference(painted(event, grown, strength), plain[event])

    sides = range(max(plain.shape[1:3]))
    grown = next((side for side in sides if difference(side, 1.0) >= target), sides[-1])
    # The difference grows with the square of the strength, up to the rounding of pixels.
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if difference(grown, middle) < target else (low, middle)
    strength = min((low, high), key=lambda one: abs(difference(grown, one) - target))
    frames = np.stack([plain[k] if k < event else painted(k, grown, strength) for k in range(len(plain))])
    size = strength * float(np.linalg.norm(color - own))
    return Staged(scene, untouched, Film(frames, untouched.proprio), size, target)
