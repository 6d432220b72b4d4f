"""The model of a page, in a browser: it encodes, imagines and plans as Python does with the same random numbers."""

import contextlib
import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lewm_cli.config import ModelConfig, PlannerConfig
from lewm_cli.control import Planner
from lewm_cli.demo.server import DemoServer
from lewm_cli.diagnose.plan_recorder import KeptIteration
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.plan import Plan, WarmStart, find_solver
from lewm_cli.report.demo.live_page import FOLDER, RUNTIME, RUNTIME_FILES, gpu_files, pack
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from lewm_cli.store.onnx_export import export_parts

pytest_plugins = ("headless",)

pytestmark = [
    pytest.mark.slow,  # exports networks
    pytest.mark.skipif(
        not all((RUNTIME / name).exists() for name in RUNTIME_FILES),
        reason="ONNX Runtime Web is not in report/demo/runtime, where building lewm-cli puts it",
    ),
]

SIZE = 32

SHOWN = 24
"""Candidates of an iteration that the page gets: where there are no more, it gets all."""

READY = "globalThis.model = await Model.load(given, packed);"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig, scramble: Callable, small_card: Callable
) -> Run:
    """A small run that was never trained, whose latents and costs move with what it is given."""
    predictor = small_config.predictor.model_copy(update={"depth": 1})  # a CPU that plays a GPU is slow
    sizes = small_config.model_copy(update={"image_size": SIZE, "predictor": predictor})
    model = scramble(JEPA(sizes, block_dim=10)).eval()
    card: RunCard = small_card(model)
    folder = tmp_path_factory.mktemp("home")
    save_run(RunFiles(folder / "tworoom/lewm"), model, card)
    return load_run(Home(folder, (folder,)), "tworoom/lewm")


@pytest.fixture(scope="module")
def packed(run: Run) -> dict[str, str]:
    """What the page unpacks."""
    parts, _ = export_parts(run)
    runtime, library = (RUNTIME / name for name in RUNTIME_FILES)
    files = {"runtime": runtime, "library": library, "worker": FOLDER / "worker.js"}
    return {
        name: pack(content) for name, content in (vars(parts) | {k: p.read_bytes() for k, p in files.items()}).items()
    }


def page_of(run: Run, packed: dict[str, str], *, gpu: bool = False) -> str:
    """A page that holds a model and shows nothing."""
    inputs, model = run.card.inputs, run.card.model
    given = {"run": run.name, "image_size": model.image_size, "latent": model.latent, "history": model.history}
    given |= {"frameskip": inputs.frameskip, "actions": inputs.actions.model_dump(mode="json"), "gpu": gpu}
    elements = "".join(
        f'<script type="text/plain" class="packed" data-name="{name}">{text}</script>' for name, text in packed.items()
    )
    script = (FOLDER / "model.js").read_text(encoding="utf-8")
    return f"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">{elements}
<script type="module">{script}
const elements = document.querySelectorAll(".packed");
const packed = Object.fromEntries(Array.from(elements, (one) => [one.dataset.name, one.textContent]));
Object.assign(globalThis, {{ Model, packed, given: {json.dumps(given)} }});
</script>"""


@dataclass
class Live:
    """A page whose model has loaded."""

    page: Any

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Latents (N, D) of frames."""
        script = "async (frames) => Array.from(await model.encode(Uint8Array.from(frames)))"
        return np.array(self.page.evaluate(script, frames.ravel().tolist())).reshape(len(frames), -1)

    def plan(self, latent: torch.Tensor, goal: torch.Tensor, config: PlannerConfig, **request: Any) -> dict[str, Any]:
        """What was found, arrays as lists; `warm=True` begins at the plan before."""
        script = """async (request) => {
            for (const name of ["latent", "goal", "draws"]) request[name] &&= Float32Array.from(request[name]);
            request.warm &&= globalThis.found;
            globalThis.found = await model.plan(request);
            const flat = (name, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
            return JSON.parse(JSON.stringify(globalThis.found, flat));
        }"""
        asked = {"latent": latent.tolist(), "goal": goal.tolist(), "settings": config.model_dump(mode="json")}
        asked |= {"seed": 0, "warm": None, "kinematics": None, "draws": None} | request
        return self.page.evaluate(script, asked)


