"""CEM-GD: the cross-entropy method, then gradient steps on the best that it found (arXiv 2112.07746)."""

import torch

from lewm_cli.plan.cem import CEM
from lewm_cli.plan.gradient import descend
from lewm_cli.plan.search import Search


class CEMGD(CEM):
    """Plans with the cheapest sequence of all. A budget cuts the gradient steps first, for they come last.

    It takes what `CEM` takes; then `descents` of Adam with its `step` on the mean and the cheapest, `refined` together.
    """

    def run(self, search: Search) -> None:
        """Run `CEM`, then descend from its mean and the cheapest candidates of its last iteration."""
        super().run(search)
        cheapest, _, _ = search.evaluated.cheapest(self.config.refined - 1)
        starts = torch.cat([search.mean.unsqueeze(1), cheapest], dim=1)
        descend(search, starts, self.config.descents, self.config.step)
