"""Signals to stop: understood from the start of the program to its end, and deferred to the end of a step."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from lewm_cli.errors import StoppedError

HANGUP = getattr(signal, "SIGHUP", None)
"""The terminal has gone; Windows, where the command only says that it does not run there, has no such signal."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else []))

IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
"""The file in which Python's frames of an import say that they are."""

AGAIN_SECONDS = 0.05
"""Seconds after which a signal that came at a bad moment is raised again."""


class StopRequest:
    """Remembers the first signal to stop while it is entered; a second one interrupts at once.

    A signal that nobody acted on, because the work was done first, is raised again at the exit.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.urgent = False

    def __enter__(self) -> "StopRequest":
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # as with nohup
        self._before = {number: signal.signal(number, self._remember) for number in heard}
        return self

    def __exit__(self, failure: type[BaseException] | None, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if failure is None and self.signal_number is not None:
            signal.raise_signal(self.signal_number)

    def check(self) -> None:
        """Raises StoppedError once a signal has come."""
        if self.signal_number is not None:
            raise StoppedError("stopped; nothing half-written was left behind", self.signal_number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        _print_nowhere_after(number)
        if number == HANGUP == self.signal_number:  # the system and the shell both say so
            return
        if self.signal_number is not None:
            self.urgent = True
            raise StoppedError("stopped at once; what was being saved may be missing", number)
        self.signal_number = number


def signal_name(number: int) -> str:
    """SIGSEGV for 11; `signal 99` for a number without a name."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")


def words_of(number: int) -> str:
    """Says that a signal ended everything at once."""
    return f"{'interrupted' if number == signal.SIGINT else 'terminated'}; nothing half-written was left behind"


def understand_signals() -> None:
    """From now on signals to stop end the program whatever it is doing; call it before anything slow is imported.

    An exception out of a signal handler is lost where Python or a library cannot pass it on: in callbacks, and in
    modules that import others from C. So nothing is raised before imports are done, and what got lost is raised again.
    """
    sys.unraisablehook = _not_lost
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as with nohup
            signal.signal(number, _interrupt)


def leave_with(code: int) -> None:
    """From now on a signal ends the program at once, with this exit code: all is done, Python only tidies up."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))


def _interrupt(number: int, frame: FrameType | None) -> None:
    _print_nowhere_after(number)
    importer, begun = _state(frame)
    if importer is None:
        raise StoppedError(words_of(number), number)
    if not begun:
        with suppress(OSError):
            os.write(2, f"lewm: {words_of(number)}\n".encode())
        os._exit(128 + number)

    def imported(*_: object) -> None:
        sys.settrace(None)
        signal.raise_signal(number)

    # Called as a debugger is: at the next line of the importer, or with the error that the import ends with.
    importer.f_trace = imported
    sys.settrace(lambda *_: None)


def _print_nowhere_after(number: int) -> None:
    """Print nowhere where the terminal has gone: it would fail, and with it what is still to be saved."""
    for stream in (1, 2) if number == HANGUP else ():
        try:
            os.write(stream, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _state(frame: FrameType | None) -> tuple[FrameType | None, bool]:
    """The outermost frame that imports a module now, and whether more than the command line had begun before."""
    importer, begun = None, False
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename == IMPORT_SYSTEM:
            importer, begun = frame.f_back, False
        elif name.startswith("lewm_cli.") and not name.startswith(("lewm_cli.cli", "lewm_cli.__main__")):
            begun = True
        frame = frame.f_back
    return importer, begun


def _not_lost(failure: "sys.UnraisableHookArgs") -> None:
    if not isinstance(failure.exc_value, StoppedError):
        sys.__unraisablehook__(failure)
        return
    number = failure.exc_value.signal_number
    # Not by a thread, which could not start where a signal interrupted the start of another.
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
