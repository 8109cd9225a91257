"""The model under test in one precision, on samples of any domain but atoms."""

import copy
import fnmatch
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.models._inputs import FORMS, SampleBatch, batch_of, graph_like
from zoo.models._sample import SampleModel
from zoo.testing import samples as build
from zoo.testing._base import BaseSubject
from zoo.testing.samples import Wanted

#: how an output answers a group element: not at all, or by the same element
SampleLaw = Literal["invariant", "equivariant"]

#: symmetry groups outside atoms: how each acts, and the checks that it brings. A spec may name
#: several, joined by " x ", such as "S(n) x E(n)"
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "none": ("nothing is promised", ()),
    "S(n)": (
        "the order of nodes, points or particles (measured wherever samples have them)",
        ("permutation",),
    ),
    "SO(n)": (
        "x -> R x of positions, vectors and each axis of tensors, R of determinant 1; X -> R X R^T "
        "of matrices",
        ("rotation",),
    ),
    "O(n)": ("the same with reflections", ("rotation", "reflection")),
    "SE(n)": ("rotations and translations of positions", ("rotation", "translation")),
    "E(n)": ("the same with reflections", ("rotation", "reflection", "translation")),
    "T(grid)": (
        "fields moved by whole places around the axes of their grid, each a ring",
        ("translation",),
    ),
    "GL(n)": (
        "X -> W X W^T by one invertible W for all samples (x -> W x of signals); a model with "
        "`adapt` sees the transformed samples first",
        ("congruence",),
    ),
    "T+(n)": ("the same, W lower triangular with a positive diagonal", ("congruence",)),
    "Gr(p, n)": ("U -> U O by an orthogonal O for each sample: other bases", ("basis",)),
    "O(1, n)": (
        "x -> L x by one Lorentz transformation of the last axis, time first",
        ("isometry",),
    ),
    "Sp(n)": ("x -> g x on each axis of tensors, g^T J g = J", ("isometry",)),
    "Aut(G)": (
        "the rows of x in another order, by an automorphism of the model's own graph (`group`)",
        ("permutation",),
    ),
}


def parts(group: str) -> tuple[str, ...]:
    """The factors of a product of groups.

    Raises:
        ConfigError: for one that does not exist.
    """
    found = tuple(part.strip() for part in group.split(" x "))
    known = {_bare(name): name for name in GROUPS}
    for part in found:
        if _bare(part) not in known:
            raise ConfigError(f"no symmetry group is called {part!r}: {nearest(part, GROUPS)}")
    return tuple(known[_bare(part)] for part in found)


def _bare(group: str) -> str:
    return group.replace(" ", "").lower()


