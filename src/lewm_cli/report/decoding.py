"""Imagined frames as a table."""

from rich.console import RenderableType

from lewm_cli.decode import SHOWN, DecodeResult
from lewm_cli.report.numbers import percent
from lewm_cli.report.pieces import measured_on, plain_table

COLUMNS = 5
"""Model steps in a table, at most; the stored result holds all."""


def decode_tables(result: DecodeResult) -> list[RenderableType]:
    """Show how alike imagined and recorded frames are, some model steps ahead, beside limit and floors."""
    steps = sorted({round(1 + k * (result.horizon - 1) / (COLUMNS - 1)) for k in range(COLUMNS)})
    table = plain_table("model steps ahead", "frame", *map(str, steps), title=measured_on(result), padding=(0, 1, 0, 0))
    measures = {
        "PSNR, dB": lambda score: f"{score.likeness.psnr.value:.1f}",
        "  where changed": lambda score: f"{score.changed.value:.1f}" if score.changed else "",
        "SSIM": lambda score: f"{score.likeness.ssim.value:.3f}",
    }
    for measure, written in measures.items():
        for what in SHOWN:
            cells = [written(result.steps[what][step - 1]) for step in steps]
            table.add_row(measure if what == SHOWN[0] else "", what, *cells, end_section=what == SHOWN[-1])
    last = {what: result.steps[what][-1].likeness.psnr for what in SHOWN}
    share = percent(result.changed_share[-1])
    return [
        table,
        f"{result.stretches} stretches of {len(result.episodes)} episodes; one step is {result.frameskip} environment "
        "steps.\n"
        "Re-encoded: decoded from the frame's own latent, the decoder's limit. Copied:\n"
        "the last frame seen. Mean: the mean frame, without any latent. A background that\n"
        f"stands still makes PSNR high; where changed: on the pixels ({share} at the last\n"
        "step) that differ from the last frame seen. PSNR at the last step with 95 %\n"
        f"intervals over episodes: imagined {last['imagined']:.1f}, re-encoded\n"
        f"{last['re-encoded']:.1f}, copied {last['copied']:.1f}.",
    ]
