"""Checks of symmetry outside atoms: what a group element does to samples, and to outputs."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from zoo.functional.tensor_power import act
from zoo.models import _inputs
from zoo.testing import samples as build
from zoo.testing._base import worst
from zoo.testing._result import Skip
from zoo.testing._sample_subject import GROUPS, SampleSubject

_DRAWS = 3
_RAPIDITY = 0.7
Errors = dict[str, Any]
#: a sample to the same sample moved
Move = Callable[[Any], Any]


def _needs(subject: SampleSubject, check: str) -> None:
    if not any(check in GROUPS[factor][1] for factor in subject.factors):
        raise Skip(f"the model's group is {subject.group}, which promises nothing of the kind")


# --- the order of nodes -------------------------------------------------------------------------


def permutation(subject: SampleSubject) -> Errors:
    """The order of nodes and edges does not matter; rows of nodes follow their nodes."""
    if "Aut(G)" in subject.factors:
        return _automorphic(subject)
    if not subject.graphs:
        raise Skip("samples have no nodes")
    if subject.transductive:
        raise Skip("the model knows its nodes by their numbers")
    if subject.domain == "complex":
        raise Skip("cells of several ranks are not reordered")
    rng = subject.rng("permutation")
    reference = subject(subject.samples)
    errors = []
    for _ in range(_DRAWS):
        orders = [rng.permutation(int(sample.num_nodes)) for sample in subject.samples]
        pairs = zip(subject.samples, orders, strict=True)
        found = subject([_reordered(sample, order, rng) for sample, order in pairs])
        expected = {n: _carried(n, v, subject, orders) for n, v in reference.items()}
        errors.append(subject.compare(expected, found))
    return dict(worst(errors))


def _automorphic(subject: SampleSubject) -> Errors:
    """Nodes in another order that the model's own graph does not notice."""
    generator = torch.Generator().manual_seed(int(subject.rng("permutation").integers(2**31)))
    size = int(np.shape(subject.samples[0]["x"])[0])
    group: Any = subject.model.group
    errors = []
    for _ in range(_DRAWS):
        matrix = group.random_element(size, generator).numpy()

        def carry(value: Tensor, matrix: np.ndarray = matrix) -> Tensor:
            return _on(value, matrix) @ value

        errors.append(_moved(subject, partial(_edited, fields={"x": carry}), carry))
    return dict(worst(errors))


def _reordered(sample: Data, order: np.ndarray, rng: np.random.Generator) -> Data:
    """Node k of the result is node order[k]; edges are shuffled as well."""
    nodes = len(order)
    inverse = torch.empty(nodes, dtype=torch.int64)
    inverse[torch.as_tensor(order)] = torch.arange(nodes)
    edges = sample.get("edge_index")
    shuffle = torch.as_tensor(rng.permutation(0 if edges is None else edges.shape[1]))
    result = copy.copy(sample)
    for name, value in sample.to_dict().items():
        if not isinstance(value, Tensor):
            continue
        if name == "edge_index":
            result[name] = inverse[value][:, shuffle]
        elif name.endswith("_index"):  # pairs to score keep their order
            result[name] = inverse[value]
        elif name.startswith("edge_") and len(value) == len(shuffle):
            result[name] = value[shuffle]
        elif value.ndim and len(value) == nodes and not name.startswith("edge_"):
            result[name] = value[torch.as_tensor(order)]
    return result


def _carried(
    name: str, value: Tensor, subject: SampleSubject, orders: Sequence[np.ndarray]
) -> Tensor:
    """Rows of nodes in the new order; anything else as it is."""
    total = sum(len(order) for order in orders)
    if name == "score" or value.ndim == 0 or len(value) != total:
        return value
    starts = np.cumsum([0, *(len(order) for order in orders)])[:-1]
    rows = np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])
    return value[torch.as_tensor(rows, device=value.device)]


# --- matrices acting on samples -----------------------------------------------------------------


def _moved(subject: SampleSubject, move: Move, carry: Callable[[Tensor], Tensor]) -> Errors:
    """Outputs of moved samples against those of the samples, or what becomes of them."""
    found = subject([move(sample) for sample in subject.samples])
    expected = {
        name: carry(value) if subject.law(name) == "equivariant" else value
        for name, value in subject(subject.samples).items()
    }
    return dict(subject.compare(expected, found))


