"""`zoo data generate`: labelled structures, and sets that are computed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common, _data_synthetic

app = typer.Typer(
    help="Label structures with a quantum-chemical method (extra: datagen), or compute sets.",
    no_args_is_help=True,
)
_data_synthetic.add(app)

Output = Annotated[Path, typer.Option("--output", "-o", help="An .npz, .extxyz or .xyz file.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace an existing output.")
]


Trajectories = Annotated[
    list[str],
    typer.Option(
        "--trajectories", metavar="SPLIT=COUNT", help="Independent runs that share its frames."
    ),
]
Stride = Annotated[
    list[str], typer.Option("--stride", metavar="[SPLIT=]STEPS", help="Steps between frames.")
]
Processes = Annotated[int, typer.Option("--processes", "-j", min=1, help="Runs at once.")]
Equilibration = Annotated[int, typer.Option(min=0, help="Steps before the first frame.")]
Timestep = Annotated[float, typer.Option(min=0.01, help="fs.")]
Friction = Annotated[float, typer.Option(min=1e-6, help="Of the Langevin thermostat, 1/fs.")]
Seed = Annotated[int, typer.Option(min=0, help="Of velocities and thermostat.")]


@app.command("gfn2")
def gfn2(
    molecules: Annotated[
        list[str], typer.Argument(help="Names (ethanol, ..., md17 for all ten), SMILES, or files.")
    ],
    output: Output,
    frames: Annotated[
        list[str],
        typer.Option("--frames", metavar="SPLIT=COUNT", help="Frames of each molecule."),
    ] = ["train=160", "test=40"],  # noqa: B006  # typer reads it and hands out copies
    trajectories: Trajectories = [],  # noqa: B006
    stride: Stride = ["20"],  # noqa: B006
    temperature: Annotated[float, typer.Option(min=0, help="Of the thermostat, K.")] = 500.0,
    timestep: Timestep = 0.5,
    equilibration: Equilibration = 1000,
    friction: Friction = 0.02,
    seed: Seed = 0,
    embed_seed: Annotated[int, typer.Option(help="Of the starting geometries.")] = 1,
    processes: Processes = 1,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Molecular dynamics with GFN2-xTB; a run that was killed goes on."""
    counts, shares, steps = _shape(frames, trajectories, stride)
    _common.check_output(output)
    from zoo.datasets._dynamics import Dynamics
    from zoo.datasets.generate import generate_gfn2

    dynamics = Dynamics(
        timestep=timestep, temperature=temperature, equilibration=equilibration, friction=friction
    )
    with _common.progress("GFN2-xTB", quiet=as_json) as report:
        made = generate_gfn2(
            molecules,
            output,
            frames=counts,
            trajectories=shares,
            stride=steps,
            seed=seed,
            embed_seed=embed_seed,
            dynamics=dynamics,
            processes=processes,
            overwrite=overwrite,
            progress=report,
        )
    _announce(made, output, as_json)


@app.command("emt")
def emt(
    output: Output,
    metals: Annotated[
        list[str] | None, typer.Argument(help="Of Ag Al Au Cu Ni Pd Pt; all unless said.")
    ] = None,
    frames: Annotated[
        list[str],
        typer.Option("--frames", metavar="SPLIT=COUNT", help="Frames of each structure."),
    ] = ["train=54", "val=4", "test=6"],  # noqa: B006
    trajectories: Trajectories = ["train=9"],  # noqa: B006
    stride: Stride = ["8"],  # noqa: B006
    temperatures: Annotated[
        list[float], typer.Option("--temperature", min=0, help="K; taken in turn.")
    ] = [50.0, 300.0, 800.0],  # noqa: B006
    strain: Annotated[
        float, typer.Option(min=0, max=0.2, help="Largest change of lengths.")
    ] = 0.05,
    timestep: Timestep = 5.0,
    equilibration: Equilibration = 60,
    friction: Friction = 0.02,
    seed: Seed = 0,
    processes: Processes = 1,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Molecular dynamics of fcc metals and their alloys with EMT: bulk, vacancies, slabs."""
    counts, shares, steps = _shape(frames, trajectories, stride)
    _common.check_output(output)
    from zoo.datasets._dynamics import Dynamics
    from zoo.datasets.emt import METALS
    from zoo.datasets.generate import generate_emt

    with _common.progress("EMT", quiet=as_json) as report:
        made = generate_emt(
            output,
            metals=metals or METALS,
            frames=counts,
            trajectories=shares,
            stride=steps,
            seed=seed,
            temperatures=temperatures,
            strain=strain,
            dynamics=Dynamics(timestep=timestep, equilibration=equilibration, friction=friction),
            processes=processes,
            overwrite=overwrite,
            progress=report,
        )
    _announce(made, output, as_json)


@app.command("dft")
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


def _shape(
    frames: list[str], trajectories: list[str], stride: list[str]
) -> tuple[dict[str, int], dict[str, int], int | dict[str, int]]:
    """Frames, trajectories and strides by split; one number of steps for all of them."""
    counts = _counts(frames, "'--frames'")
    shares = _counts(trajectories, "'--trajectories'")
    if len(stride) == 1 and "=" not in stride[0]:
        return counts, shares, _count("stride", stride[0], "'--stride'")
    return counts, shares, _counts(stride, "'--stride'")


def _counts(values: list[str], option: str) -> dict[str, int]:
    found = _common.pairs(values, option)
    return {name: _count(name, text, option) for name, text in found.items()}


def _count(name: str, text: str, option: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(
            f"{name}={text}: expected a whole number above zero", param_hint=option
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
