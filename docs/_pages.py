"""Pages that nobody writes: one for each architecture and one for each set of trained weights."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import _figure
import _math
import _rows

from zoo import _card, _catalog, _certificates, share
from zoo._files import read_yaml
from zoo._spec import Spec, shipped
from zoo.registry import card

EQUATIONS = Path(__file__).parent / "_equations"
FOLDERS = {"architecture": "models", "weights": "weights"}


def pages() -> Iterator[tuple[str, str]]:
    """Address under `docs/` and Markdown of every page made here."""
    for spec in shipped().values():
        yield f"models/{spec.name}.md", architecture(spec)
    for name in _catalog.checkpoints():
        yield f"weights/{name}.md", weights(name)


def architecture(spec: Spec) -> str:
    """An architecture's card with what the code and the other files know of it."""
    head, _, rest = _without_certificate(card(spec.name)).strip().partition("\n## ")
    about = _certificates.of_architecture(spec.name)
    parts = [
        head,
        _facts(spec),
        _equations(spec.name),
        certificate(about, f"`zoo verify {spec.name}`: a small model with fresh weights"),
        f"## {rest}" if rest else "",
        _presets(spec),
        _recipes(spec.name),
        _trained(spec.name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def weights(name: str) -> str:
    """The card of trained weights, with a figure of their certificate."""
    manifest = _catalog.manifest(_catalog.checkpoints()[name])
    about = _certificates.summary(manifest.get("certificate"))
    spec = shipped()[manifest["architecture"]]
    back = f"Weights of [{spec.title}](../models/{spec.name}.md)"
    text = card(name).replace(f"Weights of `{spec.name}`", back, 1)
    if about is None:
        return text
    figure = _svg(about, f"`zoo verify {name}`")
    return text.replace("## Certificate\n", f"## Certificate\n\n{figure}\n", 1)


def _without_certificate(text: str) -> str:
    """A card up to a section that the page writes itself."""
    return re.sub(r"\n## Certificate\n.*?(?=\n## |\Z)", "", text, flags=re.DOTALL)


def _facts(spec: Spec) -> str:
    module, _, name = spec.class_path.partition(":")
    rows = {
        "made by": f"`zoo.create({spec.name!r})`",
        "domain": ", ".join(spec.domains),
        "symmetry": ", or by an argument ".join(spec.groups),
        "outputs": ", ".join(f"`{output}`" for output in spec.outputs),
        "paper": _paper(spec.paper),
        "arguments": f"[`{module}.{name}`][{module}.{name}]",
    }
    if spec.domain == "atoms":
        rows["forces"] = "gradient of the energy" if spec.conservative else "direct"
    lines = [f"- {key}: {value}" for key, value in rows.items() if value]
    return "## At a glance\n\n" + "\n".join(lines)


def _paper(paper: Mapping[str, Any]) -> str:
    if "title" not in paper:
        return ""
    venue = " ".join(str(paper[key]) for key in ("venue", "year") if key in paper)
    links = {
        "arxiv": f"[arXiv:{paper.get('arxiv')}](https://arxiv.org/abs/{paper.get('arxiv')})",
        "doi": f"[doi:{paper.get('doi')}](https://doi.org/{paper.get('doi')})",
        "url": f"<{paper.get('url')}>",
    }
    link = next((text for key, text in links.items() if key in paper), "")
    return ", ".join(filter(None, [f"{paper.get('authors')}: *{paper['title']}*", venue, link]))


@functools.cache
def equations() -> dict[str, str]:
    """The formulas of every architecture, by name, from `_equations/*.md`."""
    found = {}
    for path in sorted(EQUATIONS.glob("*.md")):
        for section in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name, _, text = section.partition("\n")
            found[name.strip()] = text.strip()
    return found


def _equations(name: str) -> str:
    text = equations().get(name)
    return f"## Equations\n\n{_math.hide(text)}" if text else ""


def certificate(about: Mapping[str, Any] | None, what: str) -> str:
    """The section on a certificate: figure, verdict, numbers."""
    if about is None:
        return ""
    return "\n\n".join(
        [
            "## Equivariance error",
            _svg(about, what),
            f"{what}, held to {about['group']}. Bold names are what the group promises. "
            f"{_verdict(about)}",
            '??? note "The numbers"\n\n' + _indented(_numbers(about)),
        ]
    )


def _svg(about: Mapping[str, Any], what: str) -> str:
    figure = _figure.certificate(about["results"], title=f"Errors of {what}".replace("`", ""))
    return f'<div class="zoo-scroll">{figure}</div>' if figure else ""


def _verdict(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{key} {value}" for key, value in about["environment"].items())
    counts = about["counts"]
    worst = [f"{row['error']:.0e} in {p}, by {row['name']}" for p, row in about["worst"].items()]
    largest = f" The largest equivariance error is {'; '.join(worst)}." if worst else ""
    return f"{counts['passed']} checks passed, {counts['failed']} failed ({versions}).{largest}"


def _numbers(about: Mapping[str, Any]) -> str:
    columns = ("name", "dtype", "error", "tolerance", "status")
    rows = [[row[key] for key in columns] for row in about["results"]]
    return _card.table(["check", "precision", "error", "tolerance", "result"], rows)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _presets(spec: Spec) -> str:
    rows = [[f"`{name}`", _arguments(config)] for name, config in spec.presets.items()]
    if not rows:
        return ""
    return "## Presets and what they set\n\n" + _card.table(["preset", "sets"], rows)


def _arguments(config: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value!r}`" for key, value in config.items()) or "nothing"


@functools.cache
def _all_recipes() -> dict[str, list[list[str]]]:
    """Rows on all shipped recipes, by architecture."""
    folder, found = share.folder("recipes"), {}
    names = {preset: spec.name for spec in shipped().values() for preset in spec.presets}
    for path in sorted(folder.glob("*/*.yaml")):
        about = read_yaml(path)
        asked = str((about.get("model") or {}).get("name", path.stem))
        row = [f"`zoo train {path.parent.name}/{path.stem}`"]
        row += [str(about.get(key) or "") for key in ("description", "status")]
        found.setdefault(names.get(asked, asked), []).append(row)
    return found


def _recipes(name: str) -> str:
    rows = _all_recipes().get(name)
    if not rows:
        return ""
    return "## Recipes\n\n" + _card.table(["recipe", "what", "status"], rows)


def _trained(name: str) -> str:
    shown = [
        [
            f"[`{row['name']}`](../{row['page']}.md)",
            *(_rows.shown(key, row[key]) for key in _TRAINED),
        ]
        for row in _table()
        if row["kind"] == "weights" and row["base"] == name
    ]
    if not shown:
        return ""
    return "## Trained weights\n\n" + _card.table(["name", *_TRAINED], shown)


_TRAINED = ("data set", "parameters", "size", "errors", "worst symmetry error", "licence", "source")


@functools.cache
def _table() -> tuple[dict[str, Any], ...]:
    return tuple(_rows.rows())
