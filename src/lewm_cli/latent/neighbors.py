"""Strips of frames: one, and those of other episodes that the encoder takes for the most alike."""

import base64
import io

import numpy as np
from PIL import Image

from lewm_cli.data import Frames, resize
from lewm_cli.latent.latent_result import Neighbor, NeighborStrip
from lewm_cli.latent.tracks import Tracks

STRIPS, NEIGHBORS = 5, 6
SIDE = 96
"""Pixels of a frame in a strip, at most."""


def draw_strips(
    latents: np.ndarray, state: np.ndarray | None, tracks: Tracks, frames: Frames, seed: int
) -> tuple[NeighborStrip, ...]:
    """Draws some frames of different episodes, and finds the neighbors of each, the nearest of an episode only.

    Args:
        latents: (N, D) of the tracks, of two episodes at least.
        state: (N, K) true positions, if they are known.
        frames: of the recording.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(tracks.rows))
    _, first = np.unique(tracks.owners[order], return_index=True)
    strips = []
    for query in generator.permutation(order[first])[:STRIPS]:
        distances = np.linalg.norm(latents - latents[query], axis=1)
        by_distance = np.argsort(distances, kind="stable")
        _, nearest = np.unique(tracks.owners[by_distance], return_index=True)
        others = [place for place in by_distance[np.sort(nearest)] if tracks.owners[place] != tracks.owners[query]]
        shown = np.array([query, *others[:NEIGHBORS]])
        strips.append(
            NeighborStrip(
                frames=tuple(
                    Neighbor(
                        row=int(tracks.rows[place]),
                        episode=int(tracks.owners[place]),
                        latent_distance=float(distances[place]),
                        true_distance=None if state is None else float(np.linalg.norm(state[place] - state[query])),
                        picture=_picture(frame),
                    )
                    for place, frame in zip(shown, frames.rows(tracks.rows[shown]), strict=True)
                )
            )
        )
    return tuple(strips)


def _picture(frame: np.ndarray) -> str:
    """A frame (H, W, 3): a WebP file, base64."""
    buffer = io.BytesIO()
    (small,) = resize(frame[None], min(len(frame), SIDE))
    Image.fromarray(small).save(buffer, "webp", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
