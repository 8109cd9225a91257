"""Properties that a molecule has one number of, and how atoms add up to them.

The names are those of the labels of data sets; the targets of QM9 are among them. A head gives a
number per atom; it is summed over the atoms where the property grows with the molecule (extensive),
and averaged where it doesn't (intensive).
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from zoo.functional import scatter_mean, scatter_sum
from zoo.layers.atomistic._features import AtomGraph
from zoo.layers.atomistic._reference import EnergyScale

#: name -> unit; the norm of the dipole, the isotropic polarizability, the orbital energies and
#: their difference, the electronic spatial extent, the zero-point energy, the internal energy at
#: 0 K and at 298.15 K, enthalpy, free energy and heat capacity there
SCALARS: Mapping[str, str] = {
    "dipole_norm": "e Angstrom",
    "alpha": "Angstrom^3",
    "homo": "eV",
    "lumo": "eV",
    "gap": "eV",
    "r2": "Angstrom^2",
    "zpve": "eV",
    "u0": "eV",
    "u298": "eV",
    "h298": "eV",
    "g298": "eV",
    "cv": "eV/K",
}
#: which of them don't grow with the molecule
INTENSIVE = frozenset({"homo", "lumo", "gap"})
#: total energies, in double precision as "energy" is
TOTALS = frozenset({"u0", "u298", "h298", "g298"})


class ScalarScale(EnergyScale):
    """P = sum or mean over atoms of (scale p_i + shift + reference[z_i]), in float64.

    Args:
        mean: whether the mean is taken; `offset`, in units of the property, is added in any case.
    """

    def __init__(self, *, mean: bool) -> None:
        super().__init__()
        self.mean = mean

    def forward(
        self,
        atomic: Float[Tensor, " atoms"],
        atomic_numbers: Int[Tensor, " atoms"],
        batch: Int[Tensor, " atoms"],
        size: int,
    ) -> Float[Tensor, " graphs"]:
        """The property of each structure, float64."""
        reduce = scatter_mean if self.mean else scatter_sum
        return reduce(self.shifted(atomic, atomic_numbers), batch, size) + self.offset


def balanced(raw: Float[Tensor, " atoms"], graph: AtomGraph) -> Float[Tensor, " atoms"]:
    """Atomic charges (e), shifted alike in each structure so that they add up to its charge."""
    size, batch = graph.num_graphs, graph.batch
    atoms = scatter_sum(raw.new_ones(raw.shape[0]), batch, size).clamp(min=1)
    total = scatter_sum(raw, batch, size)
    return raw - ((total - graph.charge) / atoms)[batch]
