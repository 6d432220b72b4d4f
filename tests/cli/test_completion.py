"""Shells are told the names that fit what has been typed: asked as bash asks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import LEWM, PATIENCE, environment, lewm_here
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, save_run
from synthetic import write_recording


def completed(home: Path, line: str) -> list[str]:
    """Completes the last word of a line; nothing but names may be printed."""
    words = line.split(" ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_LEWM_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", line)
        patch.setenv("COMP_CWORD", str(len(words) - 1))
        done = lewm_here(home)
    assert done.err == ""
    return done.out.split("\n")[:-1] if done.out.strip() else []


@pytest.fixture
def shelf(home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> Path:
    """A home with a run and recordings, one of which a shell would take for two words."""
    save_run(RunFiles(home.run_stem("tworoom/lewm")), small_model, small_card(small_model))
    for name in ("robot/pick", "robot/place", "robot/pick up"):
        write_recording(home.write / f"{name}.h5")
    return home.write


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("lewm ev", ["eval"]),
        ("lewm eval ", ["tworoom/lewm"]),
        ("lewm eval rob", []),
        ("lewm report two", ["tworoom/lewm"]),
        ("lewm view tworoom/lewm two", ["tworoom/lewm"]),
        ("lewm demo two", ["tworoom/lewm"]),
        ("lewm demo tworoom/lewm --dataset robot/pl", ["robot/place"]),
        ("lewm eval tworoom/lewm --dataset ", ["robot/pick", "robot/place"]),
        ("lewm improve two", ["tworoom/lewm"]),
        ("lewm improve tworoom/lewm --validation robot/pl", ["robot/place"]),
        ("lewm show ", ["tworoom/lewm", "robot/pick", "robot/place"]),
        ("lewm rm robot/pick robot/pl", ["robot/place"]),
        ("lewm train r", ["reacher", "robot/pick", "robot/place"]),
        ("lewm train tworoom --preset ", ["release", "small"]),
        ("lewm train tworoom --method p", ["pldm", "prediction"]),
        ("lewm train tworoom --log t", ["tensorboard", "trackio"]),
        ("lewm plot two", ["tworoom/lewm"]),
        ("lewm plot tworoom/lewm --term s", ["speed"]),
        ("lewm presets tworoom/small --method de", ["delta"]),
        ("lewm me", ["methods"]),
        ("lewm fit tworoom/lewm --kind d", ["decoder"]),
        ("lewm decode two", ["tworoom/lewm"]),
        ("lewm decode x --re", ["--refit"]),
        ("lewm eval tworoom/lewm --protocol stri", ["strict"]),
        ("lewm eval tworoom/lewm --solver c", ["cem", "cem-gd"]),
        ("lewm surprise robot/pick --perturb ", ["teleport", "color", "matched", "frozen", "reversed", "wall"]),
        ("lewm surprise robot/pick --run=t", ["tworoom/lewm"]),
        ("lewm presets tworoom/s", ["tworoom/small"]),
        ("lewm collect cu", ["cube"]),
        ("lewm fetch pusht/d", ["pusht/dinowm", "pusht/dinowm_noprop"]),
        ("lewm im", ["import", "improve"]),
        ("lewm import demos.hdf5 --preset ", ["robomimic", "minari", "aloha"]),
        ("lewm eval x --go", ["--goal-image"]),
    ],
)
def test_names_that_fit_are_completed(shelf: Path, line: str, names: list[str]):
    assert completed(shelf, line) == names


def test_home_that_was_typed_is_looked_in(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHELF", str(shelf))
    for typed in (f"--home {shelf}", f"--home={shelf}", "--home $SHELF"):
        assert completed(tmp_path / "empty", f"lewm eval {typed} two") == ["tworoom/lewm"]
    assert completed(tmp_path / "empty", "lewm eval two") == []


@pytest.mark.parametrize("line", ["lewm eval ", "lewm eval --nonsense ", "lewm eval --home "])
def test_nothing_is_said_while_a_person_types(tmp_path: Path, line: str):
    (tmp_path / "home").write_text("no folder")
    assert completed(tmp_path / "home", line) == []


def test_three_hundred_runs_are_completed(shelf: Path):
    for number in range(300):
        shutil.copy(shelf / "tworoom" / "lewm.safetensors", shelf / f"run{number}.safetensors")
    assert len(completed(shelf, "lewm eval run")) == 300


def test_bash_completes_with_the_script_that_is_shown(shelf: Path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = """
    source <(_LEWM_COMPLETE=source_bash lewm)
    COMP_WORDS=(lewm show robot/); COMP_CWORD=2
    _lewm_completion lewm
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = f"{Path(LEWM).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        env=environment(shelf) | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.split() == ["robot/pick", "robot/place"]


def test_completion_imports_nothing_that_computes(shelf: Path):
    asked = {"_LEWM_COMPLETE": "complete_bash", "COMP_WORDS": "lewm show ", "COMP_CWORD": "2"}
    script = (
        "import sys; from lewm_cli.cli.main import main\n"
        "try: main()\nexcept SystemExit: print(sys.modules.keys() & {'torch', 'h5py', 'scipy', 'matplotlib'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(shelf) | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "set()"
