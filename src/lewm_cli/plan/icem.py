"""iCEM: the cross-entropy method with noise that lasts and elites that are tried again (arXiv 2008.06389)."""

from dataclasses import replace

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.cem import Refit
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried, Turn


class ICEM(Search):
    """Plans with the cheapest candidate, or the mean of the last elites; only the last iteration tries the mean.

    It takes what `CEM` takes; `color` of the noise, and the share of elites that are `kept`.
    """

    def method(self, problem: Problem) -> "_Colored":
        """See `Search`."""
        return _Colored(self.config, problem)


class _Colored(Refit):
    """Colored noise along the actions of a sequence, and elites of the iteration, or of the plan, before."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._frameskip = problem.frameskip
        self._color = Color(config.horizon * problem.frameskip, config.color, self.mean.device)
        self._count = int(config.kept * config.elites)
        guesses = problem.guesses or [None] * problem.cost.environments
        self._kept = [guess.kept.to(self.mean.device) if guess else () for guess in guesses]

    def propose(self, turn: Turn) -> Tensor:
        """Draw around the mean, and take what was kept for the last candidates."""
        environments, horizon, block = self.mean.shape
        noise = turn.normal(self.config.candidates, block // self._frameskip, 2, self._color.frequencies)
        actions = self._color(noise).transpose(2, 3)
        candidates = self.around(actions.reshape(environments, self.config.candidates, horizon, block))
        for number, kept in enumerate(self._kept):
            if len(kept):
                candidates[number, -len(kept) :] = kept
        if turn.last:
            candidates[:, 0] = self.mean
        return candidates

    def learn(self, tried: Tried) -> Learned:
        """Refit, and keep the cheapest."""
        learned = super().learn(tried)
        cheapest = learned.elites[:, : self._count]
        kept = tried.candidates.take_along_dim(cheapest[:, :, None, None], dim=1)
        self._kept = list(kept)
        return replace(learned, kept=kept)


class Color:
    """Makes noise of variance 1 whose power falls with frequency.

    Args:
        steps: length of the noise.
        color: power goes with frequency to the minus this: 0 is white, 1 pink, 2 red.
        device: where it is wanted.
    """

    def __init__(self, steps: int, color: float, device: torch.device) -> None:
        self.steps, self.frequencies = steps, steps // 2 + 1
        whole = torch.ones(self.frequencies)  # those that have a phase
        whole[0] = 0.0
        if steps % 2 == 0:
            whole[-1] = 0.0
        frequencies = torch.fft.rfftfreq(steps).clamp(min=1 / steps)
        scale = frequencies ** (-color / 2) * torch.where(whole == 0, 2**0.5, 1.0)
        power = scale.square() * torch.where(whole == 0, 0.5, 1.0)
        # A frequency and its mirror image add up; the inverse transform divides by the number of steps.
        variance = (torch.where(whole == 0, 2.0, 4.0) * power).sum() / steps**2
        self._scale, self._deviation = torch.stack([scale, scale * whole]).to(device), float(variance.sqrt())

    def __call__(self, noise: Tensor) -> Tensor:
        """Noise (..., steps) of standard normal numbers (..., 2, frequencies): real and imaginary part of each."""
        real, imaginary = (noise * self._scale).unbind(dim=-2)
        return torch.fft.irfft(torch.complex(real, imaginary), n=self.steps) / self._deviation
