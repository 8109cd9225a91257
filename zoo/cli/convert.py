"""`zoo convert`: the authors' weights as ours."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    architecture: Annotated[str, typer.Argument(help="Of ours, such as tensornet.")],
    weights: Annotated[Path, typer.Argument(help="The authors' state dict.")],
    config: Annotated[Path, typer.Option(help="Their configuration, as YAML or JSON.")],
    source: Annotated[str, typer.Option(help="Whose code wrote it, such as torchmd-net.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the result.")],
    name: Annotated[
        str | None,
        typer.Option(help="Of the result, such as tensornet-l.spice.r1; else from the folder's."),
    ] = None,
    units: _common.Units = [],  # noqa: B006  # typer reads it and hands out copies
    as_json: _common.Json = False,
) -> None:
    """Turn a checkpoint of the authors' code into one that `zoo.load` reads."""
    united = _common.pairs(units, "'--unit'")
    output = _common.check_output(output, folder=True)
    from zoo import hub

    model = hub.convert(architecture, weights, config, source=source, units=united or None)
    named = name or hub.derive_name(architecture, output.resolve().name)
    folder = hub.save(model, output, name=named)
    size = sum(p.numel() for p in model.parameters())
    _common.emit(
        {"path": str(folder), "name": named, "parameters": size},
        f"wrote {named} to {folder} ({size} parameters)",
        as_json=as_json,
    )
