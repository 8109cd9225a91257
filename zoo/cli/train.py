"""`zoo train`: runs a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    recipe: Annotated[str, typer.Argument(help="A file, or a shipped one: gfn2-md10/tensornet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything written.")],
    tier: Annotated[str | None, typer.Option(help="Named overrides in the recipe: smoke.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the state in the folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Start again in a used folder.")
    ] = False,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: trainer.seed=1."),
    ] = [],  # noqa: B006  # typer reads it and hands out copies
    as_json: _common.Json = False,
) -> None:
    """Train from a recipe; Ctrl-C saves the state, --resume takes it up."""
    changes = _common.settings(overrides, "'--set'")
    output = _common.check_output(output, folder=True)
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
    _common.emit(report.to_dict(), _common.errors(report), as_json=as_json)
