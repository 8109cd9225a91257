"""Checks at the limits: the cutoff, many neighbours, none, far apart, on a line, coincident."""

import re
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from zoo.errors import ZooError
from zoo.testing import structures as build
from zoo.testing._base import worst
from zoo.testing._subject import Subject

_GAP = 1e-4  # Å
_CHAINS = 4
_CROWD = 96
_JITTER = 1e-7  # relative
Errors = dict[str, Any]


def smoothness(subject: Subject) -> Errors:
    """Energy and forces are continuous when an atom crosses the cutoff.

    Both sides are extrapolated to the cutoff from two points each, so that the slope does not
    count as a jump.
    """
    cutoff = subject.need_cutoff()
    gaps = (-2 * _GAP, -_GAP, _GAP, 2 * _GAP)
    errors = []
    for chain in range(_CHAINS):
        found = [
            subject([build.across(cutoff, gap, _seeded(subject, chain), subject.elements)])
            for gap in gaps
        ]
        below = {k: 2 * found[1][k].double() - found[0][k].double() for k in found[0]}
        above = {k: 2 * found[2][k].double() - found[3][k].double() for k in found[0]}
        errors.append(subject.compare(below, above))
    return dict(worst(errors))


def _seeded(subject: Subject, index: int) -> np.random.Generator:
    return subject.rng(f"smoothness {index}")


def crowding(subject: Subject) -> Errors:
    """No neighbour is dropped, however many there are.

    An atom amid 96 others at one distance: which are the nearest is decided by 1e-7 of it, and
    which come first by their order. A model that keeps some of them jumps from one choice to
    another.
    """
    radius = 0.75 * subject.need_cutoff()
    rng = subject.rng("crowding")
    atoms, outward = build.crowd(rng, _CROWD, radius, subject.elements)
    size = len(atoms)
    reference = subject([atoms])
    own = {name: float(value.abs().max()) for name, value in reference.items()}
    own["energy"] = max(own.get("forces", 0.0) * radius, 1e-12)
    errors = []
    for _ in range(2):
        shift = _JITTER * radius * rng.uniform(-1, 1, (size, 1)) * outward
        order = rng.permutation(size)
        found = subject([build.displaced(atoms, shift)[order]])
        expected = {
            name: value[torch.as_tensor(order, device=value.device)]
            if name in subject.laws and subject.laws[name].per_atom
            else value
            for name, value in reference.items()
        }
        errors.append(subject.compare(expected, found))
    largest = worst(errors)
    # so many atoms can have outputs far larger than the usual ones
    return {
        name: value * min(1.0, subject.scales.get(name, 1.0) / max(own[name], 1e-12))
        for name, value in largest.items()
    }


def isolated_atom(subject: Subject) -> Errors:
    """One atom: finite outputs, no force, an energy that depends on its element alone.

    Also beside a molecule in one batch, and in a cell larger than the cutoff.
    """
    rng = subject.rng("isolated_atom")
    errors: list[dict[str, float]] = []
    for number in subject.elements:
        atoms = [Atoms([number], positions=[rng.uniform(-9, 9, 3)]) for _ in range(2)]
        origin = subject([Atoms([number], positions=[[0.0, 0.0, 0.0]])])
        errors.append(subject.compare(_no_force(subject, origin), origin))
        for each in atoms:
            errors.append(subject.compare(origin, subject([each])))
        company = subject([subject.molecules[0], *atoms])
        energy = company["energy"] if "energy" in company else None
        if energy is not None:
            alone = origin["energy"].expand(2)
            errors.append(subject.compare({"energy": alone}, {"energy": energy[1:]}))
        if subject.crystals and subject.cutoff is not None:
            length = 2.5 * subject.cutoff
            boxed = Atoms([number], positions=[rng.uniform(0, 9, 3)], cell=[length] * 3, pbc=True)
            found = subject([boxed])
            errors.append(subject.compare(origin | _no_force(subject, found), found))
    return dict(worst(errors))


def _no_force(subject: Subject, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for what vanishes where nothing pulls.

    By its symmetry a direct stress may keep a pressure there, which nothing but training removes.
    """
    direct = getattr(subject.model, "direct", ())
    names = [n for n in ("forces", "stress", "virial") if n == "forces" or n not in direct]
    return {name: torch.zeros_like(outputs[name]) for name in names if name in outputs}


def empty_edges(subject: Subject) -> Errors:
    """Atoms farther apart than the cutoff: energies add up and nothing pulls."""
    subject.need("energy")
    spacing = 1.1 * subject.need_cutoff()
    numbers = [*subject.elements[:3], subject.elements[0]]
    line = np.arange(len(numbers))[:, None] * spacing * np.ones(3)
    whole = subject([Atoms(numbers, positions=line)])
    parts = subject([Atoms([number], positions=[[0.0, 0.0, 0.0]]) for number in numbers])
    expected = {"energy": parts["energy"].sum(0, keepdim=True), **_no_force(subject, whole)}
    return dict(subject.compare(expected, whole))


def separation(subject: Subject) -> Errors:
    """E(A + B) = E(A) + E(B) for molecules out of each other's reach; forces stay the same."""
    subject.need("energy")
    cutoff = subject.need_cutoff()
    centred = []
    for atoms in subject.molecules:
        neutral = atoms.copy()
        neutral.info.pop("charge", None)  # the charge of the whole belongs to no part
        neutral.positions -= neutral.positions.mean(axis=0)
        centred.append(neutral)
    # the largest decides, or a small one beside it would stay within its reach
    reach = 1.1 * cutoff + 4 * max(float(np.abs(atoms.positions).max()) for atoms in centred)
    parts = [
        build.displaced(atoms, index * np.array([reach + 2.0, 0.7, -0.4]))
        for index, atoms in enumerate(centred)
    ]
    apart, whole = subject(parts), subject([build.joined(parts)])
    expected = {"energy": apart["energy"].sum(0, keepdim=True)}
    if "forces" in apart:
        expected["forces"] = apart["forces"]
    return dict(subject.compare(expected, whole))


def collinear(subject: Subject) -> Errors:
    """Atoms on a line, in a plane and at right angles: finite, and turning with the structure."""
    rng = subject.rng("collinear")
    numbers = rng.choice(subject.elements, 4)
    step = 1.2 * max(build.bond(int(a), int(b)) for a in numbers for b in numbers)
    line = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]], dtype=float)
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    cross = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0]], dtype=float)
    shapes = [Atoms(numbers, positions=step * shape) for shape in (line, square, cross)]
    turn = build.random_orthogonal(rng)
    reference = subject(shapes)
    found = subject([build.transformed(atoms, turn) for atoms in shapes])
    expected = {
        name: subject.laws[name].apply(value, turn)
        for name, value in reference.items()
        if name in subject.laws
    }
    return dict(subject.compare(expected, found))


def coincident(subject: Subject) -> Errors:
    """Two atoms in one place: finite outputs, or a `ZooError` that names both atoms."""
    atoms = subject.molecules[1].copy()
    first, second = 1, 4
    atoms.positions[second] = atoms.positions[first]
    try:
        found = subject([subject.molecules[0], atoms])
    except ZooError as problem:
        words = re.findall(r"\d+", str(problem))
        named = str(first) in words and str(second) in words
        return {"refused": 0.0 if named else 1.0, "message": str(problem)}
    finite = all(bool(torch.isfinite(value).all()) for value in found.values())
    return {"finite": 0.0 if finite else float("inf")}
