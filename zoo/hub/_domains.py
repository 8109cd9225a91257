"""What a manifest says of a model's inputs and outputs, and how a loaded model gets it back.

Models on atoms keep counts of elements, and units per output; models of every other domain the
shape of a sample, names of features and classes, and the constants of their normalisation.
"""

from collections.abc import Mapping
from typing import Any

from ase.data import atomic_numbers, chemical_symbols
from torch import nn

from zoo.errors import ManifestError
from zoo.hub._entries import Normalisation
from zoo.hub.manifest import Manifest
from zoo.layers.atomistic import SCALARS
from zoo.models._atomistic import AtomisticModel
from zoo.models._sample import SampleModel
from zoo.registry import Spec

_UNITS = {
    "energy": "eV",
    "energy_std": "eV",
    "forces_std": "eV/Angstrom",
    "forces": "eV/Angstrom",
    "stress": "eV/Angstrom^3",
    "virial": "eV",
    "dipole": "e Angstrom",
    "polarizability": "Angstrom^3",
    "charges": "e",
    **SCALARS,
}


def domain_of(model: nn.Module) -> str:
    """The domain of a model's samples; atoms if it does not say."""
    return str(getattr(model, "domain", "atoms"))


def inputs_of(model: nn.Module, spec: Spec) -> dict[str, Any]:
    """The manifest's `inputs`, as plain values."""
    if isinstance(model, SampleModel):
        shape = model.sample_shape
        fields = {k: v for k, v in model.normalisation.items() if k not in model.outputs}
        return {
            "domain": model.domain,
            "shape": None if shape is None else list(shape),
            "tokens": model.tokens,
            "features": list(model.feature_names or ()),
            "normalisation": fields,
        }
    seen = getattr(model, "trained_elements", None) or {}
    elements = {chemical_symbols[z]: int(count) for z, count in sorted(seen.items())}
    return {"domain": spec.domain, "elements": elements}


def outputs_of(model: nn.Module, spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's `outputs`, as plain values.

    Args:
        model: the model.
        spec: of its architecture.
        given: what the caller adds, by output.
    """
    values: dict[str, Any] = {}
    for name in getattr(model, "outputs", ()):
        values[name] = {"unit": _UNITS.get(name, "1")}
        if name in ("forces", "stress", "virial"):
            # the model knows: its heads decide; a module of another kind is what its spec says
            direct = getattr(model, "direct", None)
            values[name]["conservative"] = (
                spec.conservative if direct is None else name not in direct
            )
        if isinstance(model, SampleModel) and name in model.normalisation:
            values[name]["normalisation"] = model.normalisation[name]
    values = _energies(model, values)
    for name, more in given.items():
        values[name] = values.get(name, {}) | more
    return values


def _energies(model: nn.Module, values: dict[str, Any]) -> dict[str, Any]:
    """One entry for each energy head, where there are several, or it has a name."""
    heads = getattr(model, "energy_heads", ())
    if len(heads) < 2 and (not heads or heads[0] == "energy"):
        return values
    values.pop("energy")
    entries = ["energy" if head == "energy" else f"energy/{head}" for head in heads]
    energies: dict[str, Any] = {entry: {"unit": _UNITS["energy"]} for entry in entries}
    energies[entries[0]]["default"] = True
    return {**energies, **values}


def restore(model: nn.Module, manifest: Manifest, *, allow_untrained: bool) -> None:
    """Tells a freshly loaded model what its manifest says beside the weights.

    Raises:
        ManifestError: for a domain that the model does not take, a symbol that is no element, or
            constants that can't be.
    """
    if isinstance(model, SampleModel):
        _restore_sample(model, manifest)
    if isinstance(model, AtomisticModel) and manifest.inputs.elements:
        model.restrict_elements(element_counts(manifest), allow_untrained=allow_untrained)


def _restore_sample(model: SampleModel, manifest: Manifest) -> None:
    inputs = manifest.inputs
    if inputs.domain != model.domain:
        raise ManifestError(
            f"{manifest.name}: inputs.domain is {inputs.domain!r}, but {manifest.architecture} as "
            f"configured takes {model.domain!r}"
        )
    model.set_classes(manifest.classes or None)
    model.feature_names = tuple(inputs.features) or None
    given: dict[str, Normalisation] = dict(inputs.normalisation)
    outputs = manifest.outputs
    given |= {k: o.normalisation for k, o in outputs.items() if o.normalisation is not None}
    for name, constants in given.items():
        try:
            model.set_normalisation(**{name: (constants.mean, constants.std)})
        except (TypeError, ValueError) as problem:
            raise ManifestError(f"{manifest.name}: normalisation of {name}: {problem}") from problem


def element_counts(manifest: Manifest) -> dict[int, int]:
    """Atoms seen in training, by atomic number.

    Raises:
        ManifestError: for a symbol that is no element.
    """
    counts = {}
    for symbol, count in manifest.inputs.elements.items():
        if symbol not in atomic_numbers or symbol == "X":
            raise ManifestError(f"{manifest.name}: inputs.elements.{symbol} is no element's symbol")
        counts[atomic_numbers[symbol]] = count
    return counts
