r"""Penalties that draw a model towards symmetries, each as strongly as one likes.

Kim, Lee, Yang, Lee, Regularizing towards soft equivariance under mixed symmetries, ICML 2023,
arXiv:2306.00356: beside the loss, the sum over groups G and layers of

    weight_G * ||W - P_G W||^2,

P_G the projector onto the linear maps that are equivariant under G, and the same for biases, which
are maps from scalars. Several groups with weights of their own are a mixed symmetry; a weight that
stays finite, a soft one. Weights are the user's here; the authors tune them in training.

The second form needs no declared layers: for a random element g of each group,

    weight_G * mean |f(g x) - g f(x)|^2.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.tensor_power import (
    EquivariantBasis,
    Group,
    as_group,
    equivariant_basis,
    project,
)
from zoo.layers.symmetry._actions import Action, Batch, Laws, outputs_of
from zoo.layers.symmetry._spaces import TensorSpace

Form = Literal["weights", "outputs"]


class EquivariancePenalty:
    """A term of the loss for soft and mixed symmetries.

        penalty = EquivariancePenalty(model, {"O": 1.0, "S": 0.1})
        loss = loss + penalty()
        penalty = EquivariancePenalty(model, {"E": 0.1}, form="outputs", output="equivariant")
        loss = loss + penalty(batch)

    Args:
        model: whose layers are penalised; with `form="outputs"` a function from batches to a dict
            will do. It is not copied.
        weights: group -> weight, none negative. For "weights" the groups of
            `zoo.functional.tensor_power`, by name or themselves; for "outputs" "O", "SO", "E",
            "SE".
        form: "weights" penalises linear layers that have an attribute `spaces`, a pair of
            `TensorSpace` (see `TensorLinear`), or are named in `spaces`; "outputs" compares
            outputs.
        spaces: name of a linear layer -> its pair of spaces.
        output: the laws of outputs, see `FrameAveraging`; outputs without one, such as embeddings,
            are not compared.
        scale: of random translations.
        **action: further arguments of `Action`: `points`, `vectors`, `order`.

    Raises:
        ConfigError: a negative weight, an unknown group or form, no layer to penalise, a group that
            does not act on a layer's space, spaces that don't fit a layer.
    """

    def __init__(
        self,
        model: Any,
        weights: Mapping[Any, float],
        *,
        form: Form = "weights",
        spaces: Mapping[str, tuple[TensorSpace, TensorSpace]] | None = None,
        output: str | int | Laws = "invariant",
        scale: float = 1.0,
        **action: Any,
    ) -> None:
        if form not in get_args(Form):
            raise ConfigError(f"form={form!r}: {nearest(str(form), get_args(Form))}")
        wrong = {group: value for group, value in weights.items() if not value >= 0}
        if wrong or not weights:
            raise ConfigError(f"weights={dict(weights)}: expected a weight >= 0 for each group")
        self.form, self.model, self.scale = form, model, scale
        self.terms: list[tuple[str, float, Action]] = []
        self.layers: list[_Layer] = []
        if form == "outputs":
            self.terms = [
                (str(group), float(value), Action(str(group), output, **action))
                for group, value in weights.items()
            ]
            return
        self.layers = _declared(model, spaces or {}, _named(weights))

    def __call__(
        self, batch: Batch | None = None, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The penalty.

        Args:
            batch: of inputs; for "outputs".
            generator: of the random elements.

        Raises:
            ConfigError: no batch for "outputs".
        """
        return torch.stack(list(self.parts(batch, generator).values())).sum()

    def parts(
        self, batch: Batch | None = None, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The penalty of each group, weighted."""
        if self.form == "weights":
            total: dict[str, Tensor] = {}
            for layer in self.layers:
                for group, value in layer.distances().items():
                    total[group] = total[group] + value if group in total else value
            return total
        if batch is None:
            raise ConfigError("the penalty of outputs compares them on a batch; give one")
        plain = outputs_of(self.model(batch), self.model)
        return {
            name: weight * self._compared(plain, batch, action, generator)
            for name, weight, action in self.terms
        }

    def _compared(
        self,
        plain: Mapping[str, Tensor],
        batch: Batch,
        action: Action,
        generator: torch.Generator | None,
    ) -> Tensor:
        """mean |f(g x) - g f(x)|^2 over the entries of each output, summed over outputs."""
        matrices, shifts = action.random(batch, generator, self.scale)
        found = outputs_of(self.model(action.moved(batch, matrices, shifts=shifts)), self.model)
        errors = [
            (found[n] - action.carried(n, plain[n], batch, matrices, shifts=shifts)).square().mean()
            for n in plain
            if n in found and n != "embedding" and plain[n].numel()
        ]
        return torch.stack(errors).sum() if errors else matrices.new_zeros(())


class _Layer:
    """One linear layer with the bases of the groups that act on its spaces."""

    def __init__(
        self,
        name: str,
        layer: nn.Linear,
        spaces: tuple[TensorSpace, TensorSpace],
        weights: Mapping[str, tuple[Group, float]],
    ) -> None:
        first, last = spaces
        if (layer.in_features, layer.out_features) != (first.size, last.size):
            raise ConfigError(
                f"{name} maps {layer.in_features} to {layer.out_features} numbers, but is said to "
                f"map {first} to {last}, {first.size} to {last.size}"
            )
        self.layer, self.spaces = layer, spaces
        self.weights = {key: value for key, (_, value) in weights.items()}
        self.bases: dict[str, dict[tuple[int, int], EquivariantBasis]] = {
            key: _bases(name, group, spaces) for key, (group, _) in weights.items()
        }

    def distances(self) -> dict[str, Tensor]:
        """weight * ||W - P W||^2 by group, biases too."""
        return {
            group: weight * self._distance(self.bases[group])
            for group, weight in self.weights.items()
        }

    def _distance(self, bases: Mapping[tuple[int, int], EquivariantBasis]) -> Tensor:
        first, last = self.spaces
        n, total = first.n, []
        for rows, outputs, order_out in last.blocks():
            for columns, inputs, order_in in first.blocks():
                block = self.layer.weight[rows, columns]
                block = block.reshape(outputs, n**order_out, inputs, n**order_in).transpose(1, 2)
                total.append((block - project(block, bases[order_in, order_out])).square().sum())
            if self.layer.bias is not None:
                bias = self.layer.bias[rows].reshape(outputs, n**order_out, 1)
                total.append((bias - project(bias, bases[0, order_out])).square().sum())
        return torch.stack(total).sum()


def _bases(
    name: str, group: Group, spaces: tuple[TensorSpace, TensorSpace]
) -> dict[tuple[int, int], EquivariantBasis]:
    first, last = spaces
    try:
        return {
            (k, l): equivariant_basis(group, first.n, k, l, kind=_kind(group))
            for _, l in last.terms  # noqa: E741
            for k in {0, *(order for _, order in first.terms)}
        }
    except ConfigError as problem:
        raise ConfigError(f"{name}, from {first} to {last}: {problem}") from None


def _kind(group: Group) -> Literal["diagram", "orbit", "numerical"]:
    if group.size is None:
        return "diagram"
    return "orbit" if group.permutes else "numerical"


def _named(weights: Mapping[Any, float]) -> dict[str, tuple[Group, float]]:
    """Name -> group and weight; groups that are called alike are numbered.

    Raises:
        ConfigError: for one group twice.
    """
    found: dict[str, tuple[Group, float]] = {}
    for given, value in weights.items():
        group = as_group(given)
        if any(group == other for other, _ in found.values()):
            raise ConfigError(f"weights: {group} is given twice; say one weight")
        alike = sum(str(other) == str(group) for other, _ in found.values())
        found[f"{group} ({alike + 1})" if alike else str(group)] = group, float(value)
    return found


def _declared(
    model: Any, given: Mapping[str, Any], weights: Mapping[str, tuple[Group, float]]
) -> list[_Layer]:
    """The layers that say, or are said, which spaces they map between."""
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    for name in given:
        if not isinstance(modules.get(name), nn.Linear):
            linear = [key for key, module in modules.items() if isinstance(module, nn.Linear)]
            raise ConfigError(
                f"spaces: no linear layer is called {name!r}: {nearest(name, linear)}"
            )
    found = []
    for name, module in modules.items():
        spaces = given.get(name, getattr(module, "spaces", None))
        if isinstance(module, nn.Linear) and spaces is not None:
            found.append(_Layer(name or type(module).__name__, module, spaces, weights))
    if not found:
        raise ConfigError(
            f"no layer of {type(model).__name__} says which tensor powers it maps between: use "
            "TensorLinear, name them in spaces={...}, or compare outputs with form='outputs'"
        )
    return found
