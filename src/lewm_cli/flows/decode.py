"""Look at imagination: fit a decoder where there is none, imagine recorded episodes, keep the result with a picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lewm_cli.data import DecodedFrames
from lewm_cli.decode import DecodeResult, measure_decoding
from lewm_cli.errors import MissingError, UsageError
from lewm_cli.files import try_writing
from lewm_cli.flows import Progress
from lewm_cli.flows.fit import fit_loaded
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import find_unseen, load_world_model
from lewm_cli.heads import HORIZON, StoredHead, draw_stretches, find_head, usual_horizon
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say
from lewm_cli.tasks import GENERIC, find_task

EPISODES, PER_EPISODE = 50, 4
"""Episodes that are imagined along unless another number is asked for, and stretches of each, at most."""


def decode_run(
    home: Home,
    name: str,
    say: Say,
    progress: Progress,
    *,
    dataset: str | None = None,
    horizon: int | None = None,
    episodes: int = EPISODES,
    refit: bool = False,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    video: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[DecodeResult], None] = lambda result: None,
) -> tuple[DecodeResult, Path, Path]:
    """Decodes what a run imagines along recorded episodes, and stores the result under `<run>.run/results/`.

    Args:
        dataset: the recording that is imagined; the episodes that the run held out if not given.
        horizon: model steps; 10 if not given, or as many as half of the episodes allow.
        episodes: at most so many.
        refit: fit a decoder even if there is one.
        device: of the model; the decoder is fitted on the CPU.
        plot: the PNG file to draw; beside the result if not given.
        video: a folder that takes an mp4 of every filmstrip.

    Returns:
        the result, its file, and the file of its picture.

    Raises:
        UsageError: the picture is no PNG file.
        LewmError: no such run or dataset, a policy, a recording that does not fit, episodes too short, a decoder that
            is damaged or was fitted to other weights, or nothing that one can be fitted to.
    """
    if plot and plot.suffix != ".png":
        raise UsageError(f"{str(plot)!r} does not end in .png, and that is what filmstrips are drawn as")
    run = load_world_model(home, name, resolve_device(device), external, say)
    unseen = find_unseen(home, run, find_task(run.card.inputs.task) or GENERIC, dataset, say)
    try_keeping(home, run)
    for wanted in (plot, video and video / "strip.mp4"):
        if wanted:
            try_writing(wanted)
    drawn = np.random.default_rng(seed).permutation(unseen.episodes)[:episodes]
    steps = horizon or max(1, usual_horizon(run, unseen.dataset, drawn))
    if horizon is None and steps < HORIZON:
        say(f"horizon: {counted(steps, 'model step')}, for half of the episodes are no longer")
    begins, owners = draw_stretches(run, unseen.dataset, drawn, steps, per_episode=PER_EPISODE, seed=seed)
    decoder = _find_decoder(home, run, say, progress, refit=refit, seed=seed)
    with progress("imagining", len(begins), "stretches") as advance:
        result = measure_decoding(
            run,
            unseen.dataset,
            DecodedFrames(unseen.dataset, run.card.model.image_size),
            decoder,
            begins,
            owners,
            horizon=steps,
            held_out=unseen.held_out,
            seed=seed,
            advance=advance,
        )
    show(result)
    path = keep_result(home, run, "decode", result)
    from lewm_cli.report.filmstrips import save_filmstrips, save_videos  # late: matplotlib

    picture = plot or path.with_suffix(".png")
    save_filmstrips(result, picture)
    if video:
        save_videos(result, video)
    return result, path, picture


def _find_decoder(home: Home, run: Run, say: Say, progress: Progress, *, refit: bool, seed: int) -> StoredHead:
    """Reads the decoder of a run, or fits one if there is none, or anew if that is wanted."""
    try:
        if not refit:
            found = find_head(run, "decoder")
            say(f"decoder: {found.path}, fitted {found.fit.time[:16]}; --refit fits another")
            return found
    except MissingError:
        say(f"{run.name} has no decoder yet; fitting one to its latents")
    fit, path = fit_loaded(home, run, "decoder", say, progress, seed=seed)
    say(f"decoder: {path}; {fit.summary}")
    return find_head(run, "decoder")
