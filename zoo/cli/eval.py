"""`zoo eval`: errors of a model on labelled structures, or of its physical properties."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

Physics = Annotated[
    str | None,
    typer.Option(help="Physical properties instead of data: molecules, organic, metals."),
]
Only = Annotated[
    str | None, typer.Option(help="With --physics: these groups, such as frequencies,nve or bulk.")
]
Systems = Annotated[
    list[str],
    typer.Option(
        "--system", help="With --physics: a molecule's name, SMILES or file; a metal's symbol."
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(help="With --physics: module:function from Atoms to an ASE calculator."),
]
Quick = Annotated[bool, typer.Option("--quick/--full", help="With --physics: a first look.")]
Write = Annotated[
    bool, typer.Option("--write/--no-write", help="With --physics: add the results to the card.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Also write the metrics, as JSON. With --physics: a folder for results and plots, "
        "where a run that was stopped goes on.",
    ),
]


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    data: Annotated[
        str | None, typer.Argument(help="A file with labels, or a shipped data set.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split: train, val, test.")] = None,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    any_units: Annotated[
        bool,
        typer.Option(
            "--any-units/--no-any-units", help="Believe the stated units against the evidence."
        ),
    ] = False,
    head: Annotated[
        str | None, typer.Option(help="Which energy head, of a model with several.")
    ] = None,
    physics: Physics = None,
    only: Only = None,
    systems: Systems = [],  # noqa: B006
    reference: Reference = None,
    quick: Quick = False,
    write: Write = False,
    output: Output = None,
    batch_size: _common.BatchSize = 16,
    device: _common.Device = "cpu",
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """Errors against labels: energies in meV, forces in meV/Å, properties with R². Or physics."""
    loading = {"device": device, "allow_untrained_elements": allow_untrained_elements}
    named, united = _common.pairs(keys, "'--key'"), _common.pairs(units, "'--unit'")
    reading: dict[str, Any] = {
        "split": split,
        "keys": named or None,
        "units": united or None,
        "head": head,
        "any_units": any_units,
    }
    measuring = {"only": _words(only), "systems": list(systems) or None, "quick": quick}
    if physics is not None:
        _refuse({"DATA": data} | reading, "has no meaning with --physics")
        if write and quick:
            raise typer.BadParameter("a quick run belongs on no card", param_hint="'--write'")
        result, text = _physics(
            name, physics, reference, measuring, loading, output, write, as_json
        )
    elif data is not None:
        _refuse(measuring | {"reference": reference, "write": write}, "needs --physics")
        options = reading | {"batch_size": batch_size}
        result, text = _labels(name, data, options, loading, output, as_json)
    else:
        raise typer.BadParameter("name a file or data set, or --physics", param_hint="'DATA'")
    _common.emit(result, text, as_json=as_json)


def _labels(
    name: str,
    data: str,
    options: dict[str, Any],
    loading: dict[str, Any],
    output: Path | None,
    quiet: bool,
) -> tuple[dict[str, Any], str]:
    """Errors against labels, written where asked for: as JSON, and as a table."""
    if output is not None:
        output = _common.check_output(output)
    import json

    from zoo import hub
    from zoo._files import write_atomic
    from zoo.apps import evaluate as app

    model = hub.load(name, **loading)
    with _common.progress("evaluating", quiet=quiet) as told:
        metrics = app.evaluate(model, data, progress=told, **options)
    result = {"model": name, "data": data, "split": options["split"], "metrics": metrics}
    result["units"] = app.UNITS
    if output is not None:
        write_atomic(output, json.dumps(result, indent=2))
    return result, _common.table(app.rows(metrics), ("metric", "value", "unit"))


def _physics(
    name: str,
    suite: str,
    reference: str | None,
    options: dict[str, Any],
    loading: dict[str, Any],
    output: Path | None,
    write: bool,
    quiet: bool,
) -> tuple[dict[str, Any], str]:
    """A suite of physical properties, written where asked for: as JSON, and as tables."""
    if output is not None:
        output = _common.check_output(output, folder=True)
    from zoo import hub
    from zoo.apps import physics as app
    from zoo.apps._module import load_object

    app.groups_of(suite)  # an unknown one is refused before the weights are read
    if reference is not None:
        options["reference"] = load_object(reference, what="a function that makes a calculator")
    model = hub.load(name, **loading, domain="atoms")
    with _common.progress("measuring", quiet=quiet) as told:
        report = app.measure(model, suite, folder=output, progress=told, **options)
    if output is not None:
        app.write_report(report, output)
    if write:
        app.write_metrics(name, report)
    return report.to_dict(), _text(report)


def _text(report: Any) -> str:
    """Two tables, by system and by property, and what failed."""
    systems, summary = report.by_system(), report.summary()
    columns = list(dict.fromkeys(key for row in systems for key in row))
    parts = [_common.table(systems, columns)] if len(columns) > 1 else []
    keys = dict.fromkeys(key for row in summary for key in row)
    order = ("quantity", "unit", "systems", "values", "mae", "mean", "min", "max", "max_percent")
    parts.append(_common.table(summary, [key for key in order if key in keys]))
    lines = [f"failed: {f.group} of {f.system}: {f.reason}" for f in report.failures]
    conditions = {row["quantity"]: report.conditions.get(row["quantity"]) for row in summary}
    lines += [f"{key}: {value}" for key, value in conditions.items() if value]
    lines.append(f"reference: {report.reference}; {report.seconds:.0f} s")
    return "\n\n".join([*parts, "\n".join(lines)])


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _refuse(options: dict[str, Any], why: str) -> None:
    """Refuses options that would be ignored."""
    named = {"keys": "key", "units": "unit", "systems": "system", "any_units": "any-units"}
    for option, value in options.items():
        if value:
            shown = option if option.isupper() else f"--{named.get(option, option)}"
            raise typer.BadParameter(why, param_hint=f"'{shown}'")
