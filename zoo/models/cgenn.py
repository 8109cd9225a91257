r"""Clifford group equivariant neural networks (Ruhe, Brandstetter, Forré, NeurIPS 2023).

arXiv:2305.11141. Vectors and scalars enter a Clifford algebra as multivectors; linear maps of
channels, geometric products with a weight per path of grades, and gates by invariants follow.

Four tasks of the paper, with its networks:

- "nbody", Cl(3): where charged particles are later. Charge, position from the centre and velocity
  of each particle pass through message layers on the complete graph; the last map's vector is the
  step that each particle makes.
- "hull", Cl(5): an invariant number of an ordered set of points, such as the volume of their convex
  hull: four geometric products, the norms of their channels, a perceptron.
- "regression", Cl(5): an invariant function of a few vectors: one geometric product, whose scalars
  go into a perceptron.
- "o3", Cl(3): the signed volume that points span: fully connected geometric products; the
  pseudoscalar is the answer, which changes its sign with a reflection.

Deviations from the authors' code: a vector whose quadratic form vanishes grows by no more than a
limit in a normalisation (`zoo.layers.clifford.MVNorm`); graphs of any number of particles work.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo.errors import CapabilityError, ConfigError, DataError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.complete_graph import complete_edges
from zoo.functional.scatter import scatter_mean
from zoo.functional.squares import safe_norm
from zoo.layers.clifford import (
    CliffordMessage,
    ConnectedGeometricProduct,
    GeometricProduct,
    MVLinear,
    MVSiLU,
)
from zoo.models._inputs import Raw, SampleBatch
from zoo.models._particles import check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register

Task = Literal["nbody", "hull", "o3", "regression"]
TASKS = ("nbody", "hull", "o3", "regression")
#: space, points of a sample, hidden channels and layers of the authors' networks
_USUAL = {
    "nbody": (3, 5, 28, 3),
    "hull": (5, 16, 32, 4),
    "o3": (3, 3, 96, 4),
    "regression": (5, 2, 8, 1),
}
#: tasks whose answer is an invariant number
INVARIANT = ("hull", "regression")
#: hidden channels of the perceptron that the authors end "regression" with
_MLP = 580
#: what a converted model is told about the task by
PRESET_DECIDES = ("task",)


@register("cgenn")
class CGENN(SampleModel):
    """Multivectors of points or particles, to positions, an invariant number, or a signed volume.

    Args:
        task: "nbody", "hull", "o3" or "regression"; see the module.
        hidden_channels: multivectors of each particle or sample; None for the authors' number, 28,
            32, 96 and 8.
        num_layers: message layers, geometric products, or (o3) the two products and the gates
            between them counted as the authors do; None for theirs, 3, 4, 4 and 1.
        in_channels: points in a sample of "hull", "o3" and "regression", in the order given; None
            for 16, 3 and 2.
        out_channels: numbers that "hull" and "regression" predict.
        dimension: of the space of "hull" and "regression", at most 8; None for the authors', 5.
        mlp_channels: width of the perceptron of "hull", which has one hidden layer, and of
            "regression", which has two; None for theirs, `hidden_channels` and 580.
    """

    domain = "particles"
    accepts = ("sequence",)

    def __init__(
        self,
        *,
        task: Task = "nbody",
        hidden_channels: int | None = None,
        num_layers: int | None = None,
        in_channels: int | None = None,
        out_channels: int = 1,
        dimension: int | None = None,
        mlp_channels: int | None = None,
    ) -> None:
        name = type(self).__name__
        if task not in TASKS:
            raise ConfigError(f"{name}: task is {task!r}; one of {', '.join(TASKS)}")
        space, points, hidden, layers = (
            usual if given is None else given
            for usual, given in zip(
                _USUAL[task], (dimension, in_channels, hidden_channels, num_layers), strict=True
            )
        )
        width = (_MLP if task == "regression" else hidden) if mlp_channels is None else mlp_channels
        sizes = {
            "hidden_channels": hidden,
            "num_layers": layers,
            "in_channels": points,
            "out_channels": out_channels,
            "mlp_channels": width,
        }
        _check(name, task, sizes)
        if task not in INVARIANT and (dimension, mlp_channels) != (None, None):
            raise ConfigError(
                f"{name}: dimension={dimension}, mlp_channels={mlp_channels} with task={task!r}; "
                f"they are for {' and '.join(INVARIANT)}"
            )
        super().__init__(
            domain="particles" if task == "nbody" else "sequence",
            sample_shape=(space,) if task == "nbody" else (points, space),
            outputs=("prediction",),
        )
        self.task: Task = task
        self.algebra = clifford.algebra(space)
        self.hidden_channels, self.mlp_channels = hidden, width
        #: what the contract suite measures; o3's answer changes its sign in mirrors
        self.symmetry = {"nbody": "S(n) x E(n)", "o3": "SO(n)"}.get(task, "O(n)")
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {
            "prediction": "equivariant" if task == "nbody" else "invariant"
        }
        build = {"nbody": self._nbody, "o3": self._o3}.get(task, self._invariant)
        build(points, hidden, layers)
        if task in INVARIANT:
            self.head = self.make_head(out_channels)

    # --- layers, which GLGENN has others of ------------------------------------------------------

    def _first(self, channels: int, hidden: int) -> nn.Module:
        return MVLinear(self.algebra, channels, hidden, by_grade=False)

    def _last(self, hidden: int) -> nn.Module:
        return MVLinear(self.algebra, hidden, 1)

    def _product(self, hidden: int) -> nn.Module:
        return GeometricProduct(self.algebra, hidden)

    def _message(self, hidden: int) -> nn.Module:
        return CliffordMessage(self.algebra, hidden, edge_channels=1)

    def _nbody(self, points: int, hidden: int, layers: int) -> None:
        self.embedding = self._first(3, hidden)
        self.layers: nn.Module = nn.ModuleList(self._message(hidden) for _ in range(layers))
        self.projection = self._last(hidden)

    def _invariant(self, points: int, hidden: int, layers: int) -> None:
        products = (self._product(hidden) for _ in range(layers))
        self.layers = nn.Sequential(self._first(points, hidden), *products)

    def _o3(self, points: int, hidden: int, layers: int) -> None:
        gates = (MVSiLU(self.algebra, hidden) for _ in range(layers - 1))
        first = ConnectedGeometricProduct(self.algebra, points, hidden)
        self.layers = nn.Sequential(first, *gates)
        self.readout = ConnectedGeometricProduct(self.algebra, hidden, 1)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh perceptron on the norms or, in "regression", the scalars of the channels.

        Raises:
            CapabilityError: for the tasks whose answers are geometric.
        """
        if self.task not in INVARIANT:
            raise CapabilityError(
                f"{self._title()} with task={self.task!r} has no head: its answer is the "
                "vector or pseudoscalar of its last multivector; make one with task='hull'"
            )
        hidden, width = self.hidden_channels, self.mlp_channels
        hull = self.task == "hull"
        sizes = [hidden, width, out_channels] if hull else [hidden, width, width, out_channels]
        first, *rest = (nn.Linear(a, b) for a, b in pairwise(sizes))
        gate = nn.SiLU if hull else nn.ReLU
        return nn.Sequential(first, *(part for layer in rest for part in (gate(), layer)))

    def compiled(self) -> AbstractContextManager[None]:
        """A block in which products, norms and gates run as C code, for small batches too."""
        return clifford.compiled_products()

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        layers = list(cast(nn.Sequential, self.layers))
        if self.task == "nbody":
            return [self.embedding, *layers, self.projection]
        return [*layers, self.head if self.task in INVARIANT else self.readout]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without velocities or charges."""
        if self.task == "nbody":
            check_charged(batch, self._title())

    def __call__(self, inputs: Raw, **options: Any) -> dict[str, Tensor]:
        """Evaluates samples; see `SampleModel`.

        Also takes the plain tensors of the authors' networks: `loc`, `vel` (samples, particles, 3)
        and `charges` (samples, particles, 1) give `loc_end`; `points` (samples, points, n) gives
        `volume` (samples,) or, for o3, the last `multivector` (samples, 1, 8).
        """
        if isinstance(inputs, Mapping) and ({"loc", "points"} & set(inputs)):
            self._check_precision()
            return self._plain(inputs)
        return super().__call__(inputs, **options)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Predictions.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, 3) and `charge` (n,); or `x` (samples,
                points, dimension).

        Returns:
            `prediction`: later positions (n, 3), or numbers (samples, out_channels).
        """
        if self.task == "nbody":
            graph = cast(Batch, batch)
            counts = torch.diff(graph.ptr)
            return {"prediction": self._moved(graph.pos, graph.vel, graph.charge, counts)}
        points = cast(dict[str, Tensor], batch)["x"]
        out = self._multivectors(points)
        if self.task == "o3":
            return {"prediction": out[:, :, -1]}
        return {"prediction": self.head(safe_norm(out) if self.task == "hull" else out[..., 0])}

    def _multivectors(self, points: Tensor) -> Tensor:
        """(samples, points, dimension) through the layers: (samples, channels, blades)."""
        out: Tensor = cast(nn.Sequential, self.layers)(clifford.embed(points, 1, self.algebra))
        return cast(Tensor, self.readout(out)) if self.task == "o3" else out

    def _moved(self, pos: Tensor, vel: Tensor, charge: Tensor, counts: Tensor) -> Tensor:
        """Later positions (n, 3) of particles in samples of `counts` each."""
        of, charge = self.algebra, charge.to(pos)
        sample = torch.repeat_interleave(counts)
        centre = scatter_mean(pos, sample, counts.shape[0]).index_select(0, sample)
        scalar = clifford.embed(charge[:, None], 0, of)
        vectors = (clifford.embed(v, 1, of) for v in (pos - centre, vel))
        h = self.embedding(torch.stack([scalar, *vectors], dim=1))
        edges = complete_edges(counts).flip(0)
        product = charge[edges[0]] * charge[edges[1]]
        attributes = clifford.embed(product[:, None], 0, of)[:, None]
        for layer in cast(nn.ModuleList, self.layers):
            h = layer(h, edges, attributes)
        step: Tensor = self.projection(h)[:, 0, of.slice(1)]
        return pos + step

    def _plain(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        if self.task == "nbody":
            loc = self._tensor(inputs, "loc", (None, None, 3))
            vel = self._tensor(inputs, "vel", tuple(loc.shape))
            charges = self._tensor(inputs, "charges", (*loc.shape[:2], 1))
            counts = torch.full((loc.shape[0],), loc.shape[1], device=loc.device)
            flat = (loc.reshape(-1, 3), vel.reshape(-1, 3), charges.reshape(-1))
            return {"loc_end": self._moved(*flat, counts).reshape(loc.shape)}
        points = self._tensor(inputs, "points", (None, *cast(tuple[int, int], self.sample_shape)))
        if self.task == "o3":
            return {"multivector": self._multivectors(points)}
        return {"volume": self.forward({"x": points})["prediction"][:, 0]}

    def _tensor(
        self, inputs: Mapping[str, Any], name: str, shape: tuple[int | None, ...]
    ) -> Tensor:
        """One of the authors' plain tensors, None in `shape` for an axis of any length."""
        value = inputs.get(name)
        found = tuple(value.shape) if isinstance(value, Tensor) else ()
        fits = len(found) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, found, strict=True)
        )
        if not isinstance(value, Tensor) or not fits:
            told = found if isinstance(value, Tensor) else type(value).__name__
            spelled = ", ".join("any" if axis is None else str(axis) for axis in shape)
            raise UnsupportedInputError(
                f"{self._title()} with task={self.task!r} takes a tensor {name} ({spelled}), not "
                f"{told}; the names given are {', '.join(inputs)}"
            )
        if value.dtype != self.dtype:
            raise DataError(
                f"{name} is in {value.dtype} but the model is {self.dtype}; cast one of the two"
            )
        return value


