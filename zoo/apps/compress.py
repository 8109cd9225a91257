"""Trained weights made smaller: linear and convolution layers in cores of a tensor format.

Each layer of torch's own kind is replaced by the nearest factorised one, where that has fewer
numbers and the model still runs (some models read a layer's weight themselves). With `rank` all
layers are cut alike; with `max_error` the weights' relative error is the largest, found by
bisection, at which the model's outputs stay within it. What was done stands in the manifest, from
which `zoo.load` rebuilds the layers.
"""

import copy
import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor, nn

import zoo
from zoo import datasets, hub
from zoo._catalog import MANIFEST
from zoo.apps import _timing
from zoo.apps._samples import open_for
from zoo.apps.evaluate import evaluate, rows
from zoo.errors import CapabilityError, ConfigError, ZooError, nearest
from zoo.hub import golden
from zoo.layers.tensor_network import describe, factorize, put, replaceable
from zoo.models._ensemble import Ensemble
from zoo.models._sample import SampleModel
from zoo.training.report import golden_structures

Format = Literal["tucker", "cp", "tt", "tr"]
_FORMATS: Final = ("tucker", "cp", "tt", "tr")
#: samples on which outputs are compared and calls are timed
_SAMPLES: Final = 16
_GOLDEN: Final = 4
_BISECTIONS: Final = 7
#: errors of a layer's weights between which the search for an error of outputs runs
_LEAST, _MOST = 1e-3, 0.9


@dataclass(frozen=True)
class Compressed:
    """What became of a model.

    Attributes:
        model: the compressed one.
        path: folder that it was written to.
        name: of the new checkpoint.
        layers: one mapping per replaced layer: name, format, rank, parameters before and after,
            relative error of the weight.
        kept: layers that stayed as they were, and why.
        parameters: before and after; `bytes` of the weights files.
        error: of the outputs, relative to their spread over the samples, by output.
        milliseconds: median of a call, before and after; `speedup` the median ratio of calls made
            in turn.
        metrics: before and after, on the data set given; empty without one.
    """

    model: nn.Module = field(repr=False)
    path: Path
    name: str
    layers: list[dict[str, Any]]
    kept: dict[str, str]
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    error: dict[str, float]
    milliseconds: tuple[float, float]
    speedup: float
    metrics: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        return {**values, "path": str(self.path)}


def compress(
    checkpoint: str | Path,
    output: str | Path,
    *,
    format: Format = "tucker",
    rank: int | float | None = None,
    max_error: float | None = None,
    layers: Sequence[str] = ("*",),
    data: str | Path | None = None,
    split: str | None = None,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    name: str | None = None,
    repeats: int = 20,
) -> Compressed:
    """Factorises the layers of trained weights and saves the result.

    Args:
        checkpoint: name, folder or file, as for `zoo.load`.
        output: folder for the result.
        format: of the layers: "tucker", "cp", "tt" or "tr".
        rank: of all layers: one number, or the fraction in (0, 1] of a layer's parameters.
        max_error: in place of a rank: of the outputs, root mean square against their spread.
        layers: shell patterns of the names of layers that may change.
        data: a data set to compare outputs, and metrics, on; else the golden inputs are used.
        split: of the data set.
        keys: of the data set, as for `zoo.datasets.open`.
        units: of the data set.
        name: of the result; by default that of the weights with the format in it.
        repeats: calls to time, in turn with those of the model as it was.

    Returns:
        The report; its `model` is what was saved.

    Raises:
        ConfigError: for neither or both of rank and error, unknown formats, patterns that no layer
            fits, or where no layer would get smaller.
        CapabilityError: for ensembles, and without data for weights that store no golden inputs.
        ZooError: as `zoo.load`, `zoo.save` and `zoo.evaluate` do.
    """
    asked = _Asked(format, rank, max_error, tuple(layers))
    before = hub.load(checkpoint)
    if isinstance(before, Ensemble):
        raise CapabilityError(
            f"{before.checkpoint_name} is an ensemble; compress its members and join the results"
        )
    samples = _samples(before, checkpoint, data, split, {"keys": keys, "units": units})
    usable, kept = _usable(before, asked, samples[:1])
    after, changed, why = _fitted(before, usable, asked, samples)
    error = _output_errors(_outputs(before, samples), _outputs(after, samples))
    _note(after, before, asked, changed, max(error.values()))
    compared = _compared(before, after, data, split, keys, units)
    named = _name(before, format) if name is None else name
    folder = _save(after, before, Path(output), named, samples)
    return Compressed(
        model=after,
        path=folder,
        name=named,
        layers=changed,
        kept={**kept, **why},
        parameters=(_count(before), _count(after)),
        bytes=(_bytes(before.manifest), _bytes(hub.read_manifest(folder / MANIFEST))),
        error=error,
        **_timed(before, after, samples, repeats),
        metrics=compared,
    )


