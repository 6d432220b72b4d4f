"""Fixtures that take long to make and are made once: a real recording, a run trained on it, and small disks."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Done, lewm
from synthetic import TINY, write_recording

DEMOS = "tworoom/demos"
EPISODES = 12
PUSHES = 8


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one recording of TwoRoom; not to be written to."""
    home = tmp_path_factory.mktemp("demos")
    recorded = lewm(home, "collect", "tworoom", "--episodes", EPISODES, "--seed", 0, "--workers", 2)
    assert recorded.code == 0, recorded.err
    return home


@pytest.fixture(scope="session")
def other_demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with another recording of TwoRoom under the same name: another seed, any start."""
    home = tmp_path_factory.mktemp("other")
    recorded = lewm(home, "collect", "tworoom", "--episodes", EPISODES, "--seed", 1, "--workers", 1, "--any-room")
    assert recorded.code == 0, recorded.err
    return home


@pytest.fixture(scope="session")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one recording of PushT; not to be written to."""
    home = tmp_path_factory.mktemp("pushes")
    recorded = lewm(home, "collect", "pusht", "--episodes", PUSHES, "--seed", 0, "--workers", 2)
    assert recorded.code == 0, recorded.err
    assert recorded.err.splitlines()[-1] == "next: lewm train pusht --dataset pusht/demos"
    return home


@pytest.fixture(scope="session")
def training(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A home with the recording and a run `tworoom/lewm`, hardly trained, and the command that trained it."""
    home = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(demos, home)
    settings = ("--set", "monitor.every=10", "--set", "monitor.clips=64")
    done = lewm(home, "train", "tworoom", "--preset", "small", "--method", "lewm", "--steps", 20, *settings)
    assert done.code == 0, done.err
    return home, done


@pytest.fixture(scope="session")
def trained(training: tuple[Path, Done]) -> Path:
    """The home of the run `tworoom/lewm`; not to be written to."""
    return training[0]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file for --config that trains in a second."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    """A home of its own with a small recording of no known task, `robot/pick`."""
    home = tmp_path / "robot-home"
    write_recording(home / "robot" / "pick.h5")
    return home


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts an empty disk of a size like `4m`."""
    mounted = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no `mount` command to make a small disk with")
        if tried.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {tried.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
