"""`lewm decode`: the command, what it measures, and what it leaves behind."""

import base64
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

import lewm_cli
from commands import Done, flat, left_behind, lewm_here
from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig, ProjectorConfig
from lewm_cli.data import DecodedFrames, estimate_psnr, open_dataset, squared_errors
from lewm_cli.decode import DecodeResult, Filmstrip, measure_decoding
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.heads import draw_stretches, find_head
from lewm_cli.methods import JEPA
from lewm_cli.report import RunReport
from lewm_cli.report.page.page import render_page
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run, weights_digest
from synthetic import write_recording

RUN, DEMO = "tworoom/lewm", "tworoom/demo"
SIDE = 16
LENGTHS = (40,) * 12
HELD_OUT = (1, 3, 6, 8, 11)
LONGEST = 5
"""Model steps of 5 rows that follow a context of 3 within 40 rows."""


@pytest.fixture(autouse=True)
def small_fits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lewm_cli.heads.decoder.PATCHES_AT_ONCE", 64)
        patch.setattr("lewm_cli.heads.decoder.DecoderFit.usual_steps", 5)
        yield


def walk(lengths: tuple[int, ...]) -> np.ndarray:
    """Frames of 20 pixels in which a bright square goes to and fro."""
    frames = np.full((sum(lengths), 20, 20, 3), (40, 60, 90), np.uint8)
    for row, frame in enumerate(frames):
        x, y = abs(row % 28 - 14), abs(row // 3 % 28 - 14)
        frame[y : y + 5, x : x + 5] = (250, 220, 30)
    return frames


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, small_card: Callable, scramble: Callable) -> Path:
    """A home with a recording, and a run that was never trained but claims all of it but five episodes."""
    home = tmp_path_factory.mktemp("decode") / "home"
    path = write_recording(home / f"{DEMO}.h5", LENGTHS, dims=2, columns={"pixels": walk(LENGTHS)}, task="tworoom")
    dataset = open_dataset(path, DEMO)
    sizes = {"encoder": EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32)}
    sizes |= {"projector": ProjectorConfig(hidden=16)}
    sizes |= {"predictor": PredictorConfig(depth=1, heads=2, head_dim=8, mlp=32)}
    model = JEPA(ModelConfig(image_size=SIDE, latent=4, **sizes), block_dim=10)
    scramble(model)
    card = small_card(model)
    digests = tuple(digest for number, digest in enumerate(dataset.episode_digests) if number not in HELD_OUT)
    change = {"dataset": dataset.identity, "held_out": HELD_OUT, "trained_on": digests}
    card = card.model_copy(update={"provenance": card.provenance.model_copy(update=change)})
    save_run(RunFiles(home / RUN), model, card)
    return home


@pytest.fixture
def world(shelf: Path, tmp_path: Path) -> Path:
    """A copy of that home."""
    shutil.copytree(shelf, tmp_path / "home")
    return tmp_path / "home"


def decoded(home: Path, *arguments: object) -> Done:
    done = lewm_here(home, "decode", RUN, *arguments)
    assert done.code == 0, done.err
    assert not left_behind(home)
    return done


@pytest.fixture
def run(world: Path) -> Run:
    """The run, with a decoder."""
    assert lewm_here(world, "fit", RUN, "--kind", "decoder", "-q").code == 0
    return load_run(Home.locate(world), RUN)


def measured(run: Run, episodes: tuple[int, ...] = HELD_OUT, horizon: int = 2) -> DecodeResult:
    dataset = open_dataset(Path(f"{run.files.stem.parent.parent}/{DEMO}.h5"), DEMO)
    frames = DecodedFrames(dataset, SIDE)
    drawn = draw_stretches(run, dataset, np.array(episodes), horizon, per_episode=4, seed=0)
    more = {"horizon": horizon, "held_out": True, "seed": 0, "advance": lambda done: None}
    return measure_decoding(run, dataset, frames, find_head(run, "decoder"), *drawn, **more)


# The command


