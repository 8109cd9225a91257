"""The sets that papers publish, from small files in their raw formats."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import raw_atoms as raw
import torch
from raw_atoms import opened

import zoo.datasets as zd
from zoo import share
from zoo.datasets.published import READERS, spice
from zoo.errors import ConfigError, DataError, MissingExtraError

# CODATA 2014, as ASE has them: eV, Å
HARTREE, BOHR, KCAL = 27.211386024367243, 0.5291772105638411, 0.04336410390059322


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sets as `zoo data get` leaves them."""
    place = tmp_path_factory.mktemp("cache") / "datasets"
    raw.qm9(place / "qm9")
    raw.qm9_xyz(place / "qm9")
    raw.md17(place / "md17", "md17_benzene2017.npz", "C6H6")
    raw.md17(place / "md17", "md17_naphthalene.npz", "C10H8")
    raw.md17_ccsd(place / "md17-ccsd", "ethanol_ccsd_t", "C2H6O")
    raw.rmd17(place / "rmd17", "aspirin", "C9H8O4")
    raw.md17(place / "md22", "md22_Ac-Ala3-NHMe.npz", "C12H22N4O4")
    raw.spice(place / "spice")
    raw.ani1x(place / "ani1x")
    raw.ani2x(place / "ani2x")
    return place


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(folder.parent))
    monkeypatch.delenv("ZOO_CACHE_RO", raising=False)


def sizes(dataset: zd.AtomsDataset) -> dict[str, int]:
    return {name: len(part) for name, part in dataset.splits.items()}


@pytest.mark.parametrize("name", zd.fetched())
def test_published_sets_are_described(name: str) -> None:
    with pytest.raises((ConfigError, DataError), match=rf"zoo data get {name}|{name} needs a"):
        zd.open(f"{name}?root=/nowhere", trust_pickle=True)
    card = (share.folder("datasets") / f"{name}.md").read_text()
    assert card.startswith(f"# {name}\n") and "## Limits" in card and f"zoo data get {name}" in card


def test_readers_are_named_by_descriptions() -> None:
    texts = [(share.folder("datasets") / f"{name}.yaml").read_text() for name in zd.fetched()]
    assert {name for name in READERS if any(f"reader: {name}\n" in t for t in texts)} == {*READERS}


