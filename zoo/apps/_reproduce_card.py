"""The part of an architecture's card that `zoo reproduce --card` writes: one line per row."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import __version__, _card, registry
from zoo._files import write_atomic
from zoo.errors import OutputError
from zoo.training import recipe as recipes

if TYPE_CHECKING:
    from zoo.apps.reproduce import Reproduction

START, END = "<!-- reproduced -->", "<!-- /reproduced -->"
HEAD = ("row", "of", "ours", "held against", "verdict", "run")
_PLACE = re.compile(rf"{re.escape(START)}\n(.*?){re.escape(END)}", re.DOTALL)


def write(result: "Reproduction") -> Path:
    """Writes a result into the card, in the place of an older one of the same row.

    Args:
        result: of a tier that is the row's.

    Returns:
        The card's file.

    Raises:
        OutputError: the architecture ships no card, or it can't be written.
    """
    recipe = recipes.load(result.row.recipe)
    spec, _ = registry.resolve(recipe.model.name)
    path = spec.path.with_suffix(".md") if spec.path is not None else None
    if path is None or not path.is_file():
        raise OutputError(f"{spec.name} has no card to write into; leave out card")
    write_atomic(path, updated(path.read_text(encoding="utf-8"), result))
    return path


def updated(text: str, result: "Reproduction") -> str:
    """A card's text with the line of a result in it.

    Args:
        text: the card; the marked part is added at its end where there is none.
        result: to write.
    """
    found = _PLACE.search(text)
    lines = found.group(1).splitlines() if found else []
    old = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    old[result.row.name] = _card.table(HEAD, [_cells(result)]).splitlines()[-1]
    head = _card.table(HEAD, []).splitlines()
    body = "\n".join([START, *head, *(old[name] for name in sorted(old)), END])
    if found:
        return text[: found.start()] + body + text[found.end() :]
    return f"{text.rstrip()}\n\n## Reproduced\n\n{body}\n"


def _cells(result: "Reproduction") -> list[str]:
    spec = result.row.spec
    scaled = " / variance" if spec.scale != "none" else ""
    data = (result.details.get("data") or {}).get("sha256", "")[:12]
    run = [f"tier {result.tier}", f"version {__version__}"]
    run += [f"data {data}"] if data else []
    return [
        f"`{result.row.name}`",
        f"{spec.split} {spec.metric}{scaled}",
        result.ours(),
        "; ".join(filter(None, [result.row.reference(), spec.table, spec.note])),
        result.says(),
        ", ".join(run),
    ]
