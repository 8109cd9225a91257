"""OC20, MPtrj and WBM, from small files in their raw formats."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import raw_solids as raw
import torch
from raw_atoms import opened
from torch_geometric.data import Data

import zoo.datasets as zd
from zoo.datasets.published import mptrj
from zoo.errors import ConfigError, DataError, UnsafeFileError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sets as `zoo data get` leaves them."""
    place = tmp_path_factory.mktemp("cache") / "datasets"
    raw.oc20_parts(place / "oc20")
    raw.mptrj(place / "mptrj")
    raw.wbm(place / "wbm")
    return place


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(folder.parent))
    monkeypatch.delenv("ZOO_CACHE_RO", raising=False)


def sizes(dataset: zd.AtomsDataset) -> dict[str, int]:
    return {name: len(part) for name, part in dataset.splits.items()}


# --- OC20 ---------------------------------------------------------------------------------------


def test_adsorption_energies_and_forces_of_held_atoms(folder: Path) -> None:
    dataset = opened("oc20")
    file = folder / "oc20/s2ef_train_200K/s2ef_train_200K/1.extxyz"
    frames = ase.io.read(file, ":")
    assert len(dataset) == 12
    for k, atoms in enumerate(frames):
        total = atoms.get_potential_energy(apply_constraint=False)
        sample = dataset[6 + k]
        assert float(sample["energy"]) == total - (-110.5 - k)
        forces = atoms.get_forces(apply_constraint=False)
        assert sample["forces"].numpy() == pytest.approx(forces) and np.abs(forces[0]).min() > 0
        assert sample["pbc"].all()
    assert dataset.columns["sid"].tolist() == [0, 0, 1, 1, 2, 2, 6, 6, 7, 7, 8, 8]
    assert dataset.columns["fid"].tolist() == [*range(6), *range(6)]
    again = opened("oc20?energy=total")
    assert (again.label("energy") - dataset.label("energy"))[:3] == pytest.approx(
        [-110.5, -111.5, -112.5]
    )


def test_parts_and_divisions_by_system() -> None:
    spec = {"kind": "group", "key": "sid", "fractions": {"train": 0.5, "test": 0.5}, "seed": 0}
    dataset = opened("oc20", splits=spec)
    sid = dataset.columns["sid"]
    assert not {*sid[dataset.splits["train"]]} & {*sid[dataset.splits["test"]]}
    both = opened("oc20?val=val_id")
    assert sizes(both) == {"train": 12, "val": 6}
    assert set(both.columns["part"][both.splits["val"]]) == {"val_id"}
    with pytest.raises(DataError, match="zoo data get oc20 part=2M"):
        zd.open("oc20?part=2M")


def test_oc20_by_path_chunks_and_shards(folder: Path, tmp_path: Path) -> None:
    dataset = opened("oc20")
    path = folder / "oc20" / "s2ef_train_200K" / "s2ef_train_200K"
    assert opened(path).hash == dataset.hash
    order = np.array([7, 0, 11, 1])
    assert dataset.take(order).label("energy").tolist() == dataset.label("energy")[order].tolist()
    assert pickle.loads(pickle.dumps(dataset))[9]["energy"] == dataset[9]["energy"]
    zd.save_lmdb(tmp_path / "shards", dataset)
    kept = zd.open(tmp_path / "shards")
    assert kept.hash == dataset.hash and kept.columns["sid"].tolist() == [*dataset.columns["sid"]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("random0,frame0,-1.0\n", "1 lines for 6 frames"),
        ("random0,frame0\n" * 6, "is not system,frame,reference"),
        ("a\n" * 6, "is not system,frame,reference"),
    ],
)
def test_oc20_damaged(tmp_path: Path, lines: str, words: str) -> None:
    raw.oc20(tmp_path, files=1)
    (tmp_path / "s2ef_train_200K/s2ef_train_200K/0.txt").write_text(lines)
    with pytest.raises(DataError, match=words):
        zd.open(f"oc20?root={tmp_path}")