@pytest.fixture
def live(open_page: Open, run: Run, packed: dict[str, str]) -> Live:
    """The page, from a file, without a network."""
    page = open_page(page_of(run, packed))
    page.evaluate(f"async () => {{ {READY} }}")
    return Live(page)


def latents(run: Run, count: int = 2) -> torch.Tensor:
    """Of frames of noise."""
    return run.embed(noise_frames(count))


def noise_frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def settings(solver: str, **changes: Any) -> PlannerConfig:
    few = {"candidates": SHOWN, "elites": 6, "iterations": 4, "receding": 2, "warm_start": True}
    return PlannerConfig(solver=solver, **few | changes)


class Reference:
    """Python's planner, plan after plan, with the random numbers that it draws."""

    def __init__(self, run: Run, config: PlannerConfig, start: torch.Tensor, goal: torch.Tensor) -> None:
        self.planner = Planner(run, config, solver=find_solver(config, record=True))
        self.cost = self.planner.latent_cost(start[None], goal[None])
        self.generator, self.twin = (torch.Generator().manual_seed(3) for _ in range(2))
        self.warm: WarmStart | None = None
        inputs = run.card.inputs
        steps = config.horizon * inputs.frameskip
        white = config.candidates, config.horizon, inputs.block_dim
        colored = config.candidates, inputs.actions.dim, 2, steps // 2 + 1
        self.shape = white if config.solver == "cem" else colored

    def plan(self) -> tuple[Plan, list[float]]:
        """The next plan, and what was drawn for it."""
        config = self.planner.config
        drawn = [torch.randn(self.shape, generator=self.twin) for _ in range(config.iterations)]
        plan = self.planner.solver.solve(self.planner.problem(self.cost, [self.generator], [self.warm]))
        self.warm = plan.warm_start(0, config.receding)
        return plan, torch.cat([one.flatten() for one in drawn]).tolist()


def assert_equal(found: dict[str, Any], plan: Plan, reference: Reference, run: Run) -> None:
    """The page's plan is Python's: its actions, what is imagined of it, and every iteration."""
    inputs = run.card.inputs
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(found["blocks"], plan.actions.flatten())
    close(np.reshape(found["actions"], (-1, 2)), inputs.actions_of(plan.actions[0].numpy()))
    close(found["imagined"], reference.cost.imagined(plan.actions).flatten())
    close(found["cost"], plan.cost[0])
    assert len(found["iterations"]) == len(plan.history)
    for number, (one, iteration) in enumerate(zip(found["iterations"], plan.history, strict=True), 1):
        kept = KeptIteration.of(iteration, number)
        candidates = one["candidates"]
        assert one["number"] == number
        assert [candidate["elite"] for candidate in candidates] == [k < kept.elites for k in range(len(kept.costs))]
        close(one["lowest"], iteration.cost.min())
        close(one["mean"], iteration.cost.mean())
        close([candidate["cost"] for candidate in candidates], kept.costs)
        for candidate, blocks in zip(candidates, kept.blocks, strict=True):  # the same ones, in the same order
            close(np.reshape(candidate["actions"], (-1, 2)), inputs.actions_of(blocks.numpy()))


@pytest.mark.parametrize("changes", [{"result": "mean"}, {"result": "best"}, {"warm_start": False}], ids=str)
@pytest.mark.parametrize("solver", ["cem", "icem"])
def test_plans_are_those_of_python(live: Live, run: Run, solver: str, changes: dict[str, Any]):
    config = settings(solver, **changes)
    start, goal = latents(run)
    reference = Reference(run, config, start, goal)
    costs = []
    for number in range(3):
        if not config.warm_start:
            reference.warm = None
        plan, draws = reference.plan()
        found = live.plan(start, goal, config, draws=draws, warm=number > 0)
        assert_equal(found, plan, reference, run)
        costs += [one["lowest"] for one in found["iterations"]]
    assert np.std(costs) > 1e-3 * np.mean(costs)