def test_decoder_is_fitted_where_there_is_none_and_everything_is_kept(world: Path):
    done = decoded(world, "--json")
    result = DecodeResult.model_validate(done.json())
    files = RunFiles(world / RUN)
    assert (result.run, result.weights_sha256, result.held_out) == (RUN, weights_digest(files.weights), True)
    assert result.decoder_sha256 == weights_digest(files.head("decoder"))
    assert (result.horizon, result.frameskip, result.episodes, result.stretches) == (LONGEST, 5, HELD_OUT, 20)
    assert {len(scores) for scores in result.steps.values()} == {len(result.changed_share)} == {LONGEST}
    assert "tworoom/lewm has no decoder yet; fitting one to its latents" in done.err
    assert f"horizon: {LONGEST} model steps, for half of the episodes are no longer" in done.err
    (stored,) = files.results.glob("decode-*.json")
    assert DecodeResult.model_validate_json(stored.read_text()) == result
    assert done.err.splitlines()[-2:] == [f"stored: {stored}", f"filmstrips: {stored.with_suffix('.png')}"]
    assert imageio.imread(stored.with_suffix(".png")).ndim == 3


@pytest.mark.slow
def test_decoder_is_fitted_once_and_films_are_where_they_are_asked_for(world: Path, run: Run, tmp_path: Path):
    first = decoded(world, "--json", "--horizon", 2, "--plot", tmp_path / "strip.png", "--video", tmp_path / "films")
    result = DecodeResult.model_validate(first.json())
    assert f"decoder: {run.files.head('decoder')}, fitted" in first.err
    assert first.err.splitlines()[-2:] == [f"filmstrips: {tmp_path / 'strip.png'}", f"videos: {tmp_path / 'films'}"]
    assert imageio.imread(tmp_path / "strip.png").ndim == 3
    films = sorted((tmp_path / "films").glob("*.mp4"))
    assert len(films) == len(result.filmstrips) == 4
    frames = imageio.imread(films[0])
    assert frames.shape == (2 + 1 + 4, 224, 224 + 2 + 224, 3)
    recorded = result.filmstrips[0].frames()[0, 0].repeat(14, axis=0).repeat(14, axis=1)
    assert np.abs(frames[0, :, :224].astype(int) - recorded).mean() < 12
    assert decoded(world, "--json", "--horizon", 2).json()["steps"] == first.json()["steps"]
    other = decoded(world, "--json", "--horizon", 1, "--refit", "--seed", 1)
    assert other.json()["decoder_sha256"] != result.decoder_sha256


@pytest.mark.slow
def test_table_says_what_stands_beside_imagination(world: Path):
    done = decoded(world, "--horizon", 3)
    for words in ("imagined", "re-encoded", "copied", "where changed", "SSIM", "95 % intervals", "20 stretches of 5"):
        assert words in flat(done.out)
    assert max(len(line) for line in done.out.splitlines()) <= 80


@pytest.mark.slow
def test_it_stands_on_the_page_in_show_and_in_python(world: Path):
    result = DecodeResult.model_validate(decoded(world, "--json", "--horizon", 2).json())
    page = world / "page.html"
    done = lewm_here(world, "report", RUN, "--output", page)
    assert "PSNR imagined, step 2" in flat(done.out)
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/webp;base64,") == len(result.filmstrips)
    assert 'id="imagination"' in html
    assert "imagination" in html.partition('id="provenance"')[2]
    shown = lewm_here(world, "show", RUN, "--json").json()
    assert [DecodeResult.model_validate(one) for one in shown["decoded"]] == [result]
    assert [(head["kind"], head["problem"]) for head in shown["heads"]] == [("decoder", None)]
    text = flat(lewm_here(world, "show", RUN).out)
    assert "decoder.safetensors" in text
    assert "PSNR imagined" in text
    (checked,) = lewm_here(world, "verify", RUN, "--json").json()["checked"]
    assert (checked["heads"], checked["results"]) == (1, 1)
    opened = lewm_cli.load(RUN, cache_dir=world)
    rows = {row.what: row for row in opened.results() if row.kind == "decode"}
    assert rows["PSNR imagined, step 2"].value == result.steps["imagined"][-1].likeness.psnr.value
    frames = walk((3,))
    drawn = opened.decode(opened.embed(frames))
    assert (drawn.dtype, drawn.shape) == (np.uint8, (3, SIDE, SIDE, 3))
    assert opened.decode(torch.zeros(0, 4)).shape == (0, SIDE, SIDE, 3)
    with pytest.raises(UsageError, match=r"latents have the shape \(3, 5\), and tworoom/lewm has some of \(N, 4\)"):
        opened.decode(torch.zeros(3, 5))
    listed = lewm_here(world, "rm", RUN, "--dry-run", "--json").out
    assert "decoder.safetensors" in listed
    assert lewm_here(world, "rm", RUN, "--yes").code == 0
    assert not RunFiles(world / RUN).folder.exists()


