"""`zoo finetune`: own data in; better weights, a report and plots out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

Name = Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")]
Data = Annotated[str, typer.Argument(help="A file with labels, or a shipped data set.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for everything written.")]
Method = Annotated[
    str,
    typer.Option(
        help="full; head; freeze:N (the first N blocks stay as they are) or freeze:PATTERN; "
        "replay (replay:frac=0.3,frames=500: old frames in every batch); ewc "
        "(ewc:lambda=1,frames=200: a spring on what the old data need); adapter "
        "(adapter:r=8, adapter:kind=lora,r=4,scale=1,dropout=0.1,targets=layers.*+readout.*: "
        "low-rank changes are trained and stored, nothing else)."
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        help="new:NAME for a new energy head beside the old one, or the head to train; outside "
        "atoms: new for a fresh head even where the classes are the same."
    ),
]
Freeze = Annotated[
    str | None, typer.Option(help="Parameters that stay as they are: 'layers.*,readout*'.")
]
LayerDecay = Annotated[
    float | None,
    typer.Option(help="Learning rate of each block relative to the next one, such as 0.7."),
]
NewElements = Annotated[
    bool,
    typer.Option(
        "--new-elements/--no-new-elements", help="Admit elements that the weights never saw."
    ),
]
NewPbc = Annotated[
    bool, typer.Option("--new-pbc/--no-new-pbc", help="Admit a periodicity they never saw.")
]
NewCharges = Annotated[
    bool, typer.Option("--new-charges/--no-new-charges", help="Admit charges they never saw.")
]
AnyUnits = Annotated[
    bool,
    typer.Option(
        "--any-units/--no-any-units", help="Believe the stated units against the evidence."
    ),
]
Merge = Annotated[
    bool,
    typer.Option(
        "--merge/--no-merge", help="With adapters: write whole weights to OUTPUT/merged as well."
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the data.")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other argument of zoo.finetune: lr=1e-4, batch_size=8, max_time=1:00:00, "
        "seed=1, forces_weight=10, references=keep, old_data=FILE, new_name=..., "
        "level_of_theory=PBE, 'head_weights={energy: 2}', "
        "'splits={kind: time, fractions: {train: 0.8, val: 0.1, test: 0.1}}'.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on from the state in the folder, if any.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Start again in a used folder.")
]
#: what `zoo.finetune` calls an option, where the command says it in other words
_WORDS = {"keys": "key", "units": "unit", "heads": "head"}
_ELSEWHERE = {"output", "name", "data"}


def command(
    name: Name,
    data: Data,
    output: Output,
    method: Method = "full",
    head: Head = None,
    freeze: Freeze = None,
    layer_decay: LayerDecay = None,
    new_elements: NewElements = False,
    new_pbc: NewPbc = False,
    new_charges: NewCharges = False,
    any_units: AnyUnits = False,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    epochs: Epochs = None,
    merge: Merge = False,
    overrides: Overrides = [],  # noqa: B006
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Fine-tune weights on labelled structures; Ctrl-C saves the state, --resume takes it up."""
    given: dict[str, Any] = {
        "method": method,
        "heads": head,
        "freeze": freeze,
        "layer_decay": layer_decay,
        "new_elements": new_elements,
        "new_pbc": new_pbc,
        "new_charges": new_charges,
        "any_units": any_units,
        "keys": _common.pairs(keys, "'--key'") or None,
        "units": _common.pairs(units, "'--unit'") or None,
        "epochs": epochs,
        "merge": merge,
        "resume": resume,
        "overwrite": overwrite,
    }
    options = _common.settings(overrides, "'--set'")
    for key in options:
        if key in given or key in _ELSEWHERE:
            own = _WORDS.get(key, key.replace("_", "-"))
            raise typer.BadParameter(f"{key} has a place of its own: --{own}", param_hint="'--set'")
    output = _common.check_output(output, folder=True)
    from zoo.training.finetune import finetune
    from zoo.training.prepare import is_first_process

    options |= {key: value for key, value in given.items() if value is not None}
    report = finetune(name, data, output=output, **options)
    if is_first_process():
        _common.emit(report.to_dict(), _outcome(report), as_json=as_json)


def _outcome(report: Any) -> str:
    """Old and new errors before and after, the heads, all errors."""
    columns = ["error", "unit", "new_before", "new_after", "old_before", "old_after"]
    parts = [_common.table(report.details["before_after"], columns)]
    heads = report.details["heads"]
    if len(heads) > 1:
        parts.append(f"energy heads: {', '.join(heads)}; {heads[0]} answers where none is named")
    return "\n".join([*parts, _common.errors(report)])
