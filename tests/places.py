"""Names, places and settings of the runs in `untrained`."""

import numpy as np

RUN = "tworoom/lewm"
PICK = "robot/pick"

START, GOAL = np.array([60.0, 50.0], np.float32), np.array([80.0, 170.0], np.float32)
"""In one room of TwoRoom, pixels."""

QUICK = {"candidates": 16, "elites": 4, "iterations": 2}
SETTINGS = tuple(word for key, value in QUICK.items() for word in ("--set", f"planner.{key}={value}"))
