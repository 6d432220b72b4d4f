"""`lewm fit`: the command, the file of a head, and plans that are judged by it."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from commands import flat, left_behind, lewm, lewm_here
from faults import kill_points, killed_at_byte, killed_at_step
from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control import Policy, find_objective
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import EvalResult, Journaled
from lewm_cli.files import locked
from lewm_cli.heads import (
    ProbeFit,
    ReachFit,
    find_head,
    read_head,
    save_head,
)
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import (
    Home,
    Run,
    RunFiles,
    load_run,
    save_run,
    weights_digest,
)
from synthetic import write_recording

pytest_plugins = ("untrained", "recordings")

RUN = "tworoom/lewm"
LENGTHS = (60, 45, 50, 70, 55, 40, 65, 50, 48, 62, 58, 52, 44, 66)
HELD_OUT = (2, 5, 7, 10, 12)
QUICK = ("--set", "planner.candidates=16", "--set", "planner.elites=4", "--set", "planner.iterations=2")


@pytest.fixture(autouse=True)
def short_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and bootstraps as large as these small problems need."""
    monkeypatch.setattr("lewm_cli.heads.reach.BATCH", 128)
    monkeypatch.setattr("lewm_cli.heads.reach.TESTED_PAIRS", 600)
    monkeypatch.setattr("lewm_cli.heads.reach_score.RESAMPLES", 100)


# The command


@dataclass(frozen=True)
class World:
    """A home with a run that was trained on most episodes of a recording, and held out five."""

    home: Home

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.home.run_stem(RUN))

    @property
    def run(self) -> Run:
        return load_run(self.home, RUN)

    def lewm(self, *arguments: object):
        return lewm_here(self.home.write, *arguments)

    def fit(self, *arguments: object):
        done = self.lewm("fit", RUN, "--steps", 10, *arguments)
        assert done.code == 0, done.err
        return done


def record(path: Path, lengths: tuple[int, ...] = LENGTHS, noise: int = 0, **attributes: str) -> Dataset:
    """A recording of noise in which something moves."""
    places = np.random.default_rng(noise).uniform(20, 200, (sum(lengths), 2)).astype(np.float32)
    columns = {"proprio": places}
    write_recording(path, lengths, dims=2, noise=noise, columns=columns, **({"task": "tworoom"} | attributes))
    return open_dataset(path, path.stem)


def trained_on(run: RunCard, dataset: Dataset, name: str, held_out: tuple[int, ...] = HELD_OUT) -> RunCard:
    digests = tuple(digest for number, digest in enumerate(dataset.episode_digests) if number not in held_out)
    identity = dataset.identity.model_copy(update={"name": name})
    change = {"dataset": identity, "held_out": held_out, "trained_on": digests}
    return run.model_copy(update={"provenance": run.provenance.model_copy(update=change)})


@pytest.fixture
def world(home: Home, seeing_model: JEPA, small_card: Callable[[JEPA], RunCard]) -> World:
    dataset = record(home.dataset_path("tworoom/demo"))
    save_run(RunFiles(home.run_stem(RUN)), seeing_model, trained_on(small_card(seeing_model), dataset, "tworoom/demo"))
    return World(home)


def test_head_is_fitted_to_what_the_run_was_trained_on_and_tested_on_what_it_held_out(world: World):
    done = world.fit("--json")
    fit = ReachFit.model_validate(done.json())
    assert (fit.run, fit.weights_sha256, fit.held_out) == (RUN, weights_digest(world.files.weights), True)
    assert (fit.fitted_episodes, fit.tested_episodes) == (9, 5)
    assert fit.tested_frames == sum(LENGTHS[number] for number in HELD_OUT)
    assert fit.fitted_frames == sum(LENGTHS) - fit.tested_frames
    path = world.files.head("reach")
    assert done.err.splitlines()[-2:] == [
        f"stored: {path}",
        f"next: lewm eval {RUN} --set planner.objective=reach",
    ]
    stored = read_head(path, "reach", "again")
    assert stored.fit == fit
    assert stored.sha256 == weights_digest(path)
    assert not left_behind(world.home.write)


@pytest.mark.slow
def test_tables_put_the_references_beside_the_head(world: World):
    done = world.fit()
    for words in (
        "reachability head",
        "imagined ones too",
        "shuffled labels",
        "imagined",
        "latent distance",
        "95 % intervals",
    ):
        assert words in flat(done.out)
    assert max(len(line) for line in done.out.splitlines()) <= 80
    done = world.fit("--kind", "probe")
    assert "agent x, px" in flat(done.out)
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN} --set planner.objective=probe"