@dataclass(frozen=True)
class _Asked:
    """What the layers are to become; refuses what can't be."""

    format: Format
    rank: int | float | None
    max_error: float | None
    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.format not in _FORMATS:
            raise ConfigError(f"format={self.format!r}: {nearest(str(self.format), _FORMATS)}")
        if (self.rank is None) == (self.max_error is None):
            raise ConfigError(
                f"rank={self.rank}, max_error={self.max_error}: give one of the two, such as "
                "rank=0.5 or max_error=0.05"
            )
        error = self.max_error
        if error is not None and not (math.isfinite(error) and error > 0):
            raise ConfigError(f"max_error={error}; expected a number > 0")
        rank = self.rank
        whole = isinstance(rank, int) and not isinstance(rank, bool) and rank >= 1
        if rank is not None and not (whole or (isinstance(rank, float) and 0 < rank <= 1)):
            raise ConfigError(f"rank={rank!r}; expected a number >= 1, or a fraction in (0, 1]")


def _samples(
    model: Any, checkpoint: str | Path, data: Any, split: str | None, reading: dict[str, Any]
) -> list[Any]:
    """A few inputs without labels: of the data set, or the golden ones."""
    domain = getattr(model, "domain", "atoms")
    if data is None:
        if model.manifest.golden_file is None:
            raise CapabilityError(
                f"{model.checkpoint_name} stores no golden inputs to compare outputs on; give data"
            )
        tensors = hub.golden_tensors(model.manifest, hub.find(checkpoint).parent)
        return golden.decode(tensors, domain=domain)
    if isinstance(model, SampleModel):
        dataset: Any = open_for(model, data, **reading)
    else:
        dataset = datasets.open(data, domain="atoms", **reading)
    if split is not None:
        dataset = dataset.split(split)
    if domain == "atoms":
        return golden_structures(dataset, _SAMPLES)
    step = max(1, len(dataset) // _SAMPLES)
    chosen = [dataset[i] for i in range(0, len(dataset), step)][:_SAMPLES]
    encoded = golden.encode(chosen, domain=domain)  # leaves labels out
    return golden.decode({f"input.{key}": value for key, value in encoded.items()}, domain=domain)


def _usable(
    model: nn.Module, asked: _Asked, sample: list[Any]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Layers that may change and can be replaced, and why others can't."""
    found = dict(replaceable(model))
    wanted = {
        name: module
        for name, module in found.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in asked.patterns)
    }
    if not wanted:
        listed = ", ".join(list(found)[:12]) or "none"
        raise ConfigError(
            f"no linear or convolution layer fits {', '.join(asked.patterns)}; there are: {listed}"
        )
    _outputs(model, sample)
    trial, usable, kept = copy.deepcopy(model), {}, {}
    for name, module in wanted.items():
        try:
            layer = factorize(module, format=asked.format, rank=1)
            put(trial, name, layer)
            _outputs(trial, sample)
            usable[name] = module
        except ZooError as problem:
            kept[name] = str(problem)
        except (AttributeError, TypeError, RuntimeError):  # such a model is no longer one
            kept[name] = "the model uses its weight in a way of its own"
        put(trial, name, copy.deepcopy(module))
    return usable, kept


def _fitted(
    model: nn.Module, usable: Mapping[str, nn.Module], asked: _Asked, samples: list[Any]
) -> tuple[nn.Module, list[dict[str, Any]], dict[str, str]]:
    """The model with its layers replaced, by rank or within an error of the outputs."""
    if asked.max_error is None:
        found = _replaced(model, usable, asked.format, rank=asked.rank)
        if not found[1]:
            why = "; ".join(f"{name}: {words}" for name, words in list(found[2].items())[:4])
            raise ConfigError(
                f"no layer gets smaller with format={asked.format!r}, rank={asked.rank}: "
                f"{why or 'none can be replaced'}"
            )
        return found
    reference = _outputs(model, samples)
    low, high, best = math.log(_LEAST), math.log(_MOST), None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = _replaced(model, usable, asked.format, max_error=math.exp(middle))
        error = max(_output_errors(reference, _outputs(found[0], samples)).values())
        if error <= asked.max_error:
            low, best = middle, found if found[1] else best
        else:
            high = middle
    if best is None:
        raise ConfigError(
            f"no layer gets smaller with format={asked.format!r} while outputs stay within the "
            f"relative error {asked.max_error}; allow more, or leave layers out"
        )
    return best


def _replaced(
    model: nn.Module, usable: Mapping[str, nn.Module], format: Format, **how: Any
) -> tuple[nn.Module, list[dict[str, Any]], dict[str, str]]:
    """A copy of the model with every layer replaced that gets smaller."""
    made, changed, kept = copy.deepcopy(model), [], {}
    for name, module in usable.items():
        try:
            layer = factorize(module, format=format, **how)
        except ZooError as problem:
            kept[name] = str(problem)
            continue
        before, after = _count(module), _count(layer)
        if after >= before:
            kept[name] = f"{after} numbers would stand for {before}"
            continue
        put(made, name, layer)
        weight: Tensor = module.weight.detach()  # type: ignore[operator]
        difference = layer.weight.to_tensor().detach().reshape(weight.shape) - weight
        error = float(difference.norm() / weight.norm().clamp_min(1e-30))
        changed.append({**describe(name, layer), "before": before, "after": after, "error": error})
    return made, changed, kept


def _outputs(model: Any, samples: list[Any]) -> dict[str, Tensor]:
    """Outputs by name, in double precision."""
    found = model.eval()(samples)
    return {name: value.detach().double() for name, value in found.items()}


def _output_errors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """Root mean square of the change over the spread of each output; infinite if not finite."""
    errors = {}
    for name, value in before.items():
        if not value.numel() or not value.is_floating_point():
            continue
        spread = float((value - value.mean()).square().mean().sqrt())
        scale = spread if spread > 0 else max(float(value.square().mean().sqrt()), 1e-30)
        change = float((after[name] - value).square().mean().sqrt()) / scale
        errors[name] = change if math.isfinite(change) else math.inf
    return errors


def _note(
    model: Any, before: Any, asked: _Asked, layers: list[dict[str, Any]], error: float
) -> None:
    """Writes on the model what was done, for its manifest."""
    names = ("name", "format", "rank", "in_shape", "out_shape")
    step = {
        "parent": _parent(before),
        "version": zoo.__version__,
        "format": asked.format,
        "rank": asked.rank,
        "max_error": asked.max_error,
        "error": error,
        "layers": [{k: v for k, v in layer.items() if k in names} for layer in layers],
    }
    kept = {key: value for key, value in step.items() if value is not None}
    model.compression = [*getattr(before, "compression", []), kept]


def _parent(model: Any) -> dict[str, str] | None:
    manifest = model.manifest
    if manifest.authors is not None:
        return None
    return {"name": manifest.name, "sha256": manifest.weights.sha256}


def _compared(
    before: Any,
    after: Any,
    data: Any,
    split: str | None,
    keys: Mapping[str, str] | None,
    units: Mapping[str, str] | None,
) -> list[dict[str, Any]]:
    """Metrics of both models on the data set."""
    if data is None:
        return []
    options: dict[str, Any] = {"split": split, "keys": keys, "units": units}
    first, second = (evaluate(model, data, **options) for model in (before, after))
    known = {row["metric"]: row["unit"] for row in rows(first)}
    return [
        {"metric": name, "before": value, "after": second[name], "unit": known[name]}
        for name, value in first.items()
        if name in second
    ]


def _timed(before: Any, after: Any, samples: list[Any], repeats: int) -> dict[str, Any]:
    """Medians of calls made in turn."""
    calls = {"before": lambda: before(samples), "after": lambda: after(samples)}
    seconds = _timing.interleaved(calls, repeats=max(repeats, 1))
    return {
        "milliseconds": (
            _timing.median_ms(seconds["before"]),
            _timing.median_ms(seconds["after"]),
        ),
        "speedup": _timing.median_ratio(seconds["before"], seconds["after"]),
    }


def _name(model: Any, format: Format) -> str:
    stem, _, rest = model.manifest.name.partition(".")
    return f"{stem}-{format}.{rest}"


def _save(
    model: Any,
    before: Any,
    output: Path,
    name: str,
    samples: list[Any],
) -> Path:
    """Weights, manifest and card; the manifest keeps what holds of the weights as they were."""
    manifest = before.manifest
    told: dict[str, Any] = {
        "task": manifest.task,
        "training": manifest.training,
        "citation": manifest.citation,
        "limits": manifest.limits,
        "derived_from": _parent(before),
    }
    if not isinstance(model, SampleModel):
        told["inputs"] = manifest.inputs
        told["outputs"] = {
            key: value.model_dump(exclude_none=True) for key, value in manifest.outputs.items()
        }
    kept = {key: value for key, value in told.items() if value}
    return hub.save(model, output, name=name, golden_inputs=samples[:_GOLDEN], **kept)


def _bytes(manifest: hub.Manifest) -> int:
    """Of the weights file; 0 where it is the authors' own."""
    return 0 if manifest.authors is not None else manifest.weights.bytes


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