def test_nothing_opens_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refused(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert len(opened("qm9")) == 23
    with pytest.raises(DataError, match="Run: zoo data get rmd17 molecule=toluene"):
        zd.open("rmd17?molecule=toluene")


# --- QM9 ----------------------------------------------------------------------------------------


def test_qm9_units_by_hand() -> None:
    dataset = opened("qm9")
    first = {name: float(dataset.label(name)[0]) for name in dataset.labels}
    expected = {
        "u0": -40.47893 * HARTREE,
        "energy": -40.47893 * HARTREE,
        "homo": -0.3877 * HARTREE,
        "gap": 0.5048 * HARTREE,
        "zpve": 0.044749 * HARTREE,
        "alpha": 13.21 * BOHR**3,
        "r2": 35.3641 * BOHR**2,
        "dipole_norm": 0.0,
        "cv": 6.469e-3 * KCAL,
        "g298": -40.498597 * HARTREE,
    }
    assert {name: first[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    second = float(dataset.label("dipole_norm")[1])
    assert second == 0.0 and dataset.columns["name"][0] == "gdb_1"
    assert dataset.columns["u0_atom"][0] == pytest.approx(-395.999594594 * KCAL, rel=1e-12)
    assert dataset.columns["rotational_a"][0] == 157.7118  # GHz
    # in single precision U0 would be off by up to 1 meV
    assert abs(float(np.float32(first["u0"])) - first["u0"]) > 1e-6
    assert dataset[0]["u0"].dtype == torch.float64
    assert dataset.metadata["references"]["u0"]["H"] == -13.61312172


def test_qm9_leaves_out_what_failed_and_divides() -> None:
    dataset = opened("qm9")
    assert (
        "gdb_3" not in dataset.columns["name"] and dataset.metadata["uncharacterized_left_out"] == 1
    )
    assert sizes(dataset) == {"train": 19, "val": 1, "test": 3}
    assert sorted(np.concatenate(list(dataset.splits.values()))) == list(range(23))
    assert opened("qm9").split_hash == dataset.split_hash
    assert len(opened("qm9?uncharacterized=keep")) == 24


def test_qm9_dividing_the_whole_set_is_dimenets() -> None:
    from zoo.datasets.published._common import drawn
    from zoo.datasets.published.qm9 import SPLIT, WHOLE

    order = np.random.RandomState(42).permutation(WHOLE)
    parts = drawn(WHOLE, SPLIT, seed=42, whole=WHOLE)["indices"]
    assert (parts["train"] == np.sort(order[:110_000])).all()
    assert (parts["val"] == np.sort(order[110_000:120_000])).all()
    assert (parts["test"] == np.sort(order[120_000:])).all() and len(parts["test"]) == 10_831


def test_qm9_from_the_authors_archive(folder: Path) -> None:
    dataset = opened("qm9?format=xyz")
    table = opened("qm9")
    assert len(dataset) == 3 and dataset.label("charges")[:5].tolist() == [-0.25, *[0.0625] * 4]
    assert dataset.label("u0")[0] == table.label("u0")[0]
    assert dataset.atoms(0).positions[0, 0] == 1.5e-6  # 1.5*^-6
    direct = opened(str(folder / "qm9" / "dsgdb9nsd.xyz.tar.bz2"))
    assert direct.hash == dataset.hash


def test_qm9_energies_by_key() -> None:
    dataset = opened("qm9", keys={"energy": "g298", "r2": None})
    assert (dataset.label("energy") == dataset.label("g298")).all() and "r2" not in dataset.labels
    with pytest.raises(DataError, match="did you mean 'g298'"):
        zd.open("qm9", keys={"energy": "g29"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: (p / "gdb9.sdf").write_text((p / "gdb9.sdf").read_text()[:-40]), "incomplete"),
        (lambda p: (p / "gdb9.sdf.csv").write_text("a,b\n1,2\n"), "no column 'mol_id'"),
        (
            lambda p: (p / "gdb9.sdf.csv").write_text(
                "\n".join((p / "gdb9.sdf.csv").read_text().split("\n")[:4])
            ),
            "differ from the 4th on",
        ),
        (lambda p: (p / "uncharacterized.txt").unlink(), "uncharacterized=keep"),
        (lambda p: (p / "uncharacterized.txt").write_text("x\n" * 20), "starts with no number"),
        (lambda p: (p / "gdb9.sdf").write_text("x\n\n\n  0\n$$$$\n"), "can't be read"),
    ],
)
def test_qm9_damaged(tmp_path: Path, change: Callable[[Path], Any], words: str) -> None:
    raw.qm9(tmp_path, count=6)
    change(tmp_path)
    with pytest.raises(DataError, match=words):
        zd.open(tmp_path)


# --- MD17 and its kin ---------------------------------------------------------------------------


def test_rmd17_units_and_its_five_divisions(folder: Path) -> None:
    dataset = opened("rmd17?molecule=aspirin&split=2&val=3")
    arrays = np.load(folder / "rmd17/rmd17/npz_data/rmd17_aspirin.npz")
    assert dataset.label("energy") == pytest.approx(arrays["energies"] * KCAL, rel=1e-13)
    assert dataset.label("forces")[:21] == pytest.approx(arrays["forces"][0] * KCAL, rel=1e-13)
    assert "old_energies" not in dataset.columns
    assert sizes(dataset) == {"train": 7, "val": 3, "test": 10}
    listed = np.loadtxt(folder / "rmd17/rmd17/splits/index_test_02.csv", dtype=int)
    assert dataset.splits["test"].tolist() == sorted(listed)
    others = {opened(f"rmd17?molecule=aspirin&split={k}&val=3").split_hash for k in range(1, 6)}
    assert len(others) == 5
    same = opened(
        str(folder / "rmd17" / "rmd17"), splits={"kind": "index", "indices": {"test": [1]}}
    )
    assert same.hash == dataset.hash
    elsewhere = f"rmd17?molecule=aspirin&val=3&root={folder / 'rmd17'}"
    assert opened(elsewhere).hash == dataset.hash


def test_md17_has_no_division_of_its_own(folder: Path) -> None:
    dataset = opened("md17?molecule=naphthalene")
    assert dataset.counts[0] == 18 and sizes(dataset) == {"train": 5, "val": 5, "test": 2}
    assert opened("md17?molecule=naphthalene&seed=1").split_hash != dataset.split_hash
    assert opened("md22?molecule=Ac-Ala3-NHMe").counts[0] == 42


def test_ccsd_keeps_the_authors_parts() -> None:
    dataset = opened("md17-ccsd?molecule=ethanol&val=2")
    assert sizes(dataset) == {"train": 6, "val": 2, "test": 8}
    assert set(dataset.columns["part"][dataset.splits["test"]]) == {"test"}


def test_another_molecule_under_the_name_is_refused(tmp_path: Path) -> None:
    raw.md17(tmp_path, "md17_naphthalene.npz", "C6H6")
    with pytest.raises(DataError, match="naphthalene is C10H8 .18 atoms."):
        zd.open(f"md17?molecule=naphthalene&root={tmp_path}")


def test_many_training_frames_of_one_trajectory_are_told(tmp_path: Path) -> None:
    raw.md17(tmp_path, "md17_ethanol.npz", "C2H6O", count=2300)
    name = f"md17?molecule=ethanol&root={tmp_path}"
    many = {"kind": "random", "fractions": {"train": 0.9, "test": 0.1}, "seed": 0}
    with pytest.warns(UserWarning, match="2070 training frames of one trajectory"):
        zd.open(name, splits=many)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sizes(opened(name)) == {"train": 1000, "val": 1000, "test": 300}
        raw.md17(tmp_path, "md22_DHA.npz", "C22H32O2", count=1200)  # MD22's authors train on more
        zd.open(f"md22?molecule=DHA&root={tmp_path}", splits=many)


def test_energies_that_were_rounded_are_told(tmp_path: Path) -> None:
    arrays = raw.trajectory("C2H6O", 4)
    arrays["E"] = arrays["E"].astype(np.float32).astype(np.float64)
    np.savez(tmp_path / "md17_ethanol.npz", **arrays)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="rounded to single precision"):
        zd.open(f"md17?molecule=ethanol&root={tmp_path}")


def test_splits_that_are_missing_or_of_another_set(tmp_path: Path) -> None:
    raw.rmd17(tmp_path, "ethanol", "C2H6O")
    name = f"rmd17?molecule=ethanol&root={tmp_path}"
    splits = tmp_path / "rmd17" / "splits"
    (splits / "index_test_01.csv").write_text("3\n99\n")
    with pytest.raises(DataError, match="names frame 99"):
        zd.open(name)
    (splits / "index_test_01.csv").unlink()
    with pytest.raises(DataError, match=r"index_test_01.csv is missing"):
        zd.open(name)
    with pytest.raises(ConfigError, match="val is 1000"):
        zd.open("rmd17?molecule=aspirin&val=1000")
    with pytest.raises(ConfigError, match="split is 6"):
        zd.open("rmd17?molecule=aspirin&split=6")


# --- SPICE, ANI ---------------------------------------------------------------------------------


def test_spice_units_charges_and_what_is_left_out(folder: Path) -> None:
    dataset = opened("spice")
    with h5py.File(folder / "spice" / "SPICE-2.0.1.hdf5") as file:
        group = {key: file["ammonium"][key][()] for key in file["ammonium"]}
    assert dataset.columns["name"][0] == "ammonium" and dataset[0]["charge"] == 1.0
    assert dataset[6]["charge"] == 0.0 and dataset.columns["name"][6] == "methane"
    positions = group["conformations"].astype(float)[0] * BOHR
    assert dataset[0]["pos"].numpy() == pytest.approx(positions, rel=1e-12)
    assert float(dataset[0]["energy"]) == pytest.approx(group["formation_energy"][0] * HARTREE)
    forces = -group["dft_total_gradient"].astype(float)[0] * HARTREE / BOHR
    assert dataset[0]["forces"].numpy() == pytest.approx(forces, rel=1e-12)
    assert dataset.metadata["left_out"] == {"groups of a wrong shape": 1}
    calm = opened("spice?max_gradient=30")
    assert len(calm) == 15 and calm.metadata["left_out"]["conformations beyond max_gradient"] == 3
    assert np.linalg.norm(calm.label("forces"), axis=1).max() <= 30
    total = opened("spice?energy=total")
    assert total.label("energy")[0] == pytest.approx(group["dft_total_energy"][0] * HARTREE)
    assert set(opened("spice?subset=Ions").columns["name"]) == {"ammonium"}
    with pytest.raises(ConfigError, match="max_gradient is -1"):
        zd.open("spice?max_gradient=-1")


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("[N+:1]([H:2])([H:3])([H:4])[H:5]", 1),
        ("[O-:1][C:2](=[O:3])[H:4]", -1),
        ("[Mg+2:1].[Cl-:2]", 1),
        ("[O--:1]", -2),
        ("[C@@H:1]([H:2])C-C", 0),
        ("", 0),
    ],
)
def test_charges_from_smiles(smiles: str, charge: int) -> None:
    assert spice.formal_charge(smiles) == charge


