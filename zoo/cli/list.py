"""`zoo list`: the architectures and presets, or the trained weights, there are."""

from typing import Annotated, Any

import typer

from zoo.cli import _common

MODEL_COLUMNS = ("name", "domain", "symmetry", "title")
CHECKPOINT_COLUMNS = ("name", "elements", "level of theory", "license")


def command(
    pattern: Annotated[str, typer.Argument(help="Shell pattern such as '*net*'.")] = "*",
    domain: Annotated[str | None, typer.Option(help="What a sample is: atoms, points, ...")] = None,
    symmetry: Annotated[str | None, typer.Option(help="A group such as 'O(3)'.")] = None,
    elements: Annotated[
        str | None, typer.Option(help="Elements that must all have been trained on: H,C,O.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Trained weights instead.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown/--no-markdown", help="Print a Markdown table.")
    ] = False,
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
    columns = CHECKPOINT_COLUMNS if pretrained else MODEL_COLUMNS
    rows = [_row(name) for name in names]
    draw = _common.markdown if as_markdown else _common.table
    _common.emit(rows, draw(rows, columns) if rows else "nothing matches", as_json=as_json)


def _row(name: str) -> dict[str, Any]:
    """What a list says of one name."""
    from zoo.registry import info

    about = info(name)
    if about["kind"] != "checkpoint":
        group = about["symmetry"]["group"]
        return {"name": name} | {k: about[k] for k in ("domain", "title")} | {"symmetry": group}
    energy = about["outputs"].get("energy") or {}
    return {
        "name": name,
        "elements": list(about["inputs"]["elements"]),
        "level of theory": energy.get("level_of_theory"),
        "license": about["license"]["weights"],
    }
