"""`lewm train --encoder NAME`: the network looks through what another training has left, and leaves it as it is."""

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, Dinov2Config, Dinov2Model, ViTConfig, ViTForImageClassification

from commands import flat, lewm_here
from lewm_cli.errors import StoppedError
from lewm_cli.flows.train import train
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.store import Home, RunFiles, encoder_of_folder, load_run, read_card, save_run, weights_digest
from lewm_cli.train import StepsTaken, TrainingEvent
from looking import LookingNetwork, LookingSizes

pytest_plugins = ("looking", "recordings")

BACKBONE = "encoder.backbone."
TINY_DINOV2 = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 20, "patch_size": 4}


@pytest.fixture
def home(robot: Path, tiny: Path) -> Path:
    """A home with a recording and a run, `robot/lewm`, that was trained on it."""
    done = lewm_here(robot, "train", "robot/pick", "--config", tiny, "--steps", 6)
    assert done.code == 0, done.err
    return robot


@pytest.fixture
def dinov2(tmp_path: Path, scramble) -> Path:
    """A folder with a small DINOv2."""
    scramble(Dinov2Model(Dinov2Config(**TINY_DINOV2))).save_pretrained(tmp_path / "dinov2")
    return tmp_path / "dinov2"


def backbone(weights: Path) -> dict[str, torch.Tensor]:
    """The tensors of the frozen encoder in a run."""
    return {key[len(BACKBONE) :]: value for key, value in load_file(weights).items() if key.startswith(BACKBONE)}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.slow
def test_encoder_of_a_run_stays_as_it_is_and_its_origin_is_known(home: Path, look, tiny: Path):
    done = look(home, "--encoder", "robot/lewm", "--seed", 1)
    assert done.code == 0, done.err
    source, files = RunFiles(home / "robot" / "lewm"), RunFiles(home / "robot" / "looking")
    theirs = {key[8:]: value for key, value in load_file(source.weights).items() if key.startswith("encoder.")}
    assert_same(backbone(files.weights), theirs)
    card, sha256 = read_card(files.weights), weights_digest(source.weights)
    assert (card.model.encoder.source, card.model.encoder.sha256) == ("robot/lewm", sha256)
    assert f"encoder: robot/lewm, frozen (1 x 16, sha256 {sha256[:16]}" in done.err
    # An episode that is held out now may be one that the encoder has seen.
    before = read_card(source.weights)
    assert card.provenance.held_out != before.provenance.held_out
    assert len(before.trained_on) == 5
    assert len(card.trained_on) == 6
    assert "note: 1 of 1 held-out episode had been trained on in the run that the encoder" in flat(done.err)
    assert card.provenance.train.model == card.model

    # What was frozen in a run keeps its origin in the next one, whose start may be all of the weights.
    for number, option in ((2, "--encoder"), (3, "--init-from")):
        done = look(home, option, "robot/looking", "--seed", number)
        assert done.code == 0, done.err
        again = RunFiles(home / "robot" / f"looking-{number}")
        assert_same(backbone(again.weights), theirs)
        assert read_card(again.weights).model.encoder == card.model.encoder
    # Its own configuration names the encoder, as long as that is what it was.
    repeat = ("train", "robot/pick", "--config", files.config)
    assert lewm_here(home, *repeat).code == 0
    assert_same(load_file(home / "robot" / "looking-4.safetensors"), load_file(files.weights))
    changed = ("--set", "optimizer.lr=1e-4", "--steps", 3, "--name", "robot/lewm", "--overwrite")
    assert lewm_here(home, "train", "robot/pick", "--init-from", "robot/lewm", "--config", tiny, *changed).code == 0
    refused = lewm_here(home, *repeat).sentence(2)
    assert f"model.encoder.sha256 is '{sha256}' in the file" in refused
    assert "of robot/lewm; leave it out" in refused


