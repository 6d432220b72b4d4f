"""Named protocols, from their files through the command into the stored result."""

import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from line import by_columns

import lewm_cli.tasks
from commands import Done, flat, lewm_here
from lewm_cli.config import EvalProtocol, Layer, PlannerConfig, parse_setting
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import UsageError
from lewm_cli.evaluate import EvalResult, PairManifest, find_protocol, remarks, task_protocols
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, RunFiles, load_run, save_run
from lewm_cli.tasks import TASKS, TWOROOM, Task
from synthetic import join_recordings, write_recording

pytest_plugins = ("recordings",)

NAMES = {"heldout", "release", "paper", "website", "moderate", "strict"}
FILES = sorted(Path(lewm_cli.tasks.__file__).parent.glob("*/protocols.toml"))
RUN = "tworoom/lewm"

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)


def settings(*texts: str) -> tuple[Layer, ...]:
    return tuple(parse_setting(text) for text in texts)


# Files


def of_file(file: Path) -> dict[str, EvalProtocol]:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))["protocols"]
    return {name: EvalProtocol.build(table | {"name": name}, f"{file}") for name, table in tables.items()}


def test_the_four_tasks_of_the_paper_have_protocols():
    assert {file.parent.name for file in FILES} >= {"tworoom", "pusht", "cube", "reacher"}


@every_file
def test_every_task_has_the_same_protocols_which_say_what_they_are_for(file: Path):
    protocols = of_file(file)
    assert protocols.keys() == NAMES
    assert all(protocol.purpose for protocol in protocols.values())
    assert all((one.pairs, one.offset, one.budget, one.seed) == (50, 25, 50, 42) for one in protocols.values())


@every_file
def test_release_is_what_the_authors_ran(file: Path):
    release = of_file(file)["release"]
    assert (release.sampler, release.episodes, release.gate) == ("rows-original", "all", "simulator")
    assert release.solved_starts == "count"
    assert release.planner == PlannerConfig(
        candidates=300, elites=30, iterations=30, horizon=5, receding=5, std=1.0, result="mean"
    )


@every_file
def test_other_protocols_differ_from_the_release_in_what_they_are_named_for(file: Path):
    protocols, task = of_file(file), file.parent.name
    paper = 30 if task == "pusht" else 10
    assert protocols["paper"].planner == PlannerConfig(iterations=paper)
    assert protocols["website"].planner == PlannerConfig(receding=1, result="best")
    assert (protocols["heldout"].episodes, protocols["heldout"].sampler) == ("unseen", "episodes")
    corrected = [protocols[name] for name in ("moderate", "strict")]
    assert all(one.solved_starts == "redraw" for one in corrected)
    gates = {"tworoom": ["swept", "route"], "reacher": ["wrapped", "wrapped"]}
    assert [one.gate for one in corrected] == gates.get(task, ["simulator", "tight"])
    assert all(one.only == ("other room" if task == "tworoom" else None) for one in corrected)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_protocol_of_a_task_can_be_used_in_its_simulator(task: Task):
    assert {protocol.name for protocol in task_protocols(task)} == NAMES
    assert all(protocol.changed == () for protocol in task_protocols(task))


# Finding and changing


def test_a_changed_protocol_says_what_was_changed():
    layers = settings("planner.iterations=10", "pairs=50", "offset=30")
    protocol = find_protocol(TWOROOM, "release", layers)
    assert protocol.changed == ("offset", "planner.iterations")  # 50 pairs are what it has
    assert str(protocol) == "release 1 (changed: offset, planner.iterations)"
    assert str(find_protocol(TWOROOM, "release")) == "release 1"


@pytest.mark.parametrize(
    ("name", "texts", "said"),
    [
        ("moderat", [], "tworoom has no protocol 'moderat'; did you mean 'moderate'?"),
        ("x", [], "there is heldout, release, paper, website, moderate, strict"),
        ("release", ["name=paper"], "choose another protocol with --protocol"),
        ("release", ["version=2"], "a protocol's version is its own"),
        ("release", ["gate=tight"], "tworoom has no gate 'tight'; choose simulator or swept or route"),
        ("release", ["gate=loose"], "gate = 'loose'"),
        ("release", ["only=other room"], "sampler 'rows-original' takes pairs as they come"),
        ("release", ["solved_starts=redraw"], "choose among them with 'episodes'"),
        ("heldout", ["ofset=30"], "did you mean 'offset'?"),
    ],
)
def test_what_is_no_protocol_is_refused(name: str, texts: list[str], said: str):
    with pytest.raises(UsageError) as refused:
        find_protocol(TWOROOM, name, settings(*texts))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], []),
        (["offset=100", "budget=150"], ["10 to 40 %", "plans reach 25 steps ahead and goals lie 100 ahead"]),
        (["offset=100", "budget=150", "planner.anchors=tworoom/demos"], ["10 to 40 %"]),
        (["offset=20", "budget=10"], ["10 steps are allowed for goals 20 steps ahead"]),
        (["offset=10", "budget=20"], []),
    ],
)
def test_unusual_protocols_are_remarked_on(texts: list[str], said: list[str]):
    found = list(remarks(TWOROOM, find_protocol(TWOROOM, "heldout", settings(*texts)), 5))
    assert len(found) == len(said)
    assert all(words in remark for words, remark in zip(said, found, strict=True))


