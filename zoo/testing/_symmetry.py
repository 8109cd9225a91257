"""Checks of symmetry: rigid motions, order of atoms, company in a batch, choice of cell."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from zoo.testing import structures as build
from zoo.testing._base import BaseSubject, worst
from zoo.testing._result import Skip
from zoo.testing._subject import Subject

_SAMPLES = 3
_SHIFT = 5.0  # Å
Errors = dict[str, Any]


def outputs(subject: BaseSubject) -> Errors:
    """Every output is finite, not zero everywhere, and transforms by a known law.

    An output that is zero would pass every other check without having been measured.
    """
    found: Errors = {}
    for values in subject.references:
        for name, value in values.items():
            if not subject.law_known(name):
                found[name] = "no law of transformation is known: not checked"
            elif not bool(torch.isfinite(value).all()):
                found[name] = float("inf")
            else:
                found[name] = 0.0 if subject.scales.get(name, 0.0) > 1e-10 else 1.0
    if not any(isinstance(value, float) for value in found.values()):
        raise Skip(f"no output has a known law: {', '.join(found) or 'the dict is empty'}")
    return found


def _motions(subject: Subject, matrices: Sequence[np.ndarray]) -> Errors:
    errors = []
    for group, reference in zip(subject.groups, subject.references, strict=True):
        for matrix in matrices:
            found = subject([build.transformed(atoms, matrix) for atoms in group])
            expected = {
                name: subject.laws[name].apply(value, matrix)
                for name, value in reference.items()
                if name in subject.laws
            }
            errors.append(subject.compare(expected, found))
    return dict(worst(errors))


def rotation(subject: Subject) -> Errors:
    """Outputs of rotated structures are the rotated outputs."""
    rng = subject.rng("rotation")
    return _motions(subject, [build.random_orthogonal(rng) for _ in range(_SAMPLES)])


def _improper(subject: Subject, matrices: Sequence[np.ndarray]) -> Errors:
    if subject.group != "O(3)":
        raise Skip(f"the model's group is {subject.group}, which holds no improper elements")
    return _motions(subject, matrices)


def reflection(subject: Subject) -> Errors:
    """Outputs of structures mirrored in random planes are the mirrored outputs."""
    rng = subject.rng("reflection")
    normals = [build.random_direction(rng) for _ in range(_SAMPLES)]
    return _improper(subject, [np.eye(3) - 2 * np.outer(n, n) for n in normals])


def inversion(subject: Subject) -> Errors:
    """Outputs of structures under x -> -x; also combined with a rotation."""
    turn = build.random_orthogonal(subject.rng("inversion"))
    return _improper(subject, [-np.eye(3), -turn])


def translation(subject: Subject) -> Errors:
    """Moving a structure changes nothing."""
    rng = subject.rng("translation")
    errors = []
    for group in subject.groups:
        reference = subject(group)
        for _ in range(_SAMPLES):
            moved = [
                build.transformed(atoms, np.eye(3), rng.uniform(-_SHIFT, _SHIFT, 3))
                for atoms in group
            ]
            errors.append(subject.compare(reference, subject(moved)))
    return dict(worst(errors))


def permutation(subject: Subject) -> Errors:
    """The order of the atoms does not matter; values per atom follow their atoms."""
    rng = subject.rng("permutation")
    errors = []
    for group in subject.groups:
        reference = subject(group)
        for _ in range(_SAMPLES):
            orders = [rng.permutation(len(atoms)) for atoms in group]
            found = subject([atoms[order] for atoms, order in zip(group, orders, strict=True)])
            errors.append(subject.compare(_reorder(subject, reference, group, orders), found))
    return dict(worst(errors))


def _reorder(
    subject: Subject,
    values: dict[str, Tensor],
    group: Sequence[Atoms],
    orders: Sequence[np.ndarray],
) -> dict[str, Tensor]:
    starts = np.cumsum([0, *(len(atoms) for atoms in group)])[:-1]
    rows = np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])
    return {
        name: value[torch.as_tensor(rows, device=value.device)]
        if name in subject.laws and subject.laws[name].per_atom
        else value
        for name, value in values.items()
    }


def batching(subject: BaseSubject) -> Errors:
    """A sample's outputs don't depend on what shares its batch."""
    errors = []
    for company in subject.companies:
        together = subject(company)
        alone = [subject([sample]) for sample in company]
        # what a structure has alone may be unlawful in company: a stress beside a molecule
        names = [name for name in together if all(name in each for each in alone)]
        stacked = {name: torch.cat([each[name] for each in alone]) for name in names}
        errors.append(subject.compare(stacked, {name: together[name] for name in names}))
    return dict(worst(errors))


def periodic(subject: Subject) -> Errors:
    """Which atoms and cell vectors describe a crystal does not matter.

    Atoms move by lattice vectors, the cell is replaced by an equivalent one, and a supercell has
    a multiple of the energy.
    """
    crystals = subject.need_crystals()
    rng = subject.rng("periodic")
    equivalent = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])  # integer, determinant 1

    def wrap(atoms: Atoms) -> Atoms:
        return build.displaced(atoms, rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array)

    def recell(atoms: Atoms) -> Atoms:
        other: Atoms = atoms.copy()
        other.set_cell(equivalent @ atoms.cell.array, scale_atoms=False)
        return other

    changes: list[Callable[[Atoms], Atoms]] = [wrap, recell]
    reference = subject.periodic_reference
    errors = [subject.compare(reference, subject([f(a) for a in crystals])) for f in changes]
    doubled = subject([atoms.repeat((2, 1, 1)) for atoms in crystals])
    extensive = {"energy", "dipole", "polarizability", "virial"}
    extensive |= set(getattr(subject.model, "extensive", ()))
    per_cell = {
        name: value / 2 if name in extensive else value
        for name, value in doubled.items()
        if name in subject.laws and not subject.laws[name].per_atom
    }
    errors.append(subject.compare(per_cell, reference))
    return dict(worst(errors))
