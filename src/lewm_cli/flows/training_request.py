"""The request for a training, and all that can be found and checked of it without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lewm_cli.config import EncoderConfig, FrozenEncoderConfig, Layer, NetworkConfig, merge_layers, read_toml
from lewm_cli.data import Dataset, original_stem
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import METHODS, RunCard, TrainConfig
from lewm_cli.store import (
    Home,
    RunEntry,
    RunFiles,
    Say,
    dataset_task,
    is_name,
    list_runs,
    named_task,
    newest_run,
    read_card,
    silent,
)
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import TASKS, Task, find_task
from lewm_cli.train import ChosenSettings, task_preset

DEFAULT_PRESETS = {"cpu": "small", "cuda": "release"}
"""The presets by the kind of device, where none is named."""


@dataclass(frozen=True)
class TrainingRequest:
    """A training that is asked for, as the options of `lewm train` say it.

    Args:
        what: a task, or a dataset by name or path.
        preset: if not given, `release` on CUDA, else `small`; what suits a recording without a simulator.
        dataset: which recording of the task.
        config: a TOML file laid over the preset, under the settings.
        name: the next free `<task>/<method>` if not given.
        encoder: a run, a folder or a model on the Hub, for a method that looks through a frozen one.
        init_from: a run whose weights are the start.
        resume: go on with a run that stopped.
        overwrite: replace the run of this name.
    """

    what: str
    preset: str | None = None
    dataset: str | None = None
    config: Path | None = None
    settings: tuple[Layer, ...] = ()
    name: str | None = None
    device: str = "auto"
    encoder: str | None = None
    init_from: str | None = None
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class MethodSettings:
    """Settings of a training, of which a frozen encoder may bring some.

    Args:
        preset: its settings for the method.
        asked: those laid over it.
    """

    method: str
    preset: Layer
    asked: Layer

    @property
    def takes_encoder(self) -> bool:
        """True if the network looks through an encoder that was trained before."""
        return _encoder_type(self.method) is FrozenEncoderConfig

    @property
    def encoder(self) -> str:
        """The encoder that the settings name, as those of an earlier run do; empty if they name none."""
        match merge_layers([self.preset, self.asked]).tree:
            case {"model": {"encoder": {"source": str(source)}}}:
                return source
        return ""

    def config(self, encoder: FrozenEncoderConfig | None = None, seen: int | None = None) -> TrainConfig:
        """The whole configuration.

        Args:
            encoder: that the network is to look through.
            seen: side of the frames that this encoder sees, pixels; any multiple of its patches if not given.

        Raises:
            UsageError: what comes out cannot mean anything, or contradicts the encoder.
            LewmError: a logger is not installed.
        """
        merged = merge_layers([self.preset, self.asked])
        if encoder:
            self._check_encoder(encoder)
            model = merged.tree.get("model", {})
            _check_frames(encoder, model.get("image_size", NetworkConfig().image_size), seen)
            merged.tree["model"] = {**model, "encoder": encoder.model_dump(exclude_none=True)}
        built = TrainConfig.build(merged.tree, merged.source)
        built.log.check_installed()
        return built

    def _check_encoder(self, encoder: FrozenEncoderConfig) -> None:
        has = encoder.model_dump()
        match self.asked.tree:
            case {"model": {"encoder": {**asked}}}:
                for key, value in asked.items():
                    if value != has.get(str(key)):
                        raise UsageError(
                            f"model.encoder.{key} is {value!r} in {self.asked.source}, and {has.get(str(key))!r} of "
                            f"{encoder.source}; leave it out, for the encoder brings all of model.encoder"
                        )


def _check_frames(encoder: FrozenEncoderConfig, size: object, seen: int | None) -> None:
    if not isinstance(size, int):
        return  # which the configuration says
    patch, fitting = encoder.patch_size, seen or -(-size // encoder.patch_size) * encoder.patch_size
    if size != fitting:
        sees = f"frames of {seen} pixels" if seen else f"patches of {patch} pixels"
        raise UsageError(
            f"{encoder.source} sees {sees}, which do not fit model.image_size {size}; add: "
            f"--set model.image_size={fitting}"
        )


def read_settings(
    task: Task,
    preset: str,
    config: Path | None,
    settings: Sequence[Layer],
    say: Say = silent,
    chosen: ChosenSettings | None = None,
) -> MethodSettings:
    """Lay a TOML file, and settings over it, over a preset of the task, or over what was chosen for a recording.

    The last layer that names a method decides which one is trained; what another layer has for the method that it names
    itself is then left out, and it is said.

    Raises:
        UsageError: there is no such method.
        LewmError: there is no such preset or file, or it is no TOML.
    """
    base = chosen.base if chosen else task_preset(task, preset)
    above = [*([read_toml(config)] if config else ()), *settings]
    method = str(merge_layers(above).tree.get("method", base.method))
    kept = [TrainConfig.of_method(layer, method) for layer in above]
    for layer, rest in zip(above, kept, strict=True):
        if left_out := layer.tree.keys() - rest.tree.keys():
            own = layer.tree["method"]
            say(f"note: {few(sorted(left_out))} in {layer.source} is for {own}, so it is left out with {method}")
    return MethodSettings(method, base.layer(method), merge_layers(kept))


def named_encoder(home: Home, request: TrainingRequest, settings: MethodSettings) -> str | None:
    """The name of the frozen encoder that a new training is to use; None for none, or that of the run it starts from.

    Raises UsageError if none is named and the method needs one, or one is named in vain.
    """
    method, what = settings.method, request.what
    if not settings.takes_encoder:
        if request.encoder and method in METHODS:
            raise UsageError(f"{method} trains an encoder of its own and takes no other; leave out --encoder")
        return None
    if request.init_from:
        if request.encoder:
            raise UsageError(
                f"the weights of {request.init_from} hold their encoder; leave out --encoder, or --init-from"
            )
        return None
    if name := request.encoder or settings.encoder:
        return name
    task, folder = find_task(what), f"{run_folder(what)}/"
    # Runs that look through an encoder have it from elsewhere.
    there = [run for run in list_runs(home) if not run.problem and _encoder_type(run.method) is EncoderConfig]
    runs = [run.name for run in there if (task is _task_of(run) if task else run.name.startswith(folder))]
    have = f"a run ({few(runs, command('ls'))})" if runs else "a run"
    example = command("train", what, "--method", method, "--encoder", runs[0] if runs else "facebook/dinov2-small")
    raise UsageError(
        f"{method} sees through a frozen encoder; name {have}, a folder that save_pretrained wrote, or a model on the "
        f"Hub: {example}"
    )


def _encoder_type(method: str | None) -> object:
    """The type of the section `model.encoder` of a method, the default one if it is not known."""
    return TrainConfig.types({"method": method})["model"].types({}).get("encoder")


def _task_of(run: RunEntry) -> Task | None:
    return find_task(run.inputs.task) if run.inputs else named_task(run.name)


def stopped_run(home: Home, request: TrainingRequest, say: Say = silent) -> tuple[str, RunCard]:
    """Find the run to go on with: the newest of this task that stopped, if none is named.

    Returns:
        its name, and its card, which has provenance.

    Raises:
        LewmError: there is none, or another tool trained it.
    """
    name = request.name or _newest_stopped(home, request.what, say)
    files = RunFiles(home.run_stem(name))
    external = any(run.name == name and not run.own for run in home.runs())
    if not external and not files.weights.exists():
        raise LewmError(f"there is no run to resume at {files.weights}: nothing was saved; start it without --resume")
    card = None if external else read_card(files.weights)
    if card is None or card.provenance is None:
        raise LewmError(
            f"{name} was trained by another tool, which left nothing to resume; "
            f"start a run from its weights: {command('train', request.what, '--init-from', name)}"
        )
    return name, card


def _newest_stopped(home: Home, what: str, say: Say) -> str:
    task = find_task(what)
    stopped = [
        run
        for run in list_runs(home)
        if run.card  # else damaged, or of another tool: not what stopped here
        and (run.card.inputs.task == task.name if task else run.name.startswith(f"{run_folder(what)}/"))
        and RunFiles(run.path.with_suffix("")).stopped
    ]
    if not stopped:
        raise LewmError(f"no run of {what} has stopped before its end; start one with: {command('train', what)}")
    name = newest_run(stopped, say).name
    say(f"resuming {name}, the newest run of {what} that stopped")
    return name


def run_folder(what: str) -> str:
    """The folder of new runs: `tworoom` for the task and its aliases, `robot` for robot, robot/pick and robot.h5."""
    task = find_task(what)
    if task is not None:
        return task.name
    path = PurePath(what)
    return path.parts[0] if len(path.parts) > 1 and is_name(what) and not path.suffix else path.stem


def check_resumption(home: Home, request: TrainingRequest) -> None:
    """Raise the error of a training that is to be resumed, if its run can be found and its options are wrong.

    No setting but how batches are served and what is logged leaves the result as it is; the method may be said again.
    """
    begins = request.config or request.preset or request.encoder or request.init_from or request.overwrite
    if begins or not all(map(_changes_nothing, request.settings)):
        raise UsageError(
            "--resume goes on with the run's own configuration; leave out --preset, --config, --encoder, --init-from, "
            "--overwrite and every setting but data.workers, data.in_memory and those of log"
        )
    merged = merge_layers(list(request.settings))
    config = TrainConfig.build(merged.tree, merged.source)
    config.log.check_installed()
    if "method" not in merged.tree:
        return
    method = config.method
    name, card = stopped_run(home, request)
    if card.method != method:
        raise UsageError(
            f"{name} is trained with {card.method}, and --resume keeps the method; "
            f"train another run with {method}: {command('train', request.what, '--method', method)}"
        )


def _changes_nothing(setting: Layer) -> bool:
    match setting.tree:
        case {"data": {**own}, **most}:
            return not most and own.keys() <= {"workers", "in_memory"}
        case {"method": _, **most} | {"log": _, **most}:
            return not most
    return False


def named_recording(home: Home, request: TrainingRequest, say: Say = silent) -> Dataset:
    """Find the recording that stands in the place of a task; raises LewmError if it is neither."""
    what, tasks = request.what, ", ".join(task.name for task in TASKS)
    if request.dataset:
        alone = command("train", request.dataset)
        raise LewmError(f"there is no task {what!r} (there is {tasks}); name the recording alone: {alone}")
    try:
        return home.find_dataset(what, say)
    except MissingError as error:
        raise LewmError(f"{what!r} is no task (there is {tasks}), and {error}") from error


def task_recording(home: Home, task: Task, dataset: str | None, say: Say = silent) -> Dataset:
    """Find a recording of a task: the named one, else the released or only one; raises LewmError if there is none."""
    if dataset:
        return home.find_dataset(dataset, say)
    found = home.datasets_of(task)
    if not found:
        make = f"make one with: {command('collect', task.name, '--episodes', 300)}"
        raise LewmError(f"there is no recording of {task.name} yet; {'; '.join(home.unreadable()) or make}")
    if len(found) > 1 and original_stem(found[0]) != task.released_dataset:
        names = few((dataset.name for dataset in found), command("ls"))
        raise LewmError(f"there are several recordings of {task.name}: {names}; name one with --dataset")
    return found[0]


def check_request(home: Home, request: TrainingRequest) -> None:
    """Raise the error that a new training would end with, if it has one whatever the device."""
    task = find_task(request.what)
    known = task or dataset_task(named_recording(home, request))
    wrong: list[UsageError] = []
    presets = [request.preset] if request.preset else list(DEFAULT_PRESETS.values())
    for preset in presets:
        try:
            settings = read_settings(known, preset, request.config, request.settings)
            named_encoder(home, request, settings)
            if not settings.takes_encoder:  # else it is complete when the encoder has been read
                settings.config()
        except UsageError as error:
            wrong.append(error)
    if len(wrong) == len(presets):
        raise wrong[0]
    if task:
        task_recording(home, task, request.dataset)
