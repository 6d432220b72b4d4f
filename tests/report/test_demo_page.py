"""The page in which a run plans: what it shows, and what pointer and keys do, on every screen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lewm_cli.config import ModelConfig
from lewm_cli.demo import LiveModel
from lewm_cli.heads import LatentPlane
from lewm_cli.methods import JEPA
from lewm_cli.report.demo.live_page import RUNTIME, RUNTIME_FILES, render_demo
from lewm_cli.store import Home, RunFiles, load_run, save_run
from lewm_cli.store.onnx_export import export_parts
from lewm_cli.tasks import TWOROOM
from overlaps import covered

pytest_plugins = ("headless",)

pytestmark = [
    pytest.mark.slow,  # exports networks
    pytest.mark.skipif(
        not all((RUNTIME / name).exists() for name in RUNTIME_FILES),
        reason="ONNX Runtime Web is not in report/demo/runtime, where building lewm-cli puts it",
    ),
]

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def html(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig, scramble: Callable, small_card: Callable
) -> str:
    """The page of a small run that was never trained."""
    model = scramble(JEPA(small_config.model_copy(update={"image_size": 32}), block_dim=10)).eval()
    folder = tmp_path_factory.mktemp("home")
    save_run(RunFiles(folder / "tworoom/lewm"), model, small_card(model))
    run = load_run(Home(folder, (folder,)), "tworoom/lewm")
    latents = run.embed(np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), np.uint8)).numpy()
    parts, _ = export_parts(run)
    return render_demo(LiveModel.of(run, TWOROOM, LatentPlane.spanned_by(latents), served=False), parts)


@pytest.fixture
def opened(open_page: OpenPage, html: str) -> OpenPage:
    """Opens the page, and waits until the model has loaded; agent and goal are in the left room then."""

    def open_ready(**options: Any) -> Any:
        page = open_page(html, **options)
        page.evaluate("demo.ready")
        page.evaluate("demo.setAgent([40, 60]), demo.setGoal([40, 180])")
        return page

    return open_ready


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a place of the frame is."""
    page.locator(".scene").scroll_into_view_if_needed()
    box = page.locator(".scene").bounding_box()
    return box["x"] + x / 224 * box["width"], box["y"] + y / 224 * box["height"]


def asked(page: Any) -> None:
    """From now on `asked` holds what the planner is asked, and `together` how many plans were made at a time."""
    page.evaluate(
        """() => {
            const plan = demo.model.plan.bind(demo.model);
            let running = 0;
            Object.assign(window, { asked: [], together: 0 });
            demo.model.plan = async (request) => {
                asked.push(request);
                together = Math.max(together, ++running);
                return plan(request).finally(() => running--);
            };
        }"""
    )


def place(page: Any, of: str) -> list[int]:
    """Where the agent (`now`) or the goal (`goal`) is."""
    return page.evaluate(f"demo.world.{of}.position.map(Math.round)")


def told(page: Any, what: str) -> str:
    """A number that the page tells, once it has drawn."""
    page.evaluate("new Promise(requestAnimationFrame)")
    return page.locator(f".told-{what}").inner_text()


def test_a_click_sets_the_goal_play_goes_there_and_a_second_click_goes_on(opened: OpenPage):
    page = opened()
    assert page.locator(".verdict").inner_text() == "Press Play"
    page.mouse.click(*at(page, 60, 100))
    assert place(page, "goal") == [60, 100]
    page.get_by_label("hand-written kinematics").check()  # which needs no training
    assert "know no walls" in page.locator(".difference").inner_text()
    asked(page)
    page.get_by_label("speed").select_option("full")
    page.get_by_role("button", name="Play").click()
    page.get_by_text("Goal reached after").wait_for()
    assert page.evaluate("asked[0].kinematics") == {"speed": 5, "low": 21, "high": 203} | {
        "position": [40, 60],
        "goal": page.evaluate("demo.world.goal.position"),
    }
    assert int(told(page, "steps")) >= 6
    assert told(page, "plans") == str(page.evaluate("asked.length"))
    assert float(told(page, "rate")) > 0
    assert told(page, "device") == "1 thread"
    page.mouse.click(*at(page, 80, 180))  # it sets off at once
    page.wait_for_function("demo.trip.steps >= 15 && demo.world.now.reached")
    page.get_by_text("Goal reached after").wait_for()
    assert page.get_by_role("button", name="Play").is_visible()
    page.get_by_role("button", name="One plan").click()  # from a new start
    page.get_by_text("Paused after 5 steps").wait_for()
    assert page.evaluate("together") == 1


