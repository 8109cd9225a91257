"""`zoo convert` turns the authors' weights into a folder that loads and gives their outputs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase import Atoms
from safetensors import safe_open
from safetensors.torch import save_file

import zoo

Cli = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parents[1] / "models" / "golden" / "tensornet-1l-so3-0.safetensors"


@pytest.fixture
def authors(tmp_path: Path) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A state dict and configuration as torchmd-net writes them, and what they give."""
    with safe_open(GOLDEN, "pt") as stored:
        config = json.loads(stored.metadata()["config"])
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    state = {k.removeprefix("weight/"): v for k, v in tensors.items() if k.startswith("weight/")}
    save_file(state, tmp_path / "theirs.safetensors")
    (tmp_path / "theirs.json").write_text(json.dumps(config))
    return tmp_path / "theirs.safetensors", tmp_path / "theirs.json", tensors


def test_round_trip(
    cli: Cli, authors: tuple[Path, Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    weights, config, tensors = authors
    out = tmp_path / "spice"
    words = ["--config", config, "--source", "torchmd-net", "-o", out, "--json"]
    code, text, _ = cli("convert", "tensornet", weights, *words)
    assert code == 0
    assert json.loads(text)["name"] == "tensornet-custom.spice.r1"
    model = zoo.load(out, dtype=torch.float64)
    first = tensors["input/batch"] == 0
    atoms = Atoms(tensors["input/z"][first].numpy(), tensors["input/pos"][first].numpy())
    atoms.info["charge"] = float(tensors["input/charge"][0])
    expected = tensors["output/energy"][0]
    torch.testing.assert_close(model(atoms)["energy"][0], expected, rtol=1e-10, atol=0)


def test_refusals(
    cli: Cli, authors: tuple[Path, Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    weights, config, _ = authors
    end = ["--config", config, "-o", tmp_path / "out"]
    code, _, err = cli("convert", "tensornet", weights, *end, "--source", "torchmdnet")
    assert code == 1
    assert "torchmd-net" in err
    named = ["--source", "torchmd-net", "--name", "not a name"]
    code, _, err = cli("convert", "tensornet", weights, *end, *named)
    assert code == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_weights_that_are_not_there(
    cli: Cli, authors: tuple[Path, Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    words = ["--config", authors[1], "--source", "torchmd-net", "-o", tmp_path / "ours"]
    code, out, err = cli("convert", "tensornet", tmp_path / "missing.pt", *words)
    assert (code, out) == (1, "")
    assert "there is no file" in err and "missing.pt" in err
