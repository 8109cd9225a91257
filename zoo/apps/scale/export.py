"""Models as artefacts: one file that torch runs without our code for the architecture.

On atoms the graph is an input, and the numbers of atoms, pairs and structures are free. Forces and
virials are in the artefact: they are traced as what they are, derivatives (`make_fx` follows the
backward pass), and the result is exported like any other network. Elsewhere the fields of a batch
are the inputs, and what differs between batches is free. Checks of numbers can't be traced;
`Exported` makes them before it calls the artefact.

Artefacts are held against the model before they are kept: on batches of other sizes than the one
that was traced, and on given samples (`zoo export` gives the golden inputs of the checkpoint).
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo import registry
from zoo._files import write_atomic
from zoo.apps.scale import _export_atoms as atoms
from zoo.apps.scale import _export_samples as samples
from zoo.apps.scale._export_trace import words
from zoo.datasets.atoms import to_batch
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    DeviceError,
    GoldenMismatchError,
    SpecError,
)
from zoo.models import _inputs
from zoo.models._atomistic import AtomisticModel
from zoo.models._sample import SampleModel

FORMS = ("torch.export", "aotinductor")
#: how far an artefact may be from the model, relative to the largest value and by precision
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_INFO = "zoo.json"


class Exported:
    """An artefact, called like the model it came from.

    Args:
        path: of the file.
        device: where it runs, which is where it was exported for; that one if None.

    Raises:
        DataError: for a file that is none of ours.
        SpecError: for one that another torch compiled.
        DeviceError: for another device than it was exported for.
    """

    def __init__(self, path: str | Path, device: str | torch.device | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"there is no file {self.path}; make one with zoo export")
        self._run, self.info = _opened(self.path)
        made_for = torch.device(self.info["device"])
        self.device = made_for if device is None else torch.device(device)
        if self.device.type != made_for.type:
            raise DeviceError(
                f"{self.path} was exported for {made_for.type!r} and holds its constants there, so "
                f"it can't run on {self.device.type!r}; export the model again with --device "
                f"{self.device.type}"
            )
        self.domain = str(self.info["domain"])
        self.dtype = getattr(torch, self.info["dtype"])

    def __call__(self, inputs: Any) -> dict[str, Tensor]:
        """Outputs by name.

        Args:
            inputs: raw samples, one or a list: ASE structures (Å), or what the domain has.

        Returns:
            On atoms `energy` (graphs,) eV float64, `forces` (atoms, 3) eV/Å, `virial`
            (graphs, 3, 3) eV and, where all structures have three periodic directions, `stress`
            eV/Å³, as far as the model has them, and what its other heads give. Elsewhere what the
            model returns.

        Raises:
            UnsupportedElementError: for an element that the model may not be used on.
            UnsupportedInputError: for coincident atoms, and samples of another kind or shape.
            CapabilityError: for sizes that the trace does not serve.
        """
        with torch.no_grad():  # the derivatives are in the artefact
            if self.domain != "atoms":
                options: Any = {"rank": self.info["rank"], "device": self.device}
                batch = _inputs.batch_of(inputs, self.domain, self.dtype, **options)
                samples.check(batch, self.info, str(self.path))
                fields = samples.inputs(batch, self.info["inputs"], str(self.path))
                return dict(self._traced(*fields))
            graphs = to_batch(inputs, dtype=self.dtype, labels=False, centre=True)
            atoms.check_elements(graphs, self.info["elements"], str(self.path))
            graphs = graphs.to(self.device)
            found = self._traced(*atoms.inputs(graphs, float(self.info["cutoff"])))
            return atoms.lawful(found, graphs)

    def _traced(self, *fields: Tensor) -> Mapping[str, Tensor]:
        """The network, on sizes that its trace serves."""
        try:
            return dict(self._run(*fields))
        except AssertionError as problem:  # torch's word for a size that the trace left out
            raise CapabilityError(
                f"{self.path} was traced for other sizes than those of this batch: {problem}"
            ) from problem


def export(
    model: nn.Module,
    path: str | Path,
    *,
    form: str = "torch.export",
    head: str | None = None,
    structures: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Writes a model as an artefact, if it says what the model says.

    Args:
        model: of any domain.
        path: the file; `.pt2` is usual.
        form: "torch.export", which any later torch of the same major version reads, or
            "aotinductor", machine code for this device and this torch.
        head: on atoms, the energy head; the first if None.
        structures: what the artefact is compared on, beside small samples of other sizes than
            those that are traced.

    Returns:
        What stands in the file beside the network, and the largest relative `difference`.

    Raises:
        CapabilityError: for an architecture that can't be traced.
        GoldenMismatchError: if the artefact says something else; nothing is written.
        ConfigError: for another form, or a head outside atoms.
    """
    if form not in FORMS:
        raise ConfigError(f"format is {form!r}; expected {' or '.join(FORMS)}")
    model.eval()
    program, about, batches, expected = _parts(model, head, list(structures or ()))
    info = _described(model, form) | about
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model.pt2"
        _save(program, draft, form, info)
        difference = _difference(expected, Exported(draft), batches)
        limit = TOLERANCE[getattr(torch, info["dtype"])]
        if not difference <= limit:
            raise GoldenMismatchError(
                f"the artefact of {info['architecture']} differs from the model by {difference:.2g}"
                f" (limit {limit:g}); nothing was written"
            )
        write_atomic(Path(path), draft.read_bytes())
    return info | {"difference": difference}


