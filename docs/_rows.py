"""The table of models: a row for each architecture and for each set of trained weights."""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from zoo import _catalog
from zoo._spec import Spec, shipped
from zoo.registry import table

#: heading -> what it says, and whether its values are numbers
COLUMNS = {
    "name": ("an architecture, or weights that load by this name", False),
    "architecture": ("its name in the paper", False),
    "domain": ("what a sample is", False),
    "symmetry": ("the group", False),
    "data set": ("what the weights were trained on", False),
    "parameters": ("numbers in the file of weights", True),
    "size": ("of the file of weights", True),
    "licence": ("of the weights; of an architecture, that of its code", False),
    "errors": ("on test data, as its card has them", False),
    "worst symmetry error": ("largest equivariance error, float32 / float64", True),
    "source": ("who trained it", False),
}
CODE_LICENCE = "Apache-2.0"
NOT_RUN = "not run by us"
#: which errors are shown first, by target and name
_FIRST = (
    ("forces", "mae"),
    ("energy", "mae_per_atom"),
    ("energy", "mae"),
    (None, "accuracy"),
    (None, "balanced_accuracy"),
    (None, "mse"),
    (None, "relative_l2"),
    (None, "angle"),
    (None, "mae"),
)


def rows() -> Iterator[dict[str, Any]]:
    """All rows, the weights below their architecture.

    Yields:
        `kind` ("architecture" or "weights"), `base` (the architecture's name), `page` (the page's
        address under the site's root, without its ending), `words` (more to search in), and a
        value for each of `COLUMNS`.
    """
    weights = table(pretrained=True)
    for row in table():
        spec = shipped().get(row["name"])
        if spec is None:  # a preset
            continue
        yield {
            "kind": "architecture",
            "base": spec.name,
            "page": f"models/{spec.name}",
            "words": [*spec.presets, *spec.aliases, str(spec.paper.get("title", ""))],
            "name": spec.name,
            "architecture": spec.title,
            "domain": list(spec.domains),
            "symmetry": row["symmetry"],
            "licence": CODE_LICENCE,
            "worst symmetry error": _worst(row["certificate"]),
        }
        yield from (_weights(each, spec) for each in weights if each["architecture"] == spec.name)


def _weights(row: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    manifest = _catalog.manifest(_catalog.checkpoints()[row["name"]], brief=True)
    certificate = row["certificate"]
    worst = _worst(certificate)
    return {
        "kind": "weights",
        "base": spec.name,
        "page": f"weights/{row['name']}",
        "words": [spec.name, *row.get("elements", ())],
        "name": row["name"],
        "architecture": spec.title,
        "domain": [row["domain"]],
        "symmetry": (certificate or {}).get("group") or str(spec.symmetry["group"]),
        "data set": row["trained on"],
        "parameters": parameters(row["name"], manifest.get("files") or []),
        "size": row["bytes"],
        "licence": row["license"],
        "errors": errors(manifest.get("metrics") or []),
        "worst symmetry error": [NOT_RUN] if row["source"] == "authors" and not worst else worst,
        "source": row["source"],
    }


def _worst(certificate: Mapping[str, Any] | None) -> list[float | str] | None:
    """The largest equivariance error in float32 and in float64; empty if nothing is promised."""
    if certificate is None:
        return None
    return [certificate[key] for key in ("float32", "float64") if key in certificate]


def parameters(name: str, files: Sequence[Mapping[str, Any]]) -> int | None:
    """How many numbers a shipped file of weights holds, read from its head; None elsewhere."""
    file = next((item["path"] for item in files if item.get("role") == "weights"), "")
    path = Path(_catalog.checkpoints()[name]).with_name(file or "none")
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        head = json.loads(stream.read(length))
    return sum(math.prod(about["shape"]) for key, about in head.items() if key != "__metadata__")


def errors(metrics: list[Mapping[str, Any]], limit: int = 2) -> list[str]:
    """The main errors on test data in words, such as "forces MAE 13.1 meV/Å"."""
    whole = [row for row in metrics if "/" not in str(row["dataset"])]
    test = [row for row in whole if row["split"] == "test"] or whole
    found = []
    for target, name in _FIRST:
        for row in test:
            if row["name"] == name and target in (None, row["target"]) and row not in found:
                found.append(row)
    chosen = found or test
    return [_error(row) for row in chosen[:limit]]


def _error(row: Mapping[str, Any]) -> str:
    name = str(row["name"]).replace("_", " ")
    name = name.upper() if len(name) <= 4 else name.replace("mae ", "MAE ")
    target = "" if row["target"] in ("logits", "prediction") else f"{row['target']} "
    unit = "" if row.get("unit") in (None, "1") else f" {row['unit']}"
    return f"{target}{name} {row['value']:.3g}{unit}"


def html() -> str:
    """The table of the home page, whole without JavaScript; `model-table.js` filters it."""
    heads = "".join(_head(name) for name in COLUMNS)
    body = "\n".join(_html_row(row) for row in rows())
    return (
        '<div id="model-table">\n<div class="zoo-scroll" role="region" tabindex="0" '
        'aria-label="Table of models">\n<table class="zoo-models">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n</div>"
    )


def _head(name: str) -> str:
    about, number = COLUMNS[name]
    return f'<th scope="col" title="{escape(about)}"{" data-number" * number}>{name}</th>'


def _html_row(row: Mapping[str, Any]) -> str:
    data = {"kind": row["kind"], "domain": " ".join(row["domain"]), "licence": row["licence"]}
    data["words"] = " ".join(row["words"])
    attributes = "".join(f' data-{key}="{escape(str(value))}"' for key, value in data.items())
    cells = "".join(_cell(name, row.get(name), row) for name in COLUMNS)
    return f"<tr{attributes}>{cells}</tr>"


def _cell(name: str, value: Any, row: Mapping[str, Any]) -> str:
    number = value[0] if isinstance(value, list) and value else value
    extra = f' data-value="{number}"' if isinstance(number, (int, float)) else ""
    text = escape(shown(name, value))
    if name == "name":
        text = f'<a href="{row["page"]}/"><code>{text}</code></a>'
    extra += ' class="none"' if text == "-" else ""
    return f'<td data-label="{name}"{extra}>{text}</td>'


def shown(name: str, value: Any) -> str:
    """A cell's text."""
    if name == "worst symmetry error" and value is not None:
        words = [error if isinstance(error, str) else f"{error:.0e}" for error in value]
        return " / ".join(words) or "none claimed"
    if value in (None, []):
        return "-"
    if name == "size":
        return f"{value / 1e6:.2f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"
    if name == "parameters":
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else str(value)