def test_changes_in_the_middle_of_a_run_take_effect_with_the_next_plan(opened: OpenPage):
    page = opened()
    asked(page)
    page.get_by_label("speed").select_option("slow")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("demo.phase === 'imagine' && demo.iteration === 1")
    assert "imagines 100 action sequences, keeps the best 10" in page.locator(".sentence").inner_text()
    page.evaluate("demo.trip.plans = 40, demo.rearrange()")
    assert "not got there yet. Another start or" in page.locator(".sentence").inner_text()
    page.mouse.click(*at(page, 190, 180))
    assert "imagines 100" in page.locator(".sentence").inner_text()  # it counts anew
    page.wait_for_function("asked.length === 2 && demo.phase === 'imagine' && demo.iteration === 1")
    assert (place(page, "goal"), place(page, "now")) == ([190, 180], [40, 60])  # the old plan moved nothing
    for name, value in {"candidates": "40", "iterations": "2", "horizon": "3"}.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_label("solver").select_option("cem")
    page.get_by_label("speed").select_option("full")
    page.wait_for_function("asked.at(-1).settings.solver === 'cem' && demo.trip.plans > 1")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused after").wait_for()
    settings = {"solver": "cem", "candidates": 40, "elites": 4, "iterations": 2, "horizon": 3, "receding": 1}
    settings |= {"std": 1, "result": "mean", "color": None, "kept": None, "warm_start": True}
    assert page.evaluate("asked.at(-1).settings") == settings
    assert page.evaluate("[asked[0].settings.candidates, asked[0].warm, together]") == [100, None, 1]
    assert page.evaluate("asked[0].goal") != page.evaluate("asked.at(-1).goal")
    page.get_by_role("button", name="Reset to defaults").click()
    page.evaluate("demo.stepOnce()")
    assert page.evaluate("JSON.stringify(asked.at(-1).settings) === JSON.stringify(asked[0].settings)")
    assert page.evaluate("asked.at(-1).settings.solver") == "icem"


def test_what_is_asked_for_between_plans_is_not_lost(opened: OpenPage):
    page = opened()
    asked(page)
    page.get_by_label("speed").select_option("full")
    page.get_by_label("hand-written kinematics").check()
    page.evaluate(
        """() => {
            const encode = demo.model.encode.bind(demo.model);
            window.close = () => (window.gate = new Promise((open) => (window.open = open)));
            demo.model.encode = (seen) => Promise.resolve(window.gate).then(() => encode(seen));
            close();
            demo.setGoal([40, 90]);
            demo.play();
        }"""
    )
    page.get_by_role("button", name="Pause").click()  # while it looks
    page.evaluate("open(), demo.running")
    assert page.evaluate("[asked.length, demo.trip.steps]") == [0, 0]
    page.evaluate(
        """() => {
            const act = demo.world.act.bind(demo.world);
            demo.world.act = (actions) => act(actions).finally(() => demo.world.now.reached && close());
            demo.play();
        }"""
    )
    page.wait_for_function("demo.world.now.reached")
    page.evaluate("demo.setGoal([40, 180]), open()")  # while it looks for the last time
    page.wait_for_function("demo.world.now.reached && demo.world.now.position[1] > 150")
    page.evaluate("open(), demo.running")
    assert page.locator(".verdict").inner_text().startswith("Goal reached after")


def test_a_key_that_is_held_counts_once_and_a_new_start_waits_for_play(opened: OpenPage):
    page = opened()
    page.evaluate(
        """() => {
            window.begun = 0;
            const begin = demo.world.begin.bind(demo.world);
            demo.world.begin = (seed) => (begun++, begin(seed));
            demo.arrived = true;
        }"""
    )
    for _ in range(3):
        page.keyboard.down("n")
    page.keyboard.up("n")
    page.get_by_text("A new start and a new goal").wait_for()
    assert page.evaluate("begun") == 1
    page.mouse.click(*at(page, 60, 100))
    assert page.evaluate("[demo.playing, demo.running ?? null]") == [False, None]


def test_a_run_that_gets_nowhere_pauses_and_says_so(opened: OpenPage):
    page = opened()
    page.get_by_label("speed").select_option("full")
    page.evaluate("() => { demo.setGoal([200, 200]); demo.trip.plans = 24; demo.play(); demo.enough = 26; }")
    page.get_by_text("Paused after").wait_for()
    assert page.evaluate("demo.trip.plans") == 26
    assert "not got there yet" in page.locator(".sentence").inner_text()
    page.evaluate("demo.times = [0], demo.redraw()")
    assert (told(page, "time"), told(page, "rate")) == ("0 ms", "\u2013")


def test_a_worker_that_fails_stops_the_run_and_its_late_answers_are_ignored(opened: OpenPage):
    page = opened()
    page.evaluate("demo.play(), demo.look().then(() => demo.model.worker.onerror(new Event('error')))")
    page.get_by_text("It stopped").wait_for()
    assert page.evaluate("demo.model.encode(demo.world.now.seen).then((latent) => latent.length)") > 0


