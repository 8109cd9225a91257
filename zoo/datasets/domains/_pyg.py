"""Published graphs by PyG's own classes: `pyg:texas`, `pyg:roman-empire`, `pyg:cora`.

`zoo.datasets.open("pyg:texas?download=true")` lets PyG download the files of the set from where its
authors put them, into the cache folder; without `download` only files that are there are read.
Settings after the question mark: `download`; `root`, another folder (PyG's layout);
`undirected=true` gives every edge both directions and takes self-loops away, `normalise=true`
divides the features of a node by their sum; Planetoid's `split=public`.

All sets have the ten published divisions of their nodes, chosen by
splits={"kind": "index", "fold": 0}: those of Geom-GCN for WebKB, Actor, the Wikipedia networks and
Planetoid (whose usual one is `split=public`), their authors' for the heterophilous graphs. Features
and edges are PyG's. Planetoid's files are pickles, which are read only with trust_pickle=True.
"""

import contextlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch_geometric import datasets
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from zoo._environment import cache_folder, offline
from zoo.datasets._query import settings_of
from zoo.datasets.domains import _pickles
from zoo.datasets.domains._raw import Raw
from zoo.errors import ConfigError, DataError, ZooError, nearest

PYG = "pyg:"
_EXAMPLE = "download=true"
_PLANETOID = "Planetoid"
#: name -> PyG's class, and its settings
SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: ("WebKB", {"name": name}) for name in ("texas", "wisconsin", "cornell")},
    "actor": ("Actor", {}),
    **{name: ("WikipediaNetwork", {"name": name}) for name in ("chameleon", "squirrel")},
    **{
        name: ("HeterophilousGraphDataset", {"name": name})
        for name in ("roman-empire", "amazon-ratings", "minesweeper", "tolokers", "questions")
    },
    **{
        name: (_PLANETOID, {"name": spelled, "split": "geom-gcn"})
        for name, spelled in {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}.items()
    },
}
_SETTINGS = ("download", "root", "undirected", "normalise", "split")
_MASKS = ("train_mask", "val_mask", "test_mask")


def read_pyg(text: str, *, trust_pickle: bool) -> Raw:
    """One of the published graphs.

    Args:
        text: "pyg:NAME" or "pyg:NAME?setting=value&...".
        trust_pickle: whether Planetoid's pickles may be read.

    Raises:
        ConfigError: for an unknown name or setting.
        DataError: for files that aren't there and were not asked for, or can't be had or read.
        UnsafeFileError: for pickles.
    """
    name, _, query = text.removeprefix(PYG).partition("?")
    if name not in SETS:
        raise ConfigError(f"{text}: there is no set {name!r}: {nearest(name, SETS)}")
    kind, own = SETS[name]
    settings = _checked(text, settings_of(query, _EXAMPLE), kind)
    if kind == _PLANETOID and not trust_pickle:
        raise _pickles.refuse(Path(text), "made of the files of Planetoid")
    usual = cache_folder() / "pyg" / ("actor" if kind == "Actor" else kind.lower())
    root = Path(str(settings.get("root", usual))).expanduser()
    own = dict(own) | ({"split": settings["split"]} if "split" in settings else {})
    graph = _loaded(text, kind, own, root, download=bool(settings.get("download", False)))
    return Raw(Path(text), _arrays(graph, settings), "pyg", metadata={"pyg": f"{kind} {name}"})


def _checked(text: str, settings: dict[str, Any], kind: str) -> dict[str, Any]:
    for name, value in settings.items():
        if name not in _SETTINGS or (name == "split" and kind != _PLANETOID):
            raise ConfigError(f"{text} has no setting {name!r}: {nearest(name, _SETTINGS)}")
        if name in ("download", "undirected", "normalise") and not isinstance(value, bool):
            raise ConfigError(f"{text}: {name} is {value!r}; expected true or false")
    if settings.get("split", "public") not in ("public", "geom-gcn"):
        raise ConfigError(f"{text}: split is {settings['split']!r}; expected public or geom-gcn")
    return settings


def _loaded(text: str, kind: str, own: Mapping[str, Any], root: Path, *, download: bool) -> Data:
    """The only graph of a set."""
    base: Any = getattr(datasets, kind)
    if download and offline():
        raise DataError(f"{text} would be downloaded, and ZOO_OFFLINE is set; leave download out")
    if not download:
        base = type(kind, (base,), {"_download": _only_there})
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # about the formats of what PyG writes for itself
            found: Data = base(str(root), **own)[0]
            return found
    except (MemoryError, ZooError):
        raise
    except URLError as error:
        raise DataError(
            f"{text} can't be downloaded: {error.reason}; look to the network, or put the files "
            f"that PyG's {kind} reads below {root} and leave download out"
        ) from error
    except Exception as error:  # files of many authors, and of the network
        raise DataError(
            f"{text}: PyG's {kind} can't be had from {root}: {type(error).__name__}: {error}; "
            "remove that folder to start anew"
        ) from error


def _only_there(dataset: Any) -> None:
    """In the place of PyG's download: nothing is fetched."""
    missing = [path for path in dataset.raw_paths if not Path(path).is_file()]
    if missing:
        names = ", ".join(Path(path).name for path in missing[:3])
        raise DataError(
            f"{dataset.raw_dir} lacks {names}{', ...' if len(missing) > 3 else ''}; put the files "
            "there, or let PyG download them: add ?download=true to the name"
        )


def _arrays(graph: Data, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    assert graph.x is not None and graph.edge_index is not None
    x, edges = graph.x, graph.edge_index
    if settings.get("undirected", False):
        edges = to_undirected(remove_self_loops(edges)[0], num_nodes=len(x))
    if settings.get("normalise", False):
        x = x / x.sum(dim=1, keepdim=True).clamp(min=1.0)
    arrays = {"x": x.numpy(), "edge_index": edges.numpy(), "y": torch.as_tensor(graph.y).numpy()}
    return arrays | {name: graph[name].numpy().T for name in _MASKS}
