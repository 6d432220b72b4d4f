"""`lewm import` makes the same recording of a source, whatever happens meanwhile, and says what it cannot read."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import commands
from commands import Done, descendants, ended, left_behind, lewm_here, running, wait_until
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.data import open_dataset
from lewm_cli.doctor import disk
from lewm_cli.exchange import converted_recording, recognized
from lewm_cli.files import locked
from lewm_cli.flows import import_recording
from lewm_cli.stop import StopRequest
from toy_source import open_toy, write_toy

pytest_plugins = ("recordings",)

LENGTHS = (30, 24, 40)
NAME = "robot/pick"
HEIGHT, WIDTH = 12, 16


def episodes(lengths: tuple[int, ...] = LENGTHS, **more: Any) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    return [
        {
            "frames": generator.integers(0, 256, (length, HEIGHT, WIDTH, 3), dtype=np.uint8),
            "actions": generator.normal(size=(length - 1, 2)).astype(np.float32),
            "proprio": generator.normal(size=(length - 1, 3)),
            **more,
        }
        for length in lengths
    ]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys are recognized, and made safe after twenty frames."""
    monkeypatch.setattr(recognized, "OPENERS", (open_toy,))
    monkeypatch.setattr(converted_recording, "KEPT_ROWS", 20)
    monkeypatch.setattr(import_recording, "WORTH_A_PROCESS", 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy", episodes())


def run(home: Path, source: Path, *arguments: object, name: str = NAME, workers: int = 1) -> Done:
    return lewm_here(home, "import", source, "--name", name, "--workers", workers, *arguments)


def imported(home: Path, source: Path, *arguments: object, name: str = NAME, workers: int = 1) -> dict:
    done = run(home, source, *arguments, "--json", name=name, workers=workers)
    assert done.code == 0, done.err
    return done.json()


def content(path: Path) -> dict[str, Any]:
    """Everything in a recording but the command that made it."""
    with h5py.File(path) as file:
        attributes = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
        attributes["imported"] = {**json.loads(attributes["imported"]), "command": ""}
        columns = {name: (str(item.dtype), item.shape, item[()]) for name, item in file.items()}
    packed = {
        name: (kind, shape, values.tolist() if values.dtype.hasobject else values.tobytes())
        for name, (kind, shape, values) in columns.items()
    }
    return {"attributes": attributes, **packed}


def halves(home: Path) -> list[Path]:
    return list(home.rglob(".importing-*"))


# What is in it


def test_recording_is_the_source_row_by_row(tmp_path: Path, source: Path):
    made = imported(tmp_path / "home", source)
    assert (made["episodes"], made["rows"], made["fps"], made["gaps"]) == (3, 94, 10.0, 0)
    dataset = open_dataset(tmp_path / f"home/{NAME}.h5", NAME)
    raw = episodes()
    frames = np.concatenate([episode["frames"] for episode in raw])
    middle = (WIDTH - HEIGHT) // 2
    assert np.array_equal(dataset.read("pixels", slice(None)), frames[:, :, middle:-middle])
    for number, episode in enumerate(raw):
        rows = slice(dataset.offsets[number], dataset.offsets[number] + dataset.lengths[number] - 1)
        assert np.array_equal(dataset.actions[rows], episode["actions"])
        assert np.array_equal(dataset.read("proprio", rows), episode["proprio"])
        assert np.isnan(dataset.actions[rows.stop]).all()
        assert dataset.read("source_row", rows).tolist() == list(range(len(episode["actions"])))
        assert set(dataset.read("ep_idx", rows)) == {number}
    with dataset.opened() as file:
        assert file["source_episodes"].asstr()[()].tolist() == ["episode-0", "episode-1", "episode-2"]
    origin = dataset.imported
    assert (origin.kind, origin.files, origin.camera, origin.source) == ("toy", 4, "front", str(source))
    assert halves(tmp_path) == left_behind(tmp_path) == []
    [verified] = lewm_here(tmp_path / "home", "verify", NAME, "--json").json()["checked"]
    assert (verified["state"], verified["decoded"], verified["checksums"]) == ("ok", 94, True)
    shown = lewm_here(tmp_path / "home", "show", NAME)
    assert "imported from" in shown.out
    assert f"{WIDTH} x {HEIGHT}, crop to {HEIGHT} x {HEIGHT}" in shown.out


def test_digest_is_what_sha256sum_prints(tmp_path: Path, source: Path):
    made = imported(tmp_path / "home", source)
    command = "LC_ALL=C ls | xargs sha256sum | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=source, capture_output=True, text=True, check=True).stdout
    assert made["imported"]["sha256"] == printed.split()[0]


@pytest.mark.parametrize("interrupted", [False, True])
def test_content_does_not_depend_on_workers(tmp_path: Path, source: Path, interrupted: bool):
    imported(tmp_path / "home", source, name="one")
    if interrupted:
        half_imported(tmp_path / "home", source, name="two")
    imported(tmp_path / "home", source, name="two", workers=2)
    assert content(tmp_path / "home/one.h5") == content(tmp_path / "home/two.h5")


def test_gaps_split_episodes_and_frames_without_an_action_are_counted(tmp_path: Path):
    (episode,) = episodes((30,))
    times = np.arange(30) / 10
    times[12:] += 1  # a gap
    given = {"frame_times": times, "action_times": times[:-1]}
    source = write_toy(tmp_path / "toy", [{**episode, **given}], fps=None, tasks=["pick it up"])
    made = imported(tmp_path / "home", source)
    assert (made["episodes"], made["rows"], made["gaps"]) == (2, 30, 1)
    assert made["fps"] == pytest.approx(10)
    with h5py.File(tmp_path / f"home/{NAME}.h5") as file:
        assert file["ep_len"][()].tolist() == [12, 18]
        assert file["source_episodes"].asstr()[()].tolist() == ["episode-0", "episode-0"]
        assert file["source_row"][()].tolist() == list(range(30))
        assert list(file.attrs["tasks"]) == ["pick it up"]


def test_columns_that_cannot_be_recorded_are_named(tmp_path: Path):
    first, second = episodes((5, 6))
    first |= {"robot/force": np.ones((4, 2)), "label": np.array(["a"] * 4), "step_idx": np.zeros(4), "once": np.ones(4)}
    second |= {"robot/force": np.ones((5, 2)), "label": np.array(["b"] * 5), "step_idx": np.zeros(5)}
    made = imported(tmp_path / "home", write_toy(tmp_path / "toy", [first, second]))
    assert sorted(made["left_out"]["columns"]) == ["label", "once", "step_idx"]
    assert {"proprio", "robot.force"} <= {column["name"] for column in made["columns"]}


@pytest.mark.parametrize(
    ("arguments", "size", "framing"),
    [
        ([], 12, "crop to 12 x 12"),
        (["--fit", "pad"], 16, "pad to 16 x 16"),
        (["--fit", "squash", "--size", 8], 8, "squash to 8 x 8"),
        (["--box", "2,1,10,9"], 9, "of which 10 x 9 at 2, 1, crop to 9 x 9"),
    ],
)
def test_frames_become_square_as_asked(tmp_path: Path, source: Path, arguments: list, size: int, framing: str):
    imported(tmp_path / "home", source, *arguments)
    dataset = open_dataset(tmp_path / f"home/{NAME}.h5", NAME)
    assert dataset.frame_size == size
    assert str(dataset.imported.framing).endswith(framing)


FRAMES = np.random.default_rng(3).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
FRAMES[0, 0, 0] = 0, 255, 0
KINDS = {
    "gray": (FRAMES[..., 0], [], FRAMES[..., :1].repeat(3, -1)),
    "gray with a channel first": (FRAMES[:, None, ..., 0], [], FRAMES[..., :1].repeat(3, -1)),
    "RGBA": (np.concatenate([FRAMES, FRAMES[..., :1]], -1), [], FRAMES),
    "channels first": (FRAMES.transpose(0, 3, 1, 2), [], FRAMES),
    "floats to 1": (np.float32(FRAMES / 255), [], FRAMES),
    "floats to 255": (np.float64(FRAMES), [], FRAMES),
    "BGR": (FRAMES[..., ::-1], ["--colors", "bgr"], FRAMES),
    "BGRA": (np.concatenate([FRAMES[..., ::-1], FRAMES[..., :1]], -1), ["--colors", "bgr"], FRAMES),
    "16 bits": (np.uint16(FRAMES) * 257, ["--white", 65535], FRAMES),
    "12 bits": (np.uint16(FRAMES) * 16, ["--white", 255 * 16], FRAMES),
    "masks": (FRAMES // 128, ["--white", 1], FRAMES // 128 * 255),
}


def of_frames(folder: Path, *frames: np.ndarray) -> Path:
    return write_toy(folder, [{"frames": each, "actions": np.ones((len(each) - 1, 2))} for each in frames])


@pytest.mark.parametrize("kind", KINDS)
def test_raw_frames_become_rgb(tmp_path: Path, kind: str):
    raw, arguments, meant = KINDS[kind]
    imported(tmp_path / "home", of_frames(tmp_path / "toy", raw), *arguments)
    assert np.array_equal(open_dataset(tmp_path / f"home/{NAME}.h5", NAME).read("pixels", slice(None)), meant)


@pytest.mark.parametrize(
    ("frames", "arguments", "said"),
    [
        (
            [np.uint16(FRAMES) * 257],
            [],
            "uint16 of shape (8, 8, 3) with values from 0 to 65535, which may mean",
        ),
        ([np.float32(FRAMES / 127.5 - 1)], [], "with values from -1 to 1, which may mean several things"),
        ([FRAMES[..., :2]], [], "with 1, 3 or 4 channels last or first"),
        ([np.uint16(FRAMES) * 257], ["--white", 4095], "episode-0 holds values from 0 to 65535, and white is 4095"),
        ([FRAMES, FRAMES[:, :6]], [], "episode-1 is uint8 of shape (6, 8, 3), and the first ones of the source are"),
        ([FRAMES, np.float32(FRAMES)], [], "episode-1 is float32 of shape (8, 8, 3)"),
    ],
)
def test_frames_that_may_mean_several_things_are_refused(tmp_path: Path, frames: list, arguments: list, said: str):
    source = of_frames(tmp_path / "toy", *frames)
    assert said in run(tmp_path / "home", source, *arguments).sentence()
    assert list((tmp_path / "home").rglob("*.h5")) == []


def test_value_that_leaves_the_range_later_is_named_with_its_place(tmp_path: Path):
    frames = np.float32(np.concatenate([FRAMES] * 3) / 255)
    frames[9, 3, 3] = 7
    said = run(tmp_path / "home", of_frames(tmp_path / "toy", frames)).sentence()
    assert "frame 9 of episode-0 " in said
    assert "to 7, and white is 1; say another --white N" in said


def test_damaged_recording_is_said_to_be_imported_again(tmp_path: Path, source: Path):
    path = Path(imported(tmp_path, source)["path"])
    with h5py.File(path, "r+") as file:
        place = file["pixels"].id.get_chunk_info(50).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 40)
        file.write(bytes(30))
    said = lewm_here(tmp_path, "verify", NAME)
    assert said.code == 1
    assert f"import it again: lewm rm {NAME} --dataset && lewm import {source}" in " ".join(said.out.split())


# What is looked at before


def test_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path, source: Path):
    home = tmp_path / "home"
    said = lewm_here(home, "import", source, "--dry-run", "--json").json()
    assert (said["name"], said["kind"], said["episodes"], said["frames"], said["short"]) == ("toy", "toy", 3, 94, 0)
    assert said["framing"] == {"width": 16, "height": 12, "size": 12, "fit": "crop", "box": None}
    actions = np.concatenate([episode["actions"] for episode in episodes()])
    assert [one["least"] for one in said["actions"]] == pytest.approx(actions.min(0).tolist())
    assert [one["greatest"] for one in said["actions"]] == pytest.approx(actions.max(0).tolist())
    size = Path(imported(home, source)["path"]).stat().st_size
    assert said["bytes"] == pytest.approx(size, rel=0.5)
    assert "kept of a frame" in lewm_here(home, "import", source, "--dry-run").out
    assert [path.name for path in home.rglob("*.h5")] == ["pick.h5"]


