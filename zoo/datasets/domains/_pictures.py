"""Published sets of pictures: CIFAR-10 and CIFAR-100 (binary and pickled), Tiny-ImageNet.

CIFAR: the folders `cifar-10-batches-bin` and `cifar-100-binary` hold records of bytes and are read
as they are; `cifar-10-batches-py` and `cifar-100-python` are pickles, read only when trusted. The
labels of CIFAR-100 are the fine ones; keys={"y": "coarse"} takes the twenty coarse ones.

Tiny-ImageNet: the folder `tiny-imagenet-200`, with its splits train and val; the pictures in its
test folder have no labels and are left out, so papers test on val:
splits={"kind": "assigned", "key": "split", "values": {"train": ["train"], "test": ["val"]}}.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.datasets.domains._arrays import read_jpeg
from zoo.datasets.domains._pickles import unpickled
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import lines_of, read_text
from zoo.errors import ConfigError, DataError

_PIXELS = 3 * 32 * 32
_TEN = {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)}
_HUNDRED = {"train": ("train",), "test": ("test",)}
_CONSUMED = frozenset(("y",))


def is_cifar(path: Path) -> bool:
    """Whether a folder holds CIFAR in its binary version."""
    return (path / "test_batch.bin").is_file() or (path / "fine_label_names.txt").is_file()


def is_pickled_cifar(path: Path) -> bool:
    """Whether a folder holds CIFAR as pickles."""
    ten = (path / "batches.meta").is_file() and (path / "test_batch").is_file()
    return ten or ((path / "meta").is_file() and (path / "test").is_file())


def read_cifar(path: Path, keys: Keys | None) -> Raw:
    """Reads the binary version.

    Raises:
        DataError: for a missing file, one of another length, or labels out of range.
    """
    hundred = (path / "fine_label_names.txt").is_file()
    if hundred:
        names = {n: _names(path / f"{n}_label_names.txt") for n in ("fine", "coarse")}
    else:
        names = {"fine": _names(path / "batches.meta.txt")}
    heads = 2 if hundred else 1
    pictures, marks, split = [], [], []
    for part, files in (_HUNDRED if hundred else _TEN).items():
        for file in files:
            records = _records(path / f"{file}.bin", heads + _PIXELS)
            marks.append(records[:, :heads])
            pictures.append(records[:, heads:])
            split += [part] * len(records)
    labels = np.concatenate(marks).astype(np.int64)
    found = {"coarse": labels[:, 0], "fine": labels[:, 1]} if hundred else {"fine": labels[:, 0]}
    return _cifar(path, np.concatenate(pictures), found, names, split, keys)


def _records(path: Path, size: int) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if not data or len(data) % size:
        raise DataError(f"{path} has {len(data)} bytes, no multiple of {size}; it is damaged")
    return np.frombuffer(data, np.uint8).reshape(-1, size)


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"there is no {path}, which belongs to this layout")
    return [line.strip() for line in lines_of(read_text(path)) if line.strip()]


def read_pickled_cifar(path: Path, keys: Keys | None) -> Raw:
    """Reads the pickled version.

    Raises:
        DataError: for a missing or damaged file.
    """
    hundred = not (path / "batches.meta").is_file()
    meta = _held(path / ("meta" if hundred else "batches.meta"))
    fine = _words(path, meta, "fine_label_names" if hundred else "label_names")
    names = {"fine": fine}
    if hundred:
        names["coarse"] = _words(path, meta, "coarse_label_names")
    pictures, split = [], []
    marks: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part, files in (_HUNDRED if hundred else _TEN).items():
        for file in files:
            batch = _held(path / file)
            data = batch.get("data")
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
                raise DataError(f"{path / file} has no data (pictures, {_PIXELS}) of bytes")
            if data.shape[1] != _PIXELS:
                raise DataError(f"{path / file} has rows of {data.shape[1]} bytes, not {_PIXELS}")
            pictures.append(data)
            split += [part] * len(data)
            for name, entries in marks.items():
                entries.append(_marks(path / file, batch, f"{name}_labels" if hundred else "labels",
                                      len(data)))  # fmt: skip
    found = {name: np.concatenate(entries) for name, entries in marks.items()}
    return _cifar(path, np.concatenate(pictures), found, names, split, keys)


def _held(path: Path) -> dict[str, object]:
    held = unpickled(path)
    if not isinstance(held, dict):
        raise DataError(f"{path} holds a {type(held).__name__}, expected a dict")
    return {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in held.items()}


def _words(path: Path, meta: dict[str, object], name: str) -> list[str]:
    words = meta.get(name)
    if not isinstance(words, list) or not words:
        raise DataError(f"{path}: its meta file has no {name}")
    return [w.decode("latin1") if isinstance(w, bytes) else str(w) for w in words]


def _marks(path: Path, batch: dict[str, object], name: str, count: int) -> np.ndarray:
    try:
        marks = np.asarray(batch.get(name), dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {name} are no whole numbers") from error
    if marks.shape != (count,):
        raise DataError(f"{path} has {count} pictures, but {name} of shape {marks.shape}")
    return marks


def _cifar(
    path: Path,
    pixels: np.ndarray,
    labels: dict[str, np.ndarray],
    names: dict[str, list[str]],
    split: Sequence[str],
    keys: Keys | None,
) -> Raw:
    """Pictures with the labels that `keys` asks for; the others become a column."""
    wanted = dict(keys or {}).get("y", "fine")
    if wanted is not None and wanted not in labels:
        raise ConfigError(f"{path} has the labels {', '.join(labels)}, not {wanted!r}")
    arrays = {"images": pixels.reshape(-1, 3, 32, 32), "split": np.array(split)}
    for name, numbers in labels.items():
        if numbers.min() < 0 or numbers.max() >= len(names[name]):
            raise DataError(
                f"{path} has the {name} label {numbers.max()}, but {len(names[name])} names"
            )
        if name == wanted:
            arrays["y"] = numbers
        else:
            arrays[f"{name}_name"] = np.array(names[name])[numbers]
    classes = None if wanted is None else tuple(names[wanted])
    return Raw(path, arrays, "cifar", classes=classes, consumed=_CONSUMED)


def is_tiny_imagenet(path: Path) -> bool:
    """Whether a folder has the layout of Tiny-ImageNet."""
    return (path / "wnids.txt").is_file() and (path / "val" / "val_annotations.txt").is_file()


def read_tiny_imagenet(path: Path, keys: Keys | None) -> Raw:
    """Reads the folder `tiny-imagenet-200`; grey pictures become colours.

    Raises:
        DataError: for missing or damaged files, or pictures of different sizes.
    """
    classes = _names(path / "wnids.txt")
    number = {name: k for k, name in enumerate(classes)}
    files, labels, split = [], [], []
    for name in classes:
        found = sorted((path / "train" / name / "images").glob("*.JPEG"))
        if not found:
            raise DataError(f"{path / 'train' / name / 'images'} has no .JPEG files")
        files += found
        labels += [number[name]] * len(found)
        split += ["train"] * len(found)
    notes = path / "val" / "val_annotations.txt"
    for place, line in enumerate(lines_of(read_text(notes)), start=1):
        words = line.split("\t")
        if not line.strip():
            continue
        if len(words) < 2 or words[1].strip() not in number or "/" in words[0] or ".." in words[0]:
            raise DataError(f"{notes}, line {place} should hold a file and a class: {line[:60]!r}")
        files.append(path / "val" / "images" / words[0])
        labels.append(number[words[1].strip()])
        split.append("val")
    pictures = [read_jpeg(file) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"{file} has shape {picture.shape}, {files[0].name} {pictures[0].shape}; all must "
                "be alike"
            )
    arrays = {
        "images": np.stack(pictures),
        "y": np.array(labels, dtype=np.int64),
        "split": np.array(split),
    }
    return Raw(path, arrays, "tiny-imagenet", classes=tuple(classes))