@pytest.mark.slow
def test_training_goes_on_bit_for_bit_without_its_encoder(home: Path, look, looking: Path):
    def stop(event: TrainingEvent) -> None:
        if isinstance(event, StepsTaken) and event.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = look(home, "--encoder", "robot/lewm", "--name", "robot/whole")
    assert whole.code == 0
    assert "had been trained on" not in whole.err  # of the same seed, it holds out the same episodes
    with pytest.raises(StoppedError):
        train(
            Home(home, (home,)),
            TrainingRequest("robot/pick", config=looking, encoder="robot/lewm", name="robot/parted"),
            listeners=(stop,),
            say=lambda message: None,
            progress=lambda *_: nullcontext(lambda done: None),
        )
    assert lewm_here(home, "rm", "robot/lewm", "--yes").code == 0
    resume = ("train", "robot/pick", "--name", "robot/parted", "--resume")
    assert "leave out --preset, --config, --encoder" in lewm_here(home, *resume, "--encoder", "x").sentence(2)
    done = lewm_here(home, *resume)
    assert done.code == 0, done.err
    assert_same(*(load_file(home / "robot" / f"{name}.safetensors") for name in ("parted", "whole")))


@pytest.mark.slow
def test_dinov2_of_a_folder_is_looked_through_at_any_size(robot: Path, look, dinov2: Path):
    at = ("--set", "model.image_size=12", "--encoder", dinov2)
    planned = look(robot, *at, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert not (robot / "robot" / "looking.safetensors").exists()
    done = look(robot, *at)
    assert done.code == 0, done.err
    card = read_card(robot / "robot" / "looking.safetensors")
    assert planned.json()["config"]["model"] == json.loads(card.model.model_dump_json())
    assert card.model.encoder.model_dump() == {
        "patch_size": 4, "width": 12, "depth": 2, "heads": 3, "mlp": 48, "layer_scale": True, "epsilon": 1e-6,
        "grid": 5, "source": str(dinov2), "sha256": weights_digest(dinov2 / "model.safetensors"),
    }  # fmt: skip
    model = load_run(Home(robot, (robot,)), "robot/looking").model
    pixels = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = Dinov2Model.from_pretrained(dinov2).eval()(pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(model.encoder(pixels), expected, rtol=1e-5, atol=1e-5)
    verified = lewm_here(robot, "verify", "robot/looking")
    assert verified.code == 0, verified.out


@pytest.mark.slow
def test_encoder_kept_among_runs_goes_by_its_name(robot: Path, look, dinov2: Path):
    dinov2.rename(robot / "robot" / "dinov2")
    done = look(robot, "--encoder", "robot/dinov2")
    assert done.code == 0, done.err
    encoder = read_card(robot / "robot" / "looking.safetensors").model.encoder
    assert (encoder.source, encoder.layer_scale) == ("robot/dinov2/model", True)
    assert look(robot, "--encoder", encoder.source, "--dry-run").code == 0


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("generation", [4, 5])
def test_vit_with_a_head_is_read_under_the_names_of_both_generations(
    tmp_path: Path, scramble, generation: int, file: str
):
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
    theirs = scramble(ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4))).eval()
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path) if generation == 4 else dict(theirs.state_dict())
    assert ("vit.encoder.layer.1.attention.attention.query.weight" in tensors) == (generation == 4)
    path.unlink()
    save = save_file if file.endswith("safetensors") else torch.save
    save(tensors, tmp_path / file)
    found = encoder_of_folder(tmp_path, "a folder")
    assert (found.image_size, found.config.grid, found.config.sha256) == (8, None, weights_digest(tmp_path / file))
    state = {key.removeprefix("vit."): value for key, value in theirs.state_dict().items() if key.startswith("vit.")}
    assert_same(found.state, {key: value for key, value in state.items() if not key.startswith("pooler")})


