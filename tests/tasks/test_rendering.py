"""MuJoCo draws without a screen and without a setting; where it cannot, one sentence says what to install."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from commands import lewm, lewm_here
from drawing import drawing_simulator
from lewm_cli.child import Attempt
from lewm_cli.errors import LewmError
from lewm_cli.tasks import CUBE, REACHER, find_task
from lewm_cli.tasks.mujoco import choose_backend, try_backend

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")
needs_reacher = pytest.mark.skipif(find_spec("dm_control") is None, reason="dm_control is not installed")

Planted = Callable[[str], list[str]]


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Nothing is set, and these back-ends draw and no other; returns the list of those that are tried."""

    def plant(*names: str) -> list[str]:
        tried: list[str] = []

        def attempt(program: str, *, seconds: float, variables: dict[str, str]) -> Attempt:
            tried.append(variables["MUJOCO_GL"])
            return Attempt(tried[-1] in names, "works" if tried[-1] in names else "aborts (SIGABRT)")

        monkeypatch.setattr("lewm_cli.tasks.mujoco.attempt", attempt)
        monkeypatch.setenv("MUJOCO_GL", "")  # so that what is chosen is undone, too
        monkeypatch.delenv("MUJOCO_GL")
        return tried

    return plant


@pytest.mark.parametrize(("names", "chosen"), [(["egl", "osmesa"], "egl"), (["osmesa"], "osmesa")])
def test_first_back_end_that_draws_is_chosen_once(working: Planted, names: list[str], chosen: str):
    tried = working(*names)
    choose_backend()
    assert os.environ["MUJOCO_GL"] == tried[-1] == chosen
    before = list(tried)
    choose_backend()
    assert tried == before


def test_back_end_that_is_set_is_not_questioned(working: Planted, monkeypatch: pytest.MonkeyPatch):
    tried = working()
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    choose_backend()
    assert (tried, os.environ["MUJOCO_GL"]) == ([], "glfw")


def test_without_any_back_end_it_is_said_what_to_install(working: Planted):
    tried = working()
    with pytest.raises(LewmError, match=r"apt-get install libegl1 libgl1-mesa-dri \(or: apt-get install libosmesa6\)"):
        choose_backend()
    assert tried == ["egl", "osmesa"]
    assert "MUJOCO_GL" not in os.environ


def test_other_systems_draw_by_themselves(working: Planted, monkeypatch: pytest.MonkeyPatch):
    tried = working()
    monkeypatch.setattr("sys.platform", "darwin")
    choose_backend()
    assert (tried, "MUJOCO_GL" in os.environ) == ([], False)


def test_back_end_is_tried_for_real():
    assert not try_backend("nonsense").works
    assert try_backend("egl", program="import os; os.abort()").says == "aborts (SIGABRT)"


@needs_reacher
@pytest.mark.slow
def test_driver_that_aborts_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "planted" / "mujoco").mkdir(parents=True)
    (tmp_path / "planted" / "mujoco" / "__init__.py").write_text("import os; os.abort()", encoding="utf-8")
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(tmp_path / "planted"), *([inherited] if inherited else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    home = tmp_path / "home"
    done = lewm(home, "collect", "reacher", "--episodes", 1)
    assert done.sentence().startswith("lewm: MuJoCo cannot draw here, neither with EGL nor with OSMesa; type: apt-get")
    assert [path for path in home.rglob("*") if path.suffix in (".h5", ".part")] == []


@needs_reacher
@pytest.mark.slow
def test_back_end_that_is_set_and_does_not_draw_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    done = lewm(tmp_path, "collect", "reacher", "--episodes", 1, "--workers", 1)
    assert done.sentence().startswith("lewm: MuJoCo cannot draw with MUJOCO_GL=disable (")
    assert done.sentence().endswith("type: unset MUJOCO_GL")


@pytest.mark.parametrize(("task", "package"), [("cube", "ogbench"), ("reacher", "dm_control"), ("cube", "mujoco")])
def test_missing_extra_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, package: str):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    monkeypatch.setattr("sys.version_info", (3, 12))
    sentence = lewm_here(tmp_path, "collect", task, "--episodes", 1).sentence()
    assert sentence == f'lewm: {task} needs {package}, which is not installed; type: pip install "lewm-cli[{task}]"'


def test_python_without_labmaze_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ogbench" else object())
    monkeypatch.setattr("sys.version_info", (3, 13))
    sentence = lewm_here(tmp_path, "collect", "cube", "--episodes", 1).sentence()
    assert "no release for Python 3.13; use Python 3.11 or 3.12" in sentence


@pytest.mark.parametrize("task", [CUBE, REACHER], ids=lambda task: task.name)
def test_mujoco_4_is_a_sentence(monkeypatch: pytest.MonkeyPatch, task):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("lewm_cli.tasks.mujoco.version", lambda name: "4.0.0")
    with pytest.raises(LewmError, match=r'mujoco 4\.0\.0 is installed.*type: pip install "mujoco<4"'):
        task.prepare()
    with pytest.raises(LewmError, match=r"mujoco 4\.0\.0"):
        task.make_simulator()


@needs_reacher
@pytest.mark.parametrize(("library", "outcome"), [("libEGL.so.1", LewmError), (None, pytest.skip.Exception)])
def test_tests_are_skipped_only_where_no_renderer_is_installed(
    working: Planted, monkeypatch: pytest.MonkeyPatch, library: str | None, outcome: type[BaseException]
):
    working()
    monkeypatch.setattr("drawing.find_library", lambda name: library if name == "EGL" else None)
    # Both are caught, for a skip that is not expected would skip this test.
    with pytest.raises((LewmError, pytest.skip.Exception), match="MuJoCo cannot draw here") as raised:
        drawing_simulator("reacher")
    assert raised.type is outcome


def test_tworoom_needs_nothing_of_it(working: Planted):
    tried = working()
    find_task("tworoom").prepare()
    assert tried == []
