"""The command `lewm`: its subcommands, and the exit codes of errors, Ctrl-C and SIGTERM."""

import io
import os
import re
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from inspect import cleandoc
from typing import Annotated

import typer
from typer.exceptions import TyperException

from lewm_cli import __version__, suggestion
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.stop import understand_signals, words_of
from lewm_cli.supported import check_system
from lewm_cli.system_errors import explain, number_of, printing
from lewm_cli.visible import visible_line

COMMANDS = (
    *("quickstart", "fetch", "collect", "import", "pack", "train", "plot", "eval", "compare", "fit", "improve", "plan"),
    *("probe", "latent", "surprise", "decode", "report", "view", "demo", "ls", "show", "verify", "convert", "export"),
    *("rm", "methods", "presets", "doctor"),
)
"""Commands in the order of the help; each is `command` in a module of this room."""

MODULES = {"import": "import_recording"}
"""Modules that cannot be called like their command."""

COMPLETE = "_LEWM_COMPLETE"
"""The variable by which a shell asks for completions."""

app = typer.Typer(
    name="lewm",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="LeWorldModel from one command: record, train, plan, measure.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in COMMANDS:
    module = import_module(f"lewm_cli.cli.{MODULES.get(name, name)}")
    # A paragraph breaks where the terminal does, but for lists like `hub: a folder`.
    text = re.sub(r"(?<!\n)\n(?!\n|[\w-]+: )", " ", cleandoc(module.command.__doc__))
    app.command(name, help=text, epilog=module.EXAMPLES)(module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lewm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of errors; works after any command.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit: 0, 1 for a failure, 2 for wrong usage, 3 for an event, 130 after Ctrl-C."""
    _open_output()
    arguments = sys.argv[1:]
    debug, completing = "--debug" in arguments, COMPLETE in os.environ
    if not debug:
        warnings.simplefilter("ignore")  # of libraries; whatever a user should know is in our own messages
    understand_signals()
    try:
        check_system()
        os.getcwd()  # where that folder has gone, libraries end the process
        words = [argument for argument in arguments if argument != "--debug"]
        code = app(words, prog_name="lewm", complete_var=COMPLETE, standalone_mode=False)
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        with printing():
            sys.stdout.flush()
    except BaseException as error:
        if debug:
            traceback.print_exc()
        code = _explain(error, silent=completing and not debug)
    finally:
        suggestion.HOME.set(None)  # whatever is called next in this process has a home of its own
    sys.exit(code)


def _open_output() -> None:
    """Makes sure that something can be printed: to nowhere if it was closed, and escaped where letters are missing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed; else the next file that is opened would take its number, and what is printed
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (until the end)
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _explain(error: BaseException, *, silent: bool) -> int:
    """Print in one sentence what went wrong, unless silent, and return the exit code."""
    code = 1
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        error = error.__context__  # typer and rich exit by themselves
    match error:
        case SystemExit(code=int(code)) | typer.Exit(exit_code=code):
            return code
        case LewmError() | StoppedError():
            message, code = str(error), error.exit_code
        case TyperException() if not error.format_message():
            return error.exit_code  # no command: the help has been printed
        case TyperException():
            context = getattr(error, "ctx", None)
            said = " ".join(error.format_message().split())  # it lists choices on lines of their own
            said = said.replace("Value error, ", "")  # as Pydantic calls what is no choice
            message = f"{said.rstrip('.')}; see: {context.command_path if context else 'lewm'} --help"
            code = error.exit_code
        case KeyboardInterrupt() | typer.Abort():
            message, code = words_of(signal.SIGINT), 130
        case BrokenPipeError():
            # The reader of our output has gone; so that Python does not complain at exit:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
                    continue
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return 141
        case _ if type(error).__name__ == "OutOfMemoryError":
            message = "the device is out of memory; try --device cpu, or for training a smaller --batch-size"
        case MemoryError():
            message = "this machine is out of memory; try a smaller --batch-size"
        case OSError() | RuntimeError() | ImportError() if isinstance(error, OSError) or number_of(error):
            message = str(explain(error))
        case _:
            message = f"unexpected {type(error).__name__}: {error}; please report it with what --debug prints"
    if not silent:
        with suppress(OSError):  # nobody is there to read it
            print(f"lewm: {visible_line(message)}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    main()