def damaged_toy(folder: Path) -> Path:
    raw = episodes()
    raw[1]["frames"][17] = 13
    return write_toy(folder, raw)


def test_damaged_episode_ends_it_unless_it_is_to_be_left_out(tmp_path: Path):
    home, source = tmp_path / "home", damaged_toy(tmp_path / "toy")
    said = run(home, source).sentence()
    assert "frame 17 of episode-1 is damaged" in said
    assert "leave such episodes out with --skip-damaged" in said
    assert not (home / f"{NAME}.h5").exists()
    done = run(home, source, "--skip-damaged", "--json")
    assert "going on at episode 1 of 3" in done.err
    made = done.json()
    assert (made["episodes"], made["rows"]) == (2, 70)
    assert len(made["damaged"]) == 1
    with h5py.File(made["path"]) as file:
        assert file["source_episodes"].asstr()[()].tolist() == ["episode-0", "episode-2"]


def test_damage_that_a_look_finds_is_said_before_anything_is_converted(tmp_path: Path):
    raw = episodes((5, 6, 7))
    raw[1]["actions"] = np.ones((5, 3))
    raw[2]["frames"][0] = 13
    source = write_toy(tmp_path / "toy", raw)
    looked = lewm_here(tmp_path / "home", "import", source, "--dry-run", "--json").json()
    assert "episode-1 has 3 action dimensions, and the episodes before it 2" in looked["damaged"][0]
    assert "frame 0 of episode-2" in looked["damaged"][1]
    assert "episode-1 has 3 action dimensions" in run(tmp_path / "home", source).sentence()
    assert halves(tmp_path) == []
    assert imported(tmp_path / "home", source, "--skip-damaged")["rows"] == 5


