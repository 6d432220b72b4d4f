"""Puts the page together in which a run plans: model, runtime and scripts in one HTML file."""

import base64
import gzip
from dataclasses import fields
from pathlib import Path

from markupsafe import Markup

from lewm_cli.demo import LiveModel, ModelParts
from lewm_cli.errors import LewmError
from lewm_cli.report.viewer.viewer import PAGE_STYLE, as_json, player_style, templates

FOLDER = Path(__file__).parent

RUNTIME = FOLDER / "runtime"
"""ONNX Runtime Web, which `scripts/runtime` puts there when lewm-cli is built."""

RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
GPU_FILES = {"/webgpu.mjs": "ort.webgpu.bundle.min.mjs", "/webgpu.wasm": "ort-wasm-simd-threaded.asyncify.wasm"}
"""With WebGPU it weighs 27 MB: a page that is served asks for these paths where there is a GPU."""

LICENSE = "LICENSE"
"""Of the runtime, a copy of which is in every page."""

SCRIPTS = ("../viewer/drawing.js", "tworoom.js", "remote.js", "model.js", "hands.js", "demo.js")
"""One after another they are one module; `worker.js` becomes a worker of its own."""


def require_runtime() -> None:
    """Raises LewmError if ONNX Runtime Web is not there."""
    if not all((RUNTIME / name).is_file() for name in (*RUNTIME_FILES, LICENSE)):
        raise LewmError(
            "the page plans with ONNX Runtime Web, which is missing in this installation; in the folder of its "
            "repository type: scripts/runtime (and install it again, if not with pip install -e)"
        )


def gpu_files() -> dict[str, Path]:
    """Files of ONNX Runtime Web with WebGPU by the path at which they are served; none if they are not there."""
    files = {path: RUNTIME / name for path, name in GPU_FILES.items()}
    return files if all(file.is_file() for file in files.values()) else {}


def render_demo(model: LiveModel, parts: ModelParts) -> str:
    """The page: one HTML file that loads nothing, the same bytes for the same run; ONNX Runtime Web must be there."""
    license = (RUNTIME / LICENSE).read_text(encoding="utf-8")
    script, library = (RUNTIME / name for name in RUNTIME_FILES)
    packed = {
        "runtime": script.read_bytes(),
        "library": library.read_bytes(),
        "worker": (FOLDER / "worker.js").read_bytes(),
        **{field.name: getattr(parts, field.name) for field in fields(parts)},
    }
    return (
        templates(FOLDER)
        .get_template("demo.html.j2")
        .render(
            model=model,
            given=as_json(model.model_dump(mode="json")),
            packed={name: pack(content) for name, content in packed.items()},
            style=Markup(PAGE_STYLE.read_text(encoding="utf-8"))
            + player_style()
            + Markup((FOLDER / "demo.css").read_text(encoding="utf-8")),
            script=Markup(f"/* ONNX Runtime Web:\n{license}*/\n")
            + Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        )
    )


def pack(content: bytes) -> Markup:
    """Base 85 of gzip, which model.js unpacks: 6 % shorter than base 64. A comma stands for "<", which opens tags."""
    return Markup(base64.b85encode(gzip.compress(content, 9, mtime=0)).replace(b"<", b",").decode())
