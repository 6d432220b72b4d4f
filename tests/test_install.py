"""`scripts/install`: says what it does first, uses uv where it is, and keeps a torch that is there already.

And `scripts/runtime`, which puts ONNX Runtime Web into the package, that one and no other.

Its packages are stand-ins that weigh nothing, with the names, versions and needs of the real ones.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())

BACKEND = """
import zipfile
def build_editable(folder, settings=None, metadata=None):
    name = "lewm_cli-1.dist-info"
    with zipfile.ZipFile(f"{folder}/lewm_cli-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/METADATA", '''Metadata-Version: 2.1
Name: lewm-cli
Version: 1
Requires-Dist: torch>=2.6
Requires-Dist: torchvision
Provides-Extra: dev
''')
        wheel.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{name}/RECORD", "")
    return "lewm_cli-1-py3-none-any.whl"
"""


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    """Writes a package that holds nothing."""
    folder.mkdir(exist_ok=True)
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


class Project:
    """A folder with our script and constraints, and a registry that has only what was put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry, self.path = folder, folder / "registry", folder / "path"
        (folder / "scripts").mkdir()
        self.path.mkdir()
        shutil.copy(ROOT / "scripts" / "install", folder / "scripts")
        shutil.copy(ROOT / "constraints.txt", folder)
        (folder / "backend.py").write_text(BACKEND)
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]'
        )
        wheel(self.registry, "nvidia-cublas", PINNED["nvidia-cublas"])
        wheel(self.registry, "torch", PINNED["torch"], "nvidia-cublas")
        wheel(self.registry, "torchvision", PINNED["torchvision"], f"torch=={PINNED['torch']}")

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of a machine on which nobody has set anything up."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON"))}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.registry), "PIP_CONFIG_FILE": os.devnull}
        return kept | pip | {"PATH": f"{self.path}:/usr/bin:/bin"}

    def install(self, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        """Runs the script as `make` does."""
        words = ["scripts/install", python, ".venv"]
        return subprocess.run(words, cwd=self.folder, env=self.settings, capture_output=True, text=True, check=False)

    def make_environment(self) -> None:
        """Makes an environment with nothing but pip, which is borrowed."""
        venv.create(self.folder / ".venv", with_pip=False, symlinks=True)
        borrowed = pytest.importorskip("pip", reason="an environment made by uv has none")
        (self.site / "pip").symlink_to(Path(borrowed.__file__).parent)

    @property
    def site(self) -> Path:
        """The folder of the environment's packages."""
        (found,) = (self.folder / ".venv").glob("lib/python*/site-packages")
        return found

    def put(self, *packages: tuple[str, ...]) -> None:
        """Installs packages of these names, versions and needs, as somebody did before."""
        wheels = [wheel(self.folder / "own", *package) for package in packages]
        self.pip("install", "--no-deps", *map(str, wheels))

    def pip(self, *arguments: str) -> str:
        """Runs the environment's pip; returns what it prints."""
        words = [self.folder / ".venv" / "bin" / "python", "-m", "pip", *arguments]
        done = subprocess.run(words, cwd=self.folder, env=self.settings, capture_output=True, text=True, check=True)
        return done.stdout

    def stand_in(self, name: str, *lines: str) -> None:
        """Puts a program onto the path."""
        program = self.path / name
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("torch", "vision"), [(PINNED["torch"], PINNED["torchvision"]), ("2.9.1", "0.24.1")], ids=["pinned", "older"]
)
def test_build_for_cpus_that_is_there_stays(project: Project, torch: str, vision: str):
    project.make_environment()
    project.put(("torch", f"{torch}+cpu"), ("torchvision", f"{vision}+cpu", f"torch=={torch}"))
    # What the documentation says of pip alone: the constraints keep the pinned version, whatever its build.
    arguments = ["install", "--dry-run", "-c", "constraints.txt", "torch>=2.6", "torchvision"]
    assert ("Would install" in project.pip(*arguments)) is (torch != PINNED["torch"])
    done = project.install()
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert f"torch=={torch}+cpu torchvision=={vision}+cpu stay as they are" in first
    assert any("already satisfied" in line for line in rest)  # pip says what it does
    found = {"torch": f"{torch}+cpu", "torchvision": f"{vision}+cpu", "lewm-cli": "1"}
    assert {one["name"]: one["version"] for one in json.loads(project.pip("list", "--format", "json"))} == found


def test_torch_without_torchvision_is_refused(project: Project):
    project.make_environment()
    info = project.site / "torch-2.9.1+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.1+cpu\n")
    done = project.install()
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("torch 2.9.1+cpu is there without torchvision; install")
    assert done.stdout == ""


def stand_in_environment(project: Project, system: str = "false", kept: str = "") -> None:
    """Builds an environment whose Python says what it was asked, and which packages stay if it is asked for that."""
    here = project.folder / ".venv" / "bin"
    here.mkdir(parents=True)
    (here.parent / "pyvenv.cfg").write_text(f"include-system-site-packages = {system}\n")
    python = here / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in -) echo {kept};; "-m pip"*) echo "pip: $*";; esac\n')
    python.chmod(0o755)