def test_episodes_of_one_frame_are_left_out_and_counted(tmp_path: Path):
    made = imported(tmp_path / "home", write_toy(tmp_path / "toy", episodes((5, 1, 6))))
    assert (made["rows"], made["left_out"]["episodes"]) == (11, 1)
    said = run(tmp_path / "home", write_toy(tmp_path / "short", episodes((1, 1))), name="none").sentence()
    assert "holds no episode of two frames or more" in said
    assert halves(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "a world model needs actions"), (2.0, "constant action dimensions")]
)
def test_actions_that_say_nothing_are_said_at_the_end(tmp_path: Path, value: float, said: str):
    raw = episodes()
    for episode in raw:
        episode["actions"][:] = value
    done = run(tmp_path / "home", write_toy(tmp_path / "toy", raw))
    assert done.code == 0, done.err
    assert said in done.err
    assert done.err.splitlines()[-1] == f"next: lewm train {NAME}"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--name", "a/tworoom"], 2, "'tworoom' is the name of a released dataset; choose another --name"),
        (["--name", "../a"], 2, "'../a' cannot name a recording"),
        (["--name", "taken"], 1, "the dataset 'taken' exists"),
        (["--box", "1,2,3"], 2, "is not of the form LEFT,TOP,WIDTH,HEIGHT"),
        (["--box", "10,0,10,10"], 2, "reaches out of frames of 16 x 12 pixels"),
        (["--map", "pixels"], 2, "is not of the form NAME=PATH"),
        (["--white", "0"], 2, "--white"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, source: Path, arguments: list, code: int, said: str):
    home = tmp_path / "home"
    imported(home, source, name="taken")
    assert said in lewm_here(home, "import", source, *arguments).sentence(code)
    assert [path.name for path in home.rglob("*.h5")] == ["taken.h5"]


