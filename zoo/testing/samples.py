"""Small random inputs of every domain but atoms, and odd ones: one row per domain.

A model with other needs brings its own, by methods `examples(rng, count)`, a list of raw samples,
and `odd_examples(rng)`, lists of samples by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from zoo.datasets.domains import ComplexData
from zoo.errors import ConfigError


@dataclass(frozen=True)
class Wanted:
    """What a model takes.

    Attributes:
        domain: of the samples.
        shape: of one sample's main field (of one node's features for graphs); None for the
            domain's usual one, and in it None for an axis of any length.
        tokens: how many there are, where `x` holds their numbers.
        bases: whether square matrices are bases rather than positive definite.
    """

    domain: str
    shape: tuple[int | None, ...] | None = None
    tokens: int | None = None
    bases: bool = False

    def axes(self, *usual: int) -> tuple[int, ...]:
        """The shape, its free axes filled with the usual lengths."""
        if self.shape is None:
            return usual
        filled = usual[: len(self.shape)] + (5,) * (len(self.shape) - len(usual))
        return tuple(u if n is None else n for n, u in zip(self.shape, filled, strict=True))


Samples = list[Any]
_SIZES = (5, 4, 6)  # nodes


def make(wanted: Wanted, rng: np.random.Generator, count: int = 4) -> Samples:
    """Random samples.

    Raises:
        ConfigError: for a domain without small inputs.
    """
    if wanted.domain not in _MAKE:
        raise ConfigError(f"there are no small inputs of the domain {wanted.domain!r}")
    return [_MAKE[wanted.domain](wanted, rng, index) for index in range(count)]


def odd(wanted: Wanted, rng: np.random.Generator) -> Mapping[str, Samples]:
    """Lawful samples at the limits of a domain: identity matrices, zeros, graphs without edges."""
    return _ODD[wanted.domain](wanted, rng)


def orthogonal(rng: np.random.Generator, size: int, columns: int | None = None) -> np.ndarray:
    """A random orthogonal matrix, or its first columns."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return np.asarray((q * np.sign(np.diag(r)))[:, :columns])


