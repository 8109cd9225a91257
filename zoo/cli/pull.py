"""`zoo pull`: brings weights into the cache, verified, for use without a network."""

from typing import Annotated

import typer

from zoo.cli import _common


def command(
    names: Annotated[
        list[str],
        typer.Argument(help="Checkpoints from `zoo list --pretrained`, or bundles (x.zoo)."),
    ],
    as_json: _common.Json = False,
) -> None:
    """Fetch weights, or unpack bundles, so that they load later without a network."""
    from zoo import hub

    found: dict[str, list[str]] = {}
    for name in names:
        with _common.progress(name, quiet=as_json) as report:
            found[name] = [str(path) for path in hub.pull(name, progress=report)]
    lines = [f"{name}: {path}" for name, paths in found.items() for path in paths]
    _common.emit(found, "\n".join(lines), as_json=as_json)
