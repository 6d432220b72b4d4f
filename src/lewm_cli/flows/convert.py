"""Write a run in another format: find it, decide where the result goes, and overwrite nothing unasked."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import locked
from lewm_cli.report import Conversion, WrittenFile
from lewm_cli.store import NOTHING_SAID, Foreign, FoundRun, Home, Run, RunFiles, load_run, read_card, weights_digest
from lewm_cli.store.convert import FOLDERS, Names, Target, write_as
from lewm_cli.store.load import Say, silent


@dataclass(frozen=True)
class ConvertRequest:
    """What to convert, and to what.

    Args:
        run: its name.
        target: the format.
        output: a file, or for hub and onnx a folder; the usual place if not given.
        names: of the tensors in a hub folder.
        overwrite: replace what is there.
        foreign: how weights of another tool are read.
    """

    run: str
    target: Target
    output: Path | None = None
    names: Names | None = None
    overwrite: bool = False
    foreign: Foreign = NOTHING_SAID


def convert_run(home: Home, request: ConvertRequest, say: Say = silent) -> Conversion:
    """Write a run in another format.

    Raises:
        UsageError: the name has a suffix, or tensors are named for a format that has its own names.
        MissingError: there is no such run.
        LewmError: something is there already, the format cannot hold the run, or the place cannot be written.
    """
    target, names = request.target, request.names or Names.RELEASED
    if request.names and target is not Target.HUB:
        raise UsageError(f"--names is about hub folders; {target} has names of its own: leave it out")
    found = home.find_run(request.run)
    files = found.files
    path = request.output.resolve() if request.output else _usual_place(found, target)
    derived = found.own and _is_derived(files, path, target)
    if derived and files.stopped:
        raise LewmError(
            f"the training of {request.run} was stopped, and {path.name} is written at its end; go on with lewm train "
            f"{read_card(files.weights).inputs.task} --name {request.run} --resume, or name another file with --output"
        )
    if not derived:
        _check_place(path, request)
    busy = f"another process is writing {request.run!r}; wait for its end, or name another file with --output"
    with locked(files.weights, busy) if derived else nullcontext():
        run = load_run(home, request.run, foreign=request.foreign, say=say)
        written = write_as(target, run, path, names)
    return Conversion(
        run=run.name,
        target=str(target),
        names=str(names) if target is Target.HUB else None,
        tensors=run.tensors,
        path=path,
        files=tuple(WrittenFile(file, file.stat().st_size, weights_digest(file)) for file in written.files),
        largest_difference=written.difference,
        remarks=_remarks(run, target, names),
    )


def _usual_place(found: FoundRun, target: Target) -> Path:
    plain = found.name.replace("/", "-")
    match target:
        case Target.OBJECT if found.own:
            return found.files.object
        case Target.WEIGHTS if found.own:
            return found.files.state_dict
        case Target.OBJECT:
            return Path.cwd() / f"{plain}_object.ckpt"
        case Target.WEIGHTS:
            return Path.cwd() / f"{plain}_weight.ckpt"
        case Target.SAFETENSORS:
            return Path.cwd() / f"{plain}.safetensors"
        case Target.SWM_OBJECT:
            return Path.cwd() / f"{plain}_object.ckpt"
        case Target.HUB:
            return Path.cwd() / f"{plain}-hub"
        case Target.ONNX:
            return Path.cwd() / f"{plain}-onnx"


def _is_derived(files: RunFiles, path: Path, target: Target) -> bool:
    """Whether it is a file that goes with the run, in the format that it has there.

    Raises:
        LewmError: it goes with the run in another format.
    """
    own = {files.weights: None, files.object: Target.OBJECT, files.state_dict: Target.WEIGHTS}
    for file, its in own.items():
        if file.resolve() == path.resolve():
            if its is not target:
                raise LewmError(f"{path} belongs to the run itself; choose another place with --output")
            return True
    return False


def _check_place(path: Path, request: ConvertRequest) -> None:
    if request.target in FOLDERS:
        if path.exists() and not path.is_dir():
            raise LewmError(f"{path} is a file, and {request.target} is a folder; choose another place with --output")
        there = sorted(file.name for file in path.iterdir()) if path.exists() else []
        others = [name for name in there if name not in FOLDERS[request.target]]
        if others:
            # A second weight file would make a hub folder ambiguous, too.
            raise LewmError(f"{path} holds other files ({others[0]!r}); choose another folder with --output")
        taken = bool(there)
    else:
        if path.is_dir():
            raise LewmError(f"{path} is a folder, and {request.target} is a file; name one with --output")
        taken = path.exists()
    if taken and not request.overwrite:
        raise LewmError(f"{path} is there already; add --overwrite, or choose another place with --output")


def _remarks(run: Run, target: Target, names: Names) -> tuple[str, ...]:
    inputs = run.card.inputs
    lost = f"normalization of pixels and actions, frameskip {inputs.frameskip} and task {inputs.task}"
    match target:
        case Target.SAFETENSORS:
            return ()
        case Target.HUB:
            other = next(name for name in Names if name is not names)
            version = names.rpartition("-")[2]
            return (
                f"weights.pt loads with transformers {version}; for the other version: --names {other}",
                f"{lost} are in card.json, which other tools do not read",
            )
        case Target.ONNX:
            size = run.card.model.image_size
            return (
                f"frames go in as uint8 and actions in the environment's units: their normalization is inside; resize "
                f"frames to {size} x {size} by area before",
                "card.json has everything else: sizes, history, frameskip, statistics",
            )
        case _:
            return (f"not in it: {lost}; lewm show {run.name} --json has them",)
