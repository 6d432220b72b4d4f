"""Commands that messages suggest can be pasted: they parse, with the names as they are and the home that was typed."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer.main
from imageio import v3 as imageio

from commands import Done, lewm_here
from lewm_cli import suggestion
from lewm_cli.cli.main import app
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, save_run
from synthetic import write_recording

COMMANDS = typer.main.get_command(app).commands

NAMES = ["a b", "it's", 'say "so"', "größe 🤖", "$HOME", "-dash", "run;ls", "sub folder/*"]
"""Names that a shell would take for something else."""


def suggested(done: Done) -> list[list[str]]:
    """The commands of ours that a message suggests, taken apart as a shell does."""
    found = []
    for line in f"{done.out}\n{done.err}".replace("lewm: ", "").splitlines():
        for text in re.findall(r"`(lewm [^`]*)`", line) or re.findall(r"(?:: |with |&& |next: |^  )(lewm .*?)$", line):
            found += [words[1:] for words in split(text) if words[0] == "lewm"]
    return found


def split(text: str) -> list[list[str]]:
    """The commands of a line of a shell, joined by `&&`."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(text):
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


@pytest.mark.parametrize("name", NAMES)
def test_suggested_commands_can_be_pasted(
    tmp_path: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard], name: str
):
    home = Home.locate(tmp_path / "my worlds")
    save_run(RunFiles(home.run_stem(name)), small_model, small_card(small_model))
    other = small_card(small_model)
    other = other.model_copy(update={"inputs": other.inputs.model_copy(update={"task": "generic"})})
    save_run(RunFiles(home.run_stem(f"{name} robot")), small_model, other)
    write_recording(home.write / f"{name}.h5")
    image = tmp_path / "frame.png"
    imageio.imwrite(image, np.zeros((64, 64, 3), np.uint8))
    outside = tmp_path / f"{name.replace('/', ' ')}.pt"
    outside.write_bytes(b"weights")
    seen = []
    for words in (
        ["show", "--", f"{name}?"],
        ["rm", "--yes", "--", f"{name}?"],
        ["verify", "--", f"{name}?"],
        ["train", "--resume", "--", name],
        ["train", "--dataset", name, "--", f"{name}?"],
        ["train", "tworoom"],
        ["compare", "--", name, name],
        ["report", "--", name],
        ["eval", "--", f"{name} robot"],
        ["eval", "--goal-image", str(image), "--", f"{name} robot"],
        ["plan", "--start", str(image), "--goal", str(image), "--set", "planner.objective=reach", "--", name],
        ["show", str(outside)],
        ["show", "--", f"{name} robot"],
        ["fetch"],
        ["collect", "tworom", "--episodes", "1"],
    ):
        home_option = ["--home", str(home.write)]
        done = lewm_here(tmp_path / "elsewhere", words[0], *home_option, *words[1:])
        assert "Traceback" not in done.err
        for command, *arguments in suggested(done):
            context = COMMANDS[command].make_context(command, list(arguments))
            seen.append((words[0], command, context.params))
            assert command == "presets" or context.params["home"] == home.write, done.err
    typed = {str(value) for _, _, parameters in seen for value in parameters.values()}
    assert {name, f"{name} robot"} <= typed
    assert {command for _, command, _ in seen} >= {"train", "eval", "plan", "fit", "show", "fetch"}


def test_home_that_was_typed_is_forgotten_with_the_command(tmp_path: Path):
    assert "--home" in lewm_here(tmp_path, "fetch", "--home", tmp_path / "a b").err
    assert "--home" not in lewm_here(tmp_path, "fetch").err
    assert suggestion.HOME.get() is None


@pytest.mark.parametrize("name", ["two\nlines", "caf\udce9", "tab\there"])
def test_what_cannot_be_printed_is_escaped_as_bash_reads_it(name: str):
    written = suggestion.command("show", name)
    assert written.isprintable()
    assert written.startswith("lewm show $'")


@pytest.mark.parametrize(
    ("word", "clause"),
    [
        ("tworom/lewm", "did you mean 'tworoom/lewm'?"),
        ("tworoom", "did you mean 'tworoom/lewm'?"),
        ("lewm", "did you mean 'tworoom/lewm'?"),
        ("robot", "did you mean one of robot/pick, robot/broken?"),
        ("robot/pik", "did you mean 'robot/pick'?"),
        ("robot/nothing", "there is tworoom/lewm, robot/pick, robot/broken"),
        ("zzz", "there is tworoom/lewm, robot/pick, robot/broken"),
    ],
)
def test_the_name_that_was_meant_is_offered(word: str, clause: str):
    assert suggestion.offer(word, ["tworoom/lewm", "robot/pick", "robot/broken"], "lewm ls") == clause


def test_a_few_of_many_names_are_offered(tmp_path: Path):
    for number in range(300):
        write = tmp_path / "r" / f"run{number}.pt"
        write.parent.mkdir(exist_ok=True)
        write.write_bytes(b"")
    for command in ("show", "rm", "verify", "eval", "probe", "report", "compare"):
        more = ["--yes"] if command == "rm" else ["r/run1"] if command == "compare" else []
        sentence = lewm_here(tmp_path, command, "nothing/here", *more).sentence()
        assert len(sentence) < 600
        assert sentence.endswith("292 more: lewm ls")