def recording(path: Path, lengths: Sequence[int]) -> Dataset:
    """Every state is the number of its row, twice."""
    rows = sum(lengths)
    steps = np.concatenate([np.arange(length) for length in lengths])
    columns = {
        "proprio": np.repeat(np.arange(rows, dtype=np.float32), 2).reshape(rows, 2),
        "step_idx": steps,
        "ep_idx": np.repeat(np.arange(len(lengths)), lengths),
    }
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns=columns), path.stem)


# The command

QUICK = ("--set", "planner.candidates=32", "--set", "planner.elites=8", "--set", "planner.iterations=3", "--record", 0)


@pytest.fixture(scope="module")
def world(trained: Path, other_demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run and a recording that it was not trained on, `tworoom/test`."""
    home = tmp_path_factory.mktemp("protocols") / "home"
    shutil.copytree(trained, home)
    shutil.copy(other_demos / "tworoom" / "demos.h5", home / "tworoom" / "test.h5")
    return home


def measured(world: Path, *arguments: object) -> tuple[Done, EvalResult]:
    done = lewm_here(world, "eval", RUN, *QUICK, "--json", *arguments)
    assert done.code == 0, done.err
    return done, EvalResult.model_validate(done.json())


@pytest.mark.slow
def test_default_keeps_to_held_out_episodes_and_release_does_not(world: Path):
    done, result = measured(world, "--episodes", 1, "--set", "budget=5")
    assert result.protocol.name == "heldout"
    assert result.held_out
    done, result = measured(world, "--protocol", "release", "--episodes", 40, "--set", "budget=5")
    assert (result.protocol.name, result.protocol.version) == ("release", 1)
    assert set(result.protocol.changed) >= {"pairs", "budget", "planner.iterations"}
    assert not result.held_out
    assert "whether or not the run was trained on them" in done.err
    dataset = open_dataset(world / "tworoom" / "demos.h5", "tworoom/demos")
    assert [one.start_row for one in result.episodes] == by_columns(dataset, 25, 40, 42, original=True)


@pytest.mark.slow
def test_manifest_is_written_once_and_read_from_then_on(world: Path, tmp_path: Path):
    path = tmp_path / "pairs.json"
    drawn = ("--dataset", "tworoom/test", "--set", "budget=5", "--manifest", path)
    done, first = measured(world, *drawn, "--episodes", 4)
    assert f"pairs: 4, written to {path}" in done.err
    content = path.read_bytes()
    manifest = PairManifest.model_validate_json(content)
    assert manifest.dataset == first.dataset
    done, again = measured(world, "--manifest", path, "--seed", 9, "--set", "budget=5")  # the recording is known
    assert path.read_bytes() == content
    rows = [[(one.episode, one.start_row, one.goal_row) for one in result.episodes] for result in (first, again)]
    assert rows[0] == rows[1] == [(one.episode, one.start_row, one.goal_row) for one in manifest.pairs]
    assert first.manifest == again.manifest is not None
    assert again.protocol.pairs == 4
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--episodes", 3).sentence()
    assert "holds 4 pairs, and 3 were asked for" in refused
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--dataset", "tworoom/demos").sentence()
    assert "of another recording (tworoom/test" in refused
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path, "--offsets", "25,50").sentence(2)
    assert "leave --offsets out" in refused


@pytest.mark.slow
def test_manifest_of_episodes_trained_on_is_refused_where_held_out_ones_are_wanted(world: Path, tmp_path: Path):
    path = tmp_path / "pairs.json"
    measured(world, "--protocol", "release", "--episodes", 30, "--set", "budget=5", "--manifest", path)
    refused = lewm_here(world, "eval", RUN, *QUICK, "--manifest", path).sentence()
    assert "are from episodes that tworoom/lewm was trained on; allow that with --protocol release" in refused


@pytest.mark.slow
def test_every_offset_is_one_result_over_all_seeds(world: Path):
    before = set((world / "tworoom" / "lewm.run" / "results").iterdir())
    arguments = ("--dataset", "tworoom/test", "--episodes", 3, "--set", "budget=10", "--set", "offset=20")
    done = lewm_here(world, "eval", RUN, *QUICK, "--json", *arguments, "--seeds", 2, "--offsets", "20,10")
    assert done.code == 0, done.err
    results = [EvalResult.model_validate(one) for one in done.json()]
    assert [(one.protocol.offset, one.protocol.budget) for one in results] == [(20, 10), (10, 5)]
    files = set((world / "tworoom" / "lewm.run" / "results").iterdir()) - before
    newest_first = sorted((file for file in files if file.name.startswith("eval-")), reverse=True)
    assert [EvalResult.model_validate_json(file.read_text(encoding="utf-8")) for file in newest_first] == results
    for result in results:
        assert list(result.success_by_seed) == [42, 43]
        by_seed = [[one for one in result.episodes if one.seed == seed] for seed in (42, 43)]
        rows = [[(one.start_row, one.goal_row) for one in episodes] for episodes in by_seed]
        assert rows[0] == rows[1]
        rates = [np.mean([one.success for one in episodes]) for episodes in by_seed]
        assert list(result.success_by_seed.values()) == pytest.approx(rates)
        assert (result.overall.pairs, result.overall.success.trials) == (3, 6)
        above = [
            rate - np.mean([one.random_success for one in each]) for rate, each in zip(rates, by_seed, strict=True)
        ]
        assert np.isclose(result.above_random.rate, np.mean(above))
        assert result.above_random.p is None
    near = ("--set", "offset=10", "--set", "budget=5", "--set", "planning_seed=43")
    _, alone = measured(world, *arguments[:4], *near)
    assert alone.episodes == tuple(one for one in results[1].episodes if one.seed == 43)
    assert alone.overall.success.rate == results[1].success_by_seed[43]
    shown = lewm_here(world, "eval", RUN, *QUICK, *arguments, "--offsets", "20,10")
    assert "20 (of 10)" in flat(shown.out)
    assert "10 (of 5)" in flat(shown.out)
    assert "20, 10 steps ahead: not shown to beat random." in flat(shown.out)  # three pairs show nothing
    assert lewm_here(world, "verify", RUN).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--protocol", "stric"], 2, "did you mean 'strict'?"),
        (["--offsets", "25,x"], 2, "--offsets '25,x' is no list of environment steps like 25,50,75,100"),
        (["--offsets", "0"], 2, "is no list of environment steps"),
        (["--protocol", "moderate", "--episodes", 900], 1, "900 pairs"),
        (["--protocol", "release", "--episodes", 90000], 1, "90000 pairs were asked for"),
        (["--manifest", "/"], 1, "the manifest / cannot be read (Is a directory)"),
    ],
)
def test_what_cannot_be_measured_is_refused(world: Path, arguments: list, code: int, said: str):
    assert said in lewm_here(world, "eval", RUN, *QUICK, *arguments).sentence(code)


@pytest.mark.slow
def test_recording_without_states_is_refused(world: Path):
    test = open_dataset(world / "tworoom" / "test.h5", "test")
    bare = replace(test, columns=tuple(one for one in test.columns if one.name != "proprio"))
    join_recordings(world / "tworoom" / "bare.h5", [(bare, range(3))], task="tworoom")
    refused = lewm_here(world, "eval", RUN, *QUICK, "--dataset", "tworoom/bare", "--episodes", 2).sentence()
    assert "tworoom/bare has no column 'proprio', from which tworoom takes starts and goals" in refused


@pytest.mark.slow
def test_run_with_another_action_width_is_refused_and_another_history_is_not(
    world: Path, small_card: Callable[[JEPA], RunCard]
):
    for name, model in {
        "wide": JEPA(small_model_config(world), block_dim=15),
        "short": JEPA(small_model_config(world, history=1), block_dim=10),
    }.items():
        save_run(RunFiles(world / "tworoom" / name), model.eval(), small_card(model))
    image = world / "goal.png"
    imageio.imwrite(image, np.zeros((64, 64, 3), np.uint8))
    for goals in (("--dataset", "tworoom/test"), ("--goal-image", image)):
        refused = lewm_here(world, "eval", "tworoom/wide", "--set", "planner.iterations=1", *goals).sentence()
        assert "tworoom/wide acts with 3 action dimensions, and the simulator of tworoom takes 2" in refused
    done = lewm_here(
        world, "eval", "tworoom/short", *QUICK, "--dataset", "tworoom/test", "--episodes", 2, "--set", "budget=5"
    )
    assert done.code == 0, done.err


def small_model_config(world: Path, **changes: int):
    return load_run(Home(world, (world,)), RUN).model.config.model_copy(update=changes)


@pytest.mark.slow
def test_unusual_settings_are_remarked_on_by_the_command(world: Path):
    unusual = ("--set", "budget=5", "--set", "offset=30")
    done = lewm_here(world, "eval", RUN, *QUICK, "--dataset", "tworoom/test", "--episodes", 1, *unusual)
    assert done.code == 0, done.err
    assert "unusual: 5 steps are allowed for goals 30 steps ahead" in done.err
    assert "unusual: plans reach 25 steps ahead and goals lie 30 ahead" in done.err


def test_protocols_are_listed(home: Home):
    listed = flat(lewm_here(home.write, "presets").out)
    assert all(f"tworoom/{name}" in listed for name in NAMES)
