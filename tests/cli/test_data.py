"""`zoo data generate`, `zoo pull`, `zoo bench` and `zoo doctor`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms

import zoo
from zoo.apps import bench, doctor

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hydrogen(tmp_path: Path) -> Path:
    Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]).write(tmp_path / "h2.xyz")
    return tmp_path / "h2.xyz"


def test_generate_gfn2(cli: Cli, hydrogen: Path, tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    out = tmp_path / "made" / "h2.npz"
    short = ["--equilibration", 2, "--stride", 1, "--frames", "train=3", "--frames", "test=2"]
    code, text, err = cli("data", "generate", "gfn2", hydrogen, "-o", out, *short)
    assert code == 0, err
    assert text.startswith("wrote 5 frames")
    dataset = zoo.datasets.open(out.with_suffix(".yaml"))
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 3, "test": 2}
    code, _, err = cli("data", "generate", "gfn2", hydrogen, "-o", out, *short)
    assert code == 1
    assert "exists" in err
    code, text, _ = cli(
        "data", "generate", "gfn2", hydrogen, "-o", out, *short, "--overwrite", "--json"
    )
    assert json.loads(text)["level_of_theory"] == "GFN2-xTB"


def test_generate_dft(cli: Cli, hydrogen: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyscf")
    out = tmp_path / "h2.extxyz"
    words = ["--basis", "sto-3g", "--grid", 0, "--json"]
    code, text, err = cli("data", "generate", "dft", hydrogen, "-o", out, *words)
    assert code == 0, err
    assert json.loads(text)["frames"] == 1
    assert {"energy", "forces"} <= zoo.datasets.open(out).labels


def test_generate_says_what_is_wrong(cli: Cli, hydrogen: Path, tmp_path: Path) -> None:
    start = ["data", "generate", "gfn2"]
    assert cli(*start, hydrogen, "-o", tmp_path / "a.npz", "--frames", "train")[0] == 2
    assert cli(*start, hydrogen, "-o", tmp_path / "a.npz", "--frames", "train=0")[0] == 2
    code, _, err = cli(*start, hydrogen, "-o", tmp_path / "a.csv")
    assert code == 1
    assert ".npz" in err


def test_pull(cli: Cli, weights: Path) -> None:
    code, text, _ = cli("pull", weights, "--json")
    assert code == 0
    (paths,) = json.loads(text).values()
    assert {Path(path).suffix for path in paths} == {".safetensors"}
    code, _, err = cli("pull", "no-such.weights.r1")
    assert code == 1
    assert err.startswith("error: ")


def test_bench(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"what": "step (ms)", "ours": 1.5, "target": "-"}, {"what": "machine", "threads": 2}]
    seen: list[object] = []

    def measured(name: str, *, repeats: int, peers: Path | None) -> list[dict[str, object]]:
        seen.extend([name, repeats, peers])
        return [dict(row) for row in rows]

    monkeypatch.setattr(bench, "atoms", measured)
    code, text, _ = cli("bench", "atoms", "tensornet-s", "--repeats", 3)
    assert code == 0
    assert seen == ["tensornet-s", 3, None]
    assert text.splitlines()[-1] == "threads: 2"
    assert json.loads(cli("bench", "atoms", "--json")[1]) == rows


def test_doctor(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = cli("doctor", "--json")
    assert code == 0
    assert "torch" in {row["name"] for row in json.loads(text)}
    broken = [doctor.Finding("torch", "problem", "not installed")]
    monkeypatch.setattr(doctor, "doctor", lambda: broken)
    code, text, _ = cli("doctor")
    assert code == 3
    assert "problem" in text
