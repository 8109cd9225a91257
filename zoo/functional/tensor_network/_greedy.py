r"""Greedy search for the structure of a tensor network.

Hashemizadeh, Liu, Miller, Rabusseau, *Adaptive learning of tensor network structures*, 2020
(arXiv:2008.05437): from cores without bonds, every bond is tried one larger, only its new slices
are fitted for a moment, the best one is kept, and all cores are fitted from there; cores are split
by singular value decompositions, which makes cores without a mode of their own.

Deviations: all fits are least squares instead of gradient descent; of the bonds that do best with
new slices alone, the best few are fitted whole for some sweeps before one is chosen; at the end,
bonds that can be smaller within the error asked for are made so.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_network._cores import check_values
from zoo.functional.tensor_network._network import Bonds, Network, core_shape, fit
from zoo.functional.tensor_network._select import require_budget

#: letters of an equation bound the number of cores
_MOST_MODES: Final = 8
_FINALISTS: Final = 4


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        network: the cores; those beyond the tensor's modes have none of their own.
        error: relative.
        steps: bonds that grew, in order; a pair of a core and -1 is a split.
    """

    network: Network
    error: float
    steps: tuple[tuple[int, int], ...]


def greedy_structure_search(
    tensor: Tensor,
    max_parameters: int | None = None,
    *,
    tol: float = 1e-6,
    internal_nodes: bool = True,
    sweeps: int = 200,
    generator: torch.Generator | None = None,
) -> Found:
    """Grows a network until it is near a tensor or as large as allowed.

    Args:
        tensor: two to eight modes.
        max_parameters: of all cores together.
        tol: relative error at which to end.
        internal_nodes: whether cores may be split into one with the mode and one without.
        sweeps: of the fit after each step, at most.
        generator: of the slices that begin; a fixed one if None.

    Raises:
        ConfigError: without a number of parameters, for one that cores without bonds exceed, or
            for a tensor of other than two to eight modes.
        DataError: for a tensor that is not finite.
        DeviceError: in half or integer precision.
    """
    allowed = require_budget("greedy_structure_search", "max_parameters", max_parameters)
    dims = tuple(tensor.shape)
    if not 2 <= len(dims) <= _MOST_MODES:
        raise ConfigError(
            f"greedy_structure_search: shape={dims}; expected 2 to {_MOST_MODES} modes"
        )
    if sum(dims) > allowed:
        raise ConfigError(
            f"greedy_structure_search: max_parameters={allowed}; cores without bonds of shape "
            f"{dims} have {sum(dims)}"
        )
    source = generator or torch.Generator().manual_seed(0)
    tensor = tensor.detach()
    check_values("greedy_structure_search", tensor)
    network = Network(dims, {}, [_random((d,), tensor, source) for d in dims])
    error, steps = fit(network, tensor, sweeps=sweeps, tol=tol), []
    while error > tol:
        grown = _grown(network, tensor, allowed, (sweeps, tol), source)
        if grown is None or grown[1] >= error * (1 - 1e-9):
            break
        network, error, pair = grown
        steps.append(pair)
        if internal_nodes:
            network, split = _split(network, tensor, error, tol)
            steps += [(k, -1) for k in split]
            error = network.error(tensor)
    if error <= tol:
        network = _pruned(network, tensor, (sweeps, tol))
        if internal_nodes:
            network, split = _split(network, tensor, tol, tol)
            steps += [(k, -1) for k in split]
    return Found(network, network.error(tensor), tuple(steps))


def _random(shape: tuple[int, ...], like: Tensor, source: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=source, dtype=torch.float64).to(like)


def _grown(
    network: Network,
    tensor: Tensor,
    allowed: int,
    effort: tuple[int, float],
    source: torch.Generator,
) -> tuple[Network, float, tuple[int, int]] | None:
    """The network with the best bond one larger; None if none fits."""
    residual = tensor - network.to_tensor()
    tried = []
    for pair in itertools.combinations(range(len(network.dims)), 2):
        if _size_with(network, pair) <= allowed:
            error, wider = _new_slices(network, residual, pair, source)
            tried.append((error, pair, wider))
    if not tried:
        return None
    finalists = []
    for _, pair, wider in sorted(tried, key=lambda item: item[0])[:_FINALISTS]:
        finalists.append((fit(wider, tensor, sweeps=10, tol=effort[1]), pair, wider))
    _, pair, best = min(finalists, key=lambda item: (item[0], item[2].num_parameters))
    return best, fit(best, tensor, sweeps=effort[0], tol=effort[1]), pair


def _bonds_with(bonds: Bonds, pair: tuple[int, int], change: int = 1) -> Bonds:
    changed = dict(bonds)
    changed[pair] = changed.get(pair, 1) + change
    if changed[pair] <= 1:
        del changed[pair]
    return changed


