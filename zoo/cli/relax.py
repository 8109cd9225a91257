"""`zoo relax`: the minima that structures fall into."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    structures: Annotated[str, typer.Argument(help="Structures in a format that ASE reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An .extxyz file.")],
    index: Annotated[str, typer.Option(help="Which frames, as in ASE: ':', '-1', '0:10'.")] = ":",
    fmax: Annotated[float, typer.Option(help="Largest force at the end (eV/Å).")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Moves of a structure at most.")] = 500,
    method: Annotated[str, typer.Option(help="lbfgs or fire.")] = "lbfgs",
    cell: Annotated[bool, typer.Option("--cell/--no-cell", help="Cells relax too.")] = False,
    skin: Annotated[float, typer.Option(help="Of the neighbour lists (Å).")] = 0.5,
    batch_atoms: Annotated[int, typer.Option(min=1, help="Atoms per model call.")] = 512,
    device: _common.Device = "cpu",
    head: _common.Head = None,
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """Relax many structures at once; the same command goes on where a killed one stopped."""
    from zoo import hub
    from zoo.apps.predict import read
    from zoo.apps.scale import relax as app

    if output.suffix not in (".extxyz", ".xyz"):
        raise typer.BadParameter(f"{output} must end in .extxyz", param_hint="'--output'")
    output = _common.check_output(output, source=structures)
    model = hub.load(name, device=device, allow_untrained_elements=allow_untrained_elements)
    frames = read(model, structures, index=index)
    with _common.progress("relaxing", quiet=as_json) as report:
        results = app.relax_to(
            output,
            model,
            frames,
            fmax=fmax,
            steps=steps,
            method=method,
            cell=cell,
            skin=skin,
            batch_atoms=batch_atoms,
            head=head,
            progress=report,
        )
    rows = app.to_json(results)
    found = app.counts(results)
    said = ", ".join(f"{count} {status}" for status, count in found.items() if count)
    for k, row in enumerate(rows):
        if row["reason"]:
            _common.warn(f"structure {k} {row['status']}: {row['reason']}")
    text = f"{said}\nwrote {len(results)} structures to {output}"
    _common.emit({"model": name, "counts": found, "results": rows}, text, as_json=as_json)
    if found["refused"] == len(results):
        raise typer.Exit(_common.FAILED)
