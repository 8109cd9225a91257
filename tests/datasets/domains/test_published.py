"""Raw files of the sets that papers on manifolds use: graphs, matrices, pictures."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import published_files as made
import pytest
import torch
from scipy import sparse

import zoo.datasets as zd
from zoo.datasets.domains._matlab import read_mat
from zoo.datasets.domains._trees import sparse_matrix
from zoo.errors import ConfigError, DataError, UnsafeFileError

# --- graphs ------------------------------------------------------------------------------------


def test_hgcn_folders(tmp_path: Path) -> None:
    dataset = zd.open(made.hgcn(tmp_path, "disease_lp"))
    graph = dataset[0]
    assert dataset.domain == "graph" and graph.y.tolist() == [1, 1, 0, 1, 0, 0, 0]
    assert graph.y.dtype == torch.int64  # the file holds floats
    assert graph.x.tolist()[2] == [4, 5] and graph.x.tolist()[0] == [0, 1]
    pairs = set(map(tuple, graph.edge_index.T.tolist()))
    # nodes are numbered as they first appear: r, a, b, c, d, e, f
    one_way = {(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)}
    assert pairs == one_way | {(b, a) for a, b in one_way} and graph.edge_index.shape == (2, 12)
    links = zd.open(
        tmp_path / "disease_lp",
        splits={"kind": "edges", "fractions": {"train": 0.5, "val": 0.2, "test": 0.3}},
    )
    assert links.split("train")[0].edge_label.shape == (6,)  # type: ignore[attr-defined]


def test_the_authors_division_of_disease_nc(tmp_path: Path) -> None:
    place = made.hgcn(tmp_path)
    count = 101  # a star: 30 infected
    (place / "disease_nc.edges.csv").write_text("".join(f"0,{k}\n" for k in range(1, count)))
    sparse.save_npz(place / "disease_nc.feats.npz", sparse.csc_matrix(np.eye(count)))
    np.save(place / "disease_nc.labels.npy", (np.arange(count) % 10 < 3).astype(float))
    dataset = zd.open(place)
    graph = dataset[0]
    assert graph.y.sum() == 31 and torch.equal(graph.x, torch.eye(count, dtype=torch.float64))
    # 10 % and 60 % of the smaller class, as many of the other
    assert Counter(graph.y[graph.val_mask].tolist()) == {0: 3, 1: 3}
    assert Counter(graph.y[graph.test_mask].tolist()) == {0: 19, 1: 19}
    draw = np.random.RandomState(1234)
    positive, negative = np.flatnonzero(graph.y == 1), np.flatnonzero(graph.y == 0)
    draw.shuffle(positive)
    draw.shuffle(negative)
    expected = np.sort(np.concatenate([positive[:3], negative[:3]]))
    assert np.array_equal(np.flatnonzero(graph.val_mask), expected)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_matrices(tmp_path: Path, kind: str) -> None:
    dense = np.random.default_rng(0).normal(size=(5, 3)) * (np.arange(15).reshape(5, 3) % 2)
    matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "coo": sparse.coo_matrix}[kind]
    sparse.save_npz(tmp_path / "a.npz", matrix(dense))
    assert np.array_equal(sparse_matrix(tmp_path / "a.npz"), dense)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": np.array("bsr")}, "no sparse matrix of SciPy"),
        ({"indices": np.array([0, 7])}, "don't fit its shape"),
        ({"indptr": np.array([0, 2, 1])}, "index pointer doesn't fit"),
        ({"indptr": np.array([0, 1, 5])}, "index pointer doesn't fit"),
        ({"shape": np.array([2, 1 << 40])}, "at most 268435456"),
        ({"shape": np.array([2.0, 2.0])}, "ill-shaped"),
        ({"data": np.array(["a", "b"])}, "expected numbers"),
    ],
)
def test_damaged_sparse_matrices(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    whole = {
        "format": np.array("csr"), "shape": np.array([2, 2]), "data": np.array([1.0, 2.0]),
        "indices": np.array([0, 1]), "indptr": np.array([0, 1, 2]),
    }  # fmt: skip
    np.savez(tmp_path / "a.npz", **(whole | changed))
    with pytest.raises(DataError, match=words):
        sparse_matrix(tmp_path / "a.npz")


def test_refused_hgcn_folders(tmp_path: Path) -> None:
    place = made.hgcn(tmp_path)
    np.save(place / "disease_nc.labels.npy", np.zeros(5))
    with pytest.raises(DataError, match=r"labels.npy has shape \(5,\), expected \(7,\)"):
        zd.open(place)
    (place / "disease_nc.edges.csv").write_text("a,b\nb,c\n")
    with pytest.raises(DataError, match="7 rows of features, but the edges name 3 nodes"):
        zd.open(place)
    (place / "disease_nc.edges.csv").write_text("a,b\nb\n")
    with pytest.raises(DataError, match="line 2 should hold 2 words with ','"):
        zd.open(place)


def test_airports(tmp_path: Path) -> None:
    import pickle

    graph = nx.Graph([(7, 9), (9, 4)])
    for node, growth in ((7, 0.5), (9, 1.05), (4, 1.2)):
        graph.nodes[node]["feat"] = [0.1 * node, 0.2, 0.3, 0.4, growth]
    path = tmp_path / "airport.p"
    path.write_bytes(pickle.dumps(graph))
    with pytest.raises(UnsafeFileError, match="trust_pickle=True"):
        zd.open(path)
    dataset = zd.open(path, trust_pickle=True)
    sample = dataset[0]
    assert sample.x.shape == (3, 4) and sample.y.tolist() == [0, 1, 2]
    assert sample.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    bare = zd.open(path, trust_pickle=True, keys={"y": None})[0]
    assert bare.x.shape == (3, 5) and "y" not in bare
    del graph.nodes[4]["feat"]
    path.write_bytes(pickle.dumps(graph))
    with pytest.raises(DataError, match='nodes don\'t all have "feat"'):
        zd.open(path, trust_pickle=True)


def test_triples(tmp_path: Path) -> None:
    words, numbers = zd.open(made.triples(tmp_path)), zd.open(made.openke(tmp_path))
    graph = words[0]
    assert graph.x.shape == (4, 0) and graph.num_nodes == 4
    assert graph.edge_index.T.tolist() == [[0, 1], [2, 1], [0, 3], [3, 1], [2, 3]]
    assert graph.edge_type.tolist() == [0, 0, 1, 0, 1]
    assert graph.edge_split.tolist() == [0, 0, 0, 1, 2]
    assert words.metadata["relations"] == ["is_a", "eats"] == numbers.metadata["relations"]
    assert words.hash == numbers.hash
    divided = zd.open(tmp_path / "WN18RR", splits={"kind": "edges"})
    assert divided.edge_splits == ("train", "val", "test")  # type: ignore[attr-defined]
    train, val = divided.split("train")[0], divided.split("val")[0]
    assert (
        train.edge_index.T.tolist() == [[0, 1], [2, 1], [0, 3]] == train.edge_label_index.T.tolist()
    )
    assert val.edge_type.tolist() == [0, 0, 1] and val.edge_label_type.tolist() == [0]
    assert val.edge_label_index.tolist() == [[3], [1]] and val.edge_label.tolist() == [1]


def test_numbered_triples_without_names(tmp_path: Path) -> None:
    for name, text in (("train", "2\n0 1 0\n2 1 1\n"), ("valid", "1\n2 0 0\n"), ("test", "0\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    dataset = zd.open(tmp_path)
    assert dataset[0].num_nodes == 3 and dataset[0].edge_type.tolist() == [0, 1, 0]
    (tmp_path / "test.txt").write_text("2\n0 1 0\n")
    with pytest.raises(DataError, match="says 2 triples and has 1 lines"):
        zd.open(tmp_path)
    (tmp_path / "test.txt").write_text("1\n0 -1 0\n")
    with pytest.raises(DataError, match="the triple .0, -1, 0. .* isn't there"):
        zd.open(tmp_path)


def test_refused_triples(tmp_path: Path) -> None:
    place = made.openke(tmp_path)
    (place / "test2id.txt").write_text("1\n2 9 1\n")
    with pytest.raises(DataError, match=r"\[2, 9, 1\].*4 entities, 2 relations"):
        zd.open(place)
    (place / "entity2id.txt").write_text("4\ncat\t0\nanimal\t1\ndog\t2\nmouse\t5\n")
    with pytest.raises(DataError, match="says 4 names, and doesn't number as many"):
        zd.open(place)
    (place / "relation2id.txt").unlink()
    (place / "entity2id.txt").write_text("1\ncat\t0\n")
    with pytest.raises(DataError, match="there is no .*relation2id.txt"):
        zd.open(place)
    other = made.triples(tmp_path / "b")
    (other / "train.txt").write_text("cat is_a animal\n")
    with pytest.raises(DataError, match=r"train.txt, line 1 should hold 3 words with '\\t'"):
        zd.open(other)


def test_closures(tmp_path: Path) -> None:
    dataset = zd.open(made.closure(tmp_path))
    graph = dataset[0]
    assert graph.edge_index.T.tolist() == [[0, 1], [2, 1], [1, 3]] and graph.x.shape == (4, 0)
    names = dataset._store.row_columns["name"]  # type: ignore[attr-defined]
    assert names.tolist() == ["cat.n.01", "animal.n.01", "dog.n.01", "entity.n.01"]
    table = zd.open(made.closure_csv(tmp_path))
    assert table[0].edge_index.T.tolist() == [[0, 1], [1, 2]]
    assert table[0].edge_attr.flatten().tolist() == [1, 2]
    path = tmp_path / "edges.csv"
    path.write_text("source,target\na,b\nb,c\n")
    with pytest.raises(DataError, match="needs a table of edges .* and one of nodes"):
        zd.open(path)
    assert zd.open(path, keys={"nodes": None})[0].num_nodes == 3
    (tmp_path / "noun_closure.tsv").write_text("a\tb\tc\n")
    with pytest.raises(DataError, match="line 1 should hold 2 words"):
        zd.open(tmp_path / "noun_closure.tsv")


# --- matrices and signals ------------------------------------------------------------------------


def test_hdm05(tmp_path: Path) -> None:
    place = made.hdm05(tmp_path)
    names = sorted(file.name for file in place.glob("*.npy"))
    spec = {"kind": "shuffled", "seed": 1024, "fractions": {"test": 0.5, "train": 0.5}}
    dataset = zd.open(place, splits=spec)
    assert dataset.domain == "matrix" and dataset.columns["file"].tolist() == names
    assert dataset.label("y").tolist() == [1, 2, 3, 1, 2, 3]
    random.Random(1024).shuffle(names)
    held = dataset.split("test").columns["file"].tolist()
    assert held == sorted(names[:3])
    unlabelled = zd.open(place, keys={"y": None})
    assert not unlabelled.labels
    same = zd.open(made.hdm05(tmp_path / "c", dtype="<c16"))
    assert same.hash == dataset.hash  # complex numbers without imaginary parts
    np.save(tmp_path / "c" / "hdm05" / "s0_clip_1.npy", made.spd(1)[0] * 1j)
    with pytest.raises(DataError, match="should hold real numbers"):
        zd.open(tmp_path / "c" / "hdm05")


def test_afew_has_folders_for_splits(tmp_path: Path) -> None:
    dataset = zd.open(made.hdm05(tmp_path, ("train", "val")))
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 6, "val": 6}
    assert dataset.label("y").max() == 3


def test_numbers_of_trials_are_no_labels(tmp_path: Path) -> None:
    for k, matrix in enumerate(made.spd(3)):
        np.save(tmp_path / f"trial_{k:03d}.npy", matrix)
    assert not zd.open(tmp_path).labels


def test_radar(tmp_path: Path) -> None:
    place = made.radar(tmp_path)
    dataset = zd.open(place, domain="signal")
    raw = np.load(place / "signal1_1.npy")
    assert dataset[1]["x"].shape == (2, 20) and dataset.label("y").tolist() == [0, 1, 0, 1]
    assert np.array_equal(dataset[1]["x"].numpy(), np.stack([raw.real, raw.imag]))
    np.savez(tmp_path / "a.npz", X=np.stack([raw, raw]), y=np.array([0, 1]))
    stacked = zd.open(tmp_path / "a.npz")
    assert stacked.domain == "signal" and torch.equal(stacked[0]["x"], dataset[1]["x"])
    np.savez(tmp_path / "b.npz", X=np.stack([raw, raw])[None])
    assert zd.open(tmp_path / "b.npz")[0]["x"].shape == (4, 20)


def test_matlab_folders(tmp_path: Path) -> None:
    from scipy.io import savemat

    place = made.mats(tmp_path)
    dataset = zd.open(place)
    assert dataset.domain == "matrix" and dataset.classes == ("1", "2")
    assert set(dataset.columns["split"]) == {"train"}
    assert np.allclose(dataset[2]["x"].numpy(), made.spd(4)[1])  # files 0 and 2, then 1 and 3
    savemat(place / "train" / "1" / "0.mat", {"Y1": made.spd(4)[0], "weights": np.ones((2, 2))})
    with pytest.raises(DataError, match=r"one matrix of numbers; it has Y1, weights; name it with"):
        zd.open(place)
    assert zd.open(place, keys={"x": "Y1"}).hash == dataset.hash
    (place / "train" / "1" / "0.mat").write_bytes(b"MATLAB 7.3")
    with pytest.raises(DataError, match="no MATLAB file of the versions 5 to 7.2"):
        zd.open(place)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_matlab_files_hold(tmp_path: Path, compressed: bool) -> None:
    """Whatever SciPy writes of numbers is read back, and nothing else is."""
    from scipy.io import savemat

    path = tmp_path / "a.mat"
    rng = made.generator()
    arrays: dict[str, Any] = {
        "doubles": rng.normal(size=(3, 4)),
        "floats": rng.normal(size=(2, 2)).astype(np.float32),
        "bytes": np.array([[1, 2, 250]], np.uint8),
        "whole": np.array([[1, -2], [3, 70000]], np.int64),
        "complex": rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)),
        "cube": rng.normal(size=(2, 3, 4)),
    }
    others = {"text": "abcdef", "cell": np.array([[1, "a"]], object), "struct": {"a": np.eye(3)}}
    savemat(path, arrays | others | {"sparse": sparse.eye(3)}, do_compression=compressed)
    for name, array in arrays.items():
        read = read_mat(path, name)
        assert np.array_equal(read, array) and read.dtype.kind == array.dtype.kind
    for name in (*others, "sparse", "missing"):
        with pytest.raises(DataError, match=f"one matrix of numbers called '{name}'"):
            read_mat(path, name)


# --- pictures ----------------------------------------------------------------------------------


def test_cifar10(tmp_path: Path) -> None:
    dataset = zd.open(made.cifar10(tmp_path))
    assert dataset.domain == "image" and len(dataset) == 12
    assert dataset.label("y").tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 10, "test": 2}
    assert dataset.classes == tuple(f"class{k}" for k in range(10))
    first = made.pixels(2, 0)[1].reshape(3, 32, 32)
    assert dataset[1]["x"].dtype == torch.uint8 and np.array_equal(dataset[1]["x"], first)
    place = made.pickled_cifar10(tmp_path)
    with pytest.raises(UnsafeFileError, match="trust_pickle=True"):
        zd.open(place)
    pickled = zd.open(place, trust_pickle=True)
    assert pickled.hash == dataset.hash and pickled.split_hash == dataset.split_hash
    (place / "test_batch").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match="holds a int, expected a dict"):
        zd.open(place, trust_pickle=True)


def test_cifar100(tmp_path: Path) -> None:
    place, pickled = made.cifar100(tmp_path), made.pickled_cifar100(tmp_path)
    dataset = zd.open(place)
    assert dataset.label("y").tolist() == [5, 6, 7, 99] and dataset.classes is not None
    assert len(dataset.classes) == 100 and dataset.columns["coarse_name"].tolist()[1] == "c1"
    coarse = zd.open(place, keys={"y": "coarse"})
    assert coarse.label("y").tolist() == [0, 1, 1, 0] and len(coarse.classes or ()) == 20
    assert zd.open(pickled, trust_pickle=True).hash == dataset.hash
    with pytest.raises(ConfigError, match="has the labels coarse, fine, not 'super'"):
        zd.open(place, keys={"y": "super"})
    (place / "test.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match="3073 bytes, no multiple of 3074"):
        zd.open(place)
    (place / "test.bin").write_bytes(bytes([0, 200]) + bytes(3072))
    with pytest.raises(DataError, match="fine label 200, but 100 names"):
        zd.open(place)


def test_tiny_imagenet(tmp_path: Path) -> None:
    place = made.tiny_imagenet(tmp_path)
    dataset = zd.open(place)
    assert dataset.domain == "image" and dataset[0]["x"].shape == (3, 8, 8)
    assert dataset.classes == made.WNIDS and dataset.label("y").tolist() == [0, 0, 1, 1, 0, 1, 0]
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 4, "val": 3}
    grey = dataset[1]["x"]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    notes = place / "val" / "val_annotations.txt"
    notes.write_text("../../secret.JPEG\tn01\t0\t0\t7\t7\n")
    with pytest.raises(DataError, match="line 1 should hold a file and a class"):
        zd.open(place)
    notes.write_text("val_9.JPEG\tn01\t0\t0\t7\t7\n")
    with pytest.raises(DataError, match="val_9.JPEG can't be read"):
        zd.open(place)
