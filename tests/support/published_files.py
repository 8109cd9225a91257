"""Tiny files in the raw formats of the sets that papers on manifolds use."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.io import savemat

WNIDS = ("n01", "n02")


def generator(seed: int = 11) -> np.random.Generator:
    return np.random.default_rng(seed)


def spd(count: int, size: int = 3) -> np.ndarray:
    half = generator().normal(size=(count, size, 2 * size))
    return half @ half.swapaxes(-1, -2)


def hgcn(folder: Path, name: str = "disease_nc") -> Path:
    """A tree of seven nodes as HGCN publishes its disease sets: labels are floats."""
    place = folder / name
    place.mkdir(parents=True)
    (place / f"{name}.edges.csv").write_text("r,a\nr,b\na,c\na,d\nb,e\nb,f\n")
    features = np.arange(14.0).reshape(7, 2) * (np.arange(14).reshape(7, 2) % 3 > 0)
    sparse.save_npz(place / f"{name}.feats.npz", sparse.csr_matrix(features))
    np.save(place / f"{name}.labels.npy", np.array([1.0, 1, 0, 1, 0, 0, 0]))
    return place


def triples(folder: Path) -> Path:
    """Triples in words."""
    place = folder / "WN"
    place.mkdir(parents=True)
    (place / "train.txt").write_text("cat\tis_a\tanimal\ndog\tis_a\tanimal\ncat\teats\tmouse\n")
    (place / "valid.txt").write_text("mouse\tis_a\tanimal\n")
    (place / "test.txt").write_text("dog\teats\tmouse\n")
    return place


def openke(folder: Path) -> Path:
    """The same triples with OpenKE's numbers: head, tail, relation."""
    place = folder / "WN18RR"
    place.mkdir(parents=True)
    (place / "entity2id.txt").write_text("4\ncat\t0\nanimal\t1\ndog\t2\nmouse\t3\n")
    (place / "relation2id.txt").write_text("2\nis_a\t0\neats\t1\n")
    (place / "train2id.txt").write_text("3\n0 1 0\n2 1 0\n0 3 1\n")
    (place / "valid2id.txt").write_text("1\n3 1 0\n")
    (place / "test2id.txt").write_text("1\n2 3 1\n")
    return place


def closure(folder: Path) -> Path:
    path = folder / "noun_closure.tsv"
    path.write_text("cat.n.01\tanimal.n.01\ndog.n.01\tanimal.n.01\nanimal.n.01\tentity.n.01\n")
    return path


def closure_csv(folder: Path) -> Path:
    path = folder / "mammal_closure.csv"
    path.write_text("id1,id2,weight\ncat.n.01,animal.n.01,1\nanimal.n.01,entity.n.01,2\n")
    return path


def hdm05(folder: Path, parts: tuple[str, ...] = ("",), dtype: str = "<f8") -> Path:
    """Matrices whose names end in their class."""
    for part in parts:
        place = folder / "hdm05" / part
        place.mkdir(parents=True)
        for k, matrix in enumerate(spd(6)):
            np.save(place / f"s{k}_clip_{k % 3 + 1}.npy", matrix.astype(dtype))
    return folder / "hdm05"


def radar(folder: Path) -> Path:
    """Complex signals whose names end in their class."""
    place = folder / "radar"
    place.mkdir(parents=True)
    for k in range(4):
        real, imaginary = generator().normal(size=(2, 20)) + k
        np.save(place / f"signal{k}_{k % 2}.npy", real + 1j * imaginary)
    return place


def mats(folder: Path) -> Path:
    """MATLAB files of one matrix, in a folder for each class."""
    for k, matrix in enumerate(spd(4)):
        place = folder / "afew" / "train" / str(k % 2 + 1)
        place.mkdir(parents=True, exist_ok=True)
        savemat(place / f"{k}.mat", {"Y1": matrix}, do_compression=bool(k % 2))
    return folder / "afew"


