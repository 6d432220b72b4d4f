"""A robot of LeRobot in the loop: a stand-in with the same interface, and the real classes where LeRobot is installed.

`lerobot.robots.Robot` and `SO101Follower` of 0.4.4 run on hardware that is made up: a bus whose motors move towards
their goals, and a camera that draws where they are.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lewm_cli
from lewm_cli.config import ActionBounds, ActionStats, Framing, PlannerConfig, ProprioStats
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from places import QUICK

pytestmark = pytest.mark.filterwarnings("ignore:no alarm of")

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(f"{motor}.pos" for motor in MOTORS)
PLANNER = PlannerConfig(**QUICK, receding=2)
HEIGHT, WIDTH = 48, 64
NAME = "robot/so101"


@dataclass
class Hardware:
    """Six motors, which move at most 4 units at a time, and what a camera sees of them."""

    position: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MOTORS, 10.0))
    sent: list[dict[str, float]] = field(default_factory=list)
    connected: bool = False
    lasts: float = np.inf
    """Goals until the bus does not answer any more."""

    def move(self, goals: dict[str, float]) -> None:
        if len(self.sent) >= self.lasts:
            raise ConnectionError("no status packet")
        self.sent.append(dict(goals))
        for motor, goal in goals.items():
            self.position[motor] += float(np.clip(goal - self.position[motor], -4, 4))

    def frame(self) -> np.ndarray:
        frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        x, y = (int(np.clip(self.position[motor] + 20, 0, 40)) for motor in MOTORS[:2])
        frame[y : y + 8, x : x + 8] = (230, 60, 40)
        return frame


class StandIn:
    """The interface of `lerobot.robots.Robot`."""

    def __init__(self, config: Any) -> None:
        self.id = config.id


def mocked(base: type, hardware: Hardware, cameras: tuple[str, ...] = ("front",)) -> type:
    """A subclass of `Robot` for the hardware."""

    class MockedArm(base):
        config_class = SimpleNamespace
        name = "mocked_arm"

        @property
        def observation_features(self) -> dict:
            return dict.fromkeys(JOINTS, float) | dict.fromkeys(cameras, (HEIGHT, WIDTH, 3))

        @property
        def action_features(self) -> dict:
            return dict.fromkeys(JOINTS, float)

        @property
        def is_connected(self) -> bool:
            return hardware.connected

        def connect(self, calibrate: bool = True) -> None:
            assert not hardware.connected
            hardware.connected = True

        @property
        def is_calibrated(self) -> bool:
            return True

        def calibrate(self) -> None:
            pass

        def configure(self) -> None:
            pass

        def get_observation(self) -> dict:
            assert hardware.connected
            seen = {f"{motor}.pos": value for motor, value in hardware.position.items()}
            return seen | {camera: hardware.frame() for camera in cameras}

        def send_action(self, action: dict) -> dict:
            assert hardware.connected
            hardware.move({key.removesuffix(".pos"): value for key, value in action.items()})
            return action

        def disconnect(self) -> None:
            assert hardware.connected
            hardware.connected = False

    return MockedArm


Build = Callable[[Hardware], Any]


@pytest.fixture(params=["a stand-in", "lerobot.robots.Robot", "SO101Follower"])
def build(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Makes a robot of some hardware."""
    config = SimpleNamespace(id="test", calibration_dir=tmp_path)
    if request.param == "a stand-in":
        return lambda hardware: mocked(StandIn, hardware)(config)
    robots = pytest.importorskip("lerobot.robots", reason="LeRobot has a place of its own: docs/robot.md")
    if request.param == "lerobot.robots.Robot":
        return lambda hardware: mocked(robots.Robot, hardware)(config)
    from lerobot.cameras.opencv import OpenCVCameraConfig
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig, so_follower

    def follower(hardware: Hardware) -> Any:
        def connect(on: bool) -> None:
            hardware.connected = on

        bus = SimpleNamespace(
            motors=dict.fromkeys(MOTORS),
            connect=lambda: connect(True),
            disconnect=lambda disable_torque: connect(False),
            is_calibrated=True,
            sync_read=lambda register: dict(hardware.position),
            sync_write=lambda register, goals: hardware.move(goals),
        )
        type_ = type("Bus", (SimpleNamespace,), {"is_connected": property(lambda self: hardware.connected)})
        camera = SimpleNamespace(
            is_connected=True, connect=lambda: None, disconnect=lambda: None, read_latest=hardware.frame
        )
        monkeypatch.setattr(so_follower, "FeetechMotorsBus", lambda **given: type_(**vars(bus)))
        monkeypatch.setattr(so_follower, "make_cameras_from_configs", lambda configs: dict.fromkeys(configs, camera))
        monkeypatch.setattr(SO101Follower, "configure", lambda self: None)  # registers of the motors
        seen = OpenCVCameraConfig(index_or_path=0, fps=30, width=WIDTH, height=HEIGHT)
        settings = SO101FollowerConfig(port="nowhere", id="test", calibration_dir=tmp_path, cameras={"front": seen})
        return SO101Follower(settings)

    return follower


