"""The planning viewer: it shows films step by step, by mouse and by keys, on every screen, and says nothing else."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from lewm_cli.diagnose.film_result import Candidates, FilmedPlan, FilmResult, Places, PlanFilm
from lewm_cli.heads import LatentMap, Points
from lewm_cli.report import Viewed, render_view
from lewm_cli.report.page import render_page
from lewm_cli.report.viewer.viewer import FOLDER
from overlaps import covered
from reports import SIDE, bare_report, full_report

pytest_plugins = ("headless",)

HOSTILE = """a/</script><script>alert("1")</script><!--'&""" + "_very_long" * 20

FILMS: FilmResult = full_report().films

OpenPage = Callable[..., Any]


def one(films: FilmResult = FILMS, name: str = "tworoom/lewm") -> str:
    """The page of one run."""
    return render_view([Viewed(name, films)])


def two(name: str = "tworoom/lewm") -> str:
    """The page of two runs with two maps: the second one needs fewer steps, and plans once, in two iterations."""
    films = with_umap(FILMS)
    fewer = films.model_copy(update={"films": tuple(shorter(film) for film in films.films)})
    return render_view([Viewed(name, films), Viewed("tworoom/delta", fewer)])


def shorter(film: PlanFilm) -> PlanFilm:
    """The same pair, reached after four steps with the first plan."""
    plans = tuple(
        plan.model_copy(update={"iterations": kept(plan), "lowest": (2.0, 1.0), "mean": (3.0, 1.5)})
        for plan in film.plans[:1]
    )
    frames = film.frames.model_copy(update={"count": 5})
    return film.model_copy(update={"plans": plans, "frames": frames, "success": True, "first_hit": 4})


