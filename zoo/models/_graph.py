"""What networks on graphs share: the level that they answer at, and the head."""

from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch_geometric.data import Data

from zoo.errors import CapabilityError, ConfigError
from zoo.functional import scatter_mean
from zoo.models._sample import SampleModel

GraphTask = Literal["node", "edge", "graph", "link"]
#: widths of a row of the head's input, in widths of a node's features
_WIDTHS = {"node": 1, "edge": 3, "graph": 1, "link": 2}


class GraphModel(SampleModel):
    """A network that gives nodes features, and a linear head that answers from them.

    The head reads a node's features x_v; of a pair of nodes [x_u, x_v, x_u x_v], of a link
    [x_u + x_v, x_u x_v], which has no direction; of a graph the mean over its nodes.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict; a link has one score.
        width: of the features that the head reads.
        task: "node" and "graph" answer for each; "edge" for the pairs in `edge_label_index`, the
            edges themselves where there are none; "link" gives their `score`.
        regression: gives `prediction` instead of `logits`.

    Raises:
        ConfigError: for an unknown task, sizes below 1, or a regression of links.
    """

    domain = "graph"

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int,
        task: GraphTask,
        regression: bool,
    ) -> None:
        if task not in get_args(GraphTask):
            raise ConfigError(f"task={task!r}: expected one of {', '.join(get_args(GraphTask))}")
        if regression and task == "link":
            raise ConfigError("links have a score, nothing to regress: set regression=False")
        if min(in_channels, width) < 1:
            raise ConfigError(
                f"in_channels={in_channels}, hidden channels {width}: expected at least 1 of each"
            )
        answer = "score" if task == "link" else "prediction" if regression else "logits"
        super().__init__(sample_shape=(in_channels,), outputs=(answer,))
        self.task: GraphTask = task
        self.width = width
        rows = _WIDTHS[task] * width
        self.head = nn.Linear(rows, 1) if task == "link" else self.make_head(out_channels)

    @property
    def pairwise(self) -> tuple[str, ...]:
        """Outputs with one row for each pair of nodes."""
        return self.outputs if self.task in ("edge", "link") else ()

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh linear head.

        Raises:
            CapabilityError: for a model that scores links.
        """
        if self.task == "link":
            raise CapabilityError(
                f"{type(self).__name__} with task='link' has one score and no head to replace; "
                "make one with task='edge' for classes of pairs"
            )
        return nn.Linear(_WIDTHS[self.task] * self.width, out_channels)

    def answers(self, x: Float[Tensor, "nodes width"], graph: Data) -> dict[str, Tensor]:
        """Outputs by name: the answer, and the features that it was read from.

        Args:
            x: features of all nodes.
            graph: they belong to.

        Returns:
            `logits` (of nodes also their `log_softmax`), `prediction`, or `score`; and `embedding`,
            of nodes (of graphs for "graph"). Classes of pairs have none.
        """
        if self.task in ("edge", "link"):
            link = self.task == "link"
            rows, embedding = _ends(x, graph, link), {"embedding": x} if link else {}
        else:
            rows = x if self.task == "node" else _means(x, graph)
            embedding = {"embedding": rows}
        out: Tensor = self.head(rows)
        if self.task == "link":
            return {"score": out[:, 0], **embedding}
        if self.outputs == ("prediction",):
            return {"prediction": out, **embedding}
        answer = {"logits": out}
        if self.task == "node":
            answer["log_softmax"] = log_softmax(out, dim=1)
        return answer | embedding


def check_dropout(**rates: float) -> None:
    """Refuses rates outside [0, 1).

    Raises:
        ConfigError: naming them all.
    """
    if not all(0 <= rate < 1 for rate in rates.values()):
        told = ", ".join(f"{name}={rate}" for name, rate in rates.items())
        raise ConfigError(f"{told}: expected 0 <= dropout < 1")


def _ends(x: Tensor, graph: Data, symmetric: bool) -> Tensor:
    """[x_u, x_v, x_u x_v] of each pair (pairs, 3 width), or [x_u + x_v, x_u x_v] (2 width)."""
    pairs = graph.get("edge_label_index")
    u, v = cast(Tensor, graph.edge_index if pairs is None else pairs)
    first, second = x.index_select(0, u), x.index_select(0, v)
    own = [first + second] if symmetric else [first, second]
    return torch.cat([*own, first * second], dim=1)


def _means(x: Tensor, graph: Data) -> Tensor:
    """Means over the nodes of each graph (graphs, width); zeros for a graph without nodes."""
    owner = graph.get("batch")
    if owner is None:
        return x.sum(dim=0, keepdim=True) / max(x.shape[0], 1)
    return scatter_mean(x, owner, graph.num_graphs)
