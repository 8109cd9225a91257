"""`zoo eval`: errors of a model on labelled structures."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    data: Annotated[str, typer.Argument(help="A file with labels, or a shipped data set.")],
    split: Annotated[str | None, typer.Option(help="Only this split: train, val, test.")] = None,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the metrics, as JSON.")
    ] = None,
    batch_size: _common.BatchSize = 16,
    device: _common.Device = "cpu",
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """Errors against labels: energies in meV, forces in meV/Å."""
    named, united = _common.pairs(keys, "'--key'"), _common.pairs(units, "'--unit'")
    if output is not None:
        output = _common.check_output(output)
    import json

    from zoo import datasets, hub
    from zoo._files import write_atomic
    from zoo.apps import evaluate as app

    dataset = datasets.open(data, keys=named or None, units=united or None)
    model = hub.load(name, device=device, allow_untrained_elements=allow_untrained_elements)
    with _common.progress("evaluating", quiet=as_json) as report:
        metrics = app.evaluate(model, dataset, split=split, batch_size=batch_size, progress=report)
    result = {"model": name, "data": data, "split": split, "metrics": metrics, "units": app.UNITS}
    if output is not None:
        write_atomic(output, json.dumps(result, indent=2))
    text = _common.table(app.rows(metrics), ("metric", "value", "unit"))
    _common.emit(result, text, as_json=as_json)
