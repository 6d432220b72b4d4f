"""Weights of methods are chosen on the validation recording, and by nothing else."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_results_page import evaluated, generator

HELD_OUT = {"prediction": 0.1, "copying": 1.0, "parts": {}, "std_min": 0.5, "effective_rank": 4.0, "cosine": 0.0}


@pytest.fixture(scope="module")
def methods() -> ModuleType:
    for name in ("results", "preset_methods"):
        generator(name)
    return generator("methods")


class Kept:
    """Answers every step as if it had been done, and remembers the steps."""

    def __init__(self, solved: dict[str, int], collapsed: tuple[str, ...] = ()) -> None:
        self.solved, self.collapsed, self.steps = solved, collapsed, []

    def do(self, home: Path, folder: str, step: object) -> object:
        self.steps.append(step)
        if step.command[0] == "train":
            run = step.command[step.command.index("--name") + 1]
            shrunk = {"std": 0.01, "prediction": 1.0} if run in self.collapsed else {"std": 1.0}
            printed = json.dumps({"held_out": HELD_OUT | shrunk})
        else:
            run = step.command[1]
            found = evaluated(run, "heldout", self.solved.get(run, 5)).model_dump(mode="json")
            printed = json.dumps([found, found] if "--offsets" in step.command else found)
        return sys.modules["results"].Done(
            kind=step.kind, command=" ".join(step.command), seconds=1.0, cpu_seconds=1.0, cores=2, printed=printed
        )


@pytest.mark.parametrize(
    ("solved", "collapsed", "at_8", "at_64"),
    [
        # The best at each size, among the two best at the first.
        ({"delta-1-latent8": 9, "delta-10-latent8": 8, "delta-10-latent64": 9}, (), 1.0, 10.0),
        ({"delta-100-latent8": 9, "delta-1-latent8": 8, "delta-10-latent64": 20}, (), 100.0, 1.0),
        # Not one whose latents have collapsed, whatever it solved.
        ({"delta-1-latent8": 20, "delta-10-latent8": 9, "delta-10-latent64": 9}, ("delta-1-latent8",), 10.0, 10.0),
    ],
)
def test_best_on_the_validation_recording_is_chosen(
    methods: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    solved: dict[str, int],
    collapsed: tuple[str, ...],
    at_8: float,
    at_64: float,
):
    runs = {f"tworoom/{name}-seed0": many for name, many in solved.items()}
    if at_64 == 1.0:
        runs["tworoom/delta-1-latent64-seed0"] = 9
    kept = Kept(runs, tuple(f"tworoom/{name}-seed0" for name in collapsed))
    monkeypatch.setattr(methods, "do", kept.do)
    chosen = methods.choose(tmp_path)
    assert (chosen["delta", 8], chosen["delta", 64], chosen["delta", 192]) == (at_8, at_64, at_64)
    assert {step.command[0] for step in kept.steps} == {"train", "eval"}
    recordings = {step.command[step.command.index("--dataset") + 1] for step in kept.steps}
    assert recordings == {"tworoom/demos", "tworoom/validation"}


def test_recordings_share_no_seed(methods: ModuleType):
    """Episodes of a recording take a seed each, from its own on."""
    taken = [set(range(seed, seed + many)) for many, seed in methods.RECORDINGS.values()]
    assert len(set().union(*taken)) == sum(map(len, taken))
