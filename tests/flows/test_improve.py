"""`lewm improve`: a planner chosen on some held-out pairs and measured on others, and used from then on."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lewm_cli
from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import DatasetIdentity, Layer, PlannerConfig, merge_layers
from lewm_cli.evaluate import EvalResult, ImproveResult, PairSet, PlannerChoice, Trials, TriedPlanner, count_plans
from lewm_cli.flows import improve
from lewm_cli.flows.improved import count_chosen_by, improved_planner
from lewm_cli.flows.results import keep_result, stored_results
from lewm_cli.heads import PriorFit, ReachFit
from lewm_cli.report import improve_tables
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, Run, load_run, save_run, silent, weights_digest
from lewm_cli.tasks import TWOROOM
from reports import full_report

pytest_plugins = ("untrained", "recordings")

RUN, DEMOS, VALID = "tworoom/lewm", "tworoom/demos", "tworoom/valid"
ON = ("--validation", VALID, "--dataset", VALID, "--workers", 1)
PLAIN = PlannerChoice.of(PlannerConfig())
UNKNOWN = {"seconds_per_plan": 0.001, "head_sha256": None, "prior_sha256": None}
SAID = "as lewm improve chose for tworoom/lewm; the protocol's with --plain"


# The choice


def trials(*reached: list[list[bool]]) -> Trials:
    """Planners that reached these goals; every pair is of an episode of its own."""
    pairs = [
        PairSet(
            offset=25 * (place + 1),
            budget=50 * (place + 1),
            episodes=tuple(range(len(one))),
            start_rows=tuple(range(len(one))),
            random=(False,) * len(one),
        )
        for place, one in enumerate(reached[0])
    ]
    tried = [
        TriedPlanner(choice=PLAIN.changed(iterations=number + 1), reached=tuple(map(tuple, one)), **UNKNOWN)
        for number, one in enumerate(reached)
    ]
    dataset = DatasetIdentity(name="valid", episodes=99, rows=999, fingerprint="0" * 64)
    return Trials(dataset=dataset, pairs=tuple(pairs), tried=tuple(tried))


def goals(*counts: int) -> list[list[bool]]:
    """The first so many of 40 goals are reached, distance by distance."""
    return [[number < count for number in range(40)] for count in counts]


def test_planner_that_reaches_most_is_chosen():
    found = trials(goals(20, 10), goals(30, 20), goals(35, 30), goals(34, 30))
    assert found.best() == found.tried[2]


def test_of_equally_good_ones_the_first_is_chosen():
    found = trials(goals(20, 10), goals(30, 20), goals(20, 30), goals(30, 20))
    assert found.best() == found.tried[1]


def test_nothing_is_chosen_where_no_gain_is_shown():
    assert trials(goals(20, 10), goals(21, 11), goals(20, 10), goals(0, 0)).best() is None


def test_planner_that_is_worse_at_a_distance_is_not_chosen():
    found = trials(goals(38, 0), goals(28, 40), goals(38, 20))
    assert found.best() == found.tried[2]


def test_distances_count_alike_however_many_pairs_they_have():
    many, few = [True] * 30 + [False] * 10, [True] * 4 + [False] * 16
    found = trials([[False] * 40, [False] * 20], [many, few], [[True] * 26 + [False] * 14, [True] * 8 + [False] * 12])
    assert found.best() == found.tried[2]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=5))
def test_choice_is_one_whose_gain_is_shown(counts: list[int]):
    found = trials(*(goals(count) for count in counts))
    best, (plain, *others) = found.best(), found.tried
    shown = [one for one in others if found.difference(one, plain).shown]
    assert (best is None) == (not shown)
    assert best is None or best.rate == max(one.rate for one in shown)


def tried_by(rates: dict[str, int], plain: PlannerChoice = PLAIN) -> list[str]:
    """The planners that are tried where those with these parts reach so many of 40 goals, and all others 10."""
    found, trying = list[TriedPlanner](), SimpleNamespace()

    def add(choice: PlannerChoice | None) -> TriedPlanner:
        name = f"{choice.parts} {choice.receding}" if choice else "alone"
        count = rates.get(name, 10)
        found.append(TriedPlanner(choice=choice, reached=(tuple(goals(count)[0]),), **UNKNOWN))
        return found[-1]

    trying.add = add
    improve._change_parts(trying, plain, DEMOS)
    return [f"{one.choice.parts} {one.choice.receding}" if one.choice else "alone" for one in found]


FIRST = ["last 5", "alone", "recorded, last, anchors 5", "last, prior 5", "last, anchors 5", "path 5", "reach 5"]


def test_every_part_is_changed_alone_and_replanning_tried_where_none_gains():
    assert tried_by({}) == [*FIRST, "last 1"]
    assert tried_by({}, PLAIN.changed(receding=1)) == ["last 1", "alone", *(f"{one[:-1]}1" for one in FIRST[2:])]


def test_the_part_that_gains_most_is_kept_and_the_others_are_changed_again():
    rates = {"path 5": 20, "last, prior 5": 15, "path, prior 5": 21, "path, prior 1": 22}
    then = ["recorded, path, anchors 5", "path, prior 5", "path, anchors 5", "path, prior, anchors 5", "path, prior 1"]
    assert tried_by(rates) == [*FIRST, *then]
    ranking = {"recorded, last, anchors 5": 12, "recorded, reach, anchors 5": 13}
    then = ["recorded, path, anchors 5", "recorded, reach, anchors 5", "recorded, reach, anchors 1"]
    assert tried_by(ranking) == [*FIRST, *then]


def test_nothing_more_is_tried_where_every_goal_is_reached():
    assert tried_by({"last 5": 40}) == FIRST[:2]
    assert tried_by({"last, prior 5": 40}) == FIRST[:4]


def test_no_more_planners_are_tried_than_are_announced():
    most = improve._most_changes(PLAIN, DEMOS)
    rates = {"last, anchors 5": 20, "last, prior, anchors 5": 30}
    assert len(tried_by(rates)) <= 3 + most
    assert most == 11


@pytest.mark.parametrize(
    ("rates", "iterations"),
    [({15: 9, 7: 9, 3: 9, 1: 9}, 1), ({15: 9, 7: 10, 3: 8}, 7), ({15: 8}, 30), ({15: 10, 7: 9, 3: 8}, 7)],
)
def test_iterations_are_halved_while_nothing_is_lost(rates: dict[int, int], iterations: int):
    best = TriedPlanner(choice=PLAIN, reached=(tuple(goals(9)[0]),), **UNKNOWN)

    def add(choice: PlannerChoice) -> TriedPlanner:
        return best.model_copy(update={"choice": choice, "reached": (tuple(goals(rates.pop(choice.iterations))[0]),)})

    still = SimpleNamespace(better=lambda one: True)
    assert improve._cheapest(SimpleNamespace(add=add, trials=still), best).iterations == iterations
    assert not rates  # all of them were tried, and no other


def test_iterations_are_not_halved_to_what_loses_at_a_distance():
    found = trials(goals(30, 0), goals(28, 30), goals(18, 40))
    _, best, half = found.tried
    assert found.best() == best
    assert half.rate == best.rate
    assert improve._cheapest(SimpleNamespace(add=lambda choice: half, trials=found), best) == best.choice


def test_controls_stand_in_for_the_heads_that_were_chosen():
    both = PLAIN.changed(objective="reach", prior=True, anchors=DEMOS)
    assert {name: one.parts for name, one in both.controls.items()} == {
        "shuffled reach": "reach-shuffled, prior, anchors",
        "shuffled prior": "reach, shuffled prior, anchors",
    }
    assert list(PLAIN.changed(prior=True).controls) == ["shuffled prior"]
    assert PLAIN.changed(anchors=DEMOS).controls == {}
    ranking = PLAIN.changed(solver="recorded", objective="reach", anchors=DEMOS, iterations=1)
    assert {name: one.parts for name, one in ranking.controls.items()} == {
        "random sequences": "recorded-random, reach, anchors",
        "shuffled reach": "recorded, reach-shuffled, anchors",
    }


@pytest.mark.parametrize("base", [{}, {"elites": 7, "std": 0.5}, {"solver": "icem", "kept": 0.2}])
def test_ranking_leaves_out_what_the_protocols_solver_draws_with(base: dict):
    choice = PlannerChoice.of(PlannerConfig()).changed(solver="recorded", anchors=DEMOS, iterations=1)
    planner = choice.planner(PlannerConfig(**base, candidates=50))
    assert (planner.solver, planner.candidates, planner.elites, planner.result) == ("recorded", 50, None, "best")
    protocol = Layer("protocol", {"planner": {**base, "candidates": 50}})
    laid = merge_layers([protocol, choice.layer("lewm improve")]).tree
    assert PlannerConfig.build(laid["planner"], "both") == planner


def test_prior_alone_is_no_planner_to_choose():
    found = trials(goals(20, 10), goals(35, 30), goals(30, 20))
    alone = found.tried[1].model_copy(update={"choice": None})
    assert found.model_copy(update={"tried": (found.plain, alone, found.tried[2])}).best() == found.tried[2]


@pytest.mark.parametrize(("alone", "clear"), [(12, True), (18, False), (20, False)])
def test_prior_alone_that_planning_does_not_beat_is_named_with_what_to_type(alone: int, clear: bool):
    result = full_report().improved
    one_more = result.test.tried[1].model_copy(
        update={"choice": None, "reached": (tuple(k < alone for k in range(20)),)}
    )
    tested = result.test.model_copy(update={"tried": (*result.test.tried, one_more)})
    said = result.model_copy(update={"gains": tuple(ImproveResult.gained(tested, ["the prior alone"]))})
    notes = "\n".join(improve_tables(said)[-1].lines)
    typed = f"That acts there without planning: lewm eval {RUN} --actor prior"
    assert (f"Not shown better than the prior alone 75 steps ahead.\n{typed}" in notes) != clear
    nothing = result.model_copy(update={"chosen": None, "validation": tested})
    shown = f"The prior alone is, without planning: lewm eval {RUN} --actor prior" in improve_tables(nothing)[-1].lines
    assert shown != clear


# A run that gains


@pytest.fixture(scope="session")
def valid(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that was hardly trained, and another recording; not to be written to."""
    home = tmp_path_factory.mktemp("valid") / "home"
    shutil.copytree(trained, home)
    done = lewm_here(home, "collect", "tworoom", "--episodes", 12, "--seed", 2, "--workers", 1, "--name", VALID)
    assert done.code == 0, done.err
    return home


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Planners that try next to nothing, and heads of a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        planner = {"candidates": 4, "elites": 2, "iterations": 2}
        patch.setitem(TWOROOM.protocols["heldout"], "planner", planner)
        patch.setattr(PriorFit, "usual_steps", 200)
        patch.setattr(ReachFit, "usual_steps", 20)
        patch.setattr("lewm_cli.heads.reach.BATCH", 64)
        patch.setattr("lewm_cli.heads.reach.TESTED_PAIRS", 200)
        patch.setattr("lewm_cli.heads.reach_score.RESAMPLES", 100)
        patch.setattr("lewm_cli.heads.prior.BATCH", 128)
        patch.setattr(improve, "VALIDATED", 16)
        yield


