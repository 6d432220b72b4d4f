"""Writes a run in another format: finds it, decides where the result goes, and overwrites nothing unasked."""

import os
from contextlib import nullcontext
from pathlib import Path

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import locked
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, RunFiles, Say, load_run, read_card, silent
from lewm_cli.store.conversion import FOLDERS, Conversion, Names, Target, write_as
from lewm_cli.suggestion import command

USUAL_NAMES = {
    Target.SAFETENSORS: "{}.safetensors",
    Target.OBJECT: "{}_object.ckpt",
    Target.WEIGHTS: "{}_weight.ckpt",
    Target.SWM_OBJECT: "{}_object.ckpt",
    Target.HUB: "{}-hub",
    Target.ONNX: "{}-onnx",
}
"""Names of the file or folder in the current folder, for the name of a run."""


def convert_run(
    home: Home,
    name: str,
    target: Target,
    *,
    output: Path | None = None,
    names: Names | None = None,
    overwrite: bool = False,
    external: ExternalWeights = NO_OPTIONS,
    say: Say = silent,
) -> Conversion:
    """Write a run in another format, to its usual place unless `output` names a file, or for hub and onnx a folder.

    Raises:
        UsageError: the name has a suffix, or tensors are named for a format that has its own names.
        MissingError: there is no such run.
        LewmError: something is there already, the format cannot hold the run, or the place cannot be written.
    """
    if names and target is not Target.HUB:
        raise UsageError(f"--names is about hub folders; {target} has names of its own: leave it out")
    found = home.find_run(name)
    files = found.files
    # Object and weights lie beside an own run, everything else in the current folder.
    beside = {Target.OBJECT: files.object, Target.WEIGHTS: files.state_dict} if found.own else {}
    usual = USUAL_NAMES[target].format(found.name.replace("/", "-"))
    path = Path(os.path.realpath(output)) if output else beside.get(target) or Path.cwd() / usual
    derived = found.own and _is_derived(files, path, target)
    if derived and files.stopped:
        task = read_card(files.weights).inputs.task
        raise LewmError(
            f"the training of {name} was stopped, and {path.name} is written at its end; name another file with "
            f"--output, or go on with: {command('train', task, '--name', name, '--resume')}"
        )
    if not derived:
        _check_place(path, target, overwrite)
    busy = f"another process is writing {name!r}; wait for its end, or name another file with --output"
    with locked(files.weights, busy) if derived else nullcontext():
        run = load_run(home, name, external=external, say=say)
        return write_as(target, run, path, names or Names.RELEASED)


def _is_derived(files: RunFiles, path: Path, target: Target) -> bool:
    """True for a file that goes with the run in this format; raises LewmError if it does so in another."""
    own = {files.weights: None, files.object: Target.OBJECT, files.state_dict: Target.WEIGHTS}
    for file, its in own.items():
        if os.path.realpath(file) == os.path.realpath(path):
            if its is not target:
                raise LewmError(f"{path} belongs to the run itself; choose another place with --output")
            return True
    return False


def _check_place(path: Path, target: Target, overwrite: bool) -> None:
    if target in FOLDERS:
        if path.exists() and not path.is_dir():
            raise LewmError(f"{path} is a file, and {target} is a folder; choose another place with --output")
        there = sorted(file.name for file in path.iterdir()) if path.exists() else []
        others = [name for name in there if name not in FOLDERS[target]]
        if others:
            # A second weight file would make a hub folder ambiguous, too.
            raise LewmError(f"{path} holds other files ({others[0]!r}); choose another folder with --output")
        taken = bool(there)
    else:
        if path.is_dir():
            raise LewmError(f"{path} is a folder, and {target} is a file; name one with --output")
        taken = path.exists()
    if taken and not overwrite:
        raise LewmError(f"{path} is there already; add --overwrite, or choose another place with --output")
