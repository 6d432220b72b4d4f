"""The systems that lewm runs on."""

import sys
from importlib.util import find_spec

from lewm_cli.errors import LewmError


class UnsupportedSystemError(LewmError, ImportError):
    """This system cannot run lewm; for commands and for imports alike."""

    def __init__(self) -> None:
        super().__init__(
            "this system is not supported: lewm runs on Linux and macOS, and on Windows in WSL (type wsl --install, "
            "and use lewm there); docs/getting-started.md names the supported systems"
        )


def check_system() -> None:
    """Raises UnsupportedSystemError where files cannot be locked as Linux and macOS do it, which is on Windows."""
    if sys.platform == "win32" or find_spec("fcntl") is None:
        raise UnsupportedSystemError
