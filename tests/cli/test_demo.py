"""`lewm demo`: the page in which a run plans, what it is given, and the runs that a page cannot plan with."""

import base64
import gzip
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from commands import PATIENCE, Done, ended, left_behind, lewm_here, running
from conftest import Scramble
from faults import killed_at_byte
from lewm_cli.config import (
    DinoWMNopropConfig,
    FrozenEncoderConfig,
    ModelConfig,
    PatchPredictorConfig,
    PlannerConfig,
)
from lewm_cli.demo import LiveModel
from lewm_cli.methods import JEPA, METHODS, RunCard
from lewm_cli.report import served_tables
from lewm_cli.report.demo import live_page
from lewm_cli.store import Home, RunFiles, load_run, save_run
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording
from toy_policy import ToyPolicy, ToySizes, add_imitation

pytest_plugins = ("recordings",)
pytestmark = [
    pytest.mark.slow,  # exports networks
    pytest.mark.skipif(
        not all((live_page.RUNTIME / name).is_file() for name in live_page.RUNTIME_FILES),
        reason="ONNX Runtime Web is not there; get it with: scripts/runtime",
    ),
]

RUN = "tworoom/lewm"
NETWORKS = ("encoder", "action_encoder", "predictor")


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    small_config: ModelConfig,
    small_card: Callable[..., RunCard],
    scramble: Scramble,
) -> Home:
    """A home with a run of TwoRoom and no recording; only pages may be written to it."""
    place = tmp_path_factory.mktemp("demo") / "home"
    model = scramble(JEPA(small_config, block_dim=10)).eval()
    save_run(RunFiles(place / RUN), model, small_card(model))
    return Home(place, (place,))


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Path | str]:
    """Pages that were opened in a browser, of which there is none here."""
    opened: list[Path | str] = []
    monkeypatch.setattr("lewm_cli.report.output.open_in_browser", lambda page: opened.append(page))
    return opened


def demo(home: Home, *arguments: object) -> Done:
    return lewm_here(home.write, "demo", *arguments)


def given(html: str) -> LiveModel:
    (text,) = re.findall(r'<script type="application/json" class="given">(.*?)</script>', html, re.DOTALL)
    return LiveModel.model_validate(json.loads(text))


def packed(html: str) -> dict[str, bytes]:
    found = re.findall(r'<script type="text/plain" class="packed" data-name="(\w+)">(.*?)</script>', html, re.DOTALL)
    return {name: gzip.decompress(base64.b85decode(content.replace(",", "<"))) for name, content in found}


@pytest.fixture(scope="module")
def page(home: Home) -> tuple[Done, str]:
    """The page of the run, where it is written without being asked."""
    with pytest.MonkeyPatch.context() as patch:
        opened: list[Path] = []
        patch.setattr("lewm_cli.report.output.open_in_browser", opened.append)
        done = demo(home, RUN)
    assert done.code == 0, done.err
    path = home.write / "tworoom" / "lewm.run" / "demo.html"
    assert opened == [path]
    assert f"demo: {path}" in done.err
    return done, path.read_text(encoding="utf-8")


def test_page_has_the_run_and_all_it_needs(page: tuple[Done, str], home: Home):
    _, html = page
    run, model = load_run(home, RUN), given(html)
    inputs = run.card.inputs
    assert (model.run, model.task, model.title) == (RUN, "tworoom", TWOROOM.title)
    assert (model.image_size, model.latent, model.history) == (64, 8, run.model.history)
    assert (model.frameskip, model.actions, model.goal_radius, model.served) == (5, inputs.actions, 16.0, False)
    search = {"candidates": 100, "elites": 10, "iterations": 5, "horizon": 5, "receding": 1, "warm_start": True}
    assert model.planner == PlannerConfig(solver="icem", **search)
    parts = packed(html)
    assert parts.keys() == {"runtime", "library", "worker", *NETWORKS}
    assert parts["runtime"].startswith(b"/*!\n * ONNX Runtime Web v1.30.0")
    assert parts["library"].startswith(b"\0asm")
    encoder, *_ = (onnxruntime.InferenceSession(parts[name]) for name in NETWORKS)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(encoder.run(None, {"frames": frames})[0], run.embed(frames), rtol=0, atol=1e-4)
    assert "Permission is hereby granted, free of charge" in html  # the license of the runtime
    for name in live_page.SCRIPTS:
        assert (live_page.FOLDER / name).read_text(encoding="utf-8") in html
    assert not re.search(r"(src|href)=.?https?:", html)


