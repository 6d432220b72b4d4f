"""`lewm quickstart`: everything once, on TwoRoom, without downloads."""

from pathlib import Path
from typing import Annotated

from lewm_cli import suggestion
from lewm_cli.cli import options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm quickstart --open", "lewm quickstart --home /scratch/demo --device cuda", "lewm quickstart --json"
)


def command(
    home: Annotated[
        Path, option("Folder for everything that is made; no other one is read.", callback=options.remember_home)
    ] = Path(".demo"),
    opened: options.Open = False,
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Record, train, plan, probe and surprise on TwoRoom, and draw one page of it: minutes on two cores.

    No downloads. Ctrl-C at any time: the same command goes on where it was.
    """
    from lewm_cli.flows.quickstart import PRESET, QuickstartSize, quickstart
    from lewm_cli.methods import METHODS
    from lewm_cli.report import Output, TrainingView, report_tables, report_tree

    output = Output(as_json=json, quiet=quiet)
    with TrainingView(output) as view:
        page = quickstart(home, QuickstartSize(), device, (view,), output.say, output.progress)
    output.result(report_tree(page.report, page.path), lambda: report_tables(page.report))
    output.page(page.path, opened=opened)
    output.say("next:")
    name = page.report.name
    other = next(method for method in METHODS if method != PRESET.method)
    for line in (
        suggestion.command("demo", name),
        suggestion.command("eval", name, "--dataset", "tworoom/test", "--video", "videos"),
        suggestion.command("train", "tworoom", "--dataset", "tworoom/demos", "--preset", "small", "--method", other),
        suggestion.command("fit", name),
    ):
        output.say(f"  {line}")
    output.say("with recordings of your own: docs/robot.md")
