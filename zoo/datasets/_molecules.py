"""The ten molecules of the MD17 benchmark, as SMILES, and their starting geometries.

The structures are built here from SMILES (ETKDG embedding, MMFF94 relaxation); no coordinates of
the MD17 data set are used. Needs rdkit (extra `datagen`).
"""

from typing import Any

from ase import Atoms

from zoo._extras import require
from zoo.errors import DataError

MD17: dict[str, str] = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "azobenzene": "c1ccc(cc1)/N=N/c1ccccc1",
    "benzene": "c1ccccc1",
    "ethanol": "CCO",
    "malonaldehyde": r"O=C/C=C\O",
    "naphthalene": "c1ccc2ccccc2c1",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "salicylic_acid": "OC(=O)c1ccccc1O",
    "toluene": "Cc1ccccc1",
    "uracil": "O=c1cc[nH]c(=O)[nH]1",
}


def embed(text: str, *, seed: int) -> Atoms:
    """One conformer of a molecule.

    Args:
        text: SMILES.
        seed: of the embedding.

    Returns:
        Atoms in Å, with `info["charge"]` the formal charge (e).

    Raises:
        DataError: if the SMILES can't be parsed or embedded.
    """
    molecule, chem, all_chem = _parsed(text)
    if all_chem.EmbedMolecule(molecule, randomSeed=seed) != 0:
        raise DataError(f"rdkit found no 3-D geometry for {text!r}; give a structure instead")
    all_chem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    return _atoms(molecule, chem)[0]


def conformers(text: str, count: int, *, seed: int) -> list[Atoms]:
    """Conformers of a molecule, each relaxed by MMFF94; atoms in rdkit's order of the SMILES.

    Args:
        text: SMILES.
        count: how many are embedded; some may end in the same minimum.
        seed: of the embedding.

    Returns:
        Atoms in Å, with `info["charge"]` the formal charge (e).

    Raises:
        DataError: if the SMILES can't be parsed or embedded.
    """
    molecule, chem, all_chem = _parsed(text)
    if not all_chem.EmbedMultipleConfs(molecule, count, randomSeed=seed):
        raise DataError(f"rdkit found no 3-D geometry for {text!r}; give a structure instead")
    all_chem.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)
    return _atoms(molecule, chem)


def _parsed(text: str) -> tuple[Any, Any, Any]:
    """The molecule of a SMILES with its hydrogens, and rdkit's modules Chem and AllChem."""
    chem = require("rdkit.Chem", extra="datagen", package="rdkit")
    all_chem = require("rdkit.Chem.AllChem", extra="datagen", package="rdkit")
    molecule = chem.MolFromSmiles(text)
    if molecule is None:
        raise DataError(f"{text!r} is not a SMILES that rdkit can read; check brackets and rings")
    return chem.AddHs(molecule), chem, all_chem


def _atoms(molecule: Any, chem: Any) -> list[Atoms]:
    """The conformers of rdkit's molecule."""
    found = []
    for conformer in molecule.GetConformers():
        numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
        atoms = Atoms(numbers=numbers, positions=conformer.GetPositions())
        atoms.info["charge"] = int(chem.GetFormalCharge(molecule))
        found.append(atoms)
    return found
