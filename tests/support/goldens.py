"""Stored outputs of the authors' implementations, and how far ours are from them."""

import json
from pathlib import Path
from typing import Any

from ase import Atoms
from safetensors import safe_open
from torch import Tensor


def golden(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Configuration and state dict of the authors' network, and all tensors of the file."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights = {k.removeprefix("weight/"): v for k, v in tensors.items() if k.startswith("weight/")}
    return config, weights, tensors


def structures(tensors: dict[str, Tensor]) -> list[Atoms]:
    """The molecules that were put in."""
    batch = tensors["input/batch"]
    return [
        Atoms(tensors["input/z"][batch == k].tolist(), tensors["input/pos"][batch == k].numpy())
        for k in range(int(batch.max()) + 1)
    ]


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest deviation, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
