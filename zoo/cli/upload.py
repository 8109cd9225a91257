"""`zoo upload`: publishes weights in a folder or on Hugging Face."""

from typing import Annotated

import typer

from zoo.cli import _common


def command(
    names: Annotated[
        list[str], typer.Argument(help="Checkpoints from `zoo list --pretrained`, or folders.")
    ],
    to: Annotated[str, typer.Option("--to", help="A folder, or hf:<owner>/<repository>.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--no-dry-run", help="Say what would be written.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Publish weights under their digests, for ZOO_MIRROR or the package's list of addresses."""
    from dataclasses import asdict

    from zoo import hub

    with _common.progress(to, quiet=as_json) as report:
        done = hub.upload(names, to, dry_run=dry_run, progress=report)
    word = "would write" if dry_run else "wrote"
    lines = [f"{word} {path}" for path in done.written]
    lines += [f"is there already: {path}" for path in done.present]
    lines.append(f"load from it with ZOO_MIRROR={done.base}")
    _common.emit(asdict(done) | {"dry_run": dry_run}, "\n".join(lines), as_json=as_json)
