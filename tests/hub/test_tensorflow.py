"""TensorFlow's checkpoints, on files that the tests write from the format's description."""

import numpy as np
import pytest
import torch

from tests.support.tensor_bundle import field, write
from zoo.errors import CapabilityError, DataError, UnsafeFileError
from zoo.hub._crc32c import crc32c, masked
from zoo.hub._tensorflow import read_bundle

TENSORS = {
    "emb/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "emb/bias": np.array([1.5, -2.0], dtype=np.float64),
    "layers/0/kernel": np.ones((2, 3, 1), dtype=np.float16),
    "layers/1/kernel": np.zeros((0, 3), dtype=np.float32),
    "step": np.array(7, dtype=np.int64),
    "trained": np.array([True, False]),
    **{f"layers/{k}/bias": np.full(k, k, dtype=np.int32) for k in range(1, 30)},
}


def _claims(numbers):
    """Fields of an entry: a vector of that many int64."""
    return field(2, field(2, field(1, numbers))) + field(5, 8 * numbers)


@pytest.fixture
def prefix(tmp_path):
    write(tmp_path / "ckpt", TENSORS)
    return tmp_path / "ckpt"


def test_checksums_are_castagnolis():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the polynomial's catalogue
    assert crc32c(b"\0" * 32) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C
    assert masked(0) == 0xA282EAD8


@pytest.mark.parametrize("ending", ["", ".index", "folder"])
def test_tensors_are_read_with_type_shape_and_name(prefix, ending):
    path = prefix.parent if ending == "folder" else prefix.with_name(prefix.name + ending)
    found = read_bundle(path)
    assert sorted(found) == sorted(TENSORS)
    for name, array in TENSORS.items():
        expected = torch.from_numpy(array)
        assert found[name].dtype == expected.dtype
        torch.testing.assert_close(found[name], expected, rtol=0, atol=0)


def test_missing_files_are_named(prefix):
    prefix.with_name("ckpt.data-00001-of-00002").unlink()
    with pytest.raises(DataError, match="ckpt.data-00001-of-00002 is missing, of the 2 files"):
        read_bundle(prefix)
    prefix.with_name("ckpt.index").unlink()
    with pytest.raises(DataError, match="ckpt.index is missing"):
        read_bundle(prefix)
    with pytest.raises(DataError, match=r"holds 0 files \*.index"):
        read_bundle(prefix.parent)


def test_damaged_numbers_are_found(prefix):
    shard = prefix.with_name("ckpt.data-00001-of-00002")
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        read_bundle(prefix)
    shard.write_bytes(data[:-9])
    data[3] ^= 1
    shard.write_bytes(data[:-9])
    with pytest.raises(DataError, match="cut short"):
        read_bundle(prefix)


@pytest.mark.parametrize("place", [0, 40, 200, -60])
def test_a_damaged_index_is_refused(prefix, place):
    index = prefix.with_name("ckpt.index")
    data = bytearray(index.read_bytes())
    data[place] ^= 0x55
    index.write_bytes(data)
    with pytest.raises(UnsafeFileError, match="ckpt.index"):
        read_bundle(prefix)


def test_what_is_no_index_is_refused(prefix):
    index = prefix.with_name("ckpt.index")
    for data in (b"", b"PK\x03\x04" + b"\0" * 80, index.read_bytes()[:-1]):
        index.write_bytes(data)
        with pytest.raises(UnsafeFileError, match="no index of a TensorFlow checkpoint"):
            read_bundle(prefix)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": 1}, CapabilityError, r"compressed \(snappy\), which isn't read here; save"),
        ({"kind": 4}, CapabilityError, r"compressed \(kind 4\)"),
        ({"endianness": 1}, CapabilityError, "big-endian"),
        ({"change": {"step": field(3, 9)}}, UnsafeFileError, "lies in shard 9 of 2"),
        ({"change": {"step": field(5, 1 << 40)}}, UnsafeFileError, "has shape"),
        ({"change": {"step": field(2, field(2, field(1, 1 << 50)))}}, UnsafeFileError, "has shape"),
        # shape and size agree, but the file is not so large: no memory is taken for it
        ({"change": {"step": _claims(1 << 45)}}, DataError, "cut short"),
        ({"change": {"step": field(4, 1 << 63)}}, DataError, "cut short"),
        ({"change": {"step": field(4, 0) + _claims(40)}}, UnsafeFileError, "they overlap"),
        (
            {"tensors": {"x" * 5000: np.zeros(1)}},
            UnsafeFileError,
            "a name has more than 4096 bytes",
        ),
        ({"change": {"step": field(7, b"")}}, CapabilityError, "in slices"),
        ({"change": {"step": b"\x3a\xff\x7f"}}, UnsafeFileError, "longer than its message"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, options, error, words):
    write(tmp_path / "ckpt", **{"tensors": TENSORS, **options})
    with pytest.raises(error, match=words):
        read_bundle(tmp_path / "ckpt")
