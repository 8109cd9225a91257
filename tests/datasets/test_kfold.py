"""k-fold division: what each sample is used for, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import tiny_data

import zoo.datasets as zd
from zoo.datasets import _splits
from zoo.errors import ConfigError, DataError

FIVE = {"kind": "kfold", "folds": 5, "seed": 3}


def test_every_sample_is_tested_and_validated_on_once() -> None:
    made = [_splits.make({**FIVE, "fold": k}, {}, 23) for k in range(5)]
    for name in ("test", "val"):
        used = np.concatenate([splits[name] for splits in made])
        assert sorted(used.tolist()) == list(range(23))
    for k, splits in enumerate(made):
        joined = np.concatenate(list(splits.values()))
        assert sorted(joined.tolist()) == list(range(23))
        np.testing.assert_array_equal(splits["val"], made[(k + 1) % 5]["test"])


def test_the_seed_decides_and_nothing_else() -> None:
    first = _splits.make({**FIVE, "fold": 2}, {}, 23)
    again = _splits.make({**FIVE, "fold": 2}, {}, 23)
    other = _splits.make({**FIVE, "fold": 2, "seed": 4}, {}, 23)
    np.testing.assert_array_equal(first["test"], again["test"])
    assert first["test"].tolist() != other["test"].tolist()


def test_classes_are_shared_out_evenly() -> None:
    y = np.repeat([0, 1, 2], [60, 25, 15])
    for k in range(5):
        splits = _splits.make({**FIVE, "fold": k, "stratify": "y"}, {"y": y}, 100)
        assert np.bincount(y[splits["test"]]).tolist() == [12, 5, 3]


def test_nodes_of_one_graph_are_divided(tmp_path: Path) -> None:
    path = tiny_data.graph(tmp_path / "g.npz", divided=False)
    graph = zd.open(path, splits={**FIVE, "fold": 1, "stratify": "y"})[0]
    assert int((graph.train_mask.int() + graph.val_mask.int() + graph.test_mask.int()).min()) == 1


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"folds": 2}, "from 3 on"),
        ({"folds": True}, "from 3 on"),
        ({"fold": 5}, "with 5 folds it is one of 0 to 4"),
        ({"fold": -1}, "one of 0 to 4"),
        ({"fraction": 0.1}, "take no 'fraction'"),
        ({"stratify": "class"}, "'class'"),
    ],
)
def test_what_is_refused(changed: dict[str, object], match: str) -> None:
    with pytest.raises((ConfigError, DataError), match=match):
        _splits.make({**FIVE, **changed}, {"y": np.zeros(23)}, 23)


def test_too_few_samples() -> None:
    with pytest.raises(DataError, match="4 samples can't be dealt into 5 folds"):
        _splits.make({**FIVE}, {}, 4)