def positive(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Random symmetric positive definite matrices (..., n, n) with eigenvalues from 1/3 to 3."""
    *lead, n, _ = shape
    values = np.exp(rng.uniform(-1.1, 1.1, (*lead, n)))
    frames = np.empty(tuple(shape))
    for index in np.ndindex(*lead):
        frames[index] = orthogonal(rng, n)
    return np.asarray((frames * values[..., None, :]) @ frames.swapaxes(-1, -2))


# --- samples with x ----------------------------------------------------------------------------


def _plain(*usual: int, low: float = -1.5) -> Callable[..., Any]:
    def build(wanted: Wanted, rng: np.random.Generator, index: int) -> Any:
        return {"x": rng.uniform(low, 1.5, wanted.axes(*usual))}

    return build


def _matrix(wanted: Wanted, rng: np.random.Generator, index: int) -> Any:
    axes = wanted.axes(4, 4)
    if axes[-1] == axes[-2] and not wanted.bases:
        return {"x": positive(rng, axes)}
    frames = np.empty(axes)
    for place in np.ndindex(*axes[:-2]):
        frames[place] = orthogonal(rng, axes[-2], axes[-1])
    return {"x": frames}


def _signal(wanted: Wanted, rng: np.random.Generator, index: int) -> Any:
    channels, times = wanted.axes(4, 64)
    return {"x": rng.normal(size=(channels, channels)) @ rng.normal(size=(channels, times))}


def _sequence(wanted: Wanted, rng: np.random.Generator, index: int) -> Any:
    if wanted.tokens is None:
        return {"x": rng.normal(size=wanted.axes(6, 3))}
    return {"x": rng.integers(0, wanted.tokens, wanted.axes(6))}


# --- graph-like samples -----------------------------------------------------------------------


def graph(wanted: Wanted, rng: np.random.Generator, nodes: int, edges: np.ndarray) -> Data:
    """A graph with random features, given its edges (2, e)."""
    features = rng.normal(size=(nodes, *wanted.axes(3)))
    return Data(x=torch.tensor(features), edge_index=torch.tensor(edges, dtype=torch.int64))


def ring(rng: np.random.Generator, nodes: int) -> np.ndarray:
    """Edges (2, e) in both directions of a ring with a chord."""
    steps = np.arange(nodes)
    pairs = np.stack([steps, (steps + 1) % nodes])
    chord = np.array([[0], [nodes // 2]])
    both = np.concatenate([pairs, chord, pairs[::-1], chord[::-1]], axis=1)
    return np.unique(both, axis=1)


def _graph(wanted: Wanted, rng: np.random.Generator, index: int) -> Data:
    nodes = _SIZES[index % len(_SIZES)]
    made = graph(wanted, rng, nodes, ring(rng, nodes))
    pairs = rng.permuted(np.tile(np.arange(nodes), (3, 1)), axis=1)[:, :2].T
    made["edge_label_index"] = torch.tensor(np.ascontiguousarray(pairs))
    return made


def _points(wanted: Wanted, rng: np.random.Generator, index: int) -> Data:
    nodes = _SIZES[index % len(_SIZES)]
    return Data(pos=torch.tensor(rng.normal(size=(nodes, *wanted.axes(3)))))


def _particles(wanted: Wanted, rng: np.random.Generator, index: int) -> Data:
    made = _points(wanted, rng, index)
    made["vel"] = torch.tensor(rng.normal(size=tuple(made.pos.shape)))
    made["charge"] = torch.tensor(rng.choice([-1.0, 1.0], len(made.pos)))
    return made


def _complex(wanted: Wanted, rng: np.random.Generator, index: int) -> Data:
    """A triangle with a tail: four nodes, four edges, one face."""
    f = wanted.axes(3)
    return ComplexData(
        num_cells=torch.tensor([[4, 4, 1]]),
        boundary_1_index=torch.tensor([[0, 1, 0, 2, 1, 2, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]]),
        boundary_1_sign=torch.tensor([-1.0, 1.0] * 4, dtype=torch.float64),
        boundary_2_index=torch.tensor([[0, 1, 2], [0, 0, 0]]),
        boundary_2_sign=torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64),
        x_0=torch.tensor(rng.normal(size=(4, *f))),
        x_1=torch.tensor(rng.normal(size=(4, *f))),
        x_2=torch.tensor(rng.normal(size=(1, *f))),
    )


# --- odd samples ------------------------------------------------------------------------------


def _odd_matrices(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
    axes = wanted.axes(4, 4)
    n, p = axes[-2:]
    if n != p or wanted.bases:
        return _odd_bases(axes, rng)
    twice = np.exp(np.arange(n) // 2 - 1.0)
    frame = orthogonal(rng, n)
    near = (frame * (1 + 1e-9 * np.arange(n))) @ frame.T
    found = {
        "identity": np.eye(n),
        "multiple of the identity": 0.1 * np.eye(n),
        "repeated eigenvalues": np.diag(twice),
        "repeated eigenvalues, turned": (frame * twice) @ frame.T,
        "nearly repeated eigenvalues": (near + near.T) / 2,
        "eigenvalues from 1e-3 to 1e3": np.diag(np.logspace(-3, 3, n)),
    }
    return {name: [{"x": np.broadcast_to(m, axes).copy()}] * 2 for name, m in found.items()}


def _odd_bases(axes: tuple[int, ...], rng: np.random.Generator) -> dict[str, Samples]:
    n, p = axes[-2:]
    found = {"coordinate axes": np.eye(n)[:, :p], "last axes": np.eye(n)[:, n - p :]}
    one = orthogonal(rng, n, p)
    return {
        name: [{"x": np.broadcast_to(m, axes).copy()}] * 2
        for name, m in {**found, "the same twice": one}.items()
    }


def _odd_signals(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
    """Series whose covariance is the identity, has repeated eigenvalues, or is tiny."""
    channels, times = wanted.axes(4, 64)
    # noise, whose delayed copies are independent as well
    noise = rng.normal(size=(times, channels))
    white = np.linalg.qr(noise - noise.mean(0))[0].T * np.sqrt(times)
    scaled = white * np.exp(np.arange(channels) // 2)[:, None]
    found = {"white": white, "repeated powers": scaled, "small": 1e-3 * white}
    return {name: [{"x": x}] * 2 for name, x in found.items()}


def _odd_plain(*usual: int) -> Callable[..., dict[str, Samples]]:
    def build(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
        axes = wanted.axes(*usual)
        found = {"zeros": np.zeros(axes), "ones": np.ones(axes), "large": np.full(axes, 30.0)}
        return {name: [{"x": x}] * 2 for name, x in found.items()}

    return build


def _odd_sequences(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
    if wanted.tokens is None:
        return _odd_plain(6, 3)(wanted, rng)
    axes = wanted.axes(6)
    found = {"first token": 0, "last token": wanted.tokens - 1}
    return {name: [{"x": np.full(axes, token)}] * 2 for name, token in found.items()}


def _odd_graphs(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
    none = np.zeros((2, 0), dtype=np.int64)
    zero = graph(wanted, rng, 5, ring(rng, 5))
    zero["x"] = torch.zeros_like(zero.x)
    loops = np.concatenate([ring(rng, 4), np.tile(np.arange(4), (2, 1))], axis=1)
    found = {
        "zero features": zero,
        "no edges": graph(wanted, rng, 4, none),
        "one node": graph(wanted, rng, 1, none),
        "an isolated node": graph(wanted, rng, 5, ring(rng, 4)),
        "self-loops": graph(wanted, rng, 4, loops),
    }
    for made in found.values():
        made["edge_label_index"] = torch.zeros((2, 1), dtype=torch.int64)
    return {name: [made] for name, made in found.items()}


def _odd_clouds(wanted: Wanted, rng: np.random.Generator) -> dict[str, Samples]:
    make_one = _MAKE[wanted.domain]
    found = {}
    for name in ("coincident points", "points on a line", "one point"):
        sample = make_one(wanted, rng, 0)
        if name == "coincident points":
            sample["pos"] = torch.zeros_like(sample.pos)
        elif name == "points on a line":
            line = torch.arange(len(sample.pos), dtype=sample.pos.dtype)
            sample["pos"] = line[:, None] * sample.pos[:1]
        else:
            sample = Data(**{key: value[:1] for key, value in sample.to_dict().items()})
        found[name] = [sample]
    return found


_MAKE: Mapping[str, Callable[[Wanted, np.random.Generator, int], Any]] = {
    "particles": _particles,
    "points": _points,
    "complex": _complex,
    "graph": _graph,
    "matrix": _matrix,
    "signal": _signal,
    "tensor": _plain(3, 3),
    "image": _plain(1, 8, 8, low=0.0),
    "field": _plain(1, 8, 8),
    "sequence": _sequence,
    "vector": _plain(5),
}
_ODD: Mapping[str, Callable[[Wanted, np.random.Generator], Mapping[str, Samples]]] = {
    "particles": _odd_clouds,
    "points": _odd_clouds,
    "complex": lambda wanted, rng: {},
    "graph": _odd_graphs,
    "matrix": _odd_matrices,
    "signal": _odd_signals,
    "tensor": _odd_plain(3, 3),
    "image": _odd_plain(1, 8, 8),
    "field": _odd_plain(1, 8, 8),
    "sequence": _odd_sequences,
    "vector": _odd_plain(5),
}
