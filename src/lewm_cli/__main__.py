"""The command `lewm` from its first moment to its last; little is imported before Ctrl-C is understood."""

import signal
import sys

from lewm_cli.errors import StoppedError
from lewm_cli.stop import leave_with, understand_signals, words_of


def main() -> None:
    """Run the command line and exit, see `lewm_cli.cli.main`."""
    understand_signals()
    try:
        from lewm_cli.workers import limit_threads

        limit_threads()
        from lewm_cli.cli.main import main as run

        run()
    except SystemExit as end:
        leave_with(int(end.code or 0))
        raise
    except (KeyboardInterrupt, StoppedError) as stopped:  # before it ran, or after it had ended
        number = stopped.signal_number if isinstance(stopped, StoppedError) else signal.SIGINT
        leave_with(128 + number)
        print(f"lewm: {words_of(number)}", file=sys.stderr)
        sys.exit(128 + number)


if __name__ == "__main__":
    main()
