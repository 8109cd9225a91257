"""Checkpoints of fairchem, and of ocp before it: what lies around a network's state dict.

A file is a mapping with `state_dict`, `config`, `normalizers` and, where training could go on from
it, `ema`. The authors evaluate with the moving average of the weights: files of their best
networks hold it as their state dict, others hold it as a list, in the order of the parameters. The
network's outputs are normalised: energy = out * rmsd + mean of a structure, the same for forces.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.layers.atomistic._reference import ELEMENTS

#: their older names of what was normalised, and today's
_TARGETS = {"target": "energy", "grad_target": "forces"}
#: where a configuration keeps its network's arguments, besides `model` itself
_NESTED = ("model_attributes", "model")
#: our keys in a configuration
NORMALISERS, REFERENCES = "normalizers", "element_references"


def unwrap(
    value: Mapping[str, Any], config: Mapping[str, Any], *, frozen: re.Pattern[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights that the authors evaluate with, and the configuration that belongs to them.

    Args:
        value: what the file holds.
        config: the network's arguments; those in the file count for more.
        frozen: names of a state dict's entries that were not trained.

    Returns:
        State dict, and arguments together with the constants of `normalizers`.

    Raises:
        StateMismatchError: if the file does not say how outputs are normalised, or its moving
            average is that of another network.
    """
    state = dict(value["state_dict"])
    average = value.get("ema")
    if isinstance(average, Mapping):
        state |= _averaged(state, average.get("shadow_params"), frozen)
    if not isinstance(value.get("normalizers"), Mapping):
        raise StateMismatchError(
            "the file is a fairchem checkpoint without `normalizers`, so its outputs have no unit; "
            "give its state dict alone, and they are the network's own"
        )
    options = {**config, **_arguments(value.get("config"))}
    options[NORMALISERS] = {
        _TARGETS.get(name, name): _constants(name, entry)
        for name, entry in value["normalizers"].items()
    }
    references = (value.get("elementrefs") or {}).get("energy")
    if references:
        options[REFERENCES] = next(iter(references.values()))
    return state, options


def _averaged(
    state: Mapping[str, Tensor], shadows: Any, frozen: re.Pattern[str]
) -> dict[str, Tensor]:
    names = [name for name in state if not frozen.search(name)]
    shadows = list(shadows or ())
    wrong = len(shadows) != len(names) or any(
        shadow.shape != state[name].shape for name, shadow in zip(names, shadows, strict=True)
    )
    if wrong:
        raise StateMismatchError(
            f"the moving average in the file has {len(shadows)} tensors, the network "
            f"{len(names)} parameters, and they do not match; is the file whole?"
        )
    return dict(zip(names, shadows, strict=True))


def _arguments(config: Any) -> dict[str, Any]:
    """The network's arguments in a checkpoint's configuration."""
    for key in _NESTED:
        if isinstance(config, Mapping) and isinstance(config.get(key), Mapping):
            return dict(config[key])
    return {}


def _constants(name: str, entry: Any) -> dict[str, float]:
    """Mean and scale of one normaliser, which older versions call std."""
    scale = entry.get("rmsd", entry.get("std")) if isinstance(entry, Mapping) else None
    if scale is None:
        raise StateMismatchError(f"normalizers.{name} of the checkpoint has no `rmsd` or `std`")
    return {"mean": float(entry["mean"]), "rmsd": float(scale)}


def denormalise(weights: dict[str, Tensor], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The constants of a state dict of ours that turn the network's outputs into eV and eV/Å.

    Args:
        weights: with the entries of `energy_scale`, and of `direct_scales.forces` where there is
            such a head; those of the bare network.
        options: as `unwrap` returns them; without normalisers nothing changes.

    Returns:
        The same, with these entries replaced.

    Raises:
        CapabilityError: for forces with a mean.
    """
    constants = options.get(NORMALISERS) or {}
    result = dict(weights)
    energy = constants.get("energy", {"mean": 0.0, "rmsd": 1.0})
    for name in ("scale", "reference"):
        result[f"energy_scale.{name}"] = weights[f"energy_scale.{name}"] * energy["rmsd"]
    result["energy_scale.offset"] = torch.tensor(energy["mean"], dtype=torch.float64)
    references = options.get(REFERENCES)
    if references is not None:
        table = torch.zeros(ELEMENTS, dtype=torch.float64)
        table[: len(references)] = torch.as_tensor(references).double()[:ELEMENTS]
        result["energy_scale.reference"] = result["energy_scale.reference"] + table
    forces = constants.get("forces", {"mean": 0.0, "rmsd": 1.0})
    if forces["mean"] != 0.0:
        raise CapabilityError(f"forces with a mean of {forces['mean']:g} have no counterpart here")
    head = "direct_scales.forces.scale"
    if head in weights:
        result[head] = weights[head] * forces["rmsd"]
    return result
