"""`lewm_cli.Policy`: acts as the evaluation does, in the units of the recording, one frame at a time."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

import lewm_cli
from drawing import drawing_simulator
from lewm_cli.config import ActionStats, EvalProtocol, PlannerConfig
from lewm_cli.control import Planner
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import evaluate
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.plan import Plan, Problem
from lewm_cli.plan.cem import CEM
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.tasks import CUBE, REACHER, TASKS, Task, find_task
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator
from places import GOAL, PICK, QUICK, RUN, START
from synthetic import write_recording

pytest_plugins = ("untrained",)

PLANNER = PlannerConfig(**QUICK)
PAGE = Path(__file__).parents[2] / "docs" / "robot.md"

Frames = tuple[np.ndarray, np.ndarray]


def drive(policy: lewm_cli.Policy, simulator: TwoRoomSimulator, steps: int) -> np.ndarray:
    """Actions (steps, A) of a policy that sees what comes of them."""
    simulator.begin(START, GOAL)
    actions = []
    for _ in range(steps):
        actions.append(policy.act(simulator.frame()))
        simulator.step(actions[-1])
    return np.stack(actions)


# As the evaluation


@dataclass
class Recorder(TwoRoomSimulator):
    """The real simulator, which remembers what was done in it since each `begin`."""

    taken: list[list[np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self.taken.append([])
        super().begin(start, goal)

    def step(self, action: np.ndarray) -> None:
        self.taken[-1].append(np.array(action))
        super().step(action)


@dataclass
class Spy:
    """The planner of an evaluation, which remembers how its generators were seeded."""

    solver: CEM
    seeds: list[int] = field(default_factory=list)

    def solve(self, problem: Problem) -> Plan:
        self.seeds += [generator.initial_seed() for generator in problem.generators]
        return self.solver.solve(problem)


@pytest.mark.parametrize(("receding", "warm_start"), [(1, False), (3, False), (3, True), (5, False)])
def test_policy_takes_the_actions_of_the_evaluation(
    tworoom_run: Run, tworoom: TwoRoomSimulator, tmp_path: Path, receding: int, warm_start: bool
):
    states = np.tile(START, (60, 1))
    dataset = open_dataset(write_recording(tmp_path / "x.h5", [60], dims=2, columns={"proprio": states}), "x")
    planner = PlannerConfig(**QUICK, receding=receding, warm_start=warm_start)
    recorders, spy = [], Spy(CEM(planner))

    def make_recorder() -> Recorder:
        recorders.append(Recorder())
        return recorders[-1]

    result = evaluate(
        tworoom_run,
        replace(find_task("tworoom"), make_simulator=make_recorder),
        dataset,
        [Pair(0, 0, 25, START, GOAL)],
        EvalProtocol(pairs=1, planner=planner),
        Planner(tworoom_run, planner, solver=spy),
        held_out=True,
        advance=lambda done: None,
    )
    steps = result.episodes[0].first_hit or 50  # a goal that was reached is looked at for a few steps more
    taken = np.stack(recorders[0].taken[0])[:steps]  # in the others random actions are taken
    assert len(taken) == steps
    assert len(taken) > receding * 5  # more than one plan was made
    assert len(set(spy.seeds)) == 1
    tworoom.begin(START, GOAL)
    policy = lewm_cli.Policy(tworoom_run, tworoom.goal_frame(), planner=planner, seed=spy.seeds[0], clip=False)
    np.testing.assert_allclose(drive(policy, tworoom, len(taken)), taken, atol=1e-5)


def test_planner_of_the_evaluation_is_the_default(tworoom_run: Run, pick_run: Run, frames: Frames):
    for run in (tworoom_run, pick_run):
        assert lewm_cli.Policy(run, frames[1]).planner == EvalProtocol().planner


# One frame, one action


def test_plans_are_made_when_their_blocks_are_used_up(tworoom_run: Run, frames: Frames):
    policy = lewm_cli.Policy(tworoom_run, frames[1], planner=PlannerConfig(**QUICK, receding=2))
    assert policy.plan is None
    plans = []
    for _ in range(25):
        action = policy.act(frames[0])
        assert (action.shape, action.dtype) == ((2,), np.float32)
        plans.append(policy.plan)
    changes = [step for step in range(1, 25) if plans[step] is not plans[step - 1]]
    assert changes == [10, 20]
    assert policy.plan.seconds > 0


def test_handed_out_are_the_first_blocks_of_the_plan_in_order(pick_run: Run, frames: Frames):
    policy = lewm_cli.Policy(pick_run, frames[1], planner=PlannerConfig(**QUICK, receding=3))
    actions = np.stack([policy.act(frames[0]) for _ in range(6)])
    stats = pick_run.card.inputs.actions
    assert actions.shape == (6, 7)
    expected = policy.plan.actions[0, :3].numpy().reshape(6, 7) * np.array(stats.std) + np.array(stats.mean)
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


def test_actions_are_in_the_units_of_the_run(
    home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard], frames: Frames
):
    card, normalized = small_card(small_model), []
    for number, (mean, std) in enumerate([((0.0, 0.0), (1.0, 1.0)), ((-3.0, 40.0), (0.01, 200.0))]):
        inputs = card.inputs.model_copy(update={"actions": ActionStats(mean=mean, std=std)})
        save_run(RunFiles(home.run_stem(f"x/{number}")), small_model, card.model_copy(update={"inputs": inputs}))
        policy = lewm_cli.Policy(load_run(home, f"x/{number}"), frames[1], planner=PLANNER, clip=False)
        normalized.append([(policy.act(frames[0]) - mean) / std for _ in range(10)])
    np.testing.assert_allclose(*normalized, atol=1e-3)


def test_seed_decides_and_reset_begins_anew(tworoom_run: Run, tworoom: TwoRoomSimulator, frames: Frames):
    start, goal = frames
    policy = lewm_cli.Policy(tworoom_run, goal, planner=PLANNER, seed=7)
    first = drive(policy, tworoom, 30)
    policy.act(start)
    policy.reset(goal)
    assert policy.plan is None
    assert np.array_equal(drive(policy, tworoom, 30), first)
    assert np.array_equal(drive(lewm_cli.Policy(tworoom_run, goal, planner=PLANNER, seed=7), tworoom, 30), first)
    assert not np.allclose(drive(lewm_cli.Policy(tworoom_run, goal, planner=PLANNER, seed=8), tworoom, 30), first)
    policy.reset(start)
    assert not np.allclose(drive(policy, tworoom, 30), first)


def test_distance_is_the_cost_that_plans_are_made_by(tworoom_run: Run, frames: Frames):
    start, goal = frames
    policy = lewm_cli.Policy(tworoom_run, goal)
    latents = tworoom_run.embed(np.stack([start, goal])).double()
    assert policy.distance(goal) == 0
    assert policy.distance(start) == pytest.approx(float((latents[0] - latents[1]).square().sum()), rel=1e-4)
    policy.reset(start)
    assert policy.distance(start) == 0


@pytest.mark.slow
def test_threads_of_the_caller_come_back(tworoom_run: Run, frames: Frames):
    torch.set_num_threads(2)
    try:
        lewm_cli.Policy(tworoom_run, frames[1], planner=PLANNER).act(frames[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# What it is given


def test_goal_is_a_frame_or_a_file(tworoom_run: Run, images: tuple[Path, Path], frames: Frames):
    expected = lewm_cli.Policy(tworoom_run, frames[1]).distance(frames[0])
    assert expected > 0
    for goal in (images[1], str(images[1])):
        assert lewm_cli.Policy(tworoom_run, goal).distance(frames[0]) == expected


def test_run_goes_by_name(home: Home, tworoom_run: Run, frames: Frames):
    by_name, by_run = (lewm_cli.Policy(run, frames[1], planner=PLANNER) for run in (RUN, tworoom_run))
    assert np.array_equal(by_name.act(frames[0]), by_run.act(frames[0]))
    with pytest.raises(MissingError, match=f"did you mean '{RUN}'"):
        lewm_cli.Policy("tworoom/lewn", frames[1])


def test_mirrored_views_of_a_camera_are_taken(tworoom_run: Run, frames: Frames):
    policy = lewm_cli.Policy(tworoom_run, frames[1][:, ::-1, ::-1], planner=PLANNER)
    seen = frames[0][:, :, ::-1]
    assert policy.distance(seen) == policy.distance(seen.copy()) > 0
    assert np.isfinite(policy.act(seen)).all()


WRONG = [
    (np.zeros((224, 224, 3), np.float32), "is float32 of shape (224, 224, 3); give an RGB frame as a NumPy array"),
    (np.zeros((224, 224), np.uint8), "is uint8 of shape (224, 224); give"),
    (np.zeros((224, 224, 4), np.uint8), "is uint8 of shape (224, 224, 4); give"),
    (np.zeros((3, 224, 224), np.uint8), "is uint8 of shape (3, 224, 224); give"),
    (np.zeros((1, 224, 224, 3), np.uint8), "is uint8 of shape (1, 224, 224, 3); give"),
    (np.zeros((480, 640, 3), np.uint8), "is 640 x 480 pixels, and frames are square; crop it"),
    (np.zeros((0, 0, 3), np.uint8), "is 0 x 0 pixels"),
    ([[0, 0, 0]], "is list; give"),
    (None, "is NoneType; give"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_what_is_no_frame_is_refused(tworoom_run: Run, frames: Frames, wrong: object, said: str):
    policy = lewm_cli.Policy(tworoom_run, frames[1], planner=PLANNER)
    policy.act(frames[0])
    for refuses, what in ((policy.act, "the frame"), (policy.distance, "the frame"), (policy.reset, "the goal")):
        with pytest.raises(LewmError, match=re.escape(f"{what} {said}")) as refused:
            refuses(wrong)
        assert "\n" not in str(refused.value)


def test_goal_that_is_refused_leaves_the_policy_as_it_was(tworoom_run: Run, frames: Frames, tmp_path: Path):
    policy, other = (lewm_cli.Policy(tworoom_run, frames[1], planner=PLANNER) for _ in range(2))
    assert np.array_equal(policy.act(frames[0]), other.act(frames[0]))
    with pytest.raises(MissingError, match="there is no image"):
        policy.reset(tmp_path / "nothing.png")
    assert np.array_equal(policy.act(frames[0]), other.act(frames[0]))


# The page


@pytest.mark.slow
def test_loop_of_the_page_drives_a_robot(
    home: Home, pick_run: Run, tworoom_run: Run, tworoom: TwoRoomSimulator, frames: Frames, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    page = PAGE.read_text(encoding="utf-8").replace("robot/lewm", PICK)
    loop, choices, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for suffix in (".safetensors",):  # the robot is TwoRoom, stepping for real
        Path(f"{home.run_stem(PICK)}{suffix}").write_bytes(Path(f"{home.run_stem(RUN)}{suffix}").read_bytes())
    monkeypatch.chdir(tmp_path)
    imageio.imwrite("goal.png", frames[1])
    monkeypatch.setattr("lewm_cli.control.run_actor.task_planner", lambda name: PLANNER)
    tworoom.begin(START, GOAL)
    taken: list[np.ndarray] = []
    camera = SimpleNamespace(read=tworoom.frame)
    robot = SimpleNamespace(step=lambda action: (taken.append(action), tworoom.step(action)))
    exec(loop, {"camera": camera, "robot": robot})
    assert 0 < len(taken) <= 100
    policy = lewm_cli.Policy(PICK, "goal.png", planner=PLANNER)
    assert np.array_equal(drive(policy, tworoom, len(taken)), np.stack(taken))
    chosen: dict[str, object] = {}
    exec(choices, chosen)
    assert chosen["policy"].planner.receding == 1


@pytest.mark.slow
def test_policy_is_imported_when_it_is_asked_for():
    script = "import sys, lewm_cli; assert 'torch' not in sys.modules; lewm_cli.Policy; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


# Resets


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_reset_begins_where_a_demonstration_does(task: Task, monkeypatch: pytest.MonkeyPatch):
    if task in (CUBE, REACHER):  # their frames are dear
        simulator = drawing_simulator(task.name)
        monkeypatch.setattr(f"lewm_cli.tasks.{task.name}.simulator.STEPS", 2)
    else:
        simulator = task.make_simulator()
    frames = []
    for seed in (0, 1):
        episode = simulator.demonstrate(np.random.SeedSequence(seed), any_start=False)
        simulator.reset(np.random.SeedSequence(seed))
        frames.append(simulator.frame())
        assert np.array_equal(frames[-1], episode.pixels[0])
    assert not np.array_equal(*frames)
