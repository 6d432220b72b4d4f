"""`lewm presets`: training configurations to start from."""

from typing import Annotated

from lewm_cli import suggestion
from lewm_cli.cli import completion, options
from lewm_cli.cli.options import argument, option

EXAMPLES = options.examples(
    "lewm presets",
    "lewm presets tworoom/small",
    "lewm presets tworoom/small --method lewm",
    "lewm presets tworoom/release > mine.toml  &&  lewm train tworoom --config mine.toml",
)


def command(
    name: Annotated[str | None, argument("TASK/PRESET.", completion.presets, default="list them")] = None,
    method: Annotated[
        str | None, option("Print it for this method; `lewm methods` lists them.", "the preset's", completion.methods)
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List presets and protocols, or print a preset in full as TOML, ready for --config."""
    from lewm_cli.errors import UsageError
    from lewm_cli.evaluate import task_protocols
    from lewm_cli.report import Output, preset_tables, preset_text, protocol_tables
    from lewm_cli.tasks import TASKS
    from lewm_cli.train import all_presets, find_preset

    output = Output(as_json=json, quiet=quiet)
    if name is None and method:
        example = suggestion.command("presets", "tworoom/small", "--method", method)
        raise UsageError(f"--method prints one preset for a method; name it: {example}")
    if name is None:
        presets = all_presets()
        protocols = [(task.name, protocol) for task in TASKS for protocol in task_protocols(task)]
        output.result(
            [str(preset) for preset in presets], lambda: [*preset_tables(presets), *protocol_tables(protocols)]
        )
    else:
        config = find_preset(name).config(method)
        output.result(config.model_dump(mode="json", by_alias=True), lambda: [preset_text(config)])