def test_ani1x_leaves_nan_out_at_either_level() -> None:
    dataset = opened("ani1x")
    assert len(dataset) == 8 and dataset.metadata["left_out"] == {
        "conformations without labels (NaN)": 4
    }
    assert dataset.metadata["references"]["energy"]["H"] == pytest.approx(-0.60095298 * HARTREE)
    coupled = opened("ani1x?level=ccsd")
    assert len(coupled) == 6 and coupled.labels == {"energy"}
    # conformations 3 to 5 of each formula are in both
    assert coupled.label("energy")[0] - dataset.label("energy")[1] == pytest.approx(0.1 * HARTREE)
    assert len(opened("ani1x", keys={"forces": None})) == 10


def test_ani2x_mixes_elements_in_a_group(folder: Path) -> None:
    dataset = opened("ani2x")
    assert [dataset.atoms(k).get_chemical_formula() for k in (0, 1, 6, 7)] == [
        "HF",
        "HCl",
        "H2O",
        "H2S",
    ]
    with h5py.File(folder / "ani2x" / "final_h5" / "ANI-2x-wB97X-631Gd.h5") as file:
        forces = file["003"]["forces"][1]
    assert dataset[7]["forces"].numpy() == pytest.approx(forces * HARTREE, rel=1e-12)


