"""Weights and configuration of torchmd-net's TensorNet (3.1), renamed to ours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.layers.atomistic._reference import ELEMENTS

_EMBEDDING = "representation_model.tensor_embedding."
#: (their prefix, our prefix), first match wins; {n} is a layer
_PREFIXES = (
    ("representation_model.distance_expansion.offset", "basis.centres"),
    ("representation_model.distance_expansion.coeff", "basis.coefficient"),
    ("representation_model.distance_expansion.", "basis."),
    (_EMBEDDING + "emb.", "tensor_embedding.elements."),
    (_EMBEDDING + "emb2.", "tensor_embedding.element_pair."),
    (_EMBEDDING + "distance_proj1.", "tensor_embedding.radial.0."),
    (_EMBEDDING + "distance_proj2.", "tensor_embedding.radial.1."),
    (_EMBEDDING + "distance_proj3.", "tensor_embedding.radial.2."),
    (_EMBEDDING + "init_norm.", "tensor_embedding.norm."),
    (_EMBEDDING + "linears_scalar.0.", "tensor_embedding.gate.0."),
    (_EMBEDDING + "linears_scalar.1.", "tensor_embedding.gate.2."),
    (_EMBEDDING + "linears_tensor.", "tensor_embedding.mix.maps."),
    ("representation_model.out_norm.", "readout_norm."),
    ("representation_model.linear.", "readout."),
    ("output_model.output_network.layers.", "heads.energy.network."),
)
#: what this architecture does not have; any other value of theirs is refused
_REQUIRED: dict[str, Any] = {
    "model": "tensornet",
    "activation": "silu",
    "cutoff_lower": 0.0,
    "output_model": "Scalar",
    "output_mlp_num_layers": 0,
    "vector_cutoff": False,
}
_SUMS = ("add", "sum")
_BASES = ("expnorm", "gauss")


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from theirs.

    Args:
        state: state dict of `torchmdnet.models.model.create_model(config)`.
        config: the dict it was created with.

    Returns:
        Arguments of `TensorNet` and a state dict for it.

    Raises:
        CapabilityError: for an option of theirs that has no counterpart.
        StateMismatchError: for a parameter that is not TensorNet's.
    """
    _refuse_other_options(config)
    arguments = {
        "hidden_channels": config["embedding_dimension"],
        "num_layers": config["num_layers"],
        "num_rbf": config["num_rbf"],
        "cutoff": float(config["cutoff_upper"]),
        "group": config["equivariance_invariance_group"],
        "max_z": config["max_z"] - 1,  # theirs counts rows, ours names the last element
        "trainable_rbf": config.get("trainable_rbf", False),
        "rbf": config.get("rbf_type", "expnorm"),
    }
    weights = _scaling(state)
    unknown = []
    for name, value in state.items():
        if name in ("mean", "std") or name.endswith("atomref") or "atomref.weight" in name:
            continue
        ours = _rename(name)
        if ours is None:
            unknown.append(name)
        else:
            weights[ours] = value
    if unknown:
        raise StateMismatchError(
            f"{len(unknown)} parameters are not TensorNet's in torchmd-net 3.1: "
            f"{', '.join(unknown[:10])}; remove them or check that the file is a TensorNet"
        )
    return arguments, weights


def _refuse_other_options(config: Mapping[str, Any]) -> None:
    for key, expected in _REQUIRED.items():
        if config.get(key, expected) != expected:
            raise CapabilityError(
                f"torchmd-net option {key}={config[key]!r} has no counterpart here; "
                f"only {expected!r} can be converted"
            )
    if config.get("rbf_type", "expnorm") not in _BASES:
        raise CapabilityError(
            f"rbf_type={config['rbf_type']!r} has no counterpart here; it can be "
            f"{' or '.join(_BASES)}"
        )
    if config.get("reduce_op", "add") not in _SUMS:
        raise CapabilityError(f"reduce_op={config['reduce_op']!r}: only a sum over atoms converts")


def _scaling(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their std, mean (per structure) and atomic references, in float64."""
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    reference = torch.zeros(ELEMENTS, dtype=torch.float64)
    for name, value in state.items():
        if name.endswith("atomref.weight") and "initial" not in name:
            rows = min(len(value), ELEMENTS)
            reference[:rows] += value[:rows, 0].double()
    return {
        "energy_scale.scale": state.get("std", one).double().reshape(()),
        "energy_scale.offset": state.get("mean", zero).double().reshape(()),
        "energy_scale.shift": zero,
        "energy_scale.reference": reference,
    }


def _rename(name: str) -> str | None:
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    prefix = "representation_model.layers."
    if not name.startswith(prefix):
        return None
    layer, kind, number, rest = name.removeprefix(prefix).split(".")
    if kind == "linears_scalar":  # their list of linears; ours alternates with activations
        return f"layers.{layer}.radial.{2 * int(number)}.{rest}"
    if kind == "linears_tensor":
        part = "mix_in" if int(number) < 3 else "mix_out"
        return f"layers.{layer}.{part}.maps.{int(number) % 3}.{rest}"
    return None
