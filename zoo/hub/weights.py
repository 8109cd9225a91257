"""Tensors in files: safetensors only, read from bytes whose digest was checked.

Pickles (what torch.save writes) can run code when they are read. Published weights are never
read from one; weights of other packages are, on conversion, by torch's restricted reader, which
builds tensors and plain containers and refuses everything else.
"""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo.errors import StateMismatchError, UnsafeFileError
from zoo.hub.integrity import PICKLES
from zoo.hub.integrity import read_verified as read_verified

HEADER_LIMIT = 100_000_000
_MAGIC = {
    b"PK\x03\x04": "a zip archive, as torch.save writes (it holds a pickle)",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy file",
}


def parse(data: bytes, *, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        data: its bytes.
        where: its name, for messages.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        UnsafeFileError: for a pickle or another format, or a malformed or oversized header.
    """
    words = _foreign(data)
    if words is not None:
        raise UnsafeFileError(f"{where} is {words}, not a safetensors file; it was not read")
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER_LIMIT, len(data) - 8):
        raise UnsafeFileError(
            f"{where} is no safetensors file: its header claims {length} bytes of {len(data)} "
            f"(at most {HEADER_LIMIT} are allowed)"
        )
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as problem:
        raise UnsafeFileError(f"{where} is no valid safetensors file: {problem}") from problem


def _foreign(head: bytes) -> str | None:
    """What other format the first bytes are of; None for safetensors and for what is unknown.

    A safetensors header of 640 bytes begins as a pickle does; its JSON begins at byte 8.
    """
    if head[4:9] == b"\0\0\0\0{":
        return None
    return next((words for magic, words in _MAGIC.items() if head.startswith(magic)), None)


def dump(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file; each tensor is copied to the CPU as it is."""
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    return safetensors.torch.save(plain, dict(metadata or {}))


def load_strict(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Copies weights into a model, in the precision in which they are stored.

    Buffers that the model keeps in float64 stay so; everything else takes the precision of the
    stored parameters.

    Args:
        model: of the architecture and configuration that the weights belong to.
        state: tensors by name.
        where: the weights' name, for messages.

    Raises:
        StateMismatchError: for missing, unexpected or differently shaped tensors.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {words}: {', '.join(names[:10])}" + (", ..." if len(names) > 10 else "")
        for names, words in (
            (missing, "missing"),
            (extra, "unexpected"),
            (shapes, "of another shape"),
        )
        if names
    ]
    if problems:
        raise StateMismatchError(
            f"{where}: the weights do not fit {type(model).__name__} as configured "
            f"({'; '.join(problems)}). They belong to another configuration or release"
        )
    stored = {
        state[name].dtype for name, p in model.named_parameters() if p.dtype.is_floating_point
    }
    if stored:
        model.to(max(stored, key=lambda dtype: torch.finfo(dtype).bits))
    model.load_state_dict(dict(state))


def read_foreign(path: Path) -> Any:
    """What another package's file holds: safetensors, or what torch.save wrote.

    The latter is read by torch's restricted unpickler, which executes nothing: it makes tensors,
    plain containers and numpy's numbers, as training checkpoints keep them among their metrics.

    Raises:
        UnsafeFileError: if it holds more, or is cut short.
    """
    with path.open("rb") as stream:
        head = stream.read(9)
    if _foreign(head) is None and path.suffix not in PICKLES:
        return parse(path.read_bytes(), where=str(path))
    try:
        with torch.serialization.safe_globals(_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except Exception as problem:  # a damaged pickle fails in any way
        words = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UnsafeFileError(
            f"{path} can't be read without running code in it: {words}. "
            "In the package that wrote it, save the state dict as .safetensors and give that"
        ) from problem


def _numbers() -> list[Any]:
    """What rebuilds numpy's scalars, under the names of numpy 1 and 2, and defaultdict's."""
    rebuild = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    old = (rebuild, "numpy.core.multiarray.scalar")
    return [rebuild, old, np.dtype, *kinds, collections.defaultdict, dict, (dict, "dict")]


def state_dict(value: Any, *, where: str) -> dict[str, Tensor]:
    """The state dict in what a file holds: itself, or under `state_dict` or `model`.

    Raises:
        StateMismatchError: if there is none.
    """
    for key in ("state_dict", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not all(isinstance(v, Tensor) for v in value.values()):
        raise StateMismatchError(f"{where} holds no state dict (names mapped to tensors)")
    return {str(name): tensor for name, tensor in value.items()}
