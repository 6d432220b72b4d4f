"""Gets a model of transformers from the Hub, into the cache there that other tools share."""

from pathlib import Path

from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils.tqdm import disable_progress_bars

from lewm_cli import __version__
from lewm_cli.errors import LewmError
from lewm_cli.fetch.hub_errors import hub_explained
from lewm_cli.store import Say
from lewm_cli.store.formats.pretrained import CONFIG, WEIGHTS


def hub_folder(repo: str, say: Say, *, download: bool = True) -> Path:
    """The folder with the configuration and the weights of a model; no network is asked if the cache has them.

    Args:
        download: what is not in the cache.

    Raises:
        MissingError: the Hub has no such model, or keeps it from others.
        LewmError: the Hub cannot be asked, or the model may not be downloaded.
    """
    by_hand = f"hf download {repo} {CONFIG} {WEIGHTS[0]}"
    with hub_explained(repo, "model", by_hand, "name a folder that holds both"):
        if there := _cached(repo):
            return there
        if not download:
            raise LewmError(f"{repo} is not in the cache of the Hub, and a dry run downloads nothing; type: {by_hand}")
        say(f"downloading {repo} from {constants.ENDPOINT} to {constants.HF_HUB_CACHE}")
        disable_progress_bars()  # a line says what comes, and those who asked for quiet get none
        try:
            get_hf_file_metadata(hf_hub_url(repo, CONFIG))  # first, for a download tries long where nobody answers
            _file(repo, CONFIG)
        except errors.RemoteEntryNotFoundError as error:
            raise LewmError(f"{repo} on the Hub holds no {CONFIG}, so it is no model of transformers") from error
        for name in WEIGHTS:
            try:
                return _file(repo, name).parent
            except errors.RemoteEntryNotFoundError:
                continue
        raise LewmError(f"{repo} on the Hub holds no weights that are read here ({' or '.join(WEIGHTS)})")


def _file(repo: str, name: str) -> Path:
    return Path(hf_hub_download(repo, name, library_name="lewm", library_version=__version__))


def _cached(repo: str) -> Path | None:
    """The folder in the cache; not by `hf_hub_download`, which asks the network even for what it has."""
    there = [try_to_load_from_cache(repo, name) for name in (CONFIG, *WEIGHTS)]
    config, *weights = [Path(path) if isinstance(path, str) else None for path in there]
    return config.parent if config and any(weights) else None
