"""Published sets outside atoms, by name, from small files of the formats they are published in."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import raw_sets
import torch
from scipy.io import savemat

import zoo.datasets as zd
from zoo.datasets._plain_pickle import Sparse, read_plain
from zoo.errors import ConfigError, DataError, UnsafeFileError, ZooError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(cache: Path, name: str, query: str = "", **options: Any) -> Any:
    root = raw_sets.place(name, cache)
    return zd.open(f"{name}?root={root}{query}", **options)


@pytest.mark.parametrize("name", sorted(raw_sets.WRITERS))
def test_every_set_opens_by_name(name: str, cache: Path) -> None:
    few = {"kind": "assigned", "key": "split"} if name == "cifar100" else None  # three pictures
    dataset = opened(cache, name, splits=few)
    dataset.check()
    about = dataset.metadata
    assert dataset.source == name and about["title"] and about["citation"] and about["limits"]
    splits = dataset.splits or dataset.row_splits or dataset.edge_splits
    assert {"train", "test"} <= set(splits) or name == "disease-lp"
    assert name in zd.fetched() and name not in zd.shipped()


def test_sets_that_are_not_there_name_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="zoo data get texas"):
        zd.open("texas")
    with pytest.raises(ConfigError, match="did you mean 'undirected'"):
        zd.open("texas?undirectd=true")


def test_webkb_directions_and_features(cache: Path) -> None:
    listed = opened(cache, "texas")[0]
    pairs = {tuple(pair) for pair in listed.edge_index.T.tolist()}
    assert (0, 1) in pairs and (3, 3) in pairs and len(pairs) == listed.num_edges
    both = opened(cache, "texas", "&undirected=true&normalise=true")[0]
    turned = {tuple(pair) for pair in both.edge_index.T.tolist()}
    assert turned == {p for a, b in pairs if a != b for p in ((a, b), (b, a))}
    assert both.x.shape == (18, 1703) and torch.allclose(both.x.sum(1), torch.ones(18))
    assert set(listed.x.unique().tolist()) == {0.0, 1.0}
    masks = [opened(cache, "texas", splits={"kind": "index", "fold": k})[0].train_mask
             for k in (0, 9)]  # fmt: skip
    assert not torch.equal(*masks)
    assert opened(cache, "actor")[0].x.sum(1).min() >= 1


def test_bnci(cache: Path) -> None:
    dataset = opened(cache, "bnci2014-001")
    assert dataset.classes == ("left_hand", "right_hand", "feet", "tongue")
    assert dataset[0]["x"].shape == (22, 750) and len(dataset) == 16
    columns = dataset.columns
    assert columns["session"].tolist() == ["E"] * 8 + ["T"] * 8
    assert [int(sample["domain"]) for sample in dataset] == [0] * 8 + [1] * 8
    assert [int(sample["y"]) for sample in dataset][:4] == [0, 1, 2, 3]
    assert {len(dataset.split(n)) for n in ("train", "val", "test")} == {6, 2, 8}
    short = opened(cache, "bnci2014-001", "&tmin=0&tmax=1&subjects=1")
    assert short[0]["x"].shape == (22, 251)
    # what is slower or faster than the filter passes is gone
    spectrum = np.abs(np.fft.rfft(dataset[0]["x"].numpy().astype(float), axis=1)).mean(0)
    hertz = np.fft.rfftfreq(750, 1 / 250)
    inside = spectrum[(hertz > 8) & (hertz < 30)].mean()
    assert spectrum[hertz > 60].mean() < 0.05 * inside
    for query, words in (("&tmax=9", "doesn't fit a run"), ("&subjects=4", "subjects is '4'"),
                         ("&fmax=200", "no filter"), ("&fmin=x", "fmin is 'x'")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            opened(cache, "bnci2014-001", query)


def test_fields_of_matlab(cache: Path, tmp_path: Path) -> None:
    dataset = opened(cache, "fno-burgers", "&every=4")
    assert dataset[0]["x"].shape == dataset[0]["y"].shape == (1, 16)
    whole = opened(cache, "fno-burgers", "&every=1", splits={"kind": "random", "seed": 0,
                   "fractions": {"train": 0.5, "test": 0.5}})  # fmt: skip
    assert torch.equal(whole[3]["y"][:, ::4], dataset[3]["y"]) and whole[0]["x"].shape == (1, 64)
    assert opened(cache, "fno-darcy", "&every=10")[0]["x"].shape == (1, 5, 5)
    # version 7.3 keeps axes the other way around
    values = np.random.default_rng(0).normal(size=(4, 8))
    with h5py.File(tmp_path / "new.mat", "w") as file:
        file["a"], file["u"] = values.T, 2 * values.T
    savemat(tmp_path / "old.mat", {"a": values, "u": 2 * values, "t": 1.0, "b": np.zeros((2, 2))})
    keys = {"x": "a", "y": "u"}
    old, new = (zd.open(tmp_path / f"{n}.mat", domain="field", keys=keys) for n in ("old", "new"))
    assert old.hash == new.hash and np.allclose(old[2]["x"].numpy(), values[2:3])
    with pytest.raises(DataError, match="no array of numbers 'c'"):
        zd.open(tmp_path / "new.mat", domain="field", keys={"x": "c"})
    with pytest.raises(DataError, match="say which arrays"):
        zd.open(tmp_path / "new.mat", domain="field")


def test_top_tagging(cache: Path, tmp_path: Path) -> None:
    dataset = opened(cache, "top-tagging")
    assert dataset.classes == ("qcd", "top") and len(dataset) == 36
    assert [len(sample["x"]) for sample in dataset][:6] == [2, 3, 4, 5, 6, 2]
    assert all(float(sample["x"][:, 0].min()) > 0 for sample in dataset)
    assert {n: len(dataset.split(n)) for n in ("train", "val", "test")} == dict.fromkeys(
        ("train", "val", "test"), 12
    )
    assert len(opened(cache, "top-tagging", "&jets=5")) == 15
    # as LorentzNet's authors convert it
    for name in ("train", "val", "test"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            momenta = np.zeros((3, 4, 4))
            momenta[:, :2] = 1.0 + np.arange(4)
            file["Pmu"], file["is_signal"], file["Nobj"] = momenta, [0, 1, 1], [2, 2, 2]
    converted = zd.open(tmp_path)
    assert converted[1]["x"].tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2 and int(converted[1]["y"]) == 1


def test_pdearena(cache: Path) -> None:
    dataset = opened(cache, "pdearena-ns2d", "&history=2")
    sample, runs = dataset[0], 2
    assert sample["x"].shape == (6, 16, 16) and sample["y"].shape == (3, 16, 16)
    assert len(dataset.split("train")) == 4 * 2 * runs and len(dataset.split("test")) == 4 * runs
    folder = cache / "datasets" / "pdearena-ns2d"
    with h5py.File(next(folder.glob("*train_1*.h5"))) as file:
        first = np.stack([file[f"train/{name}"][0] for name in ("u", "vx", "vy")], axis=1)
    assert np.allclose(sample["x"].numpy(), first[:2].reshape(6, 16, 16))
    assert np.allclose(sample["y"].numpy(), first[2])
    assert len(opened(cache, "pdearena-ns2d", "&runs=1").split("train")) == 2
    with pytest.raises(DataError, match="too few for 9"):
        opened(cache, "pdearena-ns2d", "&history=9")


def test_false_triples_take_the_relations_of_true_ones(cache: Path) -> None:
    splits = {"kind": "edges", "negatives": 2}
    val = opened(cache, "wn18rr", splits=splits).split("val")[0]
    marks, kinds = val.edge_label, val.edge_label_type
    assert marks.tolist() == [1] * 8 + [0] * 16 and len(kinds) == 24
    assert torch.equal(kinds[8:16], kinds[:8]) and torch.equal(kinds[16:], kinds[:8])
    bare = opened(cache, "wn18rr").split("val")[0]
    assert len(bare.edge_label) == 8 and torch.equal(bare.edge_label_type, kinds[:8])


def test_motion(cache: Path) -> None:
    dataset = opened(cache, "cmu-motion", "&train=22&frames=5")
    assert {n: len(dataset.split(n)) for n in dataset.splits} == {"train": 22, "val": 24,
                                                                  "test": 24}  # fmt: skip
    with (cache / "datasets" / "cmu-motion" / "motion.pkl").open("rb") as stream:
        _, runs = pickle.load(stream)
    sample, recording = dataset[0], int(dataset.columns["recording"][0])
    run = runs[recording]
    start = int(np.abs(run - sample.pos.numpy()).max(axis=(1, 2)).argmin())
    assert np.allclose(run[start + 5], sample.y.numpy(), atol=1e-5)
    assert np.allclose(run[start + 1] - run[start], sample.vel.numpy(), atol=1e-5)
    with pytest.raises(DataError, match="too few for"):
        opened(cache, "cmu-motion", "&frames=59")


def test_plain_pickles_run_nothing(tmp_path: Path) -> None:
    plain = {"a": [1, 2.5, "word", b"bytes", None, {3}], "b": np.arange(4.0).reshape(2, 2)}
    for protocol in (0, 2, 5):
        (tmp_path / "p").write_bytes(pickle.dumps(plain, protocol=protocol))
        read = read_plain(tmp_path / "p")
        assert read["a"] == plain["a"] and np.array_equal(read["b"], plain["b"])
    # as Python 2 wrote a sparse matrix's class and a path to code
    for program in (b"cos\nsystem\n(S'true'\ntR.", b"ccopy_reg\n_reconstructor\n(cos\nsystem\n.",
                    pickle.dumps(Path("x")), pickle.dumps(print)):  # fmt: skip
        (tmp_path / "p").write_bytes(program)
        with pytest.raises(UnsafeFileError, match="more than plain data"):
            read_plain(tmp_path / "p")
    (tmp_path / "p").write_bytes(pickle.dumps(plain)[:-7])
    with pytest.raises(DataError, match="can't be read"):
        read_plain(tmp_path / "p")


class _Made:
    """Something that a pickle makes of a function, its arguments and a state."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


