"""`lewm convert --to onnx`: onnxruntime computes what the run computes, from recorded frames and actions."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import lewm_cli
from commands import Done, left_behind, lewm, lewm_here
from conftest import Scramble
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.config import ActionStats, ModelConfig, PixelStats
from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.plan.cost import LatentCost
from lewm_cli.store import Home, Run, RunFiles, load_run, read_card, save_run, weights_digest
from lewm_cli.store import onnx_export as converting
from lewm_cli.store.conversion import Target, write_as
from lewm_cli.store.onnx_export import ONNX_FILES
from synthetic import write_recording

pytest_plugins = ("recordings",)
pytestmark = pytest.mark.slow  # exports networks

NAME = "tworoom/lewm"
ROOT = Path(__file__).parents[2]
MODELS = ("encoder", "action_encoder", "predictor")
BATCHES = (1, 2, 7, 20)

Build = Callable[..., Run]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, scramble: Scramble, small_card: Callable[[JEPA], RunCard]) -> Build:
    """Save a scrambled run in a home of its own, and load it."""

    def one(config: ModelConfig, frameskip: int = 5, dims: int = 2) -> Run:
        model = scramble(JEPA(config, frameskip * dims)).eval()
        inputs = small_card(JEPA(config, 10)).inputs.model_copy(
            update={
                "frameskip": frameskip,
                "actions": ActionStats(mean=(1.5, *(-0.25,) * (dims - 1)), std=(0.2, *(3.0,) * (dims - 1))),
                "pixels": PixelStats(mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3)),
            }
        )
        card = small_card(JEPA(config, 10)).model_copy(update={"inputs": inputs})
        folder = tmp_path_factory.mktemp("built")
        save_run(RunFiles(folder / NAME), model, card)
        return load_run(Home(folder, (folder,)), NAME)

    return one


@pytest.fixture(scope="session")
def run(build: Build, small_config: ModelConfig) -> Run:
    """Of the laptop-sized model; not to be written to."""
    return build(small_config)


@pytest.fixture(scope="session")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it is converted to; not to be written to."""
    folder = tmp_path_factory.mktemp("converted") / "lewm-onnx"
    write_as(Target.ONNX, run, folder)
    return folder


