"""Checks of derivatives against finite differences, all in float64.

First derivatives of f along a direction are measured by the five-point stencil

    f'(0) = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / (12 h) + O(h^4).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from zoo.testing import structures as build
from zoo.testing._result import Skip
from zoo.testing._subject import Subject

_STEP = 1e-3  # Å, or strain: total energies of 1e4 eV leave 12 digits to the difference
# of a variable's size: forces are small numbers, so less is lost; at three times this step the
# truncation of a trained network's derivatives was 5e-6
_FINE_STEP = 1e-4
_STENCIL = ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0))
_DIRECTIONS = 3
Errors = dict[str, Any]


def _slopes(energies: Tensor, step: float) -> Tensor:
    """Derivatives from energies (directions * 4,) in the order of the stencil."""
    weights = energies.new_tensor([weight for _, weight in _STENCIL])
    return energies.reshape(-1, len(_STENCIL)) @ weights / (12 * step)


def forces(subject: Subject) -> Errors:
    """Forces are minus the derivative of the energy, for every coordinate."""
    subject.need("energy", "forces")
    subject.need_derived("forces")
    errors: Errors = {}
    for label, group in (("molecule", subject.molecules[:1]), ("crystal", subject.crystals[:1])):
        for atoms in group:
            expected = -_slopes(subject(_displacements(atoms), "energy")["energy"], _STEP)
            found = subject([atoms], "energy", "forces")["forces"].flatten()
            errors[label] = _relative(expected, found, subject.scales["forces"])
    return errors


def _displacements(atoms: Atoms) -> list[Atoms]:
    moved = []
    for atom, axis in itertools.product(range(len(atoms)), range(3)):
        shift = np.zeros((len(atoms), 3))
        shift[atom, axis] = _STEP
        moved += [build.displaced(atoms, factor * shift) for factor, _ in _STENCIL]
    return moved


def stress(subject: Subject) -> Errors:
    """Stress is (1/V) dE/dε and virial is -dE/dε, for each of the six symmetric strains."""
    crystals = subject.need_crystals()
    subject.need("energy", "stress")
    subject.need_derived("stress")
    errors: Errors = {}
    for index, atoms in enumerate(crystals):
        slopes = _strain_derivative(subject, atoms)
        found = subject([atoms])["stress"][0]
        volume = atoms.get_volume()
        errors[f"crystal {index}"] = _relative(slopes / volume, found, subject.scales["stress"])
    if "virial" in getattr(subject.model, "outputs", ()):
        for label, atoms in (("molecule", subject.molecules[0]), ("crystal", crystals[0])):
            slopes = _strain_derivative(subject, atoms)
            found = subject([atoms], "energy", "virial")["virial"][0]
            scale = float(slopes.abs().max())
            errors[f"virial of a {label}"] = _relative(-slopes, found, scale)
    return errors


def _strain_derivative(subject: Subject, atoms: Atoms) -> Tensor:
    """dE/dε as a symmetric (3, 3) tensor."""
    pairs = [(a, b) for a in range(3) for b in range(a, 3)]
    moved = []
    for a, b in pairs:
        strain = np.zeros((3, 3))
        strain[a, b] += _STEP / 2
        strain[b, a] += _STEP / 2
        moved += [build.strained(atoms, factor * strain) for factor, _ in _STENCIL]
    slopes = _slopes(subject(moved, "energy")["energy"], _STEP)
    result = slopes.new_zeros(3, 3)
    for (a, b), slope in zip(pairs, slopes, strict=True):
        result[a, b] = result[b, a] = slope
    return result


def _relative(expected: Tensor, found: Tensor, scale: float) -> float:
    difference = (expected.double() - found.double()).abs().max()
    return float(difference) / max(scale, 1e-12) if bool(torch.isfinite(difference)) else np.inf


def double_backward_parameters(subject: Subject) -> Errors:
    """Forces and stress can be differentiated by the parameters: what training on them needs."""
    subject.need("forces")
    parameters = [p for p in subject.model.parameters() if p.requires_grad]
    if not parameters:
        raise Skip("the model has no trainable parameters")
    rng = subject.rng("double_backward_parameters")
    cases = {"forces": subject.molecules[:2]}
    if "stress" in subject.periodic_reference:
        cases["stress"] = subject.crystals[:1]
    errors: Errors = {}
    with _differentiable(subject) as options:
        for name, structures in cases.items():
            batch = subject.batch(structures)
            weights = _normal(rng, subject.model(batch, **options)[name])
            functional = partial(_weighted, subject, batch, name, weights, options)
            errors[name] = directional(functional, parameters, rng)
    return errors


def double_backward_positions(subject: Subject) -> Errors:
    """Forces can be differentiated by the positions: second derivatives of the energy."""
    subject.need("forces")
    rng = subject.rng("double_backward_positions")
    errors: Errors = {}
    cases = (("molecule", subject.molecules[:1]), ("crystal", subject.crystals[:1]))
    with _differentiable(subject) as options:
        for label, structures in cases:
            if not structures:
                continue
            batch = subject.batch(structures)
            batch.pos = batch.pos.detach().requires_grad_()
            weights = _normal(rng, batch.pos)
            functional = partial(_weighted, subject, batch, "forces", weights, options)
            errors[label] = directional(functional, [batch.pos], rng)
    return errors


def _weighted(
    subject: Subject, batch: Any, name: str, weights: Tensor, options: dict[str, Any]
) -> Tensor:
    """A scalar of one output, with its graph."""
    output: Tensor = subject.model(batch, **options)[name]
    return (output.double() * weights).sum()


def _normal(rng: np.random.Generator, like: Tensor) -> Tensor:
    return like.new_tensor(rng.normal(size=tuple(like.shape)), dtype=torch.float64)


@contextmanager
def _differentiable(subject: Subject) -> Iterator[dict[str, Any]]:
    """Options of a call whose outputs can be differentiated; train mode where there are none."""
    if subject.accepts("create_graph"):
        yield {"create_graph": True}
        return
    subject.model.train()
    try:
        yield {}
    finally:
        subject.model.eval()


def directional(
    functional: Callable[[], Tensor],
    variables: Sequence[Tensor],
    rng: np.random.Generator,
    *,
    step: float = _FINE_STEP,
    draws: int = _DIRECTIONS,
    middle: bool = False,
) -> float:
    """Autograd against the stencil along random directions; infinite if there is no graph.

    Args:
        functional: a scalar of the variables.
        variables: leaves, which are moved meanwhile.
        rng: of the directions.
        step: of the stencil, relative to a variable's size.
        draws: how many directions.
        middle: take the median of the directions' errors instead of the largest.

    Returns:
        The difference, relative to the largest slope.
    """
    value = functional()
    if not value.requires_grad:
        return float("inf")
    grads = torch.autograd.grad(value, variables, allow_unused=True)
    differences, slopes = [], []
    for _ in range(draws):
        directions = [_sized(rng, variable) for variable in variables]
        slope = _slope_along(functional, variables, directions, step)
        found = sum(
            float((grad * direction).sum())
            for grad, direction in zip(grads, directions, strict=True)
            if grad is not None
        )
        differences.append(abs(slope - found))
        slopes.append(abs(slope))
    error = float(np.median(differences)) if middle else max(differences)
    # a functional that nothing influences would compare zero with zero
    return error / max(slopes) if max(slopes) > 1e-12 and np.isfinite(error) else float("inf")


def _sized(rng: np.random.Generator, variable: Tensor) -> Tensor:
    size = float(variable.detach().square().mean().sqrt()) or 0.1
    return variable.new_tensor(rng.normal(size=tuple(variable.shape)) * size)


def _slope_along(
    functional: Callable[[], Tensor],
    variables: Sequence[Tensor],
    directions: Sequence[Tensor],
    step: float,
) -> float:
    kept = [variable.detach().clone() for variable in variables]
    values = []
    for factor, _ in _STENCIL:
        with torch.no_grad():
            for variable, start, direction in zip(variables, kept, directions, strict=True):
                variable.copy_(start + factor * step * direction)
        values.append(functional().detach())
    with torch.no_grad():
        for variable, start in zip(variables, kept, strict=True):
            variable.copy_(start)
    return float(_slopes(torch.stack(values), step)[0])