@pytest.mark.parametrize(
    ("files", "stays"),
    [((), True), ((".installed",), False), ((".installed", "constraints.txt"), True)],
    ids=["before the first time", "it came from here", "it stayed before"],
)
def test_torch_follows_the_constraints_once_it_came_from_here(project: Project, files: tuple[str, ...], stays: bool):
    stand_in_environment(project, kept="torch==1+cpu torchvision==2+cpu")
    for name in files:
        (project.folder / ".venv" / name).touch()
    first, second = project.install().stdout.splitlines()
    assert ("stay as they are" in first) is stays
    assert ("4 GB to download" in first) is not stays
    path = ".venv/constraints.txt" if stays else "constraints.txt"
    assert second == f"pip: -m pip install --disable-pip-version-check -c {path} -e .[dev]"
    if stays:
        written = dict(line.split("==") for line in (project.folder / path).read_text().split())
        assert (written["torch"], written["torchvision"]) == ("1+cpu", "2+cpu")
        assert not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in written)
        assert written["numpy"] == PINNED["numpy"]


@pytest.mark.parametrize(
    ("works", "system", "said"),
    [
        (True, "false", ["uv: pip install --python .venv/bin/python -c constraints.txt -e .[dev]"]),
        (False, "false", ["uv: pip install", "uv could not; trying pip", "pip: -m pip install"]),
        (True, "true", ["pip: -m pip install"]),
    ],
    ids=["uv", "uv that fails", "packages of the system"],
)
def test_uv_is_used_where_it_is(project: Project, works: bool, system: str, said: list[str]):
    stand_in_environment(project, system)
    project.stand_in("uv", 'echo "uv: $*"', "exit 0" if works else "exit 2")
    done = project.install()
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("Installing lewm-cli into .venv")
    assert [line[: len(start)] for line, start in zip(rest, said, strict=True)] == said


def test_wrong_python_is_a_sentence(project: Project):
    project.stand_in("old", f"(echo 'import sys; sys.version_info = (3, 10, 1)'; cat) | exec {sys.executable} -")
    done = project.install(str(project.path / "old"))
    assert done.returncode != 0
    assert done.stderr.strip().endswith("name one from 3.11.4 to 3.13: make demo PYTHON=python3.12")
    assert not (project.folder / ".venv").exists()


def test_make_installs_once_and_by_the_script():
    apart = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/.installed"],
        cwd=ROOT,
        env=apart,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == ["scripts/install python3 .venv", "touch .venv/.installed"]


# scripts/runtime


@pytest.fixture
def runtime(project: Project) -> Path:
    """The place of ONNX Runtime Web in a project with our script."""
    shutil.copy(ROOT / "scripts" / "runtime", project.folder / "scripts")
    return project.folder / "src" / "lewm_cli" / "report" / "demo" / "runtime"


def get_runtime(project: Project) -> subprocess.CompletedProcess[str]:
    words = ["scripts/runtime", sys.executable]
    return subprocess.run(words, cwd=project.folder, env=project.settings, capture_output=True, text=True, check=False)


def test_runtime_of_this_version_stays_as_it_is(project: Project, runtime: Path):
    runtime.mkdir(parents=True)
    script = runtime / "ort.wasm.bundle.min.mjs"
    script.write_text("/*!\n * ONNX Runtime Web v1.30.0\n */")
    for name in ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"):
        (runtime / name).touch()
    project.stand_in("npm", "echo asked", "exit 1")
    done = get_runtime(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (runtime / name).unlink()  # as earlier versions left it
    assert "npm could not get onnxruntime-web" in get_runtime(project).stdout


@pytest.mark.parametrize(
    ("npm", "said", "why"),
    [
        (["echo nothing here >&2", "exit 1"], ["nothing here"], "npm could not get onnxruntime-web"),
        (["echo other >onnxruntime-web-1.30.0.tgz"], [], "what npm brought is not what was expected"),
    ],
    ids=["npm that fails", "another archive"],
)
def test_runtime_that_cannot_be_had_is_a_sentence(
    project: Project, runtime: Path, npm: list[str], said: list[str], why: str
):
    runtime.mkdir(parents=True)
    script = runtime / "ort.wasm.bundle.min.mjs"
    script.write_text("/*!\n * ONNX Runtime Web v1.0.0\n */")
    project.stand_in("npm", *npm)
    done = get_runtime(project)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[1:-1] == said
    assert f"no ONNX Runtime Web here: {why}" in done.stdout.splitlines()[-1]
    assert [path.name for path in runtime.iterdir()] == [script.name]


def test_runtime_has_a_place_before_it_is_downloaded(project: Project, runtime: Path):
    runtime.parent.mkdir(parents=True)
    runtime.write_text("no folder")
    project.stand_in("npm", "echo asked >&2")
    done = get_runtime(project)
    assert (done.returncode, done.stderr) == (1, "")
    (sentence,) = done.stdout.splitlines()
    assert f"no ONNX Runtime Web here: {runtime} cannot be written" in sentence
    assert runtime.read_text() == "no folder"


def test_runtime_that_never_came_leaves_no_folder(project: Project, runtime: Path):
    project.stand_in("npm", "exit 1")
    assert get_runtime(project).returncode == 1
    assert not runtime.exists()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_goes_on_without_the_runtime(target: str):
    apart = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    said = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, env=apart, capture_output=True, text=True, check=True
    )
    assert "scripts/runtime .venv/bin/python || true" in said.stdout.splitlines()
