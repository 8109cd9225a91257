"""Authors' published weights by name: files of their formats, made here, from a loopback server."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from goldens import golden, structures

import zoo
import zoo.hub._load  # what it imports warns once
from tests.hub.conftest import Bomb, Server, blobs, digest
from tests.models.test_dimenet_tensorflow import CONFIGS, variables
from tests.support.tensor_bundle import write
from zoo import _catalog, hub, registry
from zoo.errors import (
    CapabilityError,
    DownloadError,
    IntegrityError,
    OfflineError,
    StateMismatchError,
    UnsafeFileError,
)

GOLDEN = Path(__file__).parents[1] / "models" / "golden"
MEAN, SCALE, FORCES = -0.7554450631141663, 2.887317180633545, 2.5
THEIRS = [
    name
    for name, path in _catalog.checkpoints().items()
    if _catalog.manifest(path, brief=True).get("source") == "authors"
]


def older(name: str) -> str:
    """As the class was that wrote the published files, inside two wrappers of ocp."""
    name = name.removeprefix("backbone.")
    return "module.module." + re.sub(r"^(energy|force)_head\.", "", name)


def checkpoint(architecture: str, **changes: Any) -> dict[str, Any]:
    """What ocp's trainer writes while it goes on; the network's weights are in the average."""
    config, weights, _ = golden(GOLDEN / f"{architecture}-0.safetensors")
    state = {older(name): value for name, value in weights.items()}
    frozen = re.compile(
        r"offset$|sphere_points|sphharm|SO3_|mappingReduced|expand_index|balance_degree"
    )
    shadows = [value for name, value in state.items() if not frozen.search(name)]
    raw = {k: v if frozen.search(k) else v + 0.1 for k, v in state.items()}
    return {
        "epoch": 1.5,
        "state_dict": raw,
        "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 4e-4}]},
        "ema": {
            "decay": 0.999,
            "num_updates": None,
            "shadow_params": shadows,
            "collected_params": [],
        },
        "normalizers": {
            "target": {"mean": torch.tensor(MEAN), "std": torch.tensor(SCALE)},
            "grad_target": {"mean": torch.tensor(0.0), "std": torch.tensor(FORCES)},
        },
        "config": {"model": architecture, "model_attributes": config, "cmd": {"seed": 0}},
        "val_metrics": {"forces_mae": {"metric": np.float64(0.02), "numel": 12}},
        "amp": None,
        **changes,
    }


def entry(shelf: Path, architecture: str, url: str, converter: str, **more: Any) -> str:
    name = f"{architecture}-authors.tiny.r1"
    manifest = {
        "name": name,
        "architecture": architecture,
        "config": {},
        "source": "authors",
        "authors": {"url": url, "converter": converter, **more},
        "license": {"weights": "CC-BY"},
    }
    (shelf / f"{name}.yaml").write_text(yaml.safe_dump(manifest))
    return name


def serve(server: Server, folder: Path, content: Any, name: str = "their.pt") -> bytes:
    torch.save(content, folder / name)
    server.files[name] = (folder / name).read_bytes()
    return server.files[name]


# --- fairchem --------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["escn", "equiformer_v2"])
def test_averaged_weights_in_their_units_once_downloaded(
    architecture: str,
    shelf: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = serve(server, tmp_path, checkpoint(architecture))
    name = entry(shelf, architecture, f"{server.url('ok')}/their.pt", "fairchem")
    with pytest.warns(UserWarning, match=f"unverified.*sha256 {digest(data)}"):
        model = zoo.load(name, dtype=torch.float64)
    *_, tensors = golden(GOLDEN / f"{architecture}-0.safetensors")
    out = model(structures(tensors))
    mean, scale, forces = (float(torch.tensor(x)) for x in (MEAN, SCALE, FORCES))
    energy = tensors["output/energy"].flatten() * scale + mean
    assert (out["energy"] - energy).abs().max() < 1e-10 * energy.abs().max()
    wanted = tensors["output/forces"] * forces  # their frames are rolled at random
    assert (out["forces"] - wanted).abs().max() < 1e-6 * wanted.abs().max()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.warns(UserWarning, match="unverified"):
        again = zoo.load(name, dtype=torch.float64)
    assert torch.equal(again(structures(tensors))["energy"], out["energy"])
    assert len(server.requests) == 1 and hub.at_hand(name)


def test_the_best_networks_hold_the_average_as_their_state(tmp_path: Path) -> None:
    config, weights, tensors = golden(GOLDEN / f"{'escn'}-0.safetensors")
    content = checkpoint("escn", state_dict=weights, ema=None)
    torch.save(content, tmp_path / "best.pt")
    model = zoo.convert("escn", tmp_path / "best.pt", {}, source="fairchem")
    plain = zoo.convert("escn", weights, config, source="fairchem")
    atoms = structures(tensors)
    energy = plain(atoms)["energy"] * float(torch.tensor(SCALE)) + float(torch.tensor(MEAN))
    torch.testing.assert_close(model(atoms)["energy"], energy, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"normalizers": None}, StateMismatchError, "without `normalizers`"),
        ({"normalizers": {"target": {"mean": 0.0}}}, StateMismatchError, "no `rmsd` or `std`"),
        ({"ema": {"shadow_params": [torch.ones(2)]}}, StateMismatchError, "has 1 tensors"),
        (
            {"normalizers": {"forces": {"mean": 1.0, "rmsd": 1.0}}},
            CapabilityError,
            "forces with a mean of 1",
        ),
    ],
)
def test_what_a_checkpoint_must_say(change: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        zoo.convert("escn", checkpoint("escn", **change), {}, source="fairchem")


def test_references_of_elements_are_added() -> None:
    *_, tensors = golden(GOLDEN / f"{'escn'}-0.safetensors")
    atoms = structures(tensors)
    table = torch.arange(100.0)
    content = checkpoint("escn", elementrefs={"energy": {"element_references": table}})
    model = zoo.convert("escn", content, {}, source="fairchem")
    before = zoo.convert("escn", checkpoint("escn"), {}, source="fairchem")
    wanted = torch.tensor([float(each.numbers.sum()) for each in atoms], dtype=torch.float64)
    found = model(atoms)["energy"] - before(atoms)["energy"]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# --- what can go wrong on the way ------------------------------------------------------------


def test_a_wrong_digest_is_refused(
    shelf: Path, server: Server, tmp_path: Path, cache: Path
) -> None:
    data = serve(server, tmp_path, checkpoint("escn"))
    good, url = digest(data), f"{server.url('wrong')}/their.pt"
    name = entry(shelf, "escn", url, "fairchem", sha256=good)
    with pytest.raises(IntegrityError, match=f"expected {good}"):
        zoo.load(name)
    assert blobs(cache) == []
    name = entry(shelf, "escn", f"{server.url('ok')}/their.pt", "fairchem", sha256=good)
    zoo.load(name)  # no warning: warnings are errors here
    assert [path.name for path in blobs(cache)] == [good]


def test_a_file_that_is_cut_short(shelf: Path, server: Server, tmp_path: Path, cache: Path) -> None:
    data = serve(server, tmp_path, checkpoint("escn"))
    name = entry(shelf, "escn", f"{server.url('short')}/their.pt", "fairchem")
    with pytest.raises(DownloadError, match=r"their\.pt of escn-authors"):
        zoo.load(name)
    assert blobs(cache) == []
    server.files["their.pt"] = data[: len(data) // 2]  # served whole, but half a file
    name = entry(shelf, "escn", f"{server.url('ok')}/their.pt", "fairchem")
    with pytest.warns(UserWarning, match="unverified"), pytest.raises(UnsafeFileError):
        zoo.load(name)


def test_a_file_that_was_replaced_is_not_taken_for_the_first_one(
    shelf: Path, server: Server, tmp_path: Path, cache: Path
) -> None:
    first = serve(server, tmp_path, checkpoint("escn"))
    name = entry(shelf, "escn", f"{server.url('ok')}/their.pt", "fairchem")
    with pytest.warns(UserWarning, match="unverified"):
        zoo.load(name)
    blobs(cache)[0].unlink()  # as pruning does
    serve(server, tmp_path, checkpoint("escn", epoch=2.5))
    with pytest.raises(IntegrityError, match=f"it had {digest(first)} when it was first") as caught:
        zoo.load(name)
    assert blobs(cache) == []
    Path(re.findall(r"delete (\S+)", str(caught.value))[0]).unlink()
    with pytest.warns(UserWarning, match="unverified"):
        zoo.load(name)


def test_code_in_a_pickle_is_not_run(
    shelf: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TEST_RAN", str(tmp_path / "ran"))
    serve(server, tmp_path, checkpoint("escn", amp=Bomb()))
    name = entry(shelf, "escn", f"{server.url('ok')}/their.pt", "fairchem")
    with (
        pytest.warns(UserWarning, match="unverified"),
        pytest.raises(UnsafeFileError, match="without running code"),
    ):
        zoo.load(name)
    assert not (tmp_path / "ran").exists()


def test_offline_opens_no_socket(
    shelf: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    name = entry(shelf, "escn", f"{server.url('ok')}/their.pt", "fairchem")
    assert not hub.at_hand(name)
    with pytest.raises(OfflineError, match=r"their\.pt of escn-authors"):
        zoo.load(name)
    assert server.requests == []


# --- several files ---------------------------------------------------------------------------


@pytest.fixture
def tensorflow(shelf: Path, server: Server, tmp_path: Path) -> dict[str, Any]:
    """A checkpoint of DimeNet++ for one target, on the server; its entry's fields."""
    config = CONFIGS["dimenet++"]
    write(tmp_path / "ckpt", variables(1, config))
    files = sorted(tmp_path.glob("ckpt.*"), key=lambda path: not path.name.endswith("index"))
    items = []
    for path in files:
        data = server.files[path.name] = path.read_bytes()
        known = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        items.append({"url": f"{server.url('ok')}/{path.name}", "git": known})
    assert len(items) == 3
    return {**items[0], "parts": items[1:], "config": {**config, "targets": ["U0"]}}