@pytest.mark.parametrize("name", ["spice", "ani1x", "ani2x"])
def test_conformations_stay_in_the_file(folder: Path, tmp_path: Path, name: str) -> None:
    dataset = opened(name)
    order = np.array([7, 0, 1, 2, 5, 3])
    assert [int(n) for n in dataset.take(order).counts] == dataset.counts[order].tolist()
    whole = dataset.label("energy")
    assert dataset.take(order).label("energy").tolist() == whole[order].tolist()
    again = pickle.loads(pickle.dumps(dataset))
    assert again[3]["pos"].tolist() == dataset[3]["pos"].tolist()
    zd.save_lmdb(tmp_path / "shards", dataset, shard_frames=5)
    assert zd.open(tmp_path / "shards").hash == dataset.hash
    path = next((folder / name).rglob("*.h*5"))
    assert opened(str(path)).hash == dataset.hash
    spec = {"kind": "group", "key": "group", "fractions": {"train": 0.5, "test": 0.5}, "seed": 0}
    parts = zd.open(name, splits=spec)
    groups = [set(parts.columns["group"][parts.splits[n]]) for n in ("train", "test")]
    assert not groups[0] & groups[1]


def test_hdf5_that_is_cut_off_or_foreign(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (folder / "ani1x" / "ani1x-release.h5").read_bytes()
    (tmp_path / "ani1x-release.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is it complete"):
        zd.open(f"ani1x?root={tmp_path}")
    with h5py.File(tmp_path / "ani1x-release.h5", "w") as file:
        file.create_group("x")["coordinates"] = np.zeros(3)
    with pytest.raises(DataError, match="can't be read"):
        zd.open(f"ani1x?root={tmp_path}")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[hdf5\]"):
        zd.open("ani1x")


def test_hdf5_of_other_contents_and_groups_that_do_not_fit(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "arrays.hdf5", "w") as file:  # a group is what the readers look for
        file["momenta"], file["one"] = np.zeros((5, 3, 4)), 3.0
    with pytest.raises(DataError, match="arrays.hdf5"):
        zd.open(tmp_path / "arrays.hdf5")
    with h5py.File(tmp_path / "ani1x-release.h5", "w") as file:
        group = file.create_group("CH4")
        group["atomic_numbers"] = np.array([6])
        group["coordinates"] = np.zeros((3, 2, 3))
        group["ccsd(t)_cbs.energy"] = group["wb97x_dz.energy"] = np.zeros(3)
    dataset = zd.open(f"ani1x?level=ccsd&root={tmp_path}")
    with pytest.raises(DataError, match="1 elements, positions"):
        dataset[0]


def test_versions_of_spice_lie_side_by_side(tmp_path: Path) -> None:
    for version in ("1.1.4", "2.0.1"):
        raw.spice(tmp_path, file=f"SPICE-{version}.hdf5")
    with h5py.File(tmp_path / "SPICE-1.1.4.hdf5", "a") as file:
        del file[min(file)]
    counts = [len(zd.open(f"spice?version={v}&root={tmp_path}")) for v in ("1.1.4", "2.0.1")]
    assert 0 < counts[0] < counts[1]
