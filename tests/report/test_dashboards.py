"""What is logged to dashboards arrives there, goes on where a run was resumed, and never stops a training."""

import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import PATIENCE, descendants, lewm_here, wait_until
from lewm_cli.config import LOGGERS, LogConfig
from lewm_cli.data import DecodedFrames, open_dataset
from lewm_cli.errors import StoppedError
from lewm_cli.flows.training_strips import ImaginedStrips
from lewm_cli.report.dashboard import Dashboard, LoggedRun, wandb_board
from lewm_cli.report.dashboard import dashboard as boards
from lewm_cli.report.imagined_picture import imagined_picture
from lewm_cli.report.latent_map import Coloring
from lewm_cli.store import RunFiles
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, LatentsMeasured, StepsTaken, TrainingEvent
from lewm_cli.train.events import TrainingFinished, TrainingStarted, TrainingStopped
from synthetic import write_recording

pytest_plugins = ("recordings",)

HELD_OUT = HeldOutLatents({"SIGReg": 1.0}, 0.25, 1.0, 1.0, 0.9, 7.5, 0.0)
RUN = "robot/run"
KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def nobody(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, nothing is set, and trackio keeps its projects in a folder that is removed."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path_factory.getbasetemp() / "trackio"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("TRACKIO_DIR", str(folder))  # it looks when it is imported
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("nobody")))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def started(first_step: int) -> TrainingStarted:
    return TrainingStarted(RUN, "cpu", 10, 100, 20, 2, first_step, 100)


def taken(step: int, loss: float = 1.5) -> StepsTaken:
    parts = {"prediction": 1.0, "SIGReg": 0.5}
    return StepsTaken(step, 100, loss, parts, 1e-3, 2.0, 0.01, 0.02, 640.0, 9.5, process_memory=2_000_000)


def seen(step: int, count: int = 30) -> LatentsMeasured:
    return LatentsMeasured(step, np.random.default_rng(step).normal(size=(count, 4)), np.arange(count))


def finished(step: int) -> TrainingFinished:
    return TrainingFinished(RUN, "generic", step, 12.5, HELD_OUT, "run.safetensors")


def hear(logger: str, folder: Path, *events: TrainingEvent, **settings: object) -> list[str]:
    """Passes events on to a logger; returns what it said."""
    said: list[str] = []
    config = LogConfig.model_validate({"to": logger, "pictures": 20} | settings)
    run = LoggedRun(RUN, folder, {"seed": 7})
    board = Dashboard(logger, config, run, lambda rows: [Coloring("row", rows)], said.append)
    for event in events:
        board(event)
    return said


def read_tensorboard(
    folder: Path, picture: str = "latents/map"
) -> tuple[dict[str, list[tuple[int, float]]], list[int]]:
    """Steps and numbers by name, and the steps of pictures of a name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    names = found.Tags()["scalars"]
    pictures = found.Images(picture) if picture in found.Tags()["images"] else []
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in names}, [
        one.step for one in pictures
    ]


def read_wandb(folder: Path) -> tuple[str, list[dict]]:
    """The newest offline run: its id, and everything that was logged to it."""
    from wandb.proto.wandb_internal_pb2 import Record

    file = max((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    history = []
    for data in wandb_records(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items})
    return file.stem.removeprefix("run-"), history


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a file that is written as LevelDB writes its log: in blocks, after seven bytes of its own."""
    at, block, record = 7, 32768, b""
    while at < len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            yield record
            record = b""


def read_trackio(project: str) -> list[dict]:
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(project)
    assert run == RUN
    return SQLiteStorage.get_logs(project, run)


# What arrives


def test_tensorboard_has_numbers_and_pictures_and_goes_on_after_a_kill(tmp_path: Path):
    said = hear("tensorboard", tmp_path, started(0), taken(5), HeldOutMeasured(10, HELD_OUT), seen(10), taken(10))
    assert said == [f"tensorboard: look at it with: tensorboard --logdir {tmp_path}/tensorboard"]
    hear(
        "tensorboard", tmp_path, started(5), taken(10, loss=0.5), seen(10), seen(20), seen(30), taken(20), finished(20)
    )
    numbers, pictures = read_tensorboard(tmp_path)
    assert numbers["train/loss"] == [(5, 1.5), (10, 0.5), (20, 1.5)]
    assert numbers["memory/process_gb"][0] == (5, pytest.approx(0.002))
    assert pictures == [10, 30]  # at least 20 steps apart
    hear("tensorboard", tmp_path, started(0), taken(5, loss=3.0), finished(5))
    assert read_tensorboard(tmp_path)[0]["train/loss"] == [(5, 3.0)]  # of the run that replaces it