_Evaluate = Callable[[list[Any]], Mapping[str, Tensor]]


def _parts(
    model: nn.Module, head: str | None, given: list[Any]
) -> tuple[Any, dict[str, Any], list[list[Any]], _Evaluate]:
    """The program, what is to be said of it, batches to compare on, and what compares."""
    spec = registry.specs().get(str(getattr(model, "architecture", "")))
    if spec is not None and spec.not_exported:
        raise CapabilityError(
            f"{type(model).__name__} can't be exported: {spec.not_exported}; use the model itself, "
            "or another architecture"
        )
    if isinstance(model, AtomisticModel):
        name = model.find_head(head) if head is not None or model.energy_heads else None
        program = atoms.program(model, name)
        about = atoms.describe(model)
        return program, about, atoms.groups(model, given), lambda b: atoms.evaluate(model, b, name)
    if not isinstance(model, SampleModel):
        raise CapabilityError(
            f"{type(model).__name__} can't be exported: it is no single network of the zoo; export "
            "the models that it is made of"
        )
    if head is not None:
        raise ConfigError(
            f"head={head!r}: {type(model).__name__} has no energy heads; leave it out"
        )
    program, kinds = samples.program(model)
    about = samples.describe(model, kinds)
    return program, about, samples.groups(model, given), lambda batch: _plain(model, batch)


def _plain(model: SampleModel, batch: list[Any]) -> dict[str, Tensor]:
    with torch.no_grad():
        return model(batch)


def _described(model: Any, form: str) -> dict[str, Any]:
    return {
        "architecture": model.architecture,
        "name": model.checkpoint_name,
        "domain": "atoms" if isinstance(model, AtomisticModel) else model.domain,
        "dtype": str(model.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "device": model.device.type,
        "form": form,
    }


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
            raise CapabilityError(
                f"AOTInductor can't compile {info['architecture']} here ({words(problem)}); it "
                "needs a C++ compiler: install one, or choose --format torch.export"
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
    model: _Evaluate, artefact: Callable[[Any], Mapping[str, Tensor]], batches: list[list[Any]]
) -> float:
    """The largest difference between outputs, relative to the largest value of each."""
    differences = [0.0]
    for batch in batches:
        found = artefact(batch)
        for name, value in model(batch).items():
            scale = float(value.abs().max()) + 1e-3 if value.numel() else 1.0
            error = (found[name] - value).abs()
            differences.append(float(error.max()) / scale if value.numel() else 0.0)
    return float(np.max(differences))  # which is NaN if one of them is
