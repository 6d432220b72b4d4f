"""The provenance of results: the command as typed, and the versions installed."""

import platform
import sys
from importlib.metadata import version

from lewm_cli.suggestion import quote

PACKAGES = ("lewm-cli", "torch", "numpy", "stable-worldmodel", "gymnasium", "h5py", "scipy")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def command_line() -> str:
    """The command as it was typed, without the path of the program."""
    return " ".join(map(quote, ["lewm", *sys.argv[1:]]))
