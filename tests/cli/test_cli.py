"""The command as a person or a program meets it: help, tables, JSON, exit codes, and one sentence for every failure."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

import lewm_cli
from commands import LEWM, PATIENCE, environment, flat, lewm, lewm_here
from families import AROUND_LEWM
from lewm_cli.methods import JEPA, METHODS, RunCard, TrainConfig
from lewm_cli.store import RunFiles, read_card, save_derived, save_run
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, JsonLog, all_presets, find_preset
from synthetic import TINY, write_recording

pytest_plugins = ("recordings",)

COMMANDS = (
    *("quickstart", "collect", "train", "eval", "probe", "latent", "surprise", "report"),
    *("ls", "show", "verify", "convert", "export", "rm", "presets", "doctor"),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a good and a damaged recording, and a damaged run."""
    home = tmp_path / "home"
    write_recording(home / "robot" / "pick.h5")
    write_recording(home / "tworoom" / "mine.h5", dims=2, task="tworoom", policy="a hand", seed=3, varies="color")
    (home / "robot" / "broken.h5").write_bytes(b"no HDF5")
    (home / "robot" / "broken.safetensors").write_bytes(bytes(100))
    return home


# Help


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]):
    code = (
        f"import sys; sys.argv = ['lewm', *{arguments!r}]\n"
        "from lewm_cli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'numpy', 'h5py', 'gymnasium', 'stable_worldmodel', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_help_lists_every_command(tmp_path: Path):
    done = lewm(tmp_path, "--help")
    assert (done.code, done.err) == (0, "")
    for command in COMMANDS:
        assert f" {command} " in done.out
    bare = lewm_here(tmp_path)
    assert (bare.code, bare.err, bare.out.strip()) == (2, "", done.out.strip())  # no command: the same help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(tmp_path: Path, command: str):
    done = lewm_here(tmp_path, command, "--help")
    assert done.code == 0
    examples = done.out.partition("Examples")[2]
    assert 3 <= examples.count(f"lewm {command}") <= 5
    assert "--help" in done.out


def test_version(tmp_path: Path):
    done = lewm(tmp_path, "--version")
    assert (done.code, done.out, done.err) == (0, f"lewm {lewm_cli.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["colect"], "'collect'"),
        (["--sed"], "--sed"),
        (["train"], "'what'"),
        (["train", "tworoom", "--lamda", "1"], "--lambda"),
        (["train", "tworoom", "--steps", "many"], "--steps"),
        (["collect", "tworoom"], "--episodes"),
        (["ls", "everything"], "everything"),
        (["presets", "small"], "TASK/PRESET"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], said: str):
    done = lewm_here(tmp_path, *arguments)
    assert said in done.sentence(code=2)
    assert len(done.err.splitlines()) == 1


# ls and show


def test_ls_lists_everything_and_says_what_cannot_be_used(home: Path):
    listed = lewm_here(home, "ls", "--json").json()
    datasets = {entry["name"]: entry for entry in listed["datasets"]}
    assert set(datasets) == {"robot/pick", "robot/broken", "tworoom/mine"}
    assert datasets["robot/pick"]["problem"] is None
    assert (datasets["robot/pick"]["episodes"], datasets["robot/pick"]["rows"]) == (6, 174)
    assert datasets["robot/pick"]["bytes"] == (home / "robot" / "pick.h5").stat().st_size
    assert datasets["tworoom/mine"]["task"] == "tworoom"
    assert datasets["robot/broken"]["episodes"] is None
    assert "cannot be read as HDF5" in datasets["robot/broken"]["problem"]
    assert [run["name"] for run in listed["runs"]] == ["robot/broken"]
    assert "damaged" in listed["runs"][0]["problem"]


def test_ls_as_a_table(home: Path):
    done = lewm_here(home, "ls")
    assert done.code == 0
    for name in ("robot/pick", "tworoom/mine", "robot/broken"):
        assert name in done.out
    assert done.out.count("unusable") == 2
    assert str(home) in done.err


def test_name_that_looks_like_markup_is_shown_whole(home: Path):
    name = "robot/[red]pick[bold] :car:"
    shutil.copy(home / "robot" / "pick.h5", home / f"{name}.h5")
    for command in (["ls"], ["show", name]):
        done = lewm_here(home, *command)
        assert done.code == 0, done.err
        assert "".join(name.split()) in "".join(character for character in done.out if character not in " │\n")


def test_ls_of_an_empty_home(tmp_path: Path):
    done = lewm_here(tmp_path / "nothing", "ls", "--json")
    assert (done.code, done.json()) == (0, {"datasets": [], "runs": []})
    assert lewm_here(tmp_path / "nothing", "ls").code == 0
    assert not (tmp_path / "nothing").exists()


def test_link_to_nowhere_does_no_harm(home: Path):
    (home / "gone.h5").symlink_to(home / "nowhere.h5")
    (home / "gone.safetensors").symlink_to(home / "nowhere.safetensors")
    done = lewm_here(home, "ls", "--json")
    assert done.code == 0, done.err
    assert "robot/pick" in [entry["name"] for entry in done.json()["datasets"]]


def test_show_a_recording(home: Path):
    shown = lewm_here(home, "show", "tworoom/mine", "--json").json()
    assert (shown["episodes"], shown["rows"], shown["shortest"], shown["longest"]) == (6, 174, 20, 40)
    assert [shown[name] for name in ("task", "policy", "seed", "varies")] == ["tworoom", "a hand", 3, "color"]
    assert {column["name"]: column["shape"] for column in shown["columns"]} == {"pixels": [20, 20, 3], "action": [2]}
    table = lewm_here(home, "show", "tworoom/mine")
    assert table.code == 0
    for fact in ("174", "a hand", "color, from episode to episode", "20 x 20 x 3, uint8", "20 to 40 rows"):
        assert fact in table.out


@pytest.mark.slow
def test_show_a_run(trained: Path):
    shown = lewm_here(trained, "show", "tworoom/lewm", "--json").json()
    card = read_card(trained / "tworoom" / "lewm.safetensors")
    assert shown["card"] == json.loads(card.model_dump_json(by_alias=True))
    parameters = sum(part["parameters"] for part in shown["components"])
    assert parameters == 202_094
    assert all(part["flops"] > 0 for part in shown["components"])
    assert shown["held_out"]["copying"] > 0
    table = lewm_here(trained, "show", "tworoom/lewm")
    assert table.code == 0
    assert "202,094" in table.out
    assert "tworoom/demos" in table.out


@pytest.fixture
def run(home: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> RunFiles:
    """A run `tworoom/lewm` that has written its weights and nothing else."""
    files = RunFiles(home / "tworoom" / "lewm")
    save_run(files, small_model, small_card(small_model))
    return files


def test_show_says_that_a_run_has_stopped(home: Path, run: RunFiles, small_model: JEPA):
    run.folder.mkdir()
    run.resume.touch()
    shown = lewm_here(home, "show", "tworoom/lewm")
    assert "stopped, go on with: lewm train tworoom --name tworoom/lewm --resume" in flat(shown.out)
    assert lewm_here(home, "show", "tworoom/lewm", "--json").json()["stopped"] is True
    save_derived(run, small_model, "lewm")  # the last thing that a training does
    assert "stopped" not in lewm_here(home, "show", "tworoom/lewm").out
    assert lewm_here(home, "show", "tworoom/lewm", "--json").json()["stopped"] is False


def test_half_a_line_at_the_end_of_the_log_does_no_harm(home: Path, run: RunFiles):
    held_out = HeldOutLatents({"SIGReg": 1.0}, 0.5, 1.0, 1.0, 0.9, 7.5, 0.0)
    JsonLog(run.log)(HeldOutMeasured(250, held_out))
    whole = run.log.read_bytes()
    for kept in (0, 1, len(whole) // 2, len(whole) - 2):
        run.log.write_bytes(whole + whole[:kept])
        shown = lewm_here(home, "show", "tworoom/lewm", "--json").json()
        assert shown["held_out"] == asdict(held_out)
    run.log.write_bytes(whole[: len(whole) // 2])
    assert lewm_here(home, "show", "tworoom/lewm", "--json").json()["held_out"] is None


def test_results_of_another_version_are_named(home: Path, run: RunFiles):
    run.results.mkdir(parents=True)
    for name, content in (("eval-1.json", '{"success": 1}'), ("eval-2.json", "{"), ("eval-3.json", "")):
        (run.results / name).write_text(content, encoding="utf-8")
    done = lewm_here(home, "show", "tworoom/lewm")
    assert done.code == 0, done.err
    for name in ("eval-1.json", "eval-2.json", "eval-3.json"):
        assert f"not a result of this version: {run.results / name}\n" in done.out
    assert lewm_here(home, "show", "tworoom/lewm", "--json").json()["evaluations"] == []


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("robot/nothing", 1, "robot/pick"),
        ("robot/broken", 1, "damaged"),
        ("robot/pick.safetensors", 1, "robot/pick"),
        ("robot/pick.h5", 2, "'robot/pick'"),
    ],
)
def test_what_cannot_be_shown_is_refused(home: Path, name: str, code: int, said: str):
    assert said in lewm_here(home, "show", name).sentence(code)


# methods and presets


def test_methods_are_listed_with_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listed = lewm_here(tmp_path, "methods", "--json").json()
    assert [one["name"] for one in listed["methods"]] == list(METHODS)
    additions = [one["key"] for one in listed["additions"]]
    assert additions == ["objective.cosine", "objective.straightness", "objective.rollout"]
    for one in listed["methods"]:
        method = METHODS[one["name"]]
        assert (one["summary"], one["source"]) == (method.summary, method.source)
        settings = {each["key"] for each in one["settings"]}
        taken = {*additions} if one["name"] in AROUND_LEWM else set()
        assert {f"objective.{key}" for key in method.types({})} == settings | taken
    every = [*listed["additions"], *(each for one in listed["methods"] for each in one["settings"])]
    assert all(each["meaning"] for each in every)
    monkeypatch.setenv("COLUMNS", "400")
    table = lewm_here(tmp_path, "methods").out
    for one in listed["methods"]:
        assert all(text in table for text in (one["name"], one["summary"], one["source"]))
        weight = [each for each in one["settings"] if each["key"] == "objective.lambda"]
        assert all(f"{each['default']:g}: {each['meaning']}" in table for each in weight)
    assert all(one["key"] in table and one["meaning"] in table for one in listed["additions"])


@pytest.mark.parametrize("method", METHODS)
def test_preset_is_printed_for_any_method(tmp_path: Path, method: str):
    printed = tomllib.loads(lewm_here(tmp_path, "presets", "tworoom/small", "--method", method).out)
    assert TrainConfig.build(printed, "printed") == find_preset("tworoom/small").config(method)
    assert printed["method"] == method


def test_method_of_no_preset_is_refused(tmp_path: Path):
    said = lewm_here(tmp_path, "presets", "--method", "delta").sentence(code=2)
    assert "name it: lewm presets tworoom/small --method delta" in said
    said = lewm_here(tmp_path, "presets", "tworoom/small", "--method", "delt").sentence(code=2)
    assert "did you mean 'delta'?" in said


def test_presets_are_listed(tmp_path: Path):
    names = lewm_here(tmp_path, "presets", "--json").json()
    assert names == [f"{preset.task.name}/{preset.name}" for preset in all_presets()]
    table = lewm_here(tmp_path, "presets").out
    for name in names:
        assert name in table


@pytest.mark.parametrize("name", [f"{preset.task.name}/{preset.name}" for preset in all_presets()])
def test_printed_preset_is_the_preset(tmp_path: Path, name: str):
    printed = tomllib.loads(lewm_here(tmp_path, "presets", name).out)
    assert TrainConfig.build(printed, "printed") == find_preset(name).config()
    assert lewm_here(tmp_path, "presets", name, "--json").json()["seed"] == 3072


@pytest.mark.slow
def test_printed_preset_can_be_trained_with(home: Path, tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(lewm_here(tmp_path, "presets", "tworoom/small").out, encoding="utf-8")
    # Over the release preset: nothing of it may shine through.
    arguments = ["--preset", "release", "--config", file, "--steps", 1, "--batch-size", 4, "--set", "data.frameskip=2"]
    done = lewm_here(home, "train", "tworoom/mine", *arguments)
    assert done.code == 0, done.err
    config = read_card(home / "tworoom" / "delta.safetensors").provenance.train
    small = find_preset("tworoom/small").config()
    assert config.model == small.model
    assert config.objective == small.objective
    assert config.monitor == small.monitor


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("mars/small", 1, "there is no task 'mars'"),
        ("towroom/small", 1, "did you mean 'tworoom/small'?"),
        ("tworoom/huge", 1, "there is release, small"),
        ("small", 2, "not of the form TASK/PRESET"),
    ],
)
def test_unknown_preset_is_refused(tmp_path: Path, name: str, code: int, said: str):
    assert said in lewm_here(tmp_path, "presets", name).sentence(code)


def test_preset_is_printed_as_it_is_however_narrow_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wide = lewm_here(tmp_path, "presets", "tworoom/small").out
    monkeypatch.setenv("COLUMNS", "20")
    assert lewm_here(tmp_path, "presets", "tworoom/small").out == wide


# How it speaks


@pytest.mark.parametrize(
    "arguments",
    [["collect", "tworoom", "--episodes", "1"], ["train", "DATASET", "--steps", "1"]],
)
def test_home_that_cannot_be_written_is_a_sentence(home: Path, tmp_path: Path, tiny: Path, arguments: list[str]):
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "home"
    known = [str(home / "robot" / "pick.h5") if argument == "DATASET" else argument for argument in arguments]
    extra = ["--config", tiny] if "train" in known else []
    said = lewm_here(home, *known, *extra, "--home", nowhere).sentence()
    assert "cannot be written" in said
    assert "--home" in said
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.slow
def test_quiet_says_nothing_but_the_result(home: Path, tmp_path: Path):
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(TINY, encoding="utf-8")
    done = lewm_here(home, "train", "robot/pick", "--config", tiny, "--steps", 2, "-q", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json()["run"] == "robot/lewm"
    assert lewm_here(home, "ls", "--quiet").err == ""
    assert lewm_here(home, "show", "nothing", "-q").sentence()


def test_traceback_is_shown_on_request_only(home: Path):
    for arguments in (["--debug", "show", "nothing"], ["show", "nothing", "--debug"]):
        done = lewm_here(home, *arguments)
        assert done.code == 1
        assert "Traceback" in done.err
        assert done.err.splitlines()[-1] == lewm_here(home, "show", "nothing").sentence()


@pytest.mark.parametrize(
    "arguments",
    [
        *(pytest.param(words, marks=pytest.mark.slow) for words in (["ls"], ["ls", "--json"], ["presets", "--json"])),
        pytest.param(["presets", "tworoom/small"], marks=pytest.mark.slow),
        ["--help"],
    ],
)
def test_reader_that_has_gone_is_no_complaint(home: Path, arguments: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [LEWM, *arguments],
            env=environment(home),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)
    notes = [line for line in ended.stderr.splitlines() if not line.startswith("home:")]
    assert notes == []