@pytest.fixture
def run(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard], scramble: Callable) -> Run:
    """A run of this robot, never trained, whose recording was imported."""
    model = scramble(JEPA(small_model.config, block_dim=12)).eval()
    inputs = small_card(small_model).inputs.model_copy(
        update={
            "task": "generic",
            "frameskip": 2,
            "actions": ActionStats(mean=(10.0,) * 6, std=(5.0,) * 6),
            "bounds": ActionBounds(low=(0.0,) * 6, high=(18.0,) * 6),
            "action_names": JOINTS,
            "fps": 50.0,
            "framing": Framing(width=WIDTH, height=HEIGHT, size=HEIGHT),
        }
    )
    save_run(RunFiles(home.run_stem(NAME)), model, small_card(small_model).model_copy(update={"inputs": inputs}))
    return load_run(home, NAME)


def with_inputs(run: Run, **update: object) -> Run:
    return replace(run, card=run.card.model_copy(update={"inputs": run.card.inputs.model_copy(update=update)}))


def test_robot_follows_the_policy(run: Run, build: Build):
    hardware = Hardware()
    goal = Hardware(position=dict.fromkeys(MOTORS, 15.0)).frame()
    with lewm_cli.LeRobotArm(build(hardware), run, camera="front") as arm:
        assert hardware.connected
        policy = lewm_cli.Policy(run, goal, planner=PLANNER, max_step=3.0, seconds=60.0)
        policy.reset(goal, action=arm.position())
        drive = lewm_cli.ControlLoop(policy, arm, patience=60.0).run(20)
        held = [action for action in hardware.sent if set(action.values()) == {10.0}]
    assert not hardware.connected
    assert (drive.ended, drive.steps) == ("steps", 20)
    assert len(hardware.sent) == drive.steps + drive.held + 1
    assert held  # until the first plan was there
    sent = np.array([[action[motor] for motor in MOTORS] for action in hardware.sent])
    assert sent.min() >= 0
    assert sent.max() <= 18
    driven = sent[drive.held : -1] if drive.late == 0 else sent[:-1]
    assert np.abs(np.diff(driven, axis=0)).max() <= 3.0 + 1e-5
    assert np.abs(driven[0] - 10).max() <= 3.0 + 1e-5
    assert np.abs(np.diff(driven, axis=0)).max() > 0.5
    assert all(type(value) is float for value in hardware.sent[0].values())


def test_robot_that_fails_is_disconnected(run: Run, build: Build):
    hardware = Hardware(lasts=6)
    policy = lewm_cli.Policy(run, hardware.frame(), planner=PLANNER)
    with pytest.raises(ConnectionError, match="no status packet"), lewm_cli.LeRobotArm(build(hardware), run) as arm:
        lewm_cli.ControlLoop(policy, arm, patience=60.0).run(20)
    assert not hardware.connected
    assert len(hardware.sent) == 6


def test_held_position_is_the_first_and_not_where_it_sank_to(run: Run, build: Build):
    hardware = Hardware()
    with lewm_cli.LeRobotArm(build(hardware), run) as arm:
        arm.hold()
        hardware.position["elbow_flex"] = 8.0
        arm.hold()
        arm.send(np.full(6, 12.0, np.float32))
        arm.hold()
    assert [action["elbow_flex"] for action in hardware.sent] == [10.0, 10.0, 12.0, 12.0]
    assert [action["gripper"] for action in hardware.sent] == [10.0, 10.0, 12.0, 12.0]


def test_gripper_that_holds_does_not_let_go(run: Run, build: Build):
    hardware = Hardware()
    with lewm_cli.LeRobotArm(build(hardware), run) as arm:
        arm.send(np.full(6, 2.0, np.float32))  # 4 units at a time, or until it grips something
        arm.hold()
    assert hardware.sent[-1] == dict.fromkeys(MOTORS, 6.0) | {"gripper": 2.0}


def test_position_that_is_no_number_is_never_sent(run: Run, build: Build):
    hardware = Hardware(position=dict.fromkeys(MOTORS, 10.0) | {"wrist_roll": np.nan})
    with (
        lewm_cli.LeRobotArm(build(hardware), run) as arm,
        pytest.raises(LewmError, match="nothing was sent"),
    ):
        arm.hold()
    assert hardware.sent == []


