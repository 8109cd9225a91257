"""Models as artefacts: one file that torch runs without our code for the architecture.

The graph is an input, and the numbers of atoms, pairs and structures are free. Forces and virials
are in the artefact: they are traced as what they are, derivatives (`make_fx` follows the backward
pass), and the result is exported like any other network. Artefacts are held against the model
before they are kept: on a molecule and a crystal, and on given structures (`zoo export` gives the
golden inputs of the checkpoint).
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from zoo._files import write_atomic
from zoo.datasets.atoms import to_batch
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    GoldenMismatchError,
    SpecError,
    UnsupportedElementError,
)
from zoo.functional import edge_vectors, neighbor_pairs
from zoo.layers.atomistic import AtomGraph
from zoo.models._atomistic import AtomisticModel

FORMS = ("torch.export", "aotinductor")
#: how far an artefact may be from the model, relative to the largest value and by precision
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_INFO = "zoo.json"


class Traced(nn.Module):
    """A model as a function of tensors alone.

    Args:
        model: with an energy head.
        head: which one.
    """

    elements: Tensor

    def __init__(self, model: AtomisticModel, head: str) -> None:
        super().__init__()
        self.model, self._head = model, head
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energies (graphs,) eV, forces (atoms, 3) eV/Å, virials (graphs, 3, 3) eV."""
        pos = pos.detach().requires_grad_()
        strain = torch.zeros_like(cell).requires_grad_()
        symmetric = 0.5 * (strain + strain.mT)
        moved = pos + torch.einsum("nx,nxy->ny", pos, symmetric[batch])
        lattice = cell + cell @ symmetric
        vectors = edge_vectors(moved, pairs, shift, batch, lattice)
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
        energy = self.model._energies(self.model.features(graph), graph, self._head, None)
        slopes = torch.autograd.grad(energy.sum(), [pos, strain])
        return energy.detach(), -slopes[0], -slopes[1]


class Exported:
    """An artefact, called like the model it came from.

    Args:
        path: of the file.

    Raises:
        DataError: for a file that is none of ours.
        SpecError: for one that another torch compiled.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"there is no file {self.path}; make one with zoo export")
        self._run, self.info = _opened(self.path)
        self.cutoff = float(self.info["cutoff"])
        self.dtype = getattr(torch, self.info["dtype"])

    def __call__(self, inputs: Atoms | Sequence[Atoms]) -> dict[str, Tensor]:
        """`energy` (graphs,) eV float64, `forces` (atoms, 3) eV/Å, `virial` (graphs, 3, 3) eV and,
        where all structures have three periodic directions, `stress` eV/Å³.

        Raises:
            UnsupportedElementError: for an element that the model may not be used on.
        """
        batch = to_batch(inputs, dtype=self.dtype, labels=False)
        unknown = set(batch.atomic_numbers.tolist()) - set(self.info["elements"])
        if unknown:
            raise UnsupportedElementError(
                f"{self.path} was exported for the elements {self.info['elements']}, not for "
                f"{sorted(unknown)}; export a model that may be used on them"
            )
        with torch.no_grad():  # the derivatives are in the artefact
            energy, forces, virial = self._run(*graph_inputs(batch, self.cutoff))
        out = {"energy": energy, "forces": forces, "virial": virial}
        if bool(batch.pbc.all()):
            out["stress"] = -virial / torch.linalg.det(batch.cell).abs()[:, None, None]
        return out


def export(
    model: AtomisticModel,
    path: str | Path,
    *,
    form: str = "torch.export",
    head: str | None = None,
    structures: Sequence[Atoms] | None = None,
) -> dict[str, Any]:
    """Writes a model as an artefact, if it says what the model says.

    Args:
        model: with energies that its forces derive from.
        path: the file; `.pt2` is usual.
        form: "torch.export", which any later torch of the same major version reads, or
            "aotinductor", machine code for this device and this torch.
        head: the energy head; the first if None.
        structures: what the artefact is compared on, beside a molecule and a crystal of elements
            that the model knows.

    Returns:
        What stands in the file beside the network, and the largest relative `difference`.

    Raises:
        CapabilityError: for an architecture that can't be traced, and direct forces.
        GoldenMismatchError: if the artefact says something else; nothing is written.
        ConfigError: for another form.
    """
    if form not in FORMS:
        raise ConfigError(f"format is {form!r}; expected {' or '.join(FORMS)}")
    if not isinstance(model, AtomisticModel) or not model.conservative:
        raise CapabilityError(
            f"{type(model).__name__} can't be exported: its forces are no derivatives of an energy"
        )
    model.eval()
    samples = [*_samples(model), *(structures or [])]
    info = {
        "architecture": model.architecture,
        "name": model.checkpoint_name,
        "cutoff": model.cutoff,
        "dtype": str(model.dtype).removeprefix("torch."),
        "elements": model.allowed.nonzero()[:, 0].tolist(),
        "torch": torch.__version__,
        "device": str(model.device),
        "form": form,
        "units": {"energy": "eV", "forces": "eV/Angstrom", "virial": "eV"},
    }
    program = _exported(model, model.find_head(head), samples[:2])
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model.pt2"
        _save(program, draft, form, info)
        difference = _difference(model, Exported(draft), samples, head)
        limit = TOLERANCE[model.dtype]
        if not difference <= limit:
            raise GoldenMismatchError(
                f"the artefact of {info['architecture']} differs from the model by {difference:.2g}"
                f" (limit {limit:g}); nothing was written"
            )
        write_atomic(Path(path), draft.read_bytes())
    return info | {"difference": difference}


def graph_inputs(batch: Any, cutoff: float) -> tuple[Tensor, ...]:
    """What an artefact takes, from a batch on the CPU or a device."""
    pairs, shift = neighbor_pairs(batch.pos, cutoff, batch.batch, batch.cell, batch.pbc)
    return (
        batch.atomic_numbers,
        batch.pos,
        batch.cell,
        batch.batch,
        pairs,
        shift,
        batch.charge,
        batch.spin,
    )


def _samples(model: AtomisticModel) -> list[Atoms]:
    """Two batches' worth of structures that share nothing but their elements."""
    numbers = [z for z in (1, 6, 8, 29) if bool(model.allowed[z])]
    numbers = numbers or model.allowed.nonzero()[:2, 0].tolist()
    first = Atoms([numbers[k % len(numbers)] for k in range(5)])
    first.positions = [[0, 0, 0], [1.1, 0.1, 0], [-0.4, 1.2, 0.2], [0.3, -0.7, 1.3], [2.0, 1, 1]]
    second = Atoms([numbers[0]] * 3, positions=[[0, 0, 0], [1.3, 0.2, 0.1], [0.1, 1.5, 1.1]])
    second.set_cell([[3.2, 0, 0], [0.3, 3.4, 0], [0, 0.2, 3.6]])
    second.pbc = True
    return [first, second]


