"""What stands in for the released files: a small recording, small weights, and an entry that knows their hashes."""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
import zstandard
from hub_server import DriveFile, HubServer, ServedFile, ServedRepo

from synthetic import write_recording

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
DATA, WEIGHTS = "someone/lewm-data", "someone/lewm-weights"
REVISION = ServedRepo.commit


def tarred(files: dict[str, bytes]) -> bytes:
    """An archive, uncompressed."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def compressed(content: bytes) -> bytes:
    """One zstd frame."""
    return zstandard.ZstdCompressor(level=3).compress(content)


@dataclass
class Standins:
    """A published task on a server of its own.

    Args:
        hub: the server.
        catalog: the folder of the user's entries.
        recording: a file to publish instead of noise.
        archive: what its archive is called.
        task: that the entry stands in for.
        weights: files of the checkpoint.
    """

    hub: HubServer
    catalog: Path
    recording: Path
    archive: str = "tworoom.tar.zst"
    task: str = "tworoom"
    weights: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = self.weights or {
            "config.json": (CHECKPOINTS / "config.json").read_bytes(),
            "weights.pt": (CHECKPOINTS / "tf4_weight.ckpt").read_bytes(),
        }
        content = self.recording.read_bytes()
        inside = content if self.archive.endswith(".h5.zst") else tarred({f"{self.name}.h5": content})
        self.packed = ServedFile(compressed(inside) if self.archive.endswith(".zst") else content)
        self.hub.add(ServedRepo(DATA, {self.archive: self.packed}, kind="dataset"))
        self.hub.add(ServedRepo(WEIGHTS, {name: ServedFile(content) for name, content in self.weights.items()}))
        self.write()

    @property
    def name(self) -> str:
        """Of the recording in the home."""
        return {"tworoom": "tworoom", "pusht": "pusht_expert_train"}[self.task]

    def write(self, **changes: object) -> None:
        """Write the catalog entry; `changes` are laid over that of the recording."""
        file = {"name": self.archive, "size": len(self.packed.content), "sha256": self.packed.sha256}
        weights = [{"name": name} for name in self.weights]
        weights[-1]["sha256"] = ServedFile(self.weights["weights.pt"]).sha256
        dataset = {
            "name": self.name,
            "hub": {"repo": DATA, "revision": REVISION},
            "file": file,
            "unpacked": self.recording.stat().st_size,
        }
        entry = {
            "aliases": ["two-room"] if self.task == "tworoom" else [],
            "dataset": dataset | changes,
            "checkpoints": {
                "lewm": {"method": "LeWM", "hub": {"repo": WEIGHTS, "revision": REVISION}, "files": weights},
                "pldm": {"method": "PLDM", "unavailable": "it is published nowhere"},
            },
        }
        path = self.catalog / f"{self.task}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(entry), encoding="utf-8")

    def on_drive(self) -> DriveFile:
        """The archive on Google Drive too."""
        file = DriveFile("1archive", self.archive, self.packed.content)
        self.hub.share(file)
        return file


def small_recording(path: Path) -> Path:
    """Noise in the schema of TwoRoom's recordings."""
    return write_recording(path, dims=2, size=16, task="tworoom")
