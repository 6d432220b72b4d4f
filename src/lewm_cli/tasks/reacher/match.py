"""The difference between two poses of the arm, joint by joint."""

import numpy as np

WITHIN = 0.05
"""Radians within which every joint has to be: the simulator's own threshold."""

SHOULDER = 0
"""The joint without limits: it can turn around and around."""


def joint_errors(qpos: np.ndarray, target: np.ndarray, *, wrap_shoulder: bool = False) -> np.ndarray:
    """Absolute difference (2,) of shoulder and wrist angle, radians.

    Args:
        qpos, target: (2,).
        wrap_shoulder: take the shoulder the shorter way around. The simulator compares raw angles, so that a pose
            that looks the same after a whole turn is another one to it.
    """
    errors: np.ndarray = np.abs(np.asarray(qpos, float) - np.asarray(target, float))
    if wrap_shoulder:
        turned = errors[SHOULDER] % (2 * np.pi)
        errors[SHOULDER] = min(turned, 2 * np.pi - turned)
    return errors


def matches(errors: np.ndarray) -> bool:
    """Tell if every joint is near enough."""
    return bool((errors < WITHIN).all())
