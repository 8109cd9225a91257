"""`zoo verify`, on our models and on users' own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo import hub

Cli = Callable[..., tuple[int, str, str]]

OWN = '''
from zoo.models.tensornet import TensorNet


def build(hidden_channels=8):
    return TensorNet(hidden_channels=hidden_channels, num_layers=1, num_rbf=8)


class Drifting(TensorNet):
    """Its energy depends on where the origin is."""

    def __init__(self):
        super().__init__(hidden_channels=8, num_layers=1, num_rbf=8)

    def forward(self, batch, **options):
        out = super().forward(batch, **options)
        return out | {"energy": out["energy"] + batch.pos.sum().double()}
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_architecture_passes(cli: Cli, weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights, tmp_path / "mine")
    code, out, _ = cli("verify", folder, "-o", tmp_path / "out", "--write")
    assert code == 0, out
    said, wrote = out.splitlines()[-2:]
    assert said.startswith("tensornet-t.test.r1: ") and str(folder / "manifest.yaml") in wrote
    assert "FAILED" not in out
    stored = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert stored["passed"] is True and stored["results"]
    assert hub.read_manifest(folder / "manifest.yaml").certificate == stored


def test_a_users_own_model(cli: Cli, own: Path) -> None:
    code, out, _ = cli(
        "verify", "--module", "own_models:build", "--set", "hidden_channels=4", "--json"
    )
    assert code == 0, out
    assert json.loads(out)["passed"] is True


def test_a_broken_model_exits_with_three(cli: Cli, own: Path) -> None:
    code, out, _ = cli("verify", "--module", "own_models:Drifting")
    assert code == 3
    assert "translation" in {line.split()[0] for line in out.splitlines() if "FAILED" in line}


def test_wrong_usage(cli: Cli, own: Path) -> None:
    assert cli("verify")[0] == 2
    assert cli("verify", "tensornet", "--module", "own_models:build")[0] == 2
    assert cli("verify", "tensornet", "--set", "a=1")[0] == 2
    assert cli("verify", "--module", "own_models")[0] == 1
    code, _, err = cli("verify", "--module", "own_models:bild")
    assert code == 1
    assert "build" in err
    code, _, err = cli("verify", "tensornet", "--check", "rotatoin")
    assert code == 1
    assert "rotation" in err


def test_all_that_match_in_one_table(cli: Cli) -> None:
    words = ("verify", "hyperbolic_svm*", "--all", "--check", "outputs")
    status, out, _ = cli(*words)
    assert status == 0
    assert "hyperbolic_svm" in out and out.rstrip().endswith("0 FAIL, 0 skipped")
    rows = json.loads(cli(*words, "--json")[1])
    assert [(row["name"], row["kind"], row["result"]) for row in rows][0] == (
        "hyperbolic_svm",
        "architecture",
        "PASS",
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--all", "--domain", "graph"),
        ("--all", "--set", "lmax=2"),
        ("--all", "-o", "folder"),
        ("--write", "--seed", "1"),
        ("--write", "--module", "own_models:build"),
        ("--all", "--write", "--check", "outputs"),
    ],
)
def test_what_all_does_not_go_with(cli: Cli, words: tuple[str, ...]) -> None:
    status, out, err = cli("verify", "hyperbolic_svm", *words)
    assert status == 2 and not out
    assert "goes with" in err
