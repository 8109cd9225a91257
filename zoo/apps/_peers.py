"""The authors' implementations as contestants of `zoo bench`, where they are installed.

`pip install --no-deps --target PEERS torchmd-net==3.1.0 h5py` makes torchmd-net available without
touching this environment; `zoo bench atoms --peers PEERS` finds it there. Nothing of it is part
of this package.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import MissingExtraError
from zoo.functional import neighbor_list

TORCHMD = {
    "model": "tensornet",
    "embedding_dimension": 128,
    "num_layers": 2,
    "num_rbf": 32,
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "activation": "silu",
    "cutoff_lower": 0.0,
    "cutoff_upper": 4.5,
    "max_z": 16,
    "max_num_neighbors": 64,
    "equivariance_invariance_group": "O(3)",
    "static_shapes": False,
    "box_vecs": None,
    "output_model": "Scalar",
    "reduce_op": "add",
    "derivative": True,
    "prior_model": None,
    "precision": 32,
    "output_mlp_num_layers": 0,
    "atom_filter": -1,
}


def available(package: str, folder: Path | None) -> bool:
    """Whether a peer can be imported, from this environment or from `folder`."""
    if folder is not None and (folder / package).is_dir():
        return True
    return importlib.util.find_spec(package) is not None


def torchmd_net(folder: Path | None) -> nn.Module:
    """torchmd-net's TensorNet in plain torch, without its compiled CUDA kernels.

    Its neighbour search is replaced by a list of the same pairs with self-loops, since the
    package's own would be compiled for minutes on a CPU; the mathematics is the authors'.

    Args:
        folder: where the package was installed with `pip --target`, if not here.

    Raises:
        MissingExtraError: if it is not installed.
    """
    if not available("torchmdnet", folder):
        raise MissingExtraError(
            "torchmd-net is not installed; run: pip install --no-deps --target PEERS "
            "torchmd-net==3.1.0 h5py, then zoo bench atoms --peers PEERS"
        )
    if folder is not None:
        sys.path.insert(0, str(folder))
    try:
        create = _import_without_kernels()
    finally:
        if folder is not None:
            sys.path.remove(str(folder))
    model = create(TORCHMD)
    model.get_submodule("representation_model").distance = _PlainDistance(TORCHMD["cutoff_upper"])
    return model


def _import_without_kernels() -> Callable[[dict[str, Any]], nn.Module]:
    for name in ("torchmdnet.extensions.warp_ops", "torchmdnet.extensions.warp_ops.neighbors"):
        stub: Any = types.ModuleType(name)
        stub.__path__ = []
        stub.warp_neighbor_pairs = None
        sys.modules.setdefault(name, stub)
    module: Any = importlib.import_module("torchmdnet.models.model")
    create: Callable[[dict[str, Any]], nn.Module] = module.create_model
    return create


class _PlainDistance(nn.Module):
    """Pairs within the cutoff and self-loops, in the form torchmd-net expects."""

    def __init__(self, cutoff: Any) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        self.register_buffer("box", torch.zeros(3, 3))

    def forward(
        self, pos: Tensor, batch: Tensor | None = None, box: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        edges, _ = neighbor_list(pos, self.cutoff, batch)
        atoms = torch.arange(len(pos))
        vectors = pos[edges[0]] - pos[edges[1]]
        index = torch.cat([edges, torch.stack([atoms, atoms])], dim=1)
        zeros = pos.new_zeros(len(pos))
        distances = torch.cat([vectors.norm(dim=-1), zeros])
        return index, distances, torch.cat([vectors, pos.new_zeros(len(pos), 3)])
