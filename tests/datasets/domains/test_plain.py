"""Matrices, signals, tensors, images, fields, sequences, vectors; and which file is which."""

import zlib
from pathlib import Path

import domain_files as made
import numpy as np
import pytest
import torch
from PIL import Image

import zoo.datasets as zd
from zoo.datasets.domains import DOMAINS, READERS, join
from zoo.errors import ConfigError, DataError, UnsafeFileError

# --- matrices and signals ---------------------------------------------------------------------


def test_matrices(tmp_path: Path) -> None:
    matrices, labels = made.spd(), np.array(["a", "b", "a", "b", "c", "a"])
    dataset = zd.open(made.npz(tmp_path / "a.npz", C=matrices, y=labels, subject=np.arange(6)))
    assert dataset.domain == "matrix" and dataset.classes == ("a", "b", "c")
    assert set(dataset[0]) == {"x", "y"} and torch.equal(dataset[4]["x"], torch.tensor(matrices[4]))
    assert dataset[4]["y"].item() == 2 and dataset.metadata["kind"] == "spd"
    group = {"kind": "group", "key": "subject", "fractions": {"train": 0.5, "test": 0.5}}
    assert zd.open(tmp_path / "a.npz", splits=group).splits["train"].size == 3
    folder = zd.open(made.npy_classes(tmp_path / "f"))
    assert folder.domain == "matrix" and folder.classes == ("run", "walk")
    assert torch.equal(folder[3]["x"], torch.tensor(matrices[1])) and folder[3]["y"].item() == 1


def test_matrices_must_be_positive_and_symmetric(tmp_path: Path) -> None:
    matrices = made.spd()
    skew = matrices.copy()
    skew[2, 0, 1] += 0.5
    with pytest.raises(DataError, match=r"C: matrix 2 is not symmetric: .* differ by 0.5; sym"):
        zd.open(made.npz(tmp_path / "a.npz", C=skew))
    values, vectors = np.linalg.eigh(matrices[3])
    flat = matrices.copy()
    flat[3] = (vectors * np.array([-0.25, *values[1:]])) @ vectors.T
    with pytest.raises(DataError, match=r"matrix 3 is not positive .* eigenvalue is -0.25; add"):
        zd.open(made.npz(tmp_path / "a.npz", C=flat))
    nested = np.stack([matrices, flat], axis=1)  # several matrices in a sample
    with pytest.raises(DataError, match=r"matrix 3\[1\] is not positive"):
        zd.open(made.npz(tmp_path / "a.npz", C=nested))
    huge = matrices.copy()
    huge[0, 0, 1], huge[0, 1, 0] = 1.7e308, -1.7e308
    with pytest.raises(DataError, match="matrix 0 is not symmetric"):
        zd.open(made.npz(tmp_path / "a.npz", C=huge))
    half = made.npz(tmp_path / "a.npz", C=matrices.astype(np.float32))
    assert zd.open(half)[0]["x"].dtype == torch.float32


def test_bases_must_be_orthonormal(tmp_path: Path) -> None:
    bases = np.linalg.qr(made.generator().normal(size=(5, 6, 2)))[0]
    dataset = zd.open(made.npz(tmp_path / "a.npz", bases=bases, y=np.arange(5) / 2))
    assert dataset.metadata["kind"] == "bases" and dataset.classes is None
    assert dataset[1]["y"].item() == 0.5
    with pytest.raises(DataError, match=r"columns of basis 4 are not orthonormal \(off by 3\)"):
        zd.open(made.npz(tmp_path / "a.npz", bases=np.concatenate([bases[:4], 2 * bases[4:]])))


def test_signals(tmp_path: Path) -> None:
    series = made.generator().normal(size=(6, 4, 20)).astype(np.float32)
    path = made.npz(tmp_path / "a.npz", X=series, y=np.arange(6) % 2, subject=np.arange(6))
    dataset = zd.open(path)
    assert dataset.domain == "signal" and dataset[2]["x"].shape == (4, 20)
    np.save(tmp_path / "x.npy", series)
    np.save(tmp_path / "y.npy", np.arange(6) % 2)
    same = zd.open(tmp_path / "x.npy", keys={"y": "y.npy"})
    assert same.domain == "signal" and same.hash == dataset.hash
    with pytest.raises(DataError, match="'z.npy', which is no .npy there"):
        zd.open(tmp_path / "x.npy", keys={"y": "z.npy"})
    np.save(tmp_path / "y.npy", np.arange(5))
    with pytest.raises(DataError, match=r"y has shape \(5,\), expected \(6, ...\)"):
        zd.open(tmp_path / "x.npy", keys={"y": "y.npy"})


