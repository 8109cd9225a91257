"""Neutral closed-shell molecules of H, C, N, O, F, S and Cl, drawn at random from rules.

No list of molecules is used. A skeleton is grown atom by atom from nothing, a ring, or two rings
(fused, or joined by a bond); rings of five and six become aromatic with the probability below,
other bonds double or triple where the valences allow it; each atom takes an element that its number
of neighbours allows. rdkit sanitises the result and spells it as canonical SMILES, without
stereochemistry. What doesn't exist is sorted out later, by relaxing it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo._extras import require
from zoo.errors import ConfigError

#: how often each number of heavy atoms is drawn, from one on
SIZES = (2, 5, 8, 10, 13, 17, 17, 13, 9, 5, 2, 2)
RINGS = (3, 4, 5, 5, 5, 6, 6, 6, 6, 7)
#: of atoms with 0 or 1, 2, 3 and 4 heavy neighbours
ELEMENTS: tuple[dict[str, float], ...] = (
    {"C": 0.42, "N": 0.13, "O": 0.21, "F": 0.08, "S": 0.07, "Cl": 0.09},
    {"C": 0.68, "N": 0.13, "O": 0.13, "S": 0.06},
    {"C": 0.85, "N": 0.15},
    {"C": 1.0},
)
VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1, "S": 2, "Cl": 1}
AROMATIC, DOUBLE, CARBONYL, TRIPLE, HETERO_PAIR, OXIDISED = 0.6, 0.22, 0.6, 0.25, 0.25, 0.3
ATTEMPTS = 400  # draws per molecule that is wanted, before giving up


@dataclass
class _Skeleton:
    """Atoms 0, 1, ... and the bonds between them, each with its order."""

    bonds: dict[tuple[int, int], int] = field(default_factory=dict)
    rings: list[list[int]] = field(default_factory=list)
    size: int = 0
    elements: list[str] = field(default_factory=list)

    def join(self, a: int, b: int) -> None:
        self.bonds[min(a, b), max(a, b)] = 1

    def neighbours(self, atom: int) -> list[int]:
        return [a + b - atom for a, b in self.bonds if atom in (a, b)]

    def spare(self, atom: int) -> int:
        """Bonds that the atom could still have, hydrogens aside."""
        used = sum(order for pair, order in self.bonds.items() if atom in pair)
        return VALENCE[self.elements[atom]] - used


def enumerate_molecules(count: int, *, seed: int, largest: int) -> list[str]:
    """Different molecules, in the order of the draw.

    Args:
        count: how many.
        seed: of the draw.
        largest: number of atoms other than hydrogen; at most 12.

    Returns:
        Canonical SMILES.

    Raises:
        ConfigError: if there are not so many of that size.
    """
    if not 1 <= largest <= len(SIZES) or count < 1:
        raise ConfigError(
            f"{count} molecules of up to {largest} heavy atoms: expected 1 or more molecules, and "
            f"1 to {len(SIZES)} atoms"
        )
    chem = require("rdkit.Chem", extra="datagen", package="rdkit")
    log = require("rdkit.rdBase", extra="datagen", package="rdkit")
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    weights = np.array(SIZES[:largest], dtype=float)
    with log.BlockLogs():  # sanitising reports each refusal
        for _ in range(ATTEMPTS * count):
            size = 1 + int(rng.choice(largest, p=weights / weights.sum()))
            smiles = _draw(size, rng, chem)
            if smiles is not None:
                found[smiles] = None
            if len(found) == count:
                return list(found)
    raise ConfigError(
        f"{ATTEMPTS * count} draws gave {len(found)} molecules of up to {largest} heavy atoms, not "
        f"{count}; ask for fewer, or for larger ones"
    )


def _draw(size: int, rng: np.random.Generator, chem: Any) -> str | None:
    """One molecule, or None where the draw came to nothing."""
    skeleton = _skeleton(size, rng)
    _decorate(skeleton, rng)
    if not _sensible(skeleton, rng):
        return None
    for ring in skeleton.rings:
        if rng.random() < AROMATIC:
            _aromatise(skeleton, ring, rng)
    _unsaturate(skeleton, rng)
    return _smiles(skeleton, rng, chem)


def _skeleton(size: int, rng: np.random.Generator) -> _Skeleton:
    found = _Skeleton()
    _core(found, size, rng)
    while found.size < size:
        new = found.size
        if new:
            degrees = np.array([len(found.neighbours(k)) for k in range(new)])
            weights = np.array([1.0, 1.0, 1.0, 0.25, 0.0])[degrees]
            found.join(int(rng.choice(new, p=weights / weights.sum())), new)
        found.size += 1
    return found


def _core(found: _Skeleton, size: int, rng: np.random.Generator) -> None:
    """No ring, one, or two; those that don't fit are left out."""
    kind = rng.choice(["none", "one", "fused", "joined"], p=[0.42, 0.42, 0.1, 0.06])
    if kind == "none":
        return
    first, second = (int(n) for n in rng.choice(RINGS, 2))
    if first > size:
        return
    ring = list(range(first))
    found.size = first
    _close(found, ring)
    found.rings.append(ring)
    if kind == "fused" and first + second - 2 <= size:
        other = [0, 1, *range(first, first + second - 2)]
        # the two rings share the bond 0-1
        _close(found, [1, *other[2:], 0])
        found.size = first + second - 2
        found.rings = [sorted({*ring, *other})]
    if kind == "joined" and first + second <= size:
        other = list(range(first, first + second))
        _close(found, other)
        found.join(0, first)
        found.size = first + second
        found.rings.append(other)


def _close(found: _Skeleton, ring: Sequence[int]) -> None:
    for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
        found.join(a, b)


