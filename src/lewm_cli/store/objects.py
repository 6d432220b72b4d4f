"""Files derived from a run's weights, written and read: the state dict, and the object that other tools load."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path
from lewm_cli.methods import DEFAULT, METHODS, RunCard
from lewm_cli.model import Network
from lewm_cli.store.formats import ModelSpec, read_checkpoint
from lewm_cli.store.formats.families import family_of, names_of
from lewm_cli.store.run_files import RunFiles


def restore_model(config_json: str, block_dim: int, state: dict[str, Tensor], method: str = DEFAULT) -> Network:
    """Rebuild a model, in eval mode, from what an object checkpoint holds, of which older ones name no method.

    Such a pickle calls nothing else.
    """
    model = ModelSpec(METHODS[method].Sizes.model_validate_json(config_json), block_dim, method).network()
    model.load_state_dict(state, strict=True)
    return model.eval()


class _Reduced:
    def __init__(self, model: Network, method: str) -> None:
        self.model, self.method = model, method

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        model = self.model
        return restore_model, (model.config.model_dump_json(), model.block_dim, model.state_dict(), self.method)


def write_torch(content: object, path: Path) -> None:
    """Write a file of torch.save in one step."""
    with atomic_path(path) as part, part.open("wb") as file:
        torch.save(content, file)


def save_object(model: Network, method: str, path: Path) -> None:
    """Write `<run>_object.ckpt`: `torch.load` gives back the module, wherever lewm_cli is installed."""
    write_torch(_Reduced(model, method), path)


def save_state_dict(model: Network, path: Path) -> None:
    """Write a state dict under the names of the released weights."""
    write_torch(named_tensors(model, 4), path)


def named_tensors(model: Network, version: int) -> dict[str, Tensor]:
    """The tensors of a model, on the CPU, under the names of other tools with a major version of transformers."""
    names, family = names_of(model.config), family_of(model.config)
    tensors = {names.theirs_of(key, version): value.detach().cpu() for key, value in model.state_dict().items()}
    return tensors | (family.more(model.config) if family else {})


def save_derived(files: RunFiles, model: Network, method: str) -> None:
    """Write `<run>_weight.ckpt` and `<run>_object.ckpt` for tools that know only these."""
    save_state_dict(model, files.state_dict)
    save_object(model, method, files.object)


def read_derived(path: Path, card: RunCard) -> dict[str, Tensor]:
    """The tensors of one of the two, by our names; the module is not built.

    Raises:
        LewmError: the file is damaged, or is not what lewm writes for a run of this method and these sizes.
    """
    check_sums(path)
    found = read_checkpoint(path, ModelSpec(card.model, card.inputs.block_dim, card.method))
    names = names_of(card.model)
    version = names.version([names.theirs_of(key) for key in found.state])
    state_dict = f"state dict (transformers {version} names, sizes as given)"
    if found.source != ("object checkpoint (lewm)" if path.name.endswith("_object.ckpt") else state_dict):
        raise LewmError(f"{path.name} holds something else than lewm writes: {found.source}")
    return found.state


def check_sums(path: Path) -> None:
    """Compare a file that torch.save wrote with the checksums in it; raises LewmError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    # Damage can make any of these out of a zip archive.
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LewmError(f"{path.name} is damaged or cut short ({error})") from error
    if wrong:
        raise LewmError(f"{path.name} is damaged: {wrong} does not have its checksum")
