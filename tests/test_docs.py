"""The pages: tutorials run, what they say can be run is run, links lead somewhere, lists are whole.

The site itself is built by `make docs`, which refuses what MkDocs warns of.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _notebooks
import _tables
import pages
import pytest
import yaml

import zoo
from zoo import share
from zoo._spec import shipped

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))
#: folders with an underscore hold parts of pages
MARKDOWN = sorted(path for path in DOCS.rglob("*.md") if not path.parent.name.startswith("_"))
RUNNABLE = [page for page in MARKDOWN if "```" in page.read_text()]
#: what a test spends where a reader would spend more; the cells are the same
BUDGETS: dict[str, dict[str, Any]] = {
    "add-architecture": {"epochs": 1},
    "fine-tune": {
        "epochs": 1,
        "train_frames": 8,
        "methods": ("full", "replay:frac=0.5,frames=20", "ewc:lambda=1,frames=5"),
    },
    "generate": {"frames": {"train": 1, "val": 1, "test": 1}},
    "graphs": {"epochs": 3},
    "hyperbolic": {"epochs": 4},
    "predict": {"frames": 60},
    "spd": {"epochs": 1},
    "tensor-product": {"degrees": (1, 2), "rounds": 1},
    "train": {"epochs": 3, "rates": [1e-3]},
}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and cache, no network; pages may change these variables."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_CACHE_RO", raising=False)
    return folder


def _name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def _nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from _nav(value) if isinstance(value, list) else [value]


def _site() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_runs(path: Path, alone: Path) -> None:
    """And each cell shows the kind of thing that is stored under it, so nobody forgot to run it."""
    stored = _notebooks.read(path)
    again = _notebooks.read(path)
    _notebooks.run(again, alone, name=path.name, budget=BUDGETS.get(path.stem))
    for old, new in zip(_cells(stored), _cells(again), strict=True):
        assert _kinds(new) == _kinds(old), f"run make notebooks: {_notebooks.source(old)}"


def _cells(notebook: _notebooks.Notebook) -> list[_notebooks.Cell]:
    return list(_notebooks.code_cells(notebook))


def _kinds(cell: _notebooks.Cell) -> list[str]:
    return [output["output_type"] for output in cell["outputs"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_is_stored_as_it_ran(path: Path) -> None:
    notebook = _notebooks.read(path)
    cells = _cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell["outputs"] for cell in cells)
    text = path.read_text()
    assert len(text) < 200_000
    assert _notebooks.to_json(notebook) == text
    assert not re.search(rf"{ROOT}|/tmp/|/home/|/root/|Traceback", text)
    assert not re.search(r"^\s*[%!]", "\n".join(map(_notebooks.source, cells)), re.MULTILINE)


def test_runner_shows_values_prints_and_figures(alone: Path) -> None:
    def cell(text: str, *tags: str) -> dict[str, Any]:
        return {"cell_type": "code", "source": [text], "metadata": {"tags": list(tags)}}

    figure = "from matplotlib import pyplot as plt\nplt.plot([0, 1]);"
    texts = ["print(n)\nn + 1", "n;", figure]
    notebook = {"cells": [cell("n = 5", "budget"), *map(cell, texts)]}
    _notebooks.run(notebook, alone, name="x", budget={"n": 2})
    assert [_kinds(c) for c in notebook["cells"]] == [
        [],
        ["stream", "execute_result"],
        [],
        ["display_data"],
    ]
    assert notebook["cells"][1]["outputs"][0]["text"] == "2\n"
    page = _notebooks.to_markdown(notebook)
    assert "````{ .text .output }\n3\n````" in page
    assert "data:image/png;base64," in page
    with pytest.raises(KeyError, match="no budget cell sets m"):
        _notebooks.run(notebook, alone, name="x", budget={"m": 2})


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_every_block_runs(page: Path, alone: Path) -> None:
    assert pages.run_blocks(page.read_text(), page.name) <= {"python", "sh"}


def test_every_page_is_in_the_navigation() -> None:
    listed = list(_nav(_site()["nav"]))
    assert len(listed) == len(set(listed))
    assert set(listed) == {_name(page) for page in [*MARKDOWN, *NOTEBOOKS]}


def test_links_lead_somewhere() -> None:
    for page in MARKDOWN:
        assert not pages.broken_links(page, page.read_text()), page
    for path in NOTEBOOKS:
        cells = _notebooks.read(path)["cells"]
        text = "\n".join(_notebooks.source(c) for c in cells if c["cell_type"] == "markdown")
        assert not pages.broken_links(path, text), path


def test_places_are_filled() -> None:
    """Every list is on some page, and no page asks for one that there is not."""
    asked = {found[1] for page in MARKDOWN for found in _tables.PLACE.finditer(page.read_text())}
    assert asked == set(_tables.FILLERS)
    with pytest.raises(KeyError):
        _tables.fill("<!-- zoo: nonsense -->")


def _filled(name: str) -> str:
    return _tables.fill((DOCS / "reference" / f"{name}.md").read_text())


def test_lists_are_whole() -> None:
    models, checkpoints = _filled("models"), _filled("checkpoints")
    for line in _tables.command("list", "--markdown").splitlines():
        assert line.partition(" |")[2] in models
    for name in shipped():
        assert f"\n| [`{name}`](../models/{name}.md) |" in models
    for name in zoo.list_models(pretrained=True):
        assert f"\n| [`{name}`](../weights/{name}.md) |" in checkpoints
    datasets, recipes = _filled("datasets"), _filled("recipes")
    for name in zoo.datasets.known():
        assert f"| `{name}` |" in datasets
    for path in share.folder("recipes").glob("*/*.yaml"):
        assert f"| `{path.parent.name}/{path.stem}` |" in recipes


def test_every_verb_is_explained() -> None:
    text = _filled("cli")
    verbs = re.findall(r"^  ([a-z]+) ", _tables.command("--help"), re.MULTILINE)
    assert len(verbs) > 10
    for verb in verbs:
        assert f"\n## zoo {verb}\n" in text
    assert "\n### zoo data check\n" in text
    assert "| `--trust / --no-trust` |" in text
    assert r"'\*net\*'" in text  # as it is typed, not as emphasis


def test_every_domain_is_explained() -> None:
    from zoo.datasets.domains import DOMAINS

    text = _tables.fill((DOCS / "how-to" / "domains.md").read_text())
    assert all(f"\n## {name}\n" in text for name in DOMAINS)


def test_the_nbody_table_is_whole() -> None:
    text = _tables.fill((DOCS / "how-to" / "nbody.md").read_text())
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    names = [name for name in zoo.list_models(pretrained=True) if ".nbody." in name]
    assert len(rows) == len(names) + 3
    assert all(any(row.startswith(f"| `{name}` | 0.00") for row in rows) for name in names)
    assert any(row.startswith("| `linear map` | 0.0689 |") for row in rows)
    errors = [float(row.split("|")[2]) for row in rows]
    assert errors == sorted(errors, reverse=True)


def test_every_public_name_is_on_an_api_page() -> None:
    listed = {name.rpartition(".")[2] for name in _tables.exported("zoo")}
    assert listed == set(zoo.__all__) - {"__version__", "datasets"}
    listed = {name.rpartition(".")[2] for name in _tables.exported("zoo.hub")}
    assert listed == set(zoo.hub.__all__)
    text = "\n".join(_filled(path.stem) for path in (DOCS / "reference").glob("zoo*.md"))
    listed = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
    for package in _public_packages():
        missing = set(_tables.exported(package)) - listed
        assert not missing, f"{package}: on no page of the reference: {sorted(missing)}"
    missing = {module for module in _public_modules() if module not in listed}
    assert missing == {"zoo.apps.demo", "zoo.apps.doctor"}  # `make demo`, `zoo doctor`


def _public_packages() -> Iterator[str]:
    """Packages whose names don't begin with an underscore; the command has pages of its own."""
    for path in sorted((ROOT / "zoo").rglob("__init__.py")):
        parts = path.parent.relative_to(ROOT).parts
        if "cli" not in parts and not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


def _public_modules() -> Iterator[str]:
    """Modules of which the package hands nothing on, where pages shall name them themselves."""
    for package in _public_packages():
        if package.startswith(("zoo.apps", "zoo.functional", "zoo.layers")):
            folder = ROOT.joinpath(*package.split("."))
            handed_on = (folder / "__init__.py").read_text(encoding="utf-8")
            names = {f"{package}.{path.stem}" for path in folder.glob("[a-z]*.py")}
            yield from (name for name in names if f"from {name} import" not in handed_on)


def test_a_function_is_not_taken_for_its_module() -> None:
    listed = set(_tables.exported("zoo.functional"))
    assert "zoo.functional.gaunt.gaunt" in listed
    assert "zoo.functional.wigner_3j" in listed
    assert "zoo.functional.gaunt" not in listed


def test_headings_move_down_and_code_stays() -> None:
    text = "# A\n\n```sh\n# comment\n```\n\n## B"
    assert _tables.demoted(text) == "## A\n\n```sh\n# comment\n```\n\n### B"
