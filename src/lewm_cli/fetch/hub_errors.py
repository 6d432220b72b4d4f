"""Sentences for what the Hub and its library say."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, errors

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.system_errors import explain, number_of


@contextmanager
def hub_explained(repo: str, kind: str, by_hand: str, instead: str) -> Iterator[None]:
    """Raise LewmError for whatever keeps a repository of the Hub from being downloaded.

    Args:
        kind: what it is in words: "model", "data set".
        by_hand: the command that downloads it.
        instead: what else can be done without a network, in an infinitive.

    Raises:
        MissingError: the Hub has no such repository, or keeps it from others.
        LewmError: the Hub cannot be asked, or the files cannot be written.
    """
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{repo}"
        raise MissingError(
            f"{repo} is gated: accept its terms at {page}, and set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise MissingError(
            f"the Hub has no {kind} {repo}, or keeps it private; check the name, or set HF_TOKEN to a token that may "
            "read it"
        ) from error
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise LewmError(
            f"{repo} is not in the cache of the Hub, and {constants.ENDPOINT} cannot be asked ({_why(error)}); where "
            f"there is a network: {by_hand}, and then copy {constants.HF_HUB_CACHE}, or {instead}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        if number_of(error):
            raise explain(error, constants.HF_HUB_CACHE, "written") from error
        raise LewmError(f"{repo} was not downloaded ({_why(error)}); try again, or by hand: {by_hand}") from error


def _why(error: BaseException) -> str:
    """The first cause in a few words."""
    while error.__cause__:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
