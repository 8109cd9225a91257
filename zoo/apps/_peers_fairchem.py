"""fairchem-core's eSCN and EquiformerV2 as contestants of `zoo bench`, where they are installed.

`pip install --no-deps --target PEERS/fairchem fairchem-core==1.10.0` makes them available without
touching this environment; `zoo bench atoms escn --peers PEERS/fairchem` finds them there. Nothing
of it is part of this package.

The package's own `__init__` files import a data loader, a trainer and more, none of which a model
needs: they are passed by with empty packages, and the four modules that the models take from them
are replaced. The neighbour search, which is compiled there, is replaced by a list of the same
edges. The mathematics is the authors'.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.apps._peers import available
from zoo.errors import MissingExtraError
from zoo.functional import neighbor_list

_PACKAGES = ("", ".core", ".core.models", ".core.common", ".core.models.scn") + tuple(
    f".core.models.{name}" for name in ("escn", "equiformer_v2", "equiformer_v2.heads")
)
_INTERFACES = ("BackboneInterface", "HeadInterface", "HydraInterface", "HydraModelInterface")


@dataclass
class _Graph:
    """What their models read of a graph."""

    edge_index: Tensor
    edge_distance: Tensor
    edge_distance_vec: Tensor
    batch_full: Tensor
    atomic_numbers_full: Tensor
    node_offset: int = 0


class _GraphMixin:
    """Gives their models all edges within the cutoff."""

    cutoff: float

    def generate_graph(self, data: Any, **options: Any) -> _Graph:
        edges, _ = neighbor_list(data.pos, self.cutoff, data.batch)
        vectors = data.pos[edges[0]] - data.pos[edges[1]]
        numbers = data.atomic_numbers.long()
        return _Graph(edges, vectors.norm(dim=-1), vectors, data.batch, numbers)


def inputs(batch: Any) -> Any:
    """A batch as their models read it."""
    return types.SimpleNamespace(
        atomic_numbers=batch.atomic_numbers,
        pos=batch.pos,
        batch=batch.batch,
        natoms=torch.bincount(batch.batch),
    )


def escn(folder: Path | None, config: Mapping[str, Any]) -> nn.Module:
    """Their eSCN.

    Args:
        folder: where the package was installed with `pip --target`, if not here.
        config: arguments of their class.

    Raises:
        MissingExtraError: if it is not installed.
    """
    model: nn.Module = _module("escn.escn", folder).eSCN(**config)
    return model


def equiformer_v2(
    folder: Path | None, config: Mapping[str, Any]
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Their EquiformerV2: backbone, energy head, force head; see `escn`."""
    package = _module("equiformer_v2.heads", folder)
    package.EqV2ScalarHead = _module("equiformer_v2.heads.scalar", folder).EqV2ScalarHead
    package.EqV2VectorHead = _module("equiformer_v2.heads.vector", folder).EqV2VectorHead
    backbone = _module("equiformer_v2.equiformer_v2", folder).EquiformerV2Backbone(**config)
    return backbone, package.EqV2ScalarHead(backbone), package.EqV2VectorHead(backbone)


def _module(name: str, folder: Path | None) -> Any:
    if not available("fairchem", folder):
        raise MissingExtraError(
            "fairchem-core is not installed; run: pip install --no-deps --target PEERS "
            "fairchem-core==1.10.0, then zoo bench atoms escn --peers PEERS"
        )
    _replace_packages(folder)
    return importlib.import_module(f"fairchem.core.models.{name}")


def _replace_packages(folder: Path | None) -> None:
    if "fairchem.core.models.base" in sys.modules:
        return
    root = _root(folder)
    for name in _PACKAGES:
        package = types.ModuleType(f"fairchem{name}")
        package.__path__ = [str(root / name.lstrip(".").replace(".", "/"))]
        sys.modules[f"fairchem{name}"] = package
    common: Any = sys.modules["fairchem.core.common"]
    common.gp_utils = _stub("common.gp_utils", initialized=lambda: False)
    _stub("common.utils", conditional_grad=_decorator, load_model_and_weights_from_checkpoint=None)
    _stub("common.registry", registry=types.SimpleNamespace(register_model=_decorator))
    interfaces = {name: type(name, (), {}) for name in _INTERFACES}
    hydra = type("HydraModel", (nn.Module,), {})
    graph = {"GraphData": _Graph, "GraphModelMixin": _GraphMixin, "HydraModel": hydra}
    _stub("models.base", **graph, **interfaces)


def _root(folder: Path | None) -> Path:
    if folder is not None and (folder / "fairchem").is_dir():
        return folder / "fairchem"
    found = importlib.util.find_spec("fairchem")
    assert found is not None and found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))


def _stub(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(f"fairchem.core.{name}")
    module.__dict__.update(attributes)
    sys.modules[f"fairchem.core.{name}"] = module
    return module


def _decorator(argument: object) -> Callable[[Any], Any]:
    """Their registry and their switch of gradients, neither of which is needed."""
    return lambda decorated: decorated
