"""`zoo list`: the architectures and presets, or the trained weights, there are."""

from typing import Annotated, Any

import typer

from zoo.cli import _common

MODEL_COLUMNS = ("name", "domain", "symmetry", "title")
ATOMS_COLUMNS = ("name", "elements", "level of theory", "license")
FOLDED_COLUMNS = ("name", "title", "domain", "symmetry", "presets")
CHECKPOINT_COLUMNS = ("name", "domain", "inputs", "classes", "trained on", "license")


def command(
    pattern: Annotated[str, typer.Argument(help="Shell pattern such as '*net*'.")] = "*",
    domain: Annotated[str | None, typer.Option(help="What a sample is: atoms, matrix, ...")] = None,
    symmetry: Annotated[str | None, typer.Option(help="A group such as 'O(3)'.")] = None,
    elements: Annotated[
        str | None, typer.Option(help="Elements that must all have been trained on: H,C,O.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Trained weights instead.")
    ] = False,
    as_markdown: Annotated[
        bool,
        typer.Option(
            "--markdown/--no-markdown",
            help="Print a Markdown table; presets stand beside their architecture.",
        ),
    ] = False,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold/--no-fold",
            help="In Markdown: weights that differ in their variant alone share a row.",
        ),
    ] = True,
    as_json: _common.Json = False,
) -> None:
    """Architectures and presets; with --pretrained, trained weights."""
    from zoo.registry import list_models

    names = list_models(
        pattern,
        domain=domain,
        symmetry=symmetry,
        elements=elements,
        license=license,
        pretrained=pretrained,
    )
    rows = [_checkpoint(name) if pretrained else _model(name) for name in names]
    columns = _columns(rows) if pretrained else MODEL_COLUMNS
    if as_markdown and not as_json and not pretrained:
        rows, columns = _folded(rows), FOLDED_COLUMNS
    elif as_markdown and not as_json and fold:
        rows = _families(rows)
        columns = (*columns, "variants") if any("variants" in row for row in rows) else columns
    draw = _common.markdown if as_markdown else _common.table
    _common.emit(rows, draw(rows, columns) if rows else "nothing matches", as_json=as_json)


def _folded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each architecture, with those of its presets that were listed."""
    folded: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["name"] != row["architecture"]):
        entry = folded.setdefault(row["architecture"], {**row, "presets": []})
        if entry["name"] != row["name"]:
            entry["presets"].append(f"`{row['name']}`")
    return list(folded.values())


def _families(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Weights `<architecture>-<variant>.<data>.<release>` whose rows are else the same, as one row.

    All names can be read off it: `a-*.d.r1` with the variants x and y is a-x.d.r1 and a-y.d.r1.
    """
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        size, _, rest = row["name"].partition(".")
        family = f"{size.partition('-')[0]}-*.{rest}"
        shown = [str(row.get(key)) for key in sorted(row) if key != "name"]
        families.setdefault("\n".join([family, *shown]), []).append(row)
    folded = []
    for key, same in families.items():
        names = [row["name"].partition(".")[0].partition("-")[2] for row in same]
        if len(same) > 1 and all(names):
            variants = [f"`{name}`" for name in names]
            folded.append({**same[0], "name": key.partition("\n")[0], "variants": variants})
        else:
            folded += same
    return folded


def _columns(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Of trained weights: what atoms have where there is nothing else."""
    return ATOMS_COLUMNS if all("elements" in row for row in rows) else CHECKPOINT_COLUMNS


def _model(name: str) -> dict[str, Any]:
    """What the list says of an architecture or preset."""
    from zoo.registry import resolve

    spec, _ = resolve(name)
    return {
        "name": name,
        "domain": ", ".join(spec.domains),
        "title": spec.title,
        "symmetry": spec.symmetry["group"],
        "architecture": spec.name,
    }


def _checkpoint(name: str) -> dict[str, Any]:
    """What the list says of trained weights."""
    from zoo import _card, _catalog

    about = _catalog.manifest(_catalog.checkpoints()[name], brief=True)
    inputs = about.get("inputs") or {}
    training = about.get("training") or {}
    row = {
        "name": name,
        "domain": inputs.get("domain", "atoms"),
        "trained on": [data["name"] for data in training.get("data") or []],
        "license": about["license"]["weights"],
    }
    if row["domain"] != "atoms":
        tokens = f"{inputs['tokens']} tokens" if inputs.get("tokens") else None
        return row | {
            "inputs": _card.shape(inputs) or tokens,
            "classes": len(about.get("classes") or []) or None,
        }
    elements = list(inputs.get("elements") or {})
    energy = (about.get("outputs") or {}).get("energy") or {}
    return row | {
        "inputs": elements,
        "elements": elements,
        "level of theory": energy.get("level_of_theory"),
    }
