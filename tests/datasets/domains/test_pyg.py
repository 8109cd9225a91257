"""Published graphs by PyG's classes, from small files of the formats that they are published in."""

import pickle
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

import zoo.datasets as zd
from zoo.datasets.domains._pyg import SETS
from zoo.errors import ConfigError, DataError, UnsafeFileError

NODES = 12
CITATIONS = 520  # PyG takes 500 nodes to validate on
FOLDS = 10


def parts_of(nodes: int) -> np.ndarray:
    """The part (0, 1, 2) of each node in each fold."""
    return np.stack([np.random.default_rng(k).permutation(nodes) % 3 for k in range(FOLDS)])


def divisions(folder: Path, name: str, nodes: int = NODES) -> np.ndarray:
    """The ten files of splits."""
    parts = parts_of(nodes)
    for fold, part in enumerate(parts):
        masks = {f"{n}_mask": (part == k).astype(np.uint8)
                 for k, n in enumerate(("train", "val", "test"))}  # fmt: skip
        np.savez(folder / f"{name}_split_0.6_0.2_{fold}.npz", **masks)
    return parts


def geom_gcn(folder: Path, name: str, *, indices: bool = False) -> np.ndarray:
    """The two tables and the splits of Geom-GCN."""
    folder.mkdir(parents=True)
    rows = ["node_id\tfeature\tlabel"]
    for node in range(NODES):
        values = [node % 4, 4] if indices else [int(k == node % 4) for k in range(5)]
        rows.append(f"{node}\t{','.join(map(str, values))}\t{node % 3}")
    (folder / "out1_node_feature_label.txt").write_text("\n".join([*rows, ""]))
    edges = ["node_id\tnode_id", "0\t1", "1\t0", "2\t5", "2\t5", "3\t3", "7\t11"]
    (folder / "out1_graph_edges.txt").write_text("\n".join([*edges, ""]))
    return divisions(folder, name)


def heterophilous(folder: Path, name: str) -> np.ndarray:
    folder.mkdir(parents=True)
    parts = parts_of(NODES)
    np.savez(
        folder / f"{name}.npz",
        node_features=np.eye(NODES, 5, dtype=np.float32),
        node_labels=np.arange(NODES) % 3,
        edges=np.array([[0, 1], [2, 5], [7, 11]]),
        **{f"{n}_masks": parts == k for k, n in enumerate(("train", "val", "test"))},
    )
    return parts


def planetoid(folder: Path, name: str) -> np.ndarray:
    """Pickles of the citation networks: six nodes to train on, the last two to test on."""
    sparse = pytest.importorskip("scipy.sparse")
    folder.mkdir(parents=True)
    features = np.eye(CITATIONS, 5, dtype=np.float32)
    labels = np.eye(3)[np.arange(CITATIONS) % 3]
    graph = {0: [1], 1: [0], 2: [5, 5], 5: [2], 7: [11], 11: [7]}
    held: dict[str, Any] = {
        "x": sparse.csr_matrix(features[:6]), "y": labels[:6],
        "allx": sparse.csr_matrix(features[:-2]), "ally": labels[:-2],
        "tx": sparse.csr_matrix(features[-2:]), "ty": labels[-2:],
        "graph": graph | {k: [] for k in range(CITATIONS) if k not in graph},
    }  # fmt: skip
    for key, value in held.items():
        (folder / f"ind.{name}.{key}").write_bytes(pickle.dumps(value))
    (folder / f"ind.{name}.test.index").write_text(f"{CITATIONS - 2}\n{CITATIONS - 1}\n")
    return divisions(folder, name, CITATIONS)


def place(root: Path, name: str) -> Path:
    """Where PyG looks for the files of a set."""
    kind, own = SETS[name]
    inner = {
        "WebKB": Path(name), "Actor": Path(), "WikipediaNetwork": Path(name, "geom_gcn"),
        "HeterophilousGraphDataset": Path(name.replace("-", "_")),
        "Planetoid": Path(own.get("name", ""), "geom-gcn"),
    }[kind]  # fmt: skip
    return root / inner / "raw"


def build(root: Path, name: str) -> np.ndarray:
    kind, _ = SETS[name]
    folder = place(root, name)
    if kind == "HeterophilousGraphDataset":
        return heterophilous(folder, name.replace("-", "_"))
    if kind == "Planetoid":
        return planetoid(folder, name)
    return geom_gcn(folder, "film" if kind == "Actor" else name, indices=kind == "Actor")


def pairs(graph: Any) -> list[tuple[int, ...]]:
    return sorted(map(tuple, graph.edge_index.T.tolist()))


