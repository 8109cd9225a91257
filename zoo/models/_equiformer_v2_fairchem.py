"""Weights and configuration of fairchem-core's EquiformerV2 (1.10), renamed to ours."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.layers.atomistic._reference import ELEMENTS
from zoo.models._fairchem import denormalise

#: nodes per structure in the authors' training data, which their energies are divided by
AVERAGE_NODES = 77.81317
#: their argument -> ours
_ARGUMENTS = {
    "num_layers": "num_layers",
    "sphere_channels": "hidden_channels",
    "attn_hidden_channels": "attention_channels",
    "num_heads": "num_heads",
    "attn_alpha_channels": "alpha_channels",
    "attn_value_channels": "value_channels",
    "ffn_hidden_channels": "feed_forward_channels",
    "edge_channels": "edge_channels",
    "norm_type": "norm",
    "grid_resolution": "grid_resolution",
    "max_radius": "cutoff",
    "max_neighbors": "max_neighbors",
    "use_m_share_rad": "share_radial",
    "use_attn_renorm": "renormalize",
    "alpha_drop": "alpha_dropout",
    "drop_path_rate": "drop_path",
    "proj_drop": "dropout",
    "weight_init": "init",
}
#: their defaults, where a configuration leaves something out
_DEFAULTS: dict[str, Any] = {
    "num_layers": 12,
    "sphere_channels": 128,
    "attn_hidden_channels": 128,
    "num_heads": 8,
    "attn_alpha_channels": 32,
    "attn_value_channels": 16,
    "ffn_hidden_channels": 512,
    "edge_channels": 128,
    "norm_type": "rms_norm_sh",
    "grid_resolution": None,
    "max_radius": 5.0,
    "max_neighbors": 500,
    "use_m_share_rad": False,
    "use_attn_renorm": True,
    "alpha_drop": 0.1,
    "drop_path_rate": 0.05,
    "proj_drop": 0.0,
    "weight_init": "normal",
    "lmax_list": (6,),
    "mmax_list": (2,),
    "max_num_elements": 90,
    "use_gate_act": False,
    "use_grid_mlp": False,
    "use_sep_s2_act": True,
    "use_atom_edge_embedding": True,
    "share_atom_edge_embedding": False,
    "use_energy_lin_ref": False,
    "distance_function": "gaussian",
    "use_s2_act_attn": False,
    "enforce_max_neighbors_strictly": True,
}
#: what can't be converted unless it has this value
_REQUIRED = {"distance_function": "gaussian", "use_s2_act_attn": False}
#: their centres: 600, twice as wide as they are apart
_BASIS_WIDTH = 2.0
#: constants that their state dicts carry and we compute
_CONSTANTS = re.compile(
    r"(^|\.)(SO3_grid|SO3_rotation|mappingReduced)\.|\.(expand_index|balance_degree_weight)$"
)
#: entries of their state dicts that are not trained
FROZEN = re.compile(rf"{_CONSTANTS.pattern}|(^|\.)(offset|energy_lin_ref)$")
#: their name (after the head's or backbone's prefix) -> ours, applied in turn
_RENAMES = (
    (r"^sphere_embedding\.", "element_embedding."),
    (r"^distance_expansion\.offset$", "basis.centres"),
    (r"^source_embedding\.", "tables.0."),
    (r"^target_embedding\.", "tables.1."),
    (r"^edge_degree_embedding\.", "edge_degree."),
    (r"^blocks\.", "layers."),
    (r"\.ffn\.", ".feed_forward."),
    (r"\.ga\.", ".attention."),
    (r"\.(so2_conv_1\.)?rad_func\.net\.0\.", ".radial.first."),
    (r"\.(so2_conv_1\.)?rad_func\.net\.1\.", ".radial.norms.0."),
    (r"\.(so2_conv_1\.)?rad_func\.net\.3\.", ".radial.second."),
    (r"\.(so2_conv_1\.)?rad_func\.net\.4\.", ".radial.norms.1."),
    (r"\.(so2_conv_1\.)?rad_func\.net\.6\.", ".radial.last."),
    (r"\.source_embedding\.", ".radial.tables.0."),
    (r"\.target_embedding\.", ".radial.tables.1."),
    (r"\.so2_conv_1\.", ".first."),
    (r"\.so2_conv_2\.", ".second."),
    (r"\.alpha_dot$", ".query"),
    (r"\.proj\.", ".out."),
    (r"\.so3_linear_1\.", ".first."),
    (r"\.so3_linear_2\.", ".second."),
    (r"\.grid_mlp\.2\.", ".grid_mlp.1."),
    (r"\.grid_mlp\.4\.", ".grid_mlp.2."),
    (r"\.(scalar_mlp\.0|gating_linear)\.", ".scalars."),
    (r"\.fc_m0\.weight$", ".weight.0"),
    (r"\.fc_m0\.bias$", ".bias"),
)
#: weights of the orders m = 1, 2, ..., which they count from 0
_ORDER = re.compile(r"\.so2_m_conv\.(\d+)\.fc\.weight$")
#: prefixes of their state dicts, and ours; heads are called by their module or by their task
_PREFIXES = (
    (
        re.compile(r"^(module\.)*(energy_head|output_heads\.\w+)\.energy_block\."),
        "heads.energy.network",
    ),
    (
        re.compile(r"^(module\.)*(force_head|output_heads\.\w+)\.force_block\."),
        "heads.forces.attention",
    ),
    (re.compile(r"^(module\.)*backbone\."), ""),
)
#: where heads and backbone were one module, as in the weights for OC20
_JOINED = (
    (r"^energy_block\.", "energy_head.energy_block."),
    (r"^force_block\.", "force_head.force_block."),
)


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from theirs.

    Args:
        state: state dict with the prefixes "backbone.", "energy_head." and "force_head.", or that
            of the older class without them.
        config: arguments of their backbone; what is left out has their default.

    Returns:
        Arguments of `EquiformerV2` and a state dict for it.

    Raises:
        CapabilityError: for an option of theirs that has no counterpart.
        StateMismatchError: for a parameter that is not EquiformerV2's.
    """
    options = {**_DEFAULTS, **config, **config.get("backbone", {})}
    _refuse_other_options(options)
    renamed = _rename_all(_parted(state))
    heads = [kind for kind in ("energy", "forces") if any(f"heads.{kind}." in n for n in renamed)]
    arguments = _arguments(options) | {"heads": heads}
    reference = renamed.pop("energy_lin_ref", None)
    if not options["use_energy_lin_ref"]:
        reference = None
    weights = _norms(renamed)
    centres = weights.get("basis.centres")
    if centres is not None:
        arguments["num_basis"] = len(centres)
        spacing = float(centres[1] - centres[0])
        weights["basis.coefficient"] = centres.new_tensor(-0.5 / (_BASIS_WIDTH * spacing) ** 2)
    scaling = _scaling(options, reference)
    if "forces" in heads:
        scaling["direct_scales.forces.scale"] = torch.ones((), dtype=torch.float64)
    return arguments, weights | denormalise(scaling, options)


