"""Golden outputs: a few inputs stored with the weights, and what the model must answer.

They are computed in float64 when weights are saved, and re-run wherever somebody wants to know
that this machine, with these versions of everything, reproduces the published model.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.datasets.domains import DOMAINS
from zoo.errors import CapabilityError, GoldenMismatchError
from zoo.hub._domains import domain_of
from zoo.hub._entries import Golden

_INPUT, _OUTPUT = "input.", "output."
#: below these an output is as good as zero, as forces are in a perfect crystal: what is left of it
#: is rounding, which is compared with this instead (eV/Å, eV/Å³, e Å, e)
LEAST_SCALE = {"forces": 0.1, "stress": 1e-3, "dipole": 0.1, "charges": 0.1}
#: fields that are no inputs
_LABELS = frozenset({"y", "edge_label", "weight", "rows"})


@dataclass(frozen=True)
class GoldenResult:
    """How far one output lies from its golden value.

    Attributes:
        output: its name.
        error: largest deviation, relative to the output's scale: its largest golden value (at
            least `LEAST_SCALE`), but 1 eV per atom for energies, whose
            reference part says nothing about the model.
        tolerance: the bound in this precision.
    """

    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the bound; a NaN is not."""
        return self.error <= self.tolerance


def record(model: nn.Module, structures: Sequence[Any]) -> dict[str, Tensor]:
    """Inputs and float64 outputs to store with a model's weights.

    Args:
        model: takes a list of structures and returns named tensors; it is left as it is.
        structures: the inputs; samples of the model's domain where that isn't atoms.

    Returns:
        Tensors by name, `input.*` and `output.*`.

    Raises:
        GoldenMismatchError: if an output is not finite.
    """
    encoded = encode(structures, domain=domain_of(model))
    tensors = {f"{_INPUT}{name}": value for name, value in encoded.items()}
    double = copy.deepcopy(model).double().eval()
    for name, value in _answers(double, list(structures)).items():
        if not bool(torch.isfinite(value).all()):
            raise GoldenMismatchError(
                f"the output {name!r} is not finite on the golden structures; the weights are "
                "broken (training diverged?) and were not saved"
            )
        tensors[_OUTPUT + name] = value.detach().double().cpu()
    return tensors


def compare(model: nn.Module, tensors: Mapping[str, Tensor], golden: Golden) -> list[GoldenResult]:
    """Re-runs golden inputs.

    Args:
        model: as loaded, in float32 or float64.
        tensors: from `record`.
        golden: the bounds.

    Returns:
        One result per stored output.

    Raises:
        CapabilityError: for a model in another precision, for which no bound exists.
    """
    dtype = next(model.parameters()).dtype
    bounds = {torch.float32: golden.rtol.float32, torch.float64: golden.rtol.float64}
    if dtype not in bounds:
        raise CapabilityError(
            f"golden outputs have no bound in {dtype}; load in float32 or float64"
        )
    structures = decode(tensors, domain=domain_of(model))
    training = model.training
    try:
        with full_precision(model):
            found = _answers(model.eval(), structures)
    finally:
        model.train(training)
    results = []
    atoms = domain_of(model) == "atoms"
    for key, expected in tensors.items():
        if not key.startswith(_OUTPUT):
            continue
        name = key.removeprefix(_OUTPUT)
        counts = [len(item) for item in structures] if atoms else None
        error = _deviation(name, found.get(name), expected, counts)
        results.append(GoldenResult(name, error, bounds[dtype]))
    return results


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Leaves out cuDNN, which by torch's default rounds what convolutions multiply to 10 bits."""
    if next(model.parameters()).device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=False):
        yield


def check(model: nn.Module, tensors: Mapping[str, Tensor], golden: Golden, *, name: str) -> None:
    """Refuses a model that does not reproduce its golden outputs.

    Raises:
        GoldenMismatchError: names the outputs and how far off they are.
    """
    failed = [result for result in compare(model, tensors, golden) if not result.passed]
    if failed:
        words = ", ".join(
            f"{r.output} by {r.error:.3g} (allowed {r.tolerance:.3g})" for r in failed
        )
        raise GoldenMismatchError(
            f"{name} does not reproduce its golden outputs on this machine: {words}, relative to "
            "their scale. Do not use it; run zoo doctor and report its output"
        )


