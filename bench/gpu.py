"""Measures all that only a GPU can show, in one command of a few minutes: makes gpu.md and gpu.json.

    python bench/gpu.py [--device cuda] [--minutes 8] [--out FOLDER] [--only SECTION ...]
    python bench/gpu.py --device cpu --tiny     # tries the way through it, with toy sizes, in under a minute

Sections come in the order of their importance; each runs in a process of its own, so that one that fails or hangs takes
nothing from the others, and has at most its own share of the minutes. What it has found by then stays. Nothing but this
repository and torch is needed; pytest for the tests.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import torch

from gpu_sections import Limit, Row, Setting, Tell, from_json, limits, planning, steps, tests, to_json, training
from lewm_cli.provenance import installed_versions
from lewm_cli.workers import available_cores

LEAST = 8.0
"""Seconds under which a section is not begun: torch and the device take as long to start."""

SHARE = 0.97
"""The part of the minutes that is given to sections."""


@dataclass(frozen=True)
class Section:
    """A part of the measurement.

    Args:
        title: of its table.
        measure: tells rows.
        most: seconds that it may take, of eight minutes.
    """

    title: str
    measure: Callable[[Setting, Tell], None]
    most: float


SECTIONS = {
    "limits": Section("What the device can do", limits, 40),
    "tests": Section("Tests marked `gpu`", tests, 120),
    "bf16": Section("Steps of the release preset, bf16, eager", steps("bf16", compiled=False), 45),
    "bf16-compiled": Section("The same, compiled", steps("bf16", compiled=True), 170),
    "planning": Section("Plans with the released size", planning, 70),
    "training": Section("`lewm train` on recorded frames", training, 100),
    "float32": Section("Steps of the same in float32, eager", steps("float32", compiled=False), 40),
    "tf32-compiled": Section("Steps in float32 with TF32, compiled", steps("float32, TF32", compiled=True), 120),
    "float32-compiled": Section("Steps in float32, compiled", steps("float32", compiled=True), 120),
}

TRIED = ("limits", "tests", "bf16", "bf16-compiled", "planning", "training")
"""Sections that stand for all of them where only the way through is tried."""

NOTES = """\
Steps: one batch that stays on the device; `transfer` is that of the same batch from pinned memory, which can overlap.
`of the peak` is of large products in the same precision, `of the bandwidth` an estimate of the traffic over the rate of
a large copy. Backward and optimizer: until the gradient is there, and clipping with AdamW after it. TF32 is off in
products unless a row says it; cuDNN uses it in the patches' convolution by default.
"""


@dataclass(frozen=True)
class Outcome:
    """The rows that a section has found, and why there are not more."""

    section: str
    seconds: float
    rows: tuple[Row, ...]
    failure: str | None


def measured(name: str, setting: Setting, most: float, out: Path) -> Outcome:
    """Run a section in a process of its own for at most so many seconds."""
    found, begun = setting.work / f"{name}.jsonl", time.monotonic()
    if most <= (0 if setting.tiny else LEAST):
        return Outcome(name, 0, (), "no time was left")
    rows = [to_json(limit) for limit in setting.limits]
    (setting.work / "limits.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = [sys.executable, __file__, "--child", name, "--device", str(setting.device), "--work", str(setting.work)]
    with (out / "log.txt").open("a", encoding="utf-8") as log:
        print(f"\n===== {name}", file=log, flush=True)
        process = subprocess.Popen(
            [*command, *(["--tiny"] if setting.tiny else [])], stdout=log, stderr=log, start_new_session=True
        )
        try:
            failure = None if process.wait(most) == 0 else "it failed; see log.txt"
        except subprocess.TimeoutExpired:
            failure = f"not more in the {most:.0f} s that it had"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    why = setting.work / f"{name}.error"
    if failure and why.exists():
        failure = why.read_text(encoding="utf-8")
    return Outcome(name, time.monotonic() - begun, tuple(map(from_json, lines)), failure)


def child(name: str, setting: Setting) -> None:
    """Measure a section, in the process that was made for it; every row is written at once."""
    with (setting.work / f"{name}.jsonl").open("a", encoding="utf-8") as found:
        try:
            SECTIONS[name].measure(setting, lambda row: print(to_json(row), file=found, flush=True))
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            (setting.work / f"{name}.error").write_text(f"{type(error).__name__}: {lines[0][:300]}", encoding="utf-8")
            raise


def machine(device: torch.device, commit: str) -> dict[str, str]:
    """The facts that the numbers belong to."""
    cuda = device.type == "cuda" and torch.cuda.is_available()
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    compiler = first_line("cc", "--version")
    return {
        "card": torch.cuda.get_device_name(device) if cuda else f"none ({device.type})",
        "memory": f"{torch.cuda.get_device_properties(device).total_memory / 1e9:.0f} GB" if cuda else "",
        "driver": first_line(*asked) if cuda else "",
        "CUDA": str(torch.version.cuda or ""),
        "cores": str(available_cores()),
        "compiler": compiler,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit or first_line("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
    } | installed_versions()


def first_line(*command: str) -> str:
    """What a command prints first; nothing if it is not here."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    return said.partition("\n")[0].strip()


def page(facts: dict[str, str], outcomes: list[Outcome]) -> str:
    """The Markdown of everything that was found."""
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    lines = ["# Measured by bench/gpu.py", "", said + ".", "", NOTES]
    for outcome in outcomes:
        lines += [f"## {SECTIONS[outcome.section].title}", ""]
        if outcome.rows:
            shown = fields(outcome.rows[0])
            lines.append("| " + " | ".join(field.metadata["title"] for field in shown) + " |")
            lines.append("|" + "---|" * len(shown))
            for row in outcome.rows:
                cells = ((getattr(row, field.name), field.metadata["format"]) for field in shown)
                lines.append(
                    "| " + " | ".join("" if value is None else format(value, form) for value, form in cells) + " |"
                )
            lines.append("")
        lines += [f"{f'**{outcome.failure}.** ' if outcome.failure else ''}{outcome.seconds:.0f} s.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page after every section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for gpu.md, gpu.json and log.txt")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--commit", default="", help="of this code, where it is no Git repository")
    parser.add_argument("--tiny", action="store_true", help="toy sizes")
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    end, device = time.monotonic() + SHARE * 60 * options.minutes, torch.device(options.device)
    if options.child:
        lines = (options.work / "limits.jsonl").read_text(encoding="utf-8").splitlines()
        known = tuple(limit for limit in map(from_json, lines) if isinstance(limit, Limit))
        child(options.child, Setting(device, options.tiny, options.work, known))
        return
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device is here; --device cpu --tiny tries the way through it")
    options.out.mkdir(parents=True, exist_ok=True)
    facts, outcomes, known = machine(device, options.commit), list[Outcome](), tuple[Limit, ...]()
    with tempfile.TemporaryDirectory() as work:
        for name in options.only or (TRIED if options.tiny else SECTIONS):
            most = min(SECTIONS[name].most * options.minutes / 8, end - time.monotonic())
            outcome = measured(name, Setting(device, options.tiny, Path(work), known), most, options.out)
            known += tuple(row for row in outcome.rows if isinstance(row, Limit))
            outcomes.append(outcome)
            print(f"{name}: {outcome.failure or 'done'} ({outcome.seconds:.0f} s)", file=sys.stderr, flush=True)
            (options.out / "gpu.md").write_text(page(facts, outcomes), encoding="utf-8")
            tree = {"machine": facts, "sections": [asdict(outcome) for outcome in outcomes]}
            (options.out / "gpu.json").write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    print(page(facts, outcomes))


if __name__ == "__main__":
    main()
