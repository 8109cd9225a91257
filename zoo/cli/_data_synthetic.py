"""`zoo data generate balanced-tree | eeg-like | ...`: data sets that are computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import _common

# zoo.datasets.synthetic.KINDS, here so that `zoo data generate --help` imports no torch
SETS = {
    "balanced-tree": "A tree with as many children everywhere (graph).",
    "sir-tree": "An infection spreading down a random tree (graph).",
    "csbm": "A contextual stochastic block model of any homophily (graph).",
    "csbm-10": "The same, 10 % of the edges within classes.",
    "csbm-80": "The same, 80 % of the edges within classes.",
    "bipartite": "A bipartite graph of any homophily (graph).",
    "graph-counting": "Random graphs, and counts of small patterns in them (graph).",
    "hyperelastic": "Stresses in an elastic body, of deformation gradients (tensor).",
    "ring-signals": "Signals on a ring of nodes, now and later (sequence).",
    "inertia": "The inertia of point masses, its symmetry perturbed (vector).",
    "prefix": "Pairs of sequences: is one a noisy prefix of the other (sequence).",
    "prefix-10": "The same with 10 % of the prefix replaced.",
    "prefix-30": "The same with 30 % of the prefix replaced.",
    "prefix-50": "The same with 50 % of the prefix replaced.",
    "parentheses": "Words of brackets, balanced or not (sequence).",
    "eeg-like": "EEG-like trials of subjects and sessions (signal).",
    "radar-like": "Radar-like echoes, real and imaginary parts (signal).",
    "subspaces": "Clusters of subspaces (matrix, bases).",
    "rotations": "Random rotations, the input and the target (vector).",
    "nbody": "Charged particles, and where they are later: the N-body benchmark (particles).",
    "o3-volumes": "Signed volumes that three vectors span: O(3) (sequence).",
    "o5-regression": "An invariant of two vectors, in any dimension: O(5) (sequence).",
    "o5-hulls": "Volumes of convex hulls of 16 points of R^5 (sequence).",
    "csmpn-hulls": "Volumes of convex hulls of 8 points of R^5 (sequence).",
    "toy-jets": "Four-momenta of two kinds of decays: toy jets (sequence).",
    "tetris-like": "Tetris pieces in motion: four frames, then four (points).",
    "waves": "Waves on a shallow, rotating sea, now and later (field).",
    "burgers": "Velocities on a ring, now and later: Burgers' equation (field).",
    "darcy": "Permeabilities of a square, and the pressure: Darcy flow (field).",
    "bars-and-stripes": "Noisy pictures of bars or stripes (image).",
    "digits": "Handwritten digits of scikit-learn (image; extra: signals).",
    "digits-cov": "Region covariances of those digits (matrix; extra: signals).",
}

Output = Annotated[Path, typer.Option("--output", "-o", help="An .npz file.")]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="A size or a strength; see the set's card."),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Of everything that is random; 0, for nbody 43, unless said."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace an existing output.")
]


def add(app: typer.Typer) -> None:
    """Adds a verb for each set."""
    for name, summary in SETS.items():
        app.command(name, help=summary)(_verb(name))


def _verb(name: str) -> Callable[..., None]:
    def verb(
        output: Output,
        seed: Seed = None,
        settings: Settings = [],  # noqa: B006  # typer reads it and hands out copies
        overwrite: Overwrite = False,
        as_json: _common.Json = False,
    ) -> None:
        given = _common.settings(settings, "'--set'")
        _common.check_output(output)
        from zoo.datasets import synthetic

        given = given if seed is None else {"seed": seed, **given}
        made = synthetic.generate(name, output, overwrite=overwrite, **given)
        described = output.with_suffix(".yaml")
        _common.emit(
            {
                "path": str(output),
                "description": str(described),
                "samples": len(made),
                "labels": sorted(made.labels),
                "hash": made.hash,
            },
            f"wrote {len(made)} samples to {output}, described in {described}",
            as_json=as_json,
        )

    return verb
