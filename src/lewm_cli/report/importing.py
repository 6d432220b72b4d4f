"""Shows what an import would do, and what it has done."""

from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.filesize import decimal

from lewm_cli.plural import counted
from lewm_cli.report.numbers import number
from lewm_cli.report.pieces import Tree, facts_table, plain_table
from lewm_cli.report.recording_facts import dataset_tables, dataset_tree
from lewm_cli.suggestion import few
from lewm_cli.visible import visible_line

if TYPE_CHECKING:
    from lewm_cli.data import Dataset
    from lewm_cli.exchange.converted_recording import Finished
    from lewm_cli.exchange.survey import Survey

NAMED = 3
"""Sentences about damaged episodes that are shown."""


def survey_tables(found: "Survey", name: str) -> list[RenderableType]:
    """The content of a source, and what would be made of it."""
    source, facts = found.source, facts_table(found.source.name)
    facts.add_row("layout", source.kind)
    facts.add_row("episodes", f"{len(source.episodes):,}")
    unknown = f", guessed from the actions in {counted(found.guessed, 'episode')}" if found.guessed else ""
    facts.add_row("frames", f"{found.frames.sum():,}{unknown}")
    facts.add_row("frames per second", number(source.fps) if source.fps else "not said")
    others = [camera for camera in source.cameras if camera != source.camera]
    facts.add_row("camera", source.camera + (f"; others: {few(others)}" if others else ""))
    facts.add_row("kept of a frame", str(found.framing))
    if source.tasks:
        facts.add_row("tasks", f"{len(source.tasks):,}: {few(source.tasks)}")
    for note in found.notes:
        facts.add_row("note", note)
    if found.short:
        facts.add_row("left out", f"{counted(found.short, 'episode')} of fewer than two frames")
    if found.damaged:
        facts.add_row("refused", f"{counted(len(found.damaged), 'episode')}: {found.damaged[min(found.damaged)]}")
    facts.add_row("would be written", f"{name}, about {decimal(found.bytes)}")
    actions = plain_table("action", "least", "greatest", fold=(0,), title="actions")
    for dimension, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        actions.add_row(_action_names(found)[dimension], number(low), number(high))
    return [facts, actions]


def survey_tree(found: "Survey", name: str) -> Tree:
    """The same for programs."""
    source = found.source
    bounds = np.where(np.isfinite([found.low, found.high]), [found.low, found.high], None).T
    return {
        "name": name,
        "source": source.name,
        "kind": source.kind,
        "files": len(source.files),
        "episodes": len(source.episodes),
        "frames": int(found.frames.sum()),
        "frames_guessed": found.guessed,
        "fps": source.fps,
        "camera": source.camera,
        "cameras": source.cameras,
        "framing": found.framing.model_dump(mode="json"),
        "actions": [
            {"name": each, "least": low, "greatest": high}
            for each, (low, high) in zip(_action_names(found), bounds.tolist(), strict=True)
        ],
        "tasks": source.tasks,
        "notes": found.notes,
        "short": found.short,
        "damaged": [found.damaged[episode] for episode in sorted(found.damaged)],
        "bytes": found.bytes,
    }


def import_tables(dataset: "Dataset", finished: "Finished") -> list[RenderableType]:
    """The recording, and what was left out of it."""
    left_out = (
        (finished.short, "episode", " of fewer than two frames"),
        (finished.frames, "frame", " without an action"),
        (len(finished.damaged), "damaged episode", ""),
    )
    lines = [f"left out: {counted(count, noun)}{more}" for count, noun, more in left_out if count]
    lines += [f"  {sentence}" for sentence in finished.damaged[:NAMED]]
    if finished.left_out:
        lines.append(f"left out: {few(finished.left_out)}, which are no numbers, or not in all episodes")
    if finished.gaps:
        lines.append(f"split: at {counted(finished.gaps, 'gap')} in time")
    return [*dataset_tables(dataset), *map(visible_line, lines)]


def import_tree(dataset: "Dataset", finished: "Finished") -> Tree:
    """The same for programs."""
    left_out = {"episodes": finished.short, "frames": finished.frames, "columns": finished.left_out}
    return {**dataset_tree(dataset), "gaps": finished.gaps, "damaged": finished.damaged, "left_out": left_out}


def _action_names(found: "Survey") -> list[str]:
    return list(found.source.action_names) or [str(dimension) for dimension in range(len(found.low))]
