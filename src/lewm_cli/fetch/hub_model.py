"""Gets a model of transformers from the Hub, into the cache there that other tools share."""

from pathlib import Path

import httpx2
from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils.tqdm import disable_progress_bars

from lewm_cli import __version__
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.store import Say
from lewm_cli.store.formats.pretrained import CONFIG, WEIGHTS
from lewm_cli.system_errors import explain, number_of


def hub_folder(repo: str, say: Say, *, download: bool = True) -> Path:
    """The folder with the configuration and the weights of a model; no network is asked if the cache has them.

    Args:
        download: what is not in the cache.

    Raises:
        MissingError: the Hub has no such model, or keeps it from others.
        LewmError: the Hub cannot be asked, or the model may not be downloaded.
    """
    by_hand = f"hf download {repo} {CONFIG} {WEIGHTS[0]}"
    try:
        if there := _cached(repo):
            return there
        if not download:
            raise LewmError(f"{repo} is not in the cache of the Hub, and a dry run downloads nothing; type: {by_hand}")
        say(f"downloading {repo} from {constants.ENDPOINT} to {constants.HF_HUB_CACHE}")
        disable_progress_bars()  # a line says what comes, and those who asked for quiet get none
        get_hf_file_metadata(hf_hub_url(repo, CONFIG))  # first, for a download tries long where nobody answers
        _file(repo, CONFIG)
        for name in WEIGHTS:
            try:
                return _file(repo, name).parent
            except errors.RemoteEntryNotFoundError:
                continue
        raise LewmError(f"{repo} on the Hub holds no weights that are read here ({' or '.join(WEIGHTS)})")
    except errors.GatedRepoError as error:
        raise MissingError(
            f"{repo} is gated: accept its terms at {constants.ENDPOINT}/{repo}, and set HF_TOKEN to a token of that "
            "account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise MissingError(
            f"the Hub has no model {repo}, or keeps it private; check the name, or set HF_TOKEN to a token that may "
            "read it"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise LewmError(f"{repo} on the Hub holds no {CONFIG}, so it is no model of transformers") from error
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise LewmError(
            f"{repo} is not in the cache of the Hub, and {constants.ENDPOINT} cannot be asked ({_why(error)}); where "
            f"there is a network: {by_hand}, and then copy {constants.HF_HUB_CACHE}, or name a folder that holds both"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        if number_of(error):
            raise explain(error, constants.HF_HUB_CACHE, "written") from error
        raise LewmError(f"{repo} was not downloaded ({_why(error)}); try again, or by hand: {by_hand}") from error


def _file(repo: str, name: str) -> Path:
    return Path(hf_hub_download(repo, name, library_name="lewm", library_version=__version__))


def _cached(repo: str) -> Path | None:
    """The folder in the cache; not by `hf_hub_download`, which asks the network even for what it has."""
    there = [try_to_load_from_cache(repo, name) for name in (CONFIG, *WEIGHTS)]
    config, *weights = [Path(path) if isinstance(path, str) else None for path in there]
    return config.parent if config and any(weights) else None


def _why(error: BaseException) -> str:
    """The first cause in a few words."""
    while error.__cause__:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