def pixels(count: int, seed: int) -> np.ndarray:
    return generator(seed).integers(0, 256, size=(count, 3072), dtype=np.uint8)


def cifar10(folder: Path) -> Path:
    """The binary version of CIFAR-10, two pictures a file."""
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        records = np.concatenate([np.array([[k], [9 - k]], np.uint8), pixels(2, k)], axis=1)
        (place / f"{name}.bin").write_bytes(records.tobytes())
    (place / "batches.meta.txt").write_text("\n".join(f"class{k}" for k in range(10)) + "\n\n")
    return place


def cifar100(folder: Path) -> Path:
    """The binary version of CIFAR-100."""
    place = folder / "cifar-100-binary"
    place.mkdir(parents=True)
    for name, marks in (("train", [[0, 5], [1, 6], [1, 7]]), ("test", [[0, 99]])):
        head = np.array(marks, np.uint8)
        records = np.concatenate([head, pixels(len(head), len(head))], axis=1)
        (place / f"{name}.bin").write_bytes(records.tobytes())
    (place / "fine_label_names.txt").write_text("\n".join(f"f{k}" for k in range(100)) + "\n")
    (place / "coarse_label_names.txt").write_text("\n".join(f"c{k}" for k in range(20)) + "\n")
    return place


def pickled_cifar10(folder: Path) -> Path:
    """CIFAR-10 for Python, as Python 2 pickled it: keys are bytes."""
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        batch = {b"data": pixels(2, k), b"labels": [k, 9 - k], b"filenames": [b"a.png", b"b.png"]}
        (place / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"label_names": [f"class{k}".encode() for k in range(10)], b"num_vis": 3072}
    (place / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return place


def pickled_cifar100(folder: Path) -> Path:
    """CIFAR-100 for Python."""
    place = folder / "cifar-100-python"
    place.mkdir(parents=True)
    for name, fine, coarse in (("train", [5, 6, 7], [0, 1, 1]), ("test", [99], [0])):
        batch = {"data": pixels(len(fine), len(fine)), "fine_labels": fine, "coarse_labels": coarse}
        (place / name).write_bytes(pickle.dumps(batch))
    meta = {
        "fine_label_names": [f"f{k}" for k in range(100)],
        "coarse_label_names": [f"c{k}" for k in range(20)],
    }
    (place / "meta").write_bytes(pickle.dumps(meta))
    return place


def tiny_imagenet(folder: Path) -> Path:
    """Two classes of two pictures to train on, a grey one among them, and three to validate."""
    place = folder / "tiny-imagenet-200"
    rng = generator()
    for name in WNIDS:
        (place / "train" / name / "images").mkdir(parents=True)
        for k in range(2):
            shape = (8, 8) if k else (8, 8, 3)
            picture = rng.integers(0, 255, size=shape, dtype=np.uint8)
            Image.fromarray(picture).save(place / "train" / name / "images" / f"{name}_{k}.JPEG")
        (place / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t7\t7\n")
    (place / "val" / "images").mkdir(parents=True)
    lines = []
    for k in range(3):
        picture = rng.integers(0, 255, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(picture).save(place / "val" / "images" / f"val_{k}.JPEG")
        lines.append(f"val_{k}.JPEG\t{WNIDS[k % 2]}\t0\t0\t7\t7")
    (place / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (place / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (place / "words.txt").write_text("n01\tfish\nn02\tbird\n")
    return place


def epochs(folder: Path) -> Path:
    """Six trials of three channels, written by MNE."""
    import mne

    info = mne.create_info(["C3", "Cz", "C4"], 64.0, "eeg")
    events = np.array([[20 * k, 0, k % 2 + 1] for k in range(6)])
    made = mne.EpochsArray(
        generator().normal(size=(6, 3, 16)) * 1e-6,
        info,
        events,
        event_id={"left": 1, "right": 2},
        verbose="ERROR",
    )
    path = folder / "a-epo.fif"
    made.save(path, fmt="double", verbose="ERROR")
    return path
