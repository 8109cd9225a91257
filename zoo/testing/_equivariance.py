"""How far a model, or a function of a user's own, is from a symmetry: one number for each kind of
element, measured as the certificates measure it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ase import Atoms
from torch import Tensor, nn

from zoo import registry
from zoo.errors import ConfigError, nearest
from zoo.functional.tensor_power import GROUPS as POWERS
from zoo.functional.tensor_power import Group, act, as_group
from zoo.models._atomistic import AtomisticModel
from zoo.testing import _actions, _symmetry
from zoo.testing._base import DTYPES, BaseSubject
from zoo.testing._sample_subject import GROUPS, SampleSubject
from zoo.testing._subject import Subject, symmetry_group
from zoo.testing.suite import unsettled

#: kinds of elements of each group on atoms
_ATOMS = {
    "SO(3)": ("rotation",),
    "O(3)": ("rotation", "reflection", "inversion"),
    "SE(3)": ("rotation", "translation"),
    "E(3)": ("rotation", "reflection", "inversion", "translation"),
    "S(n)": ("permutation",),
}
_POSITIONS = frozenset({"particles", "points"})
_AXES = _POSITIONS | {"matrix", "signal", "vector", "sequence", "tensor"}
#: on which domains elements act that don't act on all
_DOMAINS = {
    "rotation": _AXES,
    "reflection": _AXES,
    "translation": _POSITIONS | {"vector", "sequence"},
    "congruence": frozenset({"matrix", "signal"}),
    "basis": frozenset({"matrix"}),
    "isometry": _POSITIONS | {"vector", "sequence", "tensor"},
    "permutation": _POSITIONS | {"graph"},  # or where the model has a graph of its own
}
_DRAWS = 3


def equivariance_error(
    model: nn.Module | Callable[..., Any] | str,
    group: Group | type[Group] | str | None = None,
    inputs: Any = None,
    *,
    domain: str | None = None,
    laws: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    order_in: int | None = None,
    order_out: int | None = None,
    dtype: str = "float64",
    seed: int = 0,
) -> dict[str, float]:
    """The largest error |f(g x) - g f(x)|, relative to the largest |f(x)|, by kind of element.

        zoo.testing.equivariance_error("egnn", "S(n) x E(n)")
        # {"permutation": 1e-16, "rotation": 3e-16, "reflection": ..., "translation": ...}
        zoo.testing.equivariance_error(lambda x: x * x.norm(), "O", torch.randn(8, 3))

    Args:
        model: a model on any domain; a module or function that maps a batch of `domain` (PyG's
            `Batch`, or a dict with `x`) to a dict of outputs or a tensor; a function of tensors
            (..., n, ..., n), of which `inputs` is one; or the name of an architecture or preset,
            which is made small (`test_config`) with random weights. It is copied, never changed.
        group: on atoms "E(3)", "SE(3)", "O(3)", "SO(3)", elsewhere see `SAMPLE_GROUPS`, products
            with " x "; of functions of tensors a `Group` of `zoo.functional.tensor_power` or "S",
            "A", "O", "SO", "Sp". None takes what the model says of itself.
        inputs: what to measure with: structures, samples, or a tensor; random ones if None.
        domain: of the samples; None takes the model's.
        laws: how outputs answer: on atoms `Law`s, elsewhere "invariant" or "equivariant".
        outputs: which are measured, by name; all whose law is known if None, features (`embedding`)
            among them.
        order_in: axes of a tensor that the group acts on, the last ones; None takes the layer's,
            or 1.
        order_out: the same of what the function returns; 0 for invariants.
        dtype: "float64" or "float32".
        seed: of the elements, and of inputs and weights where they are random.

    Returns:
        Kind of element -> error: "rotation", "reflection", "inversion", "translation",
        "permutation", "congruence", "basis", "isometry"; of tensors "generators" and "random".
        Infinite where an output is not finite or changes its shape.

    Raises:
        ConfigError: an unknown group or output, a group that does not act on the domain or the
            dimension, none at all, or one with nothing to measure.
        ZooError: what the model raises for inputs that it can't take.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype!r}: {nearest(dtype, DTYPES)}")
    if not isinstance(model, str) and not callable(model):
        raise ConfigError(f"a {type(model).__name__} is no model, function or name")
    module = _module(model, domain, seed)
    own = "atoms" if isinstance(module, AtomisticModel) else getattr(module, "domain", None)
    where = own if domain is None else domain
    if where is None or isinstance(group, (Group, type)):
        if isinstance(inputs, Tensor) or hasattr(module, "order_in"):
            return _of_tensors(module, group, inputs, order_in, order_out, dtype, seed)
    if where is None and not _structures(inputs):
        raise ConfigError(
            "equivariance_error: what does the model take? Say domain='points' (or another), or "
            "give a tensor, ASE structures, or a model that knows its domain"
        )
    if where in (None, "atoms"):
        return _of_atoms(module, group, inputs, laws, outputs, dtype, seed)
    return _of_samples(module, group, inputs, where, laws, outputs, dtype, seed)


