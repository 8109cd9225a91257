"""Splits within and across sessions and subjects, unlabelled targets, and splits of edges."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import domain_files as made
import numpy as np
import pytest
import torch

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, UnknownNameError

SESSIONS = {"kind": "leave_out", "key": "session"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two subjects with three sessions of ten trials of two classes."""
    count = 60
    return made.npz(
        tmp_path / "a.npz",
        X=np.arange(count * 8.0).reshape(count, 2, 4),
        y=np.arange(count) % 2,
        subject=np.repeat(["a", "b"], 30),
        session=np.tile(np.repeat([1, 2, 3], 10), 2),
    )


def sizes(dataset: Any) -> dict[str, int]:
    return {name: len(part) for name, part in dataset.splits.items()}


@pytest.mark.parametrize(
    "spec", [{"value": "2"}, {"value": 2}, {"value": [2]}, {"fold": 1}, {"fold": 1, "seed": 5}]
)
def test_a_session_is_left_out(path: Path, spec: dict[str, Any]) -> None:
    dataset = zd.open(path, splits=SESSIONS | spec)
    assert sizes(dataset) == {"train": 40, "test": 20}
    assert set(dataset.split("test").columns["session"]) == {2}
    assert set(dataset.split("train").columns["session"]) == {1, 3}


def test_every_fold_leaves_out_another(path: Path) -> None:
    tested = [
        zd.open(path, splits={"kind": "leave_out", "key": ["subject", "session"], "fold": k})
        for k in range(6)
    ]
    numbers = np.concatenate([d.splits["test"] for d in tested])
    assert sorted(numbers.tolist()) == list(range(60)) and sizes(tested[0])["test"] == 10
    one = {"kind": "leave_out", "key": ["subject", "session"], "value": "b/3"}
    assert zd.open(path, splits=one).splits["test"].tolist() == list(range(50, 60))


def test_of_one_subject_alone(path: Path) -> None:
    spec = {**SESSIONS, "value": "3", "where": {"subject": "b"}, "val_fraction": 0.25}
    dataset = zd.open(path, splits=spec)
    assert sizes(dataset) == {"train": 15, "val": 5, "test": 10}
    assert set(dataset.split("train").columns["subject"]) == {"b"}
    subject = zd.open(path, splits={"kind": "leave_out", "key": "subject", "value": "a"})
    assert sizes(subject) == {"train": 30, "test": 30}


def test_labels_of_the_target_stay_hidden(path: Path) -> None:
    spec = {**SESSIONS, "value": "3", "adapt": 0.5, "val_fraction": 0.2, "stratify": "y"}
    dataset = zd.open(path, keys={"domain": "session"}, splits=spec)
    assert sizes(dataset) == {"train": 32, "val": 8, "adapt": 10, "test": 10}
    target, test = dataset.split("adapt"), dataset.split("test")
    assert set(target[0]) == {"x", "domain"} and target.labels == frozenset()
    with pytest.raises(DataError, match="has no y"):
        target.label("y")
    assert set(test[0]) == {"x", "domain", "y"}
    assert {int(target[k]["domain"]) for k in range(10)} == {2}
    # the first half of the file's order adapts
    assert max(dataset.splits["adapt"][:5]) < min(dataset.splits["test"][5:])
    bare = test.without_labels()  # type: ignore[attr-defined]
    assert len(bare) == 10 and torch.equal(bare[3]["x"], test[3]["x"]) and "y" not in bare[3]
    assert set(test[3]) == {"x", "domain", "y"}
    counts = Counter(dataset.label("y")[dataset.splits["val"]].tolist())
    assert counts == {0: 4, 1: 4}


def test_within_sessions(path: Path) -> None:
    spec = {
        "kind": "within",
        "by": ["subject", "session"],
        "fractions": {"train": 0.6, "val": 0.2, "test": 0.2},
        "stratify": "y",
    }
    dataset = zd.open(path, splits=spec)
    assert sizes(dataset) == {"train": 36, "val": 12, "test": 12}
    where = list(zip(dataset.columns["subject"], dataset.columns["session"], strict=True))
    for part, expected in (("train", 3), ("val", 1), ("test", 1)):
        keys = [(*where[k], int(dataset.label("y")[k])) for k in dataset.splits[part]]
        assert set(Counter(keys).values()) == {expected} and len(set(keys)) == 12
    other = zd.open(path, splits=spec | {"seed": 1})
    assert sizes(other) == sizes(dataset) and other.split_hash != dataset.split_hash


