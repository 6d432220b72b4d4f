"""Compares installed packages with the versions that lewm-cli declares."""

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
"""Packages that can be installed besides, and their purpose."""


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
    """Import the packages that every command needs.

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


def packages() -> Iterator[PackageFinding]:
    """Python, the packages that decide numbers, then every other one that lewm-cli declares."""
    try:
        supported = SpecifierSet(metadata("lewm-cli")["Requires-Python"] or "")
    except PackageNotFoundError:
        supported = SpecifierSet()
    advice = "python3.13 -m venv venv && venv/bin/pip install -c constraints.txt ."
    yield _finding("python", platform.python_version(), supported, advice)
    needed = {requirement.name.lower(): requirement for requirement in declared()}
    # gymnasium comes with stable-worldmodel, which says what it needs of it.
    for name in dict.fromkeys((*PACKAGES, *needed)):
        requirement = needed.get(name, Requirement(name))
        # The distribution lewm-cli is missing where its sources were put on the path instead.
        advice = "pip install ." if name == "lewm-cli" else _install(requirement)
        yield _finding(requirement.name, _installed(name), requirement.specifier, advice)


def extras() -> Iterator[PackageFinding]:
    """Packages that can be installed besides."""
    for text, purpose in EXTRAS.items():
        extra = Requirement(text)
        here = _installed(extra.name)
        fits = here is None or extra.specifier.contains(here, prereleases=True)
        says = f"{here or 'not installed'}{'' if fits else f' is not {_text(extra.specifier)}'}; {purpose}"
        yield _finding(extra.name, here, extra.specifier, _install(extra), State.OPTIONAL, says)


@cache
def declared() -> tuple[Requirement, ...]:
    """Requirements that lewm-cli declares; none where it was never installed."""
    try:
        requirements = [Requirement(line) for line in requires("lewm-cli") or ()]
    except PackageNotFoundError:
        return ()
    return tuple(each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""}))


def install(package: str) -> str:
    """The command that installs a package in a version that lewm-cli works with."""
    return _install(next((each for each in declared() if each.name.lower() == package.lower()), Requirement(package)))


def _finding(
    name: str,
    here: str | None,
    specifier: SpecifierSet,
    advice: str,
    otherwise: State = State.WARNING,
    says: str | None = None,
) -> PackageFinding:
    needs = _text(specifier)
    good = here is not None and specifier.contains(here, prereleases=True)
    if here is None:
        found = f"not installed, but lewm-cli declares it{': ' + needs if needs else ''}"
    else:
        found = here if good else f"{here}, but lewm-cli is made for {needs}"
    return PackageFinding(
        name=name,
        version=here,
        needs=needs,
        state=State.OK if good else otherwise,
        says=says or found,
        advice=None if good else advice,
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(requirement: Requirement) -> str:
    if not requirement.specifier:
        return f"pip install {requirement.name}"
    return f'pip install "{requirement.name}{_text(requirement.specifier)}"'  # a shell redirects at < and >


def _text(specifier: SpecifierSet) -> str:
    return ",".join(sorted(str(specifier).split(","), reverse=True))  # lower bound first
