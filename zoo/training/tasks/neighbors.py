"""Mini-batches of a graph that is too large for a step: nodes with drawn neighbourhoods.

Hamilton, Ying, Leskovec, Inductive representation learning on large graphs, NeurIPS 2017, algorithm
2: of each node at most so many neighbours are drawn, uniformly and without repetition, then of
these in turn. PyG's `NeighborLoader` makes the batches; its own sampler needs compiled packages
(pyg-lib or torch-sparse) and draws from a global generator, so the one here takes its place: what
it draws depends on the seed and on the nodes of the batch alone, and a resumed run sees the same.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.sampler import BaseSampler, NodeSamplerInput, SamplerOutput

from zoo.errors import CapabilityError, RecipeError
from zoo.models._inputs import SampleBatch, batch_of
from zoo.training.batches import Indices
from zoo.training.recipe import TrainerSection
from zoo.training.tasks.data import TaskSamples


class NeighborhoodSampler(BaseSampler):  # type: ignore[misc]
    """Draws the neighbourhoods of nodes, as PyG's loaders ask for them.

    Edges lead from row 0 to row 1 of `edge_index`, and messages with them: the neighbours of a node
    are those from which edges come in. A node is expanded once, when it is first met.

    Args:
        edge_index: (2, edges).
        nodes: their number.
        sizes: how many neighbours of each node are drawn, hop by hop; -1 takes all.
        seed: of everything that is drawn.
    """

    def __init__(
        self, edge_index: Int[Tensor, "2 edges"], nodes: int, sizes: Sequence[int], *, seed: int = 0
    ) -> None:
        self.sizes, self.nodes, self.seed = tuple(sizes), nodes, seed
        source, target = edge_index.numpy()
        self._edges = np.argsort(target, kind="stable")
        self._source = source[self._edges]
        self._first = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=nodes))])

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> SamplerOutput:
        """The nodes that were drawn, those of `index` first, and the edges between them."""
        seeds = index.node.numpy()
        words = hashlib.sha256(seeds.astype("<i8").tobytes()).digest()
        rng = np.random.default_rng((self.seed, int.from_bytes(words[:8], "little")))
        place = np.full(self.nodes, -1, dtype=np.int64)
        place[seeds] = np.arange(len(seeds))
        met, edges, targets, frontier = [seeds], [], [], seeds
        for size in self.sizes:
            drawn, owner = self._draw(frontier, size, rng)
            source = self._source[drawn]
            edges.append(drawn)
            targets.append(owner)
            frontier = np.unique(source[place[source] < 0])
            place[frontier] = np.arange(len(frontier)) + sum(len(nodes) for nodes in met)
            met.append(frontier)
        chosen = np.concatenate(edges)
        return SamplerOutput(
            node=torch.from_numpy(np.concatenate(met)),
            row=torch.from_numpy(place[self._source[chosen]]),
            col=torch.from_numpy(place[np.concatenate(targets)]),
            edge=torch.from_numpy(self._edges[chosen]),
            num_sampled_nodes=[len(nodes) for nodes in met],
            num_sampled_edges=[len(some) for some in edges],
            metadata=(index.input_id, index.time),
        )

    def sample_from_edges(self, *inputs: Any, **kwargs: Any) -> SamplerOutput:
        """Not offered.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            "neighbourhoods are drawn around nodes, not around edges; for links train on the whole "
            "graph"
        )

    def _draw(self, nodes: Indices, size: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Places of the edges into some nodes, and the node of each; at most `size` per node."""
        counts = self._first[nodes + 1] - self._first[nodes]
        ends = np.cumsum(counts)
        offset = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        places = np.repeat(self._first[nodes], counts) + offset
        owner = np.repeat(nodes, counts)
        if size < 0 or not len(places):
            return places, owner
        order = np.lexsort((rng.random(len(places)), np.repeat(np.arange(len(nodes)), counts)))
        kept = np.sort(order[offset < size])  # the first of each node in a random order
        return places[kept], owner[kept]


class NeighborSamples(Dataset[SampleBatch]):
    """Batches of labelled nodes of the only graph, each with a drawn neighbourhood.

    Args:
        samples: of one graph whose nodes are divided.
        sizes: neighbours per hop.
        seed: of what is drawn.

    Raises:
        RecipeError: there are several graphs, or the splits do not divide nodes.
    """

    redraws = False

    def __init__(self, samples: TaskSamples, sizes: Sequence[int], *, seed: int) -> None:
        self._samples, self.parts = samples, samples.parts
        part, task = samples.part, samples.task
        graph = samples[[0]]
        if part.mask is None or task.kind.output not in ("logits", "prediction"):
            raise RecipeError(
                "trainer.neighbors draws neighbourhoods of labelled nodes: it is for one graph "
                f"whose nodes are divided into splits, not for {task.name} on {part.source} "
                f"({len(part)} samples); leave it out"
            )
        assert isinstance(graph, Data)
        self._graph = _plain(graph)
        nodes = int(graph.num_nodes or 0)
        self._loader = NeighborLoader(
            self._graph,
            num_neighbors=list(sizes),
            input_nodes=graph[part.mask],
            neighbor_sampler=NeighborhoodSampler(graph.edge_index, nodes, sizes, seed=seed),
        )
        self._count = int(graph[part.mask].sum())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: Sequence[int]) -> SampleBatch:
        """The batch of some labelled nodes; of none, the first one as if it had no label."""
        drawn = self._loader([int(i) for i in indices] or [0])
        sample = Data(**{name: drawn[name] for name in self._graph.keys()})
        part = self._samples.part
        batch = batch_of([sample], part.data.domain, self._samples.dtype)
        rows = torch.arange(int(sample.num_nodes or 0)) < len(indices)
        batch["rows"] = rows
        return batch


def drawn(samples: TaskSamples, model: Any, options: TrainerSection) -> NeighborSamples:
    """The same samples as batches of nodes with neighbourhoods, as the recipe asks for them.

    Raises:
        RecipeError: the model knows only whole graphs, or see `NeighborSamples`.
    """
    if model.transductive:
        raise RecipeError(
            f"trainer.neighbors cuts graphs into parts, but {model.architecture} knows only the "
            "nodes of the whole graph that it is made for; leave it out"
        )
    return NeighborSamples(samples, options.neighbors or (), seed=options.seed)


def _plain(graph: Data) -> Data:
    """One graph without what makes it a batch."""
    left_out = {"batch", "ptr", "rows"}
    return Data(**{k: v for k, v in graph.to_dict().items() if k not in left_out})