def kept(plan: FilmedPlan) -> tuple[Candidates, ...]:
    """The first and the last iteration of a plan, as if they were all."""
    return tuple(plan.iterations[k].model_copy(update={"iteration": k // 2 + 1}) for k in (0, 2))


def wait_for_drawing(page: Any) -> None:
    """Wait until a page shows what was asked of it: it draws with the next frame of the screen."""
    page.evaluate("new Promise(requestAnimationFrame)")


def shown(page: Any) -> tuple[int, int, int]:
    """Number of the pair, step and number of the iteration that a page shows, read from what it says."""
    wait_for_drawing(page)
    said = page.locator(".step-now").inner_text(), page.locator(".iteration-now").text_content()
    pair = page.locator("[aria-selected=true] .number").text_content()
    return tuple(int(re.search(r"\d+", text)[0]) for text in (pair, *said))


# The file


def test_same_films_give_the_same_bytes_and_everything_is_inside():
    page = one()
    assert page == one()
    assert page != two()
    assert not re.search(r"https?:|@import|url\(", page)
    assert not re.search(r"animation|transition", page)


@pytest.mark.slow
def test_hostile_names_are_text(open_page: OpenPage):
    films = tuple(film.model_copy(update={"groups": (HOSTILE,)}) for film in FILMS.films)
    html = render_view([Viewed(HOSTILE, FILMS.model_copy(update={"films": films})), Viewed(HOSTILE, FILMS)])
    pictures = one(full_report(frames='"></script><script>').films)
    assert pictures.count("<script") == pictures.count("</script>") == 2
    assert html.count("<script") == html.count("</script>") == 2
    assert html.count("<!--") == 0
    page = open_page(html, viewport={"width": 320, "height": 700})
    assert page.locator(".picture h3").first.inner_text() == HOSTILE
    assert page.locator(".list .groups").first.text_content() == HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".filter").select_option(index=3)
    assert page.locator(".list > div:visible").count() == 3


@pytest.mark.slow
def test_without_javascript_it_says_so(open_page: OpenPage):
    page = open_page(one(), java_script_enabled=False)
    assert "needs JavaScript" in page.locator("noscript p").inner_text()
    assert not page.locator(".viewer").is_visible()


# Colors


def contrast(first: str, second: str) -> float:
    """Contrast of two colors as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        levels = np.array(to_rgb(color))
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, bright = sorted((luminance(first), luminance(second)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("frame", [0.0, 0.5, 1.0], ids=["black", "gray", "white"])
def test_whatever_is_drawn_on_a_dimmed_frame_can_be_seen(frame: float):
    """Shapes need a contrast of 3 (WCAG 2, 1.4.11)."""
    script = (FOLDER / "drawing.js").read_text(encoding="utf-8")
    scales = [re.findall(r"#\w{6}", colors) for colors in re.findall(r'^  "[a-z-]+": \[(.*)\],$', script, re.MULTILINE)]
    marks = re.search(r"^const MARKS = .*$", script, re.MULTILINE)[0]
    veil, *drawn = re.findall(r"#\w{6}", marks)
    opacity = float(re.search(r"opacity: ([0-9.]+)", marks)[1])
    background = to_hex(opacity * np.array(to_rgb(veil)) + (1 - opacity) * frame)
    assert len(scales) == 2
    for color in [*drawn, *scales[0], *scales[1]]:
        assert contrast(color, background) >= 3, color
    cheap, *_, dear = scales[1]
    assert contrast(cheap, dear) >= 2  # by lightness alone, for color-blind eyes and in print


# What is shown


@pytest.mark.slow
def test_it_starts_at_the_first_pair_with_plans_at_its_last_iteration_and_does_not_play(open_page: OpenPage):
    reached, missed, unplanned = FILMS.films
    page = open_page(one(FILMS.model_copy(update={"films": (unplanned, missed, reached)})), reduced_motion="reduce")
    assert shown(page) == (7, 0, 30)
    assert page.locator(".verdict").inner_text() == "goal not reached within 50 steps"
    assert page.locator(".details dl").inner_text().split("\n") == [
        *("step", "0 of 50", "plan", "1 of 2", "iteration", "30 of 30", "time of the plan", "420 ms")
    ]
    assert page.get_by_role("button", name="Play").is_visible()
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.slow
def test_keys(open_page: OpenPage):
    page = open_page(one())
    ways = [
        ("ArrowRight", (3, 1, 30)),
        ("ArrowDown", (3, 1, 3)),
        ("ArrowRight", (3, 2, 3)),  # the plan is the same, and so is its iteration
        ("ArrowUp", (3, 2, 30)),
        ("ArrowUp", (3, 2, 30)),
        ("ArrowLeft", (3, 1, 30)),
        ("End", (3, 20, 30)),
        ("ArrowRight", (3, 20, 30)),
        ("Home", (3, 0, 30)),
        ("ArrowLeft", (3, 0, 30)),
        ("]", (7, 0, 30)),
        ("PageUp", (3, 0, 30)),
        ("[", (3, 0, 30)),
    ]
    for key, expected in ways:
        page.keyboard.press(key)
        assert shown(page) == expected, key
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert shown(page) == (3, 0, 30)
    page.locator("[aria-selected=true]").focus()
    page.keyboard.press("ArrowDown")  # in the list it chooses
    assert shown(page) == (7, 0, 30)
    assert page.evaluate("document.activeElement.innerText").startswith("pair 7")


@pytest.mark.slow
def test_playing_runs_through_the_iterations_of_a_plan_before_the_episode_goes_on(open_page: OpenPage):
    page = open_page(one())
    page.get_by_label("speed").select_option("4")
    page.evaluate(
        """() => {
            const viewer = document.querySelector(".viewer").viewer;
            const goTo = viewer.goTo.bind(viewer);
            window.way = [];
            window.named = new Set();
            viewer.goTo = (...at) => {
                goTo(...at);
                way.push([viewer.step, viewer.iteration]);
                named.add(viewer.controls.play.textContent);
            };
        }"""
    )
    planned = [[0, 0], [0, 1], [0, 2], *([k, 2] for k in range(1, 10)), [10, 0], [10, 1], [10, 2]]
    through = [*planned, *([k, 2] for k in range(11, 21))]
    page.keyboard.press("Space")
    page.wait_for_function(f"way.length >= {len(through)}")
    page.get_by_role("button", name="Play").wait_for()  # it ends by itself
    assert page.evaluate("way") == through
    assert page.evaluate("[...named]") == ["Play", "Pause"]
    page.get_by_label("play iterations").uncheck()
    page.evaluate("way.length = 0")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("way.length > 12")
    page.keyboard.press("ArrowLeft")  # whoever steps has stopped it
    page.get_by_role("button", name="Play").wait_for()
    assert page.evaluate("way").count([10, 0]) == 0
    assert page.evaluate("way")[:3] == [[0, 2], [1, 2], [2, 2]]


@pytest.mark.slow
def test_bars_and_the_list_choose_what_is_shown(open_page: OpenPage):
    page = open_page(one())
    page.get_by_label("environment step").fill("12")
    assert shown(page) == (3, 12, 30)
    assert page.locator(".told-plan").inner_text() == "2 of 2"
    page.get_by_label("iteration of the plan").fill("1")
    assert shown(page) == (3, 12, 3)
    assert page.locator(".told-iteration").inner_text() == "3 of 30"
    assert page.locator(".marks i").count() == 2
    assert [one.inner_text() for one in page.get_by_role("option", name="pair").all()] == [
        "pair 3\nreached after 20 steps\nother room",
        "pair 7\nnot reached\nat least 32 px apart, other room",
        "pair 9\nreached after 4 steps",
    ]
    page.get_by_label("show").select_option("not reached")
    assert page.get_by_role("option", name="pair").count() == 1
    assert shown(page) == (7, 0, 30)
    page.keyboard.press("]")
    page.get_by_label("show").select_option("reached")
    page.get_by_role("option", name="pair 9").click()
    assert page.locator(".verdict").inner_text() == "goal reached after 4 steps"
    for part in (".iterating", ".costs", ".scale", ".told-time", ".note"):
        assert not page.locator(part).is_visible(), part
    page.keyboard.press("End")
    wait_for_drawing(page)
    assert page.locator(".step-now").inner_text() == "step 4 of 4"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("#pair=7&step=30&iteration=3", (7, 30, 3)),
        ("#pair=7&step=30", (7, 30, 30)),
        *((f"#{anchor}", (3, 0, 30)) for anchor in ("pair=8&step=1", "pair=3&step=21", "pair=3&step=-1", "%E0&pair=x")),
    ],
)
def test_address_tells_what_to_show(open_page: OpenPage, anchor: str, expected: tuple[int, int, int]):
    page = open_page(one(), anchor)
    assert shown(page) == expected


@pytest.mark.slow
def test_address_follows_and_is_followed(open_page: OpenPage):
    page = open_page(one())
    assert page.evaluate("location.hash") == ""
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("location.hash === '#pair=3&step=1&iteration=3'")
    page.evaluate("location.hash = '#pair=7&step=26&iteration=1'")
    page.wait_for_function("document.querySelector('.step-now').textContent.startsWith('step 26')")
    assert shown(page) == (7, 26, 1)


# What is drawn


def crossing() -> FilmResult:
    """A film whose elite goes right along y = 8, the dearest candidate along y = 24, and one down through both."""
    film = FILMS.films[0]
    paths = [[(2, 8), (30, 8)], [(8, 2), (8, 28)], [(2, 24), (30, 24)]]
    candidates = Candidates(iteration=1, costs=(1.0, 5.0, 9.0), elites=1, paths=Points.of(paths, 0.01))
    corner = Points.of(np.full((film.frames.count, 2), 30.0), 0.01)
    plan = film.plans[0].model_copy(update={"iterations": (candidates,), "lowest": (1.0,), "mean": (3.0,)})
    plan = plan.model_copy(update={"path": Points.of([(30, 30)], 0.01)})
    film = film.model_copy(update={"plans": (plan,), "path": corner, "goal_position": (30.0, 30.0)})
    return FILMS.model_copy(update={"films": (film,)})


def pixels(page: Any, x: float) -> np.ndarray:
    """A column of the scene (H, 3), x in pixels of the frame."""
    page.evaluate("new Promise(requestAnimationFrame)")
    url = page.evaluate("document.querySelector('.scene').toDataURL()")
    scene = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), int)
    return scene[:, round(x / SIDE * scene.shape[1])]


def is_like(column: np.ndarray, color: str) -> np.ndarray:
    """True for the pixels (H, 3) of a color."""
    return (abs(column - 255 * np.array(to_rgb(color))) < 8).all(axis=1)


@pytest.mark.slow
def test_candidates_are_drawn_where_they_lead_in_the_color_of_their_cost_and_elites_bold(open_page: OpenPage):
    page = open_page(one(crossing()), device_scale_factor=2)
    page.wait_for_function("document.querySelector('.viewer').viewer.sides[0].film.frames.length")
    for blind, (cheap, dear) in [(False, ("#2bd9c4", "#ff7b6b")), (True, ("#fde725", "#35b779"))]:
        page.get_by_label("color-blind-safe colors").set_checked(blind)
        column = pixels(page, 16)
        bold, thin = (np.flatnonzero(is_like(column, color)) for color in (cheap, dear))
        assert bold.mean() == pytest.approx(len(column) * 8 / SIDE, abs=2)
        assert thin.mean() == pytest.approx(len(column) * 24 / SIDE, abs=2)
        assert len(bold) > len(thin) > 0
        assert is_like(pixels(page, 8), cheap).sum() == len(bold)  # the cheaper one lies on top


def with_sheet(films: FilmResult, shrunk: int) -> FilmResult:
    """The same films, the frames of the first so much smaller, as those of very long episodes are."""
    (film,) = films.films
    sheet = Image.open(io.BytesIO(base64.b64decode(film.frames.sheet)))
    buffer = io.BytesIO()
    sheet.reduce(shrunk).save(buffer, "webp", lossless=True)
    frames = film.frames.model_copy(update={"sheet": base64.b64encode(buffer.getvalue()).decode()})
    return films.model_copy(update={"films": (film.model_copy(update={"frames": frames}),)})


@pytest.mark.slow
@pytest.mark.parametrize("shrunk", [1, 4])
def test_frame_is_that_of_the_step(open_page: OpenPage, shrunk: int):
    page = open_page(one(with_sheet(crossing(), shrunk)))
    page.wait_for_function("document.querySelector('.viewer').viewer.sides[0].film.frames.length")
    dimmed = pixels(page, 3)[4]
    page.get_by_label("dim the frame").uncheck()
    for step in (0, 7, 8, 20):
        page.get_by_label("environment step").fill(str(step))
        assert pixels(page, 3)[4] == pytest.approx(250 - 4 * step, abs=1)
    assert dimmed == pytest.approx(0.28 * 250 + 0.72 * 16, abs=5)


@pytest.mark.slow
def test_map_names_its_axes_and_the_ring_is_the_distance_that_counts(open_page: OpenPage):
    page = open_page(one())
    labels = page.evaluate("document.querySelector('.viewer').viewer.sides[0].map.labels")
    assert labels == ["component 1 (37% of variance)", "component 2 (20% of variance)"]
    assert "goal, reached within 16 pixels" in page.locator(".legend").inner_text()
    pusht = one(FILMS.model_copy(update={"task": "pusht"}))
    assert "reached within 16" not in pusht
    assert '"radius":null' in pusht


def with_umap(films: FilmResult) -> FilmResult:
    """The same films with a second map, on which everything lies twice as far away."""

    def doubled(places: Places) -> Places:
        return *places, Points.of(2 * places[0].array(), 0.01)

    def also(film: PlanFilm) -> PlanFilm:
        plans = tuple(plan.model_copy(update={"imagined": doubled(plan.imagined)}) for plan in film.plans)
        latents, goal = doubled(film.latents), doubled(film.goal_latent)
        return film.model_copy(update={"plans": plans, "latents": latents, "goal_latent": goal})

    (pca,) = films.latent_maps
    umap = LatentMap(method="UMAP", shares=None, points=doubled((pca.points,))[1])
    return films.model_copy(update={"latent_maps": (pca, umap), "films": tuple(also(film) for film in films.films)})


@pytest.mark.slow
@pytest.mark.parametrize("sides", [1, 2])
def test_map_can_be_chosen_where_all_sides_have_it(open_page: OpenPage, sides: int):
    page = open_page(render_view([Viewed("tworoom/lewm", with_umap(FILMS))] * sides))

    def drawn() -> list[str]:
        wait_for_drawing(page)
        return page.evaluate("[...document.querySelectorAll('.map')].map((one) => one.toDataURL())")

    def numbers() -> list[float]:
        """Everything that is given to the maps of both sides to be drawn, and how wide they are."""
        wait_for_drawing(page)
        return page.evaluate("viewer.sides.flatMap(({ map }) => [map.high[0] - map.low[0], ...map.given])")

    page.evaluate(
        """() => {
            window.viewer = document.querySelector(".viewer").viewer;
            for (const { map } of viewer.sides) {
                const draw = map.draw.bind(map);
                map.draw = (shown, look) => {
                    map.given = [...shown.latents, ...shown.goal, ...shown.plan.imagined];
                    draw(shown, look);
                };
            }
        }"""
    )
    page.keyboard.press("ArrowRight")
    by_pca, places = drawn(), numbers()
    page.locator("[name=map]").select_option("UMAP")
    by_umap = drawn()
    assert all(one != other for one, other in zip(by_pca, by_umap, strict=True))
    assert numbers() == pytest.approx([2 * one for one in places], abs=0.02)
    labels = page.evaluate("viewer.sides.map(({ map }) => map.labels)")
    assert labels == [["UMAP: near is alike, distances far apart mean little", ""]] * sides
    page.keyboard.press("PageDown")  # the choice stays
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowRight")
    page.get_by_label("environment step").fill("1")
    assert drawn() == by_umap
    page.locator("[name=map]").select_option("PCA")
    assert drawn() == by_pca


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_map_that_one_side_lacks_is_not_offered(order: tuple[int, int]):
    sides = [Viewed("one", FILMS), Viewed("other", with_umap(FILMS))]
    assert 'name="map"' in render_view([sides[1]])
    assert 'name="map"' not in render_view([sides[0]])
    assert 'name="map"' not in render_view([sides[k] for k in order])


@pytest.mark.slow
def test_two_sides_stay_in_step(open_page: OpenPage):
    page = open_page(two())
    assert page.locator(".picture h3").all_inner_texts() == ["tworoom/lewm", "tworoom/delta"]
    assert page.locator(".verdict").all_inner_texts() == ["goal reached after 20 steps", "goal reached after 4 steps"]

    def told(what: str) -> list[str]:
        wait_for_drawing(page)
        return page.locator(f".told-{what}").all_inner_texts()

    assert told("iteration") == ["30 of 30", "2 of 2"]
    page.keyboard.press("ArrowRight")
    page.get_by_label("iteration of the plan").fill("0")
    assert (told("step"), told("iteration")) == (["1 of 20", "1 of 4"], ["1 of 30", "1 of 2"])
    page.get_by_label("environment step").fill("20")
    page.get_by_label("iteration of the plan").fill("0")
    assert told("step") == ["20 of 20", "4 of 4"]
    assert told("iteration") == ["1 of 30", "2 of 2"]  # only the newest plan is gone through
    page.get_by_label("show").select_option("reached by the right only")
    assert page.locator("[aria-selected=true]").inner_text().split("\n")[:3] == [
        *("pair 7", "not reached", "reached after 4 steps")
    ]


# On every screen


@pytest.mark.slow
@pytest.mark.parametrize("sides", [one, two])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_overlaps_at_any_width(open_page: OpenPage, sides: Callable[..., str], theme: str):
    motion = "reduce" if theme == "dark" else "no-preference"
    look = {"color_scheme": theme, "reduced_motion": motion, "device_scale_factor": 2}
    page = open_page(sides(name="tworoom/" + "a_long_name" * 4), **look)
    for width in (320, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        wait_for_drawing(page)
        wait_for_drawing(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert covered(page) == [], width
        sharp = "one => Math.abs(one.width - 2 * one.getBoundingClientRect().width) <= 1"
        assert page.evaluate(f"[...document.querySelectorAll('canvas')].every({sharp})"), width


@pytest.mark.slow
def test_every_control_has_a_name_and_is_reached_by_tab(open_page: OpenPage):
    page = open_page(one())
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.className || 'option'"))
    controls = ["play", "back", "forth", "speed", "help", "steps", "iterations", "through", "dim", "blind"]
    assert [name for name in reached if name in controls] == controls
    assert {"filter", "option"} <= set(reached)
    for control in page.locator(".viewer :is(button, select, input)").all():
        assert control.evaluate("one => one.ariaLabel || one.textContent.trim() || one.labels[0].textContent.trim()")


@pytest.mark.slow
def test_in_the_report_keys_are_the_players_only_while_the_focus_is_in_it(open_page: OpenPage):
    html = render_page(replace(bare_report(), films=FILMS))
    assert shown(open_page(html, "#planning")) == (3, 0, 30)
    page = open_page(html, "#pair=3&step=0")
    assert page.evaluate("scrollY") == page.evaluate("document.querySelector('.viewer').offsetTop")
    page.keyboard.press("ArrowRight")
    assert shown(page) == (3, 0, 30)
    page.locator(".scene").click()
    page.keyboard.press("ArrowRight")
    assert shown(page) == (3, 1, 30)
    assert page.get_by_text("lewm view tworoom/lewm").is_visible()
