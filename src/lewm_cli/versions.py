"""What is installed, for the provenance of everything that is written."""

import platform
from importlib.metadata import version

PACKAGES = ("lewm-cli", "torch", "numpy", "stable-worldmodel", "gymnasium", "h5py")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
