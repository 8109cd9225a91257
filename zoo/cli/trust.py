"""`zoo trust`: the training domain of weights, stored with them and tested."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

app = typer.Typer(help="Store the training domain of weights, and test what it tells apart.")
Checkpoint = Annotated[str, typer.Argument(help="A saved folder, or a checkpoint's name.")]
DataArgument = Annotated[str, typer.Argument(help="What the weights were trained on, with splits.")]
HeldOut = Annotated[
    str,
    typer.Option(
        "--held-out", help="Structures unlike the data: molecules, metals (made here), or a file."
    ),
]
Inside = Annotated[str, typer.Option("--test", help="The split that stands for the inside.")]
Frames = Annotated[int, typer.Option(min=1, help="Frames made of each molecule or structure.")]


@app.command("fit")
def fit(
    name: Checkpoint,
    data: DataArgument,
    train: Annotated[str, typer.Option(help="The split that was trained on.")] = "train",
    val: Annotated[str, typer.Option(help="A split that was not.")] = "val",
    quantile: Annotated[float, typer.Option(help="Share of the latter that lies inside.")] = 0.99,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Of each split.")] = None,
    held_out: HeldOut = "",
    test: Inside = "test",
    frames: Frames = 20,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Replace what is stored.")
    ] = False,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    as_json: _common.Json = False,
) -> None:
    """Fit the training domain and store it; with --held-out also test it and note the result."""
    from zoo import datasets
    from zoo.apps import trust as app

    dataset = datasets.open(
        data,
        keys=_common.pairs(keys, "'--key'") or None,
        units=_common.pairs(units, "'--unit'") or None,
        domain="atoms",
    )
    with _common.progress("fitting", quiet=as_json) as report:
        path = app.attach(
            name,
            dataset,
            train=train,
            val=val,
            quantile=quantile,
            max_frames=max_frames,
            overwrite=overwrite,
            progress=report,
        )
    _common.warn(f"stored the training domain in {path}")
    if held_out:
        _test(name, dataset, test, held_out, frames, as_json)


@app.command("test")
def test(
    name: Checkpoint,
    data: DataArgument,
    held_out: HeldOut,
    test: Inside = "test",
    frames: Frames = 20,
    as_json: _common.Json = False,
) -> None:
    """Measure how well the scores separate held-out structures; note it in manifest and card."""
    from zoo import datasets

    _test(name, datasets.open(data, domain="atoms"), test, held_out, frames, as_json)


def _test(name: str, dataset: Any, split: str, held_out: str, frames: int, as_json: bool) -> None:
    from zoo import datasets
    from zoo.apps import _held_out
    from zoo.apps import trust as app

    inside = dataset.split(split)
    if Path(held_out).exists():
        outside, words = datasets.open(held_out, domain="atoms"), Path(held_out).name
    else:
        with _common.progress("making held-out structures", quiet=as_json) as report:
            outside = _held_out.make(held_out, frames=frames, progress=report)
        words = f"held-out {held_out}"
    with _common.progress("scoring", quiet=as_json) as report:
        found = app.separate(
            name,
            inside=inside,
            outside=outside,
            inside_name=f"{Path(dataset.source).name.partition('.')[0]} ({split})",
            outside_name=words,
            progress=report,
        )
    _common.emit(found, _text(found), as_json=as_json)


def _text(found: dict[str, Any]) -> str:
    rows = [{"outside": name, **row} for name, row in found["groups"].items()]
    table = _common.table(rows, ["outside", "frames", "flagged", "forces_mae"])
    facts = {
        "AUROC": ", ".join(f"{name} {value:.3f}" for name, value in found["auroc"].items()),
        "flagged inside": f"{found['false_alarms']:.3f} of {found['inside_frames']}",
        "flagged outside": f"{found['detected']:.3f} of {found['outside_frames']}",
        "rank correlation with force errors": found.get("rank_correlation"),
    }
    return f"{table}\n{_common.tree(facts)}"
