"""`zoo bench`: time and memory, measured here."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common

app = typer.Typer(help="Time and memory, measured on this machine.", no_args_is_help=True)


@app.command("atoms")
def atoms(
    name: Annotated[str, typer.Argument(help="An architecture or preset.")] = "tensornet",
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 20,
    peers: Annotated[
        Path | None, typer.Option(help="Folder with the authors' packages (pip --target).")
    ] = None,
    as_json: _common.Json = False,
) -> None:
    """Training step, memory, neighbour lists, start-up and scatter."""
    from zoo.apps.bench import atoms as measure

    *rows, machine = measure(name, repeats=repeats, peers=peers)
    text = _common.table(rows, ("what", "ours", "peer", "ratio", "target"))
    about = ", ".join(f"{key}: {value}" for key, value in machine.items() if key != "what")
    _common.emit([*rows, machine], f"{text}\n{about}", as_json=as_json)


@app.command("data")
def data(
    name: Annotated[str, typer.Argument(help="An architecture or preset.")] = "tensornet",
    frames: Annotated[int, typer.Option(min=1, help="Frames of the LMDB.")] = 100_000,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of the extended XYZ file.")] = 1024,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 40,
    as_json: _common.Json = False,
) -> None:
    """Frames a second from memory, extended XYZ and LMDB, memory, and the part of a step."""
    from zoo.apps.bench import data as measure

    *rows, machine = measure(name, frames=frames, megabytes=megabytes, steps=steps)
    text = _common.table(rows, ("what", "ours", "target"))
    about = ", ".join(f"{key}: {value}" for key, value in machine.items() if key != "what")
    _common.emit([*rows, machine], f"{text}\n{about}", as_json=as_json)
