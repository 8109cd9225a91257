"""`zoo reproduce`: a row of a published table, run and compared."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from zoo.cli import _common

if TYPE_CHECKING:
    from zoo.apps.reproduce import Reproduction, Row
else:
    Reproduction = Row = (
        Any  # annotations are checked while tests run, and torch is not imported here
    )

COLUMNS = ("row", "measured", "held against", "runs", "tier", "recipe")


def command(
    row: Annotated[
        str | None, typer.Argument(help="A row such as nbody.egnn, or a pattern: 'o5-*'.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results and all runs.")
    ] = Path("reproduced"),
    listed: Annotated[
        bool, typer.Option("--list/--no-list", help="List the rows instead of running them.")
    ] = False,
    tier: Annotated[
        str | None, typer.Option(help="smoke, short or full; without it the row's own.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="So many runs; without it as the row says.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe whose rows are meant; without it all shipped.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card/--no-card", help="Write the result into the model's card too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Run again what is finished.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Run the recipe behind a row of a published table: ours, published, PASS, GAP or FAILED.

    Finished runs in the output folder are kept, a stopped one goes on. Exit code 3: the row's own
    tier was run and is not reproduced.
    """
    if row is None and not listed:
        raise typer.BadParameter("name a row; --list shows them all", param_hint="ROW")
    from zoo.apps.reproduce import find_rows, reproduce

    rows = find_rows(recipe)
    names = [name for name in sorted(rows) if fnmatchcase(name, row or "*")]
    if listed:
        table = [_listed(rows[name]) for name in names]
        text = _common.table(table, COLUMNS) if table else "nothing matches"
        notes = _notes([rows[name] for name in names])
        _common.emit(table, "\n".join([text, *notes]), as_json=as_json)
        return
    output = _common.check_output(output, folder=True)
    results = [
        reproduce(
            name,
            output=output,
            tier=cast(Literal["smoke", "short", "full"] | None, tier),
            seeds=seeds,
            recipe=recipe,
            card=card,
            overwrite=overwrite,
        )
        for name in names or [str(row)]  # a name that there is not offers the nearest
    ]
    _common.emit([result.to_dict() for result in results], _shown(results), as_json=as_json)
    if any(result.is_the_row and not result.passed for result in results):
        raise typer.Exit(_common.CHECK_FAILED)


def _shown(results: Sequence[Reproduction]) -> str:
    """The results as a table, and where they are written."""
    rows = [
        {
            "row": result.row.name,
            "measured": _measured(result.row),
            "ours": result.ours(),
            "held against": result.row.reference(),
            "verdict": result.says(),
        }
        for result in results
    ]
    notes = _notes([result.row for result in results])
    files = ", ".join(str(result.path) for result in results)
    return "\n".join([_common.table(rows, list(rows[0])), *notes, f"wrote {files}"])


def _notes(rows: Sequence[Row]) -> list[str]:
    return [f"{row.name}: {row.spec.note}" for row in rows if row.spec.note]


def _measured(row: Row) -> str:
    spec = row.spec
    scaled = " / variance" if spec.scale != "none" else ""
    return f"{spec.split} {spec.metric}{scaled}"


def _runs(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(row: Row) -> dict[str, Any]:
    """What the list says of a row."""
    from zoo.training.recipe import label

    spec = row.spec
    noun = "draw" if spec.redraw else "seed"  # of data and weights, or of weights alone
    return {
        "row": row.name,
        "measured": _measured(row),
        "held against": row.reference(),
        "runs": _runs(spec.folds or spec.seeds, noun if spec.folds is None else "fold"),
        "tier": spec.tier,
        "recipe": label(row.recipe),
        "paper": spec.paper,
        "table": spec.table,
        "note": spec.note,
    }
