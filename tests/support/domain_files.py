"""Tiny files of every domain in the layouts of the published data sets."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def particles(path: Path) -> Path:
    g = generator()
    pos, vel, y = (g.normal(size=(6, 5, 3)) for _ in range(3))
    charge = g.choice([-1.0, 1.0], size=(6, 5, 1))
    return npz(path, pos=pos, vel=vel, charge=charge, y=y, run=np.arange(6))


def off(path: Path, header: str = "OFF\n") -> Path:
    lines = [f"{header}4 4 6", *(" ".join(map(str, v)) for v in TETRAHEDRON)]
    lines += ["3 " + " ".join(map(str, face)) for face in FACES]
    path.write_text("\n".join(lines) + "\n")
    return path


def obj(path: Path) -> Path:
    lines = ["# a tetrahedron", "o t", *("v " + " ".join(map(str, v)) for v in TETRAHEDRON)]
    lines += ["f " + " ".join(f"{k + 1}//1" for k in face) for face in FACES[:-1]]
    path.write_text("\n".join([*lines, "f -3 -2 -1"]) + "\n")
    return path


def ply(path: Path, order: str = "ascii", faces: bool = True) -> Path:
    header = ["ply", f"format {order} 1.0", "comment made by a test", "element vertex 4"]
    header += [f"property {kind} {n}" for kind, n in [("float", "x"), ("float", "y")]]
    header += ["property float z", "property uchar red", "property int label"]
    if faces:
        header += ["element face 4", "property list uchar int vertex_indices"]
    text = "\n".join([*header, "end_header"]) + "\n"
    if order == "ascii":
        rows = [f"{v[0]} {v[1]} {v[2]} {10 * k} {k % 2}" for k, v in enumerate(TETRAHEDRON)]
        rows += ["3 " + " ".join(map(str, face)) for face in FACES] if faces else []
        path.write_text(text + "\n".join(rows) + "\n")
        return path
    sign = "<" if "little" in order else ">"
    data = b"".join(
        struct.pack(sign + "fffBi", *v, 10 * k, k % 2) for k, v in enumerate(TETRAHEDRON)
    )
    if faces:
        data += b"".join(struct.pack(sign + "Biii", 3, *face) for face in FACES)
    path.write_bytes(text.encode() + data)
    return path


def heterophilous(path: Path, folds: int = 3) -> Path:
    """Layout of heterophilous-graphs: every edge once, masks (folds, nodes)."""
    g = generator()
    owner = np.stack([g.permutation(np.arange(12) % 3) for _ in range(folds)])
    return npz(
        path,
        node_features=g.normal(size=(12, 4)).astype(np.float32),
        node_labels=np.arange(12) % 5,
        edges=np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 4]]),
        train_masks=owner == 0,
        val_masks=owner == 1,
        test_masks=owner == 2,
    )


def webkb(folder: Path, name: str = "texas", folds: int = 2) -> Path:
    folder.mkdir()
    rows = [f"{k}\t{','.join(str(int(k == j)) for j in range(4))}\t{k % 2}" for k in (2, 0, 1, 3)]
    (folder / "out1_node_feature_label.txt").write_text(
        "node_id\tfeature\tlabel\n" + "\n".join(rows) + "\n"
    )
    (folder / "out1_graph_edges.txt").write_text("node_id\tnode_id\n0\t1\n1\t2\n0\t1\n3\t3\n")
    (folder / "splits").mkdir()
    for fold in range(folds):
        owner = np.roll([0, 0, 1, 2], fold)
        masks = {f"{s}_mask": (owner == k).astype(np.int64) for k, s in _SPLITS}
        npz(folder / "splits" / f"{name}_split_0.6_0.2_{fold}.npz", **masks)
    return folder


_SPLITS = [(0, "train"), (1, "val"), (2, "test")]


def graph_tables(folder: Path) -> Path:
    folder.mkdir()
    (folder / "edges.csv").write_text("source,target,weight\na,b,0.5\nb,c,1\nc,a,2\n")
    (folder / "nodes.csv").write_text(
        "id,f1,f2,class,split\na,1,2,red,train\nb,3,4,blue,test\nc,5,6,red,train\n"
    )
    return folder


def spd(count: int = 6, n: int = 3) -> np.ndarray:
    a = generator().normal(size=(count, n, n + 2))
    return np.asarray(a @ a.swapaxes(-1, -2))


def npy_classes(folder: Path) -> Path:
    for index, matrix in enumerate(spd()):
        place = folder / ("walk" if index % 2 else "run")
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{index}.npy", matrix)
    return folder


def png_classes(folder: Path) -> Path:
    for split in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(2):
                array = np.full((4, 5, 3), 40 * k + index, dtype=np.uint8)
                Image.fromarray(array).save(place / f"{index}.png")
    return folder


def modelnet(folder: Path) -> Path:
    for name in ("chair", "table"):
        for split in ("train", "test"):
            place = folder / name / split
            place.mkdir(parents=True, exist_ok=True)
            off(place / f"{name}_0001.off", "OFF" if split == "train" else "OFF\n")
    return folder
