"""Graphs: the layouts of published sets, masks, tables, pickles, refusals."""

import pickle
from pathlib import Path

import domain_files as made
import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Batch, Data

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, UnknownNameError, UnsafeFileError


def test_heterophilous_layout(tmp_path: Path) -> None:
    path = made.heterophilous(tmp_path / "a.npz")
    dataset = zd.open(path)
    sample = dataset[0]
    pairs = {tuple(pair) for pair in sample.edge_index.T.tolist()}
    assert pairs == {(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2), (3, 0), (0, 3), (4, 5), (5, 4)}
    assert sample.edge_index.shape == (2, 10) and sample.x.dtype == torch.float32
    assert sample.train_mask.shape == (12, 3) and sample.y.tolist() == [k % 5 for k in range(12)]
    one = zd.open(path, splits={"kind": "index", "fold": 2})
    assert one[0].train_mask.shape == (12,)
    with np.load(path) as raw:
        assert np.array_equal(one[0].test_mask, raw["test_masks"][2])
    assert one.split_hash and one.splits == {}
    with pytest.raises(UnknownNameError, match="one sample.*sample.train_mask"):
        one.split("train")
    with pytest.raises(ConfigError, match="3 published folds; choose one"):
        zd.open(path, splits={"kind": "index"})
    mine = zd.open(
        path, splits={"kind": "random", "fractions": {"train": 0.5, "test": 0.5}, "seed": 1}
    )
    assert mine[0].train_mask.sum() == 6 and not (mine[0].train_mask & mine[0].test_mask).any()
    assert "val_mask" not in mine[0]


def test_webkb(tmp_path: Path) -> None:
    folder = made.webkb(tmp_path / "texas")
    sample = zd.open(folder)[0]
    assert sample.x.tolist() == np.eye(4).tolist() and sample.y.tolist() == [0, 1, 0, 1]
    assert sample.edge_index.tolist() == [[0, 1, 3], [1, 2, 3]], "directed, each once"
    assert sample.train_mask.shape == (4, 2)
    fold = zd.open(folder, splits={"kind": "index", "fold": 1})
    assert fold[0].train_mask.tolist() == [False, True, True, False]
    labels = folder / "out1_node_feature_label.txt"
    whole = labels.read_text()
    labels.write_text(whole.replace("3\t0,0,0,1\t1", "3\t0,0,1\t1"))
    with pytest.raises(DataError, match="node 3 has 3 features, node 0 has 4"):
        zd.open(folder)
    labels.write_text(whole.replace("\n3\t", "\n5\t"))
    with pytest.raises(DataError, match="4 nodes are not numbered from 0 on"):
        zd.open(folder)
    labels.write_text(whole)
    (folder / "out1_graph_edges.txt").write_text("a\tb\n0\t9\n")
    with pytest.raises(DataError, match=r"line 2: the edge \[0, 9\]"):
        zd.open(folder)
    (folder / "splits" / "texas_split_0.6_0.2_0.npz").unlink()
    with pytest.raises(DataError, match=r"folds \[1\], expected 0"):
        zd.open(folder)


def test_actor_lists_the_ones(tmp_path: Path) -> None:
    folder = made.webkb(tmp_path / "film", "film")
    (folder / "out1_node_feature_label.txt").write_text(
        "node_id\tfeature\tlabel\n0\t1,4\t0\n1\t0\t1\n2\t2,3,4\t0\n3\t1\t1\n"
    )
    assert zd.open(folder)[0].x.tolist() == [
        [0, 1, 0, 0, 1],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1],
        [0, 1, 0, 0, 0],
    ]


def test_graph_tables(tmp_path: Path) -> None:
    folder = made.graph_tables(tmp_path / "g")
    dataset = zd.open(folder)
    sample = dataset[0]
    assert dataset.domain == "graph" and dataset.classes == ("blue", "red")
    assert sample.edge_index.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert sample.edge_attr.tolist() == [[0.5], [1], [2]] and sample.x.tolist()[1] == [3, 4]
    assert sample.y.tolist() == [1, 0, 1] and sample.train_mask.tolist() == [True, False, True]
    pair = zd.open(folder / "edges.csv", keys={"nodes": "nodes.csv"})
    assert pair.hash == dataset.hash
    (folder / "edges.csv").write_text("source,target\na,d\n")
    with pytest.raises(DataError, match="edges.csv, line 2, column 'target': nodes.csv has no"):
        zd.open(folder)
    with pytest.raises(DataError, match="has no column 'src', which keys asks for"):
        zd.open(folder, keys={"source": "src"})
    with pytest.raises(ConfigError, match="did you mean 'source'"):
        (folder / "edges.csv").write_text("source,target\na,b\n")
        zd.open(folder, keys={"sauce": "a"})


