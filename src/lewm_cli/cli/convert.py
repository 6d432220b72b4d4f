"""`lewm convert`: writes a run in the formats of other tools."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from lewm_cli.cli import early, options
from lewm_cli.cli.options import option

EXAMPLES = options.examples(
    "lewm convert tworoom/delta --to hub",
    "lewm convert tworoom/delta --to safetensors --output lewm.safetensors",
    "lewm convert tworoom/delta --to swm-object --output lewm_object.ckpt --json",
    "lewm convert tworoom/delta --to onnx",
)


def command(
    run: options.Run,
    to: Annotated[
        Literal["safetensors", "object", "weights", "hub", "swm-object", "onnx"], option("The format.", name="--to")
    ],
    output: Annotated[
        Path | None,
        option(
            "A file, or for hub and onnx a folder.",
            "object and weights beside an own run, the others here",
            metavar="PATH",
        ),
    ] = None,
    names: Annotated[
        Literal["transformers-4", "transformers-5"] | None,
        option("What tensors are called in a hub folder.", "transformers-4, as released"),
    ] = None,
    overwrite: Annotated[bool, option("Replace what is there.", name="--overwrite")] = False,
    stats_from: options.StatsFrom = None,
    sizes: options.Sizes = None,
    trust: options.Trust = False,
    home: options.Home = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run as one file or folder that other tools load; but for onnx, every tensor stays the same, bit for bit.

    safetensors: weights and run card
    object: lewm's module as a pickle
    weights: a state dict under the released names
    hub: a folder like a release on the Hugging Face Hub
    swm-object: stable_worldmodel's module as a pickle
    onnx: a folder of models for onnxruntime, without torch: encoder, action encoder, predictor
    """
    where = early.find_home(home, runs=[run])
    from lewm_cli.flows.convert import convert_run
    from lewm_cli.report import Output, conversion_tables
    from lewm_cli.store import ExternalWeights
    from lewm_cli.store.conversion import Names, Target

    terminal = Output(as_json=json, quiet=quiet)
    conversion = convert_run(
        where,
        run,
        Target(to),
        output=output,
        names=Names(names) if names else None,
        overwrite=overwrite,
        external=ExternalWeights(stats_from, trust, sizes),
        say=terminal.say,
    )
    terminal.result(asdict(conversion), lambda: conversion_tables(conversion))