def _exported(model: AtomisticModel, head: str, samples: Sequence[Atoms]) -> Any:
    """The exported program.

    Raises:
        CapabilityError: with torch's own words.
    """
    # five structures: sizes that happen to be equal, to 3 axes for instance, count as one to torch
    frames = [samples[k] for k in (0, 1, 0, 1, 0)]
    batch = to_batch(frames, dtype=model.dtype, labels=False).to(model.device)
    inputs = graph_inputs(batch, model.cutoff)
    atoms, graphs, pairs = (torch.export.Dim(name, min=2) for name in ("atoms", "graphs", "pairs"))
    sizes = ({0: atoms}, {0: atoms}, {0: graphs}, {0: atoms}, {1: pairs}, {0: pairs})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own inner workings
            trace = make_fx(
                Traced(model, head), tracing_mode="symbolic", _allow_non_fake_inputs=True
            )
            traced = trace(*inputs)
            return torch.export.export(
                traced, inputs, dynamic_shapes=(*sizes, {0: graphs}, {0: graphs}), strict=False
            )
    except Exception as problem:  # torch raises whatever it meets while it traces
        words = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise CapabilityError(
            f"{type(model).__name__} can't be exported: torch can't trace it with free numbers of "
            f"atoms and pairs ({words}); use the model itself, or another architecture"
        ) from problem


def _save(program: Any, path: Path, form: str, info: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "torch.export":
            torch.export.save(program, path, extra_files={_INFO: json.dumps(info)})
            return
        try:
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(path),
                inductor_configs={"aot_inductor.metadata": {_INFO: json.dumps(info)}},
            )
        except Exception as problem:
            words = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise CapabilityError(
                f"AOTInductor can't compile {info['architecture']} here ({words}); it needs a C++ "
                "compiler: install one, or choose --format torch.export"
            ) from problem


def _opened(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    extra = {_INFO: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(path, extra_files=extra)
            return program.module(), json.loads(extra[_INFO])
        except Exception:  # perhaps it is compiled
            pass
        try:
            compiled = torch._inductor.aoti_load_package(str(path))
            info = json.loads(compiled.get_metadata()[_INFO])
        except Exception as problem:
            raise DataError(
                f"{path} is no artefact of zoo export, or damaged ({problem})"
            ) from problem
    if info["torch"] != torch.__version__:
        raise SpecError(
            f"{path} was compiled by torch {info['torch']}, this is {torch.__version__}; export "
            "the model again"
        )
    return compiled, info


def _difference(
    model: AtomisticModel, artefact: Exported, samples: Sequence[Atoms], head: str | None
) -> float:
    """The largest difference of energies, forces and virials, relative to the largest value."""
    differences = []
    for group in ([samples[0]], list(samples), [samples[1]] * 3):
        names = ("energy", "forces", "virial")
        options: dict[str, Any] = {} if head is None else {"head": head}
        expected = model(group, outputs=names, create_graph=False, **options)
        found = artefact(group)
        for name in names:
            scale = float(expected[name].abs().max()) + 1e-3
            differences.append(float((found[name] - expected[name]).abs().max()) / scale)
    return float(np.max(differences))  # which is NaN if one of them is