def _check(name: str, task: Task, sizes: Mapping[str, int]) -> None:
    if min(sizes.values()) < 1:
        told = ", ".join(f"{key}={value}" for key, value in sizes.items())
        raise ConfigError(f"{name} for {task}: {told}; expected numbers >= 1")
    if task not in INVARIANT and sizes["out_channels"] != 1:
        raise ConfigError(
            f"{name}: out_channels={sizes['out_channels']}; only the tasks "
            f"{' and '.join(INVARIANT)} have several"
        )


def _from_authors(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights from the authors' network, whose keys may begin with "weight/"."""
    renamed = {"net.": "layers.", "mlp.": "head.", "projection.0.": "projection."}
    ours = {}
    for key, value in state.items():
        name = key.removeprefix("weight/")
        if "algebra" in name.split("."):  # tables of theirs, which ours computes
            continue
        for old, new in renamed.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
        ours[name] = value
    task = options.get("task") or _task_of(ours)
    arguments: dict[str, Any] = {"task": task}
    for theirs in ("n_layers", "num_layers"):
        if theirs in options:
            arguments["num_layers"] = int(options[theirs])
    if "hidden_features" in options:
        arguments["hidden_channels"] = int(options["hidden_features"])
    if task == "o3":
        arguments["in_channels"] = ours["layers.0.linear_left.weight"].shape[1]
        last = f"layers.{max(int(key.split('.')[1]) for key in ours)}."
        ours = {
            f"readout.{key.removeprefix(last)}" if key.startswith(last) else key: value
            for key, value in ours.items()
        }
    return arguments, ours


def _task_of(state: Mapping[str, Tensor]) -> str:
    if "embedding.weight" in state:
        return "nbody"
    return "hull" if "head.0.weight" in state else "o3"


CONVERTERS = {"cgenn": _from_authors}
