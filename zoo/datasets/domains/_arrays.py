"""Arrays and pictures in files of their own: .npy, .png and .jpeg."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.datasets._archive import _header
from zoo.datasets.domains._raw import Keys, Raw
from zoo.errors import DataError, UnsafeFileError

# deflate packs 1032 bytes into one at best
_DEFLATE = 1032
_PIXELS = 1 << 26
_MODES = {"1": "L", "P": "RGB", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"}


def read_npy(path: Path) -> np.ndarray:
    """One array.

    Raises:
        UnsafeFileError: for one of Python objects.
        DataError: if it isn't a whole array of numbers or words.
    """
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = _header(path, path.stem, stream)
            if dtype.hasobject:
                raise UnsafeFileError(
                    f"{path} holds Python objects (a pickle), which could run code when read; save "
                    "it as an array of numbers or words"
                )
            held = path.stat().st_size - stream.tell()
            declared = math.prod(shape) * dtype.itemsize
            if dtype.names is not None or declared != held:
                raise DataError(
                    f"{path} says shape {shape} and type {dtype}, which is {declared} bytes, but "
                    f"holds {held}; it is damaged, or has named fields"
                )
            data = stream.read()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if not declared:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()


def read_series(path: Path, keys: Keys | None) -> Raw:
    """A .npy of samples; keys={"y": "labels.npy"} names the labels' file beside it."""
    arrays = {"x": read_npy(path)}
    settings = dict(keys or {})
    name = settings.get("y")
    if name is not None:
        beside = path.parent / name
        if not name.endswith(".npy") or not beside.is_file():
            raise DataError(f"{path}: keys asks for the labels in {name!r}, which is no .npy there")
        arrays["y"] = read_npy(beside)
    return Raw(path, arrays, "npy", consumed=frozenset(("y",)))


def read_png(path: Path) -> np.ndarray:
    """A picture (c, h, w), uint8, or int32 where it has 16 bits. Palettes become colours.

    Raises:
        DataError: for a damaged file, an animation, or one that says it is larger than it can be.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(33)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 33 or head[12:16] != b"IHDR":
        raise DataError(f"{path} is no PNG file, or it is damaged")
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    bits = head[24] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(head[25], 1)
    if height * (1 + width * bits // 8) > _DEFLATE * size or width * height > _PIXELS:
        raise DataError(
            f"{path} says it has {width} x {height} pixels, more than its {size} bytes can hold, "
            f"or more than {_PIXELS}"
        )
    with _picture(path, "PNG") as image:
        frames = getattr(image, "n_frames", 1)
        mode = image.mode
        if mode == "P" and "transparency" in image.info:
            array = np.asarray(image.convert("RGBA"))
        elif mode in _MODES:
            array = np.asarray(image.convert(_MODES[mode]))
        else:  # 16 bits
            array = np.asarray(image).astype(np.int32)
    if frames != 1:
        raise DataError(f"{path} is an animation of {frames} pictures; save each by itself")
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def read_jpeg(path: Path) -> np.ndarray:
    """A picture (3, h, w), uint8; grey ones become colours.

    Raises:
        DataError: for a damaged file, or a picture of more than 2**26 pixels.
    """
    with _picture(path, "JPEG") as image:
        array = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(array.transpose(2, 0, 1))


@contextmanager
def _picture(path: Path, kind: str) -> Iterator[Image.Image]:
    """A loaded picture, whatever goes wrong turned into one error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that isn't used
            with Image.open(path, formats=[kind]) as image:
                if image.width * image.height > _PIXELS:
                    raise DataError(f"{path} has {image.width} x {image.height} pixels, too many")
                image.load()
                yield image
    except (MemoryError, DataError):
        raise
    except Exception as error:  # PIL raises whatever its decoders run into
        raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error
