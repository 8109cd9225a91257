"""`zoo finetune`: own data in; better weights, a report and plots out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    data: Annotated[str, typer.Argument(help="A file with labels, or a shipped data set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything written.")],
    method: Annotated[
        str, typer.Option(help="full, head, or freeze:N (the first N blocks stay as they are).")
    ] = "full",
    new_elements: Annotated[
        bool,
        typer.Option(
            "--new-elements/--no-new-elements", help="Admit elements that the weights never saw."
        ),
    ] = False,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other argument of zoo.finetune: lr=1e-4, batch_size=8, max_time=1:00:00, "
            "seed=1, forces_weight=10, references=keep, old_data=FILE, new_name=..., "
            "'splits={kind: time, fractions: {train: 0.8, val: 0.1, test: 0.1}}'.",
        ),
    ] = [],  # noqa: B006
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the state in the folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Start again in a used folder.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Fine-tune weights on labelled structures; Ctrl-C saves the state, --resume takes it up."""
    given: dict[str, Any] = {
        "keys": _common.pairs(keys, "'--key'") or None,
        "units": _common.pairs(units, "'--unit'") or None,
        "epochs": epochs,
    }
    options = _common.settings(overrides, "'--set'")
    taken = {*given, "method", "new_elements", "resume", "overwrite", "output", "name", "data"}
    for key in options:
        if key in taken:
            own = {"keys": "key", "units": "unit"}.get(key, key.replace("_", "-"))
            raise typer.BadParameter(f"{key} has a place of its own: --{own}", param_hint="'--set'")
    output = _common.check_output(output, folder=True)
    from zoo.training.finetune import finetune

    report = finetune(
        name,
        data,
        output=output,
        method=method,
        new_elements=new_elements,
        resume=resume,
        overwrite=overwrite,
        **options,
        **{key: value for key, value in given.items() if value is not None},
    )
    _common.emit(report.to_dict(), _common.errors(report), as_json=as_json)
