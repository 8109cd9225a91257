"""`zoo screen`: a model on very many structures, and which of them to keep."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    source: Annotated[str, typer.Argument(help="A file, a folder or a set of structures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder.")],
    shards: Annotated[int, typer.Option(min=1, help="Parts; a kill loses one a process.")] = 16,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    keep: Annotated[
        str | None, typer.Option(help="What to keep: 'energy_per_atom<-4.2 and fmax<1'.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Keep so many at most.")] = None,
    by: Annotated[str, typer.Option(help="The lowest in which quantity.")] = "energy_per_atom",
    forces: Annotated[
        bool, typer.Option("--forces/--no-forces", help="Compute forces, for fmax.")
    ] = False,
    batch_atoms: Annotated[int, typer.Option(min=1, help="Atoms per model call.")] = 2048,
    device: _common.Device = "cpu",
    head: _common.Head = None,
    allow_untrained_elements: _common.Untrained = False,
    ray: Annotated[
        bool, typer.Option("--ray/--no-ray", help="Let Ray Data run the processes.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Energies of a million structures; the same command goes on where a killed one stopped."""
    from zoo.apps.scale.screen import screen

    output = _common.check_output(output, folder=True)
    with _common.progress("screening", quiet=as_json) as report:
        summary = screen(
            name,
            source,
            output,
            shards=shards,
            workers=workers,
            keep=keep,
            top=top,
            by=by,
            forces=forces,
            ray=ray,
            progress=report,
            batch_atoms=batch_atoms,
            device=device,
            head=head,
            allow_untrained_elements=allow_untrained_elements,
        )
    if summary["refused"]:
        _common.warn(f"{summary['refused']} structures were refused, see {output}/refused.json")
    text = f"kept {summary['kept']} of {summary['structures']} structures\nwrote {output}"
    _common.emit(summary, text, as_json=as_json)
    if summary["refused"] == summary["structures"]:
        raise typer.Exit(_common.FAILED)
