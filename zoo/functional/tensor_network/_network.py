"""Networks of any structure: cores with bonds between any two of them, and their fit to a tensor.

The fit is alternating least squares: with all other cores fixed the tensor is linear in one.
"""

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.functional.tensor_network._path import contract

Bonds = dict[tuple[int, int], int]


@dataclass
class Network:
    """Cores and the bonds between them.

    Attributes:
        dims: size of each core's mode; 0 for a core without one.
        bonds: rank by pair of cores (i < j); pairs that are not named have none.
        cores: axes (mode, if any, then bonds in the order of the other core).
    """

    dims: tuple[int, ...]
    bonds: Bonds
    cores: list[Tensor]

    @property
    def num_parameters(self) -> int:
        """Numbers in the cores."""
        return sum(core.numel() for core in self.cores)

    def to_tensor(self) -> Tensor:
        """The tensor, its modes in the order of the cores that have one."""
        terms, output = _terms(self.dims, self.bonds)
        return contract(f"{','.join(terms)}->{output}", *self.cores)

    def error(self, tensor: Tensor) -> float:
        """Relative, in the Frobenius norm."""
        norm = float(torch.linalg.vector_norm(tensor))
        difference = float(torch.linalg.vector_norm(self.to_tensor() - tensor))
        return difference / norm if norm else difference

    def copy(self) -> "Network":
        """One of its own; cores are shared until they are replaced."""
        return Network(self.dims, dict(self.bonds), list(self.cores))


def core_shape(dims: Sequence[int], bonds: Mapping[tuple[int, int], int], k: int) -> list[int]:
    """Shape of a core."""
    mine = sorted((pair for pair in bonds if k in pair), key=lambda pair: _other(pair, k))
    return ([dims[k]] if dims[k] else []) + [bonds[pair] for pair in mine]


def random_network(
    dims: Sequence[int], bonds: Bonds, like: Tensor, generator: torch.Generator
) -> Network:
    """Normal cores, for a tensor of about unit entries.

    Args:
        dims: of the modes.
        bonds: ranks.
        like: gives precision and device.
        generator: of the numbers, on the CPU.
    """
    cores = []
    for k in range(len(dims)):
        shape = core_shape(dims, bonds, k)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        rank = math.prod(shape) // max(dims[k], 1)
        cores.append((drawn / rank**0.25).to(like))
    return Network(tuple(dims), dict(bonds), cores)


def fit(
    network: Network,
    tensor: Tensor,
    *,
    sweeps: int = 100,
    tol: float = 1e-10,
    only: Sequence[int] | None = None,
) -> float:
    """Alternating least squares, in place.

    Args:
        network: changed.
        tensor: to approach; its modes in the order of the cores that have one.
        sweeps: over the cores, at most.
        tol: ends when the relative error falls by less than a hundredth of itself and this.
        only: cores to change; all if None.

    Returns:
        The relative error.
    """
    before = math.inf
    places = list(range(len(network.cores))) if only is None else list(only)
    for _ in range(sweeps):
        for k in places:
            network.cores[k] = _solve(network, tensor, k)
        error = network.error(tensor)
        if error < tol or before - error < 1e-2 * tol + 1e-4 * error:
            break
        before = error
    return error


def _solve(network: Network, tensor: Tensor, k: int) -> Tensor:
    """The core that is best with all others fixed."""
    terms, output = _terms(network.dims, network.bonds)
    own = [c for c in terms[k] if c not in output]
    mode = [c for c in terms[k] if c in output]
    rest = "".join(c for c in output if c not in mode)
    others = [term for n, term in enumerate(terms) if n != k]
    cores = [core for n, core in enumerate(network.cores) if n != k]
    if not others:
        return tensor
    design = contract(f"{','.join(others)}->{rest}{''.join(own)}", *cores)
    rows = math.prod(design.shape[: len(rest)])
    design = design.reshape(rows, -1)
    target = tensor.movedim(output.index(mode[0]), -1) if mode else tensor[..., None]
    # on the CPU torch has the solver that copes with cores of too large a rank
    solved = torch.linalg.lstsq(design.cpu(), target.reshape(rows, -1).cpu()).solution
    solution: Tensor = solved.to(tensor.device)
    shape = core_shape(network.dims, network.bonds, k)
    return solution.mT.reshape(shape) if mode else solution[:, 0].reshape(shape)


def _other(pair: tuple[int, int], k: int) -> int:
    return pair[1] if pair[0] == k else pair[0]


def _terms(dims: Sequence[int], bonds: Mapping[tuple[int, int], int]) -> tuple[list[str], str]:
    """Indices of each core, and of the tensor."""
    letters = iter(string.ascii_letters)
    modes = [next(letters) if d else "" for d in dims]
    names = {pair: next(letters) for pair in sorted(bonds)}
    terms = []
    for k, mode in enumerate(modes):
        mine = sorted((pair for pair in names if k in pair), key=lambda pair: _other(pair, k))
        terms.append(mode + "".join(names[pair] for pair in mine))
    return terms, "".join(modes)
