"""Weights of other packages in files of torch.save: what is damaged or hostile is refused alike."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.errors import UnsafeFileError
from zoo.hub.weights import read_foreign


def pushed(value: object) -> bytes:
    """The part of a pickle that puts a value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def scalar(kind: object, content: bytes, state: tuple | None = None) -> bytes:
    """A pickled number of NumPy, whose dtype may be given a state."""
    dtype = named("numpy", "dtype") + pushed((kind,)) + b"R"
    if state is not None:
        dtype += pushed(state) + b"b"
    start = b"\x80\x02" + named("numpy.core.multiarray", "scalar") + b"("
    return start + dtype + pushed(content) + b"tR."


def saved(path: Path, body: bytes) -> Path:
    """A file as torch.save writes it, with another pickle inside."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, body if name.endswith("data.pkl") else content)
    return path


def test_numbers_of_numpy_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pt", scalar("f8", np.float64(1.5).tobytes()))
    assert read_foreign(path) == 1.5


STRUCT = (3, "|", None, ("a",), {"a": ("x", 0)}, 8, 1, 0)
BODIES = {
    "a struct by its state": scalar("V8", b"A" * 8, STRUCT),
    "a struct of objects": scalar([("a", "O")], b"A" * 8),
    "an object": scalar("O", b"A" * 8),
    "an unknown kind": scalar("nonsense", b""),
    "too few bytes": scalar("f8", b"A"),
    "a lost reference": b"\x80\x02h\x05.",
    "nothing": b"\x80\x02.",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_all_else_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(UnsafeFileError, match=r"x\.pt can't be read without running code"):
        read_foreign(saved(tmp_path / "x.pt", body))