def test_symmetric_matrices_called_x_are_ambiguous(tmp_path: Path) -> None:
    path = made.npz(tmp_path / "a.npz", X=made.spd(), y=np.arange(6))
    message = r"could be matrix or signal \(it holds the arrays X \(6, 3, 3\), y \(6,\)\); say "
    with pytest.raises(DataError, match=message + "domain='matrix' or domain='signal'"):
        zd.open(path)
    assert zd.open(path, domain="matrix").domain == "matrix"
    assert zd.open(path, domain="signal")[0]["x"].shape == (3, 3)
    np.save(tmp_path / "a.npy", made.spd())
    with pytest.raises(DataError, match="domain='matrix' or domain='signal'"):
        zd.open(tmp_path / "a.npy")
    assert len(zd.open(tmp_path / "a.npy", domain="matrix")) == 6


# --- tensors, images, fields ------------------------------------------------------------------


def test_tensors(tmp_path: Path) -> None:
    g = made.generator()
    path = made.npz(
        tmp_path / "a.npz", tensors=g.normal(size=(4, 3, 3, 3)), y=g.normal(size=(4, 2))
    )
    assert zd.open(path).domain == "tensor" and zd.open(path)[0]["y"].shape == (2,)
    parts = made.npz(tmp_path / "a.npz", T0=g.normal(size=4), T2=g.normal(size=(4, 3, 3)))
    assert {n: tuple(v.shape) for n, v in zd.open(parts)[0].items()} == {"x_0": (), "x_2": (3, 3)}
    with pytest.raises(DataError, match="all axes of one length"):
        zd.open(made.npz(tmp_path / "a.npz", tensors=g.normal(size=(4, 3, 2))))
    with pytest.raises(DataError, match=r"T2 has shape \(4, 3, 2\), expected \(4, 3, 3\): order 2"):
        zd.open(made.npz(tmp_path / "a.npz", T1=np.zeros((4, 3)), T2=np.zeros((4, 3, 2))))


def test_images(tmp_path: Path) -> None:
    images = made.generator().integers(0, 255, size=(3, 5, 6, 3)).astype(np.uint8)
    dataset = zd.open(made.npz(tmp_path / "a.npz", images=images, label=np.array([[1], [0], [1]])))
    sample = dataset[1]
    assert sample["x"].dtype == torch.uint8 and sample["x"].shape == (3, 5, 6)
    assert np.array_equal(sample["x"][2], images[1, :, :, 2]) and sample["y"].shape == ()
    gray = zd.open(made.npz(tmp_path / "a.npz", images=images[..., 0] / 255))
    assert gray[0]["x"].shape == (1, 5, 6)


def test_folder_of_pictures(tmp_path: Path) -> None:
    folder = made.png_classes(tmp_path / "f")
    dataset = zd.open(folder)
    assert dataset.domain == "image" and len(dataset) == 8 and dataset.classes == ("cat", "dog")
    assert len(dataset.split("train")) == 4
    sample = dataset.split("test")[3]
    assert sample["y"].item() == 1 and sample["x"].shape == (3, 4, 5)
    assert (sample["x"] == 41).all()
    with pytest.raises(DataError, match="one picture; open its folder"):
        zd.open(folder / "train" / "cat" / "0.png")
    (folder / "notes.md").write_text("taken in May")
    assert zd.open(folder).metadata["ignored_files"] == ["notes.md"]
    Image.fromarray(np.zeros((4, 5), dtype=np.uint8)).save(folder / "train" / "cat" / "9.png")
    with pytest.raises(DataError, match=r"9.png has shape \(1, 4, 5\).*make them alike"):
        zd.open(folder)


def test_pictures_of_all_modes(tmp_path: Path) -> None:
    deep = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    bits = Image.fromarray(np.eye(4, 5, dtype=np.uint8) * 255).convert("1")
    palette = Image.fromarray(np.full((4, 5, 3), 9, dtype=np.uint8)).convert("P")
    for name, image, shape in [
        ("deep", Image.fromarray(deep), (1, 4, 5)),
        ("bits", bits, (1, 4, 5)),
        ("palette", palette, (3, 4, 5)),
    ]:
        place = tmp_path / name
        place.mkdir()
        image.save(place / "a.png")
        assert zd.open(place)[0]["x"].shape == shape
    assert np.array_equal(zd.open(tmp_path / "deep")[0]["x"][0], deep)
    assert zd.open(tmp_path / "bits")[0]["x"].unique().tolist() == [0, 255]


