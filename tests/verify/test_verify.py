"""`lewm verify` finds what is wrong with runs and recordings that were damaged in real ways, and nothing else."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from commands import flat, lewm, lewm_here
from lewm_cli.data import Problem, open_dataset
from lewm_cli.files import locked
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.plural import counted
from lewm_cli.store import RunFiles, save_derived, save_run, weights_digest
from lewm_cli.store.objects import save_object
from lewm_cli.store.runs import HEADER
from lewm_cli.tasks import find_task
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, JsonLog
from lewm_cli.verify import DatasetCheck, check_dataset
from lewm_cli.verify.dataset_check import frame_findings
from synthetic import write_recording

pytest_plugins = ("recordings",)

RUN, DATASET = "tworoom/lewm", "robot/pick"
LENGTHS = (30, 24, 40, 20, 32, 28)
OFFSETS = np.cumsum(LENGTHS) - LENGTHS
ROWS = sum(LENGTHS)


def verified(home: Path, *arguments: object, code: int | None = None) -> dict[str, Any]:
    """What was found, by name."""
    done = lewm_here(home, "verify", *arguments, "--json")
    tree = done.json()
    assert done.code == (0 if tree["ok"] else 1)
    assert code is None or done.code == code, done.out
    return {check["name"]: check for check in tree["checked"]}


def problems(home: Path, *arguments: object) -> str:
    """What is wrong with the one thing that is there; every problem says what to do."""
    (found,) = verified(home, *arguments, code=1).values()
    assert found["state"] == "wrong"
    texts = [f"{problem['says']}; {problem['advice']}" for problem in found["problems"]]
    for text in texts:
        assert any(word in text for word in ("again", "lewm ", "from a copy", "rm ", "docs/datasets.md")), text
    return "\n".join(texts)


# Recordings


def bookkeeping(first_step: int = 0) -> dict[str, np.ndarray]:
    """The columns that number episodes and steps."""
    return {
        "ep_idx": np.repeat(np.arange(len(LENGTHS)), LENGTHS),
        "step_idx": np.concatenate([np.arange(length) for length in LENGTHS]) + first_step,
    }


def recording(home: Path, **columns: np.ndarray | None) -> Path:
    """A whole recording, some of whose columns are replaced."""
    return write_recording(home / f"{DATASET}.h5", LENGTHS, columns=bookkeeping() | columns)


def compressed(path: Path, *, checksums: bool, chunk: int = 25) -> Path:
    """Store the frames as released recordings do, with few colors so that there is something to compress."""
    with h5py.File(path, "r+") as file:
        frames = file["pixels"][()] // 64
        del file["pixels"]
        file.create_dataset(
            "pixels",
            data=frames,
            chunks=(chunk, *frames.shape[1:]),
            fletcher32=checksums,
            **hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.NOSHUFFLE),
        )
    return path


def chunks_of(path: Path) -> list[tuple[int, int]]:
    """Where the compressed chunks of the frames lie in the file: first byte and number of bytes."""
    with h5py.File(path) as file:
        pixels = file["pixels"]
        infos = [pixels.id.get_chunk_info(number) for number in range(pixels.id.get_num_chunks())]
    return [(info.byte_offset, info.size) for info in infos]


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_whole_recording_is_ok(home: Path):
    compressed(recording(home), checksums=True)
    found = verified(home, code=0)[DATASET]
    assert (found["kind"], found["state"], found["problems"], found["remarks"]) == ("dataset", "ok", [], [])
    assert (found["episodes"], found["rows"], found["decoded"], found["checksums"]) == (6, ROWS, ROWS, True)


@pytest.mark.slow
def test_what_lewm_collect_records_is_ok_and_carries_checksums(demos: Path):
    found = verified(demos, code=0)["tworoom/demos"]
    assert (found["episodes"], found["decoded"], found["checksums"], found["remarks"]) == (12, found["rows"], True, [])


@pytest.mark.slow
def test_damaged_own_recording_comes_with_the_command_that_records_it_again(demos: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(demos, home)
    path = home / "tworoom" / "demos.h5"
    place, size = chunks_of(path)[3]
    flip(path, place + size // 2)
    said = problems(home)
    assert "frames of 1 row cannot be decoded: row 3, step 3 of episode 0;" in said
    again = said.partition("record the same again: ")[2]
    commands = [command.split()[1:] for command in again.split(" && ")]
    assert commands[1][:2] == ["collect", "tworoom"]
    for command in commands:
        done = lewm(home, *command, *(["--yes"] if command[0] == "rm" else ["--workers", 1]))
        assert done.code == 0, done.err
    assert verified(home, code=0)["tworoom/demos"]["state"] == "ok"
    mine, theirs = open_dataset(path, "mine"), open_dataset(demos / "tworoom" / "demos.h5", "theirs")
    assert mine.identity.fingerprint == theirs.identity.fingerprint


def test_damaged_recording_of_varied_colors_is_recorded_with_them(home: Path):
    path, task = recording(home), find_task("tworoom")
    with h5py.File(path, "r+") as file:
        file["step_idx"][3] += 1
        file.attrs.update(task=task.name, policy=task.demonstrators["expert"], seed=5, starts="any", varies="color")
    again = f"lewm collect tworoom --episodes 6 --seed 5 --name {DATASET} --any-room --vary color"
    assert again in problems(home)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.2, 0.5, 0.9, -1])
def test_truncated_recording(home: Path, kept: float):
    path = recording(home)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "cannot be read as HDF5: it is " in problems(home)


def test_any_flipped_bit_of_a_chunk_is_found_where_there_are_checksums(home: Path):
    path = compressed(recording(home), checksums=True)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for place, size in chunks_of(path)[:6]:
        path.write_bytes(whole)
        flip(path, place + int(generator.integers(size)), int(generator.integers(8)))
        assert "cannot be decoded" in problems(home)


def test_every_damaged_chunk_is_counted_and_the_rest_is_decoded(home: Path):
    path = compressed(recording(home), checksums=True)
    for number in (0, 2, 3, 4, 6):
        place, size = chunks_of(path)[number]
        flip(path, place + size - 1)
    found = verified(home, code=1)[DATASET]
    assert found["decoded"] == 25 + 25
    path.unlink()
    path = compressed(recording(home), checksums=True, chunk=64)
    place, size = chunks_of(path)[1]
    flip(path, place + size - 1)
    found = verified(home, code=1)[DATASET]
    assert found["decoded"] == ROWS - 64
    assert found["problems"][0]["says"] == (
        "frames of 64 rows cannot be decoded: rows 64 to 127, step 10 of episode 2 to step 13 of episode 4"
    )


def test_no_checksums_are_told(home: Path):
    compressed(recording(home), checksums=False)
    done = lewm_here(home, "verify")
    assert "no checksums, so a flipped bit may have passed as a picture" in flat(done.out)
    path = compressed(recording(home), checksums=False)
    place, _ = chunks_of(path)[1]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(64))
    assert "cannot be decoded" in problems(home)


def test_chunks_that_were_never_written(home: Path):
    path = recording(home)
    with h5py.File(path, "r+") as file:
        frames = file["pixels"][()]
        del file["pixels"]
        pixels = file.create_dataset("pixels", shape=frames.shape, dtype=np.uint8, chunks=(50, *frames.shape[1:]))
        pixels[:50] = frames[:50]
    said = problems(home)
    assert "124 rows of pixels were never written: rows 50 to 173" in said
    assert "all frames are the same in" in said


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ep_offset": OFFSETS[[1, 0, 2, 3, 4, 5]]}, "do not describe episodes that lie apart"),
        ({"ep_offset": OFFSETS - (np.arange(6) == 3)}, "do not describe episodes that lie apart"),
        ({"ep_len": np.array(LENGTHS) + (np.arange(6) == 5)}, "do not describe episodes that lie apart"),
        ({"ep_len": np.array(LENGTHS)[:5]}, "ep_len describes 5 episodes and ep_offset 6"),
        ({"ep_len": np.array(LENGTHS) - 5 * (np.arange(6) == 2)}, "lies outside of that episode: ep_len is too short"),
        ({"ep_idx": np.roll(bookkeeping()["ep_idx"], 1)}, "ep_idx is 0 in row 1, within episode 0 that begins with 5"),
        ({"ep_idx": bookkeeping()["ep_idx"] % 5}, "episodes 0 and 5 have the same ep_idx, 0"),
        ({"ep_idx": bookkeeping()["ep_idx"] + 0.5}, "ep_idx does not hold one whole number per row"),
        ({"ep_idx": None, "episode_idx": np.roll(bookkeeping()["ep_idx"], 1)}, "episode_idx is 0 in row 1"),
        ({"step_idx": np.arange(ROWS)}, "step_idx of episode 1 begins at 30, not at 0 or 1"),
        ({"step_idx": bookkeeping()["step_idx"] + (np.arange(ROWS) == 60)}, "in episode 2: row 60 has 7, not 6"),
        ({"step_idx": np.zeros(ROWS, int)}, "step_idx does not count up by 1 in episode 0: row 1 has 0, not 1"),
        ({"step_idx": np.zeros(ROWS - 1, int)}, f"step_idx has {ROWS - 1} rows and pixels have {ROWS}"),
        ({"pixels": None}, "has no column 'pixels'"),
    ],
)
def test_wrong_bookkeeping(home: Path, columns: dict[str, np.ndarray], said: str):
    recording(home, **columns)
    assert said in problems(home)


def test_swapped_offsets_of_episodes_of_one_length(home: Path):
    path = write_recording(home / "a.h5", (20, 20, 20), columns={"ep_idx": np.repeat(np.arange(3), 20)})
    assert verified(home)["a"]["state"] == "ok"
    with h5py.File(path, "r+") as file:
        file["ep_offset"][:] = [0, 40, 20]
    assert "ep_offset of episode 1 leads to rows with ep_idx 2" in problems(home)


def test_selection_of_episodes_may_keep_its_numbers(home: Path):
    recording(home, ep_idx=bookkeeping()["ep_idx"] * 3 + 7)
    assert verified(home)[DATASET]["state"] == "ok"


def test_steps_from_one_are_allowed_and_said(home: Path):
    recording(home, **bookkeeping(first_step=1))
    assert verified(home, code=0)[DATASET]["remarks"] == [
        "step_idx begins at 1, as World.collect of stable_worldmodel has it"
    ]
    mixed = bookkeeping()["step_idx"] + (np.arange(ROWS) < LENGTHS[0])
    recording(home, step_idx=mixed)
    assert "begins at 1 in 1 of 6 episodes" in verified(home, code=0)[DATASET]["remarks"][0]


def test_rows_of_no_episode_are_remarked(home: Path):
    lengths, offsets = np.array(LENGTHS)[:4], OFFSETS[:4]
    recording(home, ep_len=lengths, ep_offset=offsets)
    found = verified(home, code=0)[DATASET]
    assert found["remarks"] == ["60 rows outside of all episodes, first row 114"]
    assert (found["rows"], found["decoded"]) == (114, ROWS)


def test_recording_that_numbers_nothing_is_remarked(home: Path):
    recording(home, ep_idx=None, step_idx=None)
    assert "nothing to agree with" in verified(home, code=0)[DATASET]["remarks"][0]


def actions() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    values[OFFSETS + LENGTHS - 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("row", "value", "said"),
    [
        (5, np.inf, "action is infinite in 1 row, first in row 5, step 5 of episode 0"),
        (29, -np.inf, "first in row 29, step 29 of episode 0"),  # the last row may be NaN, not infinite
        (OFFSETS, np.nan, "action is NaN in the first row of all 6 episodes; only an episode's last row may be"),
    ],
)
def test_actions_that_are_not_finite(home: Path, row: Any, value: float, said: str):
    values = actions()
    values[row] = value
    recording(home, action=values)
    assert said in problems(home)


def test_columns_that_say_nothing_are_remarked(home: Path):
    empty = np.full(ROWS, np.nan)
    endless = np.ones(ROWS)
    endless[:3] = np.inf
    recording(home, action=actions(), reward=empty, cost=endless, seeds=np.arange(len(LENGTHS)))
    remarks = verified(home, code=0)[DATASET]["remarks"]
    assert remarks == ["cost holds infinity in 3 places", "reward is NaN throughout"]


def test_damaged_column_does_not_hide_the_rest(home: Path):
    path = recording(home, step_idx=np.zeros(ROWS, int))
    with h5py.File(path, "r+") as file:
        file.create_dataset("proprio", data=np.ones((ROWS, 4)), chunks=(ROWS, 4), fletcher32=True)
        info = file["proprio"].id.get_chunk_info(0)
    flip(path, info.byte_offset + 3)
    said = problems(home)
    assert "column proprio cannot be read" in said
    assert "step_idx does not count up" in said
    assert verified(home)[DATASET]["decoded"] == ROWS


@pytest.mark.parametrize("chunk", [None, 10, 64, 500])
def test_frames_that_never_change(home: Path, chunk: int | None):
    pictures = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8)
    for episode in (2, 5):
        pictures[OFFSETS[episode] : OFFSETS[episode] + LENGTHS[episode]] = pictures[OFFSETS[episode]]
    # One that changes in its last frame only is not still.
    pictures[OFFSETS[4] : OFFSETS[4] + LENGTHS[4] - 1] = 7
    path = recording(home, pixels=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("pixels", data=pictures, chunks=chunk and (min(chunk, ROWS), 8, 8, 3))
    assert "all frames are the same in 2 episodes: 2, 5" in problems(home)


def test_episode_of_one_frame_cannot_move(home: Path):
    write_recording(home / f"{DATASET}.h5", (1, 5, 1))
    assert verified(home, code=0)[DATASET]["state"] == "ok"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.randoms(use_true_random=False), st.integers(1, 20))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stillness_is_what_comparing_all_frames_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], random: Any, step: int
):
    """Whatever the blocks that frames come in, and in whatever order episodes lie."""
    monkeypatch.setattr("lewm_cli.verify.dataset_check.FRAMES_AT_ONCE", step)
    order = random.sample(range(len(lengths)), len(lengths))
    offsets = np.zeros(len(lengths), int)
    offsets[order] = np.cumsum([0, *[lengths[each] for each in order][:-1]])
    pixels = np.array([random.choice((0, 0, 0, 0, 9)) for _ in range(sum(lengths))], np.uint8)
    pixels = pixels[:, None, None, None].repeat(3, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = write_recording(Path(folder, "a.h5"), lengths, columns={"pixels": pixels, "ep_offset": offsets})
        dataset = open_dataset(path, "a")
        check = DatasetCheck(name="a", path=path)
        every = frame_findings(dataset, lambda rows: nullcontext(lambda done: None), check)
        found = [finding for finding in every if isinstance(finding, Problem)]
    still = [
        episode
        for episode, (offset, length) in enumerate(zip(offsets, lengths, strict=True))
        if length > 1 and (pixels[offset : offset + length] == pixels[offset]).all()
    ]
    if still:
        assert f"in {counted(len(still), 'episode')}: {', '.join(map(str, still[:3]))}" in found[0].says
    else:
        assert found == []


@pytest.mark.slow
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150)
@example(place=0.0, bit=0)
def test_flipped_bit_anywhere_is_a_finding_or_none_and_never_an_error(whole: bytes, place: float, bit: int):

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        path.write_bytes(whole)
        flip(path, int(place * len(whole)), bit)
        check = check_dataset("a", path, lambda rows: nullcontext(lambda done: None))
    assert all(isinstance(problem, Problem) and problem.says for problem in check.problems)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small recording, most of which is bookkeeping of HDF5."""
    path = tmp_path_factory.mktemp("whole") / "a.h5"
    columns = {"ep_idx": np.repeat([0, 1], [3, 4]), "step_idx": np.array([0, 1, 2, 0, 1, 2, 3])}
    return compressed(write_recording(path, (3, 4), size=4, columns=columns), checksums=True, chunk=3).read_bytes()


