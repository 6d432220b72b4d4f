"""`lewm demo`: a page in which a run plans, live."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lewm_cli.cli import completion, early, options
from lewm_cli.cli.options import option
from lewm_cli.errors import UsageError

if TYPE_CHECKING:
    from lewm_cli.demo import LiveModel

EXAMPLES = options.examples(
    "lewm demo tworoom/delta",
    "lewm demo tworoom/delta --output page.html",
    "lewm demo tworoom/delta --serve",
    "lewm demo pusht/lewm --serve --port 8000 --dataset pusht/test",
)


def command(
    run: options.Run,
    output: Annotated[
        Path | None, option("The HTML file.", "RUN.run/demo.html, opened", name="--output -o", metavar="FILE")
    ] = None,
    opened: options.Open = False,
    serve: Annotated[
        bool,
        option(
            "Serve the page on this machine until Ctrl-C: for every task, and with several threads where there "
            "are more than two cores.",
            name="--serve",
        ),
    ] = False,
    port: Annotated[int | None, option("Where --serve listens.", "any that is free", min=1, max=65535)] = None,
    dataset: Annotated[
        str | None,
        option(
            "Recording for the latent map, and for starts and goals that are served.",
            "what the run was trained on; for TwoRoom none is needed",
            completion.recordings,
        ),
    ] = None,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a page in which a run plans, live: press play, and watch plan after plan.

    For TwoRoom it is one file that needs no network, simulator included: click goals, drag the agent, draw walls. For
    other tasks --serve steps the simulator here, from recorded starts to recorded goals, and the page plans.
    """
    if serve and output:
        raise UsageError("--output names the file of a page, and --serve writes none; leave one of them out")
    if port and not serve:
        raise UsageError("--port says where a page is served; add --serve")
    where = early.find_home(home, runs=[run], datasets=[dataset])
    from lewm_cli.flows.demo import serve_demo, write_demo
    from lewm_cli.report import Output, demo_tables, demo_tree, served_tables
    from lewm_cli.store import ExternalWeights

    terminal = Output(as_json=json, quiet=quiet)
    external = ExternalWeights(stats_from, trust, sizes)

    def started(model: "LiveModel", address: str) -> None:
        terminal.result(demo_tree(model, demo=address), lambda: served_tables(model, address))
        if opened or not json:
            terminal.open(address)

    if serve:
        serve_demo(where, run, port or 0, terminal.say, started, dataset=dataset, external=external)
        return
    page = write_demo(where, run, output, terminal.say, dataset=dataset, external=external)
    terminal.result(
        demo_tree(page.model, demo=str(page.path), bytes=page.path.stat().st_size),
        lambda: demo_tables(page.model, page.path),
    )
    terminal.page(page.path, opened=opened or not (output or json), what="demo")
