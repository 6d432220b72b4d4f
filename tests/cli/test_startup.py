"""Commands that compute nothing start without the libraries that compute: judged by what they import, by no clock."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from commands import PATIENCE, environment
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, save_run
from synthetic import write_recording

COMPUTING = {"torch", "torchvision", "scipy", "matplotlib", "stable_worldmodel", "gymnasium", "huggingface_hub"}
"""Libraries that take long to import."""

SCRIPT = """
import json, sys
from lewm_cli.cli.main import main

for line in json.loads(sys.argv[1]):
    sys.argv = ["lewm", *line]
    try:
        main()
    except SystemExit as ended:
        print(json.dumps([line, ended.code, sorted(set(sys.modules))]), file=sys.stderr)
"""


def imported(home: Path, commands: list[str]) -> list[tuple[str, int | None, set[str]]]:
    """Runs commands one after the other in one process; returns each with its exit code and what was imported then."""
    lines = json.dumps([command.split() for command in commands])
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, lines],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    found = [json.loads(line) for line in process.stderr.splitlines() if line.startswith('[["')]
    assert len(found) == len(commands), process.stderr
    return [(" ".join(line), code, set(modules)) for line, code, modules in found]


def test_names_and_headers_need_no_library_that_computes(
    home: Home, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
):
    run = "tworoom/lewm"
    save_run(RunFiles(home.run_stem(run)), small_model, small_card(small_model))
    commands = [
        *("--version", "--help", "eval --help", "presets", "presets generic/small", "fetch --list", "ls", "ls --json"),
        *(
            "methods",
            "methods --json",
            "presets generic/small --method delta",
            "presets generic/small --method nonsense",
        ),
        *("nonsense", "eval", "eval --nonsense", "presets nonsense", "presets tworoom/nonsense", "rm nonsense --yes"),
        *(
            "eval nonsense",
            "probe nonsense",
            "latent nonsense",
            "fit nonsense",
            "report nonsense",
            "demo nonsense",
            "convert nonsense --to hub",
        ),
        *("plan nonsense --start a.png --goal b.png", f"compare {run} nonsense", "verify nonsense"),
        f"eval {run} --offsets x",
        *(f"eval {run} --set nonsense", f"eval {run} --protocol nonsense", f"eval {run} --set planner.nonsense=1"),
        f"rm {run} --dry-run",
        f"rm {run} --yes",
    ]
    for command, code, modules in imported(home.write, commands):
        assert (not code) == all(word not in command for word in ("nonsense", " x")) or command == "eval", command
        assert not modules & (COMPUTING | {"h5py"}), command


def test_recordings_are_read_without_a_library_that_computes(tmp_path: Path):
    write_recording(tmp_path / "robot" / "pick.h5")
    commands = [
        *("ls", "show robot/pick", "show robot/pick --json", "show nonsense", "fetch nonsense", "surprise nonsense"),
        *("import nonsense", "import nonsense/nonsense --dry-run --name robot/pick"),
        *("train nonsense", "train tworoom --set modl.latent=1", "train robot/pick --preset nonsense", "train tworoom"),
        *("train robot/pick --method nonsense", "train robot/pick --method prediction --lambda 1"),
        *("train robot/pick --log nonsense", "train robot/pick --resume --log nonsense"),
        *("train robot/pick --resume --lambda 1", "train robot/pick --resume --method nonsense"),
        *("train robot/pick --config nonsense.toml", "train robot/pick --set model.latent=x", "eval x --dataset y"),
        "rm robot/pick --yes",
    ]
    for command, code, modules in imported(tmp_path, commands):
        assert (not code) == command.startswith(("ls", "show r", "rm")), command
        assert not modules & COMPUTING, command


def test_package_costs_nothing_until_something_is_taken_from_it():
    script = "import lewm_cli, sys; print(lewm_cli.__all__, sys.modules.keys() & {'torch', 'numpy', 'pydantic'})"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "'load'] set()" in printed
