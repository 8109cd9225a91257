"""Adapter files: what fine-tuning changed, stored alone, and put on the weights it came from.

The weights file of such a checkpoint holds the factors of each adapter and, whole, every tensor
that is neither adapted nor the same as before: fresh heads, references, running statistics. The
manifest names the base with the digest of its weights; on any other base nothing is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo import _catalog, registry
from zoo.errors import CapabilityError, SpecError, StateMismatchError
from zoo.hub import weights
from zoo.hub._entries import AdapterEntry
from zoo.hub._obtain import contents, find_base, read_checked
from zoo.hub._versions import current, upgrade
from zoo.hub.manifest import Manifest
from zoo.layers import adapters
from zoo.layers.adapters import AdapterConfig

_FACTOR, _WHOLE = "adapter/", "whole/"
#: an adapter of an adapter of ... ends somewhere
_DEPTH = 8


@dataclass(frozen=True)
class Adapted:
    """What was trained on top of some weights.

    Attributes:
        config: kind, rank, scale.
        tensors: of each adapter, by the name of its parameter; see `zoo.layers.adapters.state`.
        base: the manifest of the weights.
    """

    config: AdapterConfig
    tensors: Mapping[str, Mapping[str, Tensor]]
    base: Path


def pack(model: nn.Module, adapted: Adapted) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an adapter file, and the manifest's entry.

    Args:
        model: with the adapters merged.
        adapted: the adapters, and what they were trained on.
    """
    manifest = read_checked(adapted.base)
    before = full_state(manifest, adapted.base.parent)
    tensors = {
        f"{_FACTOR}{name}/{key}": tensor
        for name, parts in adapted.tensors.items()
        for key, tensor in parts.items()
    }
    numbers = sum(tensor.numel() for tensor in tensors.values())
    whole = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in adapted.tensors and not _same(tensor, before.get(name))
    }
    config = adapted.config
    shipped = adapted.base.name != _catalog.MANIFEST
    entry = {
        "base": {"name": manifest.name, "sha256": manifest.weights.sha256},
        "place": None if shipped else str(adapted.base.parent.resolve()),
        "kind": config.kind,
        "rank": config.rank,
        "scale": float(config.scale),
        "dropout": float(config.dropout),
        "targets": list(config.targets),
        "adapted": len(adapted.tensors),
        "parameters": numbers,
        "whole": sorted(whole),
        "dropped": sorted(set(before) - set(model.state_dict())),
    }
    kept = {key: value for key, value in entry.items() if value is not None}
    return tensors | {f"{_WHOLE}{name}": tensor for name, tensor in whole.items()}, kept


def _same(now: Tensor, before: Tensor | None) -> bool:
    return before is not None and now.dtype == before.dtype and torch.equal(now.cpu(), before)


def full_state(manifest: Manifest, folder: Path, *, depth: int = 0) -> dict[str, Tensor]:
    """All tensors of a checkpoint in the current spec version, adapters merged.

    Raises:
        ZooError: as `load` does.
    """
    if manifest.authors is not None or manifest.ensemble is not None:
        raise CapabilityError(
            f"{manifest.name} is {'an ensemble' if manifest.ensemble else 'an authors own file'}, "
            "which adapters can't be stored for; save one model of it with zoo.save first"
        )
    state = _parse(manifest, folder)
    if manifest.adapter is None:
        spec, _ = registry.resolve(manifest.architecture)
        return upgrade(spec, manifest, state)[1]
    base, factors = _base_and_factors(manifest, state, None, depth)
    for name, adapter in _made(manifest, factors, base).items():
        with torch.no_grad():
            base[name] = adapter(base[name])
    return base


def build(
    manifest: Manifest, folder: Path, *, base: str | Path | None, merge: bool
) -> tuple[dict[str, Tensor], Mapping[str, Mapping[str, Tensor]]]:
    """The tensors to build a model with, and the adapters that are still to be put on it.

    Args:
        manifest: of the adapter.
        folder: where it lies.
        base: name or path of the weights, if they are not found by their name.
        merge: add the adapters to the weights; none are left then.

    Raises:
        IntegrityError: the weights at hand are others than the adapter was trained on.
        UnknownModelError: there are none of that name.
        StateMismatchError: tensors that don't fit.
        SpecError: an adapter of another version of the architecture.
    """
    state, factors = _base_and_factors(manifest, _parse(manifest, folder), base, 0)
    made = _made(manifest, factors, state)
    if not merge:
        return state, factors
    with torch.no_grad():
        for name, adapter in made.items():
            state[name] = adapter(state[name])
    return state, {}


def config_of(entry: AdapterEntry) -> AdapterConfig:
    """The configuration that a manifest describes."""
    return AdapterConfig(entry.kind, entry.rank, entry.scale, entry.dropout, tuple(entry.targets))


def _parse(manifest: Manifest, folder: Path) -> dict[str, Tensor]:
    file = manifest.weights
    where = f"{file.path} of {manifest.name}"
    return weights.parse(contents(manifest, file, folder), where=where)


def _base_and_factors(
    manifest: Manifest, stored: Mapping[str, Tensor], given: str | Path | None, depth: int
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The base's tensors with those replaced that are stored whole, and the adapters' factors."""
    assert manifest.adapter is not None
    spec, _ = registry.resolve(manifest.architecture)
    if manifest.spec_version != current(spec) or depth > _DEPTH:
        raise SpecError(
            f"{manifest.name} is an adapter for version {manifest.spec_version} of {spec.name}, "
            f"this release has version {current(spec)}; merge it with the release that made it, "
            "or fine-tune again"
        )
    path, parent = find_base(manifest.name, manifest.adapter, given)
    state = full_state(parent, path.parent, depth=depth + 1)
    factors: dict[str, dict[str, Tensor]] = {}
    for key, tensor in stored.items():
        kind, _, name = key.partition("/")
        if kind + "/" == _WHOLE:
            state[name] = tensor
        else:
            parameter, _, part = name.rpartition("/")
            factors.setdefault(parameter, {})[part] = tensor
    for name in manifest.adapter.dropped:
        state.pop(name, None)
    return state, factors


def _made(
    manifest: Manifest,
    factors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Tensor],
) -> dict[str, adapters.Adapter]:
    """The adapters, ready to be applied to the base's tensors."""
    assert manifest.adapter is not None
    config, made = config_of(manifest.adapter), {}
    for name, parts in factors.items():
        if name not in state:
            raise StateMismatchError(f"{manifest.name}: the weights have no {name!r} to adapt")
        made[name] = adapters.from_tensors(state[name].shape, config, parts, name).eval()
    return made
