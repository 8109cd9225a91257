"""What the verbs share: options, tables, JSON, progress, early checks of outputs."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo._files import refusal
from zoo.errors import OutputError

OK, FAILED, USAGE, CHECK_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

Json = Annotated[bool, typer.Option("--json/--no-json", help="Print JSON on standard output.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; it must exist.")]
Head = Annotated[
    str | None, typer.Option(help="Which energy head; without it the weights' default.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Structures per model call.")]
Untrained = Annotated[
    bool,
    typer.Option(
        "--allow-untrained-elements/--no-allow-untrained-elements",
        help="Go on with elements that the weights never saw; the numbers mean little.",
    ),
]
Keys = Annotated[
    list[str],
    typer.Option("--key", metavar="LABEL=NAME", help="Where a label is: energy=REF_energy."),
]
Units = Annotated[
    list[str],
    typer.Option("--unit", metavar="QUANTITY=UNIT", help="Units of the file: energy=kcal/mol."),
]


def say(text: str) -> None:
    """One line (or table) for the user on standard output."""
    typer.echo(text)


def warn(text: str) -> None:
    """One line on standard error, where it can't mix with results."""
    typer.echo(text, err=True)


def emit(value: Any, text: str, *, as_json: bool) -> None:
    """The result of a verb: `value` as JSON, or `text`."""
    say(json.dumps(value, indent=2, default=str) if as_json else text)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned columns under their names, as wide as they need to be.

    Args:
        rows: one mapping per line; a missing value shows as "-".
        columns: which keys, in order.
    """
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    lines = [list(columns), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a Markdown table; the first column is set as code."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        first, *rest = [_cell(row.get(column)).replace("|", r"\|") for column in columns]
        lines.append("| " + " | ".join([f"`{first}`", *rest]) + " |")
    return "\n".join(lines)


def tree(value: Any, indent: str = "") -> str:
    """Nested plain values as indented `key: value` lines."""
    lines = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{indent}{key}:", tree(item, indent + "  ")]
        elif isinstance(item, list) and any(isinstance(entry, Mapping) for entry in item):
            lines += [f"{indent}{key}:", *(f"{indent}  - {_flat(entry)}" for entry in item)]
        else:
            lines.append(f"{indent}{key}: {_cell(item)}")
    return "\n".join(lines)


def _flat(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return _cell(entry)
    return ", ".join(f"{key}: {_cell(value)}" for key, value in entry.items() if value is not None)


def _cell(value: Any) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, Mapping):
        return "{" + _flat(value) + "}"
    return str(value)


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """`["energy=REF_energy"]` as a mapping.

    Raises:
        typer.BadParameter: for an entry that is not NAME=VALUE, or a name given twice.
    """
    found: dict[str, str] = {}
    for entry in values:
        name, separator, value = entry.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{entry!r} must read NAME=VALUE", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
        found[name] = value
    return found


def settings(values: Sequence[str], option: str) -> dict[str, Any]:
    """`["num_layers=2", "lr=1e-4"]` as a mapping, the values read as YAML.

    Raises:
        typer.BadParameter: for an entry that is not NAME=VALUE, or a value that is not YAML.
    """
    return {name: _value(text, option) for name, text in pairs(values, option).items()}


def _value(text: str, option: str) -> Any:
    # YAML 1.1 takes 1e-4 for a word and 1:30:00 for a number in base 60
    if re.fullmatch(r"[+-]?\d+\.?\d*[eE][+-]?\d+", text):
        return float(text)
    if re.fullmatch(r"\d+:\d\d:\d\d", text):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise typer.BadParameter(f"{text!r} is not valid YAML", param_hint=option) from problem


def errors(report: Any) -> str:
    """The errors of a finished run, one line per part of the data, and where everything is."""
    from zoo.training import UNITS

    names = list(dict.fromkeys(name for part in report.metrics.values() for name in part))
    heads = {name: f"{name} ({UNITS[name]})" if UNITS.get(name) else name for name in names}
    rows = [
        {"on": part, **{heads[name]: value for name, value in values.items()}}
        for part, values in report.metrics.items()
    ]
    return f"{table(rows, ['on', *heads.values()])}\nwrote {report.path}"


def check_output(path: Path, *, folder: bool = False, source: str | Path | None = None) -> Path:
    """Fails now, and not after an hour of work, if an output can't be written.

    Nothing is created: the nearest folder that exists is tried with a file that vanishes.

    Args:
        path: the file, or the folder.
        folder: whether `path` is meant to be a folder.
        source: a file that is read, which `path` must not be.

    Returns:
        `path`.

    Raises:
        OutputError: says which part of the path stands in the way.
    """
    path = path.expanduser()
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise OutputError(f"{path} is the file that is read; choose another name for the output")
    if path.exists() and path.is_dir() is not folder:
        wanted, found = ("folder", "file") if folder else ("file", "folder")
        raise OutputError(f"{path} must be a {wanted}, but a {found} is there; choose another")
    refused = refusal(path if folder else path.parent)
    if refused is not None:
        where, why = refused
        raise OutputError(
            f"{path} can't be written: {where} {why}; "
            "choose a place in a folder where you may write"
        )
    return path


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on standard error; silent where that is not a terminal.

    Yields:
        A function to call with (done, in all).
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