def _refuse_other_options(options: Mapping[str, Any]) -> None:
    for key, expected in _REQUIRED.items():
        if options[key] != expected:
            raise CapabilityError(
                f"fairchem option {key}={options[key]!r} has no counterpart here; only "
                f"{expected!r} can be converted"
            )
    if options["max_neighbors"] is not None and not options["enforce_max_neighbors_strictly"]:
        raise CapabilityError(
            "fairchem option enforce_max_neighbors_strictly=False keeps neighbours as far away as "
            f"the last of max_neighbors={options['max_neighbors']} beyond that number; ours stops "
            "at the number. To convert with this difference, set "
            "enforce_max_neighbors_strictly: true in the configuration"
        )
    for key in ("lmax_list", "mmax_list"):
        if len(options[key]) != 1:
            raise CapabilityError(
                f"fairchem option {key}={list(options[key])} has several resolutions; only one can "
                "be converted"
            )


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {ours: options[theirs] for theirs, ours in _ARGUMENTS.items()}
    separable, gate = options["use_sep_s2_act"], options["use_gate_act"]
    plain = "separable_s2" if separable else "s2"
    tables = "own" if options["use_atom_edge_embedding"] else "none"
    if options["share_atom_edge_embedding"]:
        tables = "shared"
    activation = "gate" if gate else plain
    feed_forward = activation
    if options["use_grid_mlp"]:
        feed_forward = "separable_grid_mlp" if separable else "grid_mlp"
    return (
        arguments
        | {
            "cutoff": float(options["max_radius"]),
            "lmax": options["lmax_list"][0],
            "mmax": options["mmax_list"][0],
            "activation": activation,
            "feed_forward": feed_forward,
            "elements": tables,
            "envelope": None,
            "basis_width": _BASIS_WIDTH,
            "max_z": options["max_num_elements"]
            - 1,  # theirs counts rows, ours names the last element
        }
        | ({"average_degree": options["avg_degree"]} if options.get("avg_degree") else {})
    )