@pytest.fixture
def exported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The models of `run`, which are not exported anew: that takes seconds, and touches no file."""
    models = {name: (folder / f"{name}.onnx").read_bytes() for name in MODELS}
    monkeypatch.setattr(converting, "_exported", lambda part, run: models[part.name])
    return models


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def convert(run: Run, *arguments: object) -> Done:
    return lewm_here(home_of(run), "convert", NAME, "--to", "onnx", *arguments)


def home_of(run: Run) -> Path:
    return run.files.weights.parents[1]


def sessions(folder: Path) -> tuple[onnxruntime.InferenceSession, ...]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return tuple(onnxruntime.InferenceSession(folder / f"{name}.onnx", options) for name in MODELS)


@torch.inference_mode()
def assert_computes_the_same(folder: Path, run: Run, batches: tuple[int, ...] = BATCHES) -> None:
    """For whole windows: from frames and actions as recorded to the next latents."""
    encoder, action_encoder, predictor = sessions(folder)
    size, history = run.card.model.image_size, run.card.model.history
    inputs = run.card.inputs
    draw = np.random.default_rng(1)
    for batch in batches:
        frames = draw.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        (latents,) = encoder.run(["latents"], {"frames": frames})
        expected = run.embed(frames).numpy()
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-4)
        for steps in range(1, history + 3):
            actions = draw.normal(1, 2, (batch, steps, inputs.frameskip, inputs.actions.dim)).astype(np.float32)
            (embedded,) = action_encoder.run(["action_embeddings"], {"actions": actions})
            blocks = inputs.actions.normalize(actions).reshape(batch, steps, inputs.block_dim)
            expected = run.model.embed_actions(torch.from_numpy(blocks)).numpy()
            assert expected.std() > 1e-2
            np.testing.assert_allclose(embedded, expected, rtol=0, atol=1e-4)
            if steps > history:
                continue
            seen = latents[draw.integers(0, batch, (batch, steps))]
            (following,) = predictor.run(["next_latents"], {"latents": seen, "action_embeddings": embedded})
            expected = run.model.predict(torch.from_numpy(seen), torch.from_numpy(embedded)).numpy()
            assert expected.shape == (batch, steps, run.card.model.latent)
            np.testing.assert_allclose(following, expected, rtol=0, atol=1e-4)


# What is computed


def test_every_batch_and_every_window_computes_the_same(folder: Path, run: Run):
    assert_computes_the_same(folder, run)


def test_release_computes_the_same(build: Build, tmp_path: Path):
    run = build(ModelConfig())
    written = write_as(Target.ONNX, run, tmp_path / "release")
    assert 0 < written.largest_difference < 1e-4
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == sorted(ONNX_FILES)
    assert_computes_the_same(tmp_path / "release", run, batches=(1, 2, 7))


def test_large_latents_are_compared_by_their_size(run: Run, small_config: ModelConfig, tmp_path: Path):
    model = JEPA(small_config, run.model.block_dim)
    model.load_state_dict(run.model.state_dict())
    *_, last = (value for name, value in model.named_parameters() if name.startswith("projector") and value.ndim == 2)
    with torch.no_grad():
        last *= 1e4
    written = write_as(Target.ONNX, replace(run, model=model.eval()), tmp_path / "onnx")
    assert 0 < written.largest_difference < 1e-4


@pytest.mark.parametrize(("history", "width", "frameskip", "dims"), [(1, None, 1, 1), (6, 24, 2, 7)], ids=str)
def test_other_sizes_compute_the_same(build: Build, small_config, tmp_path: Path, history, width, frameskip, dims):
    predictor = small_config.predictor.model_copy(update={"width": width, "dropout": 0.1})
    config = small_config.model_copy(update={"history": history, "predictor": predictor})
    run = build(config, frameskip, dims)
    write_as(Target.ONNX, run, tmp_path / "onnx")
    assert_computes_the_same(tmp_path / "onnx", run)
    assert_refuses_longer_windows(tmp_path / "onnx", run)


def assert_refuses_longer_windows(folder: Path, run: Run) -> None:
    """One that the model was not trained on is never computed."""
    *_, predictor = sessions(folder)
    window = np.zeros((2, run.card.model.history + 1, run.card.model.latent), np.float32)
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        predictor.run(None, {"latents": window, "action_embeddings": window})


def test_wrong_input_is_refused(folder: Path, run: Run):
    assert_refuses_longer_windows(folder, run)
    encoder, action_encoder, _ = sessions(folder)
    for frames in (np.zeros((1, 3, 64, 64), np.uint8), np.zeros((1, 64, 64, 3), np.float32)):
        with pytest.raises(Exception, match=r"Got invalid dimensions|Unexpected input data type"):
            encoder.run(None, {"frames": frames})
    with pytest.raises(Exception, match=r"Got invalid dimensions|Invalid rank"):
        action_encoder.run(None, {"actions": np.zeros((1, 1, 10), np.float32)})


def test_example_of_the_documentation_judges_plans_as_we_do(folder: Path, run: Run, here: Path):
    text = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^## Models without torch$.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "torch" not in snippet
    assert "lewm_cli" not in snippet
    shutil.copytree(folder, here / "tworoom-lewm-onnx")
    draw = np.random.default_rng(0)
    camera, goal = draw.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    plans = draw.normal(size=(30, 5, 5, 2)).astype(np.float32)
    names = {"camera": camera, "goal": goal, "plans": plans}
    exec(snippet, names)

    start, end = run.embed(np.stack([camera, goal])).split(1)
    blocks = torch.from_numpy(run.card.inputs.actions.normalize(plans).reshape(1, 30, 5, 10))
    expected = LatentCost(run.model, start[None], end)(blocks)[0].numpy()
    assert expected.std() > 1e-2
    np.testing.assert_allclose(names["costs"], expected, rtol=1e-4, atol=1e-4)
    assert np.array_equal(names["best"], plans[expected.argmin()])


# What is written


def test_models_say_what_they_are(folder: Path, run: Run):
    encoder, action_encoder, predictor = sessions(folder)
    described = [
        [(one.name, one.type, one.shape) for one in (*session.get_inputs(), *session.get_outputs())]
        for session in (encoder, action_encoder, predictor)
    ]
    assert described == [
        [("frames", "tensor(uint8)", ["batch", 64, 64, 3]), ("latents", "tensor(float)", ["batch", 8])],
        [
            ("actions", "tensor(float)", ["batch", "time", 5, 2]),
            ("action_embeddings", "tensor(float)", ["batch", "time", 8]),
        ],
        [
            ("latents", "tensor(float)", ["batch", "time", 8]),
            ("action_embeddings", "tensor(float)", ["batch", "time", 8]),
            ("next_latents", "tensor(float)", ["batch", "time", 8]),
        ],
    ]
    for name, session in zip(MODELS, (encoder, action_encoder, predictor), strict=True):
        meta = session.get_modelmeta()
        assert meta.graph_name == name
        assert meta.custom_metadata_map == {
            "run": NAME,
            "weights_sha256": weights_digest(run.files.weights),
            "lewm_version": lewm_cli.__version__,
        }
    assert RunCard.model_validate_json((folder / "card.json").read_text()) == read_card(run.files.weights)


def test_models_are_whole_and_of_the_stated_opset_and_tell_nothing_of_this_machine(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == sorted(ONNX_FILES)
    for name in MODELS:
        content = (folder / f"{name}.onnx").read_bytes()
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
        assert str(ROOT).encode() not in content
        assert b".py" not in content


def test_same_run_gives_the_same_bytes(folder: Path, run: Run, tmp_path: Path):
    write_as(Target.ONNX, run, tmp_path / "again")
    for name in ONNX_FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


# The command


def test_exporter_is_not_heard(run: Run, here: Path):
    done = lewm(home_of(run), "convert", NAME, "--to", "onnx", "--json", cwd=here)
    assert done.code == 0, done.err
    assert done.err.splitlines() == [f"run: {NAME} (104/104 tensors from {run.files.weights})"]
    tree = done.json()
    place = here / "tworoom-lewm-onnx"
    assert 0 < tree["largest_difference"] < 1e-4
    assert {file["path"]: file["sha256"] for file in tree["files"]} == {
        str(place / name): weights_digest(place / name) for name in ONNX_FILES
    }


def test_tables_say_how_close_it_is_and_what_to_feed_it(run: Run, here: Path, exported: dict[str, bytes]):
    said = convert(run, "-q")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"^tworoom/lewm as onnx: differs from torch by \d\.\de-0[5-7] at most$", said.out, re.MULTILINE)
    assert "resize frames to 64 x 64 by area" in said.out


def test_packages_are_only_imported_to_convert(run: Run):
    script = (
        "import sys, lewm_cli.flows.convert, lewm_cli.cli.main; "
        "print([name for name in ('onnx', 'onnxruntime', 'onnxscript') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_package_is_said_with_what_to_type(run: Run, here: Path, monkeypatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    sentence = convert(run).sentence()
    assert f"with {package}, which" in sentence
    assert sentence.endswith('pip install "lewm-cli[onnx]"')
    assert os.listdir(here) == []


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_models_that_differ_too_much_are_not_put_in_place(run: Run, here: Path, exported: dict[str, bytes], wrong):
    place = here / "tworoom-lewm-onnx"
    place.mkdir()
    (place / "encoder.onnx").write_text("old")
    model = onnx.load_from_string(exported["predictor"])
    (positions,) = [one for one in model.graph.initializer if list(one.dims) == [1, 3, 8]]
    values = np.frombuffer(positions.raw_data, np.float32).copy()
    values[-1] += wrong  # in the last place of a full window
    positions.raw_data = values.tobytes()
    exported["predictor"] = model.SerializeToString()
    sentence = convert(run, "--overwrite").sentence()
    assert "1e-04 is the most allowed" in sentence
    assert [(path.name, path.read_text()) for path in place.iterdir()] == [("encoder.onnx", "old")]
    assert left_behind(here) == []


def test_weights_that_are_no_numbers_are_refused(run: Run, exported: dict[str, bytes], tmp_path: Path):
    model = JEPA(run.model.config, run.model.block_dim)
    model.load_state_dict(run.model.state_dict())
    with torch.no_grad():
        model.predictor.pos_embedding[0, 1, 0] = torch.nan
    with pytest.raises(LewmError, match="not finite"):
        write_as(Target.ONNX, replace(run, model=model.eval()), tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cases", [5, pytest.param(1000, marks=pytest.mark.soak)])
def test_killed_at_any_point_it_leaves_the_old_folder_or_the_new_one(
    run: Run, here: Path, exported: dict[str, bytes], cases: int
):
    place = here / "place"

    def write() -> None:
        done = convert(run, "--output", place, "--overwrite")
        assert done.code == 0, done.err

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in place.iterdir()}

    def restore() -> None:
        for part in left_behind(here):
            shutil.rmtree(part)
        place.mkdir(exist_ok=True)
        for name in ONNX_FILES:
            (place / name).write_bytes(b"old")

    restore()
    old = content()
    points = kill_points(place, write)
    new = content()
    assert len(points) > 20
    assert old != new
    chance = random.Random(cases)
    found = []
    for step, calls in chance.sample(points, min(cases - 2, len(points))):
        restore()
        assert killed_at_step(step, calls, place, write) in (-signal.SIGKILL, 0)  # 0: the calls go beyond its end
        assert content() in (old, new), (step, calls)
        found.append(content() == new)
    assert cases == 5 or set(found) == {False, True}
    for size in chance.sample(range(len(exported["encoder"])), min(cases // 2, 20)):
        restore()
        assert killed_at_byte(size, write) == -signal.SIGXFSZ
        assert content() == old
    write()
    assert content() == new


def test_run_of_another_tool_is_converted_like_an_own_one(here: Path):
    home = here / "home"
    fixture = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "jepa_tf4_object.ckpt"
    (home / "tworoom").mkdir(parents=True)
    shutil.copy(fixture, home / "tworoom" / "lejepa_object.ckpt")
    write_recording(home / "tworoom" / "demos.h5", dims=2, size=16, task="tworoom")
    arguments = ("convert", "tworoom/lejepa", "--to", "onnx", "--stats-from", "tworoom/demos", "--output", "theirs")
    done = lewm_here(home, *arguments)
    assert done.code == 0, done.err
    assert_computes_the_same(here / "theirs", lewm_cli.load("tworoom/lejepa", home))
    card = json.loads((here / "theirs" / "card.json").read_text())
    assert card["statistics_from"]["name"] == "tworoom/demos"