def _decorate(found: _Skeleton, rng: np.random.Generator) -> None:
    for atom in range(found.size):
        weights = ELEMENTS[max(len(found.neighbours(atom)), 1) - 1]
        found.elements.append(str(rng.choice(list(weights), p=list(weights.values()))))


def _sensible(found: _Skeleton, rng: np.random.Generator) -> bool:
    """Bonds between two heteroatoms are rare, halogens sit on carbon, no chains like O-O-O."""
    elements = found.elements
    pairs = [(a, b) for a, b in found.bonds if "C" not in (elements[a], elements[b])]
    if any({elements[a], elements[b]} & {"F", "Cl"} for a, b in pairs):
        return False
    if len({atom for pair in pairs for atom in pair}) < 2 * len(pairs):
        return False
    return bool(rng.random() < HETERO_PAIR ** len(pairs))


def _aromatise(found: _Skeleton, ring: Sequence[int], rng: np.random.Generator) -> None:
    """Alternating double bonds, with one heteroatom left out of an odd ring."""
    if len(ring) not in (5, 6, 9, 10):
        return
    inside = set(ring)
    elements = list(found.elements)
    degree = {atom: len(found.neighbours(atom)) for atom in ring}
    if any(degree[atom] > 3 for atom in ring):
        return
    for atom in ring:
        elements[atom] = "N" if degree[atom] == 2 and rng.random() < 0.2 else "C"
    matched = sorted(inside)
    if len(ring) % 2:
        apart = [a for a in ring if sum(b in inside for b in found.neighbours(a)) == 2]
        odd = int(rng.choice(apart))
        elements[odd] = "N" if degree[odd] == 3 else str(rng.choice(["N", "O", "S"]))
        matched.remove(odd)
    pairs = _matching(matched, found)
    if pairs is None:
        return
    found.elements = elements
    for a, b in pairs:
        found.bonds[min(a, b), max(a, b)] = 2


def _matching(atoms: Sequence[int], found: _Skeleton) -> list[tuple[int, int]] | None:
    """All atoms in pairs of neighbours, or None."""
    if not atoms:
        return []
    first, rest = atoms[0], list(atoms[1:])
    for other in found.neighbours(first):
        if other in rest:
            pairs = _matching([a for a in rest if a != other], found)
            if pairs is not None:
                return [(first, other), *pairs]
    return None


def _unsaturate(found: _Skeleton, rng: np.random.Generator) -> None:
    """Double and triple bonds; no atom has two of them, no ring of three or four has any."""
    small = {atom for ring in found.rings if len(ring) < 5 for atom in ring}
    cyclic = {atom for ring in found.rings for atom in ring}
    bonds = list(found.bonds)
    for place in rng.permutation(len(bonds)):
        a, b = bonds[place]
        taken = any(order > 1 for pair, order in found.bonds.items() if {a, b} & {*pair})
        if taken or {a, b} <= small or min(found.spare(a), found.spare(b)) < 1:
            continue
        ends = {found.elements[k] for k in (a, b) if len(found.neighbours(k)) == 1}
        if rng.random() >= (CARBONYL if "O" in ends else DOUBLE):
            continue
        found.bonds[a, b] = 2
        if min(found.spare(a), found.spare(b)) >= 1 and not {a, b} & cyclic:
            found.bonds[a, b] += int(rng.random() < TRIPLE)


def _smiles(found: _Skeleton, rng: np.random.Generator, chem: Any) -> str | None:
    """Canonical SMILES of the sanitised molecule; some S and N get oxygens on the way."""
    molecule = chem.RWMol()
    for element in found.elements:
        molecule.AddAtom(chem.Atom(element))
    orders = {1: chem.BondType.SINGLE, 2: chem.BondType.DOUBLE, 3: chem.BondType.TRIPLE}
    for (a, b), order in found.bonds.items():
        molecule.AddBond(a, b, orders[order])
    oxides: dict[str, Callable[..., None]] = {"S": _sulfur, "N": _nitro}
    for atom in range(found.size):
        around = found.neighbours(atom)
        single = sum(order for pair, order in found.bonds.items() if atom in pair) == len(around)
        carbon = all(found.elements[b] == "C" for b in around)
        oxide = oxides.get(found.elements[atom])
        if oxide and single and carbon and around and rng.random() < OXIDISED:
            oxide(molecule, atom, len(around), rng, chem)
    try:
        chem.SanitizeMol(molecule)
    except ValueError:
        return None
    return str(chem.MolToSmiles(molecule))


def _sulfur(molecule: Any, atom: int, degree: int, rng: np.random.Generator, chem: Any) -> None:
    """A sulfoxide or a sulfone."""
    for _ in range(int(rng.integers(1, 3)) if degree == 2 else 0):
        molecule.AddBond(atom, molecule.AddAtom(chem.Atom("O")), chem.BondType.DOUBLE)


def _nitro(molecule: Any, atom: int, degree: int, rng: np.random.Generator, chem: Any) -> None:
    """A nitro group, where the atom is at an end."""
    if degree != 1 or rng.random() < 0.5:
        return
    molecule.GetAtomWithIdx(atom).SetFormalCharge(1)
    molecule.AddBond(atom, molecule.AddAtom(chem.Atom("O")), chem.BondType.DOUBLE)
    other = chem.Atom("O")
    other.SetFormalCharge(-1)
    molecule.AddBond(atom, molecule.AddAtom(other), chem.BondType.SINGLE)


def heavy_atoms(smiles: Iterator[str] | Sequence[str]) -> list[int]:
    """Numbers of atoms other than hydrogen."""
    chem = require("rdkit.Chem", extra="datagen", package="rdkit")
    return [int(chem.MolFromSmiles(text).GetNumHeavyAtoms()) for text in smiles]
