"""`zoo train`: runs a recipe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common


def command(
    recipe: Annotated[str, typer.Argument(help="A file, or a shipped one: gfn2-md10/tensornet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything written.")],
    tier: Annotated[str | None, typer.Option(help="Named overrides in the recipe: smoke.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on from the state in the folder, if any."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Start again in a used folder.")
    ] = False,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: trainer.seed=1."),
    ] = [],  # noqa: B006  # typer reads it and hands out copies
    grid: Annotated[
        list[str],
        typer.Option("--sweep", metavar="FILE|KEY=V1,V2", help="One run for each combination."),
    ] = [],  # noqa: B006
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="So many runs from --seed (or 0) on: mean and deviation."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="So many divisions of the data: mean and deviation over them."),
    ] = None,
    by: Annotated[str | None, typer.Option("--rank-by", help="Error that ranks a sweep.")] = None,
    as_json: _common.Json = False,
) -> None:
    """Train from a recipe; Ctrl-C saves the state, --resume takes it up.

    --sweep trainer.seed=0,1,2 --sweep optimizer.lr=1e-3,3e-3 makes six runs and ranks them by
    their validation errors. --seeds 5 repeats every run with five seeds, --folds 10 on ten
    divisions of the data: those that it brings (kind: index), k-fold ones (kind: kfold), or
    random ones.
    """
    changes = _common.settings(overrides, "'--set'")
    if seeds is not None:
        first = seed or 0
        grid = [*grid, f"trainer.seed={','.join(str(first + k) for k in range(seeds))}"]
        seed = None
    if folds is not None:
        grid = [*grid, f"data.splits.fold={','.join(map(str, range(folds)))}"]
    if by is not None and not grid:
        raise typer.BadParameter("there is nothing to rank without --sweep", param_hint="--rank-by")
    output = _common.check_output(output, folder=True)
    if grid:
        if seed is not None:
            changes["trainer.seed"] = seed
        _sweep(recipe, grid, by, as_json, output, tier, changes, resume, overwrite)
        return
    from zoo.training.prepare import is_first_process
    from zoo.training.runner import train

    report = train(
        recipe,
        output=output,
        tier=tier,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        overrides=changes,
    )
    if is_first_process():
        _common.emit(report.to_dict(), _common.errors(report), as_json=as_json)


def _sweep(
    recipe: str,
    specs: list[str],
    by: str | None,
    as_json: bool,
    output: Path,
    tier: str | None,
    changes: dict[str, Any],
    resume: bool,
    overwrite: bool,
) -> None:
    from zoo.training.metrics import UNITS
    from zoo.training.sweep import read_grid, sweep

    report = sweep(
        recipe,
        read_grid(*specs),
        output=output,
        tier=tier,
        overrides=changes,
        by=by,
        resume=resume,
        overwrite=overwrite,
    )
    shown = [{k: v for k, v in row.items() if k != "run"} for row in report.rows]
    unit = f" ({UNITS[report.by]})" if UNITS.get(report.by) else ""
    winner = report.winner["run"] if report.winner is not None else "none"
    lines = [
        _common.table(shown, list(shown[0])),
        f"ranked by {report.by}{unit} on the validation frames; the winner is {winner}",
        report.note,
        f"wrote {report.path}",
    ]
    _common.emit(report.to_dict(), "\n".join(lines), as_json=as_json)