# Runs


@pytest.fixture
def run(home: Path, small_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> RunFiles:
    """A whole run with a log and two results, one of earlier weights."""
    files = RunFiles(home / RUN)
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    JsonLog(files.log)(HeldOutMeasured(250, HeldOutLatents({"SIGReg": 1.0}, 0.5, 1.0, 1.0, 0.9, 7.5, 0.0)))
    files.results.mkdir()
    write_result(files, "surprise-1.json", weights_digest(files.weights))
    write_result(files, "surprise-2.json", "0" * 64)
    return files


def write_result(files: RunFiles, name: str, digest: str, **changes: Any) -> None:
    """A stored measurement of surprise."""
    identity = {"name": "tworoom/demos", "episodes": 1, "rows": 9, "fingerprint": "0" * 64}
    tree = {
        "run": RUN,
        "weights_sha256": digest,
        "task": "tworoom",
        "dataset": identity,
        "held_out": True,
        "seconds": 1.0,
        "device": "cpu",
        "versions": {"lewm-cli": "0.1.0"},
        "command": "lewm surprise",
        "time": "2026-01-01T00:00:00+00:00",
    }
    tree |= {"frameskip": 5, "seed": 0, "episodes": [], "left_out": []}
    (files.results / name).write_text(json.dumps(tree | changes), encoding="utf-8")


def rewrite(
    files: RunFiles,
    change_state: Callable[[dict[str, torch.Tensor]], object] = lambda state: None,
    change_card: Callable[[str], str] = lambda card: card,
) -> None:
    """Edit the weights on disk, as a careless tool would."""
    state = load_file(files.weights)
    with safe_open(files.weights, framework="pt") as file:
        card = file.metadata()[HEADER]
    change_state(state)
    save_file(state, files.weights, metadata={HEADER: change_card(card)})


def test_whole_run_is_ok(home: Path, run: RunFiles, small_model: JEPA):
    found = verified(home, code=0)[RUN]
    assert (found["kind"], found["state"], found["problems"], found["remarks"]) == ("run", "ok", [], [])
    assert found["tensors"] == len(small_model.state_dict())
    assert (found["derived"], found["results"], found["older_results"], found["log_entries"]) == (2, 1, 1, 1)
    table = flat(lewm_here(home, "verify").out)
    tensors = found["tensors"]
    assert f"method lewm, {tensors}/{tensors} tensors, derived files equal" in table
    assert "results: 1 and 1 of earlier weights, log entries: 1" in table


def test_run_without_results_and_log_is_ok(home: Path, run: RunFiles):
    shutil.rmtree(run.folder)
    assert verified(home, code=0)[RUN]["state"] == "ok"


@pytest.mark.parametrize("kept", [0, 4, 100, 0.1, 0.5, -1])
def test_truncated_weights(home: Path, run: RunFiles, kept: float):
    content = run.weights.read_bytes()
    run.weights.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert ("it is an empty file" if kept == 0 else "is damaged or not a safetensors file") in problems(home)
    assert verified(home)[RUN]["log_entries"] == 1


def test_broken_header(home: Path, run: RunFiles):
    flip(run.weights, 9)
    assert "is damaged or not a safetensors file" in problems(home)
    rewrite_card = run.weights.read_bytes()
    flip(run.weights, 9)
    assert rewrite_card != run.weights.read_bytes()
    rewrite(run, change_card=lambda card: card[:-1])
    assert "carries no usable lewm header" in problems(home)


def test_tensor_of_another_shape_missing_and_extra(home: Path, run: RunFiles):
    rewrite(run, lambda state: state.update({"encoder.layernorm.bias": torch.zeros(3)}))
    assert "1 of 104 tensors are missing, extra or of another shape, first 'encoder.layernorm.bias'" in problems(home)
    rewrite(run, lambda state: state.pop("encoder.layernorm.bias"))
    assert "first 'encoder.layernorm.bias'" in problems(home)
    rewrite(run, lambda state: state.update({"encoder.layernorm.bias": torch.zeros(64), "surplus": torch.zeros(1)}))
    assert "first 'surplus'" in problems(home)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(home: Path, run: RunFiles, small_model, small_card, value: float):
    with torch.no_grad():
        small_model.encoder.layernorm.bias[3] = value
    save_run(run, small_model, small_card(small_model))
    save_derived(run, small_model, "lewm")
    said = problems(home)
    assert "1 of 104 tensors hold NaN or infinity, first 'encoder.layernorm.bias'" in said
    assert "lewm train tworoom/demo --name tworoom/lewm --overwrite" in said
    assert "holds other weights" not in said  # the derived files hold the same NaN


@pytest.mark.slow
def test_derived_files_of_other_weights(home: Path, run: RunFiles, small_model: JEPA):
    with torch.no_grad():
        small_model.encoder.layernorm.bias[3] += 1
    save_object(small_model, "lewm", run.object)
    assert "lewm_object.ckpt holds other weights: 1 of 104 tensors, first 'encoder.layernorm.bias'" in problems(home)
    assert verified(home)[RUN]["derived"] == 1
    save_derived(run, small_model, "lewm")
    said = problems(home)
    assert "lewm_weight.ckpt holds other weights" in said
    assert "both derived files agree with each other, so lewm.safetensors itself may have been damaged" in said


def test_flipped_bit_in_the_weights_is_seen_in_the_derived_files(home: Path, run: RunFiles):
    flip(run.weights, run.weights.stat().st_size - 100, bit=2)
    assert "lewm.safetensors itself may have been damaged" in problems(home)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["_weight.ckpt", "_object.ckpt"])
