"""trackio: a database where it keeps its projects, on this machine unless its own settings name a server."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout

import numpy as np

from lewm_cli.config import LogConfig
from lewm_cli.report.dashboard.board import LoggedRun, Say


class TrackioBoard:
    """A run of a project of trackio, the same one when training is resumed; see `Board`."""

    def __init__(self, run: LoggedRun, config: LogConfig, first_step: int, say: Say) -> None:
        with redirect_stdout(io.StringIO()):  # it greets there
            import trackio

            self._heard = ExitStack()
            self._heard.enter_context(_failures_told(say))
            resume = "allow" if first_step else "never"
            self._run = trackio.init(config.project, run.name, config=run.settings, resume=resume, embed=False)
        say(f"trackio: look at it with: trackio show --project {config.project}")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        import trackio

        self._run.log({name: trackio.Image(picture)}, step=step)

    def close(self) -> None:
        import trackio

        with self._heard, redirect_stdout(io.StringIO()):
            trackio.finish()


@contextmanager
def _failures_told(say: Say) -> Iterator[None]:
    """Tell the first of its warnings: it raises nothing, and writes in a thread of its own."""
    told: list[str] = []

    def tell(message: Warning | str, *_: object, **__: object) -> None:
        if not told:
            told.append(str(message))
            say(f"warning: trackio: {message}")

    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"trackio\.utils")
        warnings.showwarning = tell
        yield
