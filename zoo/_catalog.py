"""What there is: checkpoints beside the specs, filtered lists, details and cards.

Manifests are read as plain YAML here, so that listing costs no import; `zoo.hub` validates them.
"""

import contextlib
import fnmatch
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import _card, _spec, share
from zoo._environment import cache_folder, shared_caches
from zoo._files import read_yaml
from zoo._spec import Spec
from zoo.errors import ConfigError, ManifestError, UnknownModelError, nearest

MANIFEST = "manifest.yaml"
CARD = "card.md"
#: what lists say of a checkpoint; the rest of a manifest, mostly its certificate, is not read
LISTED = frozenset(
    {
        "name",
        "architecture",
        "inputs",
        "outputs",
        "classes",
        "license",
        "training",
        "source",
        "files",
        "metrics",
    }
)
_cache: dict[tuple[Path, bool], tuple[int, dict[str, Any]]] = {}


def checkpoints() -> dict[str, Path]:
    """The manifests that ship with the package, by the name of the weights."""
    paths = sorted(share.folder("checkpoints").glob("*.yaml"))
    return {path.stem: path for path in paths if not path.name.startswith("_")}


def imported() -> dict[str, Path]:
    """The manifests that came in bundles (`zoo pull x.zoo`), by the name of the weights."""
    found: dict[str, Path] = {}
    for folder in (*shared_caches(), cache_folder()):
        for note in sorted((folder / "names").glob("[a-z]*.r*")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                digest = note.read_text(encoding="utf-8").strip()
                path = folder / "manifests" / digest / MANIFEST
                if re.fullmatch("[0-9a-f]{64}", digest) and path.is_file():
                    found.setdefault(note.name, path)
    return found


def manifest(path: Path, *, brief: bool = False) -> dict[str, Any]:
    """A manifest as a plain mapping, read again only when the file changes.

    Args:
        path: its file.
        brief: whether the keys `LISTED` are enough.

    Raises:
        ManifestError: if it can't be read.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as problem:
        raise ManifestError(f"there is no manifest {path}") from problem
    key = (path, brief)
    if key not in _cache or _cache[key][0] != stamp:
        only = LISTED if brief else None
        _cache[key] = (stamp, read_yaml(path, error=ManifestError, only=only))
    return _cache[key][1]


def locate(ref: str | Path) -> Path | None:
    """The manifest that a checkpoint's name or path means; None if there is none.

    A name that ships with the package, or came in a bundle, wins over a folder of the same name;
    anything that holds a path separator or ends in .yaml is a path.

    Raises:
        ManifestError: if `ref` is a path without a manifest.
    """
    text = os.fspath(ref)
    if isinstance(ref, str) and text in (known := checkpoints()):
        return known[text]
    if isinstance(ref, str) and text in (known := imported()):
        return known[text]
    path = Path(text).expanduser()
    looks_like_path = isinstance(ref, Path) or any(s in text for s in "/\\")
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ManifestError(f"there is no manifest {path}")
        return path
    if (path / MANIFEST).is_file():
        return path / MANIFEST
    if looks_like_path or path.is_dir():
        raise ManifestError(
            f"{path} holds no {MANIFEST}, so it is no saved model (or saving was cut short); "
            "give a folder written by zoo.save or zoo finetune"
        )
    return None


def listing(
    specs: Mapping[str, Spec],
    *,
    pattern: str | list[str],
    domain: str | None,
    symmetry: str | None,
    elements: str | list[str] | list[int] | None,
    license: str | None,
    pretrained: bool,
) -> list[str]:
    """See `zoo.registry.list_models`."""
    chosen = [
        spec
        for spec in specs.values()
        if _has_domain(spec, domain) and (symmetry is None or _has_group(spec, symmetry, specs))
    ]
    symbols = _symbols(elements)
    if pretrained:
        found = list(_matching(chosen, symbols, license))
    else:
        found = [name for spec in chosen for name in (spec.name, *spec.presets)]
        if elements is not None or license is not None:
            weights = _matching(chosen, symbols, license)
            found = [name for name in found if _is_trained(name, weights)]
    patterns = [pattern] if isinstance(pattern, str) else pattern
    return sorted(
        name
        for name in set(found)
        if any(fnmatch.fnmatchcase(name.lower(), item.lower()) for item in patterns)
    )


def _has_domain(spec: Spec, domain: str | None) -> bool:
    if domain is not None and domain not in _spec.DOMAINS:
        raise ConfigError(f"unknown domain {domain!r}: {nearest(domain, _spec.DOMAINS)}")
    return domain is None or domain in spec.domains


def _has_group(spec: Spec, symmetry: str, specs: Mapping[str, Spec]) -> bool:
    known = {_bare(group): group for item in specs.values() for group in item.groups}
    if _bare(symmetry) not in known:
        raise ConfigError(f"no model has the symmetry {symmetry!r}: {_listed(known.values())}")
    return _bare(symmetry) in {_bare(group) for group in spec.groups}


def _bare(group: str) -> str:
    return re.sub(r"[^a-z0-9]", "", group.lower())


def _listed(values: Any) -> str:
    return "known: " + ", ".join(sorted(values))


def _matching(
    chosen: list[Spec], symbols: set[str], license: str | None
) -> dict[str, dict[str, Any]]:
    """The checkpoints of some architectures that know all elements and have the licence."""
    architectures = {spec.name for spec in chosen}
    found = {}
    for name, path in checkpoints().items():
        entry = manifest(path, brief=True)
        trained = set((entry.get("inputs") or {}).get("elements") or {})
        terms = str((entry.get("license") or {}).get("weights", ""))
        if (
            entry.get("architecture") in architectures
            and symbols <= trained
            and (license is None or terms.lower() == license.lower())
        ):
            found[name] = entry
    return found


def _is_trained(name: str, weights: Mapping[str, dict[str, Any]]) -> bool:
    return any(
        entry.get("architecture") == name or key.partition(".")[0] == name
        for key, entry in weights.items()
    )


def _symbols(elements: str | list[str] | list[int] | None) -> set[str]:
    """Chemical symbols from a list, a comma-separated word ("H,C,O"), or atomic numbers."""
    if elements is None:
        return set()
    from ase.data import chemical_symbols  # costs 0.1 s, and most listings don't ask

    items = re.split(r"[,\s]+", elements.strip()) if isinstance(elements, str) else elements
    found = set()
    for item in items:
        if isinstance(item, int) and 0 < item < len(chemical_symbols):
            found.add(chemical_symbols[item])
        elif isinstance(item, str) and item in chemical_symbols[1:]:
            found.add(item)
        else:
            raise ConfigError(
                f"{item!r} is no chemical element; give symbols such as 'H,C,O' or atomic numbers"
            )
    return found


def info(name: str | Path, specs: Mapping[str, Spec]) -> dict[str, Any]:
    """See `zoo.registry.info`."""
    path = _checkpoint_path(name, specs)
    if path is not None:
        return {"kind": "checkpoint", **manifest(path)}
    spec, overrides = _find(str(name), specs)
    shared = {
        "title": spec.title,
        "paper": dict(spec.paper),
        "domain": spec.domain,
        **({"accepts": list(spec.accepts)} if spec.accepts else {}),
        "symmetry": dict(spec.symmetry),
        **({"conservative": _conservative(spec, overrides)} if spec.domain == "atoms" else {}),
        "outputs": list(spec.outputs),
        "class": spec.class_path,
        "notes": spec.notes,
    }
    trained = list(_matching([spec], set(), None))
    if str(name) in spec.presets:
        trained = [key for key in trained if key.partition(".")[0] == name]
        head = {"kind": "preset", "name": str(name), "architecture": spec.name}
        return {**head, "config": overrides, **shared, "checkpoints": trained}
    head = {"kind": "architecture", "name": spec.name}
    presets = {key: dict(value) for key, value in spec.presets.items()}
    more = {"aliases": list(spec.aliases), "presets": presets, "checkpoints": trained}
    return {**head, **shared, **more}


def _conservative(spec: Spec, overrides: Mapping[str, Any]) -> bool:
    """A preset with direct heads is not, whatever the architecture's default is."""
    return spec.conservative and not {"forces", "stress"} & {*overrides.get("heads", ())}


def card(name: str | Path, specs: Mapping[str, Spec]) -> str:
    """See `zoo.registry.card`."""
    path = _checkpoint_path(name, specs)
    if path is not None:
        written = path.with_name(CARD)
        if path.name == MANIFEST and written.is_file():
            return written.read_text(encoding="utf-8")
        return _card.checkpoint(manifest(path))
    spec, _ = _find(str(name), specs)
    text = spec.path.with_suffix(".md") if spec.path is not None else None
    if text is not None and text.is_file():
        return text.read_text(encoding="utf-8")
    return _card.architecture(info(spec.name, specs))


def _checkpoint_path(name: str | Path, specs: Mapping[str, Spec]) -> Path | None:
    if isinstance(name, str) and name in set(_spec.names(specs)):
        return None
    return locate(name)


def _find(name: str, specs: Mapping[str, Spec]) -> tuple[Spec, dict[str, Any]]:
    known = [*_spec.names(specs), *checkpoints()]
    if name not in known:
        raise UnknownModelError(
            f"nothing is called {name!r}: {nearest(name, known)} "
            "(all names: zoo list, zoo list --pretrained)"
        )
    return _spec.find(name, specs)