def _size_with(network: Network, pair: tuple[int, int]) -> int:
    bonds = _bonds_with(network.bonds, pair)
    dims = network.dims
    return sum(math.prod(core_shape(dims, bonds, k)) for k in range(len(dims)))


def _axis(network: Network, k: int, other: int) -> int:
    """Axis of a core's bond with another."""
    below = sum(1 for a, b in network.bonds if k in (a, b) and (b if a == k else a) < other)
    return below + (network.dims[k] > 0)


def _new_slices(
    network: Network, residual: Tensor, pair: tuple[int, int], source: torch.Generator
) -> tuple[float, Network]:
    """One more slice in a bond, fitted to what the network leaves."""
    i, j = pair
    slim = network.copy()
    slim.bonds.pop(pair, None)
    for k in pair:
        shape = core_shape(slim.dims, slim.bonds, k)
        slim.cores[k] = _random(tuple(shape), residual, source)
    error = fit(slim, residual, sweeps=4, tol=1e-12, only=pair)
    wide = network.copy()
    for k, other in (pair, (j, i)):
        axis = _axis(network, k, other)
        old = network.cores[k] if pair in network.bonds else network.cores[k].unsqueeze(axis)
        wide.cores[k] = torch.cat((old, slim.cores[k].unsqueeze(axis)), axis)
    wide.bonds = _bonds_with(network.bonds, pair)
    return error, wide


def _split(network: Network, tensor: Tensor, error: float, tol: float) -> tuple[Network, list[int]]:
    """Cores split into one with the mode and one without, where that saves and costs nothing."""
    found = network
    split: list[int] = []
    for k in range(len(network.dims)):
        degree = sum(k in pair for pair in found.bonds)
        if not found.dims[k] or degree < 2 or len(found.dims) > _MOST_MODES + 1:
            continue
        core = found.cores[k]
        u, s, vh = torch.linalg.svd(core.flatten(1), full_matrices=False)
        width = max(1, int((s > max(tol, 1e-7) * s[0]).sum()))
        if width * (core.shape[0] + vh.shape[1]) >= core.numel():
            continue
        new = len(found.dims)
        other = Network((*found.dims, 0), {}, list(found.cores))
        other.bonds = {
            _ordered(new if a == k else a, new if b == k else b): rank
            for (a, b), rank in found.bonds.items()
        }
        if width > 1:
            other.bonds[(k, new)] = width
        other.cores[k] = (u[:, :width] * s[:width]) if width > 1 else u[:, 0] * s[0]
        other.cores.append(_inner_core(found, k, vh[:width].reshape(-1, *core.shape[1:])))
        _reorder(found, other, k, new)
        if other.error(tensor) <= max(error * (1 + 1e-6), tol):
            found, split = other, [*split, k]
    return found, split


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _inner_core(network: Network, k: int, core: Tensor) -> Tensor:
    """The core without a mode: its bond with core k goes where k stands among the others."""
    if core.shape[0] == 1:
        return core[0]
    others = sorted(b if a == k else a for a, b in network.bonds if k in (a, b))
    place = sum(other < k for other in others)
    return core.movedim(0, place)


def _reorder(before: Network, after: Network, k: int, new: int) -> None:
    """In cores that were bound to k, the bond is now with the last core, and so the last axis."""
    for a, b in before.bonds:
        if k in (a, b):
            other = b if a == k else a
            axis = _axis(before, other, k)
            after.cores[other] = after.cores[other].movedim(axis, -1)


def _pruned(network: Network, tensor: Tensor, effort: tuple[int, float]) -> Network:
    """Bonds made smaller, one slice at a time, as long as the error stays within bounds."""
    sweeps, tol = effort
    changed = True
    while changed:
        changed = False
        for pair in sorted(network.bonds):
            smaller = _narrowed(network, pair)
            if fit(smaller, tensor, sweeps=sweeps, tol=tol) <= tol:
                network, changed = smaller, True
                break
    return network


def _narrowed(network: Network, pair: tuple[int, int]) -> Network:
    """The weakest slice of a bond left out."""
    i, j = pair
    axes = {i: _axis(network, i, j), j: _axis(network, j, i)}
    strength = torch.ones(())
    for k, axis in axes.items():
        flat = network.cores[k].movedim(axis, 0).flatten(1)
        strength = strength * torch.linalg.vector_norm(flat, dim=1).cpu()
    keep = [n for n in range(len(strength)) if n != int(strength.argmin())]
    other = network.copy()
    other.bonds = _bonds_with(network.bonds, pair, -1)
    for k, axis in axes.items():
        core = network.cores[k]
        core = core.index_select(axis, torch.tensor(keep, device=core.device))
        other.cores[k] = core if len(keep) > 1 else core.squeeze(axis)
    return other
