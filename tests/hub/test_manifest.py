"""The manifest's schema: round trip, refusals, names."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.errors import ManifestError
from zoo.hub import derive_name
from zoo.hub.manifest import build, read

D = "ab" * 32


def full() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": "tensornet-s.gfn2-md10.r1",
        "architecture": "tensornet",
        "spec_version": 2,
        "config": {"num_layers": 1, "heads": ["energy"], "cutoff": 4.5},
        "conventions": {"edges": "j to i"},
        "files": [
            {"path": "m.safetensors", "sha256": D, "bytes": 10, "role": "weights"},
            {"path": "g.safetensors", "sha256": D, "bytes": 11, "role": "golden"},
        ],
        "urls": ["https://example.org/weights"],
        "source": "zoo",
        "inputs": {
            "domain": "atoms",
            "pbc": ["none", "full"],
            "elements": {"H": 3, "No": 0},
            "charge": True,
        },
        "outputs": {
            "energy": {"unit": "eV", "kind": "total", "level_of_theory": "GFN2-xTB"},
            "forces": {"unit": "eV/Angstrom", "conservative": True},
        },
        "training": {
            "recipe": "gfn2-md10/tensornet",
            "recipe_sha256": D,
            "data": [{"name": "gfn2-md10", "sha256": D, "split_sha256": D, "frames": 2000}],
            "seed": 0,
            "version": "0.1.0",
            "torch": "2.13.0",
            "hardware": "2 CPU cores",
            "hours": 0.8,
        },
        "metrics": [
            {
                "dataset": "gfn2-md10",
                "split": "test",
                "target": "forces",
                "name": "mae",
                "value": 31.5,
                "unit": "meV/Angstrom",
            }
        ],
        "limits": ["molecules of H, C, N and O"],
        "license": {"weights": "Apache-2.0", "data": "CC0-1.0"},
        "citation": ["arXiv:2306.06482"],
        "golden": {"file": "g.safetensors", "rtol": {"float32": 1e-4, "float64": 1e-9}},
        "derived_from": {"name": "tensornet-s.other.r1", "sha256": D},
        "certificate": {"passed": True, "results": []},
    }


def authors() -> dict[str, Any]:
    return {
        "name": "tensornet-2l.ani2x.r1",
        "architecture": "tensornet",
        "config": {},
        "source": "authors",
        "authors": {"url": "https://example.org/x.ckpt", "converter": "torchmd-net"},
        "license": {"weights": "MIT"},
    }


def test_round_trip_is_exact(tmp_path: Path) -> None:
    manifest = build(full(), where="x")
    assert manifest.to_dict() == full()
    path = tmp_path / "manifest.yaml"
    path.write_text(manifest.to_yaml())
    assert read(path) == manifest
    assert yaml.safe_load(manifest.to_yaml()) == full()


def test_authors_entries() -> None:
    manifest = build(authors(), where="x")
    assert manifest.authors is not None and manifest.authors.sha256 is None
    with pytest.raises(ManifestError, match="authors"):
        _ = manifest.weights


def changed(key: str, value: Any) -> dict[str, Any]:
    values = full()
    *parents, last = key.split(".")
    place: Any = values
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    return values


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("archtecture", "x", "archtecture: unknown key: did you mean 'architecture'"),
        ("inputs.element", {}, "inputs.element: unknown key: did you mean 'elements'"),
        ("files.0.sha", D, "files.0.sha: unknown key: did you mean 'sha256'"),
        ("outputs.energy.units", "eV", "outputs.energy.units: unknown key: did you mean 'unit'"),
        ("training.data.0.frame", 3, "did you mean 'frames'"),
        ("files.0.sha256", "ab", "64 lower-case hexadecimal"),
        ("files.0.sha256", "AB" * 32, "64 lower-case hexadecimal"),
        ("files.0.path", "../m.safetensors", "bare name"),
        ("files.0.path", "/etc/passwd", "bare name"),
        ("files.0.path", ".hidden", "bare name"),
        ("files.0.path", "g.safetensors", "same name"),
        ("files.0.bytes", "10", "files.0.bytes"),
        ("files.0.role", "golden", "one file of role weights"),
        ("urls", ["http://example.org"], "https://"),
        ("name", "tensornet-s", "<architecture>-<size>.<dataset>.r<k>"),
        ("name", "tensornet-s.x.r0", "<architecture>-<size>"),
        ("name", "tensornet-s.x.r1.r2", "<architecture>-<size>"),
        ("name", "Tensornet-s.x.r1", "<architecture>-<size>"),
        ("name", "dimenet-s.x.r1", "begin with 'tensornet'"),
        ("schema_version", 2, "pip install -U geometric-zoo"),
        ("spec_version", 0, "spec_version"),
        ("golden.file", "missing.safetensors", "not among the files"),
        ("inputs.pbc", ["all"], "inputs.pbc.0"),
        ("inputs.charge", 1, "inputs.charge"),
        ("source", "authors", "needs `authors`"),
        ("license", {"code": "MIT"}, "license.weights is missing"),
        ("config", [1], "config"),
    ],
)
def test_refusals_name_file_key_and_expectation(key: str, value: Any, words: str) -> None:
    with pytest.raises(ManifestError, match=words.replace("(", "\\(")) as error:
        build(changed(key, value), where="some/manifest.yaml")
    assert "some/manifest.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("base", "dataset", "name"),
    [
        ("tensornet-s.gfn2-md10.r1", "mine", "tensornet-s.mine.r1"),
        ("tensornet", "My Data (v2)", "tensornet-custom.my-data-v2.r1"),
        ("tensornet-2l", "???", "tensornet-2l.data.r1"),
    ],
)
def test_derived_names_follow_the_form(base: str, dataset: str, name: str) -> None:
    assert derive_name(base, dataset) == name
    build(full() | {"name": name}, where="x")
