"""A small valid file or folder for every reader of the domains other than atoms."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import published_files as published
import raw_sets
from PIL import Image
from whole_files import ATOMS, Whole, arrays_of

import zoo.datasets as zd
from zoo.datasets.domains import READERS, Reader


def _spd(rng: np.random.Generator, count: int = 6) -> np.ndarray:
    half = rng.normal(size=(count, 3, 5))
    return half @ half.swapaxes(-1, -2)


def domain_arrays(name: str) -> dict[str, np.ndarray]:
    """Valid arrays of a domain, several samples where it has them."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 0, 1, 2, 0])
    ring = np.array([[0, 1, 2, 0, 1], [1, 2, 0, 1, 0]])
    made: dict[str, dict[str, np.ndarray]] = {
        "particles": {
            "pos": rng.normal(size=(6, 5, 3)),
            "vel": rng.normal(size=(6, 5, 3)),
            "charge": rng.choice([-1.0, 1.0], size=(6, 5)),
            "y": rng.normal(size=(6, 5, 3)),
        },
        "points": {
            "pos": rng.normal(size=(18, 3)),
            "counts": np.array([5, 6, 7]),
            "x": rng.normal(size=(18, 2)),
            "y": labels[:3],
        },
        "complex": {
            "cells_0": np.array([3, 3]), "cells_1": np.array([3, 3]), "cells_2": np.array([1, 1]),
            "boundary_1": np.array([[0, 1, 1, 2, 0, 2] * 2, [0, 0, 1, 1, 2, 2] * 2]),
            "sign_1": np.array([-1.0, 1, -1, 1, -1, 1] * 2),
            "boundary_1_counts": np.array([6, 6]),
            "boundary_2": np.array([[0, 1, 2] * 2, [0, 0, 0] * 2]),
            "sign_2": np.array([1.0, 1, -1] * 2),
            "boundary_2_counts": np.array([3, 3]),
            "x_0": rng.normal(size=(6, 2)), "y": np.array([0, 1]),
        },
        "graph": {
            "x": rng.normal(size=(6, 2)),
            "counts": np.array([3, 3]),
            "edge_index": np.concatenate([ring, ring], axis=1),
            "edge_counts": np.array([5, 5]),
            "edge_attr": rng.normal(size=(10, 1)),
            "y": np.array([0, 1]),
        },
        "matrix": {"covs": _spd(rng), "y": labels},
        "signal": {"X": rng.normal(size=(6, 3, 20)), "y": labels},
        "tensor": {"tensors": rng.normal(size=(6, 3, 3)), "y": rng.normal(size=6)},
        "image": {"images": rng.integers(0, 255, size=(6, 5, 4), dtype=np.uint8), "y": labels},
        "field": {"a": rng.normal(size=(6, 8)), "u": rng.normal(size=(6, 8))},
        "sequence": {
            "tokens": rng.integers(0, 9, size=(6, 7)),
            "lengths": np.array([7, 3, 4, 1, 7, 2]),
            "y": labels,
        },
        "vector": {
            "x": rng.normal(size=(6, 3)),
            "y": labels,
            "train_mask": labels < 1,
            "class_names": np.array(["a", "b", "c"]),
        },
    }  # fmt: skip
    return made[name]