def test_latent_map_is_of_both_rooms_where_nothing_is_recorded(page: tuple[Done, str], home: Home):
    run, model = load_run(home, RUN), given(page[1])
    simulator = TWOROOM.make_simulator()
    mean, axes, points = np.array(model.plane.mean), np.array(model.plane.axes), model.plane.map.points.array()
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-4)
    for corner in (21.0, 21.0), (203.0, 203.0), (203.0, 21.0):
        place = np.array(corner, np.float32)
        simulator.begin(place, place)
        drawn = axes @ (run.embed(simulator.frame()[None]).numpy()[0] - mean)
        assert np.abs(points - drawn).max(axis=1).min() <= model.plane.map.points.unit
    assert 300 < len(points) < 400  # of 20 x 20, but for the wall


def test_output_names_size_and_what_to_do_next(page: tuple[Done, str]):
    out = page[0].out.splitlines()
    assert (
        out[0] == f"{RUN} in a page of {len(page[1]) / 1e6:.1f} MB, which needs no network and can be given to anybody"
    )
    assert out[1] == "in it: click where it should go, and press play"
    assert out[2:] == [f"with several threads, where this machine has more than two cores: lewm demo {RUN} --serve"]


def test_same_run_gives_the_same_bytes(page: tuple[Done, str], home: Home, tmp_path: Path, shown: list[Any]):
    done = demo(home, RUN, "--output", tmp_path / "page.html", "--json")
    assert done.code == 0, done.err
    found = done.json()
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html == page[1]
    assert (found["demo"], found["bytes"]) == (str(tmp_path / "page.html"), len(html.encode()))
    assert (found["run"], found["task"], found["planner"]["candidates"]) == (RUN, "tworoom", 100)
    assert shown == []
    assert left_behind(tmp_path) == left_behind(home.write) == []


