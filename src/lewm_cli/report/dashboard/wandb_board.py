"""Weights & Biases: online where there is a login and a network, else files to be uploaded later."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from lewm_cli.config import LogConfig
from lewm_cli.errors import StoppedError
from lewm_cli.files import write_text
from lewm_cli.report.dashboard.board import LoggedRun, Say
from lewm_cli.suggestion import quote

ANSWER_SECONDS = 15.0
"""Waited for the first answer of the server; without one the run is logged offline."""

UPLOAD_SECONDS = 20.0
"""Waited at the end for what is not uploaded yet; it stays on disk."""


class WandbBoard:
    """A run at Weights & Biases, the same one when training is resumed; see `Board`."""

    def __init__(self, run: LoggedRun, config: LogConfig, first_step: int, say: Say) -> None:
        import wandb

        quiet = {"silent": True, "console": "off"}
        limits = {"init_timeout": ANSWER_SECONDS, "finish_timeout": UPLOAD_SECONDS, "finish_timeout_raises": True}
        mode = config.mode or wandb.setup(wandb.Settings(**quiet)).settings.mode
        run.folder.mkdir(parents=True, exist_ok=True)
        identity = run.folder / "wandb.id"
        if not (first_step and identity.exists()):
            write_text(identity, secrets.token_hex(4))

        def begin(mode: str) -> Any:
            with _nothing_waited_for():
                return wandb.init(
                    id=identity.read_text(encoding="utf-8").strip(),
                    resume="allow",
                    name=run.name,
                    project=config.project,
                    entity=config.entity,
                    dir=str(run.folder),
                    config=run.settings,
                    allow_val_change=True,
                    mode=mode,
                    settings=wandb.Settings(**quiet, **limits),
                )

        why = "offline"
        if mode == "online":
            try:
                if wandb.login(prompt=False, verify=False):
                    self._run = begin(mode)
                else:
                    mode, why = "offline", "there is no login (type: wandb login), so it is offline"
            except wandb.Error as error:
                said = " ".join(str(error).split())
                mode, why = "offline", f"the server cannot be used ({said}), so it is offline"
                wandb.teardown()  # it still holds the run that could not begin
        if mode != "online":
            self._run = begin(mode)
        self._say, self._later = say, f"upload later with: wandb sync {quote(str(self._run.settings.sync_dir))}"
        later = f"{why}; {self._later}"
        say(f"wandb: {later if self._run.offline else self._run.url or mode}")
        # Its own count of steps only grows; what is done over after a kill is shown at its place all the same.
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        import wandb

        self._run.log({"step": step, name: wandb.Image(picture)})

    def close(self) -> None:
        import wandb

        try:
            with _nothing_waited_for():
                self._run.finish()
        except TimeoutError:
            self._say(f"wandb: the server has not taken everything, so the run is kept offline; {self._later}")
        finally:
            wandb.teardown()  # its process, which would otherwise be missed at exit if it has died


@contextmanager
def _nothing_waited_for() -> Iterator[None]:
    """On Ctrl-C, kill the process of wandb, which would keep Python at its exit until the server has answered."""
    import wandb

    try:
        yield
    except (StoppedError, KeyboardInterrupt):
        with suppress(Exception):  # it may not have begun yet, and nothing public leads to it
            process = wandb.setup().ensure_service()._proc._process
            process.kill()
            process.wait()
        with suppress(Exception, SystemExit):  # with the exit code of that process
            wandb.teardown()
        raise