def test_rounding_does_not_add_up(tmp_path: Path) -> None:
    """Thirty sessions of three samples each: a tenth of three is none, a tenth of all is nine."""
    X, session = np.zeros((90, 1, 2)), np.repeat(np.arange(30), 3)
    path = made.npz(tmp_path / "a.npz", X=X, session=session)
    spec = {"kind": "within", "by": "session", "fractions": {"train": 0.9, "test": 0.1}}
    dataset = zd.open(path, splits=spec)
    assert sizes(dataset) == {"train": 81, "test": 9}
    assert max(Counter(session[dataset.splits["test"]].tolist()).values()) == 1


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({}, ConfigError, "need either value, .* or fold, .*'session' has 1, 2, 3"),
        ({"value": 1, "fold": 0}, ConfigError, "need either"),
        ({"value": "4"}, DataError, "no sample has session='4'"),
        ({"fold": 3}, ConfigError, "fold is a whole number from 0 to 2, not 3"),
        ({"fold": True}, ConfigError, "not True"),
        ({"value": 1, "adapt": 1.0}, ConfigError, "adapt is a share between 0 and 1, not 1.0"),
        ({"value": 1, "val_fraction": "x"}, ConfigError, "val_fraction is a share"),
        ({"value": 1, "key": "sesion"}, DataError, "column 'sesion' .*did you mean 'session'"),
        ({"value": 1, "key": []}, ConfigError, "needs 'key', the name of a column"),
        ({"value": 1, "key": ["session", 3]}, ConfigError, "needs 'key'"),
        ({"value": 1, "stratify": "z"}, DataError, "column 'z'"),
        ({"value": 1, "where": {"subject": "z"}}, DataError, "no sample has subject='z'"),
        ({"value": 1, "where": "a"}, ConfigError, "where must look like"),
        ({"value": [1, 2, 3]}, DataError, "'train' would be empty"),
        ({"value": 1, "held": 1}, ConfigError, "take no 'held'"),
    ],
)
def test_refused_descriptions(
    path: Path, spec: dict[str, Any], error: type[Exception], words: str
) -> None:
    if "val_fraction" not in spec and "stratify" in spec:
        spec = spec | {"val_fraction": 0.5}
    with pytest.raises(error, match=words):
        zd.open(path, splits=SESSIONS | spec)


def test_the_shuffle_of_authors(path: Path) -> None:
    names = [f"file{k:02d}" for k in range(60)]
    shuffled = list(names)
    random.Random(1024).shuffle(shuffled)
    spec = {"kind": "shuffled", "seed": 1024, "fractions": {"test": 0.51, "train": 0.49}}
    dataset = zd.open(path, splits=spec)
    assert [names[k] for k in dataset.splits["test"]] == sorted(shuffled[:30])
    assert sizes(dataset) == {"test": 30, "train": 30}
    with pytest.raises(ConfigError, match="seed"):
        zd.open(path, splits=spec | {"seed": -1})


def test_groups_of_several_columns(path: Path) -> None:
    spec = {"kind": "group", "key": ["subject", "session"], "fractions": {"train": 0.5, "b": 0.5}}
    dataset = zd.open(path, splits=spec)
    pairs = np.char.add(dataset.columns["subject"], dataset.columns["session"].astype(str))
    assert not set(pairs[dataset.splits["train"]]) & set(pairs[dataset.splits["b"]])


def test_numbers_of_domains(path: Path, tmp_path: Path) -> None:
    dataset = zd.open(path, keys={"domain": "subject"})
    assert [int(dataset[k]["domain"]) for k in (0, 29, 30, 59)] == [0, 0, 1, 1]
    assert dataset[0]["domain"].dtype == torch.int64
    bad = made.npz(tmp_path / "b.npz", X=np.zeros((4, 2, 3)), domain=np.zeros((4, 2), int))
    with pytest.raises(DataError, match=r"domain has shape \(4, 2\), expected \(4,\)"):
        zd.open(bad)
    spd = made.npz(tmp_path / "c.npz", covs=made.spd(), domain=np.array(list("abcabc")))
    assert [int(zd.open(spd)[k]["domain"]) for k in range(3)] == [0, 1, 2]


# --- edges -------------------------------------------------------------------------------------

EDGES = {"kind": "edges", "fractions": {"train": 0.7, "val": 0.1, "test": 0.2}}


def pairs_of(graph: Any, name: str = "edge_index", mark: int | None = None) -> set[Any]:
    index = graph[name]
    if mark is not None:
        index = index[:, graph.edge_label == mark]
    return {tuple(sorted(pair)) for pair in index.T.tolist()}