def test_sources_that_are_not_there_or_not_known_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert "there is no file or folder" in lewm_here(tmp_path, "import", tmp_path / "no").sentence()
    assert "is of no layout that is known" in lewm_here(tmp_path, "import", tmp_path / "empty").sentence()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_free_name_like_the_source_is_taken(tmp_path: Path):
    home, source = tmp_path / "home", write_toy(tmp_path / "My robot.v2", episodes((4, 5)))
    for name in ("My-robot.v2", "My-robot.v2-2"):
        assert lewm_here(home, "import", source, "--workers", 1, "--json").json()["name"] == name


# What comes between


def half_imported(home: Path, source: Path, name: str = NAME, count: int = 40_000) -> None:
    """Leaves half an import."""
    assert killed_at_byte(count, lambda: run(home, source, name=name)) == -signal.SIGXFSZ
    assert halves(home)
    assert not (home / f"{name}.h5").exists()


def whole_bytes(home: Path, source: Path) -> bytes:
    imported(home, source)
    path = home / f"{NAME}.h5"
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("places", [5, pytest.param(60, marks=pytest.mark.soak)])
def test_killed_import_goes_on_where_it_was(tmp_path: Path, source: Path, places: int):
    home = tmp_path / "home"
    whole = whole_bytes(home, source)
    went_on = set()
    for count in np.linspace(500, len(whole) - 500, places).astype(int).tolist():
        assert killed_at_byte(count, lambda: run(home, source, "--json")) == -signal.SIGXFSZ
        assert lewm_here(home, "ls", "--json").json()["datasets"] == []
        done = run(home, source, "--json")
        assert done.code == 0, done.err
        went_on |= {line for line in done.err.splitlines() if line.startswith("going on at episode ")}
        assert (home / f"{NAME}.h5").read_bytes() == whole, count
        assert halves(home) == left_behind(home) == []
        (home / f"{NAME}.h5").unlink()
    assert {"going on at episode 1 of 3", "going on at episode 2 of 3"} & went_on


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_import_killed_around_any_step_never_leaves_a_broken_file(tmp_path: Path, source: Path, every: int):
    home = tmp_path / "home"
    whole, path = whole_bytes(home, source), home / f"{NAME}.h5"
    points = kill_points(path, lambda: run(home, source, "--json"))
    path.unlink(missing_ok=True)
    assert len(points) >= 8
    for step, calls in points[::every]:
        killed_at_step(step, calls, path, lambda: run(home, source, "--json"))
        if not path.exists():
            done = run(home, source, "--json")
            assert done.code == 0, (step, calls, done.err)
        else:
            assert "exists" in run(home, source, "--json").sentence()
        assert path.read_bytes() == whole, (step, calls)
        assert halves(home) == left_behind(home) == []
        path.unlink()


