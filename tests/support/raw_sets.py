"""Tiny folders in the raw formats of the sets that papers outside atoms use, by the sets' names.

Each writer fills a set's folder as `zoo data get` would, with the authors' names of files, numbers
of features and classes, but few samples.
"""

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import published_files
from scipy import sparse
from scipy.io import savemat

Writer = Callable[[Path], object]
FOLDS = 10
CHANNELS = ("E", "PX", "PY", "PZ")


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def _divisions(folder: Path, name: str, nodes: int) -> None:
    for fold in range(FOLDS):
        part = generator(fold).permutation(nodes) % 3
        masks = {f"{n}_mask": (part == k).astype(np.uint8)
                 for k, n in enumerate(("train", "val", "test"))}  # fmt: skip
        np.savez(folder / f"{name}_split_0.6_0.2_{fold}.npz", **masks)


def geom_gcn(name: str, features: int, *, film: bool = False, nodes: int = 18) -> Writer:
    """Two tables and ten divisions; one directed edge is there twice, one is a loop."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        rows = ["node_id\tfeature\tlabel"]
        drawn = generator().random((nodes, features)) < 0.05
        for node in range(nodes):
            ones = sorted({*np.flatnonzero(drawn[node]).tolist(), features - 1})
            values = ones if film else [int(k in ones) for k in range(features)]
            rows.append(f"{node}\t{','.join(map(str, values))}\t{node % 5}")
        (folder / "out1_node_feature_label.txt").write_text("\n".join([*rows, ""]))
        edges = [(k, (k * 5 + 1) % nodes) for k in range(nodes)] + [(0, 1), (3, 3)]
        lines = ["node_id\tnode_id", *(f"{a}\t{b}" for a, b in edges), ""]
        (folder / "out1_graph_edges.txt").write_text("\n".join(lines))
        _divisions(folder, name, nodes)

    return write


def heterophilous(name: str, features: int, classes: int, nodes: int = 24) -> Writer:
    """One archive."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        parts = np.stack([generator(k).permutation(nodes) % 3 for k in range(FOLDS)])
        np.savez(
            folder / f"{name.replace('-', '_')}.npz",
            node_features=generator().normal(size=(nodes, features)).astype(np.float32),
            node_labels=np.arange(nodes) % classes,
            edges=np.array([[k, (5 * k + 1) % nodes] for k in range(nodes)]),
            **{f"{n}_masks": parts == k for k, n in enumerate(("train", "val", "test"))},
        )

    return write