# What is measured


def test_what_is_imagined_exactly_is_as_alike_as_what_is_re_encoded(run: Run, monkeypatch: pytest.MonkeyPatch):
    before = measured(run).steps
    assert before["imagined"] != before["re-encoded"]
    from lewm_cli.decode import imagined_frames

    imagine = imagined_frames.imagine_recorded

    def exactly(*given):
        return (replace(part, imagined=part.actual) for part in imagine(*given))

    monkeypatch.setattr(imagined_frames, "imagine_recorded", exactly)
    after = measured(run).steps
    assert after["imagined"] == after["re-encoded"] == before["re-encoded"]
    assert {what: after[what] for what in ("copied", "mean")} == {what: before[what] for what in ("copied", "mean")}


def test_few_stretches_at_a_time_give_the_same(run: Run, monkeypatch: pytest.MonkeyPatch):
    together = measured(run)
    monkeypatch.setattr("lewm_cli.heads.imagination.SEQUENCES_AT_ONCE", 3)
    apart = measured(run)
    for one, other in zip(together.filmstrips, apart.filmstrips, strict=True):
        assert (one.episode, one.row) == (other.episode, other.row)
        assert np.abs(one.picture().astype(int) - other.picture()).max() <= 8
    for what, scores in together.steps.items():
        for one, other in zip(scores, apart.steps[what], strict=True):
            assert one.likeness.psnr.value == pytest.approx(other.likeness.psnr.value, abs=0.01)


def test_copy_is_the_last_frame_of_the_context_and_changes_are_counted_where_they_are(run: Run):
    result = measured(run, episodes=(3,), horizon=2)
    dataset = open_dataset(Path(f"{run.files.stem.parent.parent}/{DEMO}.h5"), DEMO)
    begins = [film.row for film in result.filmstrips]
    assert len(begins) == result.stretches == 4
    frames = DecodedFrames(dataset, SIDE)
    last, truth = frames.rows(np.array(begins)), frames.rows(np.array(begins) + 2 * 5)
    copied, owners = result.steps["copied"][1], np.full(4, 3)
    errors = squared_errors(last, truth).mean(axis=(1, 2))
    assert copied.likeness.psnr == estimate_psnr(errors.astype(float), owners)
    changed = (np.abs(last.astype(int) - truth) > 8).any(axis=-1)
    assert 0.05 < result.changed_share[1] == changed.mean() < 0.6
    errors = [np.square(a.astype(float) - b)[where].mean() for a, b, where in zip(last, truth, changed, strict=True)]
    assert copied.changed.value == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), rel=1e-5)
    strip = result.filmstrips[0].frames()
    assert strip.shape == (4, 3, SIDE, SIDE, 3)
    for row, step, frame in ((0, 0, last[0]), (0, 2, truth[0]), (3, 2, last[0])):
        assert np.abs(strip[row, step].astype(int) - frame).mean() < 20  # as WebP keeps it
    assert np.abs(strip[0, 2].astype(int) - last[0]).mean() > np.abs(strip[0, 2].astype(int) - truth[0]).mean()


