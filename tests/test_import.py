"""What importing costs and touches, and which part may import which."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "zoo"
SOURCES = sorted(PACKAGE.rglob("*.py"))

_BELOW_MODELS = {"base", "functional", "layers", "datasets"}
ALLOWED = {
    "base": {"base"},
    "functional": {"base", "functional"},
    "layers": {"base", "functional", "layers"},
    "datasets": _BELOW_MODELS,
    "models": {*_BELOW_MODELS, "models"},
    "hub": {*_BELOW_MODELS, "models", "hub"},
    "testing": {*_BELOW_MODELS, "models", "testing"},
    "training": {*_BELOW_MODELS, "models", "hub", "training"},
    "apps": {*_BELOW_MODELS, "models", "hub", "training", "testing", "apps"},
    "cli": {*_BELOW_MODELS, "models", "hub", "training", "testing", "apps", "cli"},
}


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_and_listing_need_no_torch_and_little_time() -> None:
    code = (
        "import sys, time, json\n"
        "import zoo\n"
        "zoo.list_models(); zoo.info('tensornet'); zoo.card('tensornet')\n"
        "zoo.list_models(pretrained=True)\n"
        "heavy = [m for m in ('torch', 'ase', 'pydantic', 'pooch') if m in sys.modules]\n"
        "print(json.dumps([heavy, time.process_time()]))\n"
    )
    heavy, seconds = json.loads(run(code))
    assert heavy == []
    # processor time, interpreter included: other work on the machine does not count
    assert seconds < 1.0


def test_lazy_names_lead_where_they_should() -> None:
    for name, module in zoo._HOME.items():
        assert getattr(zoo, name) is getattr(sys.modules[module], name)
    assert zoo.datasets.__name__ == "zoo.datasets"
    assert {*zoo._HOME, "datasets"} <= set(dir(zoo))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = zoo.nonsense


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == zoo.__version__


def part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first if (PACKAGE / first).is_dir() else "base"


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, part) of every import of this package in a file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            modules = [node.module or ""]
            if node.module == "zoo":
                modules = [f"zoo.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            head, _, rest = module.partition(".")
            if head == "zoo":
                first = rest.partition(".")[0]
                yield node.lineno, first if first in ALLOWED else "base"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":  # its imports are for type checkers
        return
    wrong = [
        f"{path}:{line} imports {target}"
        for line, target in imported(path)
        if target not in ALLOWED[part(path)]
    ]
    assert not wrong


def test_the_walk_sees_a_forbidden_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from zoo.cli import main\n    import zoo.hub.cache\n")
    assert list(imported(path)) == [(2, "cli"), (3, "hub")]


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from at_import(child)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_environment_is_read_and_nothing_tried_at_import(path: Path) -> None:
    for node in at_import(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("environ", "getenv", "expanduser"), f"{path}:{node.lineno}"
        if isinstance(node, ast.Try):
            inner = [n for item in node.body for n in ast.walk(item)]
            assert not any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in inner), path


@pytest.mark.slow  # imports every dependency
def test_importing_everything_changes_no_global_state(tmp_path: Path) -> None:
    code = """
import json, os, pkgutil, importlib, random
import numpy, torch, torch_geometric, lightning, e3nn, matplotlib, torchmetrics, sklearn
def state():
    return [dict(os.environ), str(torch.get_default_dtype()), torch.get_num_threads(),
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
            torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(), str(random.getstate()),
            str(numpy.random.get_state()), torch.is_grad_enabled(), os.getcwd()]
before = state()
import zoo
for module in pkgutil.walk_packages(zoo.__path__, "zoo."):
    importlib.import_module(module.name)
changed = [i for i, (a, b) in enumerate(zip(before, state())) if a != b]
print(json.dumps(changed))
"""
    home = tmp_path / "home"
    home.mkdir()
    # the packages' own caches are theirs; what is asked is whether ours add to the home folder
    out = run(code, HOME=str(home), XDG_CACHE_HOME=str(tmp_path), MPLCONFIGDIR=str(tmp_path))
    assert json.loads(out) == []
    assert not [path for path in home.rglob("*zoo*")]