@pytest.mark.slow
def test_same_seed_gives_the_same_file_content_and_another_one_another(world: World):
    contents = []
    for seed in (3, 3, 4):
        world.fit("--seed", seed)
        contents.append(load_file(world.files.head("reach")))
    first, second, other = contents
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.net.0.weight"], other["head.net.0.weight"])


@pytest.mark.slow
def test_run_that_held_out_too_little_is_tested_on_episodes_set_apart(world: World, small_card: Callable):
    run = world.run
    dataset = world.home.find_dataset("tworoom/demo")
    save_run(world.files, run.model, trained_on(small_card(run.model), dataset, "tworoom/demo", held_out=(2,)))
    fit = ReachFit.model_validate(world.fit("--json").json())
    assert (fit.held_out, fit.fitted_episodes, fit.tested_episodes) == (False, 8, 5)


@pytest.mark.parametrize("objective", ["probe", "reach", "reach-imagined", "reach-shuffled"])
def test_planning_without_the_head_says_what_to_type(world: World, images: tuple[Path, Path], objective: str):
    kind = objective.partition("-")[0]
    command = f"lewm fit {RUN}" + (" --kind probe" if kind == "probe" else "")
    setting = ("--set", f"planner.objective={objective}")
    for asked in (("eval", RUN, "--episodes", 5), ("plan", RUN, "--start", images[0], "--goal", images[1])):
        said = world.lewm(*asked, *setting, *QUICK).sentence()
        assert f"{RUN} has no {kind} head" in said
        assert said.endswith(command)
    with pytest.raises(MissingError, match="has no"):
        Policy(world.run, images[1], planner=PlannerConfig(objective=objective))


def test_unknown_kind_is_refused(world: World):
    said = world.lewm("fit", RUN, "--kind", "critic").sentence(2)
    assert "there is no kind of head 'critic'; --kind takes reach or prior or probe or decoder" in said


def test_unknown_objective_is_refused(world: World, images: tuple[Path, Path]):
    asked = ("plan", RUN, "--start", images[0], "--goal", images[1], "--set", "planner.objective=fastest")
    assert "'last', 'path', 'probe', 'reach', 'reach-imagined' or 'reach-shuffled'" in world.lewm(*asked).sentence(2)


@pytest.mark.slow
def test_head_of_other_weights_is_refused_listed_and_remarked_on(
    world: World, images: tuple[Path, Path], scramble: Callable, small_card: Callable
):
    world.fit()
    run = world.run
    assert find_head(run, "reach").fit.weights_sha256 == run.sha256
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(world.files, run.model, run.card)
    asked = ("plan", RUN, "--start", images[0], "--goal", images[1], "--set", "planner.objective=reach", *QUICK)
    said = world.lewm(*asked).sentence()
    assert f"the reach head of {RUN} was fitted to other weights than it has now" in said
    assert said.endswith(f"lewm fit {RUN}")
    assert "fitted to other weights" in flat(world.lewm("show", RUN).out)
    checked = world.lewm("verify", RUN, "--json").json()["checked"][0]
    assert checked["heads"] == 0
    assert any("reach.safetensors is of earlier weights" in remark for remark in checked["remarks"])
    world.fit()
    assert world.lewm(*asked).code == 0


