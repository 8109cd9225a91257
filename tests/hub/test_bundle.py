"""One file for machines without a network."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
import yaml
from ase import Atoms

import zoo
from tests.hub.conftest import NAME, Server, contents, digest, edit, everything, manifest_alone
from zoo import hub
from zoo.errors import (
    ConfigError,
    IntegrityError,
    ManifestError,
    OfflineError,
    OutputError,
    UnknownModelError,
)
from zoo.models.tensornet import TensorNet

SHIPPED = "tensornet-s.gfn2-md10.r1"


# --- what it is for --------------------------------------------------------------------------


def test_a_bundle_holds_everything(bundled: Path, saved: Path) -> None:
    found = contents(bundled)
    assert set(found) == {
        "geometric-zoo-bundle",
        *(f"{NAME}/{name}" for name in ("manifest.yaml", "card.md")),
        *(f"{NAME}/files/{name}" for name in ("model.safetensors", "golden.safetensors")),
    }
    assert found[f"{NAME}/files/model.safetensors"] == (saved / "model.safetensors").read_bytes()
    assert f"zoo.load('{NAME}')" in found[f"{NAME}/card.md"].decode()
    assert bundled.stat().st_size > (saved / "model.safetensors").stat().st_size


def test_the_same_models_give_the_same_bytes(
    bundled: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(saved / "model.safetensors", (0, 0))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    previous = os.umask(0o077)
    try:
        again = hub.bundle([saved, SHIPPED, saved], tmp_path / "again.zoo")
        other = hub.bundle([SHIPPED, saved], tmp_path / "other.zoo")
    finally:
        os.umask(previous)
    assert again.read_bytes() == other.read_bytes()
    assert hub.bundle(saved, tmp_path / "b.zoo").read_bytes() == bundled.read_bytes()
    assert hub.bundle(bundled, tmp_path / "c.zoo").read_bytes() == bundled.read_bytes()


def test_a_bundle_loads_without_a_network(
    bundled: Path, model: TensorNet, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.chdir(bundled.parent)
    loaded = zoo.load("x.zoo", check=True)
    assert loaded.checkpoint_name == NAME
    assert torch.equal(loaded(structures)["energy"], model(structures)["energy"])
    with pytest.raises(UnknownModelError):  # loading a file gives its name to nobody
        zoo.load(NAME)
    hub.pull("x.zoo")
    bundled.unlink()
    assert zoo.load(NAME, check=True).checkpoint_name == NAME
    assert zoo.info(NAME)["architecture"] == "tensornet" and NAME in zoo.card(NAME)


def test_several_models_in_one_bundle(saved: Path, tmp_path: Path) -> None:
    path = hub.bundle([SHIPPED, saved], tmp_path / "two.zoo")
    with pytest.raises(ManifestError, match=f"{SHIPPED}, {NAME}.*zoo pull"):
        zoo.load(path)
    assert len(hub.pull(path)) == sum(
        len(hub.read_manifest(hub.find(name)).files) for name in (SHIPPED, NAME)
    )
    assert zoo.load(NAME, check=True)


def test_what_is_elsewhere_is_fetched_for_the_bundle(
    saved: Path, server: Server, tmp_path: Path, bundled: Path
) -> None:
    server.add(saved)
    remote = manifest_alone(saved, tmp_path / "remote", server.url("ok"))
    path = hub.bundle(remote, tmp_path / "y.zoo")
    there, here = contents(path), contents(bundled)
    assert {k: v for k, v in there.items() if "files" in k} == {
        k: v for k, v in here.items() if "files" in k
    }


def test_every_file_of_the_manifest_travels(saved: Path, tmp_path: Path) -> None:
    """Whatever its role: nothing in a bundle depends on what a file is for."""
    data = b"what a later release stores beside the weights"
    (saved / "more.safetensors").write_bytes(data)
    files = [item.model_dump() for item in hub.read_manifest(saved / "manifest.yaml").files]
    more = {"path": "more.safetensors", "sha256": digest(data), "bytes": len(data), "role": "trust"}
    edit(saved, files=[*files, more])
    found = hub.pull(hub.bundle(saved, tmp_path / "y.zoo"))
    assert [path.name for path in found] == [item["sha256"] for item in [*files, more]]
    hub.upload(saved, tmp_path / "site")
    assert (tmp_path / "site" / "sha256" / digest(data)).read_bytes() == data


def test_progress_counts_all_bytes(saved: Path, tmp_path: Path, bundled: Path) -> None:
    seen: list[tuple[int, int]] = []
    hub.bundle(saved, tmp_path / "y.zoo", progress=lambda done, total: seen.append((done, total)))
    hub.pull(bundled, progress=lambda done, total: seen.append((done, total)))
    total = sum(file.bytes for file in hub.read_manifest(saved / "manifest.yaml").files)
    assert seen.count((total, total)) == 2


@pytest.mark.parametrize("known", [True, False])
def test_the_authors_own_file_travels_too(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Its digest may be unknown to the manifest; then the first one seen counts."""
    data = server.files["x.ckpt"] = b"an authors' checkpoint"
    authors = {"url": server.url("ok/x.ckpt"), "converter": "torchmd-net"}
    entry = {
        "name": "tensornet-l.authors.r1",
        "architecture": "tensornet",
        "config": {},
        "source": "authors",
        "authors": authors | ({"sha256": digest(data)} if known else {}),
        "license": {"weights": "MIT"},
    }
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(entry))

    def expected() -> AbstractContextManager[object]:
        return nullcontext() if known else pytest.warns(UserWarning, match="unverified")

    with expected():
        path = hub.bundle(tmp_path, tmp_path / "x.zoo")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "elsewhere"))
    with monkeypatch.context() as patch, expected():
        patch.setenv("ZOO_OFFLINE", "1")
        (found,) = hub.pull(path)
        assert found.read_bytes() == data
    server.files["x.ckpt"] = b"another checkpoint"
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "third"))
    with pytest.raises(IntegrityError) if known else expected():
        hub.pull(tmp_path)
    if not known:
        with pytest.raises(IntegrityError, match="when it was first fetched here"):
            hub.pull(path)


