"""Weights of other packages: converted, or fetched from their authors."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from ase import Atoms

import zoo
import zoo.hub._load  # what it imports warns once
from tests.hub.conftest import Bomb, Server, digest
from zoo.errors import (
    ConfigError,
    IntegrityError,
    StateMismatchError,
    UnknownNameError,
    UnsafeFileError,
)
from zoo.hub import weights
from zoo.models import tensornet
from zoo.models.tensornet import TensorNet

CONFIG = {"size": 8}


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch, model: TensorNet) -> None:
    """A foreign package whose names carry a prefix."""

    def convert(
        state: dict[str, torch.Tensor], config: dict[str, int]
    ) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        arguments = {**model.hparams, "hidden_channels": config["size"]}
        return arguments, {name.removeprefix("net."): t for name, t in state.items()}

    monkeypatch.setitem(tensornet.CONVERTERS, "elsewhere", convert)


def foreign(model: TensorNet) -> dict[str, torch.Tensor]:
    return {f"net.{name}": tensor for name, tensor in model.state_dict().items()}


@pytest.mark.usefixtures("converter")
def test_convert_from_dict_and_files(
    tmp_path: Path, model: TensorNet, structures: list[Atoms]
) -> None:
    energy = model(structures)["energy"]
    (tmp_path / "w.safetensors").write_bytes(weights.dump(foreign(model)))
    torch.save({"state_dict": foreign(model), "epoch": 3}, tmp_path / "w.ckpt")
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    for source in (foreign(model), tmp_path / "w.safetensors", str(tmp_path / "w.ckpt")):
        for config in (CONFIG, tmp_path / "c.json"):
            made = zoo.convert("tensornet", source, config, source="elsewhere")
            assert not made.training
            assert torch.equal(made(structures)["energy"], energy)


@pytest.mark.usefixtures("converter")
def test_convert_units(model: TensorNet, structures: list[Atoms]) -> None:
    plain = zoo.convert("tensornet", foreign(model), CONFIG, source="elsewhere")
    kcal = zoo.convert(
        "tensornet", foreign(model), CONFIG, source="elsewhere", units={"energy": "kcal/mol"}
    )
    factor = 0.0433641153087705  # eV in a kcal/mol (CODATA)
    for name in ("energy", "forces"):
        expected = plain(structures)[name].double() * factor
        found = kcal(structures)[name].double()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for units, words in (
        ({"energy": "kcal"}, "did you mean 'kcal/mol'"),
        ({"length": "bohr"}, "length unit 'bohr'"),
        ({"force": "eV"}, "unknown quantity 'force'"),
    ):
        with pytest.raises(ConfigError, match=words):
            zoo.convert("tensornet", foreign(model), CONFIG, source="elsewhere", units=units)


@pytest.mark.usefixtures("converter")
def test_convert_refuses_code(
    tmp_path: Path, model: TensorNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TEST_RAN", str(tmp_path / "ran"))
    torch.save({"state_dict": foreign(model), "hooks": Bomb()}, tmp_path / "w.pt")
    with pytest.raises(UnsafeFileError, match="without running code"):
        zoo.convert("tensornet", tmp_path / "w.pt", CONFIG, source="elsewhere")
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(StateMismatchError, match="no state dict"):
        zoo.convert("tensornet", tmp_path / "list.pt", CONFIG, source="elsewhere")
    with pytest.raises(UnknownNameError, match="'elsewhere'"):
        zoo.convert("tensornet", {}, {}, source="elswhere")


def authors_entry(shelf: Path, url: str, **changes: object) -> str:
    name = "tensornet-8.theirs.r1"
    entry = {
        "name": name,
        "architecture": "tensornet",
        "config": {},
        "source": "authors",
        "authors": {"url": url, "converter": "elsewhere", "config": CONFIG, **changes},
        "license": {"weights": "MIT"},
    }
    (shelf / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    return name


@pytest.mark.usefixtures("converter")
def test_authors_weights_without_a_digest_say_so(
    shelf: Path,
    server: Server,
    model: TensorNet,
    structures: list[Atoms],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save({"state_dict": foreign(model)}, tmp_path / "their.ckpt")
    server.files["their.ckpt"] = (tmp_path / "their.ckpt").read_bytes()
    name = authors_entry(shelf, f"{server.url('ok')}/their.ckpt")
    assert "unverified" in zoo.card(name)
    with pytest.warns(
        UserWarning, match="unverified.*sha256 " + digest(server.files["their.ckpt"])
    ):
        loaded = zoo.load(name)
    assert torch.equal(loaded(structures)["energy"], model(structures)["energy"])
    monkeypatch.setenv("ZOO_OFFLINE", "1")  # the second time it comes from the cache
    with pytest.warns(UserWarning, match="unverified"):
        zoo.load(name)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("converter")
def test_authors_weights_with_a_digest(
    shelf: Path, server: Server, model: TensorNet, structures: list[Atoms]
) -> None:
    data = weights.dump(foreign(model))
    server.files["their.safetensors"] = data
    name = authors_entry(shelf, f"{server.url('ok')}/their.safetensors", sha256=digest(data))
    loaded = zoo.load(name)  # no warning: warnings are errors here
    assert torch.equal(loaded(structures)["energy"], model(structures)["energy"])
    name = authors_entry(shelf, f"{server.url('ok')}/their.safetensors", sha256="00" * 32)
    with pytest.raises(IntegrityError, match="expected 0000"):
        zoo.load(name)