def _struct_that_denies_its_object() -> _Made:
    """An array of bytes that NumPy takes for addresses of objects (it crashes when one is read)."""
    state = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
    kind = _Made(np.dtype, ("V8", False, True), state)
    maker = np.zeros(1).__reduce__()[0]
    return _Made(maker, (np.ndarray, (0,), b"b"), (1, (1,), kind, False, b"AAAAAAAA"))


def test_plain_pickles_make_no_objects_of_bytes(tmp_path: Path) -> None:
    bad = [_struct_that_denies_its_object()]
    bad += [_Made(np.dtype, (code,)) for code in ("V8", "f8,O", [("a", "O")])]
    bad += [_Made(np.ndarray, ((1,), np.dtype("O")))]
    for thing in bad:
        (tmp_path / "p").write_bytes(pickle.dumps([thing], protocol=2))
        with pytest.raises((UnsafeFileError, DataError)):
            read_plain(tmp_path / "p")
    plain = [np.arange(6).reshape(2, 3).T, np.array(["a", "bc"]), np.array([{"a": 1}, None])]
    plain += [np.arange(3, dtype=">i4"), np.float32(2.5), np.zeros((0, 2)), np.array(True)]
    for protocol in (2, 4, 5):
        (tmp_path / "p").write_bytes(pickle.dumps(plain, protocol=protocol))
        right = pickle.loads((tmp_path / "p").read_bytes())
        for got, wanted in zip(read_plain(tmp_path / "p"), right, strict=True):
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)