def test_several_graphs(tmp_path: Path) -> None:
    g = made.generator()
    arrays = {
        "x": g.normal(size=(5, 2)),
        "edge_index": np.array([[0, 1, 0], [1, 0, 2]]),
        "counts": np.array([2, 3]),
        "edge_counts": np.array([2, 1]),
        "y": np.array([0.5, 1.5]),
        "edge_label": np.array([1, 0, 1]),
    }
    dataset = zd.open(made.npz(tmp_path / "a.npz", **arrays))
    assert dataset[1].edge_index.tolist() == [[0], [2]] and dataset[1].y.tolist() == [1.5]
    assert dataset.labels == {"y", "edge_label"} and dataset[0].edge_label.tolist() == [1, 0]
    batch = Batch.from_data_list(list(dataset))
    assert batch.edge_index.tolist() == [[0, 1, 2], [1, 0, 4]]
    with pytest.raises(DataError, match=r"edge 0 of graph 1 is \[0, 3\], but there are 3 nodes"):
        zd.open(made.npz(tmp_path / "a.npz", **arrays | {"edge_index": [[0, 1, 0], [1, 0, 3]]}))
    with pytest.raises(DataError, match="for each of 2 graphs how many of the 3 edges"):
        zd.open(made.npz(tmp_path / "a.npz", **arrays | {"edge_counts": np.array([2, 2])}))


def test_class_names_bound_the_labels(tmp_path: Path) -> None:
    arrays = {"x": np.eye(3), "edge_index": np.zeros((2, 0), dtype=int)}
    names = {"class_names": np.array(["a", "b"])}
    good = made.npz(tmp_path / "a.npz", **arrays, **names, y=np.array([0, 1, 1]))
    assert zd.open(good).classes == ("a", "b") and zd.open(good)[0].edge_index.shape == (2, 0)
    with pytest.raises(DataError, match="y has the class 2, but there are 2 classes, 0 to 1"):
        zd.open(made.npz(tmp_path / "a.npz", **arrays, **names, y=np.array([0, 1, 2])))
    with pytest.raises(DataError, match="has the class 'c': "):
        zd.open(made.npz(tmp_path / "a.npz", **arrays, **names, y=np.array(["a", "b", "c"])))


def test_pickles_of_pyg_and_planetoid(tmp_path: Path) -> None:
    g = made.generator()
    samples = [
        Data(
            x=torch.tensor(g.normal(size=(n, 2))),
            edge_index=torch.tensor([[0, 1], [1, 0]]),
            y=torch.tensor([n % 2]),
        )
        for n in (2, 3)
    ]
    path = tmp_path / "a.pt"
    torch.save(samples, path)
    with pytest.raises(UnsafeFileError, match="can run any code.*trust_pickle=True"):
        zd.open(path)
    dataset = zd.open(path, trust_pickle=True)
    assert dataset.domain == "graph" and len(dataset) == 2
    assert torch.equal(dataset[1].x, samples[1].x) and dataset[1].y.tolist() == [1]
    assert dataset[1].edge_index.tolist() == [[0, 1], [1, 0]]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="a.pt can't be read"):
        zd.open(path, trust_pickle=True)


def test_planetoid(tmp_path: Path) -> None:
    eye = np.eye(3)
    parts = {
        "x": scipy.sparse.csr_matrix(np.eye(2, 4)),
        "y": eye[[0, 1]],
        "allx": scipy.sparse.csr_matrix(np.eye(4, 4)),
        "ally": eye[[0, 1, 2, 0]],
        "tx": scipy.sparse.csr_matrix(np.ones((2, 4))),
        "ty": eye[[2, 1]],
        "graph": {0: [1, 5], 1: [0], 5: [0, 4]},
    }
    for name, part in parts.items():
        (tmp_path / f"ind.cora.{name}").write_bytes(pickle.dumps(part, protocol=2))
    (tmp_path / "ind.cora.test.index").write_text("5\n4\n")
    sample = zd.open(tmp_path)[0]  # plain data need no trust
    assert sample.y.tolist() == [0, 1, 2, 0, 1, 2] and sample.x[4:].tolist() == [[1] * 4] * 2
    pairs = {tuple(pair) for pair in sample.edge_index.T.tolist()}
    assert pairs == {(0, 1), (1, 0), (0, 5), (5, 0), (5, 4), (4, 5)}
    assert sample.train_mask.tolist() == [True, True] + [False] * 4
    assert sample.test_mask.tolist() == [False] * 4 + [True] * 2
    (tmp_path / "ind.cora.ty").write_bytes(pickle.dumps(pytest.raises))
    with pytest.raises(UnsafeFileError, match="more than plain data"):
        zd.open(tmp_path)
