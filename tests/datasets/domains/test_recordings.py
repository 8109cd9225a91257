"""Recordings of other packages: epochs of MNE, data sets of MOABB."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import published_files as made
import pytest

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, MissingExtraError


def test_epochs_of_mne(tmp_path: Path) -> None:
    pytest.importorskip("mne")
    dataset = zd.open(made.epochs(tmp_path))
    assert dataset.domain == "signal" and dataset[0]["x"].shape == (3, 16)
    assert dataset.classes == ("left", "right")
    assert dataset.label("y").tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.metadata["channels"] == ["C3", "Cz", "C4"] and dataset.metadata["rate"] == 64
    expected = made.generator().normal(size=(6, 3, 16)) * 1e-6
    assert np.allclose(dataset[4]["x"].numpy(), expected[4], rtol=1e-12)
    (tmp_path / "b-epo.fif").write_bytes(b"no fif")
    with pytest.raises(DataError, match="no epochs that MNE can read"):
        zd.open(tmp_path / "b-epo.fif")


class FakeParadigm:
    """MOABB's interface of a paradigm: arrays, labels, and a table of pandas."""

    def __init__(self, fmin: float = 8) -> None:
        self.fmin = fmin

    def get_data(self, dataset: Any, subjects: list[int] | None) -> tuple[Any, Any, Any]:
        subjects = subjects or dataset.subjects
        count = 4 * len(subjects)
        about = Table(
            subject=np.repeat(subjects, 4),
            session=np.array(["0", "0", "1", "1"] * len(subjects), dtype=object),
        )
        labels = np.array(["left_hand", "right_hand"] * (count // 2))
        return np.full((count, 3, 8), self.fmin), labels, about


class Table(dict[str, Any]):
    @property
    def columns(self) -> list[str]:
        return list(self)


class FakeSet:
    def __init__(self, subjects: tuple[int, ...] = (1, 2)) -> None:
        self.subjects = list(subjects)


@pytest.fixture
def moabb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moabb", ModuleType("moabb"))
    sets = SimpleNamespace(FakeDataset=FakeSet, BNCI2014_001=FakeSet)
    monkeypatch.setitem(sys.modules, "moabb.datasets", sets)  # type: ignore[arg-type]
    paradigms = SimpleNamespace(LeftRightImagery=FakeParadigm)
    monkeypatch.setitem(sys.modules, "moabb.paradigms", paradigms)  # type: ignore[arg-type]
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)


@pytest.mark.usefixtures("moabb")
def test_moabb_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    across = {"kind": "leave_out", "key": "session", "value": "1"}
    dataset = zd.open("moabb:BNCI2014_001?fmin=4", splits=across)
    assert dataset.domain == "signal" and len(dataset) == 8 and dataset[0]["x"][0, 0] == 4
    assert dataset.classes == ("left_hand", "right_hand")
    assert [int(dataset[k]["domain"]) for k in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(dataset.split("test")) == 4
    assert len(zd.open("moabb:BNCI2014_001?subjects=2")) == 4
    assert len(zd.open("moabb:FakeDataset?dataset.subjects=[1,2,3]")) == 12
    for text, words in (
        ("moabb:BNCI2014_01", "no data set 'BNCI2014_01': did you mean 'BNCI2014_001'"),
        ("moabb:FakeDataset?paradigm=P300", "no paradigm 'P300'"),
        ("moabb:FakeDataset?fmim=3", "refuses these settings: .*'fmim'"),
        ("moabb:FakeDataset?fmim", "no list of settings"),
    ):
        with pytest.raises(ConfigError, match=words):
            zd.open(text)
    with pytest.raises(ConfigError, match="domain 'signal', not 'matrix'"):
        zd.open("moabb:FakeDataset", domain="matrix")
    with pytest.raises(ConfigError, match="leave out units"):
        zd.open("moabb:FakeDataset", units={"energy": "eV"})
    monkeypatch.setattr(FakeParadigm, "get_data", lambda *a, **k: 1 / 0)
    with pytest.raises(DataError, match="MOABB failed: ZeroDivisionError"):
        zd.open("moabb:FakeDataset")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(DataError, match="downloads what it hasn't, and ZOO_OFFLINE is set"):
        zd.open("moabb:BNCI2014_001")


def test_moabb_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moabb.datasets", None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=r'pip install "geometric-zoo\[signals\]"'):
        zd.open("moabb:FakeDataset")


def test_moabb_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNE_HOME", str(tmp_path))
    pytest.importorskip("moabb.paradigms")
    events = "dataset.event_list=[left_hand,right_hand]&dataset.n_subjects=1&dataset.seed=1"
    dataset = zd.open(f"moabb:FakeDataset?{events}&fmax=30")
    assert dataset[0]["x"].shape[0] == 3 and dataset.classes == ("left_hand", "right_hand")
    assert set(dataset.columns) >= {"subject", "session", "run"}
