"""`zoo md`: dynamics of many structures."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    structures: Annotated[str, typer.Argument(help="Structures in a format that ASE reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for trajectories.")],
    index: Annotated[str, typer.Option(help="Which frames, as in ASE: ':', '-1', '0:10'.")] = ":",
    steps: Annotated[int, typer.Option(min=1, help="In all.")] = 1000,
    timestep: Annotated[float, typer.Option(help="fs.")] = 0.5,
    ensemble: Annotated[str, typer.Option(help="nve, langevin or bussi.")] = "nve",
    temperature: Annotated[float, typer.Option(help="Of the start and the thermostat (K).")] = 300,
    friction: Annotated[float, typer.Option(help="Of langevin (1/fs).")] = 0.01,
    tau: Annotated[float, typer.Option(help="Of bussi (fs).")] = 100.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Steps between frames.")] = 10,
    save: Annotated[int, typer.Option(min=1, help="Steps between saves.")] = 500,
    form: Annotated[str, typer.Option("--format", help="extxyz or traj.")] = "extxyz",
    batch_atoms: Annotated[int, typer.Option(min=1, help="Atoms per model call.")] = 1024,
    device: _common.Device = "cpu",
    head: _common.Head = None,
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """Run many structures at once; the same command goes on where a killed one stopped."""
    from zoo import hub
    from zoo.apps.predict import read
    from zoo.apps.scale.md import md

    output = _common.check_output(output, folder=True)
    model = hub.load(name, device=device, allow_untrained_elements=allow_untrained_elements)
    frames = read(model, structures, index=index)
    with _common.progress("running", quiet=as_json) as report:
        found = md(
            model,
            frames,
            output,
            form=form,
            progress=report,
            steps=steps,
            timestep=timestep,
            ensemble=ensemble,
            temperature=temperature,
            friction=friction,
            tau=tau,
            seed=seed,
            every=every,
            save=save,
            batch_atoms=batch_atoms,
            head=head,
        )
    rows = [{"structure": k, **row} for k, row in enumerate(found)]
    names = {"temperature": "temperature (K)", "drift": "drift (eV/atom)"}
    for row in rows:
        if row["status"] == "refused":
            _common.warn(f"structure {row['structure']} refused: {row['reason']}")
    shown = [{names.get(k, k): v for k, v in row.items()} for row in rows]
    columns = ["structure", "status", "steps", *names.values(), "reason"]
    text = f"{_common.table(shown, columns)}\nwrote {output}"
    _common.emit(rows, text, as_json=as_json)
    if all(row["status"] == "refused" for row in rows):
        raise typer.Exit(_common.FAILED)
