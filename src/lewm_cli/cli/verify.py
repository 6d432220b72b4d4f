"""`lewm verify`: checks what lies in the home."""

import os
from typing import Annotated

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument

EXAMPLES = options.examples(
    "lewm verify", "lewm verify tworoom/delta", "lewm verify recording.h5", "lewm verify --json > verified.json"
)


def command(
    name: Annotated[
        str | None,
        argument(
            "Name of a run or a dataset, or an HDF5 file.", completion.runs, completion.recordings, default="everything"
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check runs and datasets to the last tensor and frame; exit code 1 if anything is wrong.

    Every frame is decoded, which takes long for a large recording. Nothing is written.
    """
    from lewm_cli.errors import LewmError
    from lewm_cli.flows.rm import find_named
    from lewm_cli.report import Output
    from lewm_cli.store import Home

    output, where = Output(as_json=json, quiet=quiet), Home.locate(home)
    if name is not None and not os.path.exists(name):
        find_named(where, where.run_name(name))
    from lewm_cli.flows.verify import verify
    from lewm_cli.report import verification_tables, verification_tree

    checks = verify(where, name, output.say, output.progress)
    output.result(verification_tree(checks), lambda: verification_tables(checks))
    wrong = dict.fromkeys(check.name for check in checks if not check.ok)
    if wrong:
        raise LewmError(f"wrong: {suggestion.few(wrong)}; what to type is said with the result")
