"""Trains the `release` preset of TwoRoom with the commands that a user types, for as long as it is given.

    python bench/gpu_train.py [--device cuda] [--minutes 9] [--episodes 1000] [--out FOLDER] [--home FOLDER]
    python bench/gpu_train.py --device cpu --tiny     # tries the way through it with the `small` preset

Records on all cores, packs what it recorded, takes some steps to learn how fast they are, trains with so many that the
learning rate comes to its end in time, and evaluates 50 pairs of episodes that were held out. Makes train.md with the
figures, and log.txt with what the commands said; the log of the training is copied beside them.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from gpu import machine
from gpu_sections import COMPILING, column
from lewm_cli.evaluate import EvalResult
from lewm_cli.store import RunFiles
from lewm_cli.train import HeldOutLatents, find_preset, read_log

DATASET, TRIAL, RUN = "tworoom/gpu", "tworoom/trial", "tworoom/gpu-release"

FOR_EVALUATION = 75.0
"""Seconds that are left for the evaluation."""

SURE = 0.85
"""The part of the time left that steps may take: saving, measuring and compiling are not counted in their rate."""

SAVING = 30.0
"""Seconds that a command gets to stop by itself."""

PAIRS = 50


@dataclass(frozen=True)
class Figures:
    """What came out."""

    episodes: int = column("episodes recorded")
    batch: int = column("clips per step")
    asked: int = column("steps asked for", ",")
    taken: int = column("steps taken", ",")
    rate: float = column("steps per second", ".2f")
    waiting: float = column("share of the time that waited for data", ".1%")
    loss: float = column("loss at the end", ".4f")
    prediction: float | None = column("held-out prediction", ".4f")
    copying: float | None = column("the same for copying the last latent", ".4f")
    success: str = column("success on held-out pairs")
    random: str = column("the same at random")
    plan_seconds: float = column("seconds per plan", ".3f")
    weights: str = column("weights")


@dataclass
class Course:
    """The commands of a training, one after the other.

    Args:
        home: of recording and run.
        out: folder of the page.
        end: on the monotonic clock, when everything has to be over.
        said: figures so far, for the page.
    """

    home: Path
    out: Path
    end: float
    said: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()

    def lewm(self, *arguments: object, most: float | None = None) -> tuple[int, str]:
        """Run a command for at most so many seconds, then ask it to stop; returns exit code and result."""
        line, begun = " ".join(map(str, ["lewm", *arguments])), time.monotonic()
        print(f"$ {line}", file=sys.stderr, flush=True)
        environment = os.environ | {"STABLEWM_HOME": str(self.home)}
        command = [sys.executable, "-m", "lewm_cli", *map(str, arguments)]
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            print(f"\n$ {line}", file=log, flush=True)
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
            try:
                result, _ = process.communicate(timeout=most or max(1.0, self.left))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)  # a training saves
                try:
                    result, _ = process.communicate(timeout=SAVING)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    result, _ = process.communicate()
            log.write(result)
        self.said.append(f"| `{line}` | {time.monotonic() - begun:.0f} | {process.returncode} |")
        return process.returncode, result

    def rate(self, run: str) -> tuple[float, float]:
        """Steps per second of the second half of a training, and the share of the time that it waited for data."""
        lines = read_log(RunFiles(self.home / run).log).steps
        late = lines[len(lines) // 2 :]
        data = sum(line.data_seconds for line in late) / len(late)
        step = data + sum(line.update_seconds for line in late) / len(late)
        return 1 / step, data / step


def main() -> None:
    """Record, pack, train, evaluate, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    parser.add_argument("--episodes", type=int, default=1000, help="to record")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figures and the log")
    parser.add_argument("--home", type=Path, help="where recording and run are kept; a folder `home` in --out")
    parser.add_argument("--commit", default="", help="of this code, where it is no Git repository")
    parser.add_argument("--tiny", action="store_true", help="toy sizes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    home = (options.home or options.out / "home").resolve()
    course = Course(home, options.out, time.monotonic() + 60 * options.minutes)
    figures, failure = None, None
    try:
        figures = train(course, options.device, tiny=options.tiny, episodes=12 if options.tiny else options.episodes)
    except subprocess.CalledProcessError as error:
        failure = f"{error.cmd} ended with {error.returncode}; log.txt says why"
    facts = machine(torch.device(options.device), options.commit)
    log = RunFiles(home / RUN).log
    if log.exists():
        shutil.copy(log, options.out / "training.jsonl")
    text = page(facts, figures, course.said, failure)
    (options.out / "train.md").write_text(text, encoding="utf-8")
    tree = {"machine": facts, "figures": figures and asdict(figures), "failure": failure}
    (options.out / "train.json").write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    print(text)
    sys.exit(1 if failure else 0)


def train(course: Course, device: str, *, tiny: bool, episodes: int) -> Figures:
    """Run the commands.

    Raises:
        CalledProcessError: one failed that the next ones need.
    """

    def needed(*arguments: object, most: float | None = None) -> str:
        code, result = course.lewm(*arguments, most=most)
        if code:
            raise subprocess.CalledProcessError(code, f"lewm {arguments[0]}")
        return result

    needed("collect", "tworoom", "--episodes", episodes, "--name", DATASET, "-q")
    if course.lewm("pack", "--help")[0] == 0:
        course.lewm("pack", DATASET, "--replace", "-q")  # which has nothing to do where recordings are packed at once
    preset = "small" if tiny else "release"
    config = find_preset(f"tworoom/{preset}").config("lewm")
    choices = ["train", "tworoom", "--preset", preset, "--method", "lewm", "--dataset", DATASET]
    choices += ["--device", device, "-q", *([] if tiny else COMPILING)]
    steps, often = (6, 1) if tiny else (300, 25)
    tried = ("--set", f"monitor.every={steps}", "--set", f"monitor.log_every={often}")
    needed(*choices, "--steps", steps, "--name", TRIAL, *tried)
    rate, _ = course.rate(TRIAL)
    steps = 12 if tiny else max(100, int(SURE * rate * (course.left - FOR_EVALUATION)))
    every = ("--set", f"monitor.every={max(1, steps // 6)}", "--set", f"schedule.decay={steps} steps")
    most = None if tiny else course.left - FOR_EVALUATION / 2
    code, _ = course.lewm(*choices, "--steps", steps, "--name", RUN, *every, most=most)
    if code not in (0, 128 + signal.SIGTERM):  # saved what it had when its time was over
        raise subprocess.CalledProcessError(code, "lewm train")
    rate, waiting = course.rate(RUN)
    history = read_log(RunFiles(course.home / RUN).log)
    held_out = history.held_out[-1].held_out if history.held_out else None
    pairs = 2 if tiny else PAIRS
    few = ("--set", "planner.iterations=2", "--set", "planner.candidates=32") if tiny else ()
    said = needed("eval", RUN, "--episodes", pairs, "--protocol", "heldout", "--device", device, "--json", "-q", *few)
    (course.out / "eval.json").write_text(said, encoding="utf-8")
    result = EvalResult.model_validate_json(said)
    return Figures(
        episodes=episodes,
        batch=config.optimizer.clips,
        asked=steps,
        taken=history.steps[-1].step,
        rate=rate,
        waiting=waiting,
        loss=history.steps[-1].loss,
        prediction=held_out.prediction if isinstance(held_out, HeldOutLatents) else None,
        copying=held_out.copying if isinstance(held_out, HeldOutLatents) else None,
        success=str(result.overall.success),
        random=str(result.overall.random),
        plan_seconds=result.seconds_per_plan,
        weights=str(RunFiles(course.home / RUN).weights),
    )


def page(facts: dict[str, str], figures: Figures | None, commands: list[str], failure: str | None) -> str:
    """The Markdown of what came out."""
    lines = [
        "# Trained by bench/gpu_train.py",
        "",
        ", ".join(f"{key} {value}" for key, value in facts.items() if value),
    ]
    lines += ["", *([f"**{failure}**", ""] if failure else [])]
    if figures:
        lines += ["| | |", "|---|---|"]
        for one in fields(figures):
            value = getattr(figures, one.name)
            lines.append(
                f"| {one.metadata['title']} | {'' if value is None else format(value, one.metadata['format'])} |"
            )
        lines.append("")
    return "\n".join([*lines, "| command | s | exit code |", "|---|---|---|", *commands, ""])


if __name__ == "__main__":
    main()