def _edited(sample: Any, fields: Mapping[str, Callable[[Tensor], Tensor]]) -> Any:
    """A sample with some of its fields replaced, in float64."""
    result = copy.copy(sample) if isinstance(sample, Data) else dict(sample)
    for name, change in fields.items():
        if name in result:
            result[name] = change(torch.as_tensor(result[name]).double())
    return result


def _on(value: Tensor, matrix: np.ndarray) -> Tensor:
    """The matrix as the tensor has it."""
    return torch.as_tensor(matrix, dtype=value.dtype, device=value.device)


def _linear(matrix: np.ndarray, names: Sequence[str]) -> tuple[Move, Callable[[Tensor], Tensor]]:
    """x -> M x on the last axis of some fields."""

    def carry(value: Tensor) -> Tensor:
        return value @ _on(value, matrix).T

    return lambda sample: _edited(sample, dict.fromkeys(names, carry)), carry


def _every_axis(matrix: np.ndarray) -> tuple[Move, Callable[[Tensor], Tensor]]:
    """M on every axis of a tensor; of outputs, on all axes but that of the samples."""

    def move(x: Tensor) -> Tensor:
        return act(_on(x, matrix), x, x.ndim)

    def carry(value: Tensor) -> Tensor:
        return act(_on(value, matrix), value, value.ndim - 1)

    return lambda sample: _edited(sample, {"x": move}), carry


def _conjugation(matrix: np.ndarray) -> tuple[Move, Callable[[Tensor], Tensor]]:
    """X -> W X W^T."""

    def carry(value: Tensor) -> Tensor:
        w = _on(value, matrix)
        moved = w @ value @ w.T
        return (moved + moved.mT) / 2

    return lambda sample: _edited(sample, {"x": carry}), carry


def _dimension(subject: SampleSubject) -> int:
    """Of the space that the group acts on."""
    sample = subject.samples[0]
    name = "pos" if subject.domain in ("points", "particles") else "x"
    return int(np.shape(sample[name])[-2 if subject.domain in ("matrix", "signal") else -1])


def _turned(subject: SampleSubject, determinant: int, rng: np.random.Generator) -> Errors:
    turn = build.orthogonal(rng, _dimension(subject))
    if np.linalg.det(turn) * determinant < 0:
        turn[:, 0] *= -1
    if subject.domain == "matrix" and not subject.wanted.bases:
        return _moved(subject, *_conjugation(turn))
    if subject.domain == "tensor":
        return _moved(subject, *_every_axis(turn))
    if subject.domain in ("matrix", "signal"):  # bases (n, p) and series (c, t) turn by their rows
        return _moved(subject, lambda s: _edited(s, {"x": lambda x: _on(x, turn) @ x}), lambda v: v)
    names = ("pos", "vel") if subject.domain in ("points", "particles") else ("x",)
    return _moved(subject, *_linear(turn, names))


def rotation(subject: SampleSubject) -> Errors:
    """Rotated samples: outputs stay, or turn with them."""
    _needs(subject, "rotation")
    rng = subject.rng("rotation")
    return dict(worst([_turned(subject, 1, rng) for _ in range(_DRAWS)]))


def reflection(subject: SampleSubject) -> Errors:
    """Mirrored samples: outputs stay, or are mirrored."""
    _needs(subject, "reflection")
    rng = subject.rng("reflection")
    return dict(worst([_turned(subject, -1, rng) for _ in range(_DRAWS)]))


def translation(subject: SampleSubject) -> Errors:
    """Samples at another place: outputs stay, or move with them."""
    _needs(subject, "translation")
    if "T(grid)" in subject.factors:
        return _around(subject)
    place = "pos" if subject.domain in ("points", "particles") else "x"
    rng = subject.rng("translation")
    errors = []
    for _ in range(_DRAWS):
        shift = rng.uniform(-3, 3, _dimension(subject))

        def carry(value: Tensor, shift: np.ndarray = shift) -> Tensor:
            return value + _on(value, shift)

        errors.append(_moved(subject, partial(_edited, fields={place: carry}), carry))
    return dict(worst(errors))


def _around(subject: SampleSubject) -> Errors:
    """Fields whose places are counted from elsewhere, on rings."""
    rng = subject.rng("translation")
    axes = tuple(range(1 - np.ndim(subject.samples[0]["x"]), 0))
    errors = []
    for _ in range(_DRAWS):
        steps = tuple(rng.integers(1, 100, len(axes)).tolist())

        def carry(value: Tensor, steps: tuple[int, ...] = steps) -> Tensor:
            return value.roll(steps, axes)

        errors.append(_moved(subject, partial(_edited, fields={"x": carry}), carry))
    return dict(worst(errors))


