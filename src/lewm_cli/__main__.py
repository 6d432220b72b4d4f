"""The command `lewm` from its first moment to its last; little is imported before Ctrl-C is understood."""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from lewm_cli.errors import StoppedError
from lewm_cli.stop import leave_with, understand_signals


def main() -> NoReturn:
    """Run the command line and exit, see `lewm_cli.cli.main`."""
    understand_signals()
    try:
        code = _run()
    except StoppedError as stopped:  # before it ran, or after it had ended
        print(f"lewm: {stopped}", file=sys.stderr)
        code = stopped.exit_code
    leave_with(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # nobody may be there to read it
            stream.flush()
    os._exit(code)  # not as usual: to take torch apart would need another second


def _run() -> int:
    from lewm_cli.workers import limit_threads

    limit_threads()
    from lewm_cli.cli.main import main as run

    try:
        run()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    main()
