"""Output comes out whatever the terminal, the encoding, the names and the place it goes to are; never a traceback."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import h5py
import numpy as np
import pytest

from commands import LEWM, PATIENCE, environment
from lewm_cli.cli.main import main
from lewm_cli.report import Output
from lewm_cli.report.pieces import Prose
from synthetic import write_recording

UNDECODABLE = os.fsdecode(b"caf\xe9")
"""A name as Python reads it from a disk that was written in another encoding."""


def run_into(home: Path, out: TextIO | None, err: TextIO | None, *arguments: str, **variables: str) -> int:
    """Runs a command in this process, with these streams, and returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | {"STABLEWM_HOME": str(home)}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["lewm", *arguments])
        for name, stream in (("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
    return 0


def encoded(encoding: str) -> io.TextIOWrapper:
    """A stream that can hold only what an encoding has."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def closed_pipe() -> TextIO:
    """A stream whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def full_disk() -> TextIO:
    """A stream onto a disk that is full."""
    return Path("/dev/full").open("w")


@pytest.fixture
def odd_home(tmp_path: Path) -> Path:
    """A home with a recording of a name in no encoding, and one with letters that few have."""
    for name in ("größe 🤖", UNDECODABLE):
        write_recording(tmp_path / f"{name}.h5")
    (tmp_path / f"run-{UNDECODABLE}.pt").write_bytes(b"damaged")
    return tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("variables", [{}, {"TERM": "dumb", "COLUMNS": "20"}, {"COLUMNS": "0", "NO_COLOR": "1"}])
def test_every_name_is_printed_in_every_encoding(odd_home: Path, encoding: str, variables: dict[str, str]):
    for command in (["ls"], ["ls", "--json"], ["show", "größe 🤖"], ["eval", "--help"]):
        out, err = encoded(encoding), encoded(encoding)
        assert run_into(odd_home, out, err, *command, **variables) == 0
        text = out.buffer.getvalue()
        if command == ["ls", "--json"]:
            names = {dataset["name"] for dataset in json.loads(text.decode("ascii"))["datasets"]}
            assert names == {"größe 🤖", UNDECODABLE}
        elif command == ["ls"]:
            assert b"caf\\udce" in text  # a column may break it
    for name, code in (("größe", 1), (UNDECODABLE, 2)):
        out, err = encoded(encoding), encoded(encoding)
        assert run_into(odd_home, out, err, "show", name, **variables) == code
        assert err.buffer.getvalue().startswith(b"lewm: ")


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1", "COLUMNS": "300"}])
def test_names_of_foreign_files_do_not_act_on_the_terminal(tmp_path: Path, variables: dict[str, str]):
    evil = "\x1b[2J\x9b[red]\u202e\r\n│ safe"
    seen = r"\x1b[2J\x9b[red]\u202e\r\n│ safe"
    write_recording(tmp_path / "robot" / "pick.h5")
    with h5py.File(tmp_path / "robot" / "pick.h5", "r+") as file:
        file[evil] = file["action"][:]
        file.attrs["task"] = evil
    source = tmp_path / "foreign.hdf5"
    with h5py.File(source, "w") as file:
        for camera in (evil, "wrist"):
            file[f"data/demo_0/obs/{camera}"] = np.zeros((4, 16, 16, 3), np.uint8)
        file["data/demo_0/actions"] = np.zeros((4, 2))
    for command in (["show", "robot/pick"], ["verify"], ["import", str(source), "--name", "a"]):
        out, err = io.StringIO(), io.StringIO()
        run_into(tmp_path, out, err, *command, **variables)
        said = out.getvalue() + err.getvalue()
        assert seen in said or command == ["verify"], said
        assert not any(letter in said for letter in ("\x1b[2J", "\x9b", "\u202e", "\r\n", "\n│ safe")), command
    out = io.StringIO()
    assert run_into(tmp_path, out, io.StringIO(), "show", "robot/pick", "--json") == 0
    assert evil in [column["name"] for column in json.loads(out.getvalue())["columns"]]


def test_sentences_below_a_table_break_between_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "70")
    words, path = ["dynamics"] * 30, "/home/" + "runs/" * 30 + "eval.json"
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    Output(as_json=False, quiet=False).result({}, lambda: [Prose(" ".join(words), f"a: {path}")])
    *sentence, last = [line.strip() for line in screen.getvalue().splitlines()]
    assert " ".join(sentence).split() == [*words, "a:"]
    assert max(map(len, sentence)) <= 70
    assert last == path


def test_labels_of_progress_are_no_markup(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with Output(as_json=False, quiet=False).progress("a [red]\x1b[2J", 1, "rows") as advance:
        advance(1)
    assert r"a [red]\x1b[2J" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()


@pytest.mark.parametrize("place", [full_disk, closed_pipe, lambda: None])
@pytest.mark.parametrize(
    "command", ["presets", "presets generic/small", "--help", "ls --json", "--version", "nonsense"]
)
def test_output_that_takes_nothing_is_no_crash(tmp_path: Path, command: str, place):
    out, err = place(), io.StringIO()
    code = run_into(tmp_path, out, err, *command.split())
    errors = [line for line in err.getvalue().splitlines() if line.startswith("lewm: ")]
    if command == "nonsense":
        assert (code, len(errors)) == (2, 1)
    elif place is full_disk:
        assert (code, len(errors)) == (1, 1)
        assert "(No space left on device): the disk is full" in errors[0]
    else:
        assert code == (141 if place is closed_pipe else 0)  # 128 and SIGPIPE, as a shell says of other tools
        assert errors == []
    assert run_into(tmp_path, io.StringIO(), place(), *command.split()) in (code, 0, 1, 141)


def test_closed_streams_of_a_process_take_no_file_of_ours(tmp_path: Path):
    write_recording(tmp_path / "robot" / "pick.h5")
    before = (tmp_path / "robot" / "pick.h5").read_bytes()
    line = f"{LEWM} show robot/pick <&- >&- 2>&- && {LEWM} ls | true"
    done = subprocess.run(
        ["sh", "-c", line],
        env=environment(tmp_path) | {"LC_ALL": "C"},
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert (done.stdout, b"Traceback" in done.stderr, b"ignored" in done.stderr) == (b"", False, False)
    assert (tmp_path / "robot" / "pick.h5").read_bytes() == before


def test_unsupported_system_is_said_in_one_sentence(tmp_path: Path):
    script = (
        "import sys; sys.modules['fcntl'] = None; sys.argv = ['lewm', 'ls']\n"
        "try: import lewm_cli.files\n"
        "except ImportError as error: print(error)\n"
        "from lewm_cli.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"lewm: {done.stdout}"
    assert "on Windows in WSL (type wsl --install" in done.stdout
