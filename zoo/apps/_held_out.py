"""Structures that shipped weights have not seen, to test their trust scores on.

molecules   twenty small molecules of H, C, N and O, none of the ten of MD17, from GFN2-xTB
            dynamics at 500 K (extra `datagen`); two of them, phenol and o-xylene, are made of
            pieces that MD17 has, so a good score should not flag them
metals      other lattices, strong strains, molten and ternary structures and clusters of the
            seven metals of EMT, with EMT's labels
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron
from ase.io import write

from zoo.datasets import AtomsDataset, _molecules, emt
from zoo.datasets._dynamics import Dynamics, Progress
from zoo.datasets.generate import generate_gfn2
from zoo.errors import ConfigError, nearest

KINDS = ("molecules", "metals")
MOLECULES: dict[str, str] = {
    "acetone": "CC(C)=O",
    "acetonitrile": "CC#N",
    "acetamide": "CC(N)=O",
    "aniline": "Nc1ccccc1",
    "anisole": "COc1ccccc1",
    "cyclohexane": "C1CCCCC1",
    "dimethyl_ether": "COC",
    "formaldehyde": "C=O",
    "furan": "c1ccoc1",
    "glycine": "NCC(=O)O",
    "hydrazine": "NN",
    "imidazole": "c1c[nH]cn1",
    "methylamine": "CN",
    "nitrobenzene": "O=[N+]([O-])c1ccccc1",
    "phenol": "Oc1ccccc1",
    "propane": "CCC",
    "propyne": "CC#C",
    "pyridine": "c1ccncc1",
    "urea": "NC(N)=O",
    "o_xylene": "Cc1ccccc1C",
}
_SHORT = Dynamics(temperature=500.0, equilibration=400)


def make(
    kind: str, *, frames: int = 20, seed: int = 0, progress: Progress | None = None
) -> AtomsDataset:
    """Held-out structures with labels.

    Args:
        kind: "molecules" or "metals".
        frames: of each molecule, or of each kind of metal structure.
        seed: of the dynamics or distortions.
        progress: called with (frames done, frames in all).

    Raises:
        ConfigError: for another kind.
        MissingExtraError: for molecules, without tblite and rdkit.
    """
    if kind == "molecules":
        return _dynamics(frames, seed, progress)
    if kind == "metals":
        found = list(_metals(frames, np.random.default_rng(seed)))
        return AtomsDataset.from_atoms(found, source="held-out metals")
    raise ConfigError(f"no held-out structures are called {kind!r}: {nearest(kind, KINDS)}")


def _dynamics(frames: int, seed: int, progress: Progress | None) -> AtomsDataset:
    starts = []
    for name, smiles in MOLECULES.items():
        start = _molecules.embed(smiles, seed=1)
        start.info["name"] = name
        starts.append(start)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "held-out.extxyz", starts, format="extxyz")
        made = generate_gfn2(
            [str(Path(folder) / "held-out.extxyz")],
            Path(folder) / "held-out-molecules.npz",
            frames={"test": frames},
            dynamics=_SHORT,
            seed=seed,
            progress=progress,
        )
        return AtomsDataset.from_atoms(
            [made.atoms(i) for i in range(len(made))], source="held-out molecules"
        )


def _metals(frames: int, rng: np.random.Generator) -> Iterator[Atoms]:
    for index in range(frames):
        metal = emt.METALS[index % len(emt.METALS)]
        others = [emt.METALS[(index + k) % len(emt.METALS)] for k in (1, 3)]
        # measured lattice constants: EMT's own differ by less than the distortions
        constant = float(bulk(metal, "fcc").cell.cellpar()[0]) * 2**0.5
        for name, atoms in _unlike(metal, others, constant, rng):
            atoms.pbc = True
            atoms.info = {"name": name}
            atoms.calc = emt.calculator(atoms)
            yield emt.snapshot(atoms)


def _unlike(
    metal: str, others: list[str], constant: float, rng: np.random.Generator
) -> Iterator[tuple[str, Atoms]]:
    """One structure of each kind; `constant` is the lattice constant of fcc (Å)."""
    fcc = bulk(metal, "fcc", a=constant, cubic=True).repeat(2)
    near = constant / 2**0.5
    for name, factor in (("compressed 12 %", 0.88), ("stretched 15 %", 1.15)):
        atoms = fcc.copy()
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
        yield name, _rattled(atoms, rng, 0.05)
    yield (
        "body-centred cubic",
        _rattled(bulk(metal, "bcc", a=near * 2 / 3**0.5, cubic=True).repeat(3), rng, 0.05),
    )
    yield "simple cubic", _rattled(bulk(metal, "sc", a=near, cubic=True).repeat(3), rng, 0.05)
    diamond = bulk(metal, "diamond", a=near * 4 / 3**0.5, cubic=True).repeat(2)
    yield "diamond lattice", _rattled(diamond, rng, 0.05)
    yield "displaced by 0.4 Å", _rattled(fcc.copy(), rng, 0.4)
    ternary = fcc.copy()
    ternary.symbols[rng.permutation(len(ternary))[:20]] = others[0]
    ternary.symbols[rng.permutation(len(ternary))[:10]] = others[1]
    yield "ternary alloy", _rattled(ternary, rng, 0.05)
    cluster = Icosahedron(metal, 2, latticeconstant=constant)
    cluster = Atoms(numbers=cluster.numbers, positions=cluster.positions)
    cluster.center(vacuum=6.0)
    yield "cluster of 13", _rattled(cluster, rng, 0.05)


def _rattled(atoms: Atoms, rng: np.random.Generator, size: float) -> Atoms:
    atoms.positions += rng.normal(0.0, size, atoms.positions.shape)
    return atoms
