"""`zoo compress`: trained weights with layers in cores of a tensor format."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common


def command(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the result.")],
    format: Annotated[
        str, typer.Option(help="Of the layers: tucker, cp, tt (train) or tr (ring).")
    ] = "tucker",
    rank: Annotated[
        str | None,
        typer.Option(help="One number, or a fraction of each layer's parameters such as 0.5."),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(help="In place of a rank: of the outputs, relative to their spread."),
    ] = None,
    layers: Annotated[
        list[str], typer.Option("--layer", help="Shell patterns of layers that may change.")
    ] = ["*"],  # noqa: B006  # typer reads it and hands out copies
    data: Annotated[
        str | None,
        typer.Option(help="Compare on this file or shipped set; else on the golden inputs."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of the data set, such as test.")] = None,
    keys: _common.Keys = [],  # noqa: B006
    units: _common.Units = [],  # noqa: B006
    name: Annotated[
        str | None, typer.Option(help="Of the result; by default with the format in it.")
    ] = None,
    as_json: _common.Json = False,
) -> None:
    """Make trained weights smaller, and say what that costs and gains."""
    output = _common.check_output(output, folder=True)
    from zoo.apps.compress import compress

    report = compress(
        checkpoint,
        output,
        format=format,  # type: ignore[arg-type]  # refused there, with the known ones
        rank=_number(rank),
        max_error=max_error,
        layers=layers,
        data=data,
        split=split,
        keys=_common.pairs(keys, "'--key'") or None,
        units=_common.pairs(units, "'--unit'") or None,
        name=name,
    )
    _common.emit(report.to_dict(), _words(report), as_json=as_json)


def _number(text: str | None) -> int | float | None:
    """8 is a rank, 0.5 and 1.0 are fractions."""
    if text is None:
        return None
    try:
        return int(text) if text.strip("+-").isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number", param_hint="'--rank'") from None


def _words(report: Any) -> str:
    """Layers, then size, speed and error before and after."""
    columns = ["name", "format", "rank", "before", "after", "error"]
    summary = [
        {"what": "parameters", "before": report.parameters[0], "after": report.parameters[1]},
        {"what": "bytes", "before": report.bytes[0], "after": report.bytes[1]},
        {
            "what": "ms per call",
            "before": report.milliseconds[0],
            "after": report.milliseconds[1],
        },
        *({"what": f"{row['metric']} {row['unit']}".strip(), **row} for row in report.metrics),
    ]
    errors = ", ".join(f"{name} {value:.3g}" for name, value in report.error.items())
    parts = [
        _common.table(report.layers, columns),
        "",
        _common.table(summary, ["what", "before", "after"]),
        f"outputs differ, relative to their spread: {errors}",
        f"{report.speedup:.2f} times as fast, median over calls made in turn",
    ]
    if report.kept:
        parts.append(f"left as they were: {', '.join(report.kept)}")
    return "\n".join([*parts, f"wrote {report.name} to {report.path}"])