def test_another_camera_size_is_refused_before_anything_moves(run: Run, build: Build):
    hardware, wide = Hardware(), with_inputs(run, framing=Framing(width=640, height=480, size=96))
    policy = lewm_cli.Policy(wide, np.zeros((96, 96, 3), np.uint8), planner=PLANNER)
    with lewm_cli.LeRobotArm(build(hardware), wide) as arm:
        with pytest.raises(LewmError, match="is 64 x 48 pixels, and the camera of the recording gave 640 x 480"):
            lewm_cli.ControlLoop(policy, arm).run(20)
        assert hardware.connected
    assert [set(action.values()) for action in hardware.sent] == [{10.0}]


def test_proprioception_is_what_the_recording_has(run: Run, build: Build):
    hardware = Hardware(position={motor: float(number) for number, motor in enumerate(MOTORS)})
    robot = build(hardware)
    taking = with_inputs(run, proprio=ProprioStats(mean=(0.0,) * 6, std=(1.0,) * 6))
    with lewm_cli.LeRobotArm(robot, taking) as arm:
        assert arm.observe().proprio.tolist() == [0, 1, 2, 3, 4, 5]
    with lewm_cli.LeRobotArm(robot, taking, state_names=JOINTS[::-1]) as arm:
        assert arm.observe().proprio.tolist() == [5, 4, 3, 2, 1, 0]
        assert arm.position().tolist() == [0, 1, 2, 3, 4, 5]
    with lewm_cli.LeRobotArm(robot, run) as arm:
        assert arm.observe().proprio is None
    with pytest.raises(UsageError, match="takes 6 numbers of proprioception, and here are"):
        lewm_cli.LeRobotArm(robot, taking, state_names=JOINTS[:5])


# What does not fit


@pytest.fixture
def stand_in() -> Any:
    return mocked(StandIn, Hardware())(SimpleNamespace(id="test"))


@pytest.mark.parametrize(
    ("inputs", "given", "said"),
    [
        (
            {"action_names": (*JOINTS[:5], "jaw.pos")},
            {},
            "the robot lacks jaw.pos and also takes gripper.pos, and robot/so101 was trained on shoulder_pan.pos",
        ),
        ({"action_names": ()}, {}, "robot/so101 does not know the names of its 6 action dimensions; give them in the"),
        ({}, {"action_names": JOINTS[::-1]}, "was trained on actions named shoulder_pan.pos"),
        ({"action_names": ()}, {"action_names": JOINTS[:5]}, "takes 6 action dimensions, and 5 are named"),
        ({"action_names": ()}, {"action_names": (*JOINTS[:5],) * 2}, "takes 6 action dimensions, and 5 are named"),
        ({}, {"camera": "wrist"}, "and there is no 'wrist': the robot observes front"),
        ({}, {"hold": [0.0] * 5}, "the action has the shape (5,), and the run takes 6 action dimensions"),
        ({}, {"hold": [np.nan] * 6}, "the action holds NaN"),
    ],
)
def test_robot_that_does_not_fit_is_refused(run: Run, stand_in: Any, inputs: dict, given: dict, said: str):
    with pytest.raises(LewmError, match=re.escape(said)):
        lewm_cli.LeRobotArm(stand_in, with_inputs(run, **inputs), **given)


def test_names_may_be_given_where_the_run_has_none(run: Run, stand_in: Any):
    arm = lewm_cli.LeRobotArm(stand_in, with_inputs(run, action_names=()), action_names=JOINTS)
    assert arm.action_names == JOINTS


@pytest.mark.parametrize(("cameras", "said"), [(("front", "wrist"), "it has several"), ((), "it has none")])
def test_camera_that_is_not_clear_is_asked_for(run: Run, cameras: tuple, said: str):
    robot = mocked(StandIn, Hardware(), cameras)(SimpleNamespace(id="test"))
    with pytest.raises(LewmError, match=said):
        lewm_cli.LeRobotArm(robot, run)


def test_velocities_need_an_action_that_holds(run: Run, stand_in: Any, monkeypatch: pytest.MonkeyPatch):
    seen = {"front": (HEIGHT, WIDTH, 3)}
    monkeypatch.setattr(type(stand_in), "observation_features", property(lambda self: seen))
    with pytest.raises(LewmError, match=r"its position is no action; give the action that keeps it where it is"):
        lewm_cli.LeRobotArm(stand_in, run)
    with lewm_cli.LeRobotArm(stand_in, run, hold=[0.0] * 6) as arm:
        arm.hold()
        assert arm.position().tolist() == [0.0] * 6
