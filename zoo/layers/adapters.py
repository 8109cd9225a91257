"""Low-rank changes of trained weights: Tucker adapters and LoRA, for the layers of every model.

A weight W of any number of axes becomes W + s ΔW, W frozen:

tucker  ΔW = G ×_1 U^1 ... ×_N U^N with a core G of at most r entries a side and one matrix U^n
        (I_n, r) for each axis longer than r; a shorter axis is kept as it is (FLoRA: Low-Rank Core
        Space for N-dimension, arXiv:2405.14739).
lora    ΔW = B A with B (rows, r) and A (r, columns) (Hu et al., arXiv:2106.09685); W is
        read as a matrix by joining its first axes and its last ones, cut where rows + columns are
        fewest.

G and B start at zero, so nothing changes at first, bit for bit; U^n and A are normal of standard
deviation 1/sqrt(2 r). All are `torch.nn.utils.parametrize` parametrisations, so the layers know
nothing of them; `merge` writes the sum into W and takes them off.

Which parameters: what an optimiser may change freely keeps a model's symmetry at every value, since
bases, Clebsch-Gordan coefficients and cutoffs are buffers here, and parameters multiply channels,
multiplicities, paths and grades. So every real parameter with two or more axes longer than one can
be adapted, and symmetry stays exact. Left out are points of a manifold
(`geoopt.ManifoldParameter`), the coordinates `raw` of constrained matrices (Stiefel, positive
definite, subspaces, the ball), tables of `nn.Embedding`, weights that several layers share (merged,
the changes of one would be those of all) or that are parametrised already, and weights that hold no
more numbers than an adapter of the rank. Unless told which, adapters also pass
over weights that they would save least on, short in one axis, such as those of radial functions and
last layers: where an adapter's share of the weight is more than 1.5 times the share of all.

Deviations: the paper's dropout acts on the layer's input, which a parametrisation does not see;
here it drops entries of the core, or components of LoRA, for a whole step. A grouped convolution
is adapted in the shape of its weight, whose second axis is that of one group.
"""

import fnmatch
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zoo.errors import ConfigError, StateMismatchError, nearest
from zoo.layers._adapter_kinds import KINDS as KINDS
from zoo.layers._adapter_kinds import Adapter as Adapter
from zoo.layers._adapter_kinds import AdapterConfig as AdapterConfig
from zoo.layers._adapter_kinds import LoraAdapter as LoraAdapter
from zoo.layers._adapter_kinds import TuckerAdapter as TuckerAdapter

#: times the share of all adapters in their weights: where it is more, a weight isn't worth one
WORTH = 1.5
#: name of parameters whose values a constraint is computed from
CONSTRAINED = "raw"


# --- which weights ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A parameter of a model: the module that holds it, its name there, whether others hold it."""

    module: nn.Module
    attribute: str
    parameter: Tensor
    shared: bool = False


def places(model: nn.Module) -> dict[str, Place]:
    """Every parameter that a layer uses as it is, by its name in the model."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, (parametrize.ParametrizationList, Adapter)):
            continue
        for attribute, parameter in module.named_parameters(recurse=False):
            found[f"{path}.{attribute}".lstrip(".")] = Place(module, attribute, parameter)
    inside = {name for name in found if ".parametrizations." in f".{name}"}
    uses = Counter(id(place.parameter) for place in found.values())
    return {
        name: replace(place, shared=uses[id(place.parameter)] > 1)
        for name, place in found.items()
        if name not in inside
    }


def left_out(name: str, place: Place, config: AdapterConfig) -> str | None:
    """Why a parameter can't be adapted; None if it can."""
    parameter = place.parameter
    if place.shared:
        return "several layers share it"
    if isinstance(parameter, ManifoldParameter) or place.attribute == CONSTRAINED:
        return "its values lie on a manifold"
    if isinstance(place.module, nn.Embedding):
        return "it is a table of embeddings"
    if not parameter.is_floating_point():
        return "it is not real"
    if sum(n > 1 for n in parameter.shape) < 2:
        return "it has fewer than two axes longer than one"
    size = KINDS[config.kind].size(parameter.shape, config.rank)
    if size >= parameter.numel():
        shape = " x ".join(map(str, parameter.shape))
        return f"an adapter of rank {config.rank} holds {size} numbers, the weight {shape}"
    return None


def choose(
    model: nn.Module, config: AdapterConfig, *, whole: Collection[str] = ()
) -> dict[str, Place]:
    """The parameters that are adapted.

    Args:
        model: with parameters.
        config: how, and which.
        whole: names of parameters that are not adapted in any case.

    Raises:
        ConfigError: a pattern that matches no parameter, or nothing that can be adapted.
    """
    known = {name: place for name, place in places(model).items() if name not in whole}
    chosen = known if not config.targets else _matching(known, config.targets)
    reasons = {name: left_out(name, place, config) for name, place in chosen.items()}
    fitting = {name: place for name, place in chosen.items() if reasons[name] is None}
    if not fitting:
        words = sorted({reason for reason in reasons.values() if reason is not None})
        shown = "; ".join(words[:4]) + ("; ..." if len(words) > 4 else "")
        raise ConfigError(
            f"nothing can be adapted with {config.kind} of rank {config.rank} among "
            f"{len(chosen)} parameters ({shown or 'there are none'}): take a lower rank, or "
            "method 'full'"
        )
    return fitting if config.targets else _worthwhile(fitting, config)