def test_edges_are_divided() -> None:
    dataset = zd.make("balanced-tree", branching=3, depth=3, splits=EDGES)
    whole = pairs_of(dataset[0])
    assert dataset.edge_splits == ("train", "val", "test") and dataset.splits == {}
    graphs = {name: dataset.split(name)[0] for name in dataset.edge_splits}
    right = {name: pairs_of(graph, "edge_label_index", 1) for name, graph in graphs.items()}
    wrong = {name: pairs_of(graph, "edge_label_index", 0) for name, graph in graphs.items()}
    assert {name: len(pairs) for name, pairs in right.items()} == {"train": 27, "val": 4, "test": 8}
    assert set.union(*right.values()) == whole and sum(map(len, right.values())) == len(whole)
    every = set.union(*wrong.values())
    assert not every & whole and len(every) == sum(map(len, wrong.values())) == 39
    assert all(a != b for a, b in every)
    for graph in graphs.values():  # messages go along training edges only, both ways
        assert pairs_of(graph) == right["train"] and graph.edge_index.shape == (2, 54)
        assert graph.x.shape == (40, 8) and graph.edge_label.dtype == torch.int64
    assert dataset.split("val").labels == {"edge_label"}
    with pytest.raises(UnknownNameError, match="no split 'valid': did you mean 'val'"):
        dataset.split("valid")
    again = zd.make("balanced-tree", branching=3, depth=3, splits=EDGES)
    other = zd.make("balanced-tree", branching=3, depth=3, splits=EDGES | {"seed": 1})
    assert again.split_hash == dataset.split_hash != other.split_hash


def test_labels_of_nodes_stay() -> None:
    dataset = zd.make("sir-tree", nodes=40, splits=EDGES | {"negatives": 2})
    graph = dataset.split("train")[0]
    assert graph.y.shape == (40,) and dataset.split("train").labels == {"y", "edge_label"}
    assert (graph.edge_label == 0).sum() == 2 * (graph.edge_label == 1).sum()
    none = zd.make("sir-tree", nodes=40, splits=EDGES | {"negatives": 0}).split("test")[0]
    assert none.edge_label.tolist() == [1] * 8


def test_files_may_divide_their_edges(tmp_path: Path) -> None:
    path = made.npz(
        tmp_path / "a.npz",
        x=np.zeros((5, 2)),
        edge_index=np.array([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]]),
        edge_attr=np.arange(8.0)[:, None],
        edge_split=np.array([0, 0, 0, 0, 1, 1, 2, 2]),
    )
    dataset = zd.open(path, splits={"kind": "edges", "negatives": 0})
    train, test = dataset.split("train")[0], dataset.split("test")[0]
    assert train.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert train.edge_attr.flatten().tolist() == [0, 1, 2, 3] and "edge_split" not in train
    assert test.edge_label_index.tolist() == [[3], [4]]
    apart = made.npz(
        tmp_path / "b.npz",
        x=np.zeros((3, 1)),
        edge_index=np.array([[0, 1], [1, 0]]),
        edge_split=np.array([0, 1]),
    )
    with pytest.raises(DataError, match="puts the two directions of an edge into two"):
        zd.open(apart, splits={"kind": "edges"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "edges"}, "no edge_split of its own; give fractions"),
        (EDGES | {"seeds": 1}, "take no 'seeds': did you mean 'seed'"),
        (EDGES | {"negatives": -1}, "negatives is a whole number"),
        ({"kind": "edges", "fractions": {"a": 0.5, "b": 0.5}}, "need a split 'train'"),
        ({"kind": "edges", "fractions": {"train": 0.9, "b": 0.2}}, "add up to 1.1"),
    ],
)
def test_refused_divisions_of_edges(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make("balanced-tree", branching=2, depth=3, splits=spec)


def test_impossible_divisions_of_edges(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="would have none of the 2 edges"):
        zd.make("balanced-tree", branching=2, depth=1, splits=EDGES)
    with pytest.raises(DataError, match="1 pairs of nodes without an edge, too few"):
        zd.make(
            "balanced-tree", branching=2, depth=1,
            splits={"kind": "edges", "fractions": {"train": 0.5, "test": 0.5}},
        )  # fmt: skip
    several = made.npz(
        tmp_path / "a.npz",
        x=np.zeros((4, 1)),
        counts=np.array([2, 2]),
        edge_index=np.array([[0, 0], [1, 1]]),
        edge_counts=np.array([1, 1]),
    )
    with pytest.raises(DataError, match="2 samples; splits of kind 'edges' divide the edges of on"):
        zd.open(several, splits=EDGES)
