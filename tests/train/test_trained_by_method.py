"""Every method trains by its name, goes on bit for bit with its heads, and leaves the weights of the network alone."""

import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import flat, lewm_here
from families import AROUND_LEWM
from lewm_cli.config import Layer
from lewm_cli.errors import StoppedError
from lewm_cli.flows.train import train
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.methods import METHODS
from lewm_cli.store import Home, RunFiles, load_run, read_card
from lewm_cli.train import StepsTaken, TrainingEvent, read_log
from synthetic import write_recording

pytest_plugins = ("recordings",)

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"

ADDED = ("--set", "objective.cosine=0.5", "--set", "objective.straightness=0.1", "--set", "objective.rollout=1")
SETTINGS = {
    **{name: (name,) for name in AROUND_LEWM},
    "delta": ("delta", "--set", "objective.decoder.dropout=0.5", "--set", "monitor.every=4"),
    "pldm, with all that it can have": ("pldm", "--set", "objective.inverse=1", "--set", "objective.cov_t=1", *ADDED),
}
HEADS = {"delta", "inverse", "pldm, with all that it can have"}

pytestmark = pytest.mark.slow


def trained(home: Path, tiny: Path, *arguments: object) -> RunFiles:
    """Trains `robot/pick` for a few steps; its files."""
    line = ("train", "robot/pick", "--config", tiny, "--steps", 12, "--json", *arguments)
    done = lewm_here(home, *line)
    assert done.code == 0, done.err
    return RunFiles(home / done.json()["run"])


def heads(files: RunFiles) -> dict[str, torch.Tensor]:
    return torch.load(files.resume, weights_only=True)["heads"]


def stop(event: TrainingEvent) -> None:
    """A listener that asks for the end of training after five steps; the sixth has begun then."""
    if isinstance(event, StepsTaken) and event.step == 5:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("which", SETTINGS)
def test_every_method_goes_on_bit_for_bit(robot: Path, tiny: Path, which: str):
    method, *settings = SETTINGS[which]
    whole = trained(robot, tiny, "--method", method, *settings)
    assert whole.stem == robot / "robot" / method
    layers = [Layer.of("the test", "method", method), Layer.of("the test", "schedule.stop", "12 steps")]
    layers += [Layer.of("the test", *setting.split("=")) for setting in settings[1::2]]
    with pytest.raises(StoppedError, match="stopped after step 6 of 12"):
        train(
            Home(robot, (robot,)),
            TrainingRequest("robot/pick", config=tiny, settings=tuple(layers)),
            listeners=(stop,),
            say=lambda message: None,
            progress=lambda *_: nullcontext(lambda done: None),
        )
    parted = RunFiles(robot / "robot" / f"{method}-2")
    before = heads(parted)
    assert bool(before) == (which in HEADS)
    done = lewm_here(robot, "train", "robot/pick", "--name", f"robot/{method}-2", "--resume", "--method", method)
    assert done.code == 0, done.err
    ours, theirs = load_file(parted.weights), load_file(whole.weights)
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == []
    assert ours.keys() == theirs.keys() == load_run(Home(robot, (robot,)), f"robot/{method}").model.state_dict().keys()
    ours, theirs = heads(parted), heads(whole)
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == []
    assert all(not torch.equal(ours[key], before[key]) for key in ours)


@pytest.mark.parametrize("which", SETTINGS)
def test_parts_are_shown_under_their_names(robot: Path, tiny: Path, which: str):
    method, *settings = SETTINGS[which]
    line = ["train", "robot/pick", "--config", tiny, "--steps", 10, "--method", method, *settings]
    done = lewm_here(robot, *line)
    assert done.code == 0, done.err
    card = read_card(robot / "robot" / f"{method}.safetensors")
    assert (card.method, card.provenance.train.method) == (method, method)
    history = read_log(RunFiles(robot / "robot" / method).log)
    parts, measured = history.steps[-1].parts, history.held_out[-1].held_out
    assert measured.parts.keys() == parts.keys() - {"prediction"}
    shown = lewm_here(robot, "show", f"robot/{method}").out
    for name in measured.parts:
        assert f"  {name} " in done.err
        assert f"held-out {name} " in flat(done.out)
        assert f"held-out {name} " in flat(shown)
    assert f"method {method} " in flat(shown)
    assert "loss Prediction of the next latent" in flat(shown)
    for text in (done.err, done.out, shown):
        assert ("SIGReg" in flat(text).replace("no SIGReg", "")) == (method == "lewm")
    assert ("lambda" in flat(shown).partition("command")[0]) == (method != "prediction")


def test_state_from_before_there_were_heads_goes_on(robot: Path, tiny: Path):
    files = trained(robot, tiny, "--name", "robot/old")
    after = load_file(files.weights)
    state = torch.load(files.resume, weights_only=True)
    del state["heads"]
    torch.save(state, files.resume)
    files.object.unlink()
    done = lewm_here(robot, "train", "robot/pick", "--name", "robot/old", "--resume")
    assert done.code == 0, done.err
    assert all(torch.equal(value, after[key]) for key, value in load_file(files.weights).items())


