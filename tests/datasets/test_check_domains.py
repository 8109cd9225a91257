"""Checks of every domain but atoms: each fault that is put in is found, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from whole_domains import DOMAINS, domain_arrays
from whole_files import Whole

import zoo.datasets as zd
from zoo.datasets._check import CheckReport
from zoo.errors import ConfigError, DataError


def run(tmp_path: Path, domain: str, **arrays: object) -> CheckReport:
    made = {**domain_arrays(domain), **arrays}
    kept = {name: array for name, array in made.items() if array is not None}
    np.savez(tmp_path / "a.npz", **kept)  # type: ignore[arg-type]
    return zd.check(tmp_path / "a.npz", domain=domain)


def said(report: CheckReport, name: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{f.severity}: {f.message}", f.frames) for f in report.findings if f.check == name]


@pytest.mark.parametrize("whole", DOMAINS, ids=lambda whole: whole.name)
def test_sound_sets_have_no_errors(whole: Whole, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    report = zd.check(whole.read(whole.make(tmp_path / "in")))
    assert report.ok, str(report)
    assert report.summary["fields"] and report.domain == whole.name.split()[0]
    assert report.to_dict()["read"] == report.frames


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    x = domain_arrays("vector")["x"]
    x[3, 1] = np.nan
    with pytest.raises(DataError):
        np.savez(tmp_path / "a.npz", x=x)
        zd.open(tmp_path / "a.npz")
    report = run(tmp_path, "vector", x=x)
    assert said(report, "finite") == [("error: x is NaN or infinite in 1 samples", (3,))]


def test_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.array([0] * 98 + [1] * 2)
    mask = np.arange(100) < 90
    report = run(
        tmp_path,
        "vector",
        x=rng.normal(size=(100, 2)),
        y=y,
        train_mask=mask,
        test_mask=~mask,
    )
    texts = [text for text, _ in said(report, "classes")]
    assert any("98 of 'a', 2 of 'b'" in text for text in texts)
    assert any("'test' has classes that train never shows: 'b'" in text for text in texts)
    assert any("no sample is of the class 'c'" in text for text in texts)
    assert report.summary["classes by split"]["test"] == {"'a'": 8, "'b'": 2}
    report = run(tmp_path, "vector", y=np.zeros(6, int), class_names=None, train_mask=None)
    assert "all labels are '0'" in said(report, "classes")[0][0]


def test_constant_features_and_copies(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3))
    x[:, 1] = 5.0
    x[4] = x[0]
    masks = {"train_mask": np.arange(6) < 3, "test_mask": np.arange(6) >= 3}
    report = run(tmp_path, "vector", x=x, **masks)
    assert "x: columns 1 of 3 never change" in said(report, "constant")[0][0]
    assert said(report, "duplicates")[0][1] == (4,)
    assert said(report, "leakage")[0][1] == (0, 4) and not report.ok


def test_targets_that_stand_out(tmp_path: Path) -> None:
    y = np.random.default_rng(0).normal(size=100)
    y[17] = 1e6
    tensors = np.random.default_rng(1).normal(size=(100, 3, 3))
    report = run(tmp_path, "tensor", tensors=tensors, y=y)
    assert [frames for _, frames in said(report, "outliers")] == [(17,)]


def test_edges(tmp_path: Path) -> None:
    edges = np.array([[0, 1, 2, 2, 0], [1, 0, 2, 1, 1]])
    one = {"counts": None, "edge_counts": None, "edge_attr": None}
    one |= {"x": np.eye(4), "y": np.array([0, 0, 1, 1])}
    report = run(tmp_path, "graph", edge_index=edges, **one)
    text = "\n".join(t for t, _ in said(report, "edges"))
    for words in (
        "1 nodes without edges in 1 of 1",
        "1 edges from a node to itself",
        "1 edges that are there twice",
        "1 of 1 graphs are directed",
    ):
        assert words in text
    assert report.summary["edges within a class"] == 0.75
    report = run(tmp_path, "graph", edge_index=np.array([[0, 9], [1, 0]]), **one)
    assert "error: edges name nodes that aren't there" in said(report, "edges")[0][0]


def test_matrices(tmp_path: Path) -> None:
    covs = domain_arrays("matrix")["covs"]
    covs[2] -= 10 * np.eye(3)
    covs[4, 0, 1] += 1.0
    covs[5] = np.diag([1.0, 1.0, 1e-13])
    report = run(tmp_path, "matrix", covs=covs)
    worst = float(np.linalg.eigvalsh(covs[2]).min())
    (positive, nearly) = said(report, "positive")
    assert positive[1] == (2,) and f"smallest eigenvalue {worst:.3g}" in positive[0]
    assert nearly[1] == (5,) and "nearly singular" in nearly[0]
    assert said(report, "symmetric")[0][1] == (4,)


def test_bases(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bases = np.linalg.qr(rng.normal(size=(6, 5, 2)))[0]
    assert run(tmp_path, "matrix", covs=None, bases=bases).ok
    bases[3] *= 1.1
    report = run(tmp_path, "matrix", covs=None, bases=bases)
    assert said(report, "orthonormal")[0][1] == (3,)


def test_square_bases_are_bases(tmp_path: Path) -> None:
    turns = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 3, 3)))[0]
    assert run(tmp_path, "matrix", covs=None, bases=turns).ok


@pytest.mark.parametrize(
    ("domain", "field", "change", "check"),
    [
        ("points", "pos", lambda a: np.concatenate([a[:5] * 0, a[5:]]), "points"),
        ("particles", "pos", lambda a: np.concatenate([a[:1, [0] * 5], a[1:]]), "particles"),
        ("signal", "X", lambda a: np.concatenate([a[:1] * 0, a[1:]]), "channels"),
        ("image", "images", lambda a: np.concatenate([a[:1] * 0 + 7, a[1:]]), "images"),
        ("complex", "boundary_1", lambda a: a + 90, "cells"),
    ],
)
def test_one_odd_sample(
    tmp_path: Path, domain: str, field: str, change: object, check: str
) -> None:
    sound = said(run(tmp_path, domain), check)
    odd = said(run(tmp_path, domain, **{field: change(domain_arrays(domain)[field])}), check)  # type: ignore[operator]
    new = [frames for text, frames in odd if (text, frames) not in sound]
    assert (0,) in new or domain == "complex" and (0, 1) in new


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        zd.check(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="open already"):
        zd.check(zd.open("pbe-ethanol"), splits={})
