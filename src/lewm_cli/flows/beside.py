"""Another run as a control beside the one that is measured."""

import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.flows.unseen import is_unseen
from lewm_cli.store import Home, Run, Say, load_run


def load_beside(home: Home, name: str, run: Run, recording: Dataset, say: Say) -> Run:
    """Load a run that sees the same frames and actions as another one.

    Raises:
        LewmError: no such run, a policy, or one that takes other inputs.
    """
    other = load_run(home, name, run.device, say=say)
    other.require_world_model()
    if other.sha256 == run.sha256:
        raise LewmError(f"{other.name} is the run that is measured; name another one with --beside")
    for what, own, its in zip(
        ("action dimensions", "frameskip", "image size", "size of proprioception"),
        _inputs(run),
        _inputs(other),
        strict=True,
    ):
        if own != its:
            raise LewmError(
                f"{other.name} cannot stand beside {run.name}, which sees something else: {what} {its} and {own}; "
                "name another run with --beside"
            )
    if seen := np.sum(~is_unseen(other, recording)):
        was = "was" if other.card.provenance else "may have been"
        say(f"note: {other.name} {was} trained on {seen} of the {recording.episodes} episodes of {recording.name}")
    return other


def _inputs(run: Run) -> tuple[int, int, int, int]:
    inputs = run.card.inputs
    proprio = inputs.proprio.dim if inputs.proprio else 0
    return inputs.actions.dim, inputs.frameskip, run.card.model.image_size, proprio
