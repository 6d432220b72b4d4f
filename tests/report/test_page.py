"""The page of a run: everything that was measured, nothing that was not, and no request for anything."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from families import AROUND_LEWM
from lewm_cli.config import ActionBounds, Box, DinoWMNopropConfig, Framing, PlannerConfig
from lewm_cli.methods import METHODS, TrainConfig
from lewm_cli.report.numbers import decimals, duration, number, p_value, percent, setting, times
from lewm_cli.report.page import render_page
from lewm_cli.report.page.style import WIDTH, level_colors, log_axis, log_limits
from lewm_cli.report.run_report import RunReport
from lewm_cli.report.summary import headlines, sentences
from lewm_cli.statistics import Rate
from lewm_cli.store import Measurement
from lewm_cli.surprise import DETECTORS, DetectorDoses, DoseResult
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, SuccessMeasured, TrainingHistory
from reports import bare_report, full_report, history

pytest_plugins = ("headless",)

NASTY = """tworoom/<script>alert("1")</script>&'x"""

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What is on a page; raises where tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.used: set[str] = set()
        self.loaded: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attributes:
            if name == "id":
                self.ids[value] += 1
            if name in ("src", "href", "srcset", "data", "poster", "action"):
                (self.used.add(value[1:]) if value.startswith("#") else self.loaded.append(value))
            self.used.update(re.findall(r"url\(#([^)]+)\)", value or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def full() -> str:
    """The page of a run with one of everything."""
    return render_page(full_report())


# What is on it


@pytest.mark.slow
def test_page_with_everything_has_every_section(full):
    for heading in (
        "Planning",
        "Without a simulator",
        "Training",
        "Latent map",
        "Probes",
        "Latent space",
        "Surprise",
        "Teleport",
        "Color",
        "Imagination",
        "Provenance",
    ):
        assert re.search(rf"<h[23][^>]*>{heading}</h", full)
    assert full.count('class="figure"') == 2 + 1 + 4 + 2 + (2 + 1 + 2) + (5 + 4) + 1 + 2 + 2 + 2
    assert full.count('<div class="viewer"') == 1
    assert "A new plan is made after 25 steps." in full
    assert "the distance between the latent it predicts and the latent of the goal, keeps the best, and draws" in full


@pytest.mark.slow
def test_page_says_how_it_was_planned_where_that_is_not_the_papers_way():
    report = full_report()
    planner = PlannerConfig(solver="gradient", objective="reach", prior=True, anchors="tworoom/demos")
    protocol = report.evaluation.protocol.model_copy(update={"planner": planner})
    evaluation, films = (one.model_copy(update={"protocol": protocol}) for one in (report.evaluation, report.films))
    said = Page(render_page(replace(report, evaluation=evaluation, films=films))).text
    assert (
        "Planner: gradient, 16 candidates, 30 iterations, 5 model steps ahead, objective reach, begun at the prior, "
        "aimed at frames of tworoom/demos;"
    ) in said
    assert "Where the goal is far, a frame of tworoom/demos on the way to it stands for the goal." in said
    assert "it ranks candidates by what it imagines of them, by the objective reach." in said
    assert "the distance between" not in said


def test_numbers_stand_beside_their_floor(full):
    text = Page(full).text
    report = full_report()
    for rate in (report.evaluation.overall.success, report.evaluation.overall.random):
        assert f"{100 * rate.rate:.1f}%" in text
        assert f"[{100 * rate.low:.0f},\N{NO-BREAK SPACE}{100 * rate.high:.0f}]" in text
    assert (
        "Planner chosen by lewm improve tworoom/lewm : last, anchors of tworoom/demos, receding 5, 7 iterations."
        in text
    )
    assert "75 steps ahead 90.0%" in text
    for words in ("untrained", "pixel PCA", "shuffled", "latent step", "pixel step", "copying"):
        assert words in text


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_page_speaks_of_its_own_method(method: str):
    report, train = bare_report(), TrainConfig(method=method, objective={"cosine": 0.5})
    provenance = report.card.provenance.model_copy(update={"train": train})
    card = report.card.model_copy(update={"method": method, "provenance": provenance})
    names = ("prediction", "std", "cov", "std_t", "temp_align", "inverse", "cosine", "straightness", "rollout")
    html = render_page(replace(report, card=card, history=history(names=names)))
    page = Page(html)
    assert train.objective.explanation in page.text
    assert f"tworoom {method}" in " ".join(page.text.split())
    assert "plus 0.5 \N{MULTIPLICATION SIGN} cosine" in page.text
    said = page.text.replace(METHODS[method].summary, "")
    assert ("SIGReg" in said) == (method == "lewm")
    assert ("lambda" in said) == ("lambda_" in METHODS[method].model_fields)
    assert ("knots 17, projections 1024" in said) == (method == "lewm")
    assert ("decoder.depth 3" in said) == (method == "delta")
    assert all(f">{name}</text>" in html for name in names)
    assert "Prediction loss falls from 0.30 to 0.025, beside it are 8 more parts of the loss" in page.text


@pytest.mark.parametrize("times", [1, 3])
def test_success_while_training_is_drawn_with_its_intervals(times: int):
    rates = [Rate(successes=2 * k, trials=10, rate=k / 5, low=k / 9, high=k / 4) for k in range(times + 1)]
    evaluated = tuple(SuccessMeasured(100 * k, rates[k], rates[0], {}, 1.0, best=True) for k in range(1, times + 1))
    html = render_page(replace(bare_report(), history=replace(history(), evaluated=evaluated)))
    best = {1: "20.0%", 3: "60.0%"}[times]
    assert f"The most validation goals, {best}, are reached at step {times}00" in Page(html).text
    drawn = html[html.index("validated-") :]
    assert drawn[: drawn.index("</svg>")].count("LineCollection") == 1
    assert "validated-" not in render_page(replace(bare_report(), history=history()))


def test_part_of_the_loss_that_is_zero_or_negative_is_drawn():
    parts = {"prediction": [0.3, 0.1], "std": [0.2, 0.0], "straightness": [0.1, -0.4]}
    first = history(2)
    steps = tuple(
        replace(step, parts={name: values[k] for name, values in parts.items()}) for k, step in enumerate(first.steps)
    )
    text = Page(render_page(replace(bare_report(), history=replace(first, steps=steps)))).text
    assert "Prediction loss falls from 0.30 to 0.10, std falls from 0.20 to 0" in text
    assert "straightness falls from 0.10 to \N{MINUS SIGN}0.40" in text


@pytest.mark.parametrize(
    ("std", "least", "prediction", "said"),
    [
        (1.0, 0.8, 0.1, "stays open: mean spread 1.0, narrowest dimension 0.80"),
        (1.0, 0.05, 0.1, "has lost a dimension: mean spread 1.0, narrowest dimension 0.050"),
        (0.05, 0.02, 0.1, "stays open: mean spread 0.050, narrowest dimension 0.020"),
        (0.05, 0.02, 0.9, "has collapsed: mean spread 0.050, narrowest dimension 0.020"),
    ],
)
def test_small_latent_space_is_collapsed_only_if_nothing_is_predicted(
    std: float, least: float, prediction: float, said: str
):
    held_out = HeldOutMeasured(25, HeldOutLatents({}, prediction, 1.0, std, least, 3.0, 0.1))
    html = render_page(replace(bare_report(), history=replace(history(1), held_out=(held_out,))))
    assert f"The latent space {said}" in Page(html).text
    banded = html.count(">collapsed</text>") == 2  # the other one is a cosine of 1
    assert banded == (std == 1 or "has collapsed" in said)


def test_spread_of_a_frozen_encoder_is_no_finding():
    held_out = HeldOutMeasured(25, HeldOutLatents({}, 0.1, 1.0, 1.0, 0.01, 3.0, 0.9))
    report = replace(bare_report(), history=replace(history(1), held_out=(held_out,)))
    card = report.card.model_copy(update={"method": "dinowm_noprop", "model": DinoWMNopropConfig()})
    text = Page(render_page(replace(report, card=card))).text
    assert "Held-out prediction error ends at 10.0%" in text
    for words in ("lost a dimension", "mean cosine", "Collapsed:"):
        assert words not in text


def test_page_without_measurements_names_the_commands():
    html = render_page(bare_report())
    text = " ".join(Page(html).text.split())
    for command in (
        "lewm eval tworoom/lewm",
        "lewm probe tworoom/lewm",
        "lewm latent tworoom/lewm",
        "lewm surprise tworoom/demos --run tworoom/lewm --perturb teleport",
        "lewm decode tworoom/lewm",
    ):
        assert command in text
    assert "<figure" not in html


def test_page_says_what_is_known_of_the_recording():
    bare = bare_report(task="generic")
    facts = {
        "bounds": ActionBounds(low=(-1, 0), high=(1, 0.25)),
        "action_names": ("elbow <left>", "grip"),
        "fps": 29.97,
        "framing": Framing(width=640, height=480, size=224, box=Box(left=80, top=0, width=480, height=480)),
    }
    for known in ((), ("bounds",), ("fps",), tuple(facts)):
        inputs = bare.card.inputs.model_copy(update={name: facts[name] for name in known})
        report = replace(bare, card=bare.card.model_copy(update={"inputs": inputs}))
        text = " ".join(Page(render_page(report)).text.split())
        names = ("elbow <left>", "grip") if "action_names" in known else ("action_0", "action_1")
        assert ("recorded actions{} -1 to 1, {} 0 to 0.25".format(*names) in text) == ("bounds" in known)
        assert ("recorded rate29.97 rows per second" in text) == ("fps" in known)
        camera = "camera640 x 480, of which 480 x 480 at 80, 0, crop to 224 x 224"
        assert (camera in text) == ("framing" in known)


def test_task_without_simulator_is_told_to_evaluate_without_one():
    text = " ".join(Page(render_page(bare_report(task="generic"))).text.split())
    assert text.count("lewm eval tworoom/lewm") == 1
    assert "Without a simulator Not measured yet. Type lewm eval tworoom/lewm" in text
    assert "lewm probe" not in text
    assert "--perturb" not in text
    assert "lewm surprise tworoom/demos --run tworoom/lewm" in text


def test_latent_space_stands_beside_an_untrained_one_and_what_can_be_expected():
    html = render_page(replace(bare_report(), latent=full_report().latent))
    text = " ".join(Page(html).text.split())
    for said in (
        "Paths have a straightness of 0.40, untrained \N{MINUS SIGN}0.30",
        "Latents spread over 2.8 of 4 directions, untrained over 0.6",
        "Epps-Pulley 1.94, untrained 8.75, Gaussian 0.33",
        "Latent and true distance have a rank correlation of 0.90, untrained 0.20",
        "UMAP of 30 latents, colored by heading",
        "Left out: speed (is constant).",
    ):
        assert said in text
    cells = re.sub(r"\s*<[^>]*>\s*", " ", html)
    for line in (
        "coverage 81.0% 18.0% true places 95.0%",
        "nearest frame, px 2.2 [2.2, 2.3] 10 best 1.25, random 71.0",
    ):
        assert line in " ".join(cells.split())
    assert re.findall(r"<figcaption>(episode 0|[0-9.]+ px)</figcaption>", html) == ["episode 0", "1.5 px", "3.0 px"]
    assert html.count("data:image/webp;base64,") == 3
    assert "lewm latent tworoom/lewm" not in text


def test_what_was_measured_without_a_simulator_stands_beside_chance_and_floors():
    html = render_page(replace(bare_report(task="generic"), offline=full_report().offline))
    text = " ".join(Page(html).text.split())
    for said in (
        "predicts better than standing still up to 4 of 6 steps (2 s); ranks the recorded actions at percentile 60",
        "NOT shown to find the true goal among 39 frames better than standing still",
        "20 starts in 10 episodes of “tworoom/test”, episodes the model was never trained on",
        "Predictions err by 0.20 of copying one step ahead, by 1.2 at step 6",
        "without a simulator, it predicts better than standing still up to 4 of 6 steps (2 s); ranks",
    ):
        assert said in text
    cells = " ".join(re.sub(r"\s*<[^>]*>\s*", " ", html).split())
    assert "5 steps ahead 100 recorded ones 60.0 [" in cells
    assert "chance 2.6% 12.8% 20.0" in cells
    assert "lewm eval tworoom/lewm</code>" not in html


@pytest.mark.parametrize("missing", ["gaussianity", "coverage", "straightness", "distances"])
def test_latent_space_may_lack_what_the_recording_did_not_allow(missing: str):
    latent = full_report().latent
    scores = {encoder: one.model_copy(update={missing: None}) for encoder, one in latent.scores.items()}
    bare = latent.model_copy(update={"scores": scores, "quantities": (), "neighbors": ()})
    html = render_page(replace(bare_report(), latent=bare))
    lines = {"gaussianity": "Epps-Pulley, shape", "distances": "distance correlation"}
    for part in ("gaussianity", "coverage", "straightness", "distances"):
        assert (f"<th>{lines.get(part, part)}</th>" in html) == (part != missing)
    assert "colored by the frames" in Page(html).text


def test_straightness_while_training_is_drawn_where_it_was_logged():
    assert "Straightness" not in render_page(replace(bare_report(), history=history()))
    measured = tuple(
        replace(one, held_out=replace(one.held_out, straightness=0.1 * k - 0.1))
        for k, one in enumerate(history().held_out)
    )
    text = Page(render_page(replace(bare_report(), history=replace(history(), held_out=measured)))).text
    assert "Straightness rises from \N{MINUS SIGN}0.10 to 0.10" in text


@pytest.mark.slow
@pytest.mark.parametrize("part", ["evaluation", "improved", "films", "probe", "latent", "surprise", "decoded"])
def test_any_part_may_be_missing(part):
    Page(render_page(replace(full_report(), **{part: None})))


def test_episodes_trained_on_are_called_so():
    report = full_report()
    seen = replace(bare_report(), evaluation=report.evaluation.model_copy(update={"held_out": False}))
    assert "episodes the model may have been trained on" in render_page(seen)


@pytest.mark.parametrize("report", [bare_report(), full_report()], ids=["bare", "full"])
def test_summary_is_five_sentences(report: RunReport):
    said = sentences(report)
    assert len(said) == 5
    assert all(re.fullmatch(r"[A-Z].*\.", sentence) for sentence in said)


def test_headlines_come_from_what_was_measured():
    assert [one.label for one in headlines(bare_report())] == ["Parameters"]
    labels = [one.label for one in headlines(full_report())]
    assert labels == ["Planning success", "Lowest probe R²", "Surprise, teleport", "Training", "Parameters"]
    assert headlines(full_report())[1].value == "0.950"  # of heading, the worse of the two


# Strange reports


@pytest.mark.slow
def test_numbers_that_are_none_of_a_diverged_training_are_left_out():
    diverged = history()
    parts = {"prediction": float("nan"), "SIGReg": 1.0}
    steps = (*diverged.steps[:-1], replace(diverged.steps[-1], parts=parts, loss=float("inf")))
    last = HeldOutMeasured(400, HeldOutLatents({"SIGReg": float("inf")}, float("nan"), 0.0, 0.0, 0.0, 1.0, 1.0))
    held_out = (*diverged.held_out, last)
    html = render_page(replace(full_report(), history=replace(diverged, steps=steps, held_out=held_out)))
    assert not re.search(r"\b(nan|inf)\b", Page(html).text)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_short_training_has_curves(steps):
    short = history()
    short = TrainingHistory(short.steps[:steps], short.held_out[:steps], (), None)
    Page(render_page(replace(bare_report(), history=short)))


@pytest.mark.slow
def test_results_without_points_episodes_or_scores():
    report = full_report()
    first, *others = report.perturbations
    html = render_page(
        replace(
            report,
            probe=report.probe.model_copy(update={"points": ()}),
            surprise=report.surprise.model_copy(update={"episodes": ()}),
            perturbations=(first.model_copy(update={"episodes": (), "scores": {}}), *others),
        )
    )
    assert ">Latent map<" not in html


@pytest.mark.slow
@pytest.mark.parametrize("found", [True, False])
def test_smallest_change_that_is_found(found: bool):
    report = full_report()
    sizes, episodes = np.geomspace(1, 64, 7), np.arange(12)
    values = np.tile(sizes[:, None] * found, 12)
    scored = {one: DetectorDoses.of(sizes, values, 5.0, episodes, 0) for one in DETECTORS}
    common = {name: getattr(report.surprise, name) for name in Measurement.model_fields}
    doses = DoseResult(
        **common,
        perturbation="teleport",
        size_unit="px",
        arena=128.0,
        sizes=tuple(sizes),
        false_alarms=0.01,
        frameskip=5,
        seed=0,
        calibrated=tuple(range(99)),
        tried=tuple(episodes),
        detectors=scored,
        values=dict.fromkeys(DETECTORS, tuple(map(tuple, values.tolist()))),
    )
    page = Page(render_page(replace(report, doses=doses)))
    assert "How small a teleport is found" in page.text
    assert ("of 5.7 px half of the time" if found else "not even 64 px half of the time") in page.text


@pytest.mark.slow
def test_constant_quantity_and_zero_surprise():
    report = full_report()
    points = tuple(point.model_copy(update={"actual": (5.0, 5.0), "map": (0.0, 0.0)}) for point in report.probe.points)
    flat = tuple(
        one.model_copy(update={"curves": dict.fromkeys(one.curves, (0.0, 0.0))}) for one in report.surprise.episodes
    )
    Page(
        render_page(
            replace(
                report,
                probe=report.probe.model_copy(update={"points": points}),
                surprise=report.surprise.model_copy(update={"episodes": flat}),
            )
        )
    )


# As a file


@pytest.mark.slow
def test_names_are_text():
    html = render_page(full_report(NASTY, NASTY))
    page = Page(html)
    assert page.tags["script"] == html.count("<script") == 2  # films, and what plays them
    assert page.text.count('<script>alert("1")</script>') > 3


@pytest.mark.slow
def test_names_in_figures_are_no_formulas_and_no_colors():
    strange = r"$\frac$ #0100ff <b> 1.23456"
    report = full_report()
    targets = tuple(one.model_copy(update={"name": strange, "unit": strange}) for one in report.probe.targets)
    events = tuple(one.model_copy(update={"perturbation": strange}) for one in report.perturbations[:1])
    probe = report.probe.model_copy(update={"targets": targets})
    page = Page(render_page(replace(report, probe=probe, perturbations=events)))
    assert page.text.count(strange) > 5


def test_everything_is_inside(full):
    page = Page(full)
    assert all(target.startswith("data:") for target in page.loaded)
    assert "http:" not in full
    assert "https:" not in full
    assert "@import" not in full
    assert not re.findall(r"url\((?!#)", full)


def test_ids_are_unique_and_found(full):
    page = Page(full)
    assert page.ids.total() == len(page.ids)
    assert page.used <= set(page.ids)


def test_no_stand_in_color_is_left(full):
    assert not re.findall(r"#0[12]00[0-9a-f]{2}", full)
    assert not re.findall(r"fill: #000000|stroke: #000000", full)
    declared = set(re.findall(r"(--[a-z0-9-]+):", full))
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", full)) <= declared


def test_figures_have_names_and_text(full):
    for figure in re.findall(r'<svg class="figure".*?</svg>', full, re.DOTALL):
        assert re.match(r'<svg class="figure" viewBox="[0-9. ]+" role="img" aria-label="[^"]{10,}">', figure)
        assert "<text" in figure
        assert "font-family" not in figure


def test_figures_are_as_narrow_as_a_phone(full):
    for figure in re.findall(r'<svg class="figure" viewBox="0 0 ([0-9.]+)', full):
        assert float(figure) == pytest.approx(72 * WIDTH, abs=0.1)


@pytest.mark.slow
def test_same_report_same_bytes_and_settings_left_alone(full):
    before = dict(matplotlib.rcParams)
    assert render_page(full_report()) == full
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_users_matplotlib_settings_do_not_matter(full):
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert render_page(full_report()) == full


def test_level_colors_differ_between_themes():
    light, dark = level_colors(dark=False), level_colors(dark=True)
    assert len(light) == len(dark) == len(set(light)) == len(set(dark))
    assert light != dark


# Numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(0.0101), "0.0101"),
        (number(2.527), "2.53"),
        (number(1240.0), "1,240"),
        (number(99.96), "100"),
        (number(-0.5, 2), "\N{MINUS SIGN}0.50"),
        (number(0.0), "0"),
        (number(1.2e-7), "1.2 \N{MULTIPLICATION SIGN} 10⁻⁷"),
        (setting(5e-5), "5 \N{MULTIPLICATION SIGN} 10⁻⁵"),
        (setting(0.09), "0.09"),
        (decimals(-0.0001, 2), "0.00"),
        (percent(1.0), "100%"),
        (percent(0.9867), "98.7%"),
        (times(212.4), "212\N{MULTIPLICATION SIGN}"),
        (times(3.87), "3.9\N{MULTIPLICATION SIGN}"),
        (times(2e-13), "0\N{MULTIPLICATION SIGN}"),
        (times(7e11), "> 10⁶\N{MULTIPLICATION SIGN}"),
        (duration(131.2), "131 s"),
        (duration(18_000), "5.0 h"),
        (duration(1800), "30 min"),
        (p_value(0.0421), "0.042"),
        (p_value(0.3), "0.3"),
        (p_value(2e-9), "<0.001"),
    ],
)
def test_numbers_read_well(text, expected):
    assert text == expected


