"""Anchors: recorded frames on the way from here to the goal, at which plans aim instead (arXiv 2609.30036)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import torch
from pydantic import PositiveInt, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from lewm_cli.config import DatasetIdentity, unreadable
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.store import Run, RunResult, head_paths, load_head, write_head
from lewm_cli.suggestion import command

NEAR = 2
"""Ways looked ahead, within which goals are aimed at themselves: frames on so short a way only lead around them."""


class AnchorIndex(RunResult):
    """The header of a file of anchors: the recording that they are of, and the episodes of it."""

    format: Literal[1] = 1
    dataset: DatasetIdentity
    digests: tuple[str, ...]
    """Digests of the content of every episode, see `Dataset.episode_digests`."""
    every: PositiveInt
    """Rows from one kept frame to the next."""
    frameskip: PositiveInt
    """Rows in a model step."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """Latents of recorded frames, and the actions that were taken, of whole episodes one after the other.

    Args:
        index: says what they are of.
        latents: (N, D) float32 of the first row of every episode and every `index.every` rows after it.
        actions: (M, A) of all rows, normalized; NaN where they are not known.
        lengths: (E,) rows of each episode, M in all.
    """

    index: AnchorIndex
    latents: Tensor
    actions: Tensor
    lengths: Tensor

    @torch.inference_mode()
    def aim(self, latent: Tensor, goal: Tensor, horizon: int) -> Tensor:
        """The latent (D,) to aim at from a latent (D,) on the way to a goal (D,).

        Of all recorded segments the one is taken that begins nearest to here and ends nearest to the goal, by the sum
        of both squared distances. At the frame `horizon` model steps after its begin is aimed, or at the goal itself if
        the segment is at most `NEAR` times as long.
        """
        begins, ends = self._distances(torch.stack([latent, goal]))
        # The least distance to the goal at or after every frame of its episode. Seen from the end of all, an episode
        # lies lower than those after it by so much that none of theirs is ever the least.
        apart = self._owners * (ends.max() - ends.min() + 1)
        nearest, places = (ends + apart).flip(0).cummin(dim=0)
        begin = int((begins + nearest.flip(0) - apart).argmin())
        end = len(ends) - 1 - int(places.flip(0)[begin])
        ahead = self.ahead(horizon)
        return goal if end - begin <= NEAR * ahead else self.latents[begin + ahead]

    @torch.inference_mode()
    def sequences(self, latent: Tensor, horizon: int, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The action sequences (S, horizon, block_dim) that were taken from the frames nearest to a latent (D,).

        They are `count`, or as many as there are. Where a generator is given it draws them from all, wherever taken.

        Raises:
            LewmError: none of so many model steps is known.
        """
        steps, ends = horizon * self.index.frameskip, self._rows + horizon * self.index.frameskip
        unknown = self._unknown[ends.clamp(max=len(self.actions))] - self._unknown[self._rows]
        usable = ((ends <= self._stops) & (unknown == 0)).nonzero()[:, 0]
        if not len(usable):
            raise LewmError(
                f"no episode of {self.index.dataset.name} has {steps} known actions in a row, as {horizon} model steps "
                "take; name another recording with planner.anchors, or a smaller planner.horizon"
            )
        if generator is None:
            taken = self._distances(latent[None])[0, usable].topk(min(count, len(usable)), largest=False).indices
        else:
            taken = torch.randperm(len(usable), generator=generator)[:count].to(usable.device)
        rows = self._rows[usable[taken], None] + torch.arange(steps, device=taken.device)
        return self.actions[rows].reshape(len(taken), horizon, -1)

    def ahead(self, horizon: int) -> int:
        """The number of kept frames that is nearest to so many model steps, at least one."""
        return max(1, round(horizon * self.index.frameskip / self.index.every))

    def _distances(self, points: Tensor) -> Tensor:
        """Squared distances (P, N), float64, of points (P, D) to all latents."""
        products = (self.latents @ points.to(self.latents).T).T  # faster than the other way round
        return (self._squares - 2 * products).double() + points.square().sum(dim=-1, keepdim=True)

    @cached_property
    def _squares(self) -> Tensor:
        return self.latents.square().sum(dim=-1)

    @cached_property
    def _kept(self) -> Tensor:
        """(E,) latents of each episode."""
        return -(-self.lengths // self.index.every)

    @cached_property
    def _owners(self) -> Tensor:
        """(N,) number of the episode of each latent."""
        return torch.repeat_interleave(self._kept)

    @cached_property
    def _stops(self) -> Tensor:
        """(N,) row after the episode of each latent."""
        return self.lengths.cumsum(0)[self._owners]

    @cached_property
    def _rows(self) -> Tensor:
        """(N,) row of each latent."""
        number = torch.arange(len(self.latents), device=self.latents.device)
        within = number - (self._kept.cumsum(0) - self._kept)[self._owners]
        return (self.lengths.cumsum(0) - self.lengths)[self._owners] + self.index.every * within

    @cached_property
    def _unknown(self) -> Tensor:
        """(M + 1,) rows before each one, and in all, whose action is not known."""
        return nn.functional.pad((~self.actions.isfinite().all(dim=1)).cumsum(0), (1, 0))


def find_anchors(run: Run, name: str) -> Anchors:
    """Reads the anchors of a recording that were encoded by a run's present weights, on the device of the run.

    Raises:
        MissingError: there are none.
        LewmError: their file is damaged, or they were encoded by other weights.
    """
    again = command("eval", run.name, "--set", f"planner.anchors={name}")
    path = next((path for path in head_paths(run.places, _kind(name)) if path.exists()), None)
    if path is None:
        raise MissingError(f"{run.name} has no anchors of {name} yet; they are encoded by: {again}")
    try:
        stored = read_anchors(path)
    except LewmError as error:
        raise LewmError(f"{error}; encode them again: {again}") from error
    if stored.index.weights_sha256 != run.sha256:
        raise LewmError(
            f"the anchors of {name} for {run.name} were encoded by other weights than it has now; encode them: {again}"
        )
    parts = (part.to(run.device) for part in (stored.latents, stored.actions, stored.lengths))
    return Anchors(stored.index, *parts)


def read_anchors(path: Path) -> Anchors:
    """Reads a file of anchors strictly, on the CPU; raises LewmError if it is no whole file of them."""
    try:
        header, tensors = load_head(path)
        index = AnchorIndex.model_validate_json(header)
        latents, actions, lengths = (tensors[key] for key in ("latents", "actions", "lengths"))
        whole = len(index.digests), int(lengths.sum()), int((-(-lengths // index.every)).sum())
        if whole != (len(lengths), len(actions), len(latents)) or not latents.isfinite().all():
            raise ValueError("its parts do not belong together")
    except (OSError, SafetensorError, KeyError, ValidationError, ValueError, RuntimeError) as error:
        raise LewmError(f"{path} holds no anchors that can be read by this version ({unreadable(error)})") from error
    return Anchors(index, latents, actions, lengths)


def save_anchors(run: Run, name: str, anchors: Anchors) -> Path:
    """Writes anchors beside their run, or where notes on the run are kept, as `write_head` does; its path."""
    tensors = {key: getattr(anchors, key).cpu().contiguous() for key in ("latents", "actions", "lengths")}
    again = command("eval", run.name, "--set", f"planner.anchors={name}")
    return write_head(run, _kind(name), tensors, anchors.index.model_dump_json(), again=again)


def _kind(name: str) -> str:
    return f"anchors/{quote(name, safe='')}"
