"""Mini-batches of one large graph: what is drawn, and that all neighbours give the whole graph."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_data
import torch
from task_runs import run, sections, write
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.sampler import NodeSamplerInput, SamplerOutput

import zoo
from zoo.errors import CapabilityError, RecipeError
from zoo.training import recipe as recipes
from zoo.training.fit import ATOMS
from zoo.training.tasks.neighbors import NeighborhoodSampler, drawn

pytestmark = pytest.mark.usefixtures("undrawn")

NODES = {
    "model": {"name": "tinygraph", "config": {"out_channels": 3}},
    "data": {"source": "graph.npz"},
    "task": {"kind": "classification", "level": "node", "metrics": ["accuracy"]},
}


def random_graph(nodes: int = 60, edges: int = 400, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, nodes, (edges, 2)), axis=0)
    return torch.from_numpy(pairs.T.copy())


def sample(sampler: NeighborhoodSampler, *seeds: int) -> SamplerOutput:
    return sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor(seeds)))


def test_at_most_so_many_neighbours_of_each_node_are_drawn() -> None:
    edges = random_graph()
    found = sample(NeighborhoodSampler(edges, 60, (3, 2)), 7, 40, 3)
    assert found.node[:3].tolist() == [7, 40, 3]
    assert len(set(found.node.tolist())) == len(found.node)
    # each edge is one of the graph, with its own number
    pairs = torch.stack([found.node[found.row], found.node[found.col]])
    assert torch.equal(pairs, edges[:, found.edge])
    assert len(set(found.edge.tolist())) == len(found.edge)
    assert found.num_sampled_nodes is not None and found.num_sampled_edges is not None
    first, second = found.num_sampled_edges
    degree = torch.bincount(edges[1], minlength=60)
    into = torch.bincount(found.col[:first], minlength=len(found.node))
    assert torch.equal(into[:3], degree[found.node[:3]].clamp(max=3))
    hop = found.num_sampled_nodes[1]
    into = torch.bincount(found.col[first:], minlength=len(found.node))
    assert torch.equal(into[3 : 3 + hop], degree[found.node[3 : 3 + hop]].clamp(max=2))
    assert int(into[:3].sum()) == 0  # a node is expanded once
    assert first + second == len(found.row)


def test_what_is_drawn_follows_from_seed_and_nodes() -> None:
    edges = random_graph()
    one, two = (NeighborhoodSampler(edges, 60, (3, 3), seed=k) for k in (0, 1))
    before = sample(one, 1, 2).edge
    sample(one, 5)
    assert torch.equal(sample(one, 1, 2).edge, before)
    assert not torch.equal(sample(two, 1, 2).edge, before)


def test_neighbours_are_drawn_evenly() -> None:
    edges = torch.tensor([list(range(1, 11)), [0] * 10])
    counts = torch.zeros(11)
    for seed in range(3000):
        counts[sample(NeighborhoodSampler(edges, 11, (3,), seed=seed), 0).node[1:]] += 1
    share = counts[1:] / 3000
    # five standard deviations of a binomial share
    assert float((share - 0.3).abs().max()) < 5 * (0.3 * 0.7 / 3000) ** 0.5


def test_all_neighbours_make_the_whole_component() -> None:
    edges = random_graph()
    found = sample(NeighborhoodSampler(edges, 60, (-1,) * 8), 0)
    reached, seen = {0}, 0
    while len(reached) > seen:
        seen = len(reached)
        reached |= {int(j) for j, i in edges.T.tolist() if i in reached}
    assert set(found.node.tolist()) == reached
    assert len(found.edge) == sum(i in reached for i in edges[1].tolist())


def test_nodes_without_edges() -> None:
    for edges in (torch.zeros((2, 0), dtype=torch.long), torch.tensor([[0], [1]])):
        found = sample(NeighborhoodSampler(edges, 4, (2, -1)), 3, 0)
        assert found.node.tolist() == [3, 0] and found.row.numel() == 0
    with pytest.raises(CapabilityError, match="around nodes"):
        NeighborhoodSampler(edges, 4, (2,)).sample_from_edges()


def test_pygs_loader_takes_the_sampler() -> None:
    edges = random_graph()
    graph = Data(
        x=torch.arange(60.0)[:, None], edge_index=edges, edge_attr=torch.arange(edges.shape[1])
    )
    loader = NeighborLoader(
        graph,
        [4, 4],
        input_nodes=torch.arange(20),
        batch_size=6,
        neighbor_sampler=NeighborhoodSampler(edges, 60, (4, 4)),
    )
    seen = []
    for batch in loader:
        assert torch.equal(batch.x[:, 0].long(), batch.n_id)
        assert torch.equal(batch.n_id[batch.edge_index], edges[:, batch.edge_attr])
        seen += batch.n_id[: batch.batch_size].tolist()
    assert seen == list(range(20))


def trained(folder: Path, **trainer: Any) -> Any:
    options = {"max_epochs": 4, "precision": "64-true", "batch_size": 64, **trainer}
    return run(folder, out=f"out-{len(list(folder.iterdir()))}", **NODES, trainer=options)


def test_all_neighbours_train_like_the_whole_graph(tmp_path: Path) -> None:
    tiny_data.graph(tmp_path / "graph.npz", depth=4)
    whole, cut = trained(tmp_path), trained(tmp_path, neighbors=[-1] * 9)
    for row, other in zip(whole.history, cut.history, strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert other[name] == pytest.approx(row[name], rel=1e-9)
    for (name, a), b in zip(whole.model.named_parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=name)


def test_a_step_takes_some_nodes_and_part_of_the_graph(tmp_path: Path) -> None:
    tiny_data.graph(tmp_path / "graph.npz")
    sizes: list[tuple[int, int]] = []
    forward = zoo.registry.get_class(zoo.registry.resolve("tinygraph")[0]).forward

    def noting(self: Any, batch: Data) -> Any:
        if self.training:
            sizes.append((int(batch.rows.sum()), int(batch.num_nodes or 0)))
        return forward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_models.TinyGraph.forward", noting)
        report = trained(tmp_path, neighbors=[2, 2], batch_size=5, max_epochs=2)
    labelled = report.details["samples"]["train"]
    assert report.details["steps"] == len(sizes) == 2 * -(-labelled // 5)
    assert sum(rows for rows, _ in sizes) == 2 * labelled
    assert all(4 <= rows <= 5 and nodes <= 5 * (1 + 2 + 4) for rows, nodes in sizes)
    assert zoo.load(report.path).checkpoint_name == report.details["name"]


@pytest.mark.parametrize(
    ("neighbors", "match"),
    [([0], "0 neighbours"), ([], "at least 1 item"), ([-2], "greater than or equal to -1")],
)
def test_numbers_that_mean_nothing(neighbors: list[int], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        recipes.resolve(sections(trainer={"neighbors": neighbors}), where="test")


def test_tasks_without_divided_nodes_are_refused(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    tiny_data.graph(tmp_path / "graph.npz", divided=False)
    tiny_data.graphs(tmp_path / "graphs.npz")
    links = {"kind": "edges", "fractions": {"train": 0.8, "val": 0.2}, "seed": 0}
    cases: list[dict[str, Any]] = [
        {},
        {
            "model": {"name": "tinygraph", "config": {"level": "pair"}},
            "data": {"source": "graph.npz", "splits": links},
            "task": {"kind": "link_prediction"},
        },
    ]
    for case in cases:
        recipe = write(tmp_path, **case, trainer={"max_epochs": 1, "neighbors": [2]})
        with pytest.raises(RecipeError, match="for one graph whose nodes are divided"):
            zoo.train(recipe, output=tmp_path / "out", progress=lambda line: None)


def test_models_of_whole_graphs_and_of_atoms_are_refused() -> None:
    options = recipes.resolve(sections(trainer={"neighbors": [2]}), where="test").trainer
    model = SimpleNamespace(transductive=True, architecture="someone")
    with pytest.raises(RecipeError, match="someone knows only the nodes"):
        drawn(None, model, options)  # type: ignore[arg-type]
    atoms = {"model": {"name": "tensornet"}, "data": {"source": "a"}, "loss": {"forces": {}}}
    atoms |= {"recipe": 1, "name": "a-b.c.r1", "trainer": {"neighbors": [2]}}
    recipe = recipes.resolve(atoms, where="test")
    with pytest.raises(RecipeError, match="on atoms leave it out"):
        ATOMS.check(recipe, [], [])