@pytest.fixture
def exported(page: tuple[Done, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks of the run, which are not exported anew: that takes seconds."""
    from lewm_cli.demo import ModelParts

    parts = packed(page[1])
    networks = ModelParts(**{name: parts[name] for name in NETWORKS})
    monkeypatch.setattr("lewm_cli.flows.demo.export_parts", lambda run: (networks, 0.0))


def test_latent_map_can_be_of_a_recording(home: Home, exported: None, tmp_path: Path, shown: list[Any]):
    place = shutil.copytree(home.write, tmp_path / "home")
    recording = write_recording(place / "tworoom" / "demos.h5", dims=2, size=64, task="tworoom")
    done = lewm_here(place, "demo", RUN, "--dataset", "tworoom/demos", "--open", "-o", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert shown == [tmp_path / "page.html"]
    points = given((tmp_path / "page.html").read_text(encoding="utf-8")).plane.map.points
    assert len(points.array()) == Home(place, (place,)).find_dataset("tworoom/demos").rows
    assert recording.exists()


def test_weights_of_another_tool_plan_too(tmp_path: Path, shown: list[Any]):
    place = tmp_path / "home" / "tworoom"
    place.mkdir(parents=True)
    fixture = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "jepa_tf4_object.ckpt"
    shutil.copy(fixture, place / "lejepa_object.ckpt")
    write_recording(place / "demos.h5", dims=2, size=16, task="tworoom")
    done = lewm_here(place.parent, "demo", "tworoom/lejepa", "--stats-from", "tworoom/demos")
    assert done.code == 0, done.err
    assert shown == [place / "lejepa.run" / "demo.html"]
    assert given(shown[0].read_text(encoding="utf-8")).run == "tworoom/lejepa"


def test_large_page_is_not_recommended(home: Home, exported: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("lewm_cli.report.live_planning.LARGE", 1e6)
    done = demo(home, RUN, "--output", tmp_path / "page.html")
    assert done.out.splitlines()[-1] == f"so large a file takes a while to open; rather: lewm demo {RUN} --serve"


# Served


def served(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Waits for the JSON that a command prints before it ends."""
    lines = list(iter(process.stdout.readline, "}\n"))
    return json.loads("".join([*lines, "}"]))


def test_served_page_is_that_of_the_file_until_ctrl_c(page: tuple[Done, str], home: Home):
    with running(home.write, "demo", RUN, "--serve", "--json", "-q") as process:
        found = served(process)
        assert (found["run"], found["task"]) == (RUN, "tworoom")
        assert found["demo"].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(found["demo"], timeout=PATIENCE) as answer:
            html = answer.read().decode()
            assert html == page[1].replace('"gpu":false', f'"gpu":{str(bool(live_page.gpu_files())).lower()}')
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for path, file in live_page.gpu_files().items():
            with urllib.request.urlopen(found["demo"].rstrip("/") + path, timeout=PATIENCE) as answer:
                assert answer.read() == file.read_bytes()
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert (done.code, done.err) == (130, "lewm: stopped; the page is served no longer\n")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(found["demo"], timeout=PATIENCE)
    assert [path.name for path in home.write.rglob("*") if path.suffix != ".safetensors"] == [
        *("tworoom", "lewm.run", "demo.html")
    ]


def test_simulator_of_another_task_is_stepped_here(home: Home, pushes: Path, tmp_path: Path):
    place = shutil.copytree(pushes, tmp_path / "home")
    world_model = load_run(home, RUN)
    inputs = world_model.card.inputs.model_copy(update={"task": "pusht"})
    card = world_model.card.model_copy(update={"inputs": inputs})
    save_run(RunFiles(place / "pusht" / "lewm"), world_model.model, card)

    def ask(path: str, **content: Any) -> Any:
        request = urllib.request.Request(
            address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    with running(place, "demo", "pusht/lewm", "--serve", "--dataset", "pusht/demos", "--json") as process:
        address = served(process)["demo"]
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            model = given(answer.read().decode())
        assert (model.task, model.served, model.goal_radius) == ("pusht", True, None)
        dataset = Home(place, (place,)).find_dataset("pusht/demos")
        assert len(model.plane.map.points.array()) == min(1000, dataset.rows)
        begun = ask("begin", seed=0)
        assert begun["now"]["frame"] != begun["goal"]["frame"]
        assert not begun["now"]["reached"]
        plan = ask(
            "plan", settings={"candidates": 4, "elites": 2, "iterations": 1, "horizon": 2, "receding": 1}, seed=0
        )
        actions = np.frombuffer(base64.b64decode(plan["actions"]), "<f4")
        assert len(actions) == 2 * 5 * 2
        acted = ask("act", actions=actions[:10].tolist())
        assert 1 <= len(acted["moments"]) <= 5
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    assert done.code == 143, done.err
    assert done.err.splitlines()[-1] == "lewm: stopped; the page is served no longer"
    assert "the run was trained on none of them" in done.err


def test_port_is_tried_before_anything_else(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.flows.demo.load_run", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = demo(home, RUN, "--serve", "--port", port).sentence()
    assert f"port {port} of this machine cannot be had" in said


@pytest.mark.parametrize(
    ("options", "opens"),
    [(["--port", "8000"], True), (["--quiet"], True), (["--json"], False), (["--json", "--open"], True)],
)
def test_served_page_is_opened(
    home: Home,
    exported: None,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[Path | str],
    options: list[str],
    opens: bool,
):
    def serve(page: str, episode: object, port: int, started: Callable[[str], None], files: object) -> None:
        started(f"http://127.0.0.1:{port}/")

    monkeypatch.setattr("lewm_cli.flows.demo.serve", serve)
    done = demo(home, RUN, "--serve", *options)
    assert done.code == 0, done.err
    address = f"http://127.0.0.1:{8000 if '--port' in options else 0}/"
    assert shown == [address] * opens
    assert ("open this address where there is one" in done.err) == (opens and "--quiet" not in options)
    if "--json" in options:
        assert done.json()["demo"] == address
    else:
        assert done.out.splitlines() == [
            f"{RUN} plans in a page until Ctrl-C, with several threads, where this machine has more than two cores",
            "in it: click where it should go, and press play",
            f"demo: {address}",
        ]


def test_goals_of_a_simulator_that_runs_here_are_not_clicked(page: tuple[Done, str]):
    model = given(page[1]).model_copy(update={"served": True})
    assert served_tables(model, "http://127.0.0.1:8000/") == [
        f"{RUN} plans in a page until Ctrl-C, and its simulator runs here",
        "in it: press play",
        "demo: http://127.0.0.1:8000/",
    ]


# What is refused


@pytest.fixture
def others(home: Home, small_card: Callable[..., RunCard], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs beside it that a page cannot plan with."""
    add_imitation(monkeypatch)
    policy = ToyPolicy(ToySizes(image_size=16), block_dim=10)
    save_run(RunFiles(home.write / "tworoom" / "policy"), policy, small_card(policy, "imitation"))
    world_model = load_run(home, RUN)
    for task in ("generic", "pusht", "cube"):
        inputs = world_model.card.inputs.model_copy(update={"task": task})
        card = world_model.card.model_copy(update={"inputs": inputs})
        save_run(RunFiles(home.write / task / "lewm"), world_model.model, card)
    encoder = FrozenEncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32)
    predictor = PatchPredictorConfig(depth=1, heads=2, head_dim=8, mlp=32)
    sizes = DinoWMNopropConfig(image_size=16, encoder=encoder, predictor=predictor)
    patches = METHODS["dinowm_noprop"].network(sizes, 10)
    save_run(RunFiles(home.write / "tworoom" / "patches"), patches, small_card(patches, "dinowm_noprop"))
    yield
    for name in ("tworoom/policy", "generic/lewm", "pusht/lewm", "cube/lewm", "tworoom/patches"):
        (home.write / f"{name}.safetensors").unlink()


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing argument 'run'"),
        (["tworoom/lewms"], 1, "there is no run 'tworoom/lewms' under"),
        ([RUN, "--dataset", "tworoom/demos"], 1, "there is no dataset 'tworoom/demos' under"),
        ([RUN, "--output", "."], 1, "it is a folder; name a file"),
        ([RUN, "--output", "page.html", "--serve"], 2, "--output names the file of a page, and --serve writes none"),
        ([RUN, "--port", "8000"], 2, "--port says where a page is served; add --serve"),
        ([RUN, "--serve", "--port", "65536"], 2, "should be less than or equal to 65535"),
        (["pusht/lewm", "--serve"], 1, "pusht/lewm was trained on tworoom/demo, and there is no dataset"),
        (["pusht/lewm", "--serve"], 1, "; name another one with --dataset"),
        (["generic/lewm", "--serve"], 1, "so there is no world for it to act in"),
        (
            ["tworoom/policy"],
            1,
            "tworoom/policy is a policy (imitation): it acts and imagines nothing, so there are no plans to watch; "
            "see what it does in videos: lewm eval tworoom/policy --video videos",
        ),
        (
            ["generic/lewm"],
            1,
            "generic/lewm was trained on a recording without a simulator (generic), so there is no world for it "
            "to act in",
        ),
        (["cube/lewm"], 1, "acts with 2 action dimensions, and the simulator of cube takes 5"),
        (
            ["pusht/lewm"],
            1,
            "the simulator of pusht runs in Python and not in a page, so there is no file of it; serve the page: "
            "lewm demo pusht/lewm --serve",
        ),
        (
            ["tworoom/patches"],
            1,
            "tworoom/patches (dinowm_noprop) plans by more than one latent vector per frame, and a page by exactly "
            "that; look at its plans instead: lewm eval tworoom/patches --record 4 && lewm view tworoom/patches",
        ),
    ],
)
def test_what_cannot_plan_in_a_page_is_refused(home: Home, arguments: list[str], code: int, said: str):
    before = sorted(home.write.rglob("*"))
    assert said in demo(home, *arguments).sentence(code)
    assert sorted(home.write.rglob("*")) == before


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_package_is_said_with_what_to_type(home: Home, monkeypatch: pytest.MonkeyPatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    assert demo(home, RUN).sentence().endswith('pip install "lewm-cli[onnx]"')


def test_missing_runtime_is_said_with_what_to_type(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(live_page, "RUNTIME", tmp_path)
    assert "in the folder of its repository type: scripts/runtime" in demo(home, RUN).sentence()


def test_recording_of_another_task_is_refused(home: Home, tmp_path: Path):
    recording = write_recording(tmp_path / "pushes.h5", dims=2, size=16, task="pusht")
    said = demo(home, RUN, "--dataset", recording).sentence()
    assert "is a recording of pusht, and tworoom/lewm was trained on tworoom" in said


def test_page_that_cannot_be_written_leaves_the_old_one(home: Home, exported: None, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("old")

    def write() -> None:
        assert demo(home, RUN, "--output", page).code == 0

    assert killed_at_byte(1_000_000, write) == -signal.SIGXFSZ
    assert page.read_text() == "old"