def test_every_power_of_ten_is_a_number():
    for exponent in np.arange(-12, 12):
        assert "e" not in number(float(3 * 10.0**exponent))


# In a browser


@pytest.fixture(scope="module")
def pages(full: str) -> dict[str, str]:
    """Pages that may be hard to lay out."""
    name = "tworoom/" + "a_very_long_name" * 8
    return {"full": full, "bare": render_page(bare_report(NASTY)), "long name": render_page(full_report(name, name))}


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["full", "bare", "long name"])
def test_page_opens_offline_without_a_word_and_fits(open_page, pages, kind: str, width: int, theme: str):
    page = open_page(pages[kind], viewport={"width": width, "height": 844}, color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert _unreadable(page) == []


def _unreadable(page) -> list[str]:
    """Texts of figures that reach out of their figure or over another text."""
    return page.evaluate(
        """() => [...document.querySelectorAll('svg.figure')].flatMap(figure => {
            const frame = figure.getBoundingClientRect();
            const texts = [...figure.querySelectorAll('text')];
            const boxes = texts.map(text => text.getBoundingClientRect());
            return texts.filter((text, k) => {
                const own = boxes[k];
                const cut = own.left < frame.left - 1 || own.right > frame.right + 1
                    || own.top < frame.top - 1 || own.bottom > frame.bottom + 1;
                const covered = boxes.some((other, j) => j < k
                    && Math.min(own.right, other.right) - Math.max(own.left, other.left) > 1
                    && Math.min(own.bottom, other.bottom) - Math.max(own.top, other.top) > 3);
                return cut || covered;
            }).map(text => text.textContent);
        })"""
    )


@pytest.mark.parametrize("low", [5.3e-6, 0.053, 53.0])
def test_ticks_of_a_short_logarithmic_axis_differ(low: float):
    axes = Figure().subplots()
    axes.set_ylim(*log_limits(np.array([low, 1.1 * low])))
    log_axis(axes)
    ticks = [axes.yaxis.get_major_formatter()(value, None) for value in axes.get_yticks()]
    assert len(ticks) > 2
    assert len(set(ticks)) == len(ticks)