class _Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the function returns."""
        return self.function(*inputs, **options)


def _module(model: Any, domain: str | None, seed: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, str):
        return _Called(model)
    spec, _ = registry.resolve(model)
    small = spec.test_config if model in (spec.name, *spec.aliases) else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = registry.create(model, **small)
    return unsettled(made, seed=seed)


def _structures(inputs: Any) -> bool:
    first = inputs[0] if isinstance(inputs, Sequence) and len(inputs) else inputs
    return isinstance(first, Atoms)


def _measured(
    subject: BaseSubject, checks: Sequence[str], table: Any, outputs: Sequence[str] | None
) -> dict[str, float]:
    """The largest error of each check.

    Raises:
        ConfigError: nothing has a law, or an output that is not there.
    """
    found: dict[str, float] = {}
    for check in checks:
        errors = getattr(table, check)(subject)
        for name in outputs or ():
            if name not in errors:
                raise ConfigError(
                    f"equivariance_error: no output {name!r} was measured: {nearest(name, errors)}"
                )
        numbers = [
            value
            for name, value in errors.items()
            if isinstance(value, float) and (outputs is None or name in outputs)
        ]
        if not numbers:
            raise ConfigError(
                f"equivariance_error: no output has a known law, so that {check} can't be "
                f"measured; it returned {', '.join(subject.references[0]) or 'nothing'}: say "
                "laws={...}"
            )
        found[check] = max(numbers)
    return found


def _of_atoms(
    module: nn.Module, group: Any, inputs: Any, laws: Any, outputs: Any, dtype: str, seed: int
) -> dict[str, float]:
    own = "SE(3)" if symmetry_group(module) == "SO(3)" else "E(3)"
    named = own if group is None else str(group)
    wanted: list[str] = []
    for part in (p.strip() for p in named.split(" x ")):
        if part not in _ATOMS:
            raise ConfigError(f"no group on atoms is called {part!r}: {nearest(part, _ATOMS)}")
        wanted += _ATOMS[part]
    subject = Subject(module, dtype, group="O(3)", laws=laws, seed=seed)
    if inputs is not None:
        given = [inputs] if isinstance(inputs, Atoms) else list(inputs)
        if not given or not all(isinstance(atoms, Atoms) for atoms in given):
            raise ConfigError("equivariance_error: a model on atoms is measured on ASE structures")
        crystals = [atoms for atoms in given if atoms.pbc.any()]
        molecules = [atoms for atoms in given if not atoms.pbc.any()]
        subject.take(molecules, crystals)
    return _measured(subject, wanted, _symmetry, outputs)


def _of_samples(
    module: nn.Module,
    group: Any,
    inputs: Any,
    domain: str,
    laws: Any,
    outputs: Any,
    dtype: str,
    seed: int,
) -> dict[str, float]:
    if isinstance(group, (Group, type)):
        raise ConfigError(
            f"equivariance_error: {group} acts on tensors; give a tensor as inputs, or name a "
            f"group that acts on samples of {domain!r}: {', '.join(GROUPS)}"
        )
    given = None if inputs is None else _listed(inputs)
    subject = SampleSubject(
        module, dtype, domain=domain, group=group, laws=laws, inputs=given, seed=seed
    )
    checks = [check for factor in subject.factors for check in GROUPS[factor][1]]
    if not checks:
        raise ConfigError(
            f"equivariance_error: the group is {subject.group!r}, which promises nothing: name "
            f"one: {', '.join(name for name in GROUPS if name != 'none')}"
        )
    for check in checks:
        if domain not in _DOMAINS[check] and not hasattr(module, "group"):
            raise ConfigError(
                f"equivariance_error: {subject.group} has elements of the kind {check}, which act "
                f"on {', '.join(sorted(_DOMAINS[check]))}, not on {domain!r}"
            )
    return _measured(subject, list(dict.fromkeys(checks)), _actions, outputs)


def _listed(inputs: Any) -> list[Any]:
    """Samples, of one or of a batched array too."""
    if isinstance(inputs, Tensor):
        return [{"x": x} for x in inputs]
    if isinstance(inputs, Mapping) or not isinstance(inputs, Sequence):
        return [inputs]
    return list(inputs)


# --- functions of tensors ------------------------------------------------------------------------


def _of_tensors(
    module: nn.Module,
    group: Any,
    inputs: Tensor | None,
    order_in: int | None,
    order_out: int | None,
    dtype: str,
    seed: int,
) -> dict[str, float]:
    """Of a function from (..., n^k) to (..., n^l): the generators, and random elements."""
    named = getattr(module, "group", None) if group is None else group
    if named is None:
        raise ConfigError(f"equivariance_error: name a group: {', '.join(POWERS)}")
    of = as_group(named)
    k = getattr(module, "order_in", 1) if order_in is None else order_in
    l = getattr(module, "order_out", 1) if order_out is None else order_out  # noqa: E741
    x = _tensor(module, inputs, k, dtype, seed)
    of_inputs = _size(x, k, of) if k else None
    moved = copy.deepcopy(module).to(DTYPES[dtype]).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        plain = _answer(moved, x)
    n = _size(plain, l, of, of_inputs)
    own = [*of.generators(n), *(torch.linalg.matrix_exp(a) for a in of.lie_algebra(n))]
    elements = {"generators": own, "random": [of.random_element(n, rng) for _ in range(_DRAWS)]}
    with torch.no_grad():
        if not bool(torch.isfinite(plain).all()):
            return dict.fromkeys(elements, float("inf"))
        scale = max(float(plain.abs().max()) if plain.numel() else 0.0, 1e-12)
        errors = {
            kind: [_difference(moved, x, plain, g.to(x), k, l) / scale for g in each]
            for kind, each in elements.items()
        }
    return {kind: max(each) for kind, each in errors.items() if each}


def _tensor(module: nn.Module, inputs: Tensor | None, order: int, dtype: str, seed: int) -> Tensor:
    if inputs is not None:
        return inputs.to(DTYPES[dtype])
    n, channels = getattr(module, "n", None), getattr(module, "in_channels", 1)
    rng = torch.Generator().manual_seed(seed)
    shape = (2, int(channels), *[int(n or 4)] * order)
    return torch.randn(shape, generator=rng, dtype=torch.float64).to(DTYPES[dtype])


def _size(x: Tensor, order: int, group: Group, n: int | None = None) -> int:
    """n, once the last axes are known to have it; that of the inputs where it is given."""
    axes = set(x.shape[x.ndim - order :]) if 0 < order <= x.ndim else set()
    if order and (len(axes) != 1 or n not in (None, *axes)):
        raise ConfigError(
            f"equivariance_error: {group} acts on the last {order} axes, which must be alike"
            f"{'' if n is None else f', of length {n} as in the inputs'}; the tensor has the shape "
            f"{tuple(x.shape)}"
        )
    size = axes.pop() if axes else (n or group.size or 1)
    group.check(size)
    return size


def _answer(module: nn.Module, x: Tensor) -> Tensor:
    found = module(x)
    if not isinstance(found, Tensor):
        raise ConfigError(
            f"equivariance_error: a function of tensors returned {type(found).__name__}; expected "
            "a tensor"
        )
    return found


def _difference(
    module: nn.Module, x: Tensor, plain: Tensor, g: Tensor, order_in: int, order_out: int
) -> float:
    found, wanted = _answer(module, act(g, x, order_in)), act(g.to(plain), plain, order_out)
    if found.shape != wanted.shape:
        return float("inf")
    error = (found - wanted).abs().max() if found.numel() else found.new_zeros(())
    return float(error) if bool(torch.isfinite(error)) else float("inf")