def old_data(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A `Data` as PyG's releases before 2.0 pickled it: its fields beside each other, no store."""
    with monkeypatch.context() as patch:
        patch.setattr(Data, "__getstate__", lambda _: fields)
        return pickle.dumps(Data(), protocol=4)


def test_is2re_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lmdb = pytest.importorskip("lmdb")
    place = tmp_path / "is2res_train_val_test_lmdbs/data/is2re/10k/train"
    place.mkdir(parents=True)
    environment = lmdb.open(str(place / "data.lmdb"), subdir=False, map_size=1 << 20, lock=False)
    with environment.begin(write=True) as transaction:
        for k, atoms in enumerate(raw.slabs(20)):
            fields = {
                "pos": torch.tensor(atoms.positions, dtype=torch.float32),
                "cell": torch.tensor(atoms.cell[:], dtype=torch.float32)[None],
                "atomic_numbers": torch.tensor(atoms.numbers, dtype=torch.float32),
                "tags": torch.tensor(atoms.get_tags()),
                "natoms": len(atoms),
                "sid": 100 + k,
                "y_init": 5.0,
                "y_relaxed": -1.0 - k,
                "edge_index": None,
            }
            transaction.put(f"{k}".encode(), old_data(fields, monkeypatch))
    environment.close()
    name = f"oc20-is2re?root={tmp_path}"
    with pytest.raises(UnsafeFileError, match="trust_pickle=True"):
        zd.open(name)
    dataset = opened(name, trust_pickle=True)
    assert dataset.label("energy").tolist() == [-1.0 - k for k in range(20)]
    assert sizes(dataset) == {"train": 18, "val": 1, "test": 1}
    assert dataset.columns["sid"][3] == 103


# --- MPtrj --------------------------------------------------------------------------------------


def test_mptrj_units_and_the_sign_of_stress(folder: Path) -> None:
    dataset = opened("mptrj?format=json")
    atoms = raw.crystals(3, seed=0)[1]
    sample = dataset[1]
    assert (
        dataset.columns["mp_id"][1] == "mp-100" and dataset.columns["frame_id"][1] == "mp-100-0-1"
    )
    assert float(sample["energy"]) == atoms.get_potential_energy()
    assert sample["stress"][0].numpy() == pytest.approx(atoms.get_stress(voigt=False), rel=1e-10)
    assert sample["pos"].numpy() == pytest.approx(atoms.positions, abs=1e-12)
    assert sample["forces"].numpy() == pytest.approx(atoms.get_forces())
    # by hand: 10 kbar of VASP are -1 GPa, and 160.21766 GPa are 1 eV/Å^3
    assert 10 * mptrj.KILOBAR == pytest.approx(-1 / 160.21766208, rel=1e-8)
    corrected = opened("mptrj?format=json&energy=corrected")
    assert float(corrected[1]["energy"]) == pytest.approx(float(sample["energy"]) - 1.5)
    zipped = opened("mptrj")
    order = np.argsort(dataset.columns["mp_id"], kind="stable")
    assert zipped.label("energy") == pytest.approx(dataset.label("energy")[order])
    assert zipped.label("stress") == pytest.approx(dataset.label("stress")[order], abs=1e-9)
    assert opened("mptrj?energy=corrected").label("energy") == pytest.approx(
        zipped.label("energy") - 1.5
    )


@pytest.mark.parametrize("form", ["json", "extxyz"])
def test_mptrj_is_divided_by_material(form: str) -> None:
    dataset = opened(f"mptrj?format={form}")
    groups = [{*dataset.columns["mp_id"][part]} for part in dataset.splits.values()]
    assert sizes(dataset) == {"train": 24, "val": 3, "test": 3}
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10
    for kind in ("random", "kfold", "time"):
        with pytest.raises(ConfigError, match="divide by material"):
            zd.open(f"mptrj?format={form}", splits={"kind": kind})


def test_mptrj_stays_in_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [opened(f"mptrj?format={form}") for form in ("json", "extxyz")]
    monkeypatch.setattr(mptrj, "STREAM_BYTES", 0)
    monkeypatch.setattr(mptrj, "_BLOCK", 1000)  # materials are cut into many blocks
    for dataset, form in zip(whole, ("json", "extxyz"), strict=True):
        streamed = opened(f"mptrj?format={form}")
        assert type(streamed._store) is not type(dataset._store)
        assert streamed.hash == dataset.hash and streamed.split_hash == dataset.split_hash
        again = pickle.loads(pickle.dumps(streamed))
        assert again[17]["pos"].tolist() == dataset[17]["pos"].tolist()
    path = folder / "mptrj" / "2022-09-16-mp-trj.json"
    assert opened(path).hash == whole[0].hash


def test_mptrj_damaged_or_foreign(folder: Path, tmp_path: Path) -> None:
    text = (folder / "mptrj" / "2022-09-16-mp-trj.json").read_text()
    path = tmp_path / "2022-09-16-mp-trj.json"
    for damaged, words in (
        (text[: len(text) // 2], "is it complete"),
        (text[:-1], "is it complete"),
        ('{"mp-1": 3}', "holds no frames"),
        ('{"mp-1": {"a": {"structure": {}}}}', "mp-1|a can't be read"),
        (text.replace('"occu": 1', '"occu": 0.5', 1), "a site is shared"),
    ):
        path.write_text(damaged)
        with pytest.raises(DataError, match=words):
            zd.open(path)
    archive = tmp_path / "2024-09-03-mp-trj.extxyz.zip"
    whole = (folder / "mptrj" / archive.name).read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no complete zip"):
        zd.open(archive)
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("mp-1.extxyz", "2\nenergy=1.0\nNa 0 0 0\n")
    with pytest.raises(DataError, match="2 atoms are announced"):
        zd.open(archive)


# --- WBM ----------------------------------------------------------------------------------------


def test_wbm_is_all_test(folder: Path) -> None:
    dataset = opened("wbm")
    assert sizes(dataset) == {"test": 4}
    assert dataset.label("energy").tolist() == [-6.5, -7.5, -8.5, -9.5]
    assert dataset.columns["above_hull"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    initial = opened("wbm?structures=initial")
    assert initial.hash != dataset.hash
    assert initial.columns["material_id"].tolist() == dataset.columns["material_id"].tolist()
    assert opened("wbm", keys={"energy": "above_hull"}).label("energy")[3] == pytest.approx(0.3)


def test_wbm_with_another_table(tmp_path: Path) -> None:
    import gzip

    raw.wbm(tmp_path)
    table = tmp_path / "wbm-summary.csv.gz"
    lines = gzip.decompress(table.read_bytes()).decode().split("\n")
    table.write_bytes(gzip.compress("\n".join(lines[:3]).encode()))
    with pytest.raises(DataError, match="'wbm-1-3', which the table lacks"):
        zd.open(f"wbm?root={tmp_path}")
    table.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(DataError, match="no column 'material_id'"):
        zd.open(f"wbm?root={tmp_path}")
    table.write_bytes(table.read_bytes()[:-10])
    with pytest.raises(DataError, match="is it complete"):
        zd.open(f"wbm?root={tmp_path}")
