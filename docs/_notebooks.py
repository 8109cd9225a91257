"""Notebooks without a server: read, run in this process, written back, turned into Markdown.

A tutorial is its .ipynb and nothing else. `python docs/_notebooks.py [FILES]` runs them in place,
each in an empty folder, and stores what the cells show; the site and the tests read the same file.
Cells are plain Python. A cell tagged `budget` only sets names (epochs, frames, ...), which a run
with less time may replace.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent / "tutorials"
BUDGET = "budget"
DPI = 72

Notebook = dict[str, Any]
Cell = dict[str, Any]


def read(path: Path) -> Notebook:
    """The notebook's JSON."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: Notebook) -> Iterator[Cell]:
    """The cells that hold code, in their order."""
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def source(cell: Cell) -> str:
    """A cell's text."""
    return "".join(cell["source"])


def run(
    notebook: Notebook, folder: Path, *, name: str, budget: Mapping[str, Any] | None = None
) -> None:
    """Runs all cells in one namespace, in `folder`, and puts their outputs into the notebook.

    Args:
        notebook: from `read`; changed in place.
        folder: the working directory meanwhile.
        name: of the notebook, for tracebacks.
        budget: replaces values that the cells tagged `budget` set.

    Raises:
        KeyError: for a name in `budget` that no such cell sets.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    left = dict(budget or {})
    with contextlib.chdir(folder):
        for count, cell in enumerate(code_cells(notebook), start=1):
            cell["outputs"] = _execute(source(cell), namespace, f"{name}, cell {count}", count)
            cell["execution_count"] = count
            if BUDGET in cell["metadata"].get("tags", []):
                for key in [key for key in left if key in namespace]:
                    namespace[key] = left.pop(key)
    if left:
        raise KeyError(f"{name}: no budget cell sets {', '.join(left)}")


def _execute(text: str, namespace: dict[str, Any], where: str, count: int) -> list[dict[str, Any]]:
    """The outputs of one cell: what it prints, the value of its last line, its figures."""
    tree = ast.parse(text, where)
    wanted = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
    wanted = wanted and not text.rstrip().endswith(";")  # as in Jupyter
    last = tree.body.pop() if wanted else None
    value = None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        shown = {"data": {"text/plain": repr(value)}, "metadata": {}}
        outputs.append({"output_type": "execute_result", "execution_count": count, **shown})
    for picture in _figures():
        shown = {"data": {"image/png": base64.b64encode(picture).decode()}, "metadata": {}}
        outputs.append({"output_type": "display_data", **shown})
    return outputs


def _figures() -> Iterator[bytes]:
    """The open figures as PNG, each closed afterwards."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        stream = io.BytesIO()
        pyplot.figure(number).savefig(stream, dpi=DPI, bbox_inches="tight", metadata={})
        pyplot.close(number)
        yield stream.getvalue()


def to_json(notebook: Notebook) -> str:
    """The text of the file, laid out as Jupyter lays it out."""
    for cell in notebook["cells"]:
        cell["source"] = source(cell).splitlines(keepends=True)
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = "".join(output["text"]).splitlines(keepends=True)
            data = output.get("data", {})
            if "text/plain" in data:
                data["text/plain"] = "".join(data["text/plain"]).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def to_markdown(notebook: Notebook) -> str:
    """The notebook as a page: text, code, and what the code showed."""
    parts = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append(source(cell))
            continue
        parts.append(_fenced(source(cell), "python"))
        parts += [part for output in cell["outputs"] if (part := _shown(output))]
    return "\n\n".join(parts) + "\n"


def _shown(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="figure drawn by the cell above" src="data:image/png;base64,{picture}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return _fenced(text.rstrip(), "{ .text .output }") if text.strip() else ""


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text}\n````"


def main(paths: list[str]) -> None:
    """Runs notebooks in place, without the network and away from the user's cache."""
    os.environ |= {"MPLBACKEND": "agg", "ZOO_OFFLINE": "1"}
    for path in [Path(p).resolve() for p in paths] or sorted(TUTORIALS.glob("*.ipynb")):
        sys.stderr.write(f"{path.name}\n")
        notebook = read(path)
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
            os.environ["ZOO_CACHE"] = cache
            run(notebook, Path(folder), name=path.name)
        path.write_text(to_json(notebook), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