def _parted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with prefixes of backbone and heads, which the older class does not have."""
    plain = {re.sub(r"^(module\.)+", "", name): value for name, value in state.items()}
    if any(name.startswith("backbone.") for name in plain):
        return plain
    parted = {}
    for name, value in plain.items():
        for old, new in _JOINED:
            name = re.sub(old, new, name)
        heads = ("energy_head.", "force_head.", "output_heads.")
        parted[name if name.startswith(heads) else f"backbone.{name}"] = value
    return parted


def _rename_all(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed, unknown = {}, []
    for name, value in state.items():
        if _CONSTANTS.search(name):
            continue
        ours = _rename(name)
        if ours is None:
            unknown.append(name)
        else:
            renamed[ours] = value
    if unknown:
        raise StateMismatchError(
            f"{len(unknown)} parameters are not EquiformerV2's in fairchem-core 1.10: "
            f"{', '.join(unknown[:10])}; remove them or check that the file is an EquiformerV2"
        )
    return renamed


def _rename(name: str) -> str | None:
    for pattern, ours in _PREFIXES:
        found = pattern.match(name)
        if found is None:
            continue
        rest = name[found.end() :]
        rest = f".{rest}" if ours else rest
        for theirs, replacement in _RENAMES:
            rest = re.sub(theirs, replacement, rest)
        rest = _ORDER.sub(lambda order: f".weight.{int(order[1]) + 1}", rest)
        return ours + rest
    return None


def _norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Norms of three spellings of theirs as the weight and bias of one of ours."""
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        owner, _, last = name.rpartition(".")
        if last == "affine_weight":
            scalars = state.get(f"{owner}.norm_l0.weight")
            rows = value if scalars is None else torch.cat([scalars[None], value])
            weights[f"{owner}.weight"] = rows
        elif last == "affine_bias":
            weights[f"{owner}.bias"] = value
        elif owner.endswith(".norm_l0") or owner == "norm_l0":
            if last == "bias":
                weights[f"{owner.removesuffix('norm_l0')}bias"] = value
        else:
            weights[name] = value
    return weights


def _scaling(options: Mapping[str, Any], reference: Tensor | None) -> dict[str, Tensor]:
    """Their division by the mean number of atoms, and their energies of elements, in float64."""
    zero = torch.zeros((), dtype=torch.float64)
    table = torch.zeros(ELEMENTS, dtype=torch.float64)
    if reference is not None:
        table[: len(reference)] = reference.double()
    nodes = options.get("avg_num_nodes") or AVERAGE_NODES
    return {
        "energy_scale.scale": torch.tensor(1.0 / nodes, dtype=torch.float64),
        "energy_scale.offset": zero,
        "energy_scale.shift": zero.clone(),
        "energy_scale.reference": table,
    }
