"""Opens a page in the browser of whoever sits in front of this machine."""

import os
import subprocess
import sys
from pathlib import Path

OPENED = 5.0
"""Seconds; a browser that has not ended by then stays open."""


def open_in_browser(page: Path | str) -> bool:
    """Open a file or an address in the user's browser, which outlives this process; False without one, or a screen."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # the last one names a browser, which may need no screen
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        return False  # a browser inside the terminal would show neither figures nor colors
    address = page if isinstance(page, str) else page.absolute().as_uri()
    script = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
    # As a process of its own, because what a browser prints is neither our result nor our message.
    opening = subprocess.Popen(
        [sys.executable, "-c", script, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return opening.wait(OPENED) == 0
    except subprocess.TimeoutExpired:
        return True
