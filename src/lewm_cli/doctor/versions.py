"""What is installed, held against what lewm-cli declares that it needs."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.errors import LewmError
from lewm_cli.provenance import PACKAGES

IMPORTED_EVERYWHERE = {
    "numpy": "numpy",
    "torch": "torch",
    "h5py": "h5py",
    "hdf5plugin": "hdf5plugin",
    "cv2": "opencv-python-headless",
    "imageio": "imageio",
    "scipy": "scipy",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "tomli_w": "tomli-w",
}
"""Modules without which not even a table can be drawn, and the packages that they come in."""

EXTRAS = {
    "mujoco<4": "the tasks cube and reacher",
    "ogbench": "the task cube",
    "dm_control": "the task reacher",
    "transformers": "tests against stable_worldmodel's LeWM",
}
"""What can be installed besides, and what for."""


@dataclass(frozen=True, kw_only=True)
class PackageFinding(Finding):
    """A package.

    Args:
        version: the installed one, None without.
        needs: versions that lewm-cli works with, as pip writes them; empty for any.
    """

    version: str | None
    needs: str


def check_imports() -> None:
    """Import what every command needs.

    Raises:
        LewmError: one of the packages is not there or broken.
    """
    for module, package in IMPORTED_EVERYWHERE.items():
        try:
            import_module(module)
        except Exception as error:  # a damaged package can fail in any way
            raise LewmError(
                f"{module} cannot be imported ({type(error).__name__}: {error}), and nothing works without it; "
                f"type: pip install --force-reinstall {package}"
            ) from error


def versions() -> Iterator[PackageFinding]:
    """Python, the packages that decide numbers, then every other one that lewm-cli declares."""
    yield _python()
    needed = {requirement.name.lower(): requirement for requirement in declared()}
    # gymnasium comes with stable-worldmodel, which says what it needs of it.
    for name in dict.fromkeys((*PACKAGES, *needed)):
        yield _package(needed.get(name, Requirement(name)))


def extras() -> Iterator[PackageFinding]:
    """What can be installed besides."""
    for requirement, purpose in EXTRAS.items():
        yield _extra(Requirement(requirement), purpose)


@cache
def declared() -> tuple[Requirement, ...]:
    """What lewm-cli declares that it needs; nothing where it was never installed."""
    try:
        requirements = [Requirement(line) for line in requires("lewm-cli") or ()]
    except PackageNotFoundError:
        return ()
    return tuple(each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""}))


def install(package: str) -> str:
    """The command that installs a package in a version that lewm-cli works with."""
    known = next((each for each in declared() if each.name.lower() == package.lower()), Requirement(package))
    return f"pip install {_quoted(known)}"


def _python() -> PackageFinding:
    here = platform.python_version()
    try:
        needs = SpecifierSet(metadata("lewm-cli")["Requires-Python"] or "")
    except PackageNotFoundError:
        needs = SpecifierSet()
    good = needs.contains(here, prereleases=True)
    return PackageFinding(
        name="python",
        version=here,
        needs=_specifier(needs),
        state=State.OK if good else State.WARNING,
        says=here if good else f"{here}, but lewm-cli is made for {_specifier(needs)}",
        advice=None if good else "python3.13 -m venv venv && venv/bin/pip install -c constraints.txt .",
    )


def _package(requirement: Requirement) -> PackageFinding:
    here, needs = _installed(requirement.name), _specifier(requirement.specifier)
    if here is None:
        state, says = State.WARNING, f"not installed, but lewm-cli declares it{': ' + needs if needs else ''}"
    elif not requirement.specifier.contains(here, prereleases=True):
        state, says = State.WARNING, f"{here}, but lewm-cli is made for {needs}"
    else:
        state, says = State.OK, here
    # The distribution lewm-cli is missing where its sources were put on the path instead.
    advice = "pip install ." if requirement.name == "lewm-cli" else f"pip install {_quoted(requirement)}"
    return PackageFinding(
        name=requirement.name,
        version=here,
        needs=needs,
        state=state,
        says=says,
        advice=None if state is State.OK else advice,
    )


def _extra(requirement: Requirement, purpose: str) -> PackageFinding:
    here, needs = _installed(requirement.name), _specifier(requirement.specifier)
    good = here is not None and requirement.specifier.contains(here, prereleases=True)
    return PackageFinding(
        name=requirement.name,
        version=here,
        needs=needs,
        state=State.OK if good else State.OPTIONAL,
        says=f"{here or 'not installed'}{'' if good or here is None else f' is not {needs}'}; {purpose}",
        advice=None if good else f"pip install {_quoted(requirement)}",
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _quoted(requirement: Requirement) -> str:
    # A shell would take < and > for files.
    wanted = f"{requirement.name}{_specifier(requirement.specifier)}"
    return f'"{wanted}"' if requirement.specifier else wanted


def _specifier(specifier: SpecifierSet) -> str:
    return ",".join(sorted(str(specifier).split(","), reverse=True))  # lower bound first
