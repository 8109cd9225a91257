"""Weights of other packages, turned into models of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ase import units as ase_units
from torch import nn

from zoo import registry
from zoo._files import read_yaml
from zoo.errors import CapabilityError, ConfigError, UnknownNameError, nearest
from zoo.hub._tensorflow import read_bundle
from zoo.hub.weights import load_strict, read_foreign, state_dict
from zoo.models._atomistic import AtomisticModel

_ENERGY = {
    "ev": 1.0,
    "mev": 1e-3,
    "kcal/mol": ase_units.kcal / ase_units.mol,
    "kj/mol": ase_units.kJ / ase_units.mol,
    "hartree": ase_units.Hartree,
    "ry": ase_units.Rydberg,
}
_LENGTH = ("angstrom", "å", "a")


def convert(
    architecture: str,
    weights: str | Path | Mapping[str, Any],
    config: str | Path | Mapping[str, Any],
    *,
    source: str,
    units: Mapping[str, str] | None = None,
) -> Any:
    """A model of ours with the weights of another implementation.

    Args:
        architecture: name or alias of the architecture, or a preset where those tell variants
            apart.
        weights: the other package's state dict, or its file: .safetensors, what torch.save wrote,
            or a TensorFlow checkpoint (its .index, or the path without it). It is read without
            executing anything in it. Of a training checkpoint that holds them, the averaged weights
            are taken, and the constants of its normalisation.
        config: the other package's configuration, or its YAML or JSON file.
        source: which package, such as "torchmd-net".
        units: of the other model's energies, {"energy": "kcal/mol"}: they are turned into eV.
            None keeps its numbers as they are. Lengths must be in Å.

    Returns:
        The model in evaluation mode, in the precision of the weights.

    Raises:
        UnknownModelError: for an unknown architecture.
        UnknownNameError: for a source that the architecture has no converter for.
        ConfigError: for unknown units, or weights that are not there.
        UnsafeFileError: for a file that can't be read without running code.
        StateMismatchError: for weights that do not fit.
    """
    spec, preset = registry.resolve(architecture)
    module = registry.module_of(spec)
    converters = getattr(module, "CONVERTERS", {})
    if source not in converters:
        raise UnknownNameError(
            f"{spec.name} can't be converted from {source!r}: {nearest(source, converters)}"
        )
    factor = _energy_factor(units)
    held = _read(Path(weights)) if isinstance(weights, (str, Path)) else dict(weights)
    options = read_yaml(Path(config)) if isinstance(config, (str, Path)) else dict(config)
    unwrap = getattr(module, "WRAPPERS", {}).get(source)
    if unwrap is not None and isinstance(held, Mapping) and "state_dict" in held:
        state, options = unwrap(held, options)
    else:
        where = str(weights) if isinstance(weights, (str, Path)) else "the mapping"
        state = state_dict(held, where=where)
    # what the other package keeps in the name of its class, ours in an argument of a preset
    decided = {k: preset[k] for k in getattr(module, "PRESET_DECIDES", ()) if k in preset}
    arguments, ours = converters[source](state, options | decided)
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten at once
        model: Any = registry.get_class(spec)(**arguments)
    load_strict(model, ours, where=f"weights from {source}")
    if units is not None and getattr(model, "domain", "atoms") != "atoms":
        raise ConfigError(f"{spec.name} works on {spec.domain!r}, which has no units; drop units=")
    if factor != 1.0:
        _rescale(model, factor)
    return model.eval()


def _read(path: Path) -> Any:
    """What a file of weights holds; what belongs to an index is TensorFlow's."""
    if path.is_dir() or path.suffix == ".index" or Path(f"{path}.index").is_file():
        return read_bundle(path)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; give the weights to be converted")
    return read_foreign(path)


def _energy_factor(units: Mapping[str, str] | None) -> float:
    """The other package's energy unit in eV."""
    if units is None:
        return 1.0
    for quantity, unit in units.items():
        known: Any = {"energy": _ENERGY, "length": _LENGTH}.get(quantity)
        if known is None:
            raise ConfigError(f"units: unknown quantity {quantity!r}; known: energy, length")
        if unit.lower() not in known:
            raise ConfigError(f"units: unknown {quantity} unit {unit!r}: {nearest(unit, known)}")
    return _ENERGY[units.get("energy", "eV").lower()]


@torch.no_grad()
def _rescale(model: AtomisticModel, factor: float) -> None:
    scale = getattr(model, "energy_scale", None)
    if not isinstance(scale, nn.Module):
        raise CapabilityError(f"{type(model).__name__} has no energy to convert; leave units= out")
    for module in (scale, model.direct_scales):
        for buffer in module.buffers():
            buffer.mul_(factor)
