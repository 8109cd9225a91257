"""Checks outside atoms: evaluation, odd inputs, gradients, precisions."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import DataError, DeviceError, UnsupportedInputError, ZooError
from zoo.models import _inputs
from zoo.testing._derivatives import directional
from zoo.testing._result import Skip
from zoo.testing._sample_subject import SampleSubject

_STEP = 1e-5
_DRAWS = 5
#: of sums in another order, in units of the last place
_ROUNDING = 1e3
# bits of the mantissa that a number needs which float32 can hold, but a simple fraction has not
_SIMPLE_BITS = 12
Errors = dict[str, Any]


def evaluation(subject: SampleSubject) -> Errors:
    """Evaluating twice gives the same bits, whatever the random state, and changes no state.

    On a GPU, which adds up what many edges send to a node in any order, the same but for rounding.
    """
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    found: Errors = {}
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            results.append(subject(subject.groups[0]))
    for name, value in results[0].items():
        found[name] = 0.0 if _same(value, results[1][name]) else 1.0
    after = subject.model.state_dict()
    for name, value in before.items():
        if name not in after or not torch.equal(value, after[name]):
            found[f"state {name}"] = 1.0
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    if a.device.type == "cpu" or not a.is_floating_point():
        return torch.equal(a, b)
    rounding = _ROUNDING * torch.finfo(a.dtype).eps
    return torch.allclose(a, b, rtol=rounding, atol=rounding * float(a.abs().max()))


def isolated_node(subject: SampleSubject) -> Errors:
    """A node without edges, graphs without any, single nodes: finite, and the same in company."""
    names = ("an isolated node", "no edges", "one node", "one point")
    cases = {name: subject.odd[name] for name in names if name in subject.odd}
    if not cases:
        raise Skip("samples have no nodes that could be isolated")
    found: Errors = {}
    for name, samples in cases.items():
        alone = subject(samples)
        together = subject([*samples, subject.samples[0]])
        first = {key: together[key][: len(value)] for key, value in alone.items()}
        errors = subject.compare(alone, first)
        finite = all(bool(torch.isfinite(value).all()) for value in alone.values())
        found[name] = max(errors.values(), default=0.0) if finite else float("inf")
    return found


# --- gradients ----------------------------------------------------------------------------------


def odd_inputs(subject: SampleSubject) -> Errors:
    """Outputs and all gradients are finite, evaluating and training, at the limits of the domain.

    A model may refuse a sample with a `ZooError`; that is noted.
    """
    if not subject.odd:
        raise Skip("no odd inputs are known: the model brings examples of its own (`odd_examples`)")
    found: Errors = {}
    cases = {"random": subject.samples, **subject.odd}
    for name, samples in cases.items():
        try:
            found[name] = 0.0 if _all_finite(subject, samples) else float("inf")
        except (UnsupportedInputError, DataError) as problem:
            found[f"{name} refused"] = str(problem)
        except ZooError as problem:
            if isinstance(problem, DeviceError) or name == "random":
                raise
            found[f"{name} refused"] = str(problem)
    return found


def _all_finite(subject: SampleSubject, samples: Sequence[Any]) -> bool:
    """Evaluating them, training on them alone, and training on them among others."""
    alone, company = list(samples), list(samples)
    if not subject.transductive:
        alone *= 2  # a batch norm has nothing to say of a single sample
        company += subject.samples[:2]
    runs = [(subject.model, samples), (subject.training_copy(), alone)]
    runs.append((subject.training_copy(), company))
    return all(_finite_run(subject, model, inputs) for model, inputs in runs)


def _finite_run(subject: SampleSubject, model: nn.Module, samples: Sequence[Any]) -> bool:
    batch, variables = _differentiable(subject.batch(samples))
    with _frozen_random():
        outputs = subject.evaluate(batch, model)
    values = list(outputs.values())
    total = _weighted(values, subject.rng("odd_inputs"))
    if not all(bool(torch.isfinite(value).all()) for value in values):
        return False
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not total.requires_grad:
        return True
    grads = torch.autograd.grad(total, [*parameters, *variables], allow_unused=True)
    return all(bool(torch.isfinite(grad).all()) for grad in grads if grad is not None)


def _differentiable(batch: _inputs.SampleBatch) -> tuple[_inputs.SampleBatch, list[Tensor]]:
    """The batch with gradients on its floating-point fields."""
    fields = {
        name: value.detach().clone().requires_grad_()
        for name, value in _inputs.items(batch)
        if value.is_floating_point()
    }
    return _inputs.replaced(batch, fields), list(fields.values())


def _frozen_random() -> Any:
    """Nobody's random numbers are used up by dropout."""
    return torch.random.fork_rng(devices=[])


