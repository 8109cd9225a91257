"""Weights and configuration of fairchem's eSCN (fairchem-core 1.10), renamed to ours."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.layers.atomistic._reference import ELEMENTS
from zoo.models._escn_heads import spiral_points
from zoo.models._fairchem import denormalise

#: their factor on energies
ENERGY_SCALE = 1e-3
#: their defaults, where a configuration leaves something out
_DEFAULTS: dict[str, Any] = {
    "max_neighbors": 40,
    "cutoff": 8.0,
    "max_num_elements": 90,
    "num_layers": 8,
    "lmax_list": [6],
    "mmax_list": [2],
    "sphere_channels": 128,
    "hidden_channels": 256,
    "edge_channels": 128,
    "num_sphere_samples": 128,
    "basis_width_scalar": 1.0,
    "distance_resolution": 0.02,
    "distance_function": "gaussian",
    "resolution": None,
    "regress_forces": True,
}
#: what this architecture does not have; any other value of theirs is refused
_REQUIRED: dict[str, Any] = {"distance_function": "gaussian"}
_HEADS = {"energy_block": "energy", "force_block": "forces"}
#: entries of their state dicts that are not trained
FROZEN = re.compile(r"(^|\.)(sphere_points|sphharm_weights\.\d+|offset)$")
#: derived from constants here; checked, not kept
_CONSTANTS = ("sphere_points", "sphharm_weights.0")


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from theirs.

    Neighbours are capped as `max_neighbors` of the configuration says; where it says nothing, by
    40, their default. `max_neighbors: null` lifts the cap.

    Args:
        state: state dict of `fairchem.core.models.escn.escn.eSCN(**config)`.
        config: the arguments it was created with.

    Returns:
        Arguments of `ESCN` and a state dict for it.

    Raises:
        CapabilityError: for an option of theirs that has no counterpart.
        StateMismatchError: for a parameter that is not eSCN's, or a missing one.
    """
    given = _DEFAULTS | dict(config)
    state = {re.sub(r"^(module\.)+", "", name): value for name, value in state.items()}
    arguments = _arguments(given)
    _check_constants(state, given)
    taken: set[str] = set(_CONSTANTS)

    def take(name: str) -> Tensor:
        if name not in state:
            raise StateMismatchError(f"fairchem's eSCN has a parameter {name!r}, which is missing")
        taken.add(name)
        return state[name]

    weights = denormalise(_scaling(arguments), given)
    weights |= _basis(take("distance_expansion.offset"), given["basis_width_scalar"])
    weights["elements.weight"] = take("sphere_embedding.weight")
    for name in [n for n in state if n.endswith("distance_expansion.offset")]:
        taken.add(name)  # the same centres in every layer
    for layer in range(given["num_layers"]):
        weights |= _layer(take, layer, arguments)
    for theirs, ours in _HEADS.items():
        if ours in arguments["heads"]:
            weights |= _head(take, theirs, ours)
    unknown = sorted(set(state) - taken)
    if unknown:
        raise StateMismatchError(
            f"{len(unknown)} parameters are not eSCN's in fairchem-core 1.10: "
            f"{', '.join(unknown[:10])}; remove them or check that the file is an eSCN"
        )
    return arguments, weights


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    for key, expected in _REQUIRED.items():
        if given[key] != expected:
            raise CapabilityError(
                f"fairchem option {key}={given[key]!r} has no counterpart here; "
                f"only {expected!r} can be converted"
            )
    for key in ("lmax_list", "mmax_list"):
        if len(given[key]) != 1:
            raise CapabilityError(f"fairchem option {key}={given[key]!r}: only one resolution")
    resolution = given["resolution"]
    return {
        "num_layers": given["num_layers"],
        "lmax": given["lmax_list"][0],
        "mmax": given["mmax_list"][0],
        "sphere_channels": given["sphere_channels"],
        "hidden_channels": given["hidden_channels"],
        "edge_channels": given["edge_channels"],
        "cutoff": float(given["cutoff"]),
        "num_rbf": int(given["cutoff"] / given["distance_resolution"]),
        "rbf_width": float(given["basis_width_scalar"]),
        "max_neighbors": given["max_neighbors"],
        "max_z": given["max_num_elements"] - 1,  # theirs counts rows, ours names the last element
        "heads": ["energy", "forces"] if given["regress_forces"] else ["energy"],
        "envelope": None,
        "resolution": None if resolution is None else [resolution, resolution],
        "samples": given["num_sphere_samples"],
        "sphere_points": "spiral",
    }


