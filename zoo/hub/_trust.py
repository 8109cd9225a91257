"""The training domain beside the weights: its file, bound to the weights it was fitted to."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import IntegrityError, ManifestError, OutputError
from zoo.hub import weights
from zoo.hub._obtain import contents
from zoo.hub.manifest import Manifest
from zoo.models._trust import Trust

SIZE_LIMIT = 1_000_000
_WEIGHTS = "weights_sha256"


def dump_trust(trust: Trust, *, weights_sha256: str, name: str) -> bytes:
    """The bytes of a trust file.

    Raises:
        OutputError: if they are more than a megabyte.
    """
    digest = torch.tensor(list(bytes.fromhex(weights_sha256)), dtype=torch.uint8)
    data = weights.dump({**trust.state, _WEIGHTS: digest}, {"name": name})
    if len(data) > SIZE_LIMIT:
        raise OutputError(
            f"{name}: the trust data take {len(data)} bytes, more than {SIZE_LIMIT}; the model has "
            f"{trust.features} features per atom and {len(trust.elements)} elements"
        )
    return data


def trust_entry(trust: Trust, file: str, data: str | None = None) -> dict[str, Any]:
    """The manifest's account of a trust file."""
    return {
        "file": file,
        **({} if data is None else {"data": data}),
        "frames": trust.frames,
        "calibration_frames": trust.calibration,
        "quantile": trust.quantile,
    }


def load_trust(manifest: Manifest, folder: Path) -> Trust | None:
    """The training domain of a manifest's weights; None if none is stored.

    Raises:
        IntegrityError: if the file differs from the manifest, or belongs to other weights.
        UnsafeFileError: if it is no safetensors file.
        StateMismatchError: if its tensors do not fit together.
    """
    file = manifest.trust_file
    if file is None:
        return None
    if file.bytes > SIZE_LIMIT:
        raise ManifestError(f"{manifest.name}: {file.path} is larger than {SIZE_LIMIT} bytes")
    where = f"{file.path} of {manifest.name}"
    tensors = dict(weights.parse(contents(manifest, file, folder), where=where))
    fitted = tensors.pop(_WEIGHTS, None)
    if fitted is None or _hex(fitted) != manifest.weights.sha256:
        raise IntegrityError(
            f"{where} was fitted to other weights; fit it again with: zoo trust fit"
        )
    return Trust(tensors)


def _hex(digest: Tensor) -> str:
    return bytes(digest.to(torch.uint8).flatten().tolist()).hex()
