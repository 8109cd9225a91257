"""`zoo data`: makes labelled structures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

app = typer.Typer(help="Make labelled structures.", no_args_is_help=True)
generate = typer.Typer(
    help="Label structures with a quantum-chemical method (extra: datagen).", no_args_is_help=True
)
app.add_typer(generate, name="generate")

Output = Annotated[Path, typer.Option("--output", "-o", help="An .npz, .extxyz or .xyz file.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace an existing output.")
]


@generate.command("gfn2")
def gfn2(
    molecules: Annotated[
        list[str], typer.Argument(help="Names (ethanol, ..., md17 for all ten), SMILES, or files.")
    ],
    output: Output,
    frames: Annotated[
        list[str],
        typer.Option(
            "--frames", metavar="TRAJECTORY=COUNT", help="Independent runs, which become splits."
        ),
    ] = ["train=160", "test=40"],  # noqa: B006  # typer reads it and hands out copies
    temperature: Annotated[float, typer.Option(min=0, help="Of the thermostat, K.")] = 500.0,
    stride: Annotated[int, typer.Option(min=1, help="Steps between frames.")] = 20,
    timestep: Annotated[float, typer.Option(min=0.01, help="fs.")] = 0.5,
    equilibration: Annotated[int, typer.Option(min=0, help="Steps before the first frame.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of velocities and thermostat.")] = 0,
    embed_seed: Annotated[int, typer.Option(help="Of the starting geometries.")] = 1,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Molecular dynamics with GFN2-xTB."""
    counts = {
        name: _count(name, text) for name, text in _common.pairs(frames, "'--frames'").items()
    }
    _common.check_output(output)
    from zoo.datasets.generate import generate_gfn2

    with _common.progress("GFN2-xTB", quiet=as_json) as report:
        made = generate_gfn2(
            molecules,
            output,
            frames=counts,
            seed=seed,
            embed_seed=embed_seed,
            stride=stride,
            timestep=timestep,
            temperature=temperature,
            equilibration=equilibration,
            overwrite=overwrite,
            progress=report,
        )
    _announce(made, output, as_json)


@generate.command("dft")
def dft(
    structures: Annotated[str, typer.Argument(help="A file, or a shipped data set.")],
    output: Output,
    functional: Annotated[str, typer.Option(help="Any that PySCF knows.")] = "pbe",
    basis: Annotated[str, typer.Option(help="Any that PySCF knows.")] = "def2-SVP",
    grid: Annotated[int, typer.Option(min=0, max=9, help="Integration grid of PySCF.")] = 3,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Energies and forces by density functional theory."""
    _common.check_output(output)
    from zoo.datasets.generate import generate_dft

    with _common.progress(f"{functional}/{basis}", quiet=as_json) as report:
        made = generate_dft(
            structures,
            output,
            functional=functional,
            basis=basis,
            grid=grid,
            overwrite=overwrite,
            progress=report,
        )
    _announce(made, output, as_json)


def _count(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(
            f"{name}={text}: expected a number of frames", param_hint="'--frames'"
        )
    return int(text)


def _announce(made: Any, output: Path, as_json: bool) -> None:
    described = output.with_suffix(".yaml")
    _common.emit(
        {
            "path": str(output),
            "description": str(described),
            "frames": len(made),
            "labels": sorted(made.labels),
            "level_of_theory": made.metadata.get("level_of_theory"),
            "hash": made.hash,
        },
        f"wrote {len(made)} frames to {output}, described in {described}",
        as_json=as_json,
    )