@pytest.mark.parametrize("change", ["source", "size", "about", "journal"])
def test_half_an_import_of_something_else_is_thrown_away(tmp_path: Path, source: Path, change: str):
    home = tmp_path / "home"
    half_imported(home, source)
    [half] = halves(home)
    if change == "source":
        write_toy(source, episodes((9, 8)))
    if change == "about":
        (half / "source.json").write_bytes(b"\xff\xfe")
    if change == "journal":
        (half / "episodes").write_bytes(b"\x05" + bytes(20))
    done = run(home, source, *(["--size", 8] if change == "size" else []))
    assert ("is of another source or with other options" in done.err) == (change != "journal")
    assert done.code == 0, done.err
    assert "going on" not in done.err
    assert lewm_here(home, "verify", NAME).code == 0


def test_source_that_was_only_copied_is_gone_on_with(tmp_path: Path, source: Path):
    half_imported(tmp_path / "home", source)
    for file in source.iterdir():
        os.utime(file, (1, 1))
    done = run(tmp_path / "home", source)
    assert "going on at episode" in done.err


def test_source_that_changes_meanwhile_is_noticed(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch):
    append = converted_recording.Conversion._append

    def changing(*arguments: Any) -> None:
        append(*arguments)
        (source / "toy.json").write_text("{}")

    monkeypatch.setattr(converted_recording.Conversion, "_append", changing)
    assert "has changed while it was imported" in run(tmp_path / "home", source).sentence()
    assert halves(tmp_path) == []


