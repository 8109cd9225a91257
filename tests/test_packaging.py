"""The wheel, built from the sdist and installed apart, does the main job in an empty folder.

Everything happens without a network: built without isolation, installed without an index into an
environment that sees the packages of this one.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKPOINT = "tensornet-s.gfn2-md10.r1"
SHARED = ("models", "datasets", "recipes", "checkpoints")
LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist", "out", "release", "lightning_logs")

pytestmark = pytest.mark.slow


def _run(*words: object, cwd: Path, **environment: str) -> str:
    """Runs one process apart from this one's environment; its output, if it succeeds."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ZOO_", "PIP_"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from it; from a copy, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("build")
    source, dist = folder / "source", folder / "dist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source, cwd=folder)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def python(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and sees our dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=folder)
    interpreter = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", interpreter)
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", built[1], cwd=folder)
    (packages,) = venv.glob("lib/python*/site-packages")
    # a folder named in a .pth file comes after ours, and its own .pth files are not followed, so
    # that an editable installation of this checkout stays out of sight
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def test_the_wheel_holds_everything_that_ships(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "zoo").rglob("*.py")}
    shared = {
        f"zoo/_share/{p.relative_to(ROOT).as_posix()}"
        for folder in SHARED
        for p in (ROOT / folder).rglob("*")
        if p.is_file()
    }
    assert code - names == set()
    assert shared - names == set()
    assert "zoo/py.typed" in names
    extra = {n for n in names if not n.startswith("geometric_zoo-")} - code - shared
    assert extra == {"zoo/py.typed", "zoo/functional/cp_factors.npz"}
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_the_wheel_stays_small(built: tuple[Path, Path]) -> None:
    weights = [p.stat().st_size for p in (ROOT / "checkpoints").glob("*.safetensors")]
    assert max(weights) <= 5e6
    assert sum(weights) <= 40e6
    assert built[1].stat().st_size < 60e6


def test_the_sdist_can_be_tested(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "CHANGELOG.md", "LICENSE", "docs/index.md"} <= names
    tests = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("*.py")}
    assert tests - names == set()


def test_a_shipped_checkpoint_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    program = (
        "import zoo, ase.build\n"
        f"model = zoo.load({CHECKPOINT!r}, check=True)\n"
        "out = model(ase.build.molecule('CH3CH2OH'))\n"
        "print(zoo.__file__, sorted(out), zoo.share.folder('checkpoints'))"
    )
    out = _run(python, "-c", program, cwd=tmp_path, ZOO_OFFLINE="1", ZOO_CACHE=str(tmp_path / "c"))
    assert out.startswith(str(python.parents[1]))
    assert "['energy', 'forces']" in out
    assert str(python.parents[1]) in out.split("]")[1]
    assert list(tmp_path.iterdir()) == []


def test_the_command_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    zoo = python.with_name("zoo")
    assert CHECKPOINT in _run(zoo, "list", "--pretrained", cwd=tmp_path)
    assert "tensornet" in _run(zoo, "list", cwd=tmp_path)


def test_the_demo_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    out = _run(python, "-m", "zoo.apps.demo", *SHORT, cwd=tmp_path, ZOO_OFFLINE="1")
    assert "fine-tuned" in out
    assert {p.suffix for p in tmp_path.rglob("*")} >= {".png", ".safetensors", ".yaml"}


SHORT = ("--time", "00:00:10", "--output", "demo")
