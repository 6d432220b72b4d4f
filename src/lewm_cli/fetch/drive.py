"""Files of Google Drive, whose large ones lie behind a page that asks for confirmation; gdown knows that page."""

import httpx2
from gdown.download import get_url_from_gdrive_confirmation
from gdown.exceptions import FileURLRetrievalError
from gdown.parse_url import parse_url

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.fetch.catalog import PublishedFile
from lewm_cli.fetch.refusals import broken_connection, unusable_proxy
from lewm_cli.fetch.remote import Remote

ADDRESS = "https://drive.google.com"

_PATIENCE = 30.0
"""Seconds for one page."""


def drive_identifier(url: str) -> str | None:
    """The file that an address on Google Drive means; None if it is elsewhere."""
    identifier, _ = parse_url(url)
    return identifier


def drive_remote(identifier: str, file: PublishedFile) -> Remote:
    """Ask for a file and, if its size asks for it, confirm; no byte of it is fetched yet.

    Raises:
        MissingError: there is no such file.
        LewmError: Drive cannot be reached, or does not give it: not shared, or asked for too often.
    """
    name = f"{file.name} on Google Drive"
    url = f"{ADDRESS}/uc?id={identifier}&export=download"
    try:
        with httpx2.Client(follow_redirects=True, timeout=_PATIENCE) as client, client.stream("GET", url) as answer:
            if answer.status_code == 404:
                raise MissingError(
                    f"Google Drive has no file {identifier} any more (404); name another place with --source"
                )
            if answer.status_code in (401, 403):
                raise LewmError(f"{name} is not shared with everybody ({answer.status_code}); name another --source")
            if not answer.is_success:
                raise LewmError(
                    f"Google Drive answers {answer.status_code} for {file.name}; try again later, or name another "
                    "place with --source"
                )
            if "content-disposition" not in answer.headers:
                url = get_url_from_gdrive_confirmation(answer.read().decode(errors="replace"))
    except FileURLRetrievalError as error:
        reason = " ".join(str(error).split())
        raise LewmError(
            f"Google Drive does not give {file.name}: {_first_sentence(reason)}; try again tomorrow, or another place "
            "with --source"
        ) from error
    except httpx2.HTTPError as error:
        told = broken_connection(Remote(url, name), error)
        if isinstance(told, LewmError):
            raise told from error
        raise LewmError(
            f"Google Drive cannot be reached ({told.reason}); check the network, or name another place with --source"
        ) from error
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise unusable_proxy(Remote(url, name), error) from error
    return Remote(url, name, (), file.size, file.sha256, identity=f"drive:{identifier}")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")
