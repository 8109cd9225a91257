"""Certificates of architectures, of users' own modules, and of saved weights."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from torch import nn

import zoo
from zoo.apps._module import load_module
from zoo.apps.certify import verify_all
from zoo.apps.verify import Certificate, verify
from zoo.errors import (
    ConfigError,
    DeviceError,
    GoldenMismatchError,
    OutputError,
    UnknownModelError,
)
from zoo.testing import BROKEN, CheckResult
from zoo.testing._honest import HonestPotential

FAST = ["outputs", "rotation", "forces", "save_load"]
SMALL = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 4, "cutoff": 4.0}


def structures() -> list[Atoms]:
    return [
        Atoms("OHH", [[0, 0, 0.1], [0.8, 0, -0.5], [-0.8, 0, -0.5]]),
        Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]),
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = zoo.create("tensornet", **SMALL)
    return zoo.save(
        model,
        tmp_path / "weights",
        name="tensornet-xs.test.r1",
        license={"weights": "Apache-2.0"},
        inputs={"elements": {"H": 20, "C": 10, "O": 10}},
        golden_inputs=structures(),
    )


def test_an_architecture_passes_and_its_certificate_is_written(tmp_path: Path) -> None:
    certificate = verify("tensornet", output=tmp_path / "out")
    assert certificate.passed, [row for row in certificate.rows() if row["result"] == "FAILED"]
    assert (certificate.kind, certificate.group) == ("architecture", "O(3)")
    content = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert content == json.loads(json.dumps(certificate.to_dict()))
    names = {(entry["name"], entry["dtype"]) for entry in content["results"]}
    assert {("rotation", "float32"), ("rotation", "float64"), ("stress", "float64")} <= names
    assert content["counts"]["failed"] == 0
    assert content["environment"]["torch"] == torch.__version__


def test_saved_weights_are_measured_with_their_golden_outputs(saved: Path, tmp_path: Path) -> None:
    certificate = verify(saved, checks=[*FAST, "golden"], output=tmp_path / "c.json")
    assert certificate.passed, certificate.rows()
    assert (certificate.kind, certificate.name) == ("checkpoint", "tensornet-xs.test.r1")
    golden = [result for result in certificate.results if result.name == "golden"]
    assert [result.dtype for result in golden] == ["float64", "float32"]
    assert all(result.error is not None and result.passed for result in golden)
    assert (tmp_path / "c.json").is_file()


def test_outputs_that_differ_from_the_golden_ones_fail(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = zoo.hub.load

    def damaged(*arguments: Any, **options: Any) -> Any:
        model = original(*arguments, **options)
        with torch.no_grad():
            next(iter(model.parameters())).mul_(1.01)
        return model

    monkeypatch.setattr(zoo.hub, "load", damaged)
    certificate = verify(saved, checks=["golden"])
    assert not certificate.passed
    assert {result.status for result in certificate.results} == {"failed"}
    with pytest.raises(GoldenMismatchError):
        zoo.load(saved, check=True) and original(saved, check=True)
        damaged_model = damaged(saved)
        zoo.hub.check_golden(damaged_model, damaged_model.manifest, saved)


def test_weights_without_golden_outputs_say_so(tmp_path: Path) -> None:
    folder = zoo.save(
        zoo.create("tensornet", **SMALL),
        tmp_path / "plain",
        name="tensornet-xs.test.r1",
        license={"weights": "Apache-2.0"},
    )
    certificate = verify(folder, checks=["golden"])
    assert {result.status for result in certificate.results} == {"skipped"}
    assert not certificate.passed  # nothing was measured


def test_a_broken_module_of_the_user_fails() -> None:
    broken = next(each for each in BROKEN if each.check == "rotation")
    certificate = verify(broken.model(), checks=FAST)
    failed = {result.name for result in certificate.results if result.status == "failed"}
    assert not certificate.passed and failed == {"rotation"}
    assert certificate.kind == "module"
    row = next(row for row in certificate.rows() if row["check"] == "rotation")
    assert row["result"] == "FAILED" and row["detail"].startswith("largest: ")


def test_progress_sees_every_result() -> None:
    seen: list[tuple[str, int, int]] = []
    certificate = verify(
        HonestPotential(), checks=FAST, progress=lambda r, k, n: seen.append((r.name, k, n))
    )
    assert [k for _, k, _ in seen] == list(range(1, len(certificate.results) + 1))
    assert {n for _, _, n in seen} == {len(certificate.results)}


def test_names_and_checks_that_do_not_exist() -> None:
    with pytest.raises(UnknownModelError, match="tensornet"):
        verify("tensornett")
    with pytest.raises(ConfigError, match="rotation"):
        verify(HonestPotential(), checks=["rotatoin"])


def test_an_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        verify(HonestPotential(), checks=["outputs"], output=tmp_path / "file" / "c.json")


def test_a_skip_alone_is_no_pass() -> None:
    skip = CheckResult("rotation", "float64", False, None, None, reason="nothing", skipped=True)
    certificate = Certificate("x", "module", "O(3)", (skip,), {}, {}, 0)
    assert not certificate.passed
    assert certificate.counts == {"passed": 0, "failed": 0, "skipped": 1}
    assert certificate.rows()[0]["error"] == "-"


OWN = """
from zoo.testing._honest import HonestPotential

class Mine(HonestPotential):
    def __init__(self, channels: int = 4) -> None:
        super().__init__(channels=channels)

def make() -> HonestPotential:
    return Mine(channels=2)

ready = Mine()
number = 3
def wrong() -> int:
    return 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "zoo_own_model.py").write_text(OWN)
    (tmp_path / "zoo_own_bad.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("zoo_own_model", None)


@pytest.mark.parametrize("name", ["Mine", "make", "ready"])
@pytest.mark.parametrize("source", ["zoo_own_model", "zoo_own_model.py"])
def test_own_models_are_found(own: Path, source: str, name: str) -> None:
    before = list(sys.path)
    model = load_module(f"{source}:{name}")
    assert isinstance(model, nn.Module)
    assert sys.path == before
    assert verify(f"{source}:{name}", checks=["rotation"]).passed


def test_arguments_reach_the_class(own: Path) -> None:
    assert load_module("zoo_own_model:Mine", {"channels": 3}).hparams["channels"] == 3  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("zoo_own_model", "package.module:Name"),
        ("zoo_own_model:", "package.module:Name"),
        ("zoo_own_missing:Mine", "can't be imported"),
        ("zoo_own_bad:Mine", "ZeroDivisionError"),
        ("nowhere.py:Mine", "no file"),
        ("zoo_own_model:Mein", "Mine"),
        ("zoo_own_model:number", "int"),
        ("zoo_own_model:wrong", "gave int"),
    ],
)
def test_what_can_go_wrong_is_said(own: Path, path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_module(path)


def test_wrong_arguments_are_said(own: Path) -> None:
    with pytest.raises(ConfigError, match="width"):
        load_module("zoo_own_model:Mine", {"width": 3})
    with pytest.raises(ConfigError, match="built already"):
        load_module("zoo_own_model:ready", {"channels": 3})


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match="no device is called 'gpu'; use 'cpu' or 'cuda'"):
        zoo.verify("tensornet", device="gpu")
    with pytest.raises(DeviceError, match="no device is called 'gpu'"):
        verify_all("tensornet", device="gpu")
