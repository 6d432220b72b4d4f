"""The decoder draws what latents tell, and nothing if they tell nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig, ProjectorConfig
from lewm_cli.data import open_dataset
from lewm_cli.heads import FITTED, DecoderFit, LatentEpisodes, LatentSplit, decode
from lewm_cli.methods import JEPA
from lewm_cli.model import FrameDecoder
from lewm_cli.model.frame_decoder import decoded_patch
from lewm_cli.store import Home, RunFiles, load_run, save_run
from synthetic import write_recording

SIDE = 16
LENGTHS = (40,) * 8


def squares(places: np.ndarray) -> np.ndarray:
    """Frames (N, 16, 16, 3) uint8 with a bright square of 4 pixels at places (N, 2) on a background of its own."""
    frames = np.full((len(places), SIDE, SIDE, 3), (40, 60, 90), np.uint8)
    frames[:, :2] = 160
    for frame, (x, y) in zip(frames, places, strict=True):
        frame[y : y + 4, x : x + 4] = (250, 220, 30)
    return frames


@pytest.fixture
def split(home: Home, tmp_path: Path, small_card: Callable) -> LatentSplit:
    """Episodes of a square, whose latents are where it is."""
    sizes = {"encoder": EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32)}
    sizes |= {
        "projector": ProjectorConfig(hidden=16),
        "predictor": PredictorConfig(depth=1, heads=2, head_dim=8, mlp=32),
    }
    model = JEPA(ModelConfig(image_size=SIDE, latent=2, **sizes), block_dim=10)
    save_run(RunFiles(home.run_stem("tworoom/lewm")), model, small_card(model))
    places = np.random.default_rng(0).integers(2, SIDE - 4, (sum(LENGTHS), 2))
    path = write_recording(
        tmp_path / "squares.h5", LENGTHS, dims=2, columns={"pixels": squares(places)}, task="tworoom"
    )
    dataset, latents = open_dataset(path, "squares"), torch.from_numpy(places).float()
    rows, starts = np.arange(sum(LENGTHS)), np.cumsum(LENGTHS) - LENGTHS

    def part(numbers: np.ndarray) -> LatentEpisodes:
        chosen = np.concatenate([starts[number] + np.arange(LENGTHS[number]) for number in numbers])
        lengths = np.array(LENGTHS)[numbers]
        return LatentEpisodes(latents[chosen], rows[chosen], numbers, np.cumsum(lengths) - lengths, lengths)

    return LatentSplit(load_run(home, "tworoom/lewm"), dataset, part(np.arange(6)), part(np.arange(6, 8)), True)


def fitted(split: LatentSplit, steps: int = 150) -> tuple[torch.nn.ModuleDict, DecoderFit]:
    return DecoderFit.fit(split, seed=0, steps=steps, advance=lambda done: None)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lewm_cli.heads.decoder.PATCHES_AT_ONCE", 256)


@pytest.mark.slow
def test_places_are_drawn_of_frames_never_seen_and_of_shuffled_latents_nothing_is(split: LatentSplit):
    networks, fit = fitted(split)
    assert fit.decoded.psnr.low > fit.mean_frame.psnr.high + 2
    assert fit.decoded.ssim.low > fit.mean_frame.ssim.high
    assert "is shown to draw more" in fit.remarks[0]
    order = torch.randperm(len(split.fitted.rows), generator=torch.Generator().manual_seed(0))
    moved = LatentEpisodes(**vars(split.fitted) | {"latents": split.fitted.latents[order]})
    _, blind = fitted(LatentSplit(split.run, split.dataset, moved, split.tested, True))
    assert blind.decoded.psnr.value < blind.mean_frame.psnr.value + 0.5
    assert "NOT shown to draw more" in blind.remarks[0]
    frames = decode(networks[FITTED], split.tested.latents)
    assert (frames.dtype, frames.shape) == (np.uint8, (80, SIDE, SIDE, 3))


def test_mean_frame_is_where_it_starts_and_same_seed_gives_the_same(split: LatentSplit):
    (first, fit), (second, _) = (fitted(split, steps=2) for _ in range(2))
    assert all(torch.equal(first.state_dict()[key], second.state_dict()[key]) for key in first.state_dict())
    truth = split.dataset.read("pixels", split.fitted.rows).astype(float)
    assert first[FITTED].mean.numpy() == pytest.approx(truth.mean(axis=0), abs=1e-3)
    assert float(first[FITTED].spread) == pytest.approx(np.sqrt(np.square(truth - truth.mean(axis=0)).mean()), rel=1e-3)
    assert fit.networks().state_dict().keys() == first.state_dict().keys()


@pytest.mark.parametrize(
    ("size", "patch", "queries"), [(224, 16, 196), (64, 16, 16), (32, 8, 16), (16, 4, 16), (98, 14, 49), (17, 1, 289)]
)
def test_patches_tile_frames_of_any_size(size: int, patch: int, queries: int):
    assert decoded_patch(size) == patch
    decoder = FrameDecoder(8, size, width=8)
    assert decoder.queries.shape == (queries, 8)
    drawn = decoder(torch.randn(2, 8))
    assert drawn.shape == (2, size, size, 3)
    drawn.square().mean().backward()


def test_every_patch_is_painted_in_its_place():
    decoder = FrameDecoder(4, 32, width=8)
    with torch.no_grad():
        before = decoder(torch.ones(1, 4))
        decoder.queries[6] += 1  # of the second row of four, the third
        changed = (decoder(torch.ones(1, 4)) != before).any(dim=-1)[0].nonzero()
    assert (changed.amin(dim=0).tolist(), changed.amax(dim=0).tolist()) == ([8, 16], [15, 23])


def test_with_patch_tokens_a_frame_depends_on_their_order():
    decoder, latents = FrameDecoder(3 * 4, 16, tokens=4, width=8), torch.randn(2, 12)
    with torch.no_grad():
        decoder.places.normal_()
        turned = latents.unflatten(-1, (4, 3)).flip(1).flatten(1)
        assert not torch.allclose(decoder(latents), decoder(turned), atol=1e-3)
        decoder.places.zero_()
        assert torch.allclose(decoder(latents), decoder(turned), atol=1e-4)
