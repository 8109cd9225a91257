"""Particles, points and complexes: samples, labels, batches, refusals."""

from pathlib import Path

import domain_files as made
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError


def test_particles(tmp_path: Path) -> None:
    path = made.particles(tmp_path / "a.npz")
    dataset = zd.open(path)
    assert dataset.domain == "particles" and len(dataset) == 6 and dataset.labels == {"y"}
    with np.load(path) as raw:
        for index in (0, 5):
            sample = dataset[index]
            assert isinstance(sample, Data)
            assert sample.pos.dtype == torch.float64
            for name in ("pos", "vel", "y"):
                assert np.array_equal(sample[name], raw[name][index])
            assert np.array_equal(sample.charge, raw["charge"][index, :, 0])
    assert dataset.columns["run"].tolist() == list(range(6))
    batch = Batch.from_data_list([dataset[0], dataset[1]])
    assert batch.pos.shape == (10, 3) and batch.batch.tolist() == [0] * 5 + [1] * 5
    parts = zd.open(path, splits={"kind": "random", "fractions": {"train": 0.5, "test": 0.5}})
    assert len(parts.split("train")) == 3 and len(parts.split_hash) == 64
    assert torch.equal(dataset.take([4])[0].pos, dataset[4].pos)
    assert dataset.take([4]).hash != dataset.hash == zd.open(path).hash
    dataset[0].pos.add_(1)
    assert dataset.hash == zd.open(path)._store.digest(np.arange(6))


