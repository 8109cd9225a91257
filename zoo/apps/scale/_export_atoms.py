"""Models on atoms as functions of tensors: the graph is an input, derivatives are in the result."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.apps.scale._export_trace import trace
from zoo.datasets.atoms import to_batch
from zoo.errors import UnsupportedElementError, UnsupportedInputError
from zoo.functional import edge_vectors, neighbor_pairs
from zoo.layers.atomistic import AtomGraph
from zoo.models._atomistic import COINCIDENT, AtomisticModel

#: what an artefact takes, in this order
INPUTS = ("atomic_numbers", "pos", "cell", "batch", "pairs", "shift", "charge", "spin")
UNITS = {
    "energy": "eV",
    "forces": "eV/Angstrom",
    "virial": "eV",
    "stress": "eV/Angstrom^3",
    "dipole": "e Angstrom",
    "charges": "e",
}


class TracedAtoms(nn.Module):
    """A model as a function of tensors alone.

    Args:
        model: on atoms.
        head: the energy head; None for a model without one.
    """

    elements: Tensor

    def __init__(self, model: AtomisticModel, head: str | None) -> None:
        super().__init__()
        self.model, self._head, self._names = model, head, outputs(model)
        known = model.allowed.nonzero()[:, 0]
        self.register_buffer("elements", known, persistent=False)

    def forward(
        self,
        atomic_numbers: Int[Tensor, " atoms"],
        pos: Float[Tensor, "atoms 3"],
        cell: Float[Tensor, "graphs 3 3"],
        batch: Int[Tensor, " atoms"],
        pairs: Int[Tensor, "2 pairs"],
        shift: Int[Tensor, "pairs 3"],
        charge: Float[Tensor, " graphs"],
        spin: Float[Tensor, " graphs"],
    ) -> dict[str, Tensor]:
        """Outputs by name; energies (graphs,) eV, forces (atoms, 3) eV/Å, virials (graphs, 3, 3)
        eV among them where the model has them.
        """
        pos = pos.detach().requires_grad_()
        strain = torch.zeros_like(cell).requires_grad_()
        symmetric = 0.5 * (strain + strain.mT)
        moved = pos + torch.einsum("nx,nxy->ny", pos, symmetric[batch])
        vectors = edge_vectors(moved, pairs, shift, batch, cell + cell @ symmetric)
        graph = AtomGraph(
            atomic_numbers=atomic_numbers,
            pairs=pairs,
            vectors=vectors,
            distances=vectors.square().sum(-1).sqrt(),
            batch=batch,
            charge=charge,
            spin=spin,
            num_graphs=cell.shape[0],
            elements=self.elements,
        )
        x = self.model.features(graph)
        found = self.model._properties(x, graph, pos, self._names)
        if self._head is not None:
            found["energy"] = energy = self.model._energies(x, graph, self._head, None)
            wanted = {"forces": pos, "virial": strain}
            wanted = {name: by for name, by in wanted.items() if name in self._names}
            wanted = {name: by for name, by in wanted.items() if name not in found}
            if wanted:
                slopes = torch.autograd.grad(energy.sum(), list(wanted.values()))
                found |= {name: -slope for name, slope in zip(wanted, slopes, strict=True)}
        return {name: found[name].detach() for name in self._names}


def outputs(model: AtomisticModel) -> tuple[str, ...]:
    """What an artefact gives: all that the model can, a derived stress as virial."""
    names = [name for name in model.outputs if name not in model.derived]
    # beside direct forces a derived virial is a backward pass that nobody asked for
    derived = [name for name in model.derived if name != "stress" and not model.direct]
    return (*names, *derived)


def inputs(batch: Any, cutoff: float) -> tuple[Tensor, ...]:
    """What an artefact takes, from a batch on the CPU or a device.

    Raises:
        UnsupportedInputError: for coincident atoms; an artefact doesn't look at numbers itself.
    """
    pairs, shift = neighbor_pairs(batch.pos, cutoff, batch.batch, batch.cell, batch.pbc)
    vectors = edge_vectors(batch.pos, pairs, shift, batch.batch, batch.cell)
    near = vectors.square().sum(-1) < COINCIDENT**2
    if bool(near.any()):
        j, i = pairs[:, near][:, 0].tolist()
        raise UnsupportedInputError(
            f"structure {int(batch.batch[i])}: two atoms coincide (closer than {COINCIDENT} Å; "
            f"numbers {i} and {j} of the batch); remove one of them or check the units"
        )
    graph = (batch.atomic_numbers, batch.pos, batch.cell, batch.batch, pairs, shift)
    return (*graph, batch.charge, batch.spin)


def check_elements(batch: Any, known: Sequence[int], title: str) -> None:
    """Refuses elements that the model may not be used on.

    Raises:
        UnsupportedElementError: names them.
    """
    unknown = sorted(set(batch.atomic_numbers.tolist()) - set(known))
    if unknown:
        raise UnsupportedElementError(
            f"{title} was exported for the elements {list(known)}, not for {unknown}; export a "
            "model that may be used on them"
        )


def lawful(found: Mapping[str, Tensor], batch: Any) -> dict[str, Tensor]:
    """Outputs that the structures allow: a stress if all are periodic, a dipole if none is."""
    out = dict(found)
    full, any_periodic = bool(batch.pbc.all()), bool(batch.pbc.any())
    if full and "virial" in out and "stress" not in out:
        out["stress"] = -out["virial"] / torch.linalg.det(batch.cell).abs()[:, None, None]
    for name, allowed in (("stress", full), ("dipole", not any_periodic)):
        if not allowed:
            out.pop(name, None)
    return out


def examples(model: AtomisticModel) -> list[Atoms]:
    """A molecule and a crystal of elements that the model knows."""
    numbers = [z for z in (1, 6, 8, 29) if bool(model.allowed[z])]
    numbers = numbers or model.allowed.nonzero()[:2, 0].tolist()
    first = Atoms([numbers[k % len(numbers)] for k in range(5)])
    first.positions = [[0, 0, 0], [1.1, 0.1, 0], [-0.4, 1.2, 0.2], [0.3, -0.7, 1.3], [2.0, 1, 1]]
    second = Atoms([numbers[0]] * 3, positions=[[0, 0, 0], [1.3, 0.2, 0.1], [0.1, 1.5, 1.1]])
    second.set_cell([[3.2, 0, 0], [0.3, 3.4, 0], [0, 0.2, 3.6]])
    second.pbc = True
    return [first, second]


def groups(model: AtomisticModel, given: Sequence[Atoms]) -> list[list[Atoms]]:
    """Batches of other sizes than the one that is traced; one of them has no neighbours."""
    first, second = examples(model)
    lone = first[:2]
    lone.positions[1] += 3 * model.cutoff
    found = [[first], [second] * 3, [lone], [first, second, lone, second]]
    return [*found, *([list(given)] if given else [])]


def program(model: AtomisticModel, head: str | None) -> Any:
    """The exported program.

    Raises:
        CapabilityError: if torch can't trace it.
    """
    frames = examples(model)
    # tables that are made on first use are made of numbers, not of what stands for them in a trace
    evaluate(model, frames, head)
    # five structures: sizes that happen to be equal, to 3 axes for instance, count as one to torch
    frames = [frames[k] for k in (0, 1, 0, 1, 0)]
    batch = to_batch(frames, dtype=model.dtype, labels=False).to(model.device)
    atoms, graphs, pairs = (torch.export.Dim(name, min=2) for name in ("atoms", "graphs", "pairs"))
    sizes = ({0: atoms}, {0: atoms}, {0: graphs}, {0: atoms}, {1: pairs}, {0: pairs})
    return trace(
        TracedAtoms(model, head),
        inputs(batch, model.cutoff),
        (*sizes, {0: graphs}, {0: graphs}),
        type(model).__name__,
        derives=True,
    )


def evaluate(model: AtomisticModel, frames: Sequence[Atoms], head: str | None) -> dict[str, Tensor]:
    """What the model says itself, of all that an artefact gives for these structures."""
    periodic = any(frame.pbc.any() for frame in frames)
    names = [name for name in outputs(model) if not (name == "dipole" and periodic)]
    if "stress" in names and not all(frame.pbc.all() for frame in frames):
        names.remove("stress")
    options: dict[str, Any] = {} if head is None else {"head": head}
    return model(list(frames), outputs=tuple(names), create_graph=False, **options)


def describe(model: AtomisticModel) -> dict[str, Any]:
    """What stands in the file about a model on atoms."""
    names = outputs(model)
    return {
        "inputs": list(INPUTS),
        "outputs": list(names),
        "cutoff": model.cutoff,
        "elements": model.allowed.nonzero()[:, 0].tolist(),
        "units": {name: UNITS[name] for name in names if name in UNITS},
    }
