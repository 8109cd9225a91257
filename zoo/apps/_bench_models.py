"""Training steps of architectures and of their authors' implementations on the same weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

import zoo
from zoo import registry
from zoo.apps import _peers, _peers_fairchem, _peers_pyg

Step = Callable[[], None]


@dataclass(frozen=True)
class Match:
    """An architecture against its authors' implementation.

    Attributes:
        package: the module that has to be importable.
        make: the steps of both sides, "ours" and "peer", from the folder of peers and a batch.
        target: the ratio that is aimed at.
        trained: the preset whose training is compared with a bare loop.
        memory: the ratio of peak memory, the peer's over ours, that is aimed at.
        build: makes "ours" and the "peer" anew, where that takes the peer long.
    """

    package: str
    make: Callable[[Path | None, Data], dict[str, Step]]
    target: str
    trained: str
    memory: str = ">= 1"
    build: Mapping[str, Callable[[], object]] | None = None


def training_step(model: nn.Module, batch: Data, energy: bool = True) -> Step:
    """Energy, forces and the gradient of a loss with respect to the parameters.

    Without `energy`, forces alone are computed and trained on.
    """

    def step() -> None:
        out = model(batch, outputs=None if energy else ["forces"])
        loss = out["forces"].square().sum()
        (loss + out["energy"].sum() if energy else loss).backward()
        model.zero_grad()

    return step


def _tensornet(folder: Path | None, batch: Data) -> dict[str, Step]:
    theirs = _peers.torchmd_net(folder).train()
    state = {k: v for k, v in theirs.state_dict().items() if "distance.box" not in k}
    ours = zoo.convert("tensornet", state, _peers.TORCHMD, source="torchmd-net").train()

    def step() -> None:
        positions = batch.pos.clone().requires_grad_(True)
        energy, forces = theirs(batch.atomic_numbers, positions, batch.batch)
        (energy.sum() + forces.square().sum()).backward()
        theirs.zero_grad()

    return {"ours": training_step(ours, batch), "peer": step}


#: the sizes at which eSCN is compared, fairchem's words
ESCN: Mapping[str, Any] = {
    "num_layers": 4,
    "sphere_channels": 64,
    "hidden_channels": 128,
    "edge_channels": 64,
    "lmax_list": [6],
    "mmax_list": [2],
    "cutoff": 6.0,
    "basis_width_scalar": 2.0,
    "max_neighbors": None,
}


def _escn(folder: Path | None, batch: Data) -> dict[str, Step]:
    theirs = _peers_fairchem.escn(folder, ESCN).train()
    ours = zoo.convert("escn", theirs.state_dict(), ESCN, source="fairchem").train()

    def step() -> None:
        out = theirs(_peers_fairchem.inputs(batch))
        (out["energy"].sum() + out["forces"].square().sum()).backward()
        theirs.zero_grad()

    return {"ours": training_step(ours, batch), "peer": step}


#: the sizes at which EquiformerV2 is compared, fairchem's words
EQUIFORMER_V2: Mapping[str, Any] = {
    "num_layers": 4,
    "sphere_channels": 64,
    "attn_hidden_channels": 64,
    "num_heads": 8,
    "attn_alpha_channels": 64,
    "attn_value_channels": 16,
    "ffn_hidden_channels": 64,
    "edge_channels": 64,
    "norm_type": "layer_norm_sh",
    "lmax_list": [6],
    "mmax_list": [2],
    "grid_resolution": 18,
    "use_grid_mlp": True,
    "weight_init": "uniform",
    "max_radius": 6.0,
    "max_neighbors": None,
    "alpha_drop": 0.0,
    "drop_path_rate": 0.0,
}


def _equiformer_v2(folder: Path | None, batch: Data) -> dict[str, Step]:
    backbone, energy, forces = _peers_fairchem.equiformer_v2(folder, EQUIFORMER_V2)
    theirs = nn.ModuleDict({"backbone": backbone, "energy_head": energy, "force_head": forces})
    state = theirs.train().state_dict()
    ours = zoo.convert("equiformer_v2", state, EQUIFORMER_V2, source="fairchem").train()

    def step() -> None:
        data = _peers_fairchem.inputs(batch)  # a head overwrites what it reads: forces alone
        forces(data, backbone(data))["forces"].square().sum().backward()
        theirs.zero_grad()

    return {"ours": training_step(ours, batch, energy=False), "peer": step}


def _dimenet(name: str, batch: Data) -> dict[str, Step]:
    theirs = _peers_pyg.build(name).train()
    ours = zoo.convert(name, theirs.state_dict(), _peers_pyg.SIZES[name], source="pyg").train()

    def step() -> None:
        positions = batch.pos.clone().requires_grad_(True)
        energy = theirs(batch.atomic_numbers, positions, batch.batch).sum()
        (slope,) = torch.autograd.grad(energy, positions, create_graph=True)
        (energy + slope.square().sum()).backward()
        theirs.zero_grad()

    return {"ours": training_step(ours, batch), "peer": step}


def _build(name: str) -> dict[str, Callable[[], object]]:
    return {"ours": lambda: registry.create(name), "peer": lambda: _peers_pyg.build(name)}


#: architectures whose authors' implementation, or another known one, can be run beside ours
MATCHES: Mapping[str, Match] = {
    "dimenet": Match(
        "torch_geometric",
        lambda _, batch: _dimenet("dimenet", batch),
        ">= 2",
        "dimenet-s",
        build=_build("dimenet"),
    ),
    "dimenetpp": Match(
        "torch_geometric",
        lambda _, batch: _dimenet("dimenetpp", batch),
        ">= 2",
        "dimenetpp-s",
        memory=">= 1.43",  # 0.7 times the peer's
        build=_build("dimenetpp"),
    ),
    "tensornet": Match("torchmdnet", _tensornet, ">= 1.5", "tensornet"),
    "equiformer_v2": Match("fairchem", _equiformer_v2, ">= 3", "equiformer_v2-s"),
    "escn": Match("fairchem", _escn, ">= 2", "escn-s"),
}


def contestants(name: str, folder: Path | None, batch: Data) -> dict[str, Step]:
    """Ours and, where it is installed, the authors' with the same weights.

    Args:
        name: architecture or preset.
        folder: with the authors' packages.
        batch: float32.
    """
    match = MATCHES.get(name)
    if match is not None and _peers.available(match.package, folder):
        return match.make(folder, batch)
    return {"ours": training_step(registry.create(name).train(), batch)}
