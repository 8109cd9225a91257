"""Structures in one batch, which others may join and some leave, with their neighbours.

State is kept on the host in float64, whatever the model's precision: thousands of small changes of
the positions must not be rounded each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Batch

from zoo.datasets.atoms import narrowed, to_batch
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import neighbor_pairs
from zoo.models._atomistic import AtomisticModel

_FIELDS = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")
_PER_ATOM = frozenset({"atomic_numbers", "pos", "fixed", "masses"})


@dataclass
class Pool:
    """Joined structures, in float64 on the host.

    Attributes:
        fields: `atomic_numbers` (n,), `pos` (n, 3) Å, `fixed` (n,), `masses` (n,) u, `cell`
            (g, 3, 3) Å, `pbc` (g, 3), `charge` and `spin` (g,), and `place` (g,), the number of
            each structure in the caller's list.
        counts: atoms of each structure (g,).
    """

    fields: dict[str, Tensor]
    counts: Int[Tensor, " graphs"]

    @staticmethod
    def of(structures: Sequence[Atoms], places: Sequence[int]) -> "Pool":
        """Joins structures.

        Args:
            structures: at least one.
            places: their numbers.

        Raises:
            UnsupportedInputError: for what `to_batch` refuses, and constraints other than
                `FixAtoms`.
        """
        batch = to_batch(list(structures), dtype=torch.float64, labels=False)
        fields: dict[str, Tensor] = {name: batch[name] for name in _FIELDS}
        fixed = [_fixed(frame, place) for frame, place in zip(structures, places, strict=True)]
        fields["fixed"] = torch.from_numpy(np.concatenate(fixed))
        masses = np.concatenate([frame.get_masses() for frame in structures])
        fields["masses"] = torch.from_numpy(masses)
        fields["place"] = torch.tensor(list(places))
        return Pool(fields, batch.ptr.diff())

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def size(self) -> int:
        """Atoms in all."""
        return int(self.counts.sum())

    @property
    def owner(self) -> Int[Tensor, " atoms"]:
        """The structure of each atom."""
        return torch.arange(len(self)).repeat_interleave(self.counts)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """A per-atom tensor, structure by structure."""
        parts: tuple[Tensor, ...] = values.split(self.counts.tolist())
        return parts

    def keep(self, graphs: Bool[Tensor, " graphs"]) -> "Pool":
        """Only these structures."""
        atoms = graphs[self.owner]
        kept = {n: v[atoms if n in _PER_ATOM else graphs] for n, v in self.fields.items()}
        return Pool(kept, self.counts[graphs])

    def join(self, other: "Pool") -> "Pool":
        """These structures, then others."""
        fields = {name: torch.cat([v, other.fields[name]]) for name, v in self.fields.items()}
        return Pool(fields, torch.cat([self.counts, other.counts]))

    def batch(self, dtype: torch.dtype) -> Batch:
        """What a model takes; positions count from each structure's centre, to be rounded less."""
        return narrowed({name: self.fields[name] for name in _FIELDS}, self.counts.tolist(), dtype)


def per_graph(values: Float[Tensor, "rows *rest"], owner: Tensor, graphs: int) -> Tensor:
    """Sums over the rows of each structure (graphs, *rest)."""
    return values.new_zeros((graphs, *values.shape[1:])).index_add_(0, owner, values)


def largest(values: Float[Tensor, " rows"], owner: Tensor, graphs: int) -> Float[Tensor, " graphs"]:
    """The largest of the rows of each structure, at least zero."""
    return values.new_zeros(graphs).scatter_reduce_(0, owner, values, "amax")


def _fixed(frame: Atoms, place: int) -> np.ndarray:
    """Which atoms are held (n,).

    Raises:
        UnsupportedInputError: for any constraint but `FixAtoms`.
    """
    fixed = np.zeros(len(frame), dtype=bool)
    for constraint in frame.constraints:
        if not isinstance(constraint, FixAtoms):
            raise UnsupportedInputError(
                f"structure {place} has the constraint {type(constraint).__name__}; only FixAtoms "
                "is known here: remove it with atoms.set_constraint(), or use ASE's own tools with "
                "model.calculator()"
            )
        fixed[constraint.index] = True
    return fixed


