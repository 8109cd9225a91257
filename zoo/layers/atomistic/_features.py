"""What goes into an architecture on atoms and what comes out, before the heads."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class AtomGraph:
    """A batch of structures with its neighbours, ready for an architecture.

    Each pair of neighbours stands once; `vectors` point from the pair's target (row 1 of `pairs`)
    to its source (row 0). Full edge lists are the pairs and their reversals. `elements` are the
    atomic numbers that can occur, ascending, where a model is traced: how many kinds of atoms there
    are must not depend on the batch then.
    """

    atomic_numbers: Int[Tensor, " atoms"]
    pairs: Int[Tensor, "2 pairs"]
    vectors: Float[Tensor, "pairs 3"]
    distances: Float[Tensor, " pairs"]
    batch: Int[Tensor, " atoms"]
    charge: Float[Tensor, " graphs"]
    spin: Float[Tensor, " graphs"]
    num_graphs: int
    elements: Int[Tensor, " kinds"] | None = None

    def kinds(self) -> tuple[Int[Tensor, " kinds"], Int[Tensor, " atoms"]]:
        """Atomic numbers, ascending, and which of them each atom has."""
        if self.elements is None:
            numbers, kind = torch.unique(self.atomic_numbers, return_inverse=True)
            return numbers, kind
        return self.elements, torch.searchsorted(self.elements, self.atomic_numbers)


@dataclass
class AtomFeatures:
    """Equivariant features of atoms: scalars, polar vectors, symmetric traceless tensors.

    `tensors` are in the orthonormal components of `zoo.functional.cartesian`. `state` is what the
    architecture's own heads need beyond that; nothing else looks at it.
    """

    scalars: Float[Tensor, "atoms features"]
    vectors: Float[Tensor, "3 atoms channels"] | None = None
    tensors: Float[Tensor, "5 atoms channels"] | None = None
    state: Any = None