@pytest.mark.slow
def test_objective_decides_what_is_planned_and_what_is_said(world: World, images: tuple[Path, Path]):
    world.fit("--steps", 30)
    world.fit("--steps", 30, "--kind", "probe")
    seen = {}
    for objective in ("last", "path", "probe", "reach", "reach-imagined", "reach-shuffled"):
        setting = ("--set", f"planner.objective={objective}")
        done = world.lewm("plan", RUN, "--start", images[0], "--goal", images[1], *setting, *QUICK, "--json")
        assert done.code == 0, done.err
        seen[objective] = done.json()
        assert seen[objective]["planner"]["objective"] == objective
    costs = [plan["standing_still"] for plan in seen.values()]
    assert costs[0] == costs[1]  # standing still is the whole path
    assert len(set(costs[1:])) == 5
    assert len({str(plan["actions"]) for plan in seen.values()}) == 6
    # What a policy hands out one by one is the same plan.
    policy = Policy(world.run, images[1], planner=PlannerConfig(**seen["reach"]["planner"]), seed=42)
    frame = imageio.imread(images[0])
    handed = [policy.act(frame) for _ in seen["reach"]["actions"]]
    assert np.stack(handed) == pytest.approx(np.array(seen["reach"]["actions"]), rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_journal_of_an_evaluation_with_another_head_is_another(world: World):
    dataset = world.home.find_dataset("tworoom/demo")
    protocol = EvalProtocol(planner=PlannerConfig(objective="reach"))
    about = []
    for seed in (0, 0, 1):
        world.fit("--seed", seed, "-q")
        about.append(Journaled.of(world.run, dataset, [], protocol).head_sha256)
    assert about[0] is not None
    assert about[2] != about[0]
    assert Journaled.of(world.run, dataset, [], EvalProtocol()).head_sha256 is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "tworoom/other"], "was trained on no episode of tworoom/other"),
        (["--dataset", "wide"], "wide has 3 action dimensions, and tworoom/lewm was trained with 2"),
        (["--dataset", "nothing"], "there is no dataset 'nothing'"),
        (["--dataset", "cube"], "cube is a recording of cube, and tworoom/lewm was trained on tworoom"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(world: World, arguments: list[str], said: str):
    record(world.home.dataset_path("tworoom/other"), noise=1)
    write_recording(world.home.dataset_path("wide"), dims=3, task="tworoom")
    record(world.home.dataset_path("cube"), task="cube")
    assert said in world.lewm("fit", RUN, *arguments).sentence()
    assert not world.files.head("reach").exists()


def test_too_few_episodes_are_refused(world: World, small_card: Callable):
    dataset = record(world.home.dataset_path("tworoom/few"), LENGTHS[:9], noise=2)
    card = trained_on(small_card(world.run.model), dataset, "tworoom/few", held_out=(0,))
    save_run(world.files, world.run.model, card)
    assert "tworoom/few has 9 episodes, too few to fit a head to some" in world.lewm("fit", RUN).sentence()


def test_task_without_positions_has_no_probe(world: World):
    run = world.run
    inputs = run.card.inputs.model_copy(update={"task": "generic"})
    save_run(world.files, run.model, run.card.model_copy(update={"inputs": inputs}))
    record(world.home.dataset_path("tworoom/demo"), task="generic")
    said = world.lewm("fit", RUN, "--kind", "probe").sentence()
    assert "the task generic names no position to read" in said


# The file


@pytest.mark.slow
def test_run_that_is_being_written_is_left_alone(world: World):
    with locked(world.files.weights, "never"):
        said = world.lewm("fit", RUN, "--steps", 1).sentence()
    assert f"another process is writing '{RUN}'" in said
    assert not world.files.head("reach").exists()


@pytest.mark.slow
def test_head_of_weights_that_changed_meanwhile_is_not_kept(world: World):
    world.fit()
    before, run = world.files.head("reach").read_bytes(), world.run
    stored = find_head(run, "reach")
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(world.files, run.model, run.card)
    with pytest.raises(LewmError, match="have changed while its head was fitted"):
        save_head(run, stored.networks, stored.fit)
    world.files.weights.unlink()
    with pytest.raises(LewmError, match="have changed while its head was fitted"):
        save_head(run, stored.networks, stored.fit)
    assert world.files.head("reach").read_bytes() == before


@pytest.mark.slow
def test_head_of_a_run_on_shared_storage_lies_where_notes_are_written(world: World, tmp_path: Path):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    noting = replace(run, notes=RunFiles(tmp_path / "mine" / "lewm"))
    path = save_head(noting, stored.networks, stored.fit)
    assert path == tmp_path / "mine" / "lewm.run" / "reach.safetensors"
    assert find_head(noting, "reach").path == path
    path.unlink()
    assert find_head(noting, "reach").path == world.files.head("reach")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_killed_in_the_middle_of_its_bytes_the_old_head_is_there_or_none(world: World, share: float):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    path, content = stored.path, stored.path.read_bytes()
    cut = int(share * len(content))
    for old in (content, None):
        if old is None:
            path.unlink()
        assert killed_at_byte(cut, lambda: save_head(run, stored.networks, stored.fit)) != 0
        assert (path.read_bytes() if path.exists() else None) == old
    save_head(run, stored.networks, stored.fit)
    assert find_head(run, "reach").fit == stored.fit
    assert not left_behind(world.home.write)


@pytest.mark.slow
def test_killed_at_any_step_the_head_is_the_old_one_or_the_new_one(world: World):
    world.fit()
    run = world.run
    stored = find_head(run, "reach")
    other = stored.fit.model_copy(update={"seed": 99})

    def write() -> None:
        save_head(run, stored.networks, other)

    points = kill_points(stored.path, write)
    seen = set()
    for step, calls in points[:: max(1, len(points) // 5)]:
        save_head(run, stored.networks, stored.fit)
        killed_at_step(step, calls, stored.path, write)
        seen.add(find_head(run, "reach").fit.seed)
    assert seen <= {0, 99}
    assert 0 in seen
    save_head(run, stored.networks, stored.fit)
    assert not left_behind(world.home.write)


def _write_as_earlier(path: Path) -> None:
    """Takes fields out of the header, as a version that did not know them yet wrote it."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["lewm"])
    kept = {key: value for key, value in header.items() if key not in ("time", "seconds", "held_out")}
    save_file(load_file(path), path, metadata={"lewm": json.dumps(kept)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "holds no reach head that can be read"),
        (lambda path: path.write_bytes(b"nothing"), "holds no reach head that can be read"),
        (lambda path: path.write_bytes(b""), "holds no reach head that can be read"),
        (lambda path: save_file(load_file(path), path), "holds no reach head that can be read"),
        (
            lambda path: _change(path, lambda state: state.pop("head.net.0.bias")),
            r"holds no reach head that can be read by this version \(its tensors are others\)",
        ),
        (_write_as_earlier, r"holds no reach head that can be read by this version \(time: field required\)"),
        (lambda path: _change(path, lambda state: state["head.net.0.bias"].fill_(torch.nan)), "not finite"),
    ],
)
def test_damaged_head_is_refused_and_found(world: World, spoil: Callable[[Path], object], said: str):
    world.fit()
    path = world.files.head("reach")
    spoil(path)
    with pytest.raises(LewmError, match=said):
        find_objective(world.run, PlannerConfig(objective="reach"))
    (checked,) = world.lewm("verify", RUN, "--json").json()["checked"]
    texts = [f"{problem['says']}" for problem in checked["problems"] if "reach" in problem["says"]]
    assert len(texts) == 1
    assert re.search(said, texts[0])
    assert texts[0].endswith(f"lewm fit {RUN}")
    assert re.search(said, flat(world.lewm("show", RUN).out))
    world.fit()
    find_objective(world.run, PlannerConfig(objective="reach"))


def _change(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, metadata=metadata)


@pytest.mark.slow
def test_show_verify_ls_and_rm_know_heads(world: World):
    world.fit()
    world.fit("--kind", "probe")
    shown = world.lewm("show", RUN, "--json").json()["heads"]
    assert [(head["kind"], head["problem"]) for head in shown] == [("reach", None), ("probe", None)]
    assert ReachFit.model_validate(shown[0]["fit"])
    assert ProbeFit.model_validate(shown[1]["fit"])
    text = flat(world.lewm("show", RUN).out)
    assert "reach.safetensors" in text
    assert "probe.safetensors" in text
    (checked,) = world.lewm("verify", RUN, "--json").json()["checked"]
    assert checked["heads"] == 2
    assert "heads: 2" in flat(world.lewm("verify", RUN).out)
    assert [run["name"] for run in world.lewm("ls", "--json").json()["runs"]] == [RUN]
    listed = world.lewm("rm", RUN, "--dry-run", "--json").out
    assert "reach.safetensors" in listed
    assert world.lewm("rm", RUN, "--yes").code == 0
    assert not world.files.folder.exists()


# The real thing


@pytest.mark.slow
def test_fitted_on_a_real_recording_plans_are_judged_by_it(trained: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    done = lewm(home, "fit", RUN, "--steps", 200, "--json")
    assert done.code == 0, done.err
    fit = ReachFit.model_validate(done.json())
    assert not fit.held_out  # it held out one episode of twelve, which is too few
    for score in (fit.head.encoded, fit.with_imagined.encoded):
        assert score.correlation.low > 0  # little, for the model has hardly learned and six episodes are few
        assert score.auroc.low > 0.5
    assert abs(fit.shuffled.encoded.correlation.value) < 0.35
    assert lewm(home, "fit", RUN, "--kind", "probe", "--steps", 100, "-q").code == 0
    seen = {}
    for objective in ("last", "reach", "probe"):
        setting = ("--set", f"planner.objective={objective}", "--protocol", "release")
        done = lewm(home, "eval", RUN, "--episodes", 2, "--record", 1, *setting, *QUICK, "--json")
        assert done.code == 0, done.err
        seen[objective] = EvalResult.model_validate(done.json())
    assert seen["last"].head_sha256 is None
    assert seen["reach"].head_sha256 == weights_digest(home / "tworoom" / "lewm.run" / "reach.safetensors")
    assert seen["probe"].head_sha256 == weights_digest(home / "tworoom" / "lewm.run" / "probe.safetensors")
    assert seen["reach"].protocol.changed == (
        "pairs",
        "planner.candidates",
        "planner.elites",
        "planner.iterations",
        "planner.objective",
    )