def test_names_count_up_by_method(robot: Path, tiny: Path):
    names = [trained(robot, tiny, "--method", method).stem.name for method in ("delta", "lewm", "delta")]
    assert names == ["delta", "lewm", "delta-2"]


def test_weights_of_another_method_are_a_start(robot: Path, tiny: Path):
    start = trained(robot, tiny)
    line = ("train", "robot/pick", "--config", tiny, "--method", "delta", "--init-from", "robot/lewm", "--steps", 1)
    still = ("--set", "optimizer.lr=1e-30", "--set", "optimizer.weight_decay=0")
    done = lewm_here(robot, *line, *still)
    assert done.code == 0, done.err
    assert "robot/lewm was trained with lewm; its weights go on with delta" in done.err
    source, copied = load_file(start.weights), load_file(robot / "robot" / "delta.safetensors")
    learned = [key for key in source if "running_" not in key and "num_batches" not in key]
    assert [key for key in learned if not torch.allclose(copied[key], source[key], atol=1e-12)] == []
    card = read_card(robot / "robot" / "delta.safetensors")
    assert (card.method, card.provenance.init_from) == ("delta", "robot/lewm")
    assert "initialized from robot/lewm" in flat(lewm_here(robot, "show", "robot/delta").out)


@pytest.mark.parametrize("way", [("--resume", "--method", "delta"), ("--resume", "--set", "method=delta")])
def test_run_keeps_its_method(robot: Path, tiny: Path, way: tuple[str, ...]):
    files = trained(robot, tiny)
    files.object.unlink()  # as if it had stopped
    for named in ((), ("--name", "robot/lewm")):
        said = lewm_here(robot, "train", "robot/pick", *named, *way).sentence(code=2)
        assert "robot/lewm is trained with lewm, and --resume keeps the method; " in said
        assert "train another run with delta: lewm train robot/pick --method delta" in said
    same = lewm_here(robot, "train", "robot/pick", *(word.replace("delta", "lewm") for word in way))
    assert same.code == 0, same.err
    unknown = lewm_here(robot, "train", "robot/pick", *(word.replace("delta", "delt") for word in way))
    assert "there is no method 'delt'; did you mean 'delta'?" in unknown.sentence(code=2)


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        (("--method", "delta"), "delta learns from them (delta)"),
        (("--method", "inverse"), "inverse learns from them (inverse)"),
        (("--method", "pldm", "--set", "objective.inverse=1"), "pldm learns from them (inverse)"),
        (("--set", "objective.cosine=1"), "lewm learns from them (cosine)"),
        (("--method", "delta", "--lambda", 0), None),
        (("--method", "pldm"), None),
    ],
)
def test_actions_that_never_change_teach_no_decoder(robot: Path, tiny: Path, settings: tuple, terms: str | None):
    write_recording(robot / "robot" / "still.h5", columns={"action": np.full((174, 3), 0.25, np.float32)})
    done = lewm_here(robot, "train", "robot/still", "--config", tiny, "--steps", 1, *settings)
    if terms is None:
        assert done.code == 0, done.err
    else:
        assert f"the actions of robot/still never change, and {terms}; record others, or " in done.sentence()
        assert not list(robot.rglob("*.safetensors"))


def test_actions_that_are_not_known_are_missed_by_every_method(robot: Path, tiny: Path):
    for name, actions in (("unknown", np.full((174, 3), np.nan, np.float32)), ("none", None)):
        write_recording(robot / "robot" / f"{name}.h5", columns={"action": actions})
    line = ("--config", tiny, "--method", "delta")
    unknown = lewm_here(robot, "train", "robot/unknown", *line).sentence()
    assert "action is NaN in every row, and a world model needs actions; record them too" in unknown
    assert "has no column 'action'" in lewm_here(robot, "train", "robot/none", *line).sentence()


def test_method_of_the_documentation_is_one_file_and_one_line(
    robot: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = ARCHITECTURE.read_text(encoding="utf-8").partition("## A new method")[2]
    (module,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "apart.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import apart

    monkeypatch.setitem(METHODS, "apart", apart.Apart)  # the line
    files = trained(robot, tiny, "--method", "apart", "--lambda", 0.5, "--set", "objective.margin=3")
    assert files.stem == robot / "robot" / "apart"
    card = read_card(files.weights)
    assert (card.method, card.provenance.train.objective.margin) == ("apart", 3)
    assert read_log(files.log).steps[-1].parts.keys() == {"prediction", "apart"}
    shown = flat(lewm_here(robot, "show", "robot/apart").out)
    assert "plus 0.5 \N{MULTIPLICATION SIGN} what is missing to the distance of two clips" in shown
    assert "held-out apart" in shown
    listed = lewm_here(robot, "methods", "--json").json()["methods"]
    assert listed[-1]["summary"] == "Latents of different clips keep a distance."
    refused = lewm_here(robot, "train", "robot/pick", "--set", "objective.margin=3").sentence(code=2)
    assert "it is a setting of apart" in refused
    assert "did you mean 'apart'?" in lewm_here(robot, "train", "robot/pick", "--method", "appart").sentence(code=2)
