"""`zoo list`: the architectures and presets, or the trained weights, there are."""

from typing import Annotated, Any

import typer

from zoo.cli import _common

MODEL_COLUMNS = ("name", "domain", "symmetry", "certificate", "title")
ATOMS_COLUMNS = ("name", "elements", "level of theory", "source", "license", "certificate")
FOLDED_COLUMNS = ("name", "title", "domain", "symmetry", "certificate", "presets")
CHECKPOINT_COLUMNS = (
    "name",
    "domain",
    "inputs",
    "classes",
    "trained on",
    "source",
    "license",
    "certificate",
)


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
    """Architectures and presets; with --pretrained, trained weights.

    A certificate reads GROUP: the largest equivariance errors that `zoo verify` measured in
    float64 / float32.
    """
    from zoo import _rows
    from zoo.registry import table

    rows = table(
        pattern,
        domain=domain,
        symmetry=symmetry,
        elements=elements,
        license=license,
        pretrained=pretrained,
    )
    columns = _columns(rows) if pretrained else MODEL_COLUMNS
    shown = rows
    if as_markdown and not pretrained:
        shown, columns = _rows.with_presets(rows), FOLDED_COLUMNS
    elif as_markdown and fold:
        shown = _rows.families(rows)
        columns = (*columns, "variants") if any("variants" in row for row in shown) else columns
    draw = _common.markdown if as_markdown else _common.table
    text = draw([_rows.words(row) for row in shown], columns) if rows else "nothing matches"
    _common.emit(rows, text, as_json=as_json)


def _columns(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Of trained weights: what atoms have where there is nothing else."""
    return ATOMS_COLUMNS if all("elements" in row for row in rows) else CHECKPOINT_COLUMNS
