"""Prediction of the next latent: what all methods around LeWorldModel's network share, and what any of them can add."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from lewm_cli.methods.objective import Objective
from lewm_cli.suggestion import command

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lewm_cli.methods.loss import Embedded, Loss, Term
    from lewm_cli.model import Batch, Network


STILL = 1e-4
"""A latent step counts as at least this long in angles.

The gradient of an angle is one over the length of the step: at torch's own limit, 1e-12, one pair of equal frames in a
batch is all that clipping leaves of its gradient, and it is rounding.
"""


class LatentPrediction(Objective):
    """Mean squared error of the next latent, regularizers of the method, and additions that are off by default.

    Gradients flow through both sides of the prediction (arXiv 2603.19312, section 3.2).
    """

    cosine: NonNegativeFloat = Field(
        0.0, description="weight of: angles between latent steps follow angles between actions (arXiv 2609.35603)"
    )
    straightness: NonNegativeFloat = Field(0.0, description="weight of: latent paths are straight (arXiv 2603.12231)")
    rollout: NonNegativeFloat = Field(
        0.0, description="weight of: predictions that were fed back are right too, along a clip (arXiv 2506.09985)"
    )

    def regularizers(
        self, clips: "Embedded", heads: "nn.ModuleDict", generator: "torch.Generator | None"
    ) -> "dict[str, Term]":
        """The terms of the method's own beside prediction, by name; computed in float32, as heads are."""
        return {}

    def loss(
        self, model: "Network", heads: "nn.ModuleDict", batch: "Batch", generator: "torch.Generator | None" = None
    ) -> "Loss":
        """prediction + regularizers + additions."""
        import torch
        from torch.nn import functional as F

        from lewm_cli.methods.loss import Embedded, Loss, Term
        from lewm_cli.model import WorldModel, rollout

        assert isinstance(model, WorldModel)
        latents, blocks = model.embed(batch.pixels, batch.proprio), batch.blocks[:, :-1]
        predicted = model.predict(latents[:, :-1], model.embed_actions(blocks))
        clips = Embedded(latents.float(), predicted.float(), blocks)
        with torch.autocast(latents.device.type, enabled=False):
            terms = self.regularizers(clips, heads, generator)
            if self.cosine:
                terms["cosine"] = Term(cosine(clips), self.cosine)
            if self.straightness:
                terms["straightness"] = Term(straightness(clips), self.straightness)
        if self.rollout:
            # From the first frame alone; its own first step is what `prediction` has already.
            fed_back = rollout(model, latents[:, :1], blocks)[:, 2:].float()
            terms["rollout"] = Term(F.mse_loss(fed_back, clips.latents[:, 2:]), self.rollout)
        total = prediction = F.mse_loss(clips.predicted, clips.latents[:, 1:])
        for term in terms.values():
            total = total + term.weight * term.value
        parts = {"prediction": prediction} | {name: term.value for name, term in terms.items()}
        return Loss(total, parts, clips.latents, clips.predicted)

    @property
    def several_step_terms(self) -> tuple[str, ...]:
        """The additions: angles are between two steps, and only from the second on is a prediction fed back."""
        return tuple(self._added)

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The angles of actions."""
        return ("cosine",) if self.cosine else ()

    @property
    def explanation(self) -> str:
        """The loss in words, for the page of a run."""
        terms = [*self._regularizer, *(f"{weight:g} \u00d7 {name}" for name, weight in self._added.items())]
        return f"{', plus '.join(['Prediction of the next latent', *terms])}. {self.summary}"

    @property
    def _regularizer(self) -> tuple[str, ...]:
        return ()

    @property
    def _added(self) -> dict[str, float]:
        weights = {"cosine": self.cosine, "straightness": self.straightness, "rollout": self.rollout}
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def collapse_advice(self) -> str:
        """Another method is needed where none of its terms keeps latents apart."""
        return f"nothing in this objective keeps latents apart, others do: {command('methods')}"


class Regularized(LatentPrediction):
    """Prediction of the next latent + lambda * what the method keeps latents apart with."""

    regularizer: ClassVar[str]
    """The term that lambda weights, in words."""

    lambda_: NonNegativeFloat = Field(1.0, alias="lambda", description="weight of the method's regularizer")

    @property
    def _regularizer(self) -> tuple[str, ...]:
        return (f"{self.lambda_:g} \u00d7 {self.regularizer}",)

    @property
    def collapse_advice(self) -> str:
        """The regularizer keeps the latents apart."""
        return f"raise --lambda (now {self.lambda_:g})"


def cosine(clips: "Embedded") -> "Tensor":
    """Squared difference of the cosine of two latent steps and that of the actions of these steps, over a clip's pairs.

    arXiv 2609.35603, without its ramp over the first twentieth of training.
    """
    import torch

    steps = _similarities(clips.latents.diff(dim=1))
    first, second = torch.triu_indices(steps.shape[1], steps.shape[1], offset=1, device=steps.device)
    return (steps - _similarities(clips.blocks.float()))[:, first, second].square().mean()


def straightness(clips: "Embedded") -> "Tensor":
    """Minus the mean cosine of successive latent steps (arXiv 2603.12231, and stable_worldmodel)."""
    from torch.nn import functional as F

    steps = clips.latents.diff(dim=1)
    return -F.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1, eps=STILL).mean()


def _similarities(vectors: "Tensor") -> "Tensor":
    """Cosines (B, N, N) between all of vectors (B, N, D)."""
    from torch.nn import functional as F

    units = F.normalize(vectors, dim=-1, eps=STILL)
    return units @ units.transpose(1, 2)
