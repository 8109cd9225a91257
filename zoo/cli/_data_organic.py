"""`zoo data generate gfn2-organic`: molecules that are enumerated here."""

from typing import Annotated

import typer

from zoo.cli import _common, _data_made
from zoo.cli._data_made import Output, Overwrite, Processes


def gfn2_organic(
    output: Output,
    molecules: Annotated[int, typer.Option(min=1, help="How many are drawn.")] = 3300,
    largest: Annotated[int, typer.Option(min=1, max=12, help="Atoms but hydrogen.")] = 12,
    frames: Annotated[
        list[str],
        typer.Option(
            "--frames",
            metavar="KIND=COUNT",
            help="Of each molecule: relaxed, vibration, torsion, stretched, dimer.",
        ),
    ] = [],  # noqa: B006  # typer reads it and hands out copies
    polarizability: Annotated[
        bool,
        typer.Option("--polarizability/--no-polarizability", help="Six more calculations each."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of molecules and conformations.")] = 0,
    processes: Processes = 1,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Neutral CHNOFSCl molecules, enumerated, relaxed and displaced, labelled with GFN2-xTB."""
    counts = _data_made.counts(frames, "'--frames'")
    _common.check_output(output)
    from zoo.datasets.organic import generate_organic

    with _common.progress("GFN2-xTB", quiet=as_json) as report:
        made = generate_organic(
            output,
            molecules=molecules,
            largest=largest,
            frames=counts or None,
            polarizability=polarizability,
            seed=seed,
            processes=processes,
            overwrite=overwrite,
            progress=report,
        )
    _data_made.announce(made, output, as_json)
