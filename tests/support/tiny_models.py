"""One tiny model for each form of sample, so that runs of every kind of task take a second."""

from typing import Any, Literal

import geoopt
import torch
from torch import Tensor, nn

import zoo
from zoo.errors import ConfigError
from zoo.models._sample import SampleModel


def scatter_mean(values: Tensor, index: Tensor, size: int) -> Tensor:
    total = values.new_zeros(size, values.shape[1]).index_add(0, index, values)
    ones = values.new_zeros(size).index_add(0, index, values.new_ones(len(index)))
    return total / ones.clamp(min=1.0)[:, None]


class _Plain(SampleModel):
    """Two layers on flat samples, with batch normalisation or dropout between them."""

    def __init__(self, width: int, hidden: int, out: int, *, extra: str, **base: Any) -> None:
        super().__init__(**base)
        self.first = nn.Linear(width, hidden)
        self.middle: nn.Module = {
            "none": nn.Tanh(),
            "norm": nn.BatchNorm1d(hidden),
            "dropout": nn.Dropout(0.3),
        }[extra]
        self.hidden = hidden
        self.head = self.make_head(out)

    def make_head(self, out_channels: int) -> nn.Module:
        return nn.Linear(self.hidden, out_channels)

    def blocks(self) -> list[nn.Module]:
        return [self.first, self.middle, self.head]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = batch["x"].flatten(1)
        return {self.outputs[0]: self.head(self.middle(self.first(x)).tanh())}


@zoo.register("tinyvector")
class TinyVector(_Plain):
    """Features to classes or numbers."""

    domain = "vector"

    def __init__(
        self,
        *,
        in_channels: int = 4,
        out_channels: int = 3,
        hidden_channels: int = 8,
        output: Literal["logits", "prediction"] = "logits",
        extra: Literal["none", "norm", "dropout"] = "none",
        sphere: bool = False,
    ) -> None:
        base = {"sample_shape": (in_channels,), "outputs": (output,)}
        super().__init__(in_channels, hidden_channels, out_channels, extra=extra, **base)
        if sphere:
            start = torch.nn.functional.normalize(torch.randn(2, hidden_channels), dim=-1)
            self.pole = geoopt.ManifoldParameter(start, manifold=geoopt.Sphere())

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        out = super().forward(batch)
        if not hasattr(self, "pole"):
            return out
        shift = (self.first(batch["x"]) @ self.pole.T).sum(-1, keepdim=True)
        return {name: value + shift * self.head.bias for name, value in out.items()}


@zoo.register("tinymatrix")
class TinyMatrix(_Plain):
    """Entries of matrices to classes; signals through their covariances."""

    domain = "matrix"
    accepts = ("signal",)

    def __init__(
        self, *, in_channels: int = 3, out_channels: int = 2, front_end: bool = False
    ) -> None:
        shape = (in_channels, None) if front_end else (in_channels, in_channels)
        base = {"domain": "signal" if front_end else None, "sample_shape": shape}
        super().__init__(in_channels**2, 8, out_channels, extra="none", **base)
        # one centre for each domain, which an unlabelled batch sets
        self.register_buffer("centre", torch.zeros(4, in_channels**2))

    def adapt(self, batch: dict[str, Tensor]) -> None:
        assert "y" not in batch
        x = self._matrices(batch["x"]).flatten(1)
        for number in batch["domain"].unique().tolist():
            self.centre[number] = x[batch["domain"] == number].mean(0)

    def _matrices(self, x: Tensor) -> Tensor:
        return x @ x.mT / x.shape[-1] if self.domain == "signal" else x

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self._matrices(batch["x"]).flatten(1)
        if "domain" in batch:
            x = x - self.centre[batch["domain"]]
        return super().forward({"x": x})


@zoo.register("tinyimage")
class TinyImage(_Plain):
    """Pixels to classes."""

    domain = "image"

    def __init__(self, *, in_channels: int = 1, size: int = 4, out_channels: int = 2) -> None:
        base = {"sample_shape": (in_channels, size, size)}
        super().__init__(in_channels * size**2, 8, out_channels, extra="norm", **base)


@zoo.register("tinygraph")
class TinyGraph(SampleModel):
    """One round of messages; labels of nodes or graphs, or scores of pairs."""

    domain = "graph"

    def __init__(
        self,
        *,
        in_channels: int = 5,
        out_channels: int = 3,
        level: Literal["node", "graph", "pair"] = "node",
    ) -> None:
        name = {"node": "logits", "graph": "prediction", "pair": "score"}[level]
        super().__init__(sample_shape=(in_channels,), outputs=(name,))
        self.level = level
        self.own, self.other = nn.Linear(in_channels, 8), nn.Linear(in_channels, 8)
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        return nn.Linear(8, out_channels)

    def blocks(self) -> list[nn.Module]:
        return [nn.ModuleList([self.own, self.other]), self.head]

    def forward(self, batch: Any) -> dict[str, Tensor]:
        source, target = batch.edge_index
        heard = scatter_mean(batch.x[source], target, len(batch.x))
        h = self.head((self.own(batch.x) + self.other(heard)).tanh())
        if self.level == "pair":
            a, b = h[batch.edge_label_index]
            return {"score": 2.0 - (a - b).square().sum(-1)}
        if self.level == "graph":
            return {"prediction": scatter_mean(h, batch.batch, batch.num_graphs)[:, 0]}
        return {"logits": h}


@zoo.register("tinytokens")
class TinyTokens(SampleModel):
    """A recurrent net on tokens: the next one, or a class of the whole."""

    domain = "sequence"

    def __init__(self, *, tokens: int = 6, out_channels: int = 6, per_step: bool = True) -> None:
        super().__init__(sample_shape=(None,), tokens=tokens)
        self.per_step = per_step
        self.embedding = nn.Embedding(tokens, 8)
        self.cell = nn.GRU(8, 8, batch_first=True)
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        return nn.Linear(8, out_channels)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x, lengths = batch["x"], batch.get("lengths")
        states, _ = self.cell(self.embedding(x))
        if self.per_step:
            return {"logits": self.head(states)}
        last = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        return {"logits": self.head(states[torch.arange(len(x)), last - 1])}


@zoo.register("tinyplaces")
class TinyPlaces(SampleModel):
    """A place for every node of one graph: an objective of its own."""

    domain = "graph"
    fields = ("edge_index",)
    transductive = True

    def __init__(self, *, num_nodes: int = 15, out_channels: int = 2) -> None:
        super().__init__(outputs=("embedding",))
        if num_nodes < 2:
            raise ConfigError("num_nodes must be at least 2")
        self.place = nn.Parameter(torch.randn(num_nodes, out_channels))

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return {"embedding": self.place}

    def objective(self, outputs: dict[str, Tensor], batch: Any) -> Tensor:
        a, b = outputs["embedding"][batch.edge_index]
        return ((a - b).norm(dim=-1) - 1.0).square().mean()

    def measures(self, outputs: dict[str, Tensor], batch: Any) -> dict[str, Any]:
        a, b = outputs["embedding"][batch.edge_index]
        error = ((a - b).norm(dim=-1) - 1.0).abs()
        return {"distortion": (error.sum(), error.new_tensor(float(len(error))))}
