"""`zoo cache`: what is in the cache, whether it is intact, and what can go."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import _common

if TYPE_CHECKING:
    from zoo.hub.upkeep import Entry

app = typer.Typer(help="Look after downloaded weights and data sets.", no_args_is_help=True)
COLUMNS = ("kind", "name", "size", "days", "used by", "in")


@app.command("ls")
def show(as_json: _common.Json = False) -> None:
    """List everything in the caches, with the sizes in all."""
    from zoo import hub

    found = hub.cache_entries()
    lines = [_common.table([_row(entry) for entry in found], COLUMNS)] if found else []
    _common.emit(
        {"files": [_plain(entry) for entry in found], "totals": _totals(found)},
        "\n".join([*lines, *_sums(found)]),
        as_json=as_json,
    )


@app.command("du")
def sizes(as_json: _common.Json = False) -> None:
    """Say how much space each cache takes."""
    from zoo import hub

    found = hub.cache_entries()
    _common.emit(_totals(found), "\n".join(_sums(found)), as_json=as_json)


@app.command("verify")
def verify(
    remove: Annotated[
        bool, typer.Option("--remove/--no-remove", help="Delete what is damaged.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Read every file and compare its digest; exit code 3 if one is damaged."""
    from zoo import hub

    with _common.progress("verify", quiet=as_json) as report:
        damaged = hub.cache_verify(remove=remove, progress=report)
    lines = [f"damaged: {entry.path}" for entry in damaged]
    lines.append(f"{len(damaged)} damaged; each is fetched again when it is needed")
    if any(entry.kind == "data" for entry in damaged):
        lines.append("files of data sets come again with zoo data get NAME ... --again")
    text = "\n".join(lines) if damaged else "every file is intact"
    _common.emit({"damaged": [_plain(entry) for entry in damaged]}, text, as_json=as_json)
    if damaged:
        raise typer.Exit(_common.CHECK_FAILED)


@app.command("prune")
def prune(
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Days since a file was last used.")
    ] = 30.0,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="NAME", help="Weights that stay.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--no-dry-run", help="Say what would go.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Remove what was not used for a while; shared caches are left alone."""
    from zoo import hub

    gone = hub.cache_prune(older_than=older_than, keep=keep or [], dry_run=dry_run)
    total = sum(entry.bytes for entry in gone)
    word = "would remove" if dry_run else "removed"
    lines = [f"{word} {entry.path}" for entry in gone]
    lines.append(f"{word} {len(gone)} files, {_size(total)}")
    _common.emit(
        {"removed": [_plain(entry) for entry in gone], "bytes": total, "dry_run": dry_run},
        "\n".join(lines),
        as_json=as_json,
    )


@app.command("rm")
def remove(
    name: Annotated[str, typer.Argument(help="A data set that zoo cache ls lists.")],
    as_json: _common.Json = False,
) -> None:
    """Remove a data set's files; zoo data get brings them again."""
    from zoo import hub

    gone = hub.cache_remove_dataset(name)
    text = f"removed {gone.path}, {gone.files} files, {_size(gone.bytes)}"
    _common.emit(_plain(gone), text, as_json=as_json)


def _plain(entry: "Entry") -> dict[str, Any]:
    return asdict(entry) | {"path": str(entry.path), "used_by": list(entry.used_by)}


def _row(entry: "Entry") -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name if entry.kind == "data" else entry.name[:12],
        "size": _size(entry.bytes),
        "days": f"{entry.days:.1f}",
        "used by": ", ".join(entry.used_by),
        "in": "shared" if entry.shared else "own",
    }


def _totals(found: Sequence["Entry"]) -> list[dict[str, Any]]:
    """Files and bytes of every cache."""
    from zoo.hub import cache

    return [
        {
            "folder": str(folder),
            "shared": folder != cache.root(),
            "files": sum(entry.files for entry in found if entry.path.is_relative_to(folder)),
            "bytes": sum(entry.bytes for entry in found if entry.path.is_relative_to(folder)),
        }
        for folder in cache.folders()
    ]


def _sums(found: Sequence["Entry"]) -> list[str]:
    return [
        f"{row['folder']}: {row['files']} files, {_size(row['bytes'])}"
        + (" (shared, never written)" if row["shared"] else "")
        for row in _totals(found)
    ]


def _size(count: int) -> str:
    """Bytes in words: 574572 is "561.1 KiB"."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