def test_the_agent_is_dragged_and_walls_are_drawn_and_cleared(opened: OpenPage):
    page = opened()
    page.mouse.move(*at(page, 42, 62))
    page.mouse.down()
    page.mouse.move(*at(page, 80, 90), steps=4)
    page.mouse.up()
    assert (place(page, "now"), place(page, "goal")) == ([80, 90], [40, 180])
    page.get_by_label("walls").check()
    page.mouse.move(*at(page, 20, 130))
    page.mouse.down()
    page.mouse.move(*at(page, 100, 130), steps=8)
    page.mouse.up()
    assert page.evaluate("demo.world.walls.length") >= 4
    assert place(page, "goal") == [40, 180]
    seen = "[...demo.world.now.seen].reduce((sum, one) => sum + one)"
    walled = page.evaluate(seen)
    page.get_by_role("button", name="Clear walls").click()
    assert page.evaluate("demo.world.walls.length") == 0
    assert page.evaluate(seen) > walled  # walls are black


def test_everything_is_done_by_keys_alone(opened: OpenPage):
    page = opened(reduced_motion="reduce")
    while page.evaluate("!document.activeElement.matches('.scene')"):
        page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert (place(page, "goal"), place(page, "now")) == ([44, 176], [44, 64])
    for key in ("w", *("ArrowLeft",) * 3, "Enter", *("ArrowDown",) * 5, "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("demo.world.walls") == [[[100, 112], [100, 132]]]
    for key in ("c", "w"):
        page.keyboard.press(key)
    assert page.evaluate("demo.world.walls.length") == 0
    page.evaluate(
        """() => {
            window.drawn = new Set();
            const draw = demo.draw;
            demo.draw = function () {
                if (this.plan) drawn.add(this.iteration);
                draw.call(this);
            };
        }"""
    )
    page.keyboard.press("s")
    page.get_by_text("Paused after 5 steps").wait_for()
    assert page.evaluate("[...drawn]") == [5]  # less motion: only what the plan came to
    assert page.evaluate("document.getAnimations().length") == 0
    page.keyboard.press("Space")
    page.wait_for_function("demo.trip.plans >= 2")
    page.keyboard.press("Space")
    page.get_by_text("Paused after").wait_for()
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.get_by_text("A new start and a new goal").wait_for()
    for control in page.locator(".viewer :is(button, select, input)").all():
        assert control.evaluate("one => one.ariaLabel || one.textContent.trim() || one.labels[0].textContent.trim()")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_overlaps_at_any_width(opened: OpenPage, theme: str):
    page = opened(color_scheme=theme, reduced_motion="reduce")
    page.evaluate("demo.drawWall([20, 130], [90, 130])")
    page.evaluate("demo.stepOnce()")
    for width in (320, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert covered(page) == [], width


def test_the_frame_stays_where_it_is_whatever_the_page_says(opened: OpenPage):
    page = opened()
    for name in ("candidates", "iterations"):
        page.locator(f"[name={name}]").fill(page.locator(f"[name={name}]").get_attribute("max"))
    for width, height in ((320, 900), (414, 900), (768, 900), (1024, 600), (1280, 720), (1920, 900)):
        page.set_viewport_size({"width": width, "height": height})
        places = page.evaluate(
            """() => {
                const place = () => document.querySelector(".scene").getBoundingClientRect().top;
                demo.tell("Paused", "", "Short.");
                const idle = place();
                demo.tell("On the way to the goal", "running", demo.sentence());
                demo.enter("imagine");
                return [idle, place(), demo.enter(null)];
            }"""
        )
        assert places[0] == places[1], (width, height)


def test_what_cannot_be_done_is_said_or_not_offered(open_page: OpenPage, html: str):
    page = open_page(html.replace("<main", "<script>delete globalThis.WebAssembly</script><main", 1))
    page.evaluate("demo.ready")
    assert "lacks WebAssembly" in page.get_by_role("alert").inner_text()
    assert not page.locator(":is(button, input, select):visible").count()
    page = open_page(html, java_script_enabled=False)
    assert "needs JavaScript" in page.locator("noscript p").inner_text()
    world = """class ServedWorld extends TwoRoom {
        editable = false; kinematics = null;
        follow() { return null; }
        plan(request) { window.there = request; return demo.model.plan(request); }
    }
    window.demo"""
    page = open_page(
        html.replace("new TwoRoom(given)", "new ServedWorld(given)").replace("\nwindow.demo", "\n" + world)
    )
    page.evaluate("demo.ready")
    for name in ("goal and agent", "hand-written kinematics", "color-blind-safe colors"):
        assert not page.get_by_label(name).is_visible()
    page.get_by_role("button", name="Another pair").click()
    page.mouse.click(*at(page, 60, 100))
    assert place(page, "goal") != [60, 100]
    assert not page.get_by_text("candidates from cheap").is_visible()
    page.get_by_label("Python").check()
    page.evaluate("demo.stepOnce()")
    assert told(page, "device") == "Python"
    assert page.evaluate("there.settings.candidates") == 100
