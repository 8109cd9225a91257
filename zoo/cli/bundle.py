"""`zoo bundle`: models in one file, for machines without a network."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    names: Annotated[
        list[str], typer.Argument(help="Checkpoints from `zoo list --pretrained`, or folders.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, such as x.zoo.")],
    as_json: _common.Json = False,
) -> None:
    """Write weights, manifests and cards into one file; `zoo pull x.zoo` reads it elsewhere."""
    output = _common.check_output(output)
    from zoo import hub
    from zoo.hub.cache import sha256

    with _common.progress(output.name, quiet=as_json) as report:
        path = hub.bundle(names, output, progress=report)
    digest, size = sha256(path), path.stat().st_size
    _common.emit(
        {"path": str(path), "bytes": size, "sha256": digest},
        f"wrote {path} ({size} bytes, sha256 {digest})\nto use it: zoo pull {path.name}",
        as_json=as_json,
    )
