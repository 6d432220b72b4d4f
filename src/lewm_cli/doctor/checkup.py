"""Checks everything on this machine, one thing after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.doctor.drawing import drawing
from lewm_cli.doctor.finding import Finding, State, guarded
from lewm_cli.doctor.packages import extras, packages


@dataclass(frozen=True)
class Advice:
    """A command to type, and the findings that it is for."""

    names: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Checkup:
    """Everything that was found, section by section."""

    versions: tuple[Finding, ...]
    devices: tuple[Finding, ...]
    rendering: tuple[Finding, ...]
    storage: tuple[Finding, ...]
    extras: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the sections."""
        return self.versions + self.devices + self.rendering + self.storage + self.extras

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of all that TwoRoom needs and that does not work."""
        return tuple(finding.name for finding in self.findings if finding.state is State.BROKEN)

    @property
    def advice(self) -> tuple[Advice, ...]:
        """Every command once, what is broken first, what is optional last."""
        names: dict[str, list[str]] = {}
        for state in (State.BROKEN, State.WARNING, State.OPTIONAL):
            for finding in self.findings:
                if finding.state is state and finding.advice:
                    names.setdefault(finding.advice, []).append(finding.name)
        return tuple(Advice(tuple(whose), command) for command, whose in names.items())


def check_machine(home: Path | None, say: Callable[[str], None]) -> Checkup:
    """Check this machine; nothing that is found, or fails, is an error here. `home` is the folder of `--home`."""
    # Late: check_imports has to be told before torch and h5py are imported.
    from lewm_cli.doctor.devices import devices
    from lewm_cli.doctor.disk import compression, file_system, half_copies, homes, shared_memory

    return Checkup(
        versions=guarded("versions", packages),
        devices=guarded("devices", devices),
        rendering=guarded("rendering", lambda: drawing(say)),
        storage=(
            *guarded("home", lambda: homes(home)),
            *guarded("half a copy", lambda: half_copies(home)),
            *guarded("file system", lambda: file_system(home)),
            *guarded("shared memory", shared_memory),
            *guarded("HDF5 Blosc filter", compression),
        ),
        extras=guarded("extras", extras),
    )
