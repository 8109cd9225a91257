"""Predicting, evaluating and verifying outside atoms."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import tiny_models as tiny
import torch
from torch_geometric.data import Data

import zoo
from zoo import datasets
from zoo.apps.predict import predict, read, write
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    UnsupportedInputError,
)
from zoo.models._sample import SampleModel

RNG = np.random.default_rng(0)


def made(kind: Any, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(**options).eval()


@pytest.fixture
def model() -> SampleModel:
    found: SampleModel = made(tiny.TinyVector)
    found.set_classes(["ash", "elm", "fir"])
    return found


def graphs() -> list[Data]:
    found = []
    for nodes in (4, 3, 5):
        ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
        x = torch.tensor(RNG.normal(size=(nodes, 5)))
        pairs = torch.stack([torch.zeros(nodes - 1, dtype=torch.int64), torch.arange(1, nodes)])
        found.append(Data(x=x, edge_index=ring, edge_label_index=pairs))
    return found


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


# --- predict ----------------------------------------------------------------------------------


def test_classes_have_names_and_probabilities(model: SampleModel, tmp_path: Path) -> None:
    path = tiny_data.vectors(tmp_path / "v.npz")
    samples = read(model, path)
    told: list[tuple[int, int]] = []
    results = predict(model, samples, batch_size=7, progress=lambda *n: told.append(n))
    assert len(results) == 60 and told[-1] == (60, 60)
    logits = model(samples)["logits"].double().detach()
    for result, row in zip(results, logits, strict=True):
        np.testing.assert_allclose(result["probabilities"], torch.softmax(row, -1), rtol=1e-5)
        assert result["class"] == model.classes[int(result["class_index"])]  # type: ignore[index]
        assert result["class_index"] == result["logits"].argmax()


@pytest.mark.parametrize(
    ("index", "places"),
    [
        (":", slice(None)),
        ("-1", -1),
        ("0:10", slice(0, 10)),
        ("::20", slice(None, None, 20)),
        ("3", 3),
    ],
)
def test_an_index_chooses(
    model: SampleModel, tmp_path: Path, index: str, places: int | slice
) -> None:
    path = tiny_data.vectors(tmp_path / "v.npz")
    every = [sample["x"].tolist() for sample in read(model, path)]
    expected = every[places] if isinstance(places, slice) else [every[places]]
    assert [sample["x"].tolist() for sample in read(model, path, index=index)] == expected


@pytest.mark.parametrize("index", ["60", "a", "1:2:3:4", "", "60:"])
def test_an_index_without_samples_is_refused(
    model: SampleModel, tmp_path: Path, index: str
) -> None:
    with pytest.raises(DataError, match="index"):
        read(model, tiny_data.vectors(tmp_path / "v.npz"), index=index)


def test_rows_of_graphs_belong_to_their_graph() -> None:
    samples = graphs()
    nodes = made(tiny.TinyGraph)
    for model, name, rows in (
        (nodes, "logits", [4, 3, 5]),
        (made(tiny.TinyGraph, level="pair"), "score", [3, 2, 4]),
    ):
        together = predict(model, samples, batch_size=2)
        assert [len(result[name]) for result in together] == rows
        for sample, result in zip(samples, together, strict=True):
            (alone,) = predict(model, [sample])
            np.testing.assert_allclose(alone[name], result[name], rtol=1e-5, atol=1e-6)
    whole = predict(made(tiny.TinyGraph, level="graph"), samples)
    assert [result["prediction"].shape for result in whole] == [()] * 3
    scores = predict(made(tiny.TinyGraph, level="pair"), samples)
    np.testing.assert_allclose(
        scores[0]["probability"], 1 / (1 + np.exp(-scores[0]["score"])), rtol=1e-6
    )


def test_steps_of_padded_sequences_end_where_they_end() -> None:
    results = predict(made(tiny.TinyTokens), [np.array([1, 2, 3]), np.array([4, 5])])
    assert [result["logits"].shape for result in results] == [(3, 6), (2, 6)]


def test_samples_of_several_shapes_go_one_shape_at_a_time() -> None:
    model = made(tiny.TinyMatrix, front_end=True)
    samples = [{"x": RNG.normal(size=(3, t))} for t in (8, 5, 8)]
    together = predict(model, samples)
    for sample, result in zip(samples, together, strict=True):
        np.testing.assert_allclose(
            predict(model, [sample])[0]["logits"], result["logits"], rtol=1e-5
        )


def test_a_bad_sample_is_named(model: SampleModel) -> None:
    samples = [{"x": np.zeros(4)}, {"x": np.zeros(4)}, {"x": np.array([0, 1, np.nan, 0])}]
    with pytest.raises(UnsupportedInputError, match="sample 2: .*NaN"):
        predict(model, samples)
    with pytest.raises(ConfigError, match="batch_size"):
        predict(model, samples, batch_size=0)
    model.train()
    predict(model, samples[:2])
    assert model.training


def test_what_only_atoms_have_is_refused(model: SampleModel) -> None:
    for options in ({"head": "energy"}, {"trust": True}):
        with pytest.raises(CapabilityError, match="'vector'"):
            predict(model, [{"x": np.zeros(4)}], **options)  # type: ignore[arg-type]


# --- files ------------------------------------------------------------------------------------


def test_arrays_and_tables_and_json(model: SampleModel, tmp_path: Path) -> None:
    samples = read(model, tiny_data.vectors(tmp_path / "v.npz"), index="0:5")
    results = predict(model, samples)
    for ending in ("npz", "csv", "json"):
        write(tmp_path / f"out.{ending}", samples, results, model=model, name="mine")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["probabilities"].shape == (5, 3) and arrays["class"].shape == (5,)
        assert arrays["classes"].tolist() == ["ash", "elm", "fir"]
        assert str(arrays["model"]) == "mine"
    rows = table(tmp_path / "out.csv")
    assert list(rows[0]) == ["sample", "class", "class_index", "p_ash", "p_elm", "p_fir"]
    assert [row["class"] for row in rows] == [str(result["class"]) for result in results]
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["model"] == "mine" and stored["results"][3]["class"] == results[3]["class"]
    with pytest.raises(ConfigError, match="npz, csv, json"):
        write(tmp_path / "out.extxyz", samples, results, model=model)
    assert not (tmp_path / "out.extxyz").exists()


def test_rows_of_graphs_in_files(tmp_path: Path) -> None:
    model, samples = made(tiny.TinyGraph), graphs()
    results = predict(model, samples)
    write(tmp_path / "out.npz", samples, results, model=model)
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["logits"].shape == (12, 3)
        assert arrays["logits_counts"].tolist() == [4, 3, 5]
    write(tmp_path / "out.csv", samples, results, model=model)
    rows = table(tmp_path / "out.csv")
    assert len(rows) == 12 and (rows[5]["sample"], rows[5]["row"]) == ("1", "1")
    whole = made(tiny.TinyGraph, level="graph")
    write(tmp_path / "all.csv", samples, predict(whole, samples), model=whole)
    assert len(table(tmp_path / "all.csv")) == 3


def test_pairs_to_score_come_with_the_graph(tmp_path: Path) -> None:
    model = made(tiny.TinyGraph, level="pair")
    arrays = {"x": RNG.normal(size=(6, 5)), "edge_index": np.array([[0, 1, 2], [1, 2, 3]])}
    np.savez(tmp_path / "g.npz", **arrays, edge_label_index=np.array([[0, 4], [5, 1]]))
    samples = read(model, tmp_path / "g.npz")
    results = predict(model, samples)
    assert results[0]["score"].shape == (2,)
    results[0]["embedding"] = np.zeros((6, 2))  # rows of nodes are no rows of pairs
    write(tmp_path / "out.csv", samples, results, model=model)
    assert [list(row) for row in table(tmp_path / "out.csv")] == [
        ["sample", "row", "score", "probability"]
    ] * 2
    np.savez(tmp_path / "g.npz", **arrays, edge_label_index=np.array([[0, 4], [6, 1]]))
    with pytest.raises(DataError, match="there are 6 nodes"):
        read(model, tmp_path / "g.npz")
    np.savez(tmp_path / "g.npz", **arrays, edge_label_index=np.array([0, 4]))
    with pytest.raises(DataError, match=r"\(2, pairs\) of one graph"):
        read(model, tmp_path / "g.npz")


def test_features_find_their_places_by_name(model: SampleModel, tmp_path: Path) -> None:
    model.feature_names = ("a", "b", "c", "d")
    values = RNG.normal(size=(3, 4)).round(3)
    for name, order in (("right", "abcd"), ("moved", "dbac")):
        columns = ["abcd".index(letter) for letter in order]
        lines = [",".join(order), *(",".join(map(str, row[columns])) for row in values)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    right, moved = (read(model, tmp_path / f"{name}.csv") for name in ("right", "moved"))
    for first, second in zip(right, moved, strict=True):
        assert torch.equal(first["x"], second["x"])
    (tmp_path / "other.csv").write_text("a,b,c,e\n1,2,3,4\n")
    with pytest.raises(DataError, match="missing: d; unknown: e"):
        read(model, tmp_path / "other.csv")


def test_unknown_keys_units_and_domains_are_named(model: SampleModel, tmp_path: Path) -> None:
    path = tiny_data.words(tmp_path / "w.npz")
    with pytest.raises(DataError, match="x"):
        read(model, path)
    assert len(read(model, path, keys={"x": "vecs"})) == 60
    with pytest.raises((DataError, ConfigError), match="xx"):
        read(model, path, keys={"xx": "vecs"})
    with pytest.raises(ConfigError, match="no units"):
        zoo.evaluate(model, path, keys={"x": "vecs"}, units={"energy": "eV"})
    matrices = tiny_data.matrices(tmp_path / "m.npz")
    with pytest.raises(DataError):
        read(model, matrices)
    with pytest.raises(DataError, match="domain 'matrix'"):
        zoo.evaluate(model, datasets.open(matrices, domain="matrix"))


# --- evaluate ---------------------------------------------------------------------------------


def test_evaluation_is_the_share_of_right_classes(tmp_path: Path) -> None:
    model = made(tiny.TinyVector, out_channels=4)
    model.set_classes(["oak", "ash", "fir", "elm"])  # not the file's order
    path = tiny_data.words(tmp_path / "w.npz")
    keys = {"x": "vecs", "y": "species"}
    dataset = datasets.open(path, keys=keys)
    results = predict(model, read(model, path, keys={"x": "vecs"}))
    with np.load(path) as arrays:
        right = np.mean([r["class"] == s for r, s in zip(results, arrays["species"], strict=True)])
    assert zoo.evaluate(model, dataset)["accuracy"] == pytest.approx(float(right))
    assert zoo.evaluate(model, path, keys=keys)["accuracy"] == pytest.approx(float(right))
    model.set_classes(["oak", "ash", "fir", "birch"])
    with pytest.raises(DataError, match="'elm'"):
        zoo.evaluate(model, dataset)


def test_evaluation_of_what_does_not_fit(model: SampleModel, tmp_path: Path) -> None:
    path = tiny_data.vectors(tmp_path / "v.npz")
    with pytest.raises(CapabilityError, match="energy heads"):
        zoo.evaluate(model, path, head="energy")
    atoms = datasets.open("pbe-ethanol")
    with pytest.raises(DataError, match="'atoms'"):
        zoo.evaluate(model, atoms)
    potential = zoo.load("tensornet-s.gfn2-md10.r2")
    with pytest.raises(DataError, match="takes atoms"):
        zoo.evaluate(potential, datasets.open(path))


# --- verify -----------------------------------------------------------------------------------


def test_certificates_look_the_same(tmp_path: Path) -> None:
    model = made(tiny.TinyVector)
    samples = [{"x": x} for x in RNG.normal(size=(3, 4))]
    folder = zoo.save(model, tmp_path / "w", name="tinyvector-s.made.r1", golden_inputs=samples)
    told: list[int] = []
    certificate = zoo.verify(
        folder, output=tmp_path, progress=lambda result, done, total: told.append(total - done)
    )
    assert certificate.passed, certificate.rows()
    assert (certificate.domain, certificate.group) == ("vector", "none")
    assert told == list(range(len(told)))[::-1]
    stored = json.loads((tmp_path / "certificate.json").read_text())
    names = {row["name"] for row in stored["results"] if row["status"] == "passed"}
    assert {"golden", "save_load", "odd_inputs", "reach", "batching"} <= names
    zoo.hub.annotate(folder, certificate=certificate.to_dict())
    assert "Symmetry group none, measured by `zoo verify`" in zoo.card(folder)


def test_architectures_and_layers_of_any_domain() -> None:
    certificate = zoo.verify("tinygraph", checks=["permutation", "batching"])
    assert certificate.passed and certificate.kind == "architecture"
    layer = torch.nn.Linear(5, 5, bias=False)

    class Norms(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["x"].square().sum(-1, keepdim=True) * self.layer.weight[0]

    checks = ["rotation", "reflection"]
    assert zoo.verify(Norms(), domain="vector", group="O(n)", checks=checks).passed