def test_interrupted_import_says_how_to_go_on(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch):
    check, looks = StopRequest.check, iter(range(1000))

    def interrupt(request: StopRequest) -> None:
        if next(looks) == 70:
            signal.raise_signal(signal.SIGINT)
        check(request)

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "check", interrupt)
        said = run(tmp_path / "home", source).sentence(130)
    assert "what is imported so far is kept, and the same command goes on from there" in said
    done = run(tmp_path / "home", source)
    assert "going on at episode 2 of 3" in done.err
    assert done.code == 0


PROGRAM = """#!{python}
import sys

sys.path.insert(0, {here!r})
if __name__ == "__main__":
    from lewm_cli.cli.main import main
    from lewm_cli.exchange import recognized
    from toy_source import open_toy

    recognized.OPENERS = (open_toy,)
    main()
"""


@pytest.mark.slow
def test_worker_that_is_killed_costs_nothing_that_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, source = tmp_path / "home", write_toy(tmp_path / "toy", episodes((3000,) * 6))
    program = tmp_path / "lewm-with-toys"
    program.write_text(PROGRAM.format(python=sys.executable, here=str(Path(__file__).parents[1])))
    program.chmod(0o755)
    monkeypatch.setattr(commands, "LEWM", str(program))
    with running(home, "import", source, "--name", NAME, "--workers", 2) as process:
        wait_until(lambda: any(half.joinpath("episodes").exists() for half in halves(home)), process)
        os.kill(max(descendants(process.pid)), signal.SIGKILL)
        done = ended(process)
    assert "a process that converts episodes was killed (SIGKILL)" in done.sentence()
    again = run(home, source)
    assert again.code == 0, again.err
    assert "going on at episode" in again.err


def test_half_an_import_that_nobody_goes_on_with_is_named_until_it_goes(tmp_path: Path, source: Path):
    home = tmp_path / "home"
    half_imported(home, source)
    [half] = halves(home)
    assert f"if it is not to: rm -r {half}" in run(home, source, name="other").err
    [found] = disk.half_copies(home)
    assert "or the same lewm import" in found.advice
    assert "rm -r" not in run(home, source).err
    assert halves(home) == list(disk.half_copies(home)) == []


def test_second_import_of_one_name_is_refused(tmp_path: Path, source: Path):
    home = tmp_path / "home"
    with locked(home / f"{NAME}.h5", "busy"):
        assert "another process is importing pick.h5; choose another --name" in run(home, source).sentence()
    with locked(home / "toy.h5", "busy"):  # without a name, the next free one is taken
        assert lewm_here(home, "import", source, "--workers", 1, "--json").json()["name"] == "toy-2"


def test_disk_without_room_is_refused_before_the_first_frame(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(import_recording, "free_bytes", lambda folder: 1000)
    said = run(tmp_path / "home", source).sentence()
    assert "importing" in said
    assert "and 1,000 bytes are free" in said


def test_full_disk_is_a_sentence_and_nothing_is_lost(small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = small_disk("1m")
    source = write_toy(tmp_path / "toy", episodes((400, 400, 400)))  # 520 kB, and noise cannot be packed
    filler = home / "filler"
    filler.write_bytes(bytes(450_000))
    monkeypatch.setattr(import_recording, "free_bytes", lambda folder: 10**9)
    assert "the disk is full" in run(home, source).sentence()
    assert lewm_here(home, "ls", "--json").json()["datasets"] == []
    filler.unlink()
    done = run(home, source)
    assert done.code == 0, done.err
    assert "going on at episode " in done.err
    assert lewm_here(home, "verify", NAME).code == 0


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    yield home
    home.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_home_that_cannot_be_written_is_said_at_once(read_only: Path, source: Path):
    assert "you may not write there" in run(read_only, source).sentence()


def test_home_on_a_file_is_said_at_once(tmp_path: Path, source: Path):
    (tmp_path / "home").write_text("")
    assert "is a file, not a folder" in run(tmp_path / "home", source).sentence()