def test_pictures_that_lie_about_their_size(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 5), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match="30000 x 30000 pixels, more than its"):
        zd.open(tmp_path)
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(DataError, match="is no PNG file"):
        zd.open(tmp_path)


def test_fields(tmp_path: Path) -> None:
    g = made.generator()
    a, u = g.normal(size=(3, 8, 8)), g.normal(size=(3, 2, 8, 8))
    dataset = zd.open(made.npz(tmp_path / "a.npz", a=a, u=u))
    assert dataset.domain == "field" and dataset.labels == {"y"}
    assert dataset[0]["x"].shape == (1, 8, 8) and dataset[0]["y"].shape == (2, 8, 8)
    line = zd.open(made.npz(tmp_path / "a.npz", a=a[:, 0], u=u[:, 0, 0]))
    assert line[0]["x"].shape == (1, 8)
    grid = np.linspace(0, 1, 8)[:, None]
    line = zd.open(made.npz(tmp_path / "a.npz", a=a[:, :2], u=u[:, 0, :1], grid=grid))
    assert line[0]["x"].shape == (2, 8) and torch.equal(line[2]["grid"], torch.tensor(grid))
    plane = np.stack(np.meshgrid(*[np.arange(8.0)] * 2), axis=-1)
    square = zd.open(made.npz(tmp_path / "a.npz", a=a, u=u, grid=plane))
    assert square[0]["x"].shape == (1, 8, 8) and square[2]["grid"].shape == (8, 8, 2)
    with pytest.raises(DataError, match=r"u has shape \(3, 1, 4, 4\), expected \(3, c, 8, 8\)"):
        zd.open(made.npz(tmp_path / "a.npz", a=a, u=u[:, :1, :4, :4]))


# --- sequences and vectors --------------------------------------------------------------------


def test_sequences(tmp_path: Path) -> None:
    steps = made.generator().normal(size=(5, 2))
    joined = made.npz(
        tmp_path / "a.npz", sequences=steps, counts=np.array([2, 3]), y=np.array([1, 0])
    )
    dataset = zd.open(joined)
    assert dataset.domain == "sequence" and np.array_equal(dataset[1]["x"], steps[2:])
    padded = np.zeros((2, 3, 2))
    padded[0, :2], padded[1] = steps[:2], steps[2:]
    same = zd.open(
        made.npz(tmp_path / "b.npz", sequences=padded, lengths=np.array([2, 3]), y=np.array([1, 0]))
    )
    assert same.hash == dataset.hash
    tokens = zd.open(made.npz(tmp_path / "c.npz", tokens=np.array([[5, 0, 7]], dtype=np.uint16)))
    assert tokens[0]["x"].tolist() == [5, 0, 7] and tokens[0]["x"].dtype == torch.int64
    table = tmp_path / "a.csv"
    table.write_text("sequence,a,label\nu,1,x\nu,2,x\nv,3,w\n")
    read = zd.open(table)
    assert read[0]["x"].tolist() == [[1], [2]] and [s["y"].item() for s in read] == [1, 0]
    table.write_text("tokens,label\n3 1 2,0\n9,1\n")
    assert zd.open(table)[0]["x"].tolist() == [3, 1, 2]
    with pytest.raises(DataError, match="add up to the first axis"):
        zd.open(made.npz(tmp_path / "a.npz", sequences=steps, counts=np.array([2, 2])))


