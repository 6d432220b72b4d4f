"""iCEM: the cross-entropy method with colored noise and elites that are tried again (arXiv 2008.06389)."""

import torch
from torch import Tensor

from lewm_cli.plan.search import IterativeSolver, Search


class ICEM(IterativeSolver):
    """Plans with the cheapest candidate, or the mean of the last elites; only the last iteration tries the mean.

    It takes what `CEM` takes; `color` of the noise along the actions of a sequence, and the share of elites that are
    `kept`: the last candidates are those of the iteration, or of the plan, before.
    """

    def run(self, search: Search) -> None:
        """Refit as `CEM` does, to colored candidates and the elites that were carried over."""
        config, mean, std, frameskip = self.config, search.mean, search.std, search.problem.frameskip
        environments, horizon, block = mean.shape
        noise = ColoredNoise(horizon * frameskip, config.color, mean.device)
        count = int(config.kept * config.elites)
        carried = search.problem.carried_elites()
        for _ in search.iterations(config.iterations, config.candidates):
            drawn = noise(search.normal(config.candidates, block // frameskip, 2, noise.frequencies))
            drawn = drawn.transpose(2, 3).reshape(environments, config.candidates, horizon, block)
            candidates = drawn * std.unsqueeze(1) + mean.unsqueeze(1)
            for number, sequences in enumerate(carried):
                if len(sequences):
                    candidates[number, -len(sequences) :] = sequences
            if search.last:
                candidates[:, 0] = mean
            elites, costs, numbers = search.evaluate(candidates).cheapest(config.elites)
            mean, std = elites.mean(dim=1), elites.std(dim=1)
            carried = list(elites[:, :count])
            search.update(mean, costs.mean(dim=1), numbers, elites[:, :count])


class ColoredNoise:
    """Makes noise of variance 1; its power goes with frequency to the minus `color`: 0 is white, 1 pink, 2 red."""

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
        """Noise (..., steps) from standard normal numbers (..., 2, frequencies): real and imaginary part of each."""
        real, imaginary = (noise * self._scale).unbind(dim=-2)
        colored: Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=self.steps) / self._deviation
        return colored
