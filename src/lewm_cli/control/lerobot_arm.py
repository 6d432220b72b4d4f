"""A robot of LeRobot as `ControlLoop` drives it: `lerobot.robots.Robot` of 0.4.4, which is not imported here."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from lewm_cli.control.actor import Actions, Observation
from lewm_cli.control.limits import known_action
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.store import Run
from lewm_cli.suggestion import few

Feature = type | tuple[int, ...]
"""The type of a number, or the shape (H, W, 3) of a camera's frames."""


class LeRobotDevice(Protocol):
    """The part of `lerobot.robots.Robot` that is used."""

    @property
    def observation_features(self) -> Mapping[str, Any]:
        """Name and `Feature` of everything that is observed."""

    @property
    def action_features(self) -> Mapping[str, Any]:
        """Name and type of every number of an action."""

    @property
    def is_connected(self) -> bool:
        """True while it can be used."""

    def connect(self) -> None:
        """Begin to use it."""

    def disconnect(self) -> None:
        """End to use it."""

    def get_observation(self) -> Mapping[str, Any]:
        """A value for every observed feature."""

    def send_action(self, action: dict[str, Any]) -> Mapping[str, Any]:
        """Take an action; returns what was sent in the end."""


class LeRobotArm:
    """Turns observations of a LeRobot robot into what a run sees, and actions of a run into what it takes.

    Used with `with`, it is connected, and disconnected at the end whatever happens.

    Args:
        robot: an instance of a subclass of `lerobot.robots.Robot`, such as `SO101Follower`.
        run: whose actions it takes: names, order and width come from its card.
        camera: key of the camera that the recording was made with; the only one if not given.
        action_names: in the order of the recording, where the run does not know them.
        state_names: of the proprioception, for a run that takes it; all numbers observed, in their order, if not given.
        hold: the action that keeps the robot where it is, (A,), where the position is no action: zeros for velocities.
            The observed position, if not given.

    Raises:
        LewmError: the robot has other actions, no such camera, or a position that is no action.
        UsageError: names or numbers that are missing, or are too many or too few for the run.
    """

    def __init__(
        self,
        robot: LeRobotDevice,
        run: Run,
        *,
        camera: str | None = None,
        action_names: Sequence[str] = (),
        state_names: Sequence[str] = (),
        hold: npt.ArrayLike | None = None,
    ) -> None:
        inputs, observed = run.card.inputs, robot.observation_features
        self.robot, self.run = robot, run
        self.action_names = _names(run, action_names, robot.action_features)
        self.camera = _camera(run, camera, observed)
        self.state_names: tuple[str, ...] = ()
        if inputs.proprio:
            self.state_names = tuple(state_names) or tuple(key for key, kind in observed.items() if kind is float)
            absent = [name for name in self.state_names if name not in observed]
            if absent or len(self.state_names) != inputs.proprio.dim:
                raise UsageError(
                    f"{run.name} takes {inputs.proprio.dim} numbers of proprioception, and here are "
                    f"{few(self.state_names) or 'none'}; name those of the recording, in their order, as state_names"
                )
        self._rest = None if hold is None else known_action(hold, inputs)
        self._held: Actions | None = None
        self._sent: Actions | None = None
        self._grips = np.array(["gripper" in name for name in self.action_names])
        unseen = [name for name in self.action_names if name not in observed]
        if hold is None and unseen:
            raise LewmError(
                f"the robot takes {few(unseen)} and does not observe them, so its position is no action; give the "
                "action that keeps it where it is, for example hold=[0.0, 0.0]"
            )

    def __enter__(self) -> Self:
        if not self.robot.is_connected:
            self.robot.connect()
        return self

    def __exit__(self, *failure: object) -> None:
        self.disconnect()

    def observe(self) -> Observation:
        """See `Robot`."""
        found = self.robot.get_observation()
        proprio = np.array([found[name] for name in self.state_names], np.float32) if self.state_names else None
        return Observation(np.asarray(found[self.camera]), proprio)

    def position(self) -> Actions:
        """The action (A,) that keeps it where it is: the position observed now, or the `hold` that was given."""
        if self._rest is not None:
            return self._rest
        found = self.robot.get_observation()
        return np.array([found[name] for name in self.action_names], np.float32)

    def send(self, action: Actions) -> None:
        """See `Robot`."""
        self._held = None
        self._send(action)
        self._sent = action

    def hold(self) -> None:
        """Stay where it was when it was first asked to: a position read again and again would sink.

        A gripper keeps to the action sent last: at the position observed around a thing it would let go of it.
        """
        if self._held is None:
            self._held = self.position()
            if self._rest is None and self._sent is not None:
                self._held = np.where(self._grips, self._sent, self._held)
        self._send(self._held)

    def disconnect(self) -> None:
        """Let go of it, unless that is done."""
        if self.robot.is_connected:
            self.robot.disconnect()

    def _send(self, action: Actions) -> None:
        if not np.isfinite(action).all():
            raise LewmError(
                f"an action has to be finite numbers, and the policy, or the robot's own position to hold, gave "
                f"{action.tolist()}; nothing was sent"
            )
        self.robot.send_action(dict(zip(self.action_names, map(float, action), strict=True)))


def _names(run: Run, given: Sequence[str], features: Mapping[str, Any]) -> tuple[str, ...]:
    inputs = run.card.inputs
    names = tuple(given) or inputs.action_names
    if not names:
        raise UsageError(
            f"{run.name} does not know the names of its {inputs.actions.dim} action dimensions; give them in the order "
            f"of the recording: action_names=[{few(map(repr, features))}]"
        )
    if given and inputs.action_names and names != inputs.action_names:
        raise UsageError(f"{run.name} was trained on actions named {few(inputs.action_names)}; leave action_names out")
    if len(names) != inputs.actions.dim or len(set(names)) != len(names):
        raise UsageError(f"{run.name} takes {inputs.actions.dim} action dimensions, and {len(set(names))} are named")
    if set(names) != set(features):
        missing, more = set(names) - set(features), set(features) - set(names)
        parts = [f"lacks {few(sorted(missing))}"] * bool(missing) + [f"also takes {few(sorted(more))}"] * bool(more)
        raise LewmError(
            f"the robot {' and '.join(parts)}, and {run.name} was trained on {few(names)}; use the robot that "
            "was recorded"
        )
    return names


def _camera(run: Run, given: str | None, observed: Mapping[str, Any]) -> str:
    cameras = [key for key, kind in observed.items() if isinstance(kind, tuple)]
    if given is None and len(cameras) == 1:
        return cameras[0]
    if given not in cameras:
        asked = "it has several" if given is None and cameras else f"there is no {given!r}" if given else "it has none"
        raise LewmError(
            f"{run.name} looks through one camera, and {asked}: the robot observes {few(cameras) or 'no frames'}; name "
            "the one of the recording, camera=..."
        )
    assert given is not None
    return given