def test_vectors(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text('"petal, width";height;label\n1;2;iris\n0.5;1e-3;"rose"\n\n')
    dataset = zd.open(table)
    assert dataset.domain == "vector" and dataset.classes == ("iris", "rose")
    assert dataset.metadata["features"] == ["petal, width", "height"]
    assert dataset[1]["x"].tolist() == [0.5, 1e-3] and dataset[1]["y"].item() == 1
    assert zd.open(table, keys={"y": None})[0].keys() == {"x"}
    packed = zd.open(made.npz(tmp_path / "a.npz", X=np.eye(3), y=np.array([0.5, 1, 2])))
    assert packed.domain == "vector" and packed[0]["y"].dtype == torch.float64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("1,2\n3,4\n", "its first line must name the columns"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, the line of names has 2"),
        ("a,b\n1,2\n\n3,4\n", "line 3 has 0 cells"),
        ("a,b\n1,\n", "line 2: the cell of column 'b' is empty"),
        ("a,a\n1,2\n", "name 'a' is empty or there twice"),
        ("a,b\n1,two\n", "line 2, column 'b': 'two' is no number"),
        ("a,b\n1,1_0\n", "'1_0' is no number"),
        ('a,b\n1,"2\n', "is no line of a table"),
        ("a,b\n1,nan\n", "x is NaN or infinite in sample 0"),
        ("label\nx\n", "no columns of features beside label"),
        ("a,b\n1,\x002\n", "holds zero bytes"),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=f"a.csv.*{message}"):
        zd.open(tmp_path / "a.csv")


# --- which file is which ----------------------------------------------------------------------


def test_every_domain_has_a_reader_for_its_own_archive() -> None:
    assert {reader.domain for reader in READERS} == set(DOMAINS)
    assert len({reader.name for reader in READERS}) == len(READERS)
    assert {d for d in DOMAINS if f"{d} npz" in {r.name for r in READERS}} == set(DOMAINS)


def test_readers_read(tmp_path: Path) -> None:
    by_name = {reader.name: reader for reader in READERS}
    assert len(by_name["particles npz"].read(made.particles(tmp_path / "a.npz"))) == 6
    with pytest.raises(DataError, match=r"has no pos: .*it has C"):
        by_name["points npz"].read(made.npz(tmp_path / "b.npz", C=made.spd()))


def test_domains_that_a_file_cannot_have(tmp_path: Path) -> None:
    path = made.off(tmp_path / "a.off")
    with pytest.raises(DataError, match=r"is a .off file; the domain 'graph' is read from .*npz"):
        zd.open(path, domain="graph")
    (tmp_path / "f").mkdir()
    with pytest.raises(DataError, match="is a folder with no files"):
        zd.open(tmp_path / "f")
    with pytest.raises(DataError, match="folder without structures of atoms"):
        zd.open(tmp_path / "f", domain="atoms")
    with pytest.raises(DataError, match="is a folder of nothing; the domain 'image'"):
        zd.open(tmp_path / "f", domain="image")


def test_objects_in_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="holds Python objects"):
        zd.open(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((3, 2, 5)))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-1])
    with pytest.raises(DataError, match="which is 240 bytes, but holds 239"):
        zd.open(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(data.replace(b"(3, 2, 5)", b"(3, 2,99)"))
    with pytest.raises(DataError, match="but holds 240"):
        zd.open(tmp_path / "a.npy")


def test_a_description_of_another_domain(tmp_path: Path) -> None:
    import hashlib

    path = made.npz(tmp_path / "a.npz", X=np.eye(3), y=np.arange(3))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = f"title: t\nfile: a.npz\nsha256: {digest}\ndomain: vector\nlicence: CC0\n"
    (tmp_path / "a.yaml").write_text(text)
    dataset = zd.open(tmp_path / "a.yaml")
    assert dataset.domain == "vector" and dataset.metadata["licence"] == "CC0"
    with pytest.raises(ConfigError, match="says that its domain is 'vector', not 'graph'"):
        zd.open(tmp_path / "a.yaml", domain="graph")


def test_take_wants_numbers(tmp_path: Path) -> None:
    dataset = zd.open(made.npz(tmp_path / "a.npz", X=np.eye(4)))
    assert len(dataset.take([])) == 0 and len(dataset.take(np.array([3, 3, -1]))) == 3
    for wrong in (np.array([True, False, True, False]), [0.5], [[0, 1]]):
        with pytest.raises(DataError, match="take needs a list of whole numbers"):
            dataset.take(wrong)  # type: ignore[arg-type]


def test_join(tmp_path: Path) -> None:
    dataset = zd.open(made.npz(tmp_path / "a.npz", X=np.eye(4), y=np.arange(4)))
    batch = join([dataset[3], dataset[1]])
    assert batch["x"].tolist() == np.eye(4)[[3, 1]].tolist() and batch["y"].tolist() == [3, 1]
    moving = zd.open(made.particles(tmp_path / "b.npz"))
    assert join([moving[0], moving[1]]).pos.shape == (10, 3)
    with pytest.raises(DataError, match="is the split empty"):
        join([])
    ragged = zd.open(made.npz(tmp_path / "c.npz", tokens=np.arange(5), counts=np.array([2, 3])))
    with pytest.raises(DataError, match=r"x has shape \(3,\) in sample 1 of the batch and \(2,\)"):
        join(list(ragged))
    with pytest.raises(DataError, match=r"sample 1 of the batch has the fields \['x'\]"):
        join([dataset[0], ragged[0]])