def _weighted(values: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """A random combination of all entries of all outputs."""
    terms = [
        (v * v.new_tensor(rng.normal(size=tuple(v.shape)))).sum() / max(v.numel(), 1)
        for v in values
    ]
    return torch.stack(terms).sum()


def derivatives(subject: SampleSubject) -> Errors:
    """Gradients by the parameters are the slopes of the outputs, by finite differences.

    The median over directions counts: one may cross a kink.
    """
    parameters = [p for p in subject.model.parameters() if p.requires_grad]
    if not parameters:
        raise Skip("the model has no trainable parameters")
    batch = subject.batch(subject.groups[0])
    found: Errors = {}
    for name in subject.references[0]:
        rng = subject.rng(f"derivatives {name}")
        weights = torch.as_tensor(rng.normal(size=tuple(subject.references[0][name].shape)))

        def functional(name: str = name, weights: Tensor = weights) -> Tensor:
            value = subject.evaluate(batch)[name]
            return (value * weights.to(value)).sum()

        found[name] = directional(
            functional, parameters, rng, step=_STEP, draws=_DRAWS, middle=True
        )
    return found


def reach(subject: SampleSubject) -> Errors:
    """Training reaches every parameter, but those that the spec lists as idle."""
    named = {n: p for n, p in subject.model.named_parameters() if p.requires_grad}
    if not named:
        raise Skip("the model has no trainable parameters")
    reached = set()
    for total, model in _losses(subject):
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        grads = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
        reached |= {
            name
            for name, grad in zip(trained, grads, strict=True)
            if grad is not None and bool((grad != 0).any())
        }
    found: Errors = {n: 1.0 for n in named if n not in reached and not subject.is_idle(n)}
    return found | {"parameters reached": 0.0, "count": f"{len(reached)} of {len(named)}"}


def _losses(subject: SampleSubject) -> Iterator[tuple[Tensor, nn.Module]]:
    """Scalars of all outputs on several batches, each with the copy that gave it."""
    batches = [subject.groups[0]]
    if not subject.transductive and subject.given is None:
        batches += [subject.draw(f"reach {k}") for k in range(2)]
    for number, samples in enumerate(batches):
        model = subject.training_copy()
        batch = subject.batch(samples)
        with _frozen_random():
            outputs = subject.evaluate(batch, model)
        total = _weighted(list(outputs.values()), subject.rng(f"reach {number}"))
        if total.requires_grad:
            yield total, model


# --- precisions ---------------------------------------------------------------------------------


def precision(subject: SampleSubject) -> Errors:
    """float32 and float64 give the same outputs, up to float32's rounding."""
    if subject.dtype != "float32":
        raise Skip("measured in float32")
    samples = [_rounded(sample) for sample in subject.groups[0]]
    single = subject(samples)
    double = copy.deepcopy(subject.model).double()
    other = subject.rebuilt(double)
    other.model, other.dtype = double.eval(), "float64"
    exact = other(samples)
    return dict(subject.compare(exact, {name: v.double() for name, v in single.items()}))


def _rounded(sample: Any) -> Any:
    """Floating-point fields rounded to float32, which both precisions hold."""
    fields = sample.to_dict() if isinstance(sample, Data) else dict(sample)
    tensors = {name: torch.as_tensor(value) for name, value in fields.items()}
    changed = {n: v.float().double() for n, v in tensors.items() if v.is_floating_point()}
    if not isinstance(sample, Data):
        return {**tensors, **changed}
    return _inputs.replaced(sample, changed)


def double(subject: SampleSubject) -> Errors:
    """Constants of a float32 model are exact after `.double()`.

    A table that float32 holds although its numbers are no simple fractions was rounded once.
    """
    first = next(iter(subject.original.parameters()), None)
    if first is None or first.dtype != torch.float32:
        raise Skip("the model was not made in float32")
    model = copy.deepcopy(subject.original).double()
    stored = set(model.state_dict())
    found: Errors = {"constants": 0.0}
    for name, buffer in model.named_buffers():
        if name not in stored and buffer.is_floating_point() and _was_rounded(buffer):
            found[name] = 1.0
    return found


def _was_rounded(values: Tensor) -> bool:
    finite = values[torch.isfinite(values)].double()
    mantissa, _ = torch.frexp(finite)
    scaled = mantissa * 2.0**_SIMPLE_BITS
    simple = bool((scaled == scaled.round()).all())
    return not simple and bool((finite.float().double() == finite).all())