def describe(folder: Path, **settings: object) -> None:
    """Changes the configuration in a folder of transformers; None takes a setting away."""
    path = folder / "config.json"
    tree = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in tree.items() if value is not None}))


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def poison(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.cls_token": print}, folder / "pytorch_model.bin")


def lose(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.1.norm2.weight"]
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "holds no weights (model.safetensors or pytorch_model",
        ),
        (
            lambda folder: (folder / "config.json").unlink(),
            "is no encoder of transformers, for it holds no config.json",
        ),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: it is no JSON"),
        (lambda folder: (folder / "config.json").write_bytes(b"\x80"), "config.json is not a JSON file in UTF-8"),
        (lambda folder: describe(folder, hidden_size=24), "does not hold the encoder that its config.json describes: "),
        (lambda folder: describe(folder, hidden_size=13), "width 13 is not a multiple of heads 3"),
        (lambda folder: describe(folder, hidden_size=None), "config.json: it lacks hidden_size"),
        (lambda folder: describe(folder, hidden_size=10**9), "its hidden_size is 1000000000"),
        (lambda folder: describe(folder, hidden_size=[12]), "its hidden_size is a list"),
        (lambda folder: describe(folder, image_size=21), "image_size 21 holds no whole number of patches"),
        (
            lambda folder: describe(folder, use_swiglu_ffn=True),
            "its use_swiglu_ffn is True, and of transformers DINOv2",
        ),
        (lambda folder: BertConfig().save_pretrained(folder), "its model_type is 'bert', and of transformers DINOv2"),
        (lambda folder: describe(folder, model_type=None), "its model_type is None, and of transformers DINOv2"),
        (truncate, "model.safetensors: damaged"),
        (poison, "pytorch_model.bin: refused: the pickle "),
        (lose, "missing: layers.1.layernorm_after.weight"),
    ],
)
def test_folder_of_something_else_is_refused(robot: Path, look, dinov2: Path, spoil, said: str):
    spoil(dinov2)
    assert said in look(robot, "--encoder", dinov2).sentence()
    assert not (robot / "robot" / "looking.run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            [],
            2,
            "looking sees through a frozen encoder; name a run (robot/lewm), a folder that save_pretrained wrote, or",
        ),
        (["--method", "lewm", "--encoder", "robot/lewm"], 2, "lewm trains an encoder of its own and takes no other"),
        (["--method", "lwem", "--encoder", "robot/lewm"], 2, "there is no method 'lwem'; did you mean 'lewm'?"),
        (["--encoder", "robot/lwem"], 1, "there is no run 'robot/lwem'"),
        (["--encoder", "tworoom/lwem"], 1, "there is no run 'tworoom/lwem'"),
        (["--encoder", "lwem"], 1, "there is no run 'lwem'"),
        (
            ["--encoder", "robot/pick.h5"],
            1,
            "robot/pick.h5 is a recording, no encoder; name a run as `lewm ls` has it, a",
        ),
        (["--encoder", "away/no.h5"], 1, "away/no.h5 is a recording, no encoder"),
        (["--encoder", __file__], 1, f"{__file__} is a file, no encoder; name a run"),
        (
            ["--encoder", "facebook/dinov2.safetensors"],
            1,
            "facebook/dinov2.safetensors is a file, no encoder; name a run",
        ),
        (["--encoder", "robot/lewm", "--init-from", "robot/lewm"], 2, "the weights of robot/lewm hold their encoder"),
        (["--init-from", "robot/lewm"], 1, "take its encoder alone: lewm train robot/pick --method looking --encoder"),
        (["--encoder", "robot/lewm", "--set", "model.image_size=24"], 2, "add: --set model.image_size=16"),
        (["--encoder", "robot/lewm", "--set", "model.encoder.depth=3"], 2, "model.encoder.depth is 3 in"),
        (["--encoder", "robot/lewm", "--set", "model.encoder.dept=3"], 2, "model.encoder.dept is 3 in"),
        (["--encoder", "DINOV2", "--set", "model.image_size=18"], 2, "patches of 4 pixels, which do not fit"),
    ],
)
@pytest.mark.slow
def test_encoder_that_cannot_be_is_refused_in_one_sentence(
    home: Path, look, dinov2: Path, arguments: list[str], code: int, said: str
):
    words = [str(dinov2) if word == "DINOV2" else word for word in arguments]
    assert said in look(home, *words).sentence(code)


def test_runs_of_the_task_that_trained_an_encoder_are_offered(tmp_path: Path, looking: Path, small_model, small_card):
    looker = LookingNetwork(LookingSizes(image_size=14, encoder={"depth": 1}), block_dim=10)
    for name, model, method in (("arm", looker, "looking"), ("door", small_model, "lewm")):
        save_run(RunFiles(tmp_path / "home" / "robot" / name), model, small_card(model, method))
    done = lewm_here(tmp_path / "home", "train", "tworoom", "--config", looking)
    assert "name a run (robot/door), a folder that save_pretrained wrote, or a model on the Hub: " in done.sentence(2)
    assert "lewm train tworoom --method looking --encoder robot/door" in done.err