def test_what_the_page_shows_of_many_candidates_is_what_the_viewer_shows(live: Live, run: Run):
    config = settings("icem", candidates=100, elites=10, horizon=3, color=0.5, kept=0.35)
    start, goal = latents(run)
    reference = Reference(run, config, start, goal)
    plan, draws = reference.plan()
    found = live.plan(start, goal, config, draws=draws)
    assert_equal(found, plan, reference, run)
    assert {len(one["candidates"]) for one in found["iterations"]} == {SHOWN}


def test_frames_are_encoded_as_python_does(live: Live, run: Run):
    expected = run.embed(noise_frames(3)).numpy()
    assert expected.std() > 1e-2
    np.testing.assert_allclose(live.encode(noise_frames(3)), expected, rtol=0, atol=1e-4)


def test_kinematic_candidates_cost_what_the_rules_say(live: Live, run: Run):
    position, goal = np.array([190.0, 40.0]), np.array([60.0, 200.0])
    speed, low, high = 5.0, 21.0, 203.0
    rules = {"speed": speed, "low": low, "high": high, "position": position.tolist(), "goal": goal.tolist()}
    start, end = latents(run)
    config = settings("cem", std=6.0)
    found = live.plan(start, end, config, kinematics=rules)
    clamped = 0
    for candidate in (one for iteration in found["iterations"] for one in iteration["candidates"]):
        place = position
        for action in np.reshape(candidate["actions"], (-1, 2)):
            wanted = place + action.clip(-1, 1) * speed
            place = wanted.clip(low, high)
            clamped += int((place != wanted).any())
        np.testing.assert_allclose(candidate["cost"], np.square(place - goal).sum(), rtol=1e-4)
    assert clamped > 0
    costs = [one["mean"] for one in found["iterations"]]
    assert costs == sorted(costs, reverse=True)
    # The model imagines this plan, too.
    cost = Planner(run, config).latent_cost(start[None], end[None])
    imagined = cost.imagined(torch.tensor(found["blocks"]).reshape(1, 5, 10))
    np.testing.assert_allclose(found["imagined"], imagined.flatten(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", ["cem", "icem"])
def test_a_seed_draws_standard_normal_numbers_and_always_the_same(live: Live, run: Run, solver: str):
    start, goal = latents(run)
    config = settings(solver, candidates=400, iterations=1)
    found = [live.plan(start, goal, config, seed=seed)["iterations"] for seed in (5, 5, 6)]
    assert found[0] == found[1]
    assert found[0] != found[2]
    drawn = np.array([candidate["actions"] for iteration in found[::2] for candidate in iteration[0]["candidates"]])
    scores = run.card.inputs.actions.normalize(drawn.reshape(-1, 2))
    assert abs(scores.mean()) < 0.15
    assert abs(scores.std() - 1) < 0.1
    steps = scores.reshape(2 * SHOWN, -1, 2)
    after_another = float(np.mean(steps[:, 1:] * steps[:, :-1]))
    assert abs(after_another) < 0.1 if solver == "cem" else after_another > 0.3


def test_plans_that_are_asked_for_together_come_in_order(live: Live, run: Run):
    script = """async ([latent, goal, settings]) => {
        const order = [];
        const request = { latent: Float32Array.from(latent), goal: Float32Array.from(goal), seed: 0, warm: null };
        await Promise.all([9, 1, 4].map(async (iterations) => {
            const found = await model.plan({ ...request, settings: { ...settings, iterations } });
            order.push(found.iterations.length);
        }));
        return order;
    }"""
    start, goal = latents(run)
    asked = [start.tolist(), goal.tolist(), settings("cem").model_dump(mode="json")]
    assert live.page.evaluate(script, asked) == [9, 1, 4]


def test_costs_that_are_no_numbers_count_as_the_highest(live: Live, run: Run):
    start, goal = latents(run)
    config = settings("cem", iterations=1)
    rules = {"speed": 5.0, "low": 21.0, "high": 203.0, "position": [190.0, 40.0], "goal": [60.0, 200.0]}
    draws = np.random.default_rng(0).normal(size=(SHOWN, 50))
    draws[3, 7] = np.nan
    found = live.plan(start, goal, config, draws=draws.ravel().tolist(), kinematics=rules)
    costs = [candidate["cost"] for candidate in found["iterations"][0]["candidates"]]
    assert np.isfinite(costs).all()
    assert costs[-3] < costs[-2] == costs[-1]
    assert np.isfinite(found["blocks"]).all()


def test_a_model_that_imagines_no_numbers_says_so_and_goes_on(live: Live, run: Run):
    start, goal = latents(run)
    script = """async ([latent, settings]) => {
        const request = { settings, seed: 0, latent: Float32Array.from(latent), goal: new Float32Array(8).fill(NaN) };
        return await model.plan(request).catch((error) => error.message);
    }"""
    said = live.page.evaluate(script, [start.tolist(), settings("cem").model_dump(mode="json")])
    assert said.startswith("No candidate costs a finite number")
    assert len(live.plan(start, goal, settings("cem"))["iterations"]) == 4


# What a browser may lack


@pytest.mark.parametrize("name", ["WebAssembly", "DecompressionStream", "Worker"])
def test_a_browser_that_lacks_something_gets_a_sentence(open_page: Open, run: Run, name: str):
    page = open_page(page_of(run, {}))
    page.evaluate(f"delete globalThis.{name}")
    said = page.evaluate("Model.load(given, packed).catch((error) => error.message)")
    assert said == (
        f"This browser lacks {name}, which the model needs: open this page in a current Chromium, Firefox or Safari."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("worker", pack(b"import {")),
        ("runtime", pack(b"export {")),
        ("library", "nothing"),
        ("predictor", pack(b"nothing")),
    ],
    ids=["worker", "runtime", "library", "network"],
)
def test_what_does_not_run_gets_a_sentence(open_page: Open, run: Run, packed: dict[str, str], name: str, content: str):
    page = open_page(page_of(run, packed | {name: content}))
    said = page.evaluate("Model.load(given, packed).catch((error) => error.message)")
    assert said.startswith("The model did not start (")
    assert said.endswith(
        "): make the page anew with lewm demo tworoom/lewm, or open this page in a current Chromium, Firefox or Safari."
    )


# Threads


class Isolating(http.server.SimpleHTTPRequestHandler):
    """Serves files with the headers that allow threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *message: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Address of a server of the temporary folder."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Isolating, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_served_page_plans_the_same_with_threads(
    browser: Any, served: str, tmp_path: Path, run: Run, packed: dict[str, str]
):
    (tmp_path / "page.html").write_text(page_of(run, packed), encoding="utf-8")
    with browser.new_context() as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{served}/page.html")
        page.evaluate('Object.defineProperty(navigator, "hardwareConcurrency", { value: 5 })')
        assert page.evaluate(f"async () => {{ {READY} return model.threads; }}") == 3
        start, goal = latents(run)
        reference = Reference(run, settings("cem"), start, goal)
        plan, draws = reference.plan()
        assert_equal(Live(page).plan(start, goal, settings("cem"), draws=draws), plan, reference, run)
        assert said == []


def test_a_page_from_a_file_has_one_thread(live: Live):
    assert live.page.evaluate("model.threads") == 1


# WebGPU


@pytest.fixture(scope="module")
def gpu_browser(launch: Open) -> Iterator[Any]:
    """A browser in which a CPU plays the GPU."""
    running = launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    yield running
    running.close()


@contextlib.contextmanager
def as_served(browser: Any, html: str) -> Iterator[tuple[Any, list[str]]]:
    """A page as the command serves it, and paths that it asked for; it may say nothing."""
    said: list[str] = []
    asked: list[str] = []
    with DemoServer(html, None, files=gpu_files()) as server, browser.new_context() as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.removeprefix(server.url[:-1])))
        page.goto(server.url)
        yield page, asked
    assert said == []


WEBGPU = ["/webgpu.mjs", "/webgpu.wasm"]


@pytest.mark.skipif(not gpu_files(), reason="ONNX Runtime Web with WebGPU is not there; get it with: scripts/runtime")
def test_a_gpu_plans_as_python_does(gpu_browser: Any, run: Run, packed: dict[str, str]):
    with as_served(gpu_browser, page_of(run, packed, gpu=True)) as (page, asked):
        if not page.evaluate("navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("this browser has no WebGPU by software")
        page.evaluate("async () => { globalThis.model = await Model.load(given, packed, { gpu: 'any' }); }")
        assert page.evaluate("async () => { await model.chosen; return model.device; }") == "GPU"
        assert [path for path in asked if path in WEBGPU] == WEBGPU
        page.evaluate("model.worker.terminate()")  # so that nothing but the GPU can answer
        start, goal = latents(run)
        np.testing.assert_allclose(Live(page).encode(noise_frames(2)), np.stack([start, goal]), rtol=0, atol=1e-4)
        reference = Reference(run, settings("cem"), start, goal)
        plan, draws = reference.plan()
        assert_equal(Live(page).plan(start, goal, settings("cem"), draws=draws), plan, reference, run)
        assert page.evaluate("model.device") == "GPU"


SLOW_THREADS = """() => {
    const ask = Model.prototype.ask;
    Model.prototype.ask = function (kind, request) {
        return kind === "probe" ? { last: Float32Array.of(0), milliseconds: 1e9 } : ask.call(this, kind, request);
    };
}"""


@pytest.mark.parametrize("name", ["browser", "gpu_browser"])
def test_where_there_is_no_gpu_none_is_asked_for(
    name: str, request: pytest.FixtureRequest, run: Run, packed: dict[str, str]
):
    with as_served(request.getfixturevalue(name), page_of(run, packed, gpu=True)) as (page, asked):
        page.evaluate(SLOW_THREADS)
        device = page.evaluate(f"async () => {{ {READY} await model.chosen; return model.device; }}")
        assert device.split()[1].startswith("thread")
        assert not {*asked} & {*WEBGPU}
        start, goal = latents(run)
        assert len(Live(page).plan(start, goal, settings("cem"))["iterations"]) == 4


@pytest.mark.parametrize(
    ("ours", "its", "off", "device"),
    [
        (100, 10, 1e-5, "GPU"),
        (100, 200, 0, "1 thread"),
        (100, 10, 0.01, "1 thread"),
        (100, 10, float("nan"), "1 thread"),
        (100, None, 0, "1 thread"),
        (10, 1, 0, "1 thread"),
    ],
    ids=["faster", "slower", "something else", "no numbers", "broken", "soon enough"],
)
def test_a_gpu_is_used_if_it_imagines_the_same_faster(
    open_page: Open, run: Run, packed: dict[str, str], ours: float, its: float | None, off: float, device: str
):
    script = """async ([ours, its, off]) => {
        const ask = Model.prototype.ask;
        let other = null;
        Model.prototype.ask = async function (kind, request) {
            if (kind === "has GPU") return Boolean((other = this));
            if (request?.addresses) globalThis.asked = true;
            else if (kind === "probe") {
                const more = this === other ? off : 0;
                const last = Float32Array.from({ length: 8 * 100 }, (_, k) => 5 + Math.sin(k) + more);
                return { last, milliseconds: this === other ? its : ours };
            } else if (this !== other) return ask.call(this, kind, request);
            if (its === null || kind !== "load") throw new Error("the GPU is gone");
        };
        globalThis.model = await Model.load(given, packed);
        const before = model.device;
        await model.chosen;
        return [before, model.device, globalThis.asked ?? false];
    }"""
    page = open_page(page_of(run, packed, gpu=True))
    assert page.evaluate(script, [ours, its, off]) == ["1 thread", device, ours == 100]
    # It fails, and nobody notices.
    start, goal = latents(run)
    reference = Reference(run, settings("cem"), start, goal)
    plan, draws = reference.plan()
    assert_equal(Live(page).plan(start, goal, settings("cem"), draws=draws), plan, reference, run)
    assert page.evaluate("model.device") == "1 thread"