def dimenet(shelf: Path, fields: dict[str, Any]) -> str:
    return entry(shelf, "dimenetpp", converter="tensorflow", **fields)


def test_a_checkpoint_in_several_files(
    shelf: Path,
    server: Server,
    tensorflow: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = dimenet(shelf, tensorflow)
    model = zoo.load(name)  # git ids are known: nothing is unverified
    direct = zoo.convert("dimenetpp", tmp_path / "ckpt", tensorflow["config"], source="tensorflow")
    atoms = Atoms("OHH", [[0, 0, 0.1], [0.8, 0, -0.5], [-0.8, 0, -0.5]])
    assert torch.equal(model(atoms)["u0"], direct(atoms)["u0"])
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    zoo.load(name)
    assert len(server.requests) == 3
    bundle = hub.bundle(name, tmp_path / "x.zoo")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other"))
    assert torch.equal(zoo.load(bundle)(atoms)["u0"], model(atoms)["u0"])


def test_another_file_than_the_repository_holds(
    shelf: Path, server: Server, tensorflow: dict[str, Any], cache: Path
) -> None:
    last = tensorflow["parts"][-1]
    last["url"] = last["url"].replace("/ok/", "/wrong/")
    with pytest.raises(IntegrityError, match=f"expected {last['git']}"):
        zoo.load(dimenet(shelf, tensorflow))
    assert len(blobs(cache)) == 2


# --- what is registered ----------------------------------------------------------------------


def test_these_are_registered() -> None:
    counts = {
        architecture: sum(name.startswith(f"{architecture}-authors") for name in THEIRS)
        for architecture in ("dimenet", "dimenetpp", "escn", "equiformer_v2")
    }
    assert counts == {"dimenet": 11, "dimenetpp": 11, "escn": 5, "equiformer_v2": 5}


@pytest.mark.parametrize("name", THEIRS)
def test_each_says_where_it_comes_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    manifest = hub.read_manifest(hub.find(name))
    authors = manifest.authors
    assert authors is not None and authors.read_in and authors.published
    spec, _ = registry.resolve(manifest.architecture)
    assert authors.converter in registry.module_of(spec).CONVERTERS
    assert manifest.license.weights != "not stated" and manifest.citation
    assert manifest.certificate is None and manifest.metrics == []  # nobody here has run them
    card = zoo.card(name)
    assert "not run by us" in card
    assert authors.url in card and authors.read_in[0] in card
    row = zoo.registry.table(name, pretrained=True)[0]
    assert (row["source"], row["certificate"]) == ("authors", None)
    with pytest.raises(OfflineError):
        zoo.load(name)


def test_configurations_are_those_of_the_published_sizes() -> None:
    """The converters' arguments are the presets' that were made from the papers."""
    from zoo.models import _equiformer_v2_fairchem, _escn_fairchem

    for name, preset in {
        "escn-authors-l4m2.oc20-2m.r1": "escn-l4m2x12",
        "escn-authors-l6m2.oc20-all-md.r1": "escn-l6m2x12",
        "escn-authors-l6m3.oc20-all-md.r1": "escn-l6m3x20",
    }.items():
        authors = hub.read_manifest(hub.find(name)).authors
        assert authors is not None
        found = _escn_fairchem._arguments(_escn_fairchem._DEFAULTS | authors.config)
        _, wanted = registry.resolve(preset)
        assert {key: found[key] for key in wanted} == wanted
    for name, preset in {
        "equiformer_v2-authors-31m.oc20-all-md.r1": "equiformer_v2-31m",
        "equiformer_v2-authors-83m.oc20-2m.r1": "equiformer_v2-83m",
        "equiformer_v2-authors-153m.oc20-all-md.r1": "equiformer_v2-153m",
    }.items():
        authors = hub.read_manifest(hub.find(name)).authors
        assert authors is not None
        options = {**_equiformer_v2_fairchem._DEFAULTS, **authors.config}
        found = _equiformer_v2_fairchem._arguments(options)
        _, wanted = registry.resolve(preset)
        common = set(found) & set(wanted)
        assert {key: found[key] for key in common} == {key: wanted[key] for key in common}


@pytest.mark.parametrize("name", [name for name in THEIRS if ".odac23." in name])
def test_weights_on_odac23_have_the_published_sizes_but_other_constants(name: str) -> None:
    from zoo.models import _equiformer_v2_fairchem, _escn_fairchem

    manifest = hub.read_manifest(hub.find(name))
    assert manifest.authors is not None
    config = manifest.authors.config
    if manifest.architecture == "escn":
        found = _escn_fairchem._arguments(_escn_fairchem._DEFAULTS | config)
        _, wanted = registry.resolve("escn-l6m2x12")
        other = {"cutoff": 8.0, "num_rbf": 400, "max_z": 99}
    else:
        options = {**_equiformer_v2_fairchem._DEFAULTS, **config}
        _equiformer_v2_fairchem._refuse_other_options(options)
        found = _equiformer_v2_fairchem._arguments(options)
        _, wanted = registry.resolve("equiformer_v2-31m" if "31m" in name else "equiformer_v2-153m")
        other = {"cutoff": 8.0, "max_z": 99, "average_degree": 21.024127419363214}
        scaling = _equiformer_v2_fairchem._scaling(options, None)
        assert float(scaling["energy_scale.scale"]) == pytest.approx(1 / 192.561)
    assert {key: found[key] for key in other} == other
    same = set(found) & set(wanted) - set(other)
    assert {key: found[key] for key in same} == {key: wanted[key] for key in same} and len(same) > 3