def _npz_of(domain: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", **domain_arrays(domain))  # type: ignore[arg-type]
        return folder / "a.npz"

    return make


def count_archive(domain: str) -> Callable[[Path], int | None]:
    """Samples of an archive, by the array that says so."""
    lead = {"complex": "cells_0", "field": "a", "image": "images", "matrix": "covs"}
    lead |= {"signal": "X", "tensor": "tensors", "sequence": "tokens", "particles": "pos"}

    def count(path: Path) -> int | None:
        arrays = arrays_of(path) or {}
        if "counts" in arrays and domain in ("graph", "particles", "points", "sequence"):
            return len(arrays["counts"]) if arrays["counts"].ndim else None
        usual = arrays.get(lead.get(domain, "x"))
        array = usual if domain == "particles" else arrays.get("x", usual)
        if array is None or not array.ndim or domain in ("points", "graph", "complex"):
            return None
        # one sample of particles may stand by itself
        return len(array) if domain != "particles" or array.ndim == 3 else 1

    return count


OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
OBJ = (
    "# a tetrahedron\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvn 0 0 1\nf 1 2 3\nf 1/1 2/1 4/1\nl 1 2\n"
)
PLY = (
    "ply\nformat {form} 1.0\ncomment a tetrahedron\nelement vertex 4\nproperty float x\n"
    "property float y\nproperty float z\nproperty uchar red\nelement face 2\n"
    "property list uchar int vertex_indices\nend_header\n"
)


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def _ply(folder: Path) -> Path:
    head = PLY.format(form="binary_little_endian").encode()
    body = b"".join(
        np.array(p, "<f4").tobytes() + bytes([k * 9])
        for k, p in enumerate([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    )
    faces = b"".join(b"\x03" + np.array(f, "<i4").tobytes() for f in [(0, 1, 2), (0, 1, 3)])
    (folder / "a.ply").write_bytes(head + body + faces)
    return folder / "a.ply"


def _clouds(folder: Path) -> Path:
    for k, name in enumerate(("car/train/1.off", "car/test/2.off", "cup/train/1.off")):
        place = folder / "set" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(OFF.replace("0 0 1\n", f"0 0 {k + 1}\n", 1))
    return folder / "set"


def _graph_tables(folder: Path) -> Path:
    (folder / "edges.csv").write_text("source,target,weight\na,b,1.5\nb,c,2\nc,a,0.5\n")
    (folder / "nodes.csv").write_text("id,f,g,label\na,1,2,x\nb,3,4,y\nc,5,6,x\n")
    return folder / "edges.csv"


def _webkb(folder: Path) -> Path:
    rows = ["node_id\tfeature\tlabel", "0\t1,0\t1", "1\t0,1\t0", "2\t1,1\t1", "3\t0,0\t0"]
    (folder / "out1_node_feature_label.txt").write_text("\n".join(rows) + "\n")
    (folder / "out1_graph_edges.txt").write_text("a\tb\n0\t1\n1\t2\n2\t3\n0\t1\n")
    mask = np.array([1, 0, 0, 0])
    for fold in range(2):
        masks = {n: np.roll(mask, k) for k, n in enumerate(("train_mask", "val_mask", "test_mask"))}
        np.savez(folder / f"set_split_0.6_0.2_{fold}.npz", **masks)  # type: ignore[arg-type]
    return folder


def _npy(array: np.ndarray) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.save(folder / "a.npy", array)
        return folder / "a.npy"

    return make


def _npy_folder(array: np.ndarray) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for k, entry in enumerate(array):
            place = folder / "set" / ("one", "two")[k % 2]
            place.mkdir(parents=True, exist_ok=True)
            np.save(place / f"{k}.npy", entry)
        return folder / "set"

    return make


def _pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(4):
        place = folder / "set" / ("one", "two")[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 255, size=(5, 4, 3), dtype=np.uint8)
        Image.fromarray(picture).save(place / f"{k}.png")
    return folder / "set"


def count_files(path: Path) -> int | None:
    """Files of a folder."""
    return sum(p.is_file() for p in path.rglob("*"))


def count_csv(path: Path) -> int | None:
    """Rows of a table."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        rows = list(csv.reader(text.rstrip().split("\n"), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return (
        len(rows) - 1
        if not any(";" in cell or "\t" in cell for row in rows for cell in row)
        else None
    )


def _one(path: Path) -> int | None:
    return 1


def _unknown(path: Path) -> int | None:
    return None


def _count_cifar(path: Path) -> int | None:
    return sum(file.stat().st_size for file in path.glob("*.bin")) // 3073


def _first_axis(path: Path) -> int | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return len(array) if array.ndim else None


_RNG = np.random.default_rng(1)
_SERIES = _RNG.normal(size=(4, 3, 6))
# by the reader's name; what `make` writes and how its samples are counted
DOMAIN_FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], int | None]]] = {
    "points ply": (_ply, _one),
    "points off": (_text("a.off", OFF), _one),
    "points obj": (_text("a.obj", OBJ), _one),
    "points txt": (_text("a.txt", "0 0 0 1 0 0 2\n1 0 0 0 1 0 1\n# far\n0 1 0 0 0 1 2\n"), _one),
    "points csv": (
        _text("a.csv", "x,y,z,f,label\n0,0,0,1,a\n1,0,0,2,b\n0,1,0.5,3,a\n"),
        _one,
    ),
    "points folder": (_clouds, count_files),
    "complex ply": (_text("a.ply", PLY.format(form="ascii") + "0 0 0 1\n1 0 0 2\n0 1 0 3\n0 0 1 4\n"
                          "3 0 1 2\n3 0 1 3\n"), _one),
    "complex off": (_text("a.off", OFF), _one),
    "complex obj": (_text("a.obj", OBJ), _one),
    "graph csv": (_graph_tables, _one),
    "graph csv folder": (lambda folder: _graph_tables(folder).parent, _one),
    "graph webkb folder": (_webkb, _one),
    "matrix npy": (_npy(_spd(_RNG, 4)), _first_axis),
    "matrix npy folder": (_npy_folder(_spd(_RNG, 4)), count_files),
    "signal npy": (_npy(_SERIES), _first_axis),
    "signal npy folder": (_npy_folder(_SERIES), count_files),
    "matrix mat folder": (published.mats, count_files),
    "graph tsv": (published.closure, _one),
    "graph hgcn folder": (lambda folder: published.hgcn(folder, "disease_lp"), _one),
    "graph triples folder": (published.openke, _one),
    "image cifar folder": (published.cifar10, _count_cifar),
    "image tiny-imagenet folder": (published.tiny_imagenet, _unknown),
    "signal fif": (published.epochs, _unknown),
    "image png folder": (_pictures, count_files),
    "sequence csv": (_text("a.csv", "tokens,y\n1 2 3,0\n4 5,1\n6,0\n"), count_csv),
    "vector csv": (_text("a.csv", "a,b,label\n1,2.5,x\n-3,4e-1,y\n5,6,x\n"), count_csv),
}  # fmt: skip


def _whole(reader: Reader) -> Whole:
    if reader.name.endswith(" npz"):
        return Whole(reader.name, _npz_of(reader.domain), reader.read, count_archive(reader.domain))
    make, count = DOMAIN_FILES[reader.name]
    return Whole(reader.name, make, reader.read, count)


def _below(writer: raw_sets.Writer) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        writer(folder / "set")
        return folder / "set"

    return make


def _mat(folder: Path) -> Path:
    raw_sets.level5("a.mat", {"a": (8, 16), "u": (8, 16)})(folder)
    return folder / "a.mat"


# sets of papers, whose counts only their readers know, by the reader's name
PAPERS: dict[str, Callable[[Path], Path]] = {
    "graph planetoid folder": _below(raw_sets.planetoid("cora", 12, 3, nodes=60)),
    "sequence top-tagging folder": _below(raw_sets.top_tagging),
    "field pdearena folder": _below(raw_sets.pdearena),
    "particles motion folder": _below(raw_sets.motion),
    "field mat": _mat,
}
# a recording takes half a second to read, forty of them too long: see test_raw_sets.py
SLOW = {"signal bnci folder"}


def open_paper(path: Path) -> Any:
    """A set of a paper; an array of a .mat has no name that says what it is."""
    if path.suffix == ".mat":
        return zd.open(path, domain="field", keys={"x": "a", "y": "u"})
    return zd.open(path)


OF_PAPERS = [Whole(name, make, open_paper, _unknown) for name, make in PAPERS.items()]
DOMAINS = [
    _whole(reader)
    for reader in READERS
    if not reader.pickle and reader.name not in {*PAPERS, *SLOW}
]
EVERY = [*ATOMS, *DOMAINS, *OF_PAPERS]
