"""The base of architectures on atoms: from structures to energies, forces, stress and properties.

An architecture implements `features` alone. The base builds the batch and the neighbour list,
runs the heads, adds reference energies in float64, and differentiates: forces are -dE/dr and the
stress is (1/V) dE/dε for a symmetric strain ε that acts on the rows of positions and cell as
x -> x (1 + ε) (ASE's sign: positive under tension).

A model may have several energy heads on one trunk, one for each level of theory: "energy", and
others as "energy/<name>". Each has its own references, scale and offset. The first one answers
where none is named.

The heads "forces" and "stress" are direct: they replace the derivatives of the same name, need no
backward pass, and make the model non-conservative.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.datasets.atoms import to_batch
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    UnsupportedElementError,
    UnsupportedInputError,
    nearest,
)
from zoo.functional import edge_vectors, neighbor_pairs
from zoo.layers.atomistic import (
    INTENSIVE,
    SCALARS,
    AtomFeatures,
    AtomGraph,
    EnergyScale,
    OutputScale,
    ScalarScale,
    new_head,
)
from zoo.layers.atomistic._names import DIRECT, check_heads
from zoo.layers.atomistic._reference import ELEMENTS
from zoo.models._heads import EnergyHeads

#: below this distance (Å) two atoms count as coincident: directions are no longer defined
COINCIDENT = 1e-6


class AtomisticModel(EnergyHeads):
    """A model on atoms; architectures derive from it and implement `features`.

    Args:
        cutoff: distance (Å) below which atoms are neighbours.
        heads: "energy", "dipole", "polarizability", "energy/<name>" for further energy heads,
            the direct "forces" and "stress", "charges" of atoms, and scalar properties by the
            names of their labels (`zoo.layers.atomistic.SCALARS`).
        features: scalars per atom that `features` gives.
        channels: vector and tensor channels that `features` gives.
        max_z: largest atomic number that can be embedded.
        own_heads: the architecture's own heads, by kind: functions that make one with fresh
            weights. Called as those of `zoo.layers.atomistic`: energy heads with the features
            alone, "forces" and "stress" with the features and the graph. They find what they need
            in `AtomFeatures.state`.
        intensive: scalar properties that are means over the atoms; the others are sums.

    Raises:
        UnknownHeadError: for an unknown head.
        ConfigError: for a repeated head, or none at all, or an impossible cutoff.
    """

    architecture: str
    hparams: dict[str, Any]
    allowed: Tensor
    #: whether the symmetry is exact; false where a nonlinearity on a grid of the sphere aliases
    exact: bool = True

    def __init__(
        self,
        *,
        cutoff: float,
        heads: Sequence[str],
        features: int,
        channels: int,
        max_z: int,
        own_heads: Mapping[str, Callable[[], nn.Module]] | None = None,
        intensive: Collection[str] = INTENSIVE,
    ) -> None:
        super().__init__()
        if not cutoff > 0:
            raise ConfigError(f"cutoff is {cutoff} Å; expected a positive distance")
        check_heads(heads)
        self.cutoff = float(cutoff)
        self.max_z = max_z
        own = own_heads or {}
        self.heads = nn.ModuleDict(
            {
                entry: own[kind]() if kind in own else new_head(entry, features, channels)
                for entry, kind in ((entry, entry.partition("/")[0]) for entry in heads)
            }
        )
        self.energy_scale = EnergyScale()
        named = [name for name in self.energy_heads if name != "energy"]
        #: of the energy heads other than "energy", by name
        self.energy_scales = nn.ModuleDict({name: EnergyScale() for name in named})
        #: of the direct heads, by kind
        self.direct_scales = nn.ModuleDict({k: OutputScale() for k in DIRECT if k in heads})
        #: of scalar properties, by name
        self.scalar_scales = nn.ModuleDict(
            {name: ScalarScale(mean=name in intensive) for name in heads if name in SCALARS}
        )
        self.trained_elements: dict[int, int] | None = None
        self.manifest: Any = None
        self.checkpoint_name: str | None = None
        #: the training domain (`zoo.models._trust.Trust`), where it is stored with the weights
        self.trust: Any = None
        # not a buffer of the checkpoint: which elements were seen is the manifest's business
        self.register_buffer("allowed", torch.ones(ELEMENTS, dtype=torch.bool), persistent=False)
        self.allowed[max_z + 1 :] = False
        self.allowed[0] = False

    # --- what an architecture provides -----------------------------------------------------

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Equivariant features of each atom, from displacements and atomic numbers."""
        raise CapabilityError(f"{type(self).__name__} does not define features(graph)")

    def embedding(self) -> nn.Embedding:
        """The table of element embeddings, one row per atomic number."""
        raise CapabilityError(f"{type(self).__name__} does not define embedding()")

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, heads last; what `freeze:N` counts."""
        raise CapabilityError(f"{type(self).__name__} does not define blocks()")

    # --- calling -------------------------------------------------------------------------

    def __call__(self, inputs: Atoms | Sequence[Atoms] | Data, **options: Any) -> dict[str, Tensor]:
        """Evaluates structures.

        Args:
            inputs: ASE structures (Å), one or several, or a batch from `zoo.to_batch`.
            **options: `outputs`, names to compute (default: all lawful ones but the virial and,
                beside direct forces, a stress that would need a backward pass);
                `head`, the energy head (default: the first of `energy_heads`, or for each
                structure the one that `batch.head` counts); `create_graph`, whether outputs can
                be differentiated further (default: when training); `observe`, called with the graph
                and the features of its atoms.

        Returns:
            `energy` (graphs,) eV float64, `forces` (atoms, 3) eV/Å, `stress` (graphs, 3, 3) eV/Å³
            if every structure has three periodic directions, and what the other heads give.
            `direct` tells which of them are no derivatives of the energy.

        Raises:
            UnsupportedElementError: for an element the model may not be used on.
            UnsupportedInputError: for coincident atoms.
            CapabilityError: for an output the model or the structures do not allow.
            UnknownHeadError: for a head that the model does not have.
        """
        result: dict[str, Tensor] = super().__call__(self.prepare(inputs), **options)
        return result

    def prepare(self, inputs: Atoms | Sequence[Atoms] | Data) -> Data:
        """The batch of the given structures, in the model's precision and on its device."""
        if isinstance(inputs, Data):
            return inputs
        return to_batch(inputs, dtype=self.dtype, labels=False, centre=True).to(self.device)

    def forward(
        self,
        batch: Data,
        *,
        outputs: Sequence[str] | None = None,
        head: str | None = None,
        create_graph: bool | None = None,
        observe: Callable[[AtomGraph, AtomFeatures], None] | None = None,
    ) -> dict[str, Tensor]:
        """Evaluates a batch; see `__call__`."""
        batch = batch if isinstance(batch, Batch) else Batch.from_data_list([batch])
        self._check_batch(batch)
        index = self._head_index(batch, head)
        head = head if head is None else self.find_head(head)
        wanted = self._wanted(batch, outputs)
        keep = self.training if create_graph is None else create_graph
        derived = [name for name in wanted if name in self.derived]
        # without a derivative and without use for a graph, none is kept
        with torch.set_grad_enabled(bool(derived) or (keep and torch.is_grad_enabled())):
            pos, strain, graph = self._graph(batch, derived)
            x = self.features(graph)
            if observe is not None:
                observe(graph, x)
            result = self._properties(x, graph, pos, wanted)
            if self.energy_heads and (derived or "energy" in wanted):
                result["energy"] = self._energies(x, graph, head, index)
            if derived:
                found = self._differentiate(result["energy"], pos, strain, batch, keep)
                result |= {name: found[name] for name in derived}
        if not keep:
            result = {name: value.detach() for name, value in result.items()}
        return {name: result[name] for name in wanted}

    # --- capabilities ----------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def head_parameters(self) -> Iterator[str]:
        """Names of the parameters of the heads."""
        return (name for name, _ in self.named_parameters() if name.startswith("heads."))

    def calculator(self, head: str | None = None, *, trust: str | None = None) -> Any:
        """An ASE calculator of this model: energy, forces and, where lawful, stress.

        Args:
            head: the energy head; the first if None.
            trust: "warn" of structures outside the training domain, or "refuse" them.

        Raises:
            UnknownHeadError: for a head that the model does not have.
            CapabilityError: with `trust`, if no training domain is stored with the weights.
        """
        from zoo.models._calculator import ZooCalculator

        return ZooCalculator(self, head=head, trust=trust)

    # --- elements --------------------------------------------------------------------------

    def restrict_elements(
        self, counts: Mapping[int, int] | None, *, allow_untrained: bool = False
    ) -> None:
        """Says which elements the weights have seen, and refuses the others unless allowed.

        Args:
            counts: atoms seen by atomic number; None lifts every restriction.
            allow_untrained: accept elements that were never seen.
        """
        self.trained_elements = None if counts is None else {int(z): n for z, n in counts.items()}
        inside = torch.arange(ELEMENTS, device=self.allowed.device)
        inside = (inside > 0) & (inside <= self.max_z)
        if counts is not None and not allow_untrained:
            seen = torch.zeros_like(inside)
            seen[[int(z) for z, n in counts.items() if n > 0]] = True
            inside &= seen
        self.allowed = inside

    @torch.no_grad()
    def add_elements(self, numbers: Sequence[int]) -> None:
        """Admits new elements; their embeddings start at the mean of the trained ones.

        Args:
            numbers: atomic numbers.

        Raises:
            ConfigError: if one is beyond `max_z`.
        """
        if any(not 0 < z <= self.max_z for z in numbers):
            raise ConfigError(f"elements {sorted(numbers)}: this model embeds 1 to {self.max_z}")
        table = self.embedding().weight
        seen = [z for z, n in (self.trained_elements or {}).items() if n > 0]
        new = [z for z in numbers if z not in seen]
        if seen and new:
            table[new] = table[seen].mean(dim=0)
        if self.trained_elements is not None:
            self.trained_elements |= {z: 0 for z in new}
        self.allowed[list(numbers)] = True

    # --- steps of forward --------------------------------------------------------------------

    def _check_batch(self, batch: Data) -> None:
        if batch.pos.dtype != self.dtype:
            raise DataError(
                f"the batch has {batch.pos.dtype} positions but the model is {self.dtype}; use "
                "zoo.to_batch(atoms, dtype=model.dtype) or cast the model"
            )
        numbers = batch.atomic_numbers
        if bool(((numbers < 0) | (numbers >= ELEMENTS)).any()):
            raise UnsupportedElementError(
                f"atomic numbers lie in {int(numbers.min())}..{int(numbers.max())}; expected 1..118"
            )
        if not bool(self.allowed[numbers].all()):
            self._refuse_elements(numbers)

    def _refuse_elements(self, numbers: Tensor) -> None:
        unseen = sorted(set(numbers[~self.allowed[numbers]].tolist()))
        names = ", ".join(f"{chemical_symbols[z]} (seen 0 times)" for z in unseen)
        known = [chemical_symbols[z] for z in sorted(self.trained_elements or {})]
        trained = f"; its weights know {', '.join(known)}" if known else f"; max_z is {self.max_z}"
        name = self.checkpoint_name or type(self).__name__
        raise UnsupportedElementError(
            f"{name} was not trained on {names}{trained}. Fine-tune with --new-elements, or load "
            "with allow_untrained_elements=True to extrapolate at your own risk"
        )

    def _wanted(self, batch: Data, outputs: Sequence[str] | None) -> tuple[str, ...]:
        full = bool(batch.pbc.all())
        if outputs is None:
            names = [n for n in self.outputs if n not in ("virial", "stress", "dipole")]
            # direct forces are asked for to spare the backward pass that a derived stress needs
            cheap = "stress" in self.heads or "forces" not in self.direct
            names += ["stress"] if full and cheap and "stress" in self.outputs else []
            open_only = not bool(batch.pbc.any())
            names += ["dipole"] if open_only and "dipole" in self.outputs else []
            return tuple(names)
        for name in outputs:
            if name not in self.outputs:
                raise CapabilityError(f"no output {name!r}: {nearest(name, self.outputs)}")
        if "stress" in outputs and not full:
            raise CapabilityError(
                "stress needs three periodic directions in every structure; ask for 'virial', or "
                "set pbc=True and a cell"
            )
        if "dipole" in outputs and bool(batch.pbc.any()):
            raise CapabilityError("a periodic structure has no dipole; set pbc=False or omit it")
        return tuple(outputs)

    def _graph(
        self, batch: Data, derived: Sequence[str]
    ) -> tuple[Tensor, Tensor | None, AtomGraph]:
        pos, cell = batch.pos, batch.cell
        if derived and not pos.requires_grad:
            pos = pos.detach().requires_grad_()
        source, strain = pos, None
        if "stress" in derived or "virial" in derived:
            strain = torch.zeros_like(cell, requires_grad=True)
            symmetric = 0.5 * (strain + strain.mT)
            pos = pos + torch.einsum("nx,nxy->ny", pos, symmetric[batch.batch])
            cell = cell + cell @ symmetric
        pairs, shift = self._pairs(batch)
        periodic = cell if bool(batch.pbc.any()) else None
        vectors = edge_vectors(pos, pairs, shift, batch.batch, periodic)
        squared = vectors.square().sum(-1)
        if bool((squared < COINCIDENT**2).any()):
            self._refuse_coincident(pairs[:, squared < COINCIDENT**2], batch)
        graph = AtomGraph(
            atomic_numbers=batch.atomic_numbers,
            pairs=pairs,
            vectors=vectors,
            distances=squared.sqrt(),
            batch=batch.batch,
            charge=batch.charge,
            spin=batch.spin,
            num_graphs=batch.num_graphs,
        )
        return source, strain, graph

    def _pairs(self, batch: Data) -> tuple[Int[Tensor, "2 pairs"], Int[Tensor, "pairs 3"]]:
        """The pairs that the batch carries for this cutoff, or new ones."""
        carried = batch.get("pair_cutoff")
        if carried is not None and bool((carried == self.cutoff).all()):
            return batch.pair_index, batch.pair_shift
        return neighbor_pairs(batch.pos, self.cutoff, batch.batch, batch.cell, batch.pbc)

    def _refuse_coincident(self, pairs: Tensor, batch: Data) -> None:
        j, i = pairs[:, 0].tolist()
        graph = int(batch.batch[i])
        start = int(batch.ptr[graph])
        raise UnsupportedInputError(
            f"structure {graph}: atoms {i - start} and {j - start} coincide (closer than "
            f"{COINCIDENT} Å); remove one of them or check the units of the positions"
        )

    def _differentiate(
        self, energies: Tensor, pos: Tensor, strain: Tensor | None, batch: Data, keep: bool
    ) -> dict[str, Tensor]:
        inputs = [pos] if strain is None else [pos, strain]
        energy = energies.sum()
        slopes = [torch.zeros_like(value) for value in inputs]
        if energy.requires_grad:  # else: no pair of neighbours anywhere
            slopes = list(
                torch.autograd.grad(
                    energy,
                    inputs,
                    create_graph=keep,
                    retain_graph=keep,
                    allow_unused=True,
                    materialize_grads=True,
                )
            )
        result = {"forces": -slopes[0]}
        if strain is not None:
            virial: Float[Tensor, "graphs 3 3"] = -slopes[1]
            result["virial"] = virial
            volume = torch.linalg.det(batch.cell).abs()
            result["stress"] = -virial / volume[:, None, None]
        return result
