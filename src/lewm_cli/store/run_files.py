"""Paths of the files of a run, ours or another tool's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BEST = "@best"
"""Ends the name of the best state of a run: `pusht/lewm@best`."""

HEADER = "lewm"
"""The metadata entry of a safetensors file that holds the run card as JSON."""


@dataclass(frozen=True)
class RunFiles:
    """Paths of the files of a run.

    Args:
        stem: path without suffix.
        external: its weights, if another tool made them.
        within: the folder that is the run, if the weights lie in one of their own.
        copy: which model in them, if they hold several: "ema".
    """

    stem: Path
    external: Path | None = None
    within: Path | None = None
    copy: str | None = None

    @property
    def weights(self) -> Path:
        """Weights and card; of another tool, weights alone."""
        return self.external or Path(f"{self.stem}.safetensors")

    @property
    def statistics(self) -> Path:
        """The normalization of weights that do not carry it themselves."""
        return Path(f"{self.stem}.stats.json")

    @property
    def state_dict(self) -> Path:
        """Derived: the state dict under the names of the released weights."""
        return Path(f"{self.stem}_weight.ckpt")

    @property
    def object(self) -> Path:
        """Derived: the module as a pickle, for stable_worldmodel."""
        return Path(f"{self.stem}_object.ckpt")

    @property
    def folder(self) -> Path:
        """Everything else about the run; never named like the run, for stable_worldmodel would look only inside."""
        return Path(f"{self.stem}.run")

    @property
    def resume(self) -> Path:
        """State to go on training from."""
        return self.folder / "resume.pt"

    @property
    def stopped(self) -> bool:
        """True if training ended before its last step: derived files are written after it."""
        return self.resume.exists() and not self.object.exists()

    @property
    def config(self) -> Path:
        """The resolved training configuration."""
        return self.folder / "config.toml"

    @property
    def logging(self) -> Path:
        """The section `log` of its settings, if it is logged elsewhere too."""
        return self.folder / "logging.toml"

    @property
    def log(self) -> Path:
        """One JSON object per event."""
        return self.folder / "log.jsonl"

    @property
    def best(self) -> "RunFiles":
        """The state that did best in evaluations while it was trained: a run of its own, which goes with this one."""
        return RunFiles(Path(f"{self.stem}{BEST}"))

    def head(self, kind: str) -> Path:
        """A head fitted to its latents: plans are judged by it, or frames drawn."""
        return self.folder / f"{kind}.safetensors"

    @property
    def results(self) -> Path:
        """Measurements, one JSON file each."""
        return self.folder / "results"


def head_paths(places: Sequence[RunFiles], kind: str) -> tuple[Path, ...]:
    """Paths at which a head of a run may lie."""
    return tuple(dict.fromkeys(files.head(kind) for files in places))