@pytest.mark.parametrize("place", [0.01, 0.5, 0.99])
def test_damaged_derived_file(home: Path, run: RunFiles, suffix: str, place: float):
    path = Path(f"{run.stem}{suffix}")
    flip(path, int(place * path.stat().st_size), bit=5)
    assert path.name in problems(home)
    path.write_bytes(path.read_bytes()[:-1000])
    assert f"{path.name} is damaged or cut short" in problems(home)
    path.unlink()
    assert f"missing, for other tools: {path.name}" in problems(home)


class Sly:
    """A pickle that runs a command when it is loaded trustingly."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", ["_weight.ckpt", "_object.ckpt"])
def test_strange_pickle_is_refused_and_runs_nothing(home: Path, run: RunFiles, tmp_path: Path, suffix: str):
    torch.save(Sly(f"touch {tmp_path}/ran"), f"{run.stem}{suffix}")
    assert f"lewm{suffix}: refused: the pickle names posix.system, which no checkpoint of LeWM" in problems(home)
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], f"{run.stem}{suffix}")
    assert f"lewm{suffix}: it holds neither the tensors of a model nor a LeWM, PLDM or DINO-WM" in problems(home)


def test_derived_files_in_each_others_place(home: Path, run: RunFiles):
    run.object.rename(run.stem)
    run.state_dict.rename(run.object)
    run.stem.rename(run.state_dict)
    said = problems(home)
    assert "lewm_weight.ckpt holds something else than lewm writes: object checkpoint (lewm)" in said
    assert "lewm_object.ckpt holds something else than lewm writes: state dict (transformers 4 names" in said


def test_object_of_other_sizes(home: Path, run: RunFiles, small_model: JEPA):
    save_object(JEPA(small_model.config, block_dim=5), "lewm", run.object)
    assert "lewm_object.ckpt: it holds a model of other sizes" in problems(home)


def test_object_of_another_method(home: Path, run: RunFiles, small_model: JEPA):
    save_object(small_model, "pldm", run.object)
    assert "lewm_object.ckpt: it holds a model of another method" in problems(home)


def test_methods_of_the_card_and_of_the_training_agree(home: Path, run: RunFiles, small_model: JEPA, small_card):
    save_run(run, small_model, small_card(small_model, "pldm"))
    save_derived(run, small_model, "pldm")
    found = verified(home, code=0)[RUN]
    assert (found["method"], found["derived"]) == ("pldm", 2)
    rewrite(run, change_card=lambda card: card.replace('"method":"pldm"', '"method":"delta"', 1))
    said = problems(home)
    assert "its header says that it is of method delta, and was trained by pldm" in said
    assert "lewm_object.ckpt: it holds a model of another method" in said


def test_stopped_run_is_no_problem(home: Path, run: RunFiles):
    run.object.unlink()
    run.state_dict.unlink()
    torch.save({}, run.resume)
    (remark,) = verified(home, code=0)[RUN]["remarks"]
    assert remark == "training stopped after step 7; go on with: lewm train tworoom --name tworoom/lewm --resume"
    run.resume.write_bytes(run.resume.read_bytes()[:-10])
    assert "training stopped, and resume.pt is damaged or cut short" in problems(home)
    run.resume.unlink()
    assert "missing, for other tools: lewm_weight.ckpt and lewm_object.ckpt" in problems(home)


def test_run_that_is_being_trained_is_no_problem(home: Path, run: RunFiles):
    run.object.unlink()
    with locked(run.weights, "busy"):
        assert verified(home, code=0)[RUN]["remarks"] == ["being trained now, step 7"]


def test_stored_results_that_cannot_be_read(home: Path, run: RunFiles):
    (run.results / "eval-1.json").write_text('{"success": 1', encoding="utf-8")
    (run.results / "probe-1.json").write_bytes(b"\xff\x00")
    (run.results / "notes.json").write_text("{}", encoding="utf-8")
    write_result(run, "surprise-3.json", "0" * 64, frameskip=0)
    found = verified(home, code=1)[RUN]
    assert [problem["says"].partition(" ")[0] for problem in found["problems"]] == [
        "eval-1.json",
        "probe-1.json",
        "surprise-3.json",
    ]
    assert found["remarks"] == ["notes.json is no kind of result that this version knows"]
    assert f"rm {run.results / 'eval-1.json'}" in found["problems"][0]["advice"]


def test_log_cut_short_is_a_remark_and_a_log_of_nothing_a_problem(home: Path, run: RunFiles):
    line = run.log.read_bytes()
    run.log.write_bytes(line + line[:20])
    assert verified(home, code=0)[RUN]["remarks"] == ["1 lines of log.jsonl cannot be read, as a kill leaves them"]
    run.log.write_bytes(line[:20])
    assert verified(home, code=0)[RUN]["log_entries"] == 0
    run.log.write_bytes(bytes(50) + b"\n")
    assert "log.jsonl is damaged: none of its 1 lines can be read" in problems(home)


@pytest.mark.slow
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bit_in_any_file_of_a_run_is_never_an_error(home: Path, run: RunFiles, place: float, bit: int):
    """Nor does it stay: everything is read anew."""
    path = (run.weights, run.state_dict, run.object)[int(place * 3)]
    whole = path.read_bytes()
    try:
        flip(path, int((place * 3) % 1 * len(whole)), bit)
        verified(home)
    finally:
        path.write_bytes(whole)
    assert verified(home)[RUN]["state"] == "ok"


# The command


def test_one_damaged_thing_does_not_hide_another(home: Path, run: RunFiles):
    recording(home, step_idx=np.zeros(ROWS, int))
    write_recording(home / "whole.h5")
    (home / "broken.h5").write_bytes(b"no HDF5")
    (home / "broken.safetensors").write_bytes(bytes(100))
    (home / "gone.h5").symlink_to(home / "nowhere.h5")
    (home / "folder.h5").mkdir()
    done = lewm_here(home, "verify")
    assert done.code == 1
    assert "Traceback" not in done.err
    table = flat(done.out)
    for name, kind, state in (
        (RUN, "run", "ok"),
        ("broken", "run", "wrong"),
        ("broken", "dataset", "wrong"),
        ("gone", "dataset", "wrong"),
        (DATASET, "dataset", "wrong"),
        ("whole", "dataset", "ok"),
    ):
        assert f"{name} {kind} {state} " in table
    assert done.err.splitlines()[-1] == (f"lewm: wrong: broken, gone, {DATASET}; what to type is said with the result")
    assert f"decoding whole: {ROWS}/{ROWS} rows" in done.err
    quiet = lewm_here(home, "verify", "-q")
    assert (quiet.out, quiet.err.splitlines()) == (done.out, done.err.splitlines()[-1:])


def test_one_name_is_looked_at_as_run_and_as_dataset(home: Path, run: RunFiles):
    write_recording(home / f"{RUN}.h5")
    write_recording(home / "other.h5")
    table = flat(lewm_here(home, "verify", RUN).out)
    assert f"{RUN} run ok" in table
    assert f"{RUN} dataset ok" in table
    assert "other" not in table
    assert list(verified(home, "other", code=0)) == ["other"]


def test_file_by_path(home: Path, tmp_path: Path):
    path = write_recording(tmp_path / "elsewhere" / "a.h5")
    assert list(verified(home, path, code=0)) == [str(path)]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("robot/pck", 1, "did you mean 'robot/pick'?"),
        ("zzz", 1, "there is robot/pick"),
        ("robot/pick.h5", 2, "'robot/pick'"),
        ("tworoom/lewm.safetensors", 1, "no run or dataset 'tworoom/lewm'"),
        ("../home/robot/pick", 1, "there is no file ../home/robot/pick"),
    ],
)
def test_what_is_not_there(home: Path, name: str, code: int, said: str):
    recording(home)
    assert said in lewm_here(home, "verify", name).sentence(code)


def test_empty_home(home: Path):
    done = lewm_here(home, "verify")
    assert done.code == 0
    assert "nothing is there yet" in done.out
    assert lewm_here(home, "verify", "--json").json() == {"ok": True, "checked": []}
    assert not home.exists()


def test_nothing_is_written(home: Path, run: RunFiles):
    recording(home)
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert lewm_here(home, "verify").code == 0
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.slow
def test_finished_run_gets_its_derived_files_again_by_what_is_said(trained: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    assert all(check["state"] == "ok" for check in verified(home, code=0).values())
    files = RunFiles(home / RUN)
    files.state_dict.unlink()
    (said,) = verified(home, RUN, code=1)[RUN]["problems"]
    done = lewm(home, *said["advice"].partition("lewm ")[2].split())
    assert done.code == 0, done.err
    assert verified(home, RUN, code=0)[RUN]["derived"] == 2
