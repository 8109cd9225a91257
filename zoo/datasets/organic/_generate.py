"""`zoo data generate gfn2-organic`: enumerating, relaxing, displacing, labelling, dividing."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from zoo import _extras
from zoo.datasets import gfn2
from zoo.datasets._described import prepare, write
from zoo.datasets._dynamics import Progress
from zoo.datasets.dataset import AtomsDataset
from zoo.datasets.organic import _shards
from zoo.datasets.organic._enumerate import enumerate_molecules
from zoo.datasets.organic._frames import FRAMES, WATER, Settings
from zoo.errors import ConfigError, DataError

#: molecules of the torsion scans and conformer rankings that models are judged by; never trained on
HELD_OUT = (
    "CCCC",  # butane
    "C=CC=C",  # butadiene
    "C=CC=O",  # acrolein
    "OCCO",  # ethylene glycol
    "CCCO",  # propanol
    "COC=O",  # methyl formate
    "CC(=O)NC",  # N-methylacetamide
    "CNC(C)=O",
    "C=Cc1ccccc1",  # styrene
    "COc1ccccc1",  # anisole
    "c1ccc(-c2ccccc2)cc1",  # biphenyl
    "CCCCCC",  # hexane
    "CCOCC",  # diethyl ether
    "NCCO",  # ethanolamine
    "CC(O)C(=O)O",  # lactic acid
)
SHARES = {"train": 90, "val": 4, "test": 6}  # per cent of the molecules


def split_of(smiles: str) -> str:
    """The split that a molecule and all its frames belong to, whatever else is drawn.

    Args:
        smiles: canonical.
    """
    if smiles in HELD_OUT:
        return "test"
    if smiles == WATER[0]:  # it comes with every molecule
        return "train"
    place = int.from_bytes(hashlib.sha256(smiles.encode()).digest()[8:16]) % 100
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    raise AssertionError("shares add up to 100")


def generate_organic(
    output: str | Path,
    *,
    molecules: int = 3300,
    largest: int = 12,
    frames: Mapping[str, int] | None = None,
    polarizability: bool = False,
    seed: int = 0,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Enumerates neutral molecules of H, C, N, O, F, S and Cl and labels conformations of them.

    The labels are energy, forces, dipole, charges, the energies of the frontier orbitals and their
    difference, by GFN2-xTB. The splits are by molecule (`split_of`). Needs the extra `datagen`.

    Args:
        output: .npz or .extxyz. `<stem>.parts` beside it holds what is finished, until all is.
        molecules: how many are drawn; those whose bonds don't survive relaxation are left out.
        largest: number of atoms other than hydrogen.
        frames: of each molecule by kind (`KINDS`); `FRAMES` unless said.
        polarizability: whether to add it, which takes six more calculations per frame.
        seed: of molecules and conformations.
        processes: shards computed at once.
        overwrite: whether an existing output may be replaced.
        progress: called with (molecules done, molecules in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: for impossible settings, or parts of a run with other settings.
        DataError: if no molecule is left.
        MissingExtraError: without tblite or rdkit.
    """
    path = prepare(output, overwrite=overwrite)
    if processes < 1:
        raise ConfigError(f"processes is {processes}; it must be at least 1")
    counts = dict(FRAMES if frames is None else frames)
    settings = Settings(frames=counts, seed=seed, polarizability=polarizability)
    _extras.require("tblite.interface", extra="datagen", package="tblite")
    drawn = enumerate_molecules(molecules, seed=seed, largest=largest)
    folder = path.with_name(f"{path.stem}.parts")
    plan = _shards.Plan(molecules=tuple(drawn), settings=settings, shard=_shards.MOLECULES)
    made = _shards.run(plan, folder, processes=processes, progress=progress)
    if not made:
        raise DataError(f"none of the {molecules} molecules survived relaxation; ask for more")
    for frame in made:
        frame.info["split"] = split_of(frame.info["name"])
    present = {frame.info["split"] for frame in made}
    dataset = write(
        path,
        made,
        level_of_theory=gfn2.LEVEL_OF_THEORY,
        generation={
            "method": "conformations of enumerated molecules",
            "drawn": molecules,
            "kept": len({frame.info["name"] for frame in made}),
            "largest": largest,
            "kinds": counts,
            "polarizability": polarizability,
            "seed": seed,
            "versions": gfn2.versions(),
        },
        splits={
            "kind": "assigned",
            "key": "split",
            "values": {split: [split] for split in SHARES if split in present},
        },
    )
    shutil.rmtree(folder)
    return dataset
