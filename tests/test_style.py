"""The rules that no linter knows: sizes, layout, and what the library never does."""

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "zoo").rglob("*.py"))
DATA_FOLDERS = ("models", "datasets", "recipes", "checkpoints")
OPTIONAL = {
    "ase_db_backends",
    "h5py",
    "huggingface_hub",
    "lmdb",
    "pyscf",
    "ray",
    "rdkit",
    "tblite",
    "tensorboard",
    "tensorly",
    "torch_scatter",
    "torch_sim",
    "wandb",
}
EXTRAS = ROOT / "zoo" / "_extras.py"  # imports them by name, when asked

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(tree: ast.AST) -> Iterator[Function]:
    yield from (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: no blanks, no comments."""
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def _length(function: Function, lines: set[int]) -> int:
    """Lines of code in a function, its docstring left out."""
    body = function.body
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = set(range(body[0].lineno, (body[0].end_lineno or 0) + 1)) if documented else set()
    span = set(range(function.lineno, (function.end_lineno or 0) + 1))
    return len((span & lines) - docstring)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 40


def test_files_are_short() -> None:
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    sizes = {_name(p): len(p.read_text().splitlines()) for p in files}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_functions_are_short() -> None:
    sizes = {}
    for path in SOURCES:
        source = path.read_text()
        lines = _code_lines(source)
        for function in _functions(ast.parse(source)):
            sizes[f"{_name(path)}:{function.lineno} {function.name}"] = _length(function, lines)
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    long = sorted((size, name) for name, size in sizes.items() if size >= 30)
    assert len(long) <= 0.1 * len(sizes), long


def test_the_length_of_a_function_is_its_code() -> None:
    body = ['"""One', "", "two.", '"""', "# a comment", "", "b = (", "    a", ")", "return b"]
    source = "\n".join(["def f(a):", *(f"    {line}" for line in body), ""])
    (function,) = _functions(ast.parse(source))
    assert _length(function, _code_lines(source)) == 5


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_what_the_library_never_does(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, "no module docstring"
    assert list(_offences(tree, path)) == []
    for word in ("TODO", "FIXME", "XXX"):
        assert word not in path.read_text()


def _offences(tree: ast.AST, path: Path) -> Iterator[str]:
    forbidden = FORBIDDEN_CALLS - ALLOWED_CALLS.get(path, set())
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Global):
            yield f"{where}: global"
        elif isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            yield f"{where}: import *"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden:
            yield f"{where}: {ast.unparse(node.func)}"
        elif isinstance(node, ast.Call) and _is_seed(node) and node not in _forked(tree):
            yield f"{where}: seeds the global generator outside fork_rng"
        elif isinstance(node, ast.Try) and path != EXTRAS and _guards_import(node):
            yield f"{where}: an import inside try"
        elif isinstance(node, ast.Name) and node.id == "NotImplementedError" and not _is_base(tree):
            yield f"{where}: NotImplementedError"
        elif isinstance(node, (ast.Assign, ast.AugAssign)) and "os.environ[" in _targets(node):
            yield f"{where}: sets the environment"
        if isinstance(node, (ast.Import, ast.ImportFrom)) and _roots(node) & OPTIONAL:
            yield f"{where}: imports an optional package; use zoo._extras.require"


# the one place where a pickle that the caller trusts is read
ALLOWED_CALLS = {ROOT / "zoo" / "datasets" / "_unpickle.py": {"pickle.load"}}
FORBIDDEN_CALLS = {
    "print",
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "torch.set_default_dtype",
    "torch.set_num_threads",
    "np.random.seed",
    "os.environ.setdefault",
    "os.environ.update",
}


def _is_seed(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.manual_seed"


def _forked(tree: ast.AST) -> list[ast.AST]:
    """Calls that seed inside `with torch.random.fork_rng(...)`, which puts the state back."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.With)]
    forks = [b for b in blocks if any("fork_rng" in ast.unparse(item) for item in b.items)]
    return [n for block in forks for n in ast.walk(block) if _is_seed(n)]


def _guards_import(node: ast.Try) -> bool:
    caught = " ".join(ast.unparse(h.type) for h in node.handlers if h.type is not None)
    imports = any(
        isinstance(n, (ast.Import, ast.ImportFrom)) for s in node.body for n in ast.walk(s)
    )
    return imports and "Import" in caught


def _is_base(tree: ast.AST) -> bool:
    """Whether NotImplementedError stands only among the bases of a class."""
    bases = [b for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for b in n.bases]
    named = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "NotImplementedError"]
    return all(name in bases for name in named)


def _targets(node: ast.Assign | ast.AugAssign) -> str:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return " ".join(ast.unparse(target) for target in targets)


def _roots(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names}


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "from os import *",
        "def f():\n    global x",
        "try:\n    import numpy\nexcept ImportError:\n    pass",
        "raise NotImplementedError",
        "import os\nos.environ['A'] = '1'",
        "import rdkit.Chem",
        "torch.set_default_dtype(1)",
        "torch.manual_seed(1)",
    ],
)
def test_offences_are_seen(source: str) -> None:
    assert list(_offences(ast.parse(source), ROOT / "zoo" / "x.py"))


def test_every_package_is_named_in_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {_name(p.parent).replace("/", ".") for p in (ROOT / "zoo").rglob("__init__.py")}
    shared = {f"zoo._share.{folder}" for folder in DATA_FOLDERS}
    assert sorted(settings["packages"]) == sorted(found | shared)
    assert settings["package-dir"] == {f"zoo._share.{folder}": folder for folder in DATA_FOLDERS}
    with_code = {_name(p.parent).replace("/", ".") for p in SOURCES}
    assert with_code == found, "a folder of code without __init__.py"


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_data_folders_are_not_packages(folder: str) -> None:
    files = [p for p in (ROOT / folder).rglob("*") if p.is_file()]
    assert files, f"{folder}/ is empty"
    assert [_name(p) for p in files if p.suffix == ".py"] == []


def test_the_version_is_written_once_and_agreed() -> None:
    import zoo

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == zoo.__version__
    assert f"version: {zoo.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["datagen"], *extras["docs"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    names = {item.partition(">=")[0].partition("[")[0].lower().replace("_", "-") for item in wanted}
    assert names - pinned == set()
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()
