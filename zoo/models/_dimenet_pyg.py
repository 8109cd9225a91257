"""Weights and configuration of PyG's DimeNet and DimeNetPlusPlus (2.8), renamed to ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.layers.atomistic import EnergyScale

#: (their pattern, our replacement), first match wins
_NAMES = (
    (r"rbf\.freq", "radial_basis.basis.frequencies"),
    (r"emb\.emb\.weight", "edge_embedding.elements.weight"),
    (r"emb\.lin_rbf\.(\w+)", r"edge_embedding.radial.\1"),
    (r"emb\.lin\.(\w+)", r"edge_embedding.mix.\1"),
    (r"interaction_blocks\.(\d+)\.W", r"interactions.\1.bilinear"),
    (r"interaction_blocks\.(\d+)\.lin_rbf\.weight", r"interactions.\1.radial.weight"),
    (r"interaction_blocks\.(\d+)\.lin_sbf\.weight", r"interactions.\1.spherical.weight"),
    (r"interaction_blocks\.(\d+)\.lin_rbf1\.weight", r"interactions.\1.radial.0.weight"),
    (r"interaction_blocks\.(\d+)\.lin_rbf2\.weight", r"interactions.\1.radial.1.weight"),
    (r"interaction_blocks\.(\d+)\.lin_sbf1\.weight", r"interactions.\1.spherical.0.weight"),
    (r"interaction_blocks\.(\d+)\.lin_sbf2\.weight", r"interactions.\1.spherical.1.weight"),
    (r"interaction_blocks\.(\d+)\.lin_(down|up)\.(\w+)", r"interactions.\1.\2.0.\3"),
    (r"interaction_blocks\.(\d+)\.lin_ji\.(\w+)", r"interactions.\1.own.0.\2"),
    (r"interaction_blocks\.(\d+)\.lin_kj\.(\w+)", r"interactions.\1.other.0.\2"),
    (r"interaction_blocks\.(\d+)\.lin\.(\w+)", r"interactions.\1.skip.0.\2"),
    (
        r"interaction_blocks\.(\d+)\.layers_(before|after)_skip\.(\d+)\.lin1\.(\w+)",
        r"interactions.\1.\2.\3.layers.0.0.\4",
    ),
    (
        r"interaction_blocks\.(\d+)\.layers_(before|after)_skip\.(\d+)\.lin2\.(\w+)",
        r"interactions.\1.\2.\3.layers.1.0.\4",
    ),
    (r"output_blocks\.(\d+)\.lin_rbf\.weight", r"atom_sums.\1.radial.weight"),
)
_OUTPUT = re.compile(r"output_blocks\.(\d+)\.(lin_up|lin|lins\.(\d+))\.(\w+)")
#: arguments of theirs that ours have under the same name
_SAME = (
    "hidden_channels",
    "num_blocks",
    "num_bilinear",
    "int_emb_size",
    "basis_emb_size",
    "out_emb_channels",
    "num_spherical",
    "num_radial",
    "cutoff",
    "envelope_exponent",
    "num_before_skip",
    "num_after_skip",
    "num_output_layers",
)
_ACTIVATIONS = ("swish", "silu")


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from theirs.

    Args:
        state: state dict of `DimeNet` or `DimeNetPlusPlus`.
        config: the arguments it was created with.

    Returns:
        Arguments of our class and a state dict for it, without what theirs doesn't have.

    Raises:
        CapabilityError: for an option of theirs that has no counterpart.
        StateMismatchError: for a parameter that is not DimeNet's.
    """
    _refuse_other_options(config)
    arguments = {name: config[name] for name in _SAME if name in config}
    arguments["cutoff"] = float(arguments.get("cutoff", 5.0))
    arguments["fixed"] = False
    depth = int(config.get("num_output_layers", 3))
    weights, unknown = {f"energy_scale.{k}": v for k, v in EnergyScale().state_dict().items()}, []
    for name, value in state.items():
        ours = _rename(name, depth, "out_emb_channels" in config)
        if ours is None:
            unknown.append(name)
        else:
            weights[ours] = value
    if unknown:
        raise StateMismatchError(
            f"{len(unknown)} parameters are not those of DimeNet in torch-geometric: "
            f"{', '.join(unknown[:10])}; remove them or check that the file is a DimeNet"
        )
    table = weights.get("edge_embedding.elements.weight")
    if table is not None:
        arguments["max_z"] = len(table) - 1
    return arguments, weights


def _refuse_other_options(config: Mapping[str, Any]) -> None:
    if config.get("act", "swish") not in _ACTIVATIONS:
        raise CapabilityError(f"act={config['act']!r} has no counterpart here; only 'swish' has")
    if config.get("out_channels", 1) != 1:
        raise CapabilityError(
            f"out_channels={config['out_channels']}: an energy head has one; convert the targets "
            "one by one"
        )


def _rename(name: str, depth: int, raised: bool) -> str | None:
    output = _OUTPUT.fullmatch(name)
    if output:  # positions in a Sequential: [up,] (linear, SiLU) * depth, last
        block, layer, number, rest = output.groups()
        if layer == "lin_up":
            return f"heads.energy.networks.{block}.0.{rest}"
        place = raised + (depth if number is None else int(number))
        inner = "" if number is None else ".0"
        return f"heads.energy.networks.{block}.{place}{inner}.{rest}"
    for theirs, ours in _NAMES:
        if re.fullmatch(theirs, name):
            return re.sub(theirs, ours, name)
    return None