def planetoid(name: str, features: int, classes: int, nodes: int = 560) -> Writer:
    """Pickles of Python 2's protocol: nodes to train on first, the last ten to test on."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        x = sparse.random(nodes, features, 0.01, "csr", np.float32, generator())
        y = np.eye(classes, dtype=np.int32)[np.arange(nodes) % classes]
        graph = {k: [(k + 1) % nodes, (k - 1) % nodes] for k in range(nodes)}
        train, known = 4 * classes, nodes - 10
        held = {"x": x[:train], "y": y[:train], "allx": x[:known], "ally": y[:known],
                "tx": x[known:], "ty": y[known:], "graph": graph}  # fmt: skip
        for key, value in held.items():
            (folder / f"ind.{name}.{key}").write_bytes(pickle.dumps(value, protocol=2))
        text = "\n".join(str(k) for k in range(known, nodes))
        (folder / f"ind.{name}.test.index").write_text(text + "\n")

    return write


def disease(name: str, features: int, nodes: int = 40) -> Writer:
    """A tree as HGCN publishes its own."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        lines = [f"n{(k - 1) // 3},n{k}" for k in range(1, nodes)]
        (folder / f"{name}.edges.csv").write_text("\n".join(lines) + "\n")
        x = sparse.csr_matrix(generator().normal(size=(nodes, features)))
        sparse.save_npz(folder / f"{name}.feats.npz", x)
        np.save(folder / f"{name}.labels.npy", (np.arange(nodes) % 2).astype(np.float64))

    return write


def matrices(
    inner: str, size: int, classes: int, each: int = 2, parts: tuple[str, ...] = ("",)
) -> Writer:
    """Matrices whose names end in their class, in a folder or in several."""

    def write(folder: Path) -> None:
        for part in parts:
            place = folder / inner / part
            place.mkdir(parents=True)
            for k in range(classes * each):
                half = generator(k).normal(size=(size, 5))
                matrix = np.eye(size) + half @ half.T / size
                np.save(place / f"s{k}_clip_{k % classes}.npy", matrix)

    return write


def signals(inner: str, classes: int = 3, each: int = 8) -> Writer:
    """Complex series whose names end in their class."""

    def write(folder: Path) -> None:
        place = folder / inner
        place.mkdir(parents=True)
        for k in range(classes * each):
            real, imaginary = generator(k).normal(size=(2, 1000))
            np.save(place / f"signal{k}_{k % classes}.npy", real + 1j * imaginary)

    return write


def bnci(folder: Path) -> None:
    """Two recordings of one subject: a run without trials, then two runs of four."""
    folder.mkdir(parents=True)
    names = np.array(["left hand", "right hand", "feet", "tongue"], dtype=object)
    rate, count, apart = 250, 4, 1400
    long = count * apart
    for session, seed in (("T", 1), ("E", 2)):
        runs = np.empty((1, 3), dtype=object)
        for number in range(3):
            x = generator(10 * seed + number).normal(size=(long if number else 500, 25))
            order = np.arange(count if number else 0)[:, None]
            trials, labels = apart * order + 1, order % 4 + 1
            runs[0, number] = {"X": x, "trial": trials.astype(float), "y": labels.astype(float),
                               "fs": float(rate), "classes": names, "gender": "male",
                               "artifacts": np.zeros((8, 1)), "age": 22.0}  # fmt: skip
        savemat(folder / f"A01{session}.mat", {"data": runs}, do_compression=session == "T")


def level5(file: str, shapes: dict[str, tuple[int, ...]]) -> Writer:
    """Arrays in a MATLAB file of level 5."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rng = generator()
        arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        savemat(folder / file, arrays, do_compression=True)

    return write


def top_tagging(folder: Path, *, jets: int = 12, constituents: int = 6) -> None:
    """Tables as pandas writes them; jets have 2 to 6 constituents."""
    folder.mkdir(parents=True)
    columns = [f"{axis}_{k}" for k in range(constituents) for axis in CHANNELS]
    columns += ["truthE", "truthPX", "truthPY", "truthPZ"]
    width = len(columns)
    kind = np.dtype([("index", "<i8"), ("values_block_0", "<f4", (width,)),
                     ("values_block_1", "<i8", (2,))])  # fmt: skip
    for seed, name in enumerate(("train", "val", "test")):
        rows = np.zeros(jets, dtype=kind)
        momenta = np.abs(generator(seed).normal(size=(jets, constituents, 4)))
        momenta[:, :, 0] += 3 * momenta[:, :, 1:].sum(axis=2)
        momenta[np.arange(constituents) >= 2 + np.arange(jets)[:, None] % 5] = 0
        rows["values_block_0"][:, : 4 * constituents] = momenta.reshape(jets, -1)
        rows["values_block_1"][:, 0] = seed
        rows["values_block_1"][:, 1] = np.arange(jets) % 2
        with h5py.File(folder / f"{name}.h5", "w") as file:
            group = file.create_group("table")
            group.attrs["pandas_type"] = np.bytes_("frame_table")
            table = group.create_dataset("table", data=rows)
            for block, names in enumerate((columns, ["ttv", "is_signal_new"])):
                told = pickle.dumps(names, protocol=0)
                table.attrs[f"values_block_{block}_kind"] = np.bytes_(told)


def pdearena(folder: Path, *, times: int = 6, size: int = 16) -> None:
    """Three files of two runs, and a second one to train on."""
    folder.mkdir(parents=True)
    for seed, (part, name) in enumerate(
        (("train", "1_0.5_2"), ("train", "2_0.5_2"), ("valid", "3_0.5"), ("test", "4_0.5"))
    ):
        with h5py.File(folder / f"NavierStokes2D_{part}_{name}.h5", "w") as file:
            group = file.create_group(part)
            rng = generator(seed)
            for field in ("u", "vx", "vy"):
                group[field] = rng.normal(size=(2, times, size, size))
            group["t"], group["buo_y"] = rng.normal(size=(2, times)), np.full(2, 0.5)


def motion(folder: Path, *, frames: int = 60) -> None:
    """Twenty-three recordings of 31 joints, divided as the authors do."""
    folder.mkdir(parents=True)
    runs = [generator(k).normal(size=(frames, 31, 3)).cumsum(axis=0) / 10 for k in range(23)]
    train = [20, 1, 17, 13, 14, 9, 4, 2, 7, 5, 16]
    val, test = [3, 8, 11, 12, 15, 18], [6, 19, 21, 0, 22, 10]
    split = tuple(
        {k: generator(k).choice(frames - 32, size=4, replace=False) for k in part}
        for part in (train, val, test)
    )
    bones = [(k, k + 1) for k in range(30)]
    (folder / "motion.pkl").write_bytes(pickle.dumps((bones, runs)))
    (folder / "split.pkl").write_bytes(pickle.dumps(split))


def triples(folder: Path, *, entities: int = 30, relations: int = 11) -> None:
    """Triples in words."""
    folder.mkdir(parents=True)
    rng = generator()
    for name, count in (("train", 60), ("valid", 8), ("test", 8)):
        rows = [(k % entities, k % relations, int(rng.integers(entities))) for k in range(count)]
        text = "\n".join(f"{a:08d}\t_r{b}\t{c:08d}" for a, b, c in rows)
        (folder / f"{name}.txt").write_text(text + "\n")


WRITERS: dict[str, Writer] = {
    "texas": geom_gcn("texas", 1703),
    "wisconsin": geom_gcn("wisconsin", 1703),
    "cornell": geom_gcn("cornell", 1703),
    "actor": geom_gcn("film", 932, film=True),
    "chameleon": geom_gcn("chameleon", 2325),
    "squirrel": geom_gcn("squirrel", 2089),
    "roman-empire": heterophilous("roman-empire", 300, 18, nodes=90),
    "amazon-ratings": heterophilous("amazon-ratings", 300, 5),
    "minesweeper": heterophilous("minesweeper", 7, 2),
    "tolokers": heterophilous("tolokers", 10, 2),
    "questions": heterophilous("questions", 301, 2),
    "cora": planetoid("cora", 1433, 7),
    "citeseer": planetoid("citeseer", 3703, 6),
    "pubmed": planetoid("pubmed", 500, 3),
    "disease-nc": disease("disease_nc", 1000),
    "disease-lp": disease("disease_lp", 11),
    "hdm05": matrices("hdm05", 93, 117),
    "afew": matrices("afew", 400, 7, each=1, parts=("train", "val")),
    "radar": signals("data/radar"),
    "bnci2014-001": bnci,
    "cifar10": published_files.cifar10,
    "cifar100": published_files.cifar100,
    "fno-burgers": level5("burgers_data_R10.mat", {"a": (16, 64), "u": (16, 64)}),
    "fno-darcy": level5(
        "piececonst_r421_N1024_smooth1.mat", {"coeff": (16, 41, 41), "sol": (16, 41, 41)}
    ),
    "top-tagging": top_tagging,
    "pdearena-ns2d": pdearena,
    "cmu-motion": motion,
    "wn18rr": triples,
}


def place(name: str, folder: Path) -> Path:
    """Writes a set below a folder that stands for the cache; the set's folder."""
    target = folder / "datasets" / name
    if not target.exists():
        if name in WRITERS:
            WRITERS[name](target)
        else:  # a set of atoms
            from raw_solids import WRITERS as ATOMS

            ATOMS[name](target)
    return target
