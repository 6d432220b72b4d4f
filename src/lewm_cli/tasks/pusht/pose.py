"""Success criteria of PushT: the simulator's rule, a tighter one, and the part of it that asks for pushing."""

import numpy as np

REACH = 20.0
"""Pixels of 512 that agent and block together may be away from their goals."""

TURN = np.pi / 9
"""Radians that the block may be turned away from its goal."""


def gap(state: np.ndarray, goal: np.ndarray) -> float:
    """Distance of agent and block together, as one vector of four coordinates; states (7,), pixels of 512."""
    return float(np.linalg.norm(state[:4] - goal[:4]))


def turn(state: np.ndarray, goal: np.ndarray) -> float:
    """Angle between the blocks of two states (7,), the short way around: radians in [0, pi]."""
    return float(abs((state[4] - goal[4] + np.pi) % (2 * np.pi) - np.pi))


def reached(state: np.ndarray, goal: np.ndarray) -> bool:
    """Tell if agent and block are at the goal; velocities do not matter."""
    return gap(state, goal) < REACH and turn(state, goal) < TURN


def block_in_place(state: np.ndarray, goal: np.ndarray) -> bool:
    """Tell if the block is at its goal to half of the tolerances."""
    return float(np.linalg.norm(state[2:4] - goal[2:4])) < REACH / 2 and turn(state, goal) < TURN / 2


def block_has_to_move(start: np.ndarray, goal: np.ndarray) -> bool:
    """Tell if the goal cannot be reached by moving the agent alone."""
    return float(np.linalg.norm(start[2:4] - goal[2:4])) >= REACH or turn(start, goal) >= TURN