def congruence(subject: SampleSubject) -> Errors:
    """X -> W X W^T by one W for all samples; signals are mixed, x -> W x.

    A model with `adapt` sees the samples as an unlabelled batch first, before and after they are
    transformed.
    """
    _needs(subject, "congruence")
    rng = subject.rng("congruence")
    general = "GL(n)" in subject.factors
    size = _dimension(subject)
    reference = _adapted(subject, subject.samples)
    errors = []
    for _ in range(_DRAWS):
        scale = np.exp(rng.uniform(-0.5, 0.5, size))
        matrix = np.tril(0.4 * rng.normal(size=(size, size)), -1) + np.diag(scale)
        if general:
            matrix = matrix @ build.orthogonal(rng, size)
        move, carry = _conjugation(matrix)
        if subject.domain == "signal":

            def move(sample: Any, w: np.ndarray = matrix) -> Any:
                return _edited(sample, {"x": lambda x: _on(x, w) @ x})

        found = _adapted(subject, [move(sample) for sample in subject.samples])
        expected = {
            name: carry(value) if subject.law(name) == "equivariant" else value
            for name, value in reference.items()
        }
        errors.append(subject.compare(expected, found))
    return dict(worst(errors))


def _adapted(subject: SampleSubject, samples: Sequence[Any]) -> dict[str, Tensor]:
    batch = subject.batch(samples)
    model = copy.deepcopy(subject.model)
    adapt = getattr(model, "adapt", None)
    if adapt is not None:
        adapt(batch)
        model.eval()
    return {name: value.detach() for name, value in subject.evaluate(batch, model).items()}


def basis(subject: SampleSubject) -> Errors:
    """U -> U O: another basis of the same subspace, for each sample."""
    _needs(subject, "basis")
    rng = subject.rng("basis")
    errors = []
    for _ in range(_DRAWS):
        size = int(np.shape(subject.samples[0]["x"])[-1])

        def move(sample: Any, size: int = size) -> Any:
            turn = build.orthogonal(rng, size)
            return _edited(sample, {"x": lambda x: x @ _on(x, turn)})

        errors.append(_moved(subject, move, lambda value: value))
    return dict(worst(errors))


def lorentz(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random Lorentz transformation (size, size), time first: a rotation after a boost."""
    direction = rng.normal(size=size - 1)
    direction /= np.linalg.norm(direction)
    rapidity = rng.uniform(-_RAPIDITY, _RAPIDITY)
    boost = np.eye(size)
    boost[0, 0] = np.cosh(rapidity)
    boost[0, 1:] = boost[1:, 0] = np.sinh(rapidity) * direction
    boost[1:, 1:] += (np.cosh(rapidity) - 1) * np.outer(direction, direction)
    turn = np.eye(size)
    turn[1:, 1:] = build.orthogonal(rng, size - 1)
    return np.asarray(turn @ boost)


def symplectic(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random matrix with g^T J g = J, J = [[0, 1], [-1, 0]], of moderate size: three shears."""
    half = size // 2
    result = np.eye(size)
    for place in range(3):
        form = rng.normal(size=(half, half)) / (2 * half)
        shear = np.eye(size)
        rows, columns = (slice(half), slice(half, size))[:: -1 if place % 2 else 1]
        shear[rows, columns] = form + form.T
        result = shear @ result
    return np.asarray(result)


def isometry(subject: SampleSubject) -> Errors:
    """x -> L x by one Lorentz transformation of the last axis, for all samples.

    For Sp(n), tensors by one symplectic transformation of every axis.
    """
    _needs(subject, "isometry")
    rng = subject.rng("isometry")
    if "Sp(n)" in subject.factors:
        draws = (symplectic(rng, _dimension(subject)) for _ in range(_DRAWS))
        return dict(worst([_moved(subject, *_every_axis(matrix)) for matrix in draws]))
    name = (_inputs.FORMS[subject.domain].fields or ("x",))[0]
    size = int(np.shape(subject.samples[0][name])[-1])
    return dict(
        worst([_moved(subject, *_linear(lorentz(rng, size), (name,))) for _ in range(_DRAWS)])
    )
