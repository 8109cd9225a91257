"""Names to classes: registering, finding and building architectures, and listing what there is.

Listing and look-up read YAML only; a model's module is imported when it is built.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo import _certificates, _rows, _spec
from zoo._arguments import recorded, signature, spell
from zoo._catalog import card as _card
from zoo._catalog import checkpoints as checkpoints
from zoo._catalog import info as _info
from zoo._catalog import listing as _listing
from zoo._spec import Spec as Spec
from zoo.errors import ConfigError, UnknownModelError

if TYPE_CHECKING:
    from torch.nn import Module
else:
    Module = Any  # annotations are checked while tests run, and torch is not imported here

_Class = TypeVar("_Class", bound=type)
_registered: dict[str, type] = {}


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: makes a model known by name, and its arguments hyper-parameters.

    The constructor's arguments must be keyword-only and annotated. They are validated at every
    construction, and kept with the defaults filled in as `self.hparams`.

    Args:
        name: the architecture's name, the stem of its spec file. A class without a spec file
            is known in this process only.

    Returns:
        The decorator; it returns the same class, with `architecture` set.

    Raises:
        ConfigError: if the name is taken by another class or an argument is not annotated.
    """
    if not name.isidentifier() or name != name.lower():
        raise ConfigError(f"an architecture's name is a lower-case identifier, not {name!r}")

    def decorate(cls: _Class) -> _Class:
        path = f"{cls.__module__}:{cls.__qualname__}"
        owner = _owner(name)
        if owner is not None and owner != path:
            raise ConfigError(f"the architecture {name!r} is {owner}; give {path} another name")
        cls.architecture = name  # type: ignore[attr-defined]
        _registered[name] = recorded(cls, name)
        return cls

    return decorate


def _owner(name: str) -> str | None:
    spec = _spec.shipped().get(name)
    if spec is not None:
        return spec.class_path
    cls = _registered.get(name)
    return f"{cls.__module__}:{cls.__qualname__}" if cls is not None else None


def specs() -> dict[str, Spec]:
    """All architectures by name: shipped, from other packages, and registered in this process."""
    known = {**_spec.shipped(), **_spec.plugins()}
    for name, cls in _registered.items():
        if name not in known:
            known[name] = Spec(
                name=name,
                class_path=f"{cls.__module__}:{cls.__qualname__}",
                domain=getattr(cls, "domain", "atoms"),
                title=cls.__name__,
                paper={},
                symmetry={"group": getattr(cls, "symmetry", "unknown")},
                accepts=tuple(getattr(cls, "accepts", ())),
            )
    return known


def resolve(name: str) -> tuple[Spec, dict[str, Any]]:
    """The architecture that a name means, and the arguments that a preset sets.

    Args:
        name: an architecture, an alias or a preset.

    Raises:
        UnknownModelError: offers the nearest names, or says that the name is a checkpoint's.
    """
    try:
        return _spec.find(name, specs())
    except UnknownModelError:
        if name in checkpoints():
            raise UnknownModelError(
                f"{name!r} names trained weights, not an architecture: use zoo.load({name!r})"
            ) from None
        raise


def get_class(spec: Spec) -> type[Module]:
    """Imports the class of an architecture.

    Raises:
        ConfigError: if the spec's class does not exist or is registered by another name.
    """
    module, _, attribute = spec.class_path.partition(":")
    cls: Any = _registered.get(spec.name)
    if cls is None or f"{cls.__module__}:{cls.__qualname__}" != spec.class_path:
        cls = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(cls, type) or getattr(cls, "architecture", None) != spec.name:
        raise ConfigError(
            f"{spec.path or spec.name}: {spec.class_path} must be a class decorated with "
            f'@register("{spec.name}")'
        )
    return cls


def module_of(spec: Spec) -> Any:
    """The module in which an architecture is written; holds its converters and upgrades."""
    return sys.modules[get_class(spec).__module__]