class Neighbors:
    """Neighbour lists that outlast small moves (Verlet, Phys. Rev. 159, 98 (1967)).

    Pairs closer than cutoff + skin are kept until an atom of their structure has moved by half the
    skin; from them each call takes those that are closer than the cutoff, so that the model sees
    what a new list would hold.

    Args:
        cutoff: Å.
        skin: Å; zero makes a new list every time.

    Attributes:
        built: how many lists of single structures were made.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not skin >= 0.0:
            raise ConfigError(f"skin is {skin} Å; expected zero or more")
        self.cutoff, self.skin = cutoff, skin
        self.built = 0
        # by place of the structure: pairs from its first atom on, images, and where they were found
        self._kept: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        self._joined: tuple[list[int], Tensor, Tensor] | None = None

    def update(self, pool: Pool) -> tuple[Int[Tensor, "2 pairs"], Int[Tensor, "pairs 3"]]:
        """Pairs closer than the cutoff, as `neighbor_pairs` gives them."""
        places = pool.fields["place"].tolist()
        stale = self._stale(pool, places)
        if bool(stale.any()):
            self._build(pool, stale)
        if self._joined is None or self._joined[0] != places or bool(stale.any()):
            self._kept = {place: self._kept[place] for place in places}
            starts = (pool.counts.cumsum(0) - pool.counts).tolist()
            lists = [self._kept[place] for place in places]
            pairs = [entry[0] + start for entry, start in zip(lists, starts, strict=True)]
            self._joined = places, torch.cat(pairs, dim=1), torch.cat([e[1] for e in lists])
        _, index, shift = self._joined
        if self.skin == 0.0:
            return index, shift
        near = self._near(pool, index, shift)
        return index[:, near], shift[near]

    def state(self) -> dict[str, np.ndarray]:
        """The lists, to be restored to the last bit: the order of pairs is that of sums."""
        pairs, images, pos, cells = zip(*self._kept.values(), strict=True)
        return {
            "place": np.array(list(self._kept)),
            "sizes": np.array([len(entry) for entry in images]),
            "counts": np.array([len(entry) for entry in pos]),
            "pairs": torch.cat(pairs, dim=1).numpy(),
            "images": torch.cat(images).numpy(),
            "pos": torch.cat(pos).numpy(),
            "cell": torch.stack(cells).numpy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` gave."""
        held = {name: torch.from_numpy(array) for name, array in state.items()}
        sizes, counts = held["sizes"].tolist(), held["counts"].tolist()
        entries = zip(
            held["pairs"].split(sizes, dim=1),
            held["images"].split(sizes),
            held["pos"].split(counts),
            held["cell"],
            strict=True,
        )
        self._kept = dict(zip(held["place"].tolist(), entries, strict=True))

    def _near(self, pool: Pool, index: Tensor, shift: Tensor) -> Tensor:
        source, target = index
        pos = pool.fields["pos"]
        vectors = pos.index_select(0, source) - pos.index_select(0, target)
        if bool(pool.fields["pbc"].any()):
            lattice = pool.fields["cell"].index_select(0, pool.owner.index_select(0, target))
            vectors = vectors + torch.einsum("es,esx->ex", shift.to(pos.dtype), lattice)
        return vectors.square().sum(1) < self.cutoff**2

    def _stale(self, pool: Pool, places: Sequence[int]) -> Tensor:
        """Structures without a list, or whose atoms or cell have moved too far from it."""
        if self.skin == 0.0:
            return torch.ones(len(places), dtype=torch.bool)
        known = [place in self._kept for place in places]
        parts = pool.split(pool.fields["pos"])
        old = [
            self._kept[place][2] if there else part
            for place, there, part in zip(places, known, parts, strict=True)
        ]
        moved = (pool.fields["pos"] - torch.cat(old)).square().sum(1)
        far = largest(moved, pool.owner, len(places)) > (0.5 * self.skin) ** 2
        cells = [
            self._kept[place][3] if there else cell
            for place, there, cell in zip(places, known, pool.fields["cell"], strict=True)
        ]
        bent = (pool.fields["cell"] != torch.stack(cells)).any(dim=(1, 2))
        return far | bent | ~torch.tensor(known)

    def _build(self, pool: Pool, stale: Tensor) -> None:
        part = pool.keep(stale)
        fields, owner = part.fields, part.owner
        reach = self.cutoff + self.skin
        found = neighbor_pairs(fields["pos"], reach, owner, fields["cell"], fields["pbc"])
        index, shift = found
        sizes = torch.bincount(owner[index[1]], minlength=len(part)).tolist()
        starts = (part.counts.cumsum(0) - part.counts).tolist()
        pieces = zip(
            fields["place"].tolist(),
            index.split(sizes, dim=1),
            shift.split(sizes),
            part.split(fields["pos"]),
            fields["cell"],
            starts,
            strict=True,
        )
        for place, pairs, images, pos, cell, start in pieces:
            self._kept[place] = (pairs - start, images, pos, cell)
        self.built += len(part)


@dataclass
class Values:
    """What a model says of a pool: `energy` (g,) eV, `forces` (n, 3) eV/Å, `stress` (g, 3, 3)
    eV/Å³ or None, all in float64 on the host."""

    energy: Float[Tensor, " graphs"]
    forces: Float[Tensor, "atoms 3"]
    stress: Float[Tensor, "graphs 3 3"] | None


class Evaluator:
    """Energies and forces of a pool in one call of a model.

    Args:
        model: in the precision and on the device to use.
        head: the energy head; the first if None.
        skin: of the neighbour lists (Å).
        stress: whether stress is wanted too.

    Attributes:
        neighbors: the lists.

    Raises:
        UnknownHeadError: for a head that the model does not have.
        CapabilityError: for a model without energies.
    """

    def __init__(
        self, model: AtomisticModel, *, head: str | None, skin: float, stress: bool = False
    ) -> None:
        self._model = model
        self._head = model.find_head(head)
        self.neighbors = Neighbors(model.cutoff, skin)
        self._outputs = ("energy", "forces", "stress") if stress else ("energy", "forces")

    def __call__(self, pool: Pool) -> Values:
        """Evaluates all structures of the pool.

        Raises:
            UnsupportedInputError: if one of them is nothing the model can take.
        """
        model = self._model
        batch = pool.batch(model.dtype)
        batch.pair_index, batch.pair_shift = self.neighbors.update(pool)
        batch.pair_cutoff = torch.full((len(pool),), model.cutoff, dtype=torch.float64)
        out = model(
            batch.to(model.device), outputs=self._outputs, head=self._head, create_graph=False
        )
        found = {name: value.detach().cpu().double() for name, value in out.items()}
        return Values(found["energy"], found["forces"], found.get("stress"))

    def check(self, structures: Sequence[Atoms], places: Sequence[int]) -> Pool:
        """Structures as a pool, if the model can take all of them.

        Raises:
            UnsupportedInputError: says why not.
        """
        pool = Pool.of(structures, places)
        self._model._check_batch(pool.batch(self._model.dtype).to(self._model.device))
        return pool
