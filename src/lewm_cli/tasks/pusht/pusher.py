"""A scripted pusher: it goes behind a point of the block, pushes in a smooth motion, and draws back."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pymunk import Vec2d

Pixels = npt.NDArray[np.float64]
"""A place or a way (2,) in the world of 512 x 512 pixels."""

AGENT = 15.0
"""Radius of the agent."""

CLEARANCE = 24.0
"""Distance of the agent's center from the block, from which it is safe to go around it or to begin a push."""

AROUND = 130.0
"""Radius of the circle around the block's center on which it is gone around; the block fits inside."""

MARGIN = 90.0
"""Distance of the block's center from the edge of the world that a push shall leave."""

TRIES = 30
"""Pushes that are drawn until one leaves the block inside; the last is taken."""

PER_ACTION = 50.0
"""Pixels per step that an action of 1, held, comes to."""

SMOOTH = 0.5
"""Share of the way from the last action to the wanted one that is gone in one step."""

NOISE = 0.02
"""Standard deviation of what is added to every action."""

TRAVEL = (10.0, 26.0)
"""Pixels per step on the way to the block and back."""

PUSH = (5.0, 18.0)
"""Pixels per step while it pushes."""

STEPS = (8, 26)
"""Steps of a push, the second excluded."""

PATIENCE = 60
"""Steps after which a way around the block that does not end is given up."""


class Pusher:
    """Chooses actions for one episode after the other.

    Args:
        environment: stable_worldmodel's PushT, which it looks at and never changes.
        arena: bounds of the places that the agent is sent to, both coordinates.
    """

    def __init__(self, environment: Any, arena: tuple[float, float]) -> None:
        self._environment, self._arena = environment, arena

    def begin(self, seed: np.random.SeedSequence) -> None:
        """Begin an episode, in which all is drawn from this seed."""
        self._generator = np.random.default_rng(seed)
        self._action = np.zeros(2)
        self._wanted = self._motions()

    def act(self) -> npt.NDArray[np.float32]:
        """Choose the next action (2,)."""
        wanted = next(self._wanted) / PER_ACTION
        self._action = self._action + SMOOTH * (wanted - self._action)
        noisy = self._agent + 100 * (self._action + NOISE * self._generator.standard_normal(2))
        return np.asarray((np.clip(noisy, *self._arena) - self._agent) / 100, np.float32)

    def _motions(self) -> Iterator[Pixels]:
        """Yield the way (2,), pixels, that the agent is to go in each step, for ever."""
        draw = self._generator.uniform
        while True:
            contact, inwards, steps = self._drawn_push()
            behind = contact - (AGENT + CLEARANCE) * inwards
            yield from self._way_to(behind, draw(*TRAVEL))
            speed, bend = draw(*PUSH), self._generator.normal(0, 0.02)
            inwards = self._towards(contact, inwards)
            for _ in range(steps + round((AGENT + CLEARANCE) / speed)):
                inwards = _turned(inwards, bend)
                if not self._inside(self._agent + speed * inwards):
                    break
                yield speed * inwards
            back = draw(*TRAVEL)
            for _ in range(self._generator.integers(3, 7)):
                yield -back * inwards

    def _drawn_push(self) -> tuple[Pixels, Pixels, int]:
        """Draw a point on the block's edge, the direction (2,) to push in, and the number of steps."""
        draw, center = self._generator.uniform, self._center
        for _ in range(TRIES):
            inwards = _turned(np.array([1.0, 0.0]), draw(-np.pi, np.pi))
            aside = self._generator.normal(0, 30) * np.array([-inwards[1], inwards[0]])
            contact = self._edge(center + aside - 2 * AROUND * inwards, center + aside + AROUND * inwards)
            steps = int(self._generator.integers(*STEPS))
            if contact is None:
                continue
            ends_at = center + steps * np.mean(PUSH) * inwards
            behind = contact - (AGENT + CLEARANCE) * inwards
            if (
                ends_at.min() > MARGIN
                and ends_at.max() < self._environment.window_size - MARGIN
                and self._inside(behind)
            ):
                break
        return (center if contact is None else contact), inwards, steps

    def _way_to(self, place: Pixels, speed: float) -> Iterator[Pixels]:
        """Yield ways to a place, around the block where that lies between; it is given up after a while."""
        side = None
        for _ in range(PATIENCE):
            agent = self._agent
            away = place - agent
            if self._edge(agent, place, AGENT + 2) is not None:
                side = side or self._side(agent, place)
                away = self._on_circle(agent, side * 0.5) - agent
            distance = float(np.linalg.norm(away))
            yield away * min(1.0, speed / max(distance, 1.0))
            if np.linalg.norm(place - self._agent) < max(speed, AGENT) / 2:
                return

    def _side(self, agent: Pixels, place: Pixels) -> float:
        """The side on which to go around the block, 1 or -1: the shorter way, unless the walls are in it only."""
        here, there = (np.arctan2(*(one - self._center)[::-1]) for one in (agent, place))
        turn = (there - here + np.pi) % (2 * np.pi) - np.pi
        shorter = float(np.sign(turn) or 1.0)
        ways = {shorter: abs(turn), -shorter: 2 * np.pi - abs(turn)}
        outside = {
            side: sum(not self._inside(self._on_circle(agent, side * angle)) for angle in np.arange(0.5, way, 0.5))
            for side, way in ways.items()
        }
        return min(ways, key=lambda side: (outside[side], side != shorter))

    def _on_circle(self, agent: Pixels, angle: float) -> Pixels:
        """The place on the circle around the block that lies by this angle, radians, farther than the agent."""
        center = self._center
        there = np.arctan2(*(agent - center)[::-1]) + angle
        return center + AROUND * np.array([np.cos(there), np.sin(there)])

    def _towards(self, contact: Pixels, inwards: Pixels) -> Pixels:
        """The direction from the agent to the point of contact; the drawn one where the agent is there."""
        away = contact - self._agent
        distance = float(np.linalg.norm(away))
        return away / distance if distance > AGENT else inwards

    def _edge(self, start: Pixels, end: Pixels, radius: float = 0.0) -> Pixels | None:
        """The first place at which a disk of this radius meets the block on its way; None if it does not."""
        a, b = Vec2d(*start), Vec2d(*end)
        met = [found for shape in self._environment.block.shapes if (found := shape.segment_query(a, b, radius))]
        return np.array(min(met, key=lambda one: one.alpha).point) if met else None

    def _inside(self, place: Pixels) -> bool:
        low, high = self._arena
        return bool(low <= place.min() and place.max() <= high)

    @property
    def _agent(self) -> Pixels:
        return np.array(self._environment.agent.position)

    @property
    def _center(self) -> Pixels:
        block = self._environment.block
        return np.array(block.local_to_world(block.center_of_gravity))


def _turned(way: Pixels, angle: float) -> Pixels:
    """Turn a direction (2,) by an angle, radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * way[0] - sin * way[1], sin * way[0] + cos * way[1]])
