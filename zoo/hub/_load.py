"""Loading trained weights by name or path."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from zoo import _catalog, registry
from zoo._files import read_yaml, write_atomic
from zoo.errors import DeviceError, GoldenMismatchError, ManifestError, UnknownModelError, nearest
from zoo.hub import cache, download, golden, weights
from zoo.hub._convert import convert
from zoo.hub._versions import upgrade
from zoo.hub.download import Progress
from zoo.hub.manifest import Authors, File, Manifest, read
from zoo.models._atomistic import AtomisticModel


def load(
    ref: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    check: bool = False,
    allow_untrained_elements: bool = False,
) -> AtomisticModel:
    """A trained model, ready for prediction.

    Its files come from the package, the folder of the manifest, the cache, or the web, in this
    order. Every file's sha256 is checked on every load, and nothing in it is executed.

    Args:
        ref: a checkpoint's name (`zoo.list_models(pretrained=True)`), or a folder written by
            `zoo.save` or its manifest.yaml.
        device: where to put the model.
        dtype: precision of the parameters; that of the stored weights if None. Reference
            energies stay float64 in any case.
        check: re-run the golden inputs and compare.
        allow_untrained_elements: accept elements that the weights have never seen.

    Returns:
        The model in evaluation mode, with `manifest` and `checkpoint_name` set.

    Raises:
        UnknownModelError: for an unknown name.
        IntegrityError: for a file that differs from its manifest.
        UnsafeFileError: for a file that is no safetensors file.
        StateMismatchError: for missing or unexpected parameters.
        SpecError: for weights of a version that this release can't read.
        OfflineError: if a file would have to be fetched while ZOO_OFFLINE is set.
        GoldenMismatchError: with `check`, if the outputs differ or none are stored.
        DeviceError: for a device that is not there or a dtype that is no floating point.
    """
    target = _device(device)
    if dtype is not None and not dtype.is_floating_point:
        raise DeviceError(f"{dtype} is no floating-point precision; use torch.float32 or float64")
    path = find(ref)
    manifest = read_checked(path)
    model = _from_authors(manifest) if manifest.authors else _from_files(manifest, path.parent)
    model = model.to(device=target, dtype=dtype).eval()
    model.manifest = manifest
    model.checkpoint_name = manifest.name
    if manifest.inputs.elements:
        counts = element_counts(manifest)
        model.restrict_elements(counts, allow_untrained=allow_untrained_elements)
    if check:
        check_golden(model, manifest, path.parent)
    return model


def find(ref: str | Path) -> Path:
    """The manifest that a checkpoint's name or path means.

    Raises:
        UnknownModelError: for an unknown name; offers the nearest.
        ManifestError: for a path without a manifest.
    """
    path = _catalog.locate(ref)
    if path is not None:
        return path
    known = _catalog.checkpoints()
    name = os.fspath(ref)
    specs = registry.specs()
    if name in specs or any(name in (*s.aliases, *s.presets) for s in specs.values()):
        raise UnknownModelError(
            f"{name!r} is an architecture without weights: zoo.create({name!r}) builds one with "
            f"fresh weights, trained ones are {_trained(name, known)}"
        )
    raise UnknownModelError(
        f"no trained weights are called {name!r}: {nearest(name, known)} "
        "(all of them: zoo list --pretrained; a path must hold a manifest.yaml)"
    )


def _trained(name: str, known: dict[str, Path]) -> str:
    return ", ".join(key for key in known if key.startswith(name)) or "not published yet"


def read_checked(path: Path) -> Manifest:
    """Reads a manifest; one that ships with the package must bear its file's name.

    Raises:
        ManifestError: names the file and the key.
    """
    manifest = read(path)
    if path.name != _catalog.MANIFEST and path.stem != manifest.name:
        raise ManifestError(f"{path}: the name is {manifest.name!r}; it must be the file's stem")
    return manifest


def obtain(
    manifest: Manifest, file: File, folder: Path, *, progress: Progress | None = None
) -> Path:
    """A local path of one of a manifest's files, fetched if need be; not yet verified.

    Args:
        manifest: the manifest.
        file: one of its files.
        folder: where the manifest lies.
        progress: told of the bytes as they come.
    """
    beside = folder / file.path
    if beside.is_file():
        return beside
    return download.fetch(
        file.sha256,
        download.addresses(file, manifest),
        what=f"{file.path} of {manifest.name}",
        size=file.bytes,
        progress=progress,
    )


def pull(name: str | Path, *, progress: Progress | None = None) -> list[Path]:
    """Makes all files of trained weights available offline.

    Args:
        name: as for `load`.
        progress: called with (bytes so far, bytes in all).

    Returns:
        Their local paths, verified.

    Raises:
        ZooError: as `load` does.
    """
    path = find(name)
    manifest = read_checked(path)
    paths = []
    for file in manifest.files:
        found = obtain(manifest, file, path.parent, progress=progress)
        weights.read_verified(found, file)
        paths.append(found)
    if manifest.authors is not None:
        paths.append(_authors_file(manifest, manifest.authors, progress=progress))
    return paths


def element_counts(manifest: Manifest) -> dict[int, int]:
    """Atoms seen in training, by atomic number.

    Raises:
        ManifestError: for a symbol that is no element.
    """
    counts = {}
    for symbol, count in manifest.inputs.elements.items():
        if symbol not in atomic_numbers or symbol == "X":
            raise ManifestError(f"{manifest.name}: inputs.elements.{symbol} is no element's symbol")
        counts[atomic_numbers[symbol]] = count
    return counts


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
    path = obtain(manifest, file, folder)
    return weights.parse(weights.read_verified(path, file), where=str(path))


def check_golden(model: nn.Module, manifest: Manifest, folder: Path) -> None:
    """Re-runs the golden inputs; the manifest says how far outputs may be off.

    Raises:
        GoldenMismatchError: if they differ more, or none are stored.
    """
    tensors = golden_tensors(manifest, folder)
    if manifest.golden is not None:
        golden.check(model, tensors, manifest.golden, name=manifest.name)


def _device(device: str | torch.device) -> torch.device:
    try:
        target = torch.device(device)
    except RuntimeError as problem:
        raise DeviceError(f"no device is called {device!r}; use 'cpu' or 'cuda'") from problem
    if target.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device='cuda' was asked for, but torch sees no GPU; use device='cpu'")
    return target


def _from_files(manifest: Manifest, folder: Path) -> AtomisticModel:
    spec, _ = registry.resolve(manifest.architecture)
    path = obtain(manifest, manifest.weights, folder)
    state = weights.parse(weights.read_verified(path, manifest.weights), where=str(path))
    config, state = upgrade(spec, manifest, state)
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten at once
        model: Any = registry.get_class(spec)(**config)
    weights.load_strict(model, state, where=manifest.name)
    loaded: AtomisticModel = model
    return loaded


def _from_authors(manifest: Manifest) -> AtomisticModel:
    authors = manifest.authors
    assert authors is not None
    path = _authors_file(manifest, authors)
    return convert(
        manifest.architecture,
        path,
        authors.config,
        source=authors.converter,
        units=authors.units,
    )


def _authors_file(
    manifest: Manifest, authors: Authors, *, progress: Progress | None = None
) -> Path:
    """The authors' own file; one without a published digest is remembered by its first one."""
    what = f"the authors' file of {manifest.name}"
    if authors.sha256 is not None:
        mirrors = [f"{base}/sha256/{authors.sha256}" for base in download.bases()]
        return download.fetch(authors.sha256, [*mirrors, authors.url], what=what, progress=progress)
    ref = cache.root() / "refs" / f"{manifest.name}.yaml"
    note = read_yaml(ref, error=ManifestError) if ref.is_file() else {}
    path = cache.find(str(note.get("sha256"))) if note.get("url") == authors.url else None
    if path is None:
        digest = download.fetch_unverified(authors.url, what=what, progress=progress)
        write_atomic(ref, f"url: {authors.url}\nsha256: {digest}\n")
        path = cache.blob(digest)
    warnings.warn(
        f"{manifest.name}: the digest of {authors.url} is unverified, since none is published; "
        f"this copy has sha256 {path.name}",
        stacklevel=4,
    )
    return path