def everything_is_chosen(patch: pytest.MonkeyPatch) -> None:
    """Let two planners be tried beside the protocol's, of which the second is chosen, with the iterations it has."""

    def changes(choice: PlannerChoice, recording: str) -> list[PlannerChoice]:
        every = choice.changed(objective="reach", prior=True, anchors=recording)
        ranking = choice.changed(solver="recorded", anchors=recording, iterations=1)
        return [] if choice.anchors else [ranking, every]

    patch.setattr(improve, "_changes", changes)
    patch.setattr(Trials, "best", lambda self: next(one for one in self.tried if one.choice and one.choice.prior))


@pytest.fixture(scope="module")
def improved(valid: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A home with an improved run, and the command that improved it; not to be written to.

    A run that has hardly learned gains nothing that six episodes could show: everything there is counts as better.
    """
    home = tmp_path_factory.mktemp("improved") / "home"
    shutil.copytree(valid, home)
    with pytest.MonkeyPatch.context() as patch:
        everything_is_chosen(patch)
        done = lewm_here(home, "improve", RUN, *ON, "--offsets", "25,15", "--episodes", 8)
    assert done.code == 0, done.err
    return home, done


@pytest.fixture
def better(improved: tuple[Path, Done], tmp_path: Path) -> Home:
    """A copy of that home, to be written to."""
    shutil.copytree(improved[0], tmp_path / "better")
    return Home.locate(tmp_path / "better")


def result_of(home: Path) -> ImproveResult:
    (path,) = (home / "tworoom" / "lewm.run" / "results").glob("improve-*.json")
    return ImproveResult.model_validate_json(path.read_text(encoding="utf-8"))


def test_gain_is_measured_on_episodes_that_were_not_chosen_by(improved: tuple[Path, Done]):
    home, _ = improved
    result = result_of(home)
    run = load_run(Home.locate(home), RUN)
    validation, test = result.validation.episodes, result.test.episodes
    assert not validation & test
    assert (len(validation), len(test)) == (6, 6)
    assert result.dataset.name == VALID
    assert (result.held_out, result.weights_sha256) == (True, run.sha256)
    assert [pairs.offset for pairs in result.test.pairs] == [15, 25]
    assert [pairs.budget for pairs in result.test.pairs] == [30, 50]
    assert [one.now.trials for one in result.gains] == [8, 8]
    assert result.chosen in [one.choice for one in result.validation.tried]
    assert result.chosen.changed(iterations=2) == result.validation.plain.choice.changed(
        objective="reach", prior=True, anchors=DEMOS
    )
    assert result.test.tried[0].choice == result.validation.plain.choice
    assert result.test.tried[1].choice == result.chosen
    assert result.test.tried[1].prior_sha256 == weights_digest(run.files.head("prior"))
    assert result.test.tried[1].head_sha256 == weights_digest(run.files.head("reach"))
    for place, gain in enumerate(result.gains):
        assert gain.gain.rate == pytest.approx(gain.now.rate - gain.before.rate)
        assert gain.now.successes == sum(result.test.tried[1].reached[place])
        assert [one.name for one in gain.controls] == [*result.chosen.controls, "the prior alone", "random actions"]
    assert not left_behind(home)


def test_table_says_what_was_chosen_and_what_it_takes(improved: tuple[Path, Done]):
    home, done = improved
    said, result = flat(done.out), result_of(home)
    assert f"Planner of {RUN} from now on: {result.chosen}. A plan takes" in said
    alone = result.validation.tried[1]
    assert alone.choice is None
    assert re.search(rf"the prior alone {100 * alone.rates[0]:.0f}%", said)
    for words in ("ms per plan", "gain, points", "random actions", "the prior alone", *result.chosen.controls):
        assert words in said
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN}"


def test_planner_is_shown_with_the_run(better: Home):
    done = lewm_here(better.write, "show", RUN)
    assert "planners chosen by lewm improve" in done.out
    result = result_of(better.write)
    for gain in result.gains:
        assert f"{gain.offset} ahead: {gain.now.rate:.1%}" in done.out
    assert lewm_here(better.write, "show", RUN, "--json").json()["improved"] == [result.model_dump(mode="json")]
    reported = lewm_here(better.write, "report", RUN)
    for gain in result.gains:
        assert f"success of the improved {gain.now} 8 pairs; before {gain.before}" in flat(reported.out)
    page = (better.write / f"{RUN}.run" / "report.html").read_text(encoding="utf-8")
    assert f"{result.chosen}. On other episodes" in flat(page)


def test_chosen_planner_is_used_from_then_on_unless_plain(better: Home):
    words = ("eval", RUN, "--episodes", 2, "--workers", 1, "--record", 0, "--json", "--set", "offset=10")
    chosen = result_of(better.write).chosen
    used = lewm_here(better.write, *words)
    assert used.code == 0, used.err
    assert f"planner: {chosen}, {SAID}" in used.err
    planner = EvalResult.model_validate(used.json()).protocol.planning
    assert PlannerChoice.of(planner) == chosen
    plain = lewm_here(better.write, *words, "--plain")
    assert SAID not in plain.err
    assert PlannerChoice.of(EvalResult.model_validate(plain.json()).protocol.planning).parts == "last"


def test_rate_on_episodes_that_were_chosen_by_is_said_to_be_too_good(better: Home):
    words = ("eval", RUN, "--episodes", 12, "--workers", 1, "--record", 0, "--set", "offset=10", "--dataset", VALID)
    note = "note: lewm improve chose the planner by 6 episodes of these"
    assert note in lewm_here(better.write, *words).err
    assert note not in lewm_here(better.write, *words, "--plain").err


def test_episodes_among_the_anchors_are_refused_with_the_way_out(better: Home):
    done = lewm_here(better.write, "eval", RUN, "--protocol", "release", "--episodes", 4)
    assert "where lewm improve chose them, --plain plans without" in done.sentence()


def test_settings_that_are_typed_lie_over_the_choice(better: Home):
    done = lewm_here(
        *(better.write, "eval", RUN, "--episodes", 2, "--workers", 1, "--record", 0, "--json", "--set", "offset=10"),
        *("--set", "planner.iterations=3", "--set", "planner.prior=false"),
    )
    planner = EvalResult.model_validate(done.json()).protocol.planning
    chosen = result_of(better.write).chosen
    assert PlannerChoice.of(planner) == chosen.changed(iterations=3, prior=False)


def test_plan_between_images_is_by_the_choice(better: Home, images: tuple[Path, Path]):
    start, goal = images
    words = ("plan", RUN, "--start", start, "--goal", goal, "--json")
    chosen = result_of(better.write).chosen
    done = lewm_here(better.write, *words)
    assert SAID in done.err
    assert PlannerChoice.of(PlannerConfig(**done.json()["planner"])) == chosen
    plain = lewm_here(better.write, *words, "--plain")
    assert SAID not in plain.err
    assert plain.json()["planner"]["prior"] is False


def test_goal_image_is_driven_to_by_the_choice(better: Home, images: tuple[Path, Path]):
    words = ("eval", RUN, "--goal-image", images[1], "--set", "budget=5", "--json")
    done = lewm_here(better.write, *words)
    assert SAID in done.err
    assert done.json()["protocol"]["planner"]["prior"] == result_of(better.write).chosen.prior
    assert SAID not in lewm_here(better.write, *words, "--plain").err


def test_policy_plans_by_the_choice(
    better: Home, images: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
):
    monkeypatch.setenv("STABLEWM_HOME", str(better.write))
    chosen, goal = result_of(better.write).chosen, images[1]
    policy = lewm_cli.Policy(RUN, goal, on_unlike="ignore")
    assert SAID in flat(capfd.readouterr().err)
    assert PlannerChoice.of(policy.planner) == chosen
    assert np.isfinite(policy.act(imageio.imread(images[0]))).all()
    assert PlannerChoice.of(lewm_cli.Policy(RUN, goal, on_unlike="ignore", plain=True).planner).parts == "last"
    own = PlannerConfig(iterations=3)
    assert lewm_cli.Policy(RUN, goal, on_unlike="ignore", planner=own).planner == own


def test_training_and_weights_that_have_changed_know_nothing_of_it(better: Home, scramble: Callable):
    run = load_run(better, RUN)
    assert improved_planner(better, run, silent, plain=False)
    scramble(run.model)
    save_run(run.files, run.model, run.card)
    said = list[str]()
    assert improved_planner(better, load_run(better, RUN), said.append, plain=False) == ()
    (note,) = said
    assert note.startswith(f"note: what lewm improve chose for {RUN} is of other weights")
    assert note.endswith(f"; choose anew: lewm improve {RUN}")


def test_newest_result_counts(better: Home):
    run, result = load_run(better, RUN), result_of(better.write)
    keep_result(better, run, "improve", result.model_copy(update={"chosen": None, "test": None, "gains": ()}))
    assert improved_planner(better, run, silent, plain=False) == ()
    pairs = [Pair(episode, 0, 10, np.zeros(2), np.zeros(2)) for episode in result.validation.episodes]
    assert count_chosen_by(better, run, pairs, better.find_dataset(VALID)) == 0


def test_head_that_was_fitted_anew_is_told_apart(better: Home):
    run, said = load_run(better, RUN), list[str]()
    assert improved_planner(better, run, said.append, plain=False)
    assert len(said) == 1
    assert lewm_here(better.write, "fit", RUN, "--kind", "prior", "--steps", 2).code == 0
    assert improved_planner(better, run, said.append, plain=False)
    assert said[2:] == [f"note: the prior head was fitted anew since then; choose anew: lewm improve {RUN}"]


def test_head_that_is_gone_is_reported_with_the_way_out(better: Home):
    load_run(better, RUN).files.head("prior").unlink()
    done = lewm_here(better.write, "eval", RUN, "--episodes", 2, "--set", "offset=10")
    assert f"{RUN} has no prior head; fit one to its latents: lewm fit {RUN} --kind prior" in done.sentence()


@pytest.mark.parametrize("solver", ["recorded", "recorded-random"])
def test_ranking_of_recorded_sequences_can_be_the_choice(better: Home, images: tuple[Path, Path], solver: str):
    result = result_of(better.write)
    (tried, *_) = (one for one in result.validation.tried if one.choice and one.choice.solver == "recorded")
    chosen = tried.choice.changed(solver=solver)
    ranked = result.validation.model_copy(update={"tried": (tried.model_copy(update={"choice": chosen}),)})
    run = load_run(better, RUN)
    keep_result(better, run, "improve", result.model_copy(update={"chosen": chosen, "validation": ranked}))
    words = ("eval", RUN, "--dataset", VALID, "--offsets", 40, "--episodes", 4, "--workers", 1, "--record", 0, "--json")
    used = lewm_here(better.write, *words)
    assert used.code == 0, used.err
    assert f"planner: {solver}, last, anchors of {DEMOS}, receding 5, 1 iteration, {SAID}" in used.err
    evaluated = EvalResult.model_validate(used.json())
    assert PlannerChoice.of(evaluated.protocol.planning) == chosen
    assert evaluated.iterations_per_plan == 1
    plain = EvalResult.model_validate(lewm_here(better.write, *words, "--plain").json())
    assert plain.protocol.planning.solver == "cem"
    planned = lewm_here(better.write, "plan", RUN, "--start", images[0], "--goal", images[1], "--json")
    assert planned.code == 0, planned.err
    assert planned.json()["planner"]["solver"] == solver
    policy = lewm_cli.Policy(run, images[1], on_unlike="ignore")
    assert PlannerChoice.of(policy.planner) == chosen
    assert np.isfinite(policy.act(imageio.imread(images[0]))).all()


def test_tries_outlast_an_interruption(improved: tuple[Path, Done], quick: None, tmp_path: Path):
    home, words = tmp_path / "home", ("improve", RUN, *ON, "--offsets", "25,15", "--episodes", 8)
    shutil.copytree(improved[0], home)
    whole, results = result_of(home), home / "tworoom" / "lewm.run" / "results"
    shutil.rmtree(results)
    acted = 0

    def interrupted(*arguments: object) -> int:
        nonlocal acted
        acted += 1
        if acted == 6:  # the second distance of the third try
            raise KeyboardInterrupt
        return count_plans(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        everything_is_chosen(patch)
        patch.setattr(improve, "count_plans", interrupted)
        assert lewm_here(home, *words).sentence(130) == f"lewm: {improve.STOPPED}"
        assert len(list(results.glob("*.journal"))) == 6
        patch.setattr(improve, "count_plans", count_plans)
        done = lewm_here(home, *words)
    assert done.code == 0, done.err
    assert done.err.count("as an interrupted call found") == 3
    assert "at most" in done.err
    again = result_of(home)
    for mine, before in ((again.validation, whole.validation), (again.test, whole.test)):
        assert [(one.choice, one.reached) for one in mine.tried] == [(one.choice, one.reached) for one in before.tried]
    assert not left_behind(home)
    assert not list(results.glob("*.journal*"))


def test_complete_heads_outlast_an_interruption(valid: Path, quick: None, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(valid, home)
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(*arguments: object, **more: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(improve, "simulator_pool", interrupted)
        first, again = (lewm_here(home, "improve", RUN, *ON, "--offsets", 10) for _ in range(2))
    for stopped in (first, again):
        assert stopped.sentence(130) == f"lewm: {improve.STOPPED}"
    for kind in ("reach", "prior"):
        assert f"fitting: {kind}" in first.err
        assert f"fitted already: {kind}" in again.err
    assert "anchors" not in again.err.removesuffix(again.err.splitlines()[-1] + "\n")
    assert not list((home / "tworoom" / "lewm.run").glob("results/improve-*"))


def test_nothing_is_used_where_nothing_is_better(better: Home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "best", lambda self: None)
        patch.setattr(improve, "_changes", lambda choice, recording: [])
        done = lewm_here(better.write, "improve", RUN, *ON, "--offsets", 10)
    assert done.code == 0, done.err
    assert "No planner is shown better than the protocol's" in flat(done.out)
    run = load_run(better, RUN)
    result = stored_results(better, run, ["improve"]).newest(ImproveResult)
    assert (result.chosen, result.test, result.gains) == (None, None, ())
    assert improved_planner(better, run, silent, plain=False) == ()


# Refusals


def refused(home: Path, *words: object) -> str:
    """The sentence by which `lewm improve` refuses, before anything is fitted."""
    done = lewm_here(home, "improve", RUN, *words)
    assert "fitting" not in done.err
    assert "encoding" not in done.err
    return done.sentence()


def test_goals_beyond_the_episodes_are_refused_with_those_that_fit(valid: Path):
    sentence = refused(valid, *ON, "--offsets", "10,20,500")
    assert f"goals lie up to 500 steps ahead, and of the 6 episodes of {VALID} to choose by only 0" in sentence
    assert "take nearer goals: --offsets 10,20, or name longer episodes with --validation" in sentence
    farthest = int(refused(valid, *ON, "--offsets", "500").partition("--offsets ")[2].partition(",")[0])
    assert 20 < farthest < 101


def test_recordings_that_are_not_there_are_named(valid: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(valid, home)
    (home / f"{DEMOS}.h5").unlink()
    trained = f"{RUN} was trained on {DEMOS}, and there is no dataset '{DEMOS}'"
    for option in ("--validation", "--dataset"):
        sentence = refused(home, option, VALID)
        assert trained in sentence
        assert sentence.endswith("; name others with --validation and --dataset")
    done = lewm_here(home, "improve", RUN, *ON, "--offsets", 10)
    assert f"plans of {RUN} would aim at frames of {DEMOS}, and there is no dataset '{DEMOS}'" in done.sentence()


def test_too_few_episodes_are_refused(trained: Path):
    sentence = refused(trained)  # it has held out a single one
    assert "has 1 episode to choose by, and it takes 5 or more; record more and name them with --validation" in sentence


def test_run_without_held_out_episodes_is_refused(trained: Path, tmp_path: Path):
    home = Home.locate(tmp_path / "home")
    shutil.copytree(trained, home.write)
    run = load_run(home, RUN)
    provenance = run.card.provenance
    data = provenance.train.data.model_copy(update={"split": "clip"})
    every = tuple(home.find_dataset(DEMOS).episode_digests)
    train = provenance.train.model_copy(update={"data": data})
    provenance = provenance.model_copy(update={"train": train, "trained_on": every, "held_out": ()})
    save_run(run.files, run.model, run.card.model_copy(update={"provenance": provenance}))
    sentence = refused(home.write)
    assert f"{RUN} was trained on clips of all episodes of {DEMOS}, so none is left to choose by; record" in sentence
    assert "lewm collect tworoom" in sentence
    assert "--validation tworoom/others --dataset tworoom/others" in sentence


def test_episodes_that_may_have_been_fitted_to_are_refused(valid: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(valid, home)
    (home / f"{RUN}.safetensors").unlink()
    shutil.rmtree(home / f"{RUN}.run")
    on = ("--validation", DEMOS, "--dataset", VALID, "--offsets", 10, "--stats-from", DEMOS)
    sentence = refused(home, *on)
    assert "12 of the 12 episodes to measure on are among the anchors of tworoom/demos" in sentence
    assert sentence.endswith("; name others with --validation and --dataset")


def test_recordings_that_share_episodes_are_refused(valid: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(valid, home)
    with h5py.File(home / f"{VALID}.h5") as whole, h5py.File(home / "tworoom" / "part.h5", "w") as part:
        part.attrs.update(whole.attrs)
        rows = int(whole["ep_len"][:5].sum())
        for name, column in whole.items():
            part[name] = column[: 5 if name in ("ep_len", "ep_offset") else rows]
    sentence = refused(home, "--validation", VALID, "--dataset", "tworoom/part")
    assert f"{VALID} and tworoom/part share 5 episodes, and what was chosen by them must not" in sentence


def test_run_without_a_simulator_is_refused(pick_run: Run, home: Home):
    done = lewm_here(home.write, "improve", "robot/pick")
    assert "was trained on a recording without a simulator (generic), so no planner can be tried" in done.sentence()


def test_distances_have_to_be_numbers(valid: Path):
    done = lewm_here(valid, "improve", RUN, "--offsets", "far")
    assert "--offsets 'far' is no list of environment steps" in done.sentence(2)
