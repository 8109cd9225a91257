"""Every shipped weight outside atoms predicts on, and learns from, a file it has never seen.

That a domain ships weights at all is asserted too, so that an empty list can't pass.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_samples as foreign
import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.models._sample import SampleModel

Cli = Callable[..., tuple[int, str, str]]
#: domains that ship weights
DOMAINS = {"graph", "image", "matrix", "particles", "points", "signal"}


def shipped() -> dict[str, str]:
    """Domain of each shipped checkpoint that is not of atoms."""
    about = {name: registry.info(name) for name in registry.list_models(pretrained=True)}
    domains = {
        name: (entry.get("inputs") or {}).get("domain", "atoms") for name, entry in about.items()
    }
    return {name: domain for name, domain in domains.items() if domain != "atoms"}


SHIPPED = shipped()


def test_these_domains_ship_weights() -> None:
    assert set(SHIPPED.values()) >= DOMAINS


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_weights_are_described(name: str) -> None:
    about = registry.info(name)
    certificate = about["certificate"]
    assert certificate["passed"] and certificate["domain"] == SHIPPED[name]
    assert certificate["name"] == name
    assert about["golden"] and about["metrics"] and about["limits"]
    assert about["training"]["data"][0]["sha256"] and about["license"]["weights"] != "not stated"


@pytest.fixture(scope="module")
def models() -> dict[str, SampleModel]:
    return {name: zoo.load(name, check=True) for name in SHIPPED}


def results(cli: Cli, name: object, file: foreign.Foreign, out: Path) -> dict[str, np.ndarray]:
    """What `zoo predict` writes."""
    code, _, said = cli("predict", name, file.path, "-o", out, *file.words(labels=False))
    assert code == 0, said
    assert f"wrote {file.count} samples" in said
    with np.load(out) as arrays:
        return dict(arrays)


def finite(arrays: dict[str, np.ndarray]) -> bool:
    return all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f")


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_predict_and_finetune_on_a_foreign_file(
    cli: Cli, models: dict[str, SampleModel], name: str, tmp_path: Path
) -> None:
    model = models[name]
    file = foreign.write(model, tmp_path)
    before = results(cli, name, file, tmp_path / "before.npz")
    assert set(model.outputs) <= set(before) and finite(before)

    tuned = tmp_path / "tuned"
    words: list[Any] = ["--epochs", 1, *file.words(labels=True), "--json"]
    for key, value in file.settings.items():
        words += ["--set", f"{key}={value}"]
    code, out, said = cli("finetune", name, file.path, "-o", tuned, *words)
    if model.transductive:  # another graph has other nodes: refused in words, nothing written
        assert code == 1 and "another graph" in said, said
        assert not (tuned / "manifest.yaml").exists()
        return
    assert code == 0, said
    assert json.loads(out)["path"] == str(tuned)

    loaded = zoo.load(tuned, check=True)
    assert loaded.manifest.derived_from.name == name
    after = results(cli, tuned, file, tmp_path / "after.npz")
    assert finite(after) and set(model.outputs) <= set(after)
    if "class" in after:
        known = set(loaded.classes)
        assert set(after["class"].ravel()) <= known and not known & set(model.classes or ())
    main = model.outputs[0]
    assert before[main].shape != after[main].shape or not np.array_equal(before[main], after[main])