# --- writing ---------------------------------------------------------------------------------


def test_nothing_is_left_of_a_bundle_that_fails(saved: Path, tmp_path: Path) -> None:
    weights = saved / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    folder = tmp_path / "out"
    with pytest.raises(IntegrityError, match="model.safetensors has sha256"):
        hub.bundle(saved, folder / "x.zoo")
    weights.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match="fewer than"):
        hub.bundle(saved, folder / "x.zoo")
    assert everything(folder) == set()


def test_refusals_when_writing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"ends in .zoo: .*x.zoo"):
        hub.bundle(saved, tmp_path / "x.zip")
    with pytest.raises(ConfigError, match="no model"):
        hub.bundle([], tmp_path / "x.zoo")
    with pytest.raises(UnknownModelError):
        hub.bundle("nothing", tmp_path / "x.zoo")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        hub.bundle(saved, tmp_path / "file" / "x.zoo")
    other = zoo.save(zoo.create("tensornet", num_layers=0), tmp_path / "other", name=NAME)
    with pytest.raises(ConfigError, match="two different models"):
        hub.bundle([saved, other], tmp_path / "x.zoo")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(OfflineError):
        hub.bundle(manifest_alone(saved, tmp_path / "remote"), tmp_path / "x.zoo")


# --- names -----------------------------------------------------------------------------------


def test_a_name_never_changes_its_weights(bundled: Path, saved: Path, tmp_path: Path) -> None:
    hub.pull(bundled)
    hub.pull(bundled)
    edit(saved, limits=["only for tests"])  # what is said about weights may change
    hub.pull(hub.bundle(saved, tmp_path / "said.zoo"))
    assert zoo.load(NAME).manifest.limits == ["only for tests"]
    other = zoo.save(zoo.create("tensornet", num_layers=0), tmp_path / "other", name=NAME)
    path = hub.bundle(other, tmp_path / "other.zoo")
    with pytest.raises(OutputError, match=f"other weights called {NAME}.*immutable"):
        hub.pull(path)
    assert zoo.load(path).hparams["num_layers"] == 0  # by its path it is unambiguous
    assert zoo.load(NAME).hparams["num_layers"] == 1


def test_a_shipped_name_cannot_be_taken(tmp_path: Path) -> None:
    other = zoo.save(zoo.create("tensornet", num_layers=0), tmp_path / "other", name=SHIPPED)
    with pytest.raises(OutputError, match=f"other weights called {SHIPPED}"):
        hub.pull(hub.bundle(other, tmp_path / "x.zoo"))


def test_what_is_in_the_cache_is_not_annotated(bundled: Path) -> None:
    with pytest.raises(OutputError, match="is in the cache"):
        hub.annotate(bundled, limits=["none"])


def test_a_damaged_manifest_in_the_cache_is_noticed(bundled: Path, cache: Path) -> None:
    hub.pull(bundled)
    (path,) = (cache / "manifests").glob("*/manifest.yaml")
    path.write_text(path.read_text().replace("CC0-1.0", "MIT"))
    with pytest.raises(IntegrityError, match="was damaged"):
        zoo.load(NAME)
    assert zoo.load(bundled).manifest.license.weights == "CC0-1.0"  # written anew
