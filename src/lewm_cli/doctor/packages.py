"""Compares installed packages with the versions that lewm-cli declares."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    "umap-learn": "a second latent map in lewm view",
    "transformers": "tests against stable_worldmodel's LeWM",
}
"""Packages that can be installed besides, and their purpose."""


@dataclass(frozen=True, kw_only=True)
class PackageFinding(Finding):
    """A package: the installed version, if there is one, and those that lewm-cli works with, as pip writes them."""

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
        python = Requirement(f"python{metadata('lewm-cli')['Requires-Python'] or ''}")
    except PackageNotFoundError:
        python = Requirement("python")
    advice = "python3.13 -m venv venv && venv/bin/pip install -c constraints.txt ."
    yield _finding(python, platform.python_version(), advice)
    needed = {requirement.name.lower(): requirement for requirement in declared()}
    # gymnasium comes with stable-worldmodel, which says what it needs of it.
    for name in dict.fromkeys((*PACKAGES, *needed)):
        requirement = needed.get(name, Requirement(name))
        # The distribution lewm-cli is missing where its sources were put on the path instead.
        yield _finding(requirement, _installed(name), "pip install ." if name == "lewm-cli" else _install(requirement))


def extras() -> Iterator[PackageFinding]:
    """Packages that can be installed besides."""
    for text, purpose in EXTRAS.items():
        extra = Requirement(text)
        found = _finding(extra, _installed(extra.name), _install(extra))
        if found.state is State.OK:
            yield replace(found, says=f"{found.version}; {purpose}")
        else:
            says = f"{found.version} is not {found.needs}" if found.version else "not installed"
            yield replace(found, state=State.OPTIONAL, says=f"{says}; {purpose}")


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


def _finding(requirement: Requirement, here: str | None, advice: str) -> PackageFinding:
    """Holds an installed version against what lewm-cli declares."""
    needs = _text(requirement.specifier)
    good = here is not None and requirement.specifier.contains(here, prereleases=True)
    if here is None:
        says = f"not installed, but lewm-cli declares it{': ' + needs if needs else ''}"
    else:
        says = here if good else f"{here}, but lewm-cli is made for {needs}"
    state = State.OK if good else State.WARNING
    advised = None if good else advice
    return PackageFinding(name=requirement.name, version=here, needs=needs, state=state, says=says, advice=advised)


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
