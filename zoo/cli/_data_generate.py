"""`zoo data generate`: labelled structures, and sets that are computed."""

from typing import Annotated

import typer

from zoo.cli import _common, _data_made, _data_organic, _data_synthetic
from zoo.cli._data_made import Output, Overwrite, Processes

app = typer.Typer(
    help="Label structures with a quantum-chemical method (extra: datagen), or compute sets.",
    no_args_is_help=True,
)
_data_synthetic.add(app)
app.command("gfn2-organic")(_data_organic.gfn2_organic)

Trajectories = Annotated[
    list[str],
    typer.Option(
        "--trajectories", metavar="SPLIT=COUNT", help="Independent runs that share its frames."
    ),
]
Stride = Annotated[
    list[str], typer.Option("--stride", metavar="[SPLIT=]STEPS", help="Steps between frames.")
]
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
    _data_made.announce(made, output, as_json)


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
    _data_made.announce(made, output, as_json)


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
    _data_made.announce(made, output, as_json)


def _shape(
    frames: list[str], trajectories: list[str], stride: list[str]
) -> tuple[dict[str, int], dict[str, int], int | dict[str, int]]:
    """Frames, trajectories and strides by split; one number of steps for all of them."""
    counts = _data_made.counts(frames, "'--frames'")
    shares = _data_made.counts(trajectories, "'--trajectories'")
    if len(stride) == 1 and "=" not in stride[0]:
        return counts, shares, _data_made.count("stride", stride[0], "'--stride'")
    return counts, shares, _data_made.counts(stride, "'--stride'")