class SampleSubject(BaseSubject):
    """A copy of a model in one precision, called on raw samples.

    Args:
        model: a `SampleModel`, or any module that maps a batch of its domain to a dict of outputs
            or to one tensor; never changed.
        dtype: "float64" or "float32".
        domain: of the samples; None takes the model's.
        group: see `GROUPS`; None takes the attribute `symmetry` of the model, what the spec of
            its architecture says, or "none".
        laws: how outputs answer group elements; "invariant" where it isn't said.
        inputs: samples to measure with; random ones if None.
        idle: patterns of parameters that rightly get no gradient; None takes the spec's.
        seed: of the random samples.

    Raises:
        ConfigError: for an unknown precision, domain or group.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: str = "float64",
        *,
        domain: str | None = None,
        group: str | None = None,
        laws: Mapping[str, SampleLaw] | None = None,
        inputs: Sequence[Any] | None = None,
        idle: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, dtype, seed=seed)
        self.domain = str(getattr(model, "domain", None) if domain is None else domain)
        if self.domain not in FORMS:
            raise ConfigError(f"no such domain: {self.domain!r}: {nearest(self.domain, FORMS)}")
        self.group = sample_group(model) if group is None else group
        self.factors = parts(self.group)
        own: Any = getattr(model, "laws", {})
        self.laws: dict[str, SampleLaw] = dict(own if laws is None else laws)
        self.given = None if inputs is None else list(inputs)
        self.idle = tuple(_idle(model) if idle is None else idle)

    def rebuilt(self, model: nn.Module) -> Self:
        """The same tests of another model."""
        options: dict[str, Any] = {"domain": self.domain, "group": self.group, "laws": self.laws}
        options |= {"inputs": self.given, "idle": self.idle, "seed": self.seed}
        return type(self)(model, self.dtype, **options)

    @property
    def graphs(self) -> bool:
        """Whether samples are PyG's `Data`."""
        return graph_like(self.domain)

    @property
    def transductive(self) -> bool:
        """Whether the model knows only the nodes that it was made for."""
        return bool(getattr(self.model, "transductive", False))

    def law_known(self, name: str) -> bool:
        """Every output has a law: invariant, where nothing else is said."""
        return True

    def precisions(self, name: str) -> set[torch.dtype]:
        """All outputs have the model's precision."""
        return {self.torch_dtype}

    def law(self, name: str) -> SampleLaw:
        """How an output answers group elements."""
        return self.laws.get(name, "invariant")

    @property
    def wanted(self) -> Wanted:
        """What the model takes."""
        get = functools.partial(getattr, self.model)
        return Wanted(
            self.domain,
            get("sample_shape", None),
            get("tokens", None),
            bool(get("bases", False)),
        )

    @functools.cached_property
    def samples(self) -> list[Any]:
        """Four random samples, or those that were given."""
        if self.given is not None:
            return self.given
        return self.draw("samples")

    def draw(self, name: str, count: int = 4) -> list[Any]:
        """Random samples."""
        rng = self.rng(name)
        own = getattr(self.model, "examples", None)
        return list(own(rng, count)) if own is not None else build.make(self.wanted, rng, count)

    @functools.cached_property
    def odd(self) -> Mapping[str, list[Any]]:
        """Lawful samples at the limits of the domain."""
        rng = self.rng("odd")
        own = getattr(self.model, "odd_examples", None)
        if own is not None:
            found: Mapping[str, list[Any]] = own(rng)
            return found
        # where a model has needs of its own, what is usual may be unlawful
        if hasattr(self.model, "examples") or self.given is not None or self.transductive:
            return {}
        return build.odd(self.wanted, rng)

    @property
    def groups(self) -> list[list[Any]]:
        """The samples, as one batch; one by one for models that know only one graph."""
        return [self.samples[:1]] if self.transductive else [self.samples]

    @property
    def companies(self) -> list[list[Any]]:
        """Other samples in one batch, with graphs of one node and without edges among them."""
        if self.transductive:
            return []
        found = [self.samples, self.samples[::-1][:3]]
        lone = [s for name in ("one node", "no edges", "one point") for s in self.odd.get(name, ())]
        return [*found, [*self.samples, *lone]] if lone else found

    def batch(self, samples: Sequence[Any]) -> SampleBatch:
        """The batch that the model gets."""
        if isinstance(self.model, SampleModel):
            return self.model.prepare(list(samples))
        return batch_of(list(samples), self.domain, self.torch_dtype, device=self.device)

    def evaluate(self, batch: SampleBatch, model: nn.Module | None = None) -> dict[str, Tensor]:
        """The outputs of a batch, with their graph.

        Raises:
            ConfigError: if the model returns anything but a tensor or a dict of tensors.
        """
        found = (self.model if model is None else model)(batch)
        if isinstance(found, Tensor):
            return {"output": found}
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{type(self.model).__name__} returned {type(found).__name__}; expected a dict of "
                'tensors such as {"logits": ...}'
            )
        return dict(found)

    def __call__(self, inputs: Sequence[Any], *outputs: str) -> dict[str, Tensor]:
        """The outputs of a batch, detached."""
        found = self.evaluate(self.batch(inputs))
        return {name: value.detach() for name, value in found.items()}

    def training_copy(self) -> nn.Module:
        """A copy of the model in training mode."""
        return copy.deepcopy(self.model).train()

    def is_idle(self, name: str) -> bool:
        """Whether a parameter rightly gets no gradient."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.idle)


def sample_group(model: nn.Module) -> str:
    """The group that a model names: its attribute `symmetry`, or what its spec says."""
    declared = getattr(model, "symmetry", None)
    if isinstance(declared, str):
        return declared
    spec = _spec_of(model)
    group = "unknown" if spec is None else str(spec.symmetry["group"])
    return "none" if group == "unknown" else group  # a class without a spec file may say nothing


def _idle(model: nn.Module) -> Sequence[str]:
    spec = _spec_of(model)
    return () if spec is None else spec.idle_parameters


def _spec_of(model: nn.Module) -> Any:
    from zoo import registry

    return registry.specs().get(str(getattr(model, "architecture", "")))