def hyperparameters(name: str) -> dict[str, dict[str, Any]]:
    """The constructor arguments of an architecture or preset; imports its module.

    Returns:
        Argument -> {"type": in words, "default": value}.
    """
    spec, overrides = resolve(name)
    return {
        argument: {
            "type": spell(parameter.annotation),
            "default": overrides.get(
                argument, None if parameter.default is parameter.empty else parameter.default
            ),
        }
        for argument, parameter in signature(get_class(spec)).items()
    }


def create(name: str, /, **overrides: Any) -> Module:
    """Builds a model with fresh weights.

    Args:
        name: an architecture, an alias or a preset (see `list_models`).
        overrides: constructor arguments; they win over the preset's.

    Returns:
        The model, in torch's default precision, on the CPU.

    Raises:
        UnknownModelError: for an unknown name.
        ConfigError: for an unknown or ill-typed argument.
    """
    spec, preset = resolve(name)
    model: Module = get_class(spec)(**{**preset, **overrides})
    return model


def list_models(
    pattern: str | list[str] = "*",
    *,
    domain: str | None = None,
    symmetry: str | None = None,
    elements: str | list[str] | list[int] | None = None,
    license: str | None = None,
    pretrained: bool = False,
) -> list[str]:
    """Names of architectures and presets, or of trained weights.

    Args:
        pattern: shell pattern or patterns ("*net*"); case does not count.
        domain: what a sample is, such as "atoms".
        symmetry: a group such as "O(3)"; models that offer it by option count.
        elements: symbols ("H,C,O" or a list) or atomic numbers that must all have been
            trained on.
        license: of the weights, such as "Apache-2.0".
        pretrained: names of checkpoints instead. Without it, `elements` and `license` keep the
            architectures and presets that have a matching checkpoint.

    Returns:
        Sorted names.

    Raises:
        ConfigError: for a domain, group or element that does not exist.
    """
    return _listing(
        specs(),
        pattern=pattern,
        domain=domain,
        symmetry=symmetry,
        elements=elements,
        license=license,
        pretrained=pretrained,
    )


def table(pattern: str | list[str] = "*", **filters: Any) -> list[dict[str, Any]]:
    """The rows of `zoo list`, of README and of the site, as plain values.

    Args:
        pattern: as for `list_models`.
        **filters: the other arguments of `list_models`.

    Returns:
        One mapping for each name: of architectures and presets name, domain, title, symmetry,
        architecture and certificate; of trained weights name, architecture, domain, inputs, data,
        licence, source ("zoo" or "authors"), bytes, measured errors and certificate. A certificate
        is None, or holds group, passed and the largest equivariance error by precision.

    Raises:
        ConfigError: as `list_models` does.
    """
    names = list_models(pattern, **filters)
    if filters.get("pretrained"):
        return [_rows.checkpoint(name) for name in names]
    known = specs()
    return [_rows.model(name, _spec.find(name, known)[0]) for name in names]


def info(name: str | Path) -> dict[str, Any]:
    """What is known of an architecture, preset or checkpoint, as plain values.

    Args:
        name: any name of `list_models`, an alias, or the folder of saved weights.

    Returns:
        For a checkpoint its manifest, else also the architecture's `certificate` in short, None
        where there is none; `kind` is "architecture", "preset" or "checkpoint".

    Raises:
        UnknownModelError: offers the nearest names.
    """
    about = _info(name, specs())
    if about["kind"] != "checkpoint":
        owner = about.get("architecture", about["name"])
        found = _certificates.of_architecture(owner) or {}
        about["certificate"] = {k: v for k, v in found.items() if k != "results"} or None
    return about


def card(name: str | Path) -> str:
    """The card of an architecture, preset or checkpoint, in Markdown.

    Args:
        name: any name of `list_models`, an alias, or the folder of saved weights.

    Raises:
        UnknownModelError: offers the nearest names.
    """
    text = _card(name, specs())
    known = specs()
    if isinstance(name, str) and name in set(_spec.names(known)):
        spec, _ = _spec.find(name, known)
        measured = _certificates.section(_certificates.of_architecture(spec.name))
        return f"{text.rstrip()}\n\n{measured}\n" if measured else text
    return text