@pytest.mark.parametrize("name", ["texas", "actor", "squirrel", "roman-empire", "pubmed"])
def test_sets(name: str, tmp_path: Path) -> None:
    parts = build(tmp_path, name)
    trusted = name == "pubmed"
    nodes = CITATIONS if trusted else NODES
    for fold in (0, 7):
        dataset = zd.open(
            f"pyg:{name}?root={tmp_path}", splits={"kind": "index", "fold": fold},
            trust_pickle=trusted,
        )  # fmt: skip
        graph = dataset[0]
        for k, split in enumerate(("train", "val", "test")):
            assert graph[f"{split}_mask"].tolist() == (parts[fold] == k).tolist()
    dataset.check()
    assert dataset.domain == "graph" and graph.x.shape == (nodes, 5)
    assert graph.y.tolist() == [k % 3 for k in range(nodes)]
    both = {(0, 1), (1, 0), (2, 5), (5, 2), (7, 11), (11, 7)}
    found = set(pairs(graph))
    if SETS[name][0] in ("HeterophilousGraphDataset", "Planetoid"):
        assert found == both
    else:  # as they are listed, each once
        assert pairs(graph) == [(0, 1), (1, 0), (2, 5), (3, 3), (7, 11)]
    turned = zd.open(f"pyg:{name}?root={tmp_path}&undirected=true&normalise=true",
                     trust_pickle=trusted)[0]  # fmt: skip
    assert set(pairs(turned)) == both and len(pairs(turned)) == len(both)
    sums = turned.x.sum(dim=1)
    assert bool(((sums == 1) | (sums == 0)).all())
    assert turned.train_mask.shape == (nodes, FOLDS)  # no fold was chosen


def test_all_sets_are_named() -> None:
    kinds = {kind for kind, _ in SETS.values()}
    assert kinds == {
        "WebKB", "Actor", "WikipediaNetwork", "HeterophilousGraphDataset", "Planetoid"
    }  # fmt: skip
    assert len(SETS) == 14


def test_nothing_is_fetched_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"lacks out1_node_feature_label.txt.*add \?download=true"):
        zd.open(f"pyg:texas?root={tmp_path}")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(DataError, match="ZOO_OFFLINE is set"):
        zd.open(f"pyg:texas?download=true&root={tmp_path}")
    monkeypatch.delenv("ZOO_OFFLINE")
    asked: list[str] = []

    def download(url: str, folder: str) -> str:
        asked.append(url)
        raise OSError("no network here")

    module = sys.modules["torch_geometric.datasets.webkb"]
    monkeypatch.setattr(module, "download_url", download)
    with pytest.raises(DataError, match="OSError: no network here"):
        zd.open(f"pyg:texas?download=true&root={tmp_path}")
    assert len(asked) == 1 and "geom-gcn" in asked[0]

    def unreachable(url: str, folder: str) -> str:
        raise URLError("Name or service not known")

    monkeypatch.setattr(module, "download_url", unreachable)
    with pytest.raises(DataError, match="Name or service not known; look to the network") as told:
        zd.open(f"pyg:texas?download=true&root={tmp_path}")
    assert "remove that folder" not in str(told.value)


def test_pickles_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "cora")
    with pytest.raises(UnsafeFileError, match="trust_pickle=True"):
        zd.open(f"pyg:cora?root={tmp_path}")
    public = place(tmp_path, "cora").parent.parent / "raw"
    place(tmp_path, "cora").rename(public)
    graph = zd.open(f"pyg:cora?root={tmp_path}&split=public", trust_pickle=True)[0]
    assert torch.nonzero(graph.train_mask).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.nonzero(graph.test_mask).flatten().tolist() == [518, 519]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pyg:texass", "did you mean 'texas'"),
        ("pyg:texas?fold=1", "no setting 'fold'"),
        ("pyg:texas?split=public", "no setting 'split'"),
        ("pyg:cora?split=half", "expected public or geom-gcn"),
        ("pyg:texas?download=1", "expected true or false"),
    ],
)
def test_bad_words(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        zd.open(words, trust_pickle=True)
    with pytest.raises(ConfigError, match="of the domain 'graph'"):
        zd.open("pyg:texas", domain="vector")


def test_damaged_files(tmp_path: Path) -> None:
    build(tmp_path, "texas")
    (place(tmp_path, "texas") / "out1_graph_edges.txt").write_text("a\tb\n1\tx\n")
    with pytest.raises(DataError, match="ValueError.*remove that folder"):
        zd.open(f"pyg:texas?root={tmp_path}")