def _worthwhile(fitting: Mapping[str, Place], config: AdapterConfig) -> dict[str, Place]:
    """Without the weights that adapters save least on."""
    whole = {name: place.parameter.numel() for name, place in fitting.items()}
    size = KINDS[config.kind].size
    added = {name: size(place.parameter.shape, config.rank) for name, place in fitting.items()}
    most = WORTH * sum(added.values()) / sum(whole.values())
    return {name: place for name, place in fitting.items() if added[name] <= most * whole[name]}


def _matching(known: Mapping[str, Place], patterns: Sequence[str]) -> dict[str, Place]:
    wanted = [pattern for pattern in patterns if not pattern.startswith("-")]
    found = {name for pattern in wanted for name in _fitting(known, pattern)}
    found = found if wanted else set(known)
    for pattern in patterns:
        if pattern.startswith("-"):
            found -= set(_fitting(known, pattern.removeprefix("-")))
    return {name: place for name, place in known.items() if name in found}


def _fitting(known: Mapping[str, Place], pattern: str) -> list[str]:
    fitting = fnmatch.filter(known, pattern)
    if not fitting:
        parts = [name.split(".") for name in known]
        groups = {".".join(p[:k]) + ".*" for p in parts for k in range(1, len(p))}
        raise ConfigError(
            f"targets {pattern!r} matches no parameter; {nearest(pattern, {*known, *groups})}"
        )
    return fitting


# --- putting on and taking off ------------------------------------------------------------------


def attach(
    model: nn.Module, config: AdapterConfig, *, seed: int = 0, whole: Collection[str] = ()
) -> list[str]:
    """Puts adapters on a model, which computes the same as before until they are trained.

    Args:
        model: changed in place; what is adapted no longer requires gradients.
        config: how, and which parameters.
        seed: of the factors.
        whole: names of parameters that get none.

    Returns:
        Names of the adapted parameters, as the model had them.

    Raises:
        ConfigError: see `choose`.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = choose(model, config, whole=whole)
    for place in chosen.values():
        adapter = KINDS[config.kind](
            place.parameter.shape,
            config.rank,
            scale=config.scale,
            dropout=config.dropout,
            generator=generator,
        )
        _put(place, adapter)
    return list(chosen)


def _put(place: Place, adapter: Adapter) -> None:
    adapter.to(place.parameter).train(place.module.training)
    place.parameter.requires_grad_(False)
    parametrize.register_parametrization(place.module, place.attribute, adapter)


def adapters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Adapter]]:
    """The adapters of a model: parameter's name, module, name there, adapter."""
    for path, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        for attribute, chain in module.parametrizations.items():
            if isinstance(chain[0], Adapter):
                yield f"{path}.{attribute}".lstrip("."), module, attribute, chain[0]


def state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Copies of the tensors of each adapter, by the name of its parameter."""
    return {
        name: {key: tensor.detach().clone() for key, tensor in adapter.state_dict().items()}
        for name, _, _, adapter in adapters(model)
    }


def from_tensors(
    shape: Sequence[int], config: AdapterConfig, tensors: Mapping[str, Tensor], name: str
) -> Adapter:
    """A stored adapter.

    Args:
        shape: of the weight.
        config: kind, rank, scale and dropout.
        tensors: its state.
        name: of the parameter, for messages.

    Raises:
        StateMismatchError: tensors of other names or shapes.
    """
    adapter = KINDS[config.kind](shape, config.rank, scale=config.scale, dropout=config.dropout)
    wanted = {key: tuple(value.shape) for key, value in adapter.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted != given:
        raise StateMismatchError(f"the adapter of {name} has {given}, expected {wanted}")
    adapter.to(next(iter(tensors.values()))).load_state_dict(dict(tensors))
    return adapter


def restore(
    model: nn.Module, config: AdapterConfig, tensors: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Puts stored adapters on a model that has the weights they were trained on.

    Args:
        model: changed in place.
        config: kind, rank, scale and dropout.
        tensors: as `state` gave them.

    Raises:
        StateMismatchError: a parameter that the model does not have, or tensors of another shape.
    """
    known = places(model)
    for name, parts in tensors.items():
        if name not in known:
            raise StateMismatchError(f"the model has no {name!r}; {nearest(name, known)}")
        _put(known[name], from_tensors(known[name].parameter.shape, config, parts, name))


def merge(model: nn.Module) -> int:
    """Writes the adapted weights into the model and takes the adapters off.

    Copies of the model keep theirs: torch's own removal takes the weights away from them, since a
    copied module shares its class with the first.

    Returns:
        How many there were.
    """
    found = list(adapters(model))
    for _, module, attribute, adapter in found:
        training = adapter.training
        adapter.training = False  # nothing is dropped
        with torch.no_grad():
            value = getattr(module, attribute)
        adapter.training = training
        _take_off(module, attribute, value)
    return len(found)


def _take_off(module: nn.Module, attribute: str, value: Tensor) -> None:
    chains: Any = module.parametrizations
    weight = chains[attribute].original
    with torch.no_grad():
        weight.copy_(value)
    del chains[attribute]
    parametrised = type(module)
    if len(chains):  # another weight of the module still is: a class without this one's property
        hidden = (attribute, "__dict__", "__weakref__")
        space = {key: item for key, item in vars(parametrised).items() if key not in hidden}
        module.__class__ = type(parametrised.__name__, parametrised.__bases__, space)
    else:
        del module.parametrizations
        module.__class__ = parametrised.__bases__[0]
    module.register_parameter(attribute, weight.requires_grad_(True))