def _check_constants(state: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    points = spiral_points(given["num_sphere_samples"])
    found = state.get("sphere_points")
    if found is not None and not torch.allclose(found.double(), points, rtol=0, atol=1e-4):
        raise StateMismatchError(
            "sphere_points are not those of fairchem-core 1.10; weights made with other points "
            "can't be converted"
        )


def _scaling(arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    double = torch.float64
    weights = {
        "energy_scale.scale": torch.tensor(ENERGY_SCALE, dtype=double),
        "energy_scale.offset": torch.zeros((), dtype=double),
        "energy_scale.shift": torch.zeros((), dtype=double),
        "energy_scale.reference": torch.zeros(ELEMENTS, dtype=double),
    }
    if "forces" in arguments["heads"]:
        weights["direct_scales.forces.scale"] = torch.ones((), dtype=double)
    return weights


def _basis(centres: Tensor, width: float) -> dict[str, Tensor]:
    spacing = centres[1] - centres[0]
    return {"basis.centres": centres, "basis.coefficient": -0.5 / (width * spacing).square()}


def _layer(take: Any, layer: int, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    theirs, ours = f"layer_blocks.{layer}", f"layers.{layer}"
    edge = f"{theirs}.message_block.edge_block"
    weights = {
        f"{ours}.scalars.source.weight": take(f"{edge}.source_embedding.weight"),
        f"{ours}.scalars.target.weight": take(f"{edge}.target_embedding.weight"),
    }
    for part, name in (("distance", "fc1_dist"), ("mix", "fc1_edge_attr")):
        for kind in ("weight", "bias"):
            weights[f"{ours}.scalars.{part}.{kind}"] = take(f"{edge}.{name}.{kind}")
    for part, name in (("join", "fc1"), ("inner", "fc2"), ("last", "fc3")):
        weights[f"{ours}.update.{part}.weight"] = take(f"{theirs}.{name}_sphere.weight")
    convolution = _convolution(take, f"{theirs}.message_block.so2_block_", arguments)
    return weights | {f"{ours}.message.{name}": value for name, value in convolution.items()}


def _convolution(take: Any, prefix: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    lmax, mmax, channels = arguments["lmax"], arguments["mmax"], arguments["sphere_channels"]
    first: dict[tuple[str, int, str], Tensor] = {}  # (block, order, part) -> (hidden, degrees, C)
    second: dict[tuple[str, int, str], Tensor] = {}
    gates: dict[str, list[Tensor]] = {"weight": [], "bias": []}
    for m in range(mmax + 1):
        for block in ("source", "target"):
            where = f"{prefix}{block}." + (f"so2_conv.{m - 1}." if m else "")
            for part in ("r", "i") if m else ("m0",):
                first[block, m, part] = take(f"{where}fc1_{part}.weight").unflatten(
                    1, (-1, channels)
                )
                second[block, m, part] = take(f"{where}fc2_{part}.weight")
            for kind, found in gates.items():
                found.append(take(f"{where}fc1_dist{'' if m else '0'}.{kind}"))
    weights = {f"gate.{kind}": torch.cat(found) for kind, found in gates.items()}
    for degree in range(lmax + 1):
        columns = [
            value[:, degree - m].T
            for block in ("source", "target")
            for (owner, m, _), value in first.items()
            if owner == block and m <= degree
        ]
        weights[f"first.{degree}"] = torch.cat(columns, dim=1)
    for m in range(mmax + 1):
        rows = [value.T for (_, order, _), value in second.items() if order == m]
        weights[f"second.{m}"] = torch.cat(rows)
    return weights


def _head(take: Any, theirs: str, ours: str) -> dict[str, Tensor]:
    weights = {f"heads.{ours}.last.weight": take(f"{theirs}.fc3.weight")}
    for number in (1, 2):
        for kind in ("weight", "bias"):
            weights[f"heads.{ours}.layers.{number - 1}.{kind}"] = take(
                f"{theirs}.fc{number}.{kind}"
            )
    return weights
