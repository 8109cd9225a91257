"""What the commands that make labelled structures share: options, counts, the last line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

Output = Annotated[Path, typer.Option("--output", "-o", help="An .npz, .extxyz or .xyz file.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace an existing output.")
]
Processes = Annotated[int, typer.Option("--processes", "-j", min=1, help="Runs at once.")]


def counts(values: list[str], option: str) -> dict[str, int]:
    """`KEY=COUNT` options, each a whole number above zero."""
    found = _common.pairs(values, option)
    return {name: count(name, text, option) for name, text in found.items()}


def count(name: str, text: str, option: str) -> int:
    """A whole number above zero."""
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(
            f"{name}={text}: expected a whole number above zero", param_hint=option
        )
    return int(text)


def announce(made: Any, output: Path, as_json: bool) -> None:
    """Says what was written."""
    described = output.with_suffix(".yaml")
    _common.emit(
        {
            "path": str(output),
            "description": str(described),
            "frames": len(made),
            "labels": sorted(made.labels),
            "level_of_theory": made.metadata.get("level_of_theory"),
            "hash": made.hash,
        },
        f"wrote {len(made)} frames to {output}, described in {described}",
        as_json=as_json,
    )
