"""`zoo doctor`: looks at the installation."""

from dataclasses import asdict

import typer

from zoo.cli import _common


def command(as_json: _common.Json = False) -> None:
    """Versions, devices, extras and the cache; exit code 3 if something stands in the way."""
    from zoo.apps.doctor import doctor

    rows = [asdict(finding) for finding in doctor()]
    _common.emit(rows, _common.table(rows, ("name", "status", "detail")), as_json=as_json)
    if any(row["status"] == "problem" for row in rows):
        raise typer.Exit(_common.CHECK_FAILED)
