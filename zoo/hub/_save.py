"""Saving a model with everything needed to load, judge and cite it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

import zoo
from zoo import _card, _catalog, registry
from zoo._files import write_atomic
from zoo.errors import ConfigError, ManifestError, StateMismatchError
from zoo.hub import _compression, golden, weights
from zoo.hub._adapter import Adapted, pack
from zoo.hub._domains import inputs_of, outputs_of
from zoo.hub._trust import dump_trust, trust_entry
from zoo.hub._versions import conventions, current
from zoo.hub.manifest import Manifest, build, read
from zoo.layers import adapters
from zoo.models._ensemble import Ensemble
from zoo.models._sample import SampleModel
from zoo.models._trust import Trust
from zoo.registry import Spec

#: files that `save` writes, under the names they have on the way as well
_STORED = re.compile(
    r"(model|golden|trust)(-[0-9a-f]{12})?\.safetensors"
    r"|\.((model|golden|trust)(-[0-9a-f]{12})?\.safetensors|manifest\.yaml|card\.md)\.[0-9a-f]{32}\.tmp"
)
#: fields that follow from the model and its files
OURS = (
    "adapter",
    "architecture",
    "config",
    "files",
    "golden",
    "schema_version",
    "source",
    "spec_version",
    "trust",
    "classes",
    "compression",
)


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    name: str,
    golden_inputs: Sequence[Any] | None = None,
    trust: Trust | None = None,
    adapted: Adapted | None = None,
    **fields: Any,
) -> Path:
    """Writes a model's weights, manifest and card into a folder that `load` takes.

    The manifest is written last and in one step, under which name it points to files that are
    complete by then: after a kill at any moment the folder holds the previous model or this one.

    Args:
        model: of a registered architecture.
        folder: made if missing; a model saved there before is replaced.
        name: `<architecture>-<size>.<dataset>.r<k>`; see `derive_name`.
        golden_inputs: a few structures, or samples of the model's domain as it takes them (PyG's
            `Data`, mappings of arrays); their outputs are stored, for `load(check=True)`.
        trust: the training domain, from `zoo.apps.trust.fit`, for `predict(..., trust=True)`.
        adapted: adapters that are merged into the model: they are stored instead of its weights,
            to be put on the weights they were trained on.
        **fields: more fields of the manifest, as plain values (see `zoo.hub.Manifest`):
            `inputs`, `outputs`, `task`, `training`, `metrics`, `limits`, `license`, `citation`,
            `derived_from`, `certificate`, `urls`. Inputs, outputs and names of classes are
            completed from the model; the licence is that of the weights it came from, unless given.

    Returns:
        The folder.

    Raises:
        ConfigError: if the model's class is not the registered one, or it carries adapters that
            are not merged, whose weights nothing could load.
        ManifestError: for a name or field that does not follow the schema.
        StateMismatchError: if a weight is not finite.
        GoldenMismatchError: if a golden output is not finite.
        OutputError: if the folder can't be written.
    """
    folder = Path(folder)
    spec = _spec_of(model)
    for key in fields:
        if key in OURS:
            raise ConfigError(f"save() finds out {key!r} by itself; leave it out")
    _require_merged(model)
    _require_finite(model)
    taken = _taken(folder)
    state: Mapping[str, torch.Tensor] = model.state_dict()
    if adapted is not None:
        state, fields["adapter"] = pack(model, adapted)
    blobs = {"weights": weights.dump(state, {"name": name})}
    if golden_inputs:
        blobs["golden"] = weights.dump(golden.record(model, golden_inputs), {"name": name})
    if trust is not None:
        digest = _sha256(blobs["weights"])
        blobs["trust"] = dump_trust(trust, weights_sha256=digest, name=name)
    stems = {"weights": "model", "golden": "golden", "trust": "trust"}
    contents = {_free_name(stems[role], data, taken): data for role, data in blobs.items()}
    files: list[dict[str, Any]] = [
        {"path": path, "sha256": _sha256(data), "bytes": len(data), "role": role}
        for role, (path, data) in zip(blobs, contents.items(), strict=True)
    ]
    if trust is not None:
        fields["trust"] = trust_entry(trust, files[-1]["path"])
    manifest = build(_fields(model, spec, name, files, fields), where=f"the manifest of {name!r}")
    for path, data in contents.items():
        write_atomic(folder / path, data)
    write_atomic(folder / _catalog.MANIFEST, manifest.to_yaml())
    write_atomic(
        folder / _catalog.CARD, _card.checkpoint(manifest.to_dict(), place=folder.as_posix())
    )
    _sweep(folder, keep=set(contents))
    return folder


def _sweep(folder: Path, *, keep: set[str]) -> None:
    """Removes weights of earlier saves, and what killed ones left."""
    for path in folder.iterdir():
        if _STORED.fullmatch(path.name) and path.name not in keep:
            path.unlink(missing_ok=True)


def _spec_of(model: nn.Module) -> Spec:
    model = model.first if isinstance(model, Ensemble) else model
    name = getattr(model, "architecture", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"{type(model).__name__} is not registered; decorate the class with @zoo.register(...)"
        )
    spec, _ = registry.resolve(name)
    if registry.get_class(spec) is not type(model):
        raise ConfigError(
            f"{type(model).__name__} inherits the name {name!r} but is another class; loading "
            "would build the wrong one. Register it under a name of its own"
        )
    return spec


def _require_merged(model: nn.Module) -> None:
    names = [name for name, *_ in adapters.adapters(model)]
    if names:
        raise ConfigError(
            f"the model carries adapters on {len(names)} weights ({', '.join(names[:3])}, ...): "
            "merge them with zoo.layers.adapters.merge(model) and save then"
        )


def _require_finite(model: nn.Module) -> None:
    bad = [
        name
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise StateMismatchError(
            f"{len(bad)} tensors hold NaN or infinity and were not saved: {', '.join(bad[:10])}; "
            "training diverged: use an earlier checkpoint or a smaller learning rate"
        )


def _taken(folder: Path) -> set[str]:
    """The files that an earlier manifest in the folder points to."""
    path = folder / _catalog.MANIFEST
    if not path.is_file():
        return set()
    try:
        return {item.path for item in read(path).files}
    except ManifestError:  # not ours, or damaged: it is about to be replaced
        return set()


def _free_name(stem: str, data: bytes, taken: set[str]) -> str:
    """A file name that replaces nothing the earlier manifest points to."""
    plain = f"{stem}.safetensors"
    return plain if plain not in taken else f"{stem}-{_sha256(data)[:12]}.safetensors"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fields(
    model: nn.Module,
    spec: Spec,
    name: str,
    files: list[dict[str, Any]],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    parent = getattr(model, "manifest", None)
    inherited = parent.license.model_dump() if isinstance(parent, Manifest) else None
    values: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "architecture": spec.name,
        "spec_version": current(spec),
        "config": _config(model),
        "conventions": conventions(spec),
        "files": files,
        "license": inherited or {"weights": "not stated"},
    }
    if len(files) > 1 and files[1]["role"] == "golden":
        bounds = spec.bounds(exact=bool(getattr(model, "exact", True))).get("golden")
        values["golden"] = {"file": files[1]["path"]} | ({"rtol": bounds} if bounds else {})
    values |= {key: plain(value) for key, value in given.items()}
    if isinstance(model, Ensemble):
        values["ensemble"] = (values.get("ensemble") or {}) | {"members": len(model.members)}
    values["inputs"] = inputs_of(model, spec) | (values.get("inputs") or {})
    values["outputs"] = outputs_of(model, spec, values.get("outputs") or {})
    values["compression"] = _compression.entries(model)
    if isinstance(model, SampleModel) and model.classes:
        values["classes"] = list(model.classes)
    if values.get("training") is not None:
        made_with = {"version": zoo.__version__, "torch": torch.__version__}
        values["training"] = made_with | values["training"]
    return values


def _config(model: nn.Module) -> dict[str, Any]:
    config = dict(getattr(model, "hparams", {}))
    for key, value in config.items():
        try:
            yaml.safe_dump(value)
        except yaml.YAMLError:
            raise ConfigError(
                f"the argument {key!r} is a {type(value).__name__}, which a manifest can't hold; "
                "hyper-parameters must be numbers, words, and lists or mappings of them"
            ) from None
    return config


def plain(value: Any) -> Any:
    """Plain values: numpy and torch scalars, tuples, paths and models of the schema dissolved."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