def _answers(model: nn.Module, structures: list[Any]) -> dict[str, Tensor]:
    """All outputs; those of a further energy head as "energy/<head>", "forces/<head>", ..."""
    # spreads of an ensemble are differences of members: their rounding has no scale of its own
    answers = model(structures)
    found: dict[str, Tensor] = {k: v for k, v in answers.items() if not k.endswith("_std")}
    for head in getattr(model, "energy_heads", ())[1:]:
        outputs = [name for name in ("energy", "forces", "stress") if name in found]
        answers = model(structures, head=head, outputs=outputs)
        found |= {f"{name}/{head}": value for name, value in answers.items()}
    return found


def _deviation(
    name: str, found: Tensor | None, expected: Tensor, counts: Sequence[int] | None
) -> float:
    """`counts` are the atoms of each structure; None outside atoms."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    difference = (found.detach().cpu().double() - expected).abs()
    if counts is not None and name.partition("/")[0] == "energy":
        atoms = torch.tensor(counts, dtype=torch.float64)
        return float((difference / atoms).max())
    if not expected.numel():
        return 0.0
    least = 1e-12 if counts is None else LEAST_SCALE.get(name.partition("/")[0], 1e-12)
    return float(difference.max()) / max(float(expected.abs().max()), least)


def encode(samples: Sequence[Any], *, domain: str = "atoms") -> dict[str, Tensor]:
    """Samples as tensors.

    Args:
        samples: structures; or PyG's `Data`, or mappings of arrays, whose labels are left out.
        domain: of the samples.

    Returns:
        For atoms, structures one after the other with `counts`; else `<number>.<field>`.
    """
    if domain == "atoms":
        return _encode_atoms(samples)
    found = {}
    for number, sample in enumerate(samples):
        fields = sample.to_dict() if isinstance(sample, Data) else dict(sample)
        for name, value in fields.items():
            if name not in _LABELS and not name.endswith("_mask"):
                found[f"{number}.{name}"] = torch.as_tensor(value)
    return found


def decode(tensors: Mapping[str, Tensor], *, domain: str = "atoms") -> list[Any]:
    """The samples in a golden file's tensors; see `encode`."""
    field = {
        key.removeprefix(_INPUT): value for key, value in tensors.items() if key.startswith(_INPUT)
    }
    if domain == "atoms":
        return _decode_atoms({name: value.numpy() for name, value in field.items()})
    samples: dict[int, dict[str, Any]] = {}
    for key, value in field.items():
        number, _, name = key.partition(".")
        plain = int(value) if name == "num_nodes" else value
        samples.setdefault(int(number), {})[name] = plain
    container = DOMAINS[domain].container
    ordered = [samples[number] for number in sorted(samples)]
    return ordered if container is None else [container(**sample) for sample in ordered]


def _encode_atoms(structures: Sequence[Atoms]) -> dict[str, Tensor]:
    arrays: dict[str, Any] = {
        "counts": np.array([len(item) for item in structures], dtype=np.int64),
        "atomic_numbers": np.concatenate([item.numbers for item in structures]).astype(np.int64),
        "pos": np.concatenate([item.positions for item in structures]),
        "cell": np.stack([item.cell.array for item in structures]),
        "pbc": np.stack([item.pbc for item in structures]),
        "charge": np.array([float(item.info.get("charge", 0.0)) for item in structures]),
        "spin": np.array([float(item.info.get("spin", 0.0)) for item in structures]),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _decode_atoms(field: Mapping[str, np.ndarray]) -> list[Atoms]:
    ends = np.cumsum(field["counts"])
    structures = []
    for index, (count, end) in enumerate(zip(field["counts"], ends, strict=True)):
        atoms = Atoms(
            numbers=field["atomic_numbers"][end - count : end],
            positions=field["pos"][end - count : end],
            cell=field["cell"][index],
            pbc=field["pbc"][index],
        )
        for name in ("charge", "spin"):  # zero is what stands for "not stated"
            if field[name][index] != 0:
                atoms.info[name] = float(field[name][index])
        structures.append(atoms)
    return structures
