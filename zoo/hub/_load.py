"""Loading trained weights by name or path."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from zoo import registry
from zoo.errors import CapabilityError, DeviceError, GoldenMismatchError
from zoo.hub import _adapter, _compression, golden, weights
from zoo.hub._convert import convert
from zoo.hub._domains import restore
from zoo.hub._ensemble import split_members
from zoo.hub._entries import AdapterEntry
from zoo.hub._obtain import authors_files, contents, find, read_checked
from zoo.hub._trust import load_trust
from zoo.hub._versions import upgrade
from zoo.hub.manifest import Manifest
from zoo.layers import adapters
from zoo.models._atomistic import AtomisticModel
from zoo.models._ensemble import Ensemble
from zoo.registry import Spec


@overload
def load(
    ref: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    heads: Sequence[str] | None = None,
    check: bool = False,
    allow_untrained_elements: bool = False,
    merge: bool = True,
    base: str | Path | None = None,
    domain: Literal["atoms"],
) -> AtomisticModel: ...


@overload
def load(
    ref: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    heads: Sequence[str] | None = None,
    check: bool = False,
    allow_untrained_elements: bool = False,
    merge: bool = True,
    base: str | Path | None = None,
    domain: str | None = None,
) -> Any: ...


def load(
    ref: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    heads: Sequence[str] | None = None,
    check: bool = False,
    allow_untrained_elements: bool = False,
    merge: bool = True,
    base: str | Path | None = None,
    domain: str | None = None,
) -> Any:
    """A trained model of any domain, ready for prediction.

    Its files come from the package, the folder of the manifest, the caches, or the web, in this
    order. Every file's sha256 is checked on every load, and nothing in it is executed.

    Args:
        ref: a checkpoint's name (`zoo.list_models(pretrained=True)`), a folder written by
            `zoo.save` or its manifest.yaml, or a file written by `zoo bundle` (x.zoo).
        device: where to put the model.
        dtype: precision of the parameters; that of the stored weights if None. Reference
            energies stay float64 in any case.
        heads: the heads to keep, by name, the default energy head first; `new:<name>` adds an
            energy head that starts as a copy of the stored default. All of them if None.
            Outside atoms there is one head: `new:3` or `new:left,right` replaces it by a fresh one
            with so many outputs, or for these classes.
        check: re-run the golden inputs and compare.
        allow_untrained_elements: accept elements that the weights have never seen.
        merge: add adapters to the weights they belong to; False keeps them apart, as
            `zoo.layers.adapters` puts them on. Means nothing for other weights.
        base: where the weights are that adapters belong to, if not under their own name.
        domain: refuse weights of any other domain.

    Returns:
        The model in evaluation mode (on atoms an `AtomisticModel`, else a `SampleModel`), with
        `manifest`, `checkpoint_name` and, where it is stored, the training domain `trust` set.

    Raises:
        UnknownModelError: for an unknown name.
        IntegrityError: for a file that differs from its manifest, and for adapters whose base is
            other weights than they were trained on.
        UnsafeFileError: for a file that is no safetensors file.
        StateMismatchError: for missing or unexpected parameters.
        UnknownHeadError: for a head that the weights do not have.
        SpecError: for weights of a version that this release can't read.
        OfflineError: if a file would have to be fetched while ZOO_OFFLINE is set.
        GoldenMismatchError: with `check`, if the outputs differ or none are stored.
        DeviceError: for a device that is not there or a dtype that is no floating point.
        CapabilityError: for weights of another domain than `domain`.
    """
    target = find_device(device)
    if dtype is not None and not dtype.is_floating_point:
        raise DeviceError(f"{dtype} is no floating-point precision; use torch.float32 or float64")
    path = find(ref)
    manifest = read_checked(path)
    if domain not in (None, manifest.inputs.domain):
        raise CapabilityError(
            f"{manifest.name} works on the domain {manifest.inputs.domain!r}; this needs weights "
            f"of the domain {domain!r} (zoo list --pretrained --domain {domain})"
        )
    model: Any
    if manifest.authors is not None:
        model = _from_authors(manifest)
    elif manifest.adapter is not None:
        model = _adapted(manifest, manifest.adapter, path.parent, base, merge)
    else:
        model = _from_files(manifest, path.parent)
    model = model.to(device=target, dtype=dtype).eval()
    model.manifest = manifest
    model.checkpoint_name = manifest.name
    model.trust = load_trust(manifest, path.parent)
    restore(model, manifest, allow_untrained=allow_untrained_elements)
    if check:
        check_golden(model, manifest, path.parent)
    if heads is not None:
        model.keep_heads([heads] if isinstance(heads, str) else heads)
    return model


def golden_tensors(manifest: Manifest, folder: Path) -> dict[str, Tensor]:
    """The golden inputs and outputs of a manifest.

    Raises:
        GoldenMismatchError: if none are stored.
    """
    file = manifest.golden_file
    if file is None:
        raise GoldenMismatchError(
            f"{manifest.name} stores no golden outputs, so it can't be checked; "
            "load it without check=True, or save it with golden_inputs"
        )
    return weights.parse(contents(manifest, file, folder), where=f"{file.path} of {manifest.name}")


def check_golden(model: nn.Module, manifest: Manifest, folder: Path) -> None:
    """Re-runs the golden inputs; the manifest says how far outputs may be off.

    Raises:
        GoldenMismatchError: if they differ more, or none are stored.
    """
    tensors = golden_tensors(manifest, folder)
    if manifest.golden is not None:
        golden.check(model, tensors, manifest.golden, name=manifest.name)


def find_device(device: str | torch.device) -> torch.device:
    """The device of this name.

    Raises:
        DeviceError: if there is none, or not on this machine.
    """
    try:
        target = torch.device(device)
    except RuntimeError as problem:
        raise DeviceError(f"no device is called {device!r}; use 'cpu' or 'cuda'") from problem
    if target.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device='cuda' was asked for, but torch sees no GPU; use device='cpu'")
    return target


def _from_files(manifest: Manifest, folder: Path) -> nn.Module:
    spec, _ = registry.resolve(manifest.architecture)
    file = manifest.weights
    where = f"{file.path} of {manifest.name}"
    state = weights.parse(contents(manifest, file, folder), where=where)
    if manifest.ensemble is None:
        return _built(spec, manifest, state)
    states = split_members(state, manifest.ensemble.members, where=manifest.name)
    members: Any = [_built(spec, manifest, each) for each in states]
    return Ensemble(members)


def _adapted(
    manifest: Manifest, entry: AdapterEntry, folder: Path, base: str | Path | None, merge: bool
) -> nn.Module:
    """The base's weights with the adapters in them, or on them."""
    spec, _ = registry.resolve(manifest.architecture)
    state, factors = _adapter.build(manifest, folder, base=base, merge=merge)
    model = _built(spec, manifest, state)
    adapters.restore(model, _adapter.config_of(entry), factors)
    return model


def _built(spec: Spec, manifest: Manifest, state: Mapping[str, Tensor]) -> nn.Module:
    """One model with the given weights."""
    config, state = upgrade(spec, manifest, state)
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten at once
        model: Any = registry.get_class(spec)(**config)
    _compression.install(model, manifest.compression)
    weights.load_strict(model, state, where=manifest.name)
    loaded: nn.Module = model
    return loaded


def _from_authors(manifest: Manifest) -> nn.Module:
    authors = manifest.authors
    assert authors is not None
    paths = authors_files(manifest, authors)
    build = functools.partial(convert, manifest.architecture, source=authors.converter)
    options: dict[str, Any] = {"config": authors.config, "units": authors.units}
    model: nn.Module
    if len(paths) == 1:
        model = build(paths[0], **options)
        return model
    # the parts of one checkpoint find each other by their names
    with tempfile.TemporaryDirectory() as folder:
        for part, path in zip(authors.items, paths, strict=True):
            (Path(folder) / part.name).symlink_to(path.resolve())
        model = build(Path(folder) / authors.name, **options)
    return model
