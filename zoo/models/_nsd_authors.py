"""Weights and configuration of the authors' neural-sheaf-diffusion, renamed to ours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError

_DEFAULTS: dict[str, Any] = {
    "d": 2,
    "layers": 2,
    "hidden_channels": 20,
    "add_lp": False,
    "add_hp": False,
    "input_dropout": 0.0,
    "dropout": 0.0,
    "linear": False,
    "left_weights": True,
    "right_weights": True,
    "sparse_learner": False,
    "use_act": True,
    "sheaf_act": "tanh",
    "second_linear": False,
    "orth": "householder",
    "edge_weights": True,
}
#: what this architecture does not have; any other value of theirs is refused
_REQUIRED: dict[str, Any] = {"normalised": True, "deg_normalised": False}
_ACTIVATIONS = {"tanh": "tanh", "elu": "elu", "id": "identity"}
_SKEW = ("cayley", "matrix_exp")


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from theirs.

    Args:
        state: of `DiscreteDiagSheafDiffusion`, `DiscreteBundleSheafDiffusion` or
            `DiscreteGeneralSheafDiffusion`.
        config: the arguments it was created with; `sheaf`, which of the three it is, comes from
            the preset's name.

    Returns:
        Arguments of `NSD` and a state dict for it.

    Raises:
        CapabilityError: for an option of theirs that has no counterpart.
        StateMismatchError: for a configuration without the sizes.
    """
    given = _DEFAULTS | dict(config)
    for key, expected in _REQUIRED.items():
        if given.get(key, expected) != expected:
            raise CapabilityError(
                f"neural-sheaf-diffusion's option {key}={given[key]!r} has no counterpart here; "
                f"only {expected!r} can be converted"
            )
    for key in ("input_dim", "output_dim"):
        if key not in given:
            raise StateMismatchError(
                f"the configuration of neural-sheaf-diffusion says no {key}; add it"
            )
    arguments = _arguments(given)
    weights = {}
    for name, value in state.items():
        ours = _renamed(name)
        weights[ours] = _living(value, given) if "sheaf_learners" in name else value
    return arguments, weights


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["sheaf_act"] not in _ACTIVATIONS:
        raise CapabilityError(
            f"sheaf_act={given['sheaf_act']!r}: expected one of {', '.join(_ACTIVATIONS)}"
        )
    return {
        "in_channels": given["input_dim"],
        "out_channels": given["output_dim"],
        "hidden_channels": given["hidden_channels"],
        "num_layers": given["layers"],
        "stalk_dim": given["d"],
        "sheaf": given.get("sheaf", "bundle"),
        "orthogonal": given["orth"],
        "linear": given["linear"],
        "learner": "interleaved" if given["sparse_learner"] else "dense",
        "sheaf_activation": _ACTIVATIONS[given["sheaf_act"]],
        "edge_weights": given["edge_weights"],
        "high_pass": given["add_lp"],  # their low pass has the sign of a high pass
        "low_pass": given["add_hp"],
        "activation": given["use_act"],
        "left_weights": given["left_weights"],
        "right_weights": given["right_weights"],
        "second_linear": given["second_linear"],
        "input_dropout": given["input_dropout"],
        "dropout": given["dropout"],
        "clamp": True,
    }


def _renamed(name: str) -> str:
    """Our name of a parameter of theirs; unknown ones stay and are then refused."""
    parts = name.split(".")
    table = {
        "lin1": "encoder",
        "lin12": "second",
        "lin2": "head",
    }
    if parts[0] in table:
        return ".".join([table[parts[0]], *parts[1:]])
    layered = {
        "sheaf_learners": "learners.{}.linear.weight",
        "weight_learners": "learners.{}.weights.linear.weight",
        "lin_left_weights": "steps.{}.left.weight",
        "lin_right_weights": "steps.{}.right.weight",
        "epsilons": "steps.{}.epsilon",
    }
    return layered[parts[0]].format(parts[1]) if parts[0] in layered else name


def _living(weight: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Without the rows of their skew matrices' diagonals, which cancel."""
    d = given["d"]
    if given["orth"] not in _SKEW or d == 1 or weight.shape[0] != d * (d + 1) // 2:
        return weight
    rows, columns = torch.tril_indices(d, d)
    return weight[rows != columns]