def test_arrays_of_python_2_hold_their_numbers_as_text(tmp_path: Path) -> None:
    kind = b"cnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    maker = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    for length, fits in ((2, True), (3, False)):
        state = b"(I1\n(I%d\nt" % length + kind + b"I00\nS'\\x01\\x00\\xfe\\xff'\ntb."
        (tmp_path / "p").write_bytes(maker + state)
        if fits:
            assert read_plain(tmp_path / "p").tolist() == [1, -2]
        else:
            with pytest.raises(DataError, match="has other numbers"):
                read_plain(tmp_path / "p")


def test_plain_pickles_change_nothing_that_outlives_them(tmp_path: Path) -> None:
    names = b"\x80\x02cscipy.sparse\ncsr_matrix\nN}X\x04\x00\x00\x00rowsI00\ns\x86b."
    (tmp_path / "p").write_bytes(names)
    with pytest.raises(DataError, match="can't be read"):
        read_plain(tmp_path / "p")
    assert Sparse.rows


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("squirrel", "out1_graph_edges.txt"), ("squirrel", "squirrel_split_0.6_0.2_3.npz"),
        ("roman-empire", "roman_empire.npz"), ("cora", "ind.cora.graph"),
        ("cora", "ind.cora.allx"), ("bnci2014-001", "A01E.mat"),
        ("fno-burgers", "burgers_data_R10.mat"), ("top-tagging", "val.h5"),
        ("pdearena-ns2d", "NavierStokes2D_valid_3_0.5.h5"), ("cmu-motion", "motion.pkl"),
        ("cifar10", "cifar-10-batches-bin/test_batch.bin"), ("hdm05", "hdm05/s3_clip_3.npy"),
    ],
)  # fmt: skip
def test_damaged_and_foreign_files_are_refused(
    name: str, file: str, cache: Path, tmp_path: Path
) -> None:
    """Cut off in the middle, with changed bytes, another file in its place: an error of ours."""
    root = raw_sets.place(name, tmp_path)
    place = root / file
    whole = place.read_bytes()
    changed = bytearray(whole)
    for k in range(0, len(changed), max(len(changed) // 7, 1)):
        changed[k] ^= 0xA5
    for content in (whole[: len(whole) // 2], b"", b"not this at all\n", bytes(changed)):
        place.write_bytes(content)
        try:
            zd.open(f"{name}?root={root}").check()
        except ZooError as error:
            assert len(str(error)) > 20
        else:
            assert content == bytes(changed) or file.endswith((".txt", ".bin"))
