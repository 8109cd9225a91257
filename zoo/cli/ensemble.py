"""`zoo ensemble`: joins weights that differ by their seeds into one checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    names: Annotated[list[str], typer.Argument(help="Two or more checkpoints or saved folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    name: Annotated[
        str | None, typer.Option(help="Of the ensemble; made from the first one's if left out.")
    ] = None,
    as_json: _common.Json = False,
) -> None:
    """Join trained weights into an ensemble: mean predictions and their spread."""
    output = _common.check_output(output, folder=True)
    from zoo import hub

    chosen = name or _name(hub.read_manifest(hub.find(names[0])).name, len(names))
    folder = hub.combine(names, output, name=chosen)
    about = {"name": chosen, "members": len(names), "path": str(folder)}
    _common.emit(about, f"wrote {chosen}, {len(names)} members, to {folder}", as_json=as_json)


def _name(first: str, members: int) -> str:
    """`tensornet-s.mine.r1` of three members: `tensornet-s-x3.mine.r1`."""
    size, _, rest = first.partition(".")
    return f"{size}-x{members}.{rest}"