def test_trackio_goes_on_in_the_same_run(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    said = hear("trackio", tmp_path, started(0), taken(5), HeldOutMeasured(10, HELD_OUT), seen(10), project="one")
    hear("trackio", tmp_path, started(10), taken(15, loss=0.5), finished(15), project="one")
    assert said == ["trackio: look at it with: trackio show --project one"]
    logs = read_trackio("one")
    assert {log["step"]: log["train/loss"] for log in logs if "train/loss" in log} == {5: 1.5, 15: 0.5}
    assert [log["latents/map"]["_type"] for log in logs if "latents/map" in log] == ["trackio.image"]
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def fresh_wandb() -> Iterator[None]:
    """It reads its settings anew."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("fresh_wandb")
def test_wandb_without_a_login_is_offline_and_goes_on_in_the_same_run(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    (said,) = hear("wandb", tmp_path, started(0), taken(5), HeldOutMeasured(10, HELD_OUT), seen(10), finished(10))
    assert said.startswith(
        "wandb: there is no login (type: wandb login), so it is offline; upload later with: wandb sync "
    )
    assert Path(said.split()[-1]).is_dir()
    identity, history = read_wandb(tmp_path)
    assert [(row["step"], row["train/loss"]) for row in history if "train/loss" in row] == [(5, 1.5)]
    assert [row["latents/std"] for row in history if "latents/std" in row] == [1.0]
    assert len(list(tmp_path.rglob("*.png"))) == 1
    (again,) = hear("wandb", tmp_path, started(10), taken(15), finished(15), mode="offline")
    assert again.startswith("wandb: offline; upload later with: wandb sync ")
    assert again.split()[-1] != said.split()[-1]
    assert read_wandb(tmp_path)[0] == identity
    hear("wandb", tmp_path, started(0), finished(0), mode="offline")
    assert read_wandb(tmp_path)[0] != identity  # of the run that replaces it
    assert capfd.readouterr() == ("", "")


class Server(BaseHTTPRequestHandler):
    """As much of the server of wandb as an upload needs."""

    received: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        type(self).received += body
        answer: dict = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            known = asked.get("variables") or {}
            project = {"id": "p", "name": known.get("project"), "entity": {"id": "e", "name": "someone"}}
            bucket = {"id": "x", "name": known.get("name"), "displayName": RUN, "config": "{}", "project": project}
            place = f"http://{self.headers['Host']}/files"
            files = [{"name": name, "uploadUrl": place} for name in known.get("files") or []]
            answer = {
                "viewer": {
                    "id": "v",
                    "entity": "someone",
                    "username": "someone",
                    "flags": "{}",
                    "teams": {"edges": []},
                },
                "model": None,
                "upsertBucket": {"bucket": bucket, "inserted": True},
                "createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files},
                "serverInfo": {},
            }
        content = json.dumps({"data": answer} if answer else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    """A server of wandb on this machine, and a login there."""
    handler = type("Handler", (Server,), {"received": ""})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{serving.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield handler
        serving.shutdown()


@pytest.mark.usefixtures("fresh_wandb")
def test_wandb_with_a_login_uploads(server: type[Server], tmp_path: Path):
    (said,) = hear("wandb", tmp_path, started(0), taken(5, loss=0.4375), finished(5), entity="someone", project="two")
    identity = (tmp_path / "wandb.id").read_text()
    assert said.endswith(f"/someone/two/runs/{identity}")
    assert r"\"train/loss\":0.4375" in server.received
    (said,) = hear("wandb", tmp_path, started(5), taken(10, loss=0.8125), finished(10), mode="offline")
    later = said.partition("upload later with: ")[2]
    upload = [sys.executable, "-m", *shlex.split(later)]
    done = subprocess.run(upload, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert r"\"train/loss\":0.8125" in server.received, done.stderr


@pytest.mark.usefixtures("fresh_wandb")
@pytest.mark.parametrize(
    ("variable", "said"),
    [("offline", "wandb: offline; upload later with: wandb sync "), ("disabled", "wandb: disabled")],
)
def test_variable_of_wandb_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, said: str):
    monkeypatch.setenv("WANDB_MODE", variable)
    (line,) = hear("wandb", tmp_path, started(0), taken(5), finished(5))
    assert line.startswith(said)


@pytest.mark.usefixtures("fresh_wandb")
def test_wandb_without_a_network_is_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_board, "ANSWER_SECONDS", 1.0)
    (said,) = hear("wandb", tmp_path, started(0), taken(5), finished(5))
    assert said.startswith("wandb: the server cannot be used (")
    assert "so it is offline; upload later with: wandb sync " in said
    assert [row["train/loss"] for row in read_wandb(tmp_path)[1]] == [1.5]


def test_strips_have_their_rows_one_below_the_other():
    strips = np.zeros((2, 3, 4, 16, 16, 3), np.uint8)
    for row in range(3):
        strips[:, row, ..., row] = 255  # recorded frames red, re-encoded ones green, imagined ones blue
    picture = imagined_picture(strips)
    middles = [np.argwhere((picture == 255 * np.eye(3)[row]).all(axis=-1)).mean(axis=0) for row in range(3)]
    assert middles[0][0] < middles[1][0] < middles[2][0]
    assert np.ptp([middle[1] for middle in middles]) < 1


# What fails


def test_frames_that_cannot_be_imagined_are_said_once(tmp_path: Path):
    dataset = open_dataset(write_recording(tmp_path / "pick.h5"), "pick")
    said: list[str] = []
    strips = ImaginedStrips(
        RUN,
        RunFiles(tmp_path / "nowhere"),
        dataset,
        DecodedFrames(dataset, 16),
        np.arange(30),
        np.arange(2),
        torch.device("cpu"),
        1000,
        said.append,
    )
    assert [strips(10), strips(20)] == [None, None]
    assert len(said) == 1
    assert said[0].startswith("note: no frames that the model imagines are logged: ")


@pytest.mark.usefixtures("fresh_wandb")
def test_run_that_the_server_does_not_take_to_the_end_is_kept_offline(
    server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import wandb

    monkeypatch.setattr(wandb_board, "UPLOAD_SECONDS", 0.5)
    said: list[str] = []
    board = Dashboard(
        "wandb", LogConfig.model_validate({"to": "wandb"}), LoggedRun(RUN, tmp_path, {}), list, said.append
    )
    board(started(0))
    limits = wandb.run.settings
    assert (limits.init_timeout, limits.finish_timeout) == (wandb_board.ANSWER_SECONDS, 0.5)
    monkeypatch.setattr(server, "do_POST", lambda request: request.send_error(503))  # which is asked again and again
    board(taken(5))
    board(TrainingStopped(5, "by Ctrl-C"))
    kept = f"so the run is kept offline; upload later with: wandb sync {tmp_path}/wandb/run-"
    assert (len(said), kept in said[-1]) == (2, True)


@pytest.mark.usefixtures("fresh_wandb")
def test_ctrl_c_while_wandb_opens_waits_for_no_answer(
    server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    over = threading.Event()

    def never(request: Server) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        over.wait()

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise StoppedError("stopped", number)

    monkeypatch.setattr(wandb_board, "ANSWER_SECONDS", PATIENCE)
    monkeypatch.setattr(server, "do_POST", never)
    before, handler = descendants(os.getpid()), signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(StoppedError):
            hear("wandb", tmp_path, started(0))
        assert descendants(os.getpid()) == before
    finally:
        over.set()
        signal.signal(signal.SIGUSR1, handler)


@pytest.mark.usefixtures("fresh_wandb")
def test_process_of_wandb_that_dies_is_missed_once(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    import wandb

    said: list[str] = []
    run = LoggedRun(RUN, tmp_path, {})
    board = Dashboard("wandb", LogConfig.model_validate({"to": "wandb", "mode": "offline"}), run, list, said.append)
    before = descendants(os.getpid())
    board(started(0))
    for process in descendants(os.getpid()) - before:
        os.kill(process, signal.SIGKILL)

    def missed() -> bool:
        board(taken(5))
        return len(said) > 1

    wait_until(missed)
    board(taken(10))
    board(finished(10))
    assert len(said) == 2
    assert said[1].startswith("warning: nothing more is logged to wandb (")
    assert said[1].endswith("; training goes on, with its own log")
    wandb.teardown()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_full_disk_under_tensorboard_is_said_once(
    small_disk: Callable[[str], Path], capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    disk = small_disk("64k")
    (tmp_path / "tensorboard").symlink_to(disk)
    said = hear(
        "tensorboard", tmp_path, started(0), taken(5), *(seen(step) for step in range(20, 400, 20)), finished(400)
    )
    assert len(said) == 2
    assert "No space left on device" in said[1]
    assert capfd.readouterr().err == ""


def test_trackio_that_cannot_write_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    def fail(*_: object, **__: object) -> None:
        raise OSError("database or disk is full")

    monkeypatch.setattr(SQLiteStorage, "bulk_log", fail)
    said = hear("trackio", tmp_path, started(0), *(taken(step) for step in range(1, 20)), finished(20), project="three")
    assert len(said) == 2
    assert said[1].startswith("warning: trackio: ")
    assert "database or disk is full" in said[1]
    assert capfd.readouterr() == ("", "")
    assert trackio.context_vars.current_run.get() is None


@pytest.mark.parametrize("when", ["opened", "numbers", "picture", "close"])
def test_logger_that_fails_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str):
    class Failing:
        def __init__(self, *_: object) -> None:
            self._at("opened")

        def _at(self, point: str) -> None:
            if point == when:
                raise ValueError("two\nlines")

        def numbers(self, *_: object) -> None:
            self._at("numbers")

        def picture(self, *_: object) -> None:
            self._at("picture")

        def close(self) -> None:
            self._at("close")

    monkeypatch.setitem(boards.BOARDS, "wandb", Failing)
    said = hear("wandb", tmp_path, started(0), taken(5), seen(5), taken(10), seen(10), finished(10))
    assert said == ["warning: nothing more is logged to wandb (two lines); training goes on, with its own log"]


# The command


def test_logging_changes_nothing_and_goes_on_when_resumed(robot: Path, tiny: Path):
    logged = [word for logger in LOGGERS for word in ("--log", logger)]
    train = ("train", "robot/pick", "--config", tiny, "--steps", 20)
    plain = lewm_here(robot, *train, "--name", "robot/plain")
    done = lewm_here(robot, *train, "--name", RUN, *logged, "--set", "log.project=four", "--json")
    assert done.json()["step"] == 20
    assert "warning" not in done.err
    ours, theirs = RunFiles(robot / RUN), RunFiles(robot / "robot" / "plain")
    assert plain.code == 0, plain.err
    assert ours.config.read_bytes() == theirs.config.read_bytes()
    tensors, others = load_file(ours.weights), load_file(theirs.weights)
    assert all((tensors[key] == others[key]).all() for key in others)
    assert tomllib.loads(ours.logging.read_text())["log"]["to"] == list(LOGGERS)
    assert not theirs.logging.exists()

    numbers, pictures = read_tensorboard(ours.folder)
    for line in map(json.loads, ours.log.read_text().splitlines()):
        if line["event"] == "StepsTaken":
            for name, value in line["parts"].items():
                assert (line["step"], pytest.approx(value, rel=1e-6)) in numbers[f"train/{name}"]
    assert pictures == [10]
    assert read_tensorboard(ours.folder, "imagined/frames")[1] == [10]
    assert [log["step"] for log in read_trackio("four") if "imagined/frames" in log] == [10]
    assert done.err.count("imagined frames: a picture every 1,000 steps or later, of which the first took ") == 1
    assert {log["step"] for log in read_trackio("four")} >= {5, 10, 15, 20}
    identity, history = read_wandb(ours.folder)
    assert {row["step"] for row in history} >= {5, 10, 15, 20}

    again = lewm_here(robot, "train", "robot/pick", "--name", RUN, "--resume")  # its last measurement once more
    assert again.code == 0, again.err
    assert read_wandb(ours.folder)[0] == identity
    assert read_tensorboard(ours.folder)[0]["train/loss"] == numbers["train/loss"]
    off = lewm_here(robot, "train", "robot/pick", "--name", RUN, "--resume", "--set", "log.to=[]")
    assert off.code == 0, off.err
    assert "tensorboard" not in off.err
    assert not ours.logging.exists()


@pytest.mark.parametrize("resumed", [[], ["--resume", "--name", RUN]])
def test_wrong_loggers_get_a_sentence(robot: Path, monkeypatch: pytest.MonkeyPatch, resumed: list[str]):
    train = ("train", "robot/pick", *resumed)
    unknown = lewm_here(robot, *train, "--log", "wanbd").sentence(2)
    assert "there is no logger 'wanbd'; did you mean 'wandb'?" in unknown
    several = lewm_here(robot, *train, "--log", "wandb,tensorboard").sentence(2)
    assert "no logger 'wandb,tensorboard'; give each of them an own --log, or a list" in several
    assert "'a b' is no name of a project" in lewm_here(robot, *train, "--set", "log.project=a b").sentence(2)
    monkeypatch.setattr("lewm_cli.config.logging.find_spec", lambda name: None)
    missing = lewm_here(robot, *train, "--log", "trackio").sentence()
    assert missing.endswith(
        'trackio is not installed, so nothing can be logged to it; type: pip install "lewm-cli[trackio]"'
    )
    assert not list(robot.rglob("*.run"))
