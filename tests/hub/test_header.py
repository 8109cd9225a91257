"""Safetensors headers of any length are told from pickles."""

import pytest
import torch

from zoo.errors import UnsafeFileError
from zoo.hub import weights


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_may_have_the_length_that_a_pickle_begins_with(length: int) -> None:
    tensors = {"a": torch.arange(3.0)}
    for size in range(length):
        data = weights.dump(tensors, {"name": "x" * size})
        if int.from_bytes(data[:8], "little") == length:
            break
    assert data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    assert torch.equal(weights.parse(data, where="here")["a"], tensors["a"])
    with pytest.raises(UnsafeFileError, match="is a pickle"):
        weights.parse(data[:4] + b"\x95" + data[5:], where="here")