def test_particles_of_different_numbers(tmp_path: Path) -> None:
    g = made.generator()
    rows = {name: g.normal(size=(7, 2)).astype(np.float32) for name in ("loc", "vel", "target")}
    dataset = zd.open(made.npz(tmp_path / "a.npz", **rows, counts=[3, 4]))
    assert [len(sample.pos) for sample in dataset] == [3, 4]
    assert np.array_equal(dataset[1].y, rows["target"][3:])
    assert dataset[1].y.dtype == torch.float32
    assert np.array_equal(dataset.take([1]).label("y"), rows["target"][3:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vel": np.zeros((6, 4, 3))}, r"a.npz: vel has shape \(6, 4, 3\).*\(6, 5, 3\)"),
        ({"charge": np.zeros((6, 4))}, r"charge has shape \(6, 4\), expected \(6, 5\)"),
        ({"pos": np.full((6, 5, 3), np.nan)}, r"pos is NaN or infinite in row 0 of sample 0"),
        ({"pos": np.full((6, 5, 3), "a")}, "pos should hold real numbers, not <U1"),
        ({"pos": np.zeros((6, 0, 3)), "vel": np.zeros((6, 0, 3))}, "one particle or more"),
        ({"y": np.zeros((5, 5, 3))}, r"y has shape \(5, 5, 3\), expected \(6, ...\)"),
        ({"counts": np.array([3, 3])}, r"expected \(6, d\), as counts add up to 6"),
        ({"counts": np.array([0, 30])}, "counts must list how many particles"),
    ],
)
def test_ill_shaped_particles(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with np.load(made.particles(tmp_path / "a.npz")) as raw:
        arrays = dict(raw) | change
    with pytest.raises(DataError, match=message):
        zd.open(made.npz(tmp_path / "a.npz", **arrays), domain="particles")


def test_keys_rename_and_are_checked(tmp_path: Path) -> None:
    g = made.generator()
    path = made.npz(tmp_path / "a.npz", r=g.normal(size=(2, 3, 3)), s=g.normal(size=(2, 3, 3)))
    with pytest.raises(DataError, match=r"arrays r \(2, 3, 3\), s.*domain='vector', keys="):
        zd.open(path)
    dataset = zd.open(path, keys={"pos": "r", "vel": "s"})
    assert dataset.domain == "particles" and dataset.labels == frozenset()
    with pytest.raises(DataError, match=r"has no y.*keys="):
        dataset.require("y")
    with pytest.raises(ConfigError, match="did you mean 'vel'"):
        zd.open(path, keys={"pos": "r", "vell": "s"}, domain="particles")
    with pytest.raises(DataError, match=r"has no 't', which keys asks for as vel: known: r, s"):
        zd.open(path, keys={"pos": "r", "vel": "t"}, domain="particles")
    with pytest.raises(DataError, match=r"has no vel: looked for vel, .*it has r, s; name it with"):
        zd.open(path, keys={"pos": "r"}, domain="particles")
    with pytest.raises(ConfigError, match="'particles', whose numbers have no units"):
        zd.open(path, keys={"pos": "r", "vel": "s"}, units={"length": "angstrom"})
    with pytest.raises(ConfigError, match="did you mean 'points'"):
        zd.open(path, domain="point")


# --- points -----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["OFF\n", "OFF", "\nOFF # comment\n"])
def test_off(tmp_path: Path, header: str) -> None:
    path = made.off(tmp_path / "a.off", header)
    with pytest.raises(DataError, match="points or complex .*domain='points' or domain='complex'"):
        zd.open(path)
    sample = zd.open(path, domain="points")[0]
    assert np.array_equal(sample.pos, made.TETRAHEDRON)
    assert sample.face.T.tolist() == [list(face) for face in made.FACES]


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("faces", [True, False])
def test_ply(tmp_path: Path, order: str, faces: bool) -> None:
    path = made.ply(tmp_path / "a.ply", order, faces)
    dataset = zd.open(path, domain="points" if faces else None)
    sample = dataset[0]
    assert dataset.domain == "points" and dataset.metadata["features"] == ["red"]
    assert np.array_equal(sample.pos, made.TETRAHEDRON)
    assert sample.x.tolist() == [[0], [10], [20], [30]] and sample.y.tolist() == [0, 1, 0, 1]
    assert ("face" in sample) == faces
    red = zd.open(path, domain="points", keys={"y": "red"})
    assert red[0].y.tolist() == [0, 10, 20, 30] and red.metadata["features"] == ["label"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OFF\n9 0 0\n0 0 0\n", "says it has 9 vertices and 0 faces, but 1 lines follow"),
        ("OFF\n1 0 0\n0 0\n", "line 3: a vertex of an OFF file has 3 numbers, not 2"),
        ("OFF\n2 0 0\n0 0 0\n0 0\n", "line 4 has 2 numbers, the first row has 3"),
        ("OFF\n1 0 0\n0 0 1_0\n", "line 3: '1_0' is no number"),
        ("OFF\n1 0 0\n0 0 nan\n", "NaN or infinite in row 0 of sample 0"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0 5\n", "a face names vertex 5, but there are 1"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0\n", "line 4 is no face"),
        ("OFF\n0 0 0\n", "has no vertices"),
        ("OFFX\n", "does not begin with OFF"),
        ("OFF", "ends after its header"),
        ("OFF\n99999999999999999999 0 0\n", "line 2: '9999.* is no whole number"),
    ],
)
def test_damaged_off(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.off").write_text(text)
    with pytest.raises(DataError, match=f"a.off.*{message}"):
        zd.open(tmp_path / "a.off", domain="points")


def test_damaged_ply(tmp_path: Path) -> None:
    whole = made.ply(tmp_path / "a.ply", "binary_little_endian").read_bytes()
    path = tmp_path / "b.ply"
    for cut in (3, 50, 200, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="b.ply"):
            zd.open(path, domain="points")
    path.write_bytes(whole + b"x")
    with pytest.raises(DataError, match="1 bytes more than its header says"):
        zd.open(path, domain="points")
    path.write_bytes(whole.replace(b"vertex 4", b"vertex 400000000000"))
    with pytest.raises(DataError, match="says 400000000000 of them"):
        zd.open(path, domain="points")
    text = made.ply(tmp_path / "c.ply").read_text()
    path.write_text(text.replace("vertex 4", "vertex 400000000000"))
    with pytest.raises(DataError, match="which says 400000000004"):
        zd.open(path, domain="points")
    path.write_text(text.replace("10 1\n", "300 1\n"))
    with pytest.raises(DataError, match="vertex 1: 300 does not fit the type of 'red'"):
        zd.open(path, domain="points")


def test_points_in_tables_and_text(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("X,y,z,part,heat\n0,0,0,wing,1\n1,0,0,body,2.5\n")
    dataset = zd.open(table, keys={"y": "part"})
    assert dataset.domain == "points" and dataset.classes == ("body", "wing")
    assert dataset[0].y.tolist() == [1, 0] and dataset[0].x.tolist() == [[1], [2.5]]
    several = tmp_path / "b.csv"
    several.write_text("cloud,x,y,z,label\na,0,0,0,4\na,1,1,1,4\nb,2,2,2,5\n")
    dataset = zd.open(several)
    assert [s.y.tolist() for s in dataset] == [[4], [5]] and len(dataset[0].pos) == 2
    assert dataset.columns["cloud"].tolist() == ["a", "b"]
    several.write_text("cloud,x,y,z\na,0,0,0\nb,1,1,1\na,2,2,2\n")
    with pytest.raises(DataError, match="rows of cloud 'a' don't stand together"):
        zd.open(several)
    text = tmp_path / "a.txt"
    text.write_text("0 0 0 1 0 0 3\n1 1 1 0 1 0 2\n")  # the layout of ShapeNet's parts
    sample = zd.open(text)[0]
    assert sample.y.tolist() == [3, 2] and sample.x.shape == (2, 3)
    text.write_text("0,0,0,.5\n1,1,1,.25\n")
    assert zd.open(text)[0].x.tolist() == [[0.5], [0.25]]
    text.write_text("0 0 0\n1 1\n")
    with pytest.raises(DataError, match="line 2 has 2 numbers, the first row has 3"):
        zd.open(text)


def test_folder_of_meshes_with_classes_and_splits(tmp_path: Path) -> None:
    dataset = zd.open(made.modelnet(tmp_path / "m"))
    assert dataset.domain == "points" and len(dataset) == 4
    assert dataset.classes == ("chair", "table")
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 2, "test": 2}
    assert sorted(s.y.item() for s in dataset.split("test")) == [0, 1]
    assert dataset[3].face.shape == (3, 4)
    (tmp_path / "m" / "loose.off").write_text("OFF\n1 0 0\n0 0 0\n")
    with pytest.raises(DataError, match="loose.off belongs to no class"):
        zd.open(tmp_path / "m")


# --- complexes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["off", "obj", "ply"])
def test_meshes_as_complexes(tmp_path: Path, kind: str) -> None:
    path = getattr(made, kind)(tmp_path / f"a.{kind}")
    dataset = zd.open(path, domain="complex")
    sample = dataset[0]
    assert sample.num_cells.tolist() == [[4, 6, 4]] and sample.num_nodes == 4
    lower = dense(sample, 1)
    upper = dense(sample, 2)
    assert np.abs(lower @ upper).max() == 0 and (np.abs(upper).sum(0) == 3).all()
    assert (np.abs(upper).sum(1) == 2).all(), "a closed surface: each edge in two faces"
    batch = Batch.from_data_list([sample, sample])
    assert (
        batch.boundary_2_index[:, 12:].tolist()
        == (sample.boundary_2_index + torch.tensor([[6], [4]])).tolist()
    )
    assert (
        batch.boundary_1_index[:, 12:].tolist()
        == (sample.boundary_1_index + torch.tensor([[4], [6]])).tolist()
    )
    assert batch.batch.tolist() == [0] * 4 + [1] * 4


def dense(sample: Data, rank: int) -> np.ndarray:
    shape = sample.num_cells[0, rank - 1 : rank + 1].tolist()
    matrix = np.zeros(shape)
    matrix[tuple(sample[f"boundary_{rank}_index"].numpy())] = sample[f"boundary_{rank}_sign"]
    return matrix


def test_complexes_in_archives(tmp_path: Path) -> None:
    b1 = np.array([[-1, 0, -1], [1, -1, 0], [0, 1, 1]])
    b2 = np.array([[1], [1], [-1]])
    path = made.npz(tmp_path / "a.npz", B1=b1, B2=b2, x_1=np.eye(3), y=np.array([0, 1, 1]))
    dataset = zd.open(path)
    assert dataset.domain == "complex" and dataset[0].y.tolist() == [0, 1, 1]
    assert np.array_equal(dense(dataset[0], 1), b1) and np.array_equal(dense(dataset[0], 2), b2)
    with pytest.raises(DataError, match="boundary of a cell's boundary is not zero"):
        zd.open(made.npz(tmp_path / "a.npz", B1=b1, B2=np.abs(b2)))  # signs of B1 say otherwise
    with pytest.raises(DataError, match="must be a matrix of -1, 0 and 1"):
        zd.open(made.npz(tmp_path / "a.npz", B1=2 * b1))
    listed = {"boundary_1": np.argwhere(b1).T, "sign_1": b1[b1 != 0]}
    assert np.array_equal(dense(zd.open(made.npz(tmp_path / "a.npz", **listed))[0], 1), b1)
    simplices = made.npz(tmp_path / "a.npz", faces=np.array([[0, 1, 2], [0, 2, 3]]))
    assert zd.open(simplices)[0].num_cells.tolist() == [[4, 5, 2]]
    with pytest.raises(DataError, match="names vertex 1 twice in a row"):
        zd.open(made.npz(tmp_path / "a.npz", faces=np.array([[0, 1, 1]])))
    two = made.npz(
        tmp_path / "a.npz",
        boundary_1=np.array([[0, 1, 0, 2], [0, 0, 0, 0]]),
        boundary_1_counts=np.array([2, 2]),
        cells_0=np.array([2, 3]),
        cells_1=np.array([1, 1]),
        y=np.array(["wheel", "star"]),
    )
    dataset = zd.open(two)
    assert len(dataset) == 2 and dataset.classes == ("star", "wheel")
    assert dataset[1].boundary_1_index.tolist() == [[0, 2], [0, 0]] and dataset[1].y.item() == 0
    with pytest.raises(DataError, match=r"sample 0 has the pair \[7, 0\], but there are 2 cells"):
        zd.open(
            made.npz(
                tmp_path / "a.npz",
                boundary_1=np.array([[0, 7], [0, 0]]),
                cells_0=np.array([2]),
            )
        )
