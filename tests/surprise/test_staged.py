"""How violations are staged: both versions of an episode, step by step."""

import numpy as np
import pytest

from lewm_cli.surprise.staged import Scene, Staged, pixel_difference, stage
from lewm_cli.tasks import FROZEN, MATCHED, REVERSED, TWOROOM, Perturbation, Simulator
from lewm_cli.tasks.tworoom.walls import Walls

SIDE, SKIP, HISTORY = 40, 5, 3
THING, GROUND = (255, 250, 255), (0, 10, 0)
WALL = TWOROOM.perturbations[-1]


class Track(Simulator):
    """A white square of 4 pixels on a black ground; actions move it to the right, in pixels."""

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self.place, self.color = float(start[0]), THING

    def step(self, action: np.ndarray) -> None:
        self.place += float(action[0])

    def perturb(self, name: str, generator: np.random.Generator) -> float:
        if name == "teleport":
            self.place = 30.0
        else:
            self.color = (30, 30, 200)
        return 1.0

    def proprio(self) -> np.ndarray:
        return np.array([self.place])

    def frame(self) -> np.ndarray:
        frame = np.full((SIDE, SIDE, 3), GROUND, np.uint8)
        at = round(self.place)
        frame[18:22, at : at + 4] = self.color
        return frame


def staged(perturbation: Perturbation, steps: int = 10, event: int = 5, simulator: Simulator | None = None) -> Staged:
    """Block k of the track moves by (k + 1) / 2 pixels in all."""
    blocks = np.repeat((np.arange(1.0, steps + 1) / 2 / SKIP)[:, None, None], SKIP, axis=1)
    scene = Scene(np.array([2.0]), np.array([0.0]), blocks, event)
    return stage(simulator or Track(), perturbation, scene, HISTORY, np.random.default_rng(0))


def places(blocks: list[int], start: float = 2.0) -> list[float]:
    """Where the square is after each of these blocks."""
    return [start, *(start + np.cumsum([(block + 1) / 2 for block in blocks]))]


def test_world_stands_still_and_goes_on_from_there_with_later_actions():
    found = staged(FROZEN)
    untouched, frozen = places(list(range(10))), places([0, 1, 2, 3, 6, 7, 8, 9])
    assert found.untouched.proprio[:, 0] == pytest.approx(untouched)
    assert found.perturbed.proprio[:, 0] == pytest.approx([*frozen[:5], frozen[4], frozen[4], *frozen[5:]])
    assert found.size == FROZEN.lasts == 2
    assert (found.perturbed.frames[4] == found.perturbed.frames[6]).all()
    assert (found.perturbed.frames[:5] == found.untouched.frames[:5]).all()
    assert found.difference == pixel_difference(found.perturbed.frames[5], found.untouched.frames[5]) > 0


@pytest.mark.parametrize("event", [5, 2, 1])
def test_time_runs_backward_and_forward_again_without_a_jump(event: int):
    found = staged(REVERSED, event=event)
    forward = places(list(range(10)))
    back = [forward[max(event - 1 - k, 0)] for k in (1, 2)]
    later = places(list(range(event + 1, 10)), start=back[-1])[1:]
    assert found.perturbed.proprio[:, 0] == pytest.approx([*forward[:event], *back, *later])
    assert len(found.perturbed.frames) == len(found.untouched.frames) == 11
    assert found.perturbed.frames.shape == found.untouched.frames.shape


def test_matched_color_changes_the_picture_as_much_as_the_teleport():
    found = staged(MATCHED)
    moved = staged(Perturbation("teleport", "", ""))
    assert found.matched == moved.difference > 0
    assert found.difference == pytest.approx(found.matched, rel=0.02)
    # It needs more than the square: at another place two squares differ.
    changed = (found.perturbed.frames != found.untouched.frames).any(axis=3)
    assert not changed[:5].any()
    assert changed[5].sum() > 16
    assert changed[5:].any(axis=(1, 2)).all()
    assert (found.perturbed.proprio == found.untouched.proprio).all()


def test_thing_that_is_hidden_takes_no_color():
    class Dark(Track):
        def frame(self) -> np.ndarray:
            return np.zeros((SIDE, SIDE, 3), np.uint8)

    found = staged(MATCHED, simulator=Dark())
    assert (found.size, found.difference, found.matched) == (0, 0, 0)


@pytest.fixture(scope="module")
def tworoom() -> Simulator:
    return TWOROOM.make_simulator()


def in_tworoom(
    simulator: Simulator, perturbation: Perturbation, start: tuple[float, float], seed: int, history: int = HISTORY
) -> Staged:
    generator = np.random.default_rng([seed, 1])
    blocks = generator.uniform(-1, 1, (8, SKIP, 2)).astype(np.float32)
    scene = Scene(np.array(start, np.float32), np.array([160.0, 150.0], np.float32), blocks, 4)
    return stage(simulator, perturbation, scene, history, np.random.default_rng(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_matched_color_of_tworoom(tworoom: Simulator, seed: int):
    start = (60.0 + 5 * seed, 150.0)
    found = in_tworoom(tworoom, MATCHED, start, seed)
    moved = in_tworoom(tworoom, TWOROOM.perturbations[0], start, seed)
    assert found.matched == moved.difference
    assert found.difference == pytest.approx(found.matched, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("history", [1, 3, 6])
@pytest.mark.parametrize("start", [(40.0, 150.0), (60.0, 55.0), (60.0, 44.0), (180.0, 49.0), (150.0, 30.0)])
def test_agent_walks_through_the_wall_at_legal_speed(
    tworoom: Simulator, start: tuple[float, float], history: int, monkeypatch: pytest.MonkeyPatch
):
    seen: list[np.ndarray] = []
    step = tworoom.step
    monkeypatch.setattr(tworoom, "step", lambda action: (step(action), seen.append(tworoom.position())))
    found = in_tworoom(tworoom, WALL, start, 3, history)
    event, blocks = found.scene.event, found.scene.blocks
    assert len(blocks) == 2 * history + WALL.lasts - 1
    assert event == history
    untouched, through = np.split(np.stack(seen), 2)
    first = found.scene.start
    side = np.sign(first[0] - 112)
    assert side == np.sign(start[0] - 112)
    for path in (untouched, through):
        moves = np.diff(np.concatenate([first[None], path]), axis=0)
        assert np.linalg.norm(moves, axis=1).max() <= 5 + 1e-4
        assert (path[:, 1] == first[1]).all()
    # One stops at the wall, the other comes out of it on the other side, and the door is elsewhere.
    walls = Walls(112, 10, 49, 14, 7)
    assert walls.free(untouched)
    assert not walls.free(through)
    assert side * (untouched[-1, 0] - 112) > 0 > side * (through[-1, 0] - 112)
    assert (found.untouched.frames[:event] == found.perturbed.frames[:event]).all()
    assert found.difference > 0
    assert found.size == 24
    tworoom.begin(np.array(start), np.array(start))  # and then the wall holds again
    for _ in range(60):
        step(np.array([-side, 0.0]))
    assert walls.free(tworoom.position()[None])