def test_where_nothing_moves_nothing_changed(world: Path, run: Run):
    still = np.broadcast_to(walk((1,)), (160, 20, 20, 3))
    write_recording(world / "tworoom/still.h5", (40,) * 4, dims=2, columns={"pixels": still}, task="tworoom")
    done = decoded(world, "--dataset", "tworoom/still", "--horizon", 2)
    result = lewm_cli.load(RUN, cache_dir=world)._stored().newest(DecodeResult)
    assert result.changed_share == (0, 0)
    assert {score.changed for scores in result.steps.values() for score in scores} == {None}
    assert result.steps["copied"][0].likeness.psnr.value == 100
    assert "100.0" in done.out
    page = render_page(RunReport.of(run, lewm_cli.load(RUN, cache_dir=world)._stored()))
    assert page.count('class="filmstrip"') == 4


def test_filmstrips_of_large_frames_are_stored_smaller():
    frames = np.random.default_rng(0).integers(0, 256, (4, 3, 224, 224, 3), dtype=np.uint8)
    film = Filmstrip.of(1, 2, frames)
    assert (film.side, film.frames().shape) == (128, (4, 3, 128, 128, 3))
    with Image.open(io.BytesIO(base64.b64decode(film.sheet))) as sheet:
        assert sheet.size == (3 * 130 - 2, 4 * 130 - 2)


# What goes wrong


def test_decoder_of_other_weights_is_refused(world: Path, run: Run):
    with torch.no_grad():
        run.model.predictor.pos_embedding.add_(1)
    save_run(run.files, run.model, run.card)
    said = lewm_here(world, "decode", RUN).sentence()
    assert f"the decoder head of {RUN} was fitted to other weights than it has now" in said
    assert said.endswith(f"lewm fit {RUN} --kind decoder")
    opened = lewm_cli.load(RUN, cache_dir=world)
    with pytest.raises(LewmError, match="was fitted to other weights"):
        opened.decode(torch.zeros(1, 4))
    assert decoded(world, "--refit", "--horizon", 1).code == 0


def test_damaged_decoder_is_refused(world: Path, run: Run):
    path = run.files.head("decoder")
    path.write_bytes(path.read_bytes()[:-9])
    said = lewm_here(world, "decode", RUN).sentence()
    assert "holds no decoder head that can be read" in said
    assert said.endswith(f"lewm fit {RUN} --kind decoder")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--horizon", LONGEST + 1), 1, f"rows that {LONGEST + 1} imagined steps of {RUN} take; ask for a shorter"),
        (("--plot", "strip.svg"), 2, "'strip.svg' does not end in .png"),
        (("--dataset", "nothing"), 1, "there is no dataset 'nothing'"),
        (("--horizon", 0), 2, "horizon"),
        (("--dataset", "short"), 1, "rows that 1 imagined steps"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(world: Path, run: Run, arguments: tuple, code: int, said: str):
    write_recording(world / "short.h5", (12,) * 4, dims=2, task="tworoom")
    assert said in lewm_here(world, "decode", RUN, *arguments).sentence(code)
    assert not list(run.files.results.glob("*"))


def test_no_decoder_is_fitted_for_a_horizon_that_no_episode_allows(world: Path):
    assert "ask for a shorter horizon" in lewm_here(world, "decode", RUN, "--horizon", LONGEST + 1).sentence()
    assert not RunFiles(world / RUN).head("decoder").exists()


def test_python_without_a_decoder_names_the_command(world: Path):
    with pytest.raises(LewmError, match=f"{RUN} has no decoder head; .*lewm fit {RUN} --kind decoder"):
        lewm_cli.load(RUN, cache_dir=world).decode(torch.zeros(1, 4))


@pytest.mark.parametrize("where", ["lewm_cli.heads.decoder.optimize", "lewm_cli.decode.imagined_frames.decode"])
def test_ctrl_c_leaves_nothing_half_written(world: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    monkeypatch.setattr(where, lambda *given: os.kill(os.getpid(), signal.SIGINT))
    done = lewm_here(world, "decode", RUN)
    assert done.code == 130
    assert not left_behind(world)
    files = RunFiles(world / RUN)
    assert files.head("decoder").exists() == where.startswith("lewm_cli.decode")
    assert not list(files.results.glob("*"))
