"""`zoo eval --physics`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

Cli = Callable[..., tuple[int, str, str]]
NAME = "tensornet-s.gfn2-md10.r1"
REFERENCE = """
import torch, zoo

model = zoo.load("tensornet-s.gfn2-md10.r1", dtype=torch.float64)


def itself(atoms):
    return model.calculator()
"""


def test_frequencies_into_a_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(REFERENCE)
    write(tmp_path / "methane.extxyz", molecule("CH4"))
    words = ["eval", NAME, "--physics", "molecules", "--only", "frequencies", "--reference"]
    words += [f"{tmp_path / 'own.py'}:itself", "--system", str(tmp_path / "methane.extxyz")]
    folder = tmp_path / "out"
    code, out, err = cli(*words, "-o", folder)
    assert code == 0, err
    assert out.startswith("system   frequency (cm^-1)")
    assert "reference: own.itself" in out
    stored = json.loads((folder / "physics.json").read_text())
    assert stored["summary"][0]["values"] == 9
    assert stored["failures"] == []
    assert (folder / "frequencies.png").stat().st_size > 10_000
    code, out, _ = cli(*words, "-o", folder, "--json")
    assert json.loads(out) == stored  # nothing was measured again: the time spent is the same


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "name a file or data set, or --physics"),
        (["frames.extxyz", "--quick"], 2, "needs --physics"),
        (["frames.extxyz", "--physics", "molecules"], 2, "has no meaning with --physics"),
        (["--physics", "molecules", "--quick", "--write"], 2, "belongs on no card"),
        (["--physics", "metal"], 1, "did you mean 'metals'"),
        (["--physics", "metals"], 1, "give the calculator of GFN2-xTB with reference="),
        (["--physics", "molecules", "--reference", "nowhere"], 1, "a function that makes"),
        (["--physics", "molecules", "--only", "nve,drift"], 1, "no group of properties 'drift'"),
    ],
)
def test_refusals(cli: Cli, words: list[str], code: int, message: str) -> None:
    found, _, err = cli("eval", NAME, *words)
    assert found == code
    assert message in " ".join(err.replace("│", " ").split())
