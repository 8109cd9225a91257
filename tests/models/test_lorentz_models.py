"""HyboNet, HCNN, hyperbolic SVM and tree embeddings: the papers' formulas, and that they learn."""

import math

import pytest
import torch
from torch_geometric.data import Batch, Data

import zoo
from zoo.errors import CapabilityError, ConfigError, ManifoldError, UnsupportedInputError
from zoo.functional import lorentz
from zoo.functional.trees import mean_average_precision, sarkar


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def tree(branching, depth):
    edges, level, count = [], [0], 1
    for _ in range(depth):
        following = []
        for parent in level:
            for _ in range(branching):
                edges.append((parent, count))
                following.append(count)
                count += 1
        level = following
    pairs = torch.tensor(edges).T
    return torch.cat([pairs, pairs.flip(0)], dim=1), count


def fit(model, batch, steps, lr):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model.objective(model(batch), batch).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    found = model.measures(model(batch), batch)
    return {name: float(value / count) for name, (value, count) in found.items()}


# --- tree embeddings --------------------------------------------------------------------------


def test_lorentz_trees_come_within_two_percent_of_sarkar():
    edges, count = tree(3, 4)
    batch = Batch.from_data_list([Data(edge_index=edges, num_nodes=count)])
    model = zoo.create("tree_embedding", num_nodes=count, dimension=3)
    found = fit(model, batch, 150, 0.03)
    best = mean_average_precision(sarkar(edges, count, dimension=3).distances, edges)
    assert best == 1.0 and found["mean_average_precision"] >= 0.98 * best
    assert found["distortion"] < 0.2


@pytest.mark.parametrize("geometry", ["lorentz", "poincare", "euclidean"])
@pytest.mark.parametrize("loss", ["ranking", "distortion"])
def test_every_geometry_and_loss_learns(geometry, loss):
    edges, count = tree(2, 3)
    batch = Batch.from_data_list([Data(edge_index=edges, num_nodes=count)])
    options = {"geometry": geometry, "loss": loss, "dimension": 2}
    model = zoo.create("tree_embedding", num_nodes=count, start="random", **options)
    model.train()
    first = float(model.objective(model(batch), batch).detach())
    fit(model, batch, 30, 0.1)
    assert float(model.objective(model(batch), batch).detach()) < 0.8 * first


def test_poincare_and_lorentz_are_the_same_space():
    edges, count = tree(2, 3)
    batch = Batch.from_data_list([Data(edge_index=edges, num_nodes=count)])
    ball = zoo.create("tree_embedding", num_nodes=count, geometry="poincare", c=0.7).double()
    sheet = zoo.create("tree_embedding", num_nodes=count, c=0.7).double()
    ball.train()
    points = ball(batch)["embedding"]
    moved = lorentz.from_poincare(points, c=0.7)
    assert torch.allclose(ball.distances(points), sheet.distances(moved), rtol=1e-8, atol=1e-8)
    assert torch.allclose(
        ball.objective({"embedding": points}, batch), sheet.objective({"embedding": moved}, batch)
    )


def test_geoopt_holds_the_points():
    import geoopt

    edges, count = tree(2, 3)
    batch = Batch.from_data_list([Data(edge_index=edges, num_nodes=count)])
    for geometry in ("poincare", "lorentz"):
        model = zoo.create(
            "tree_embedding",
            num_nodes=count,
            geometry=geometry,
            start="random",
            parametrization="geoopt",
        )
        optimizer = geoopt.optim.RiemannianAdam(model.parameters(), lr=0.05)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            losses.append(model.objective(model(batch), batch))
            losses[-1].backward()
            optimizer.step()
        assert float(losses[-1].detach()) < 0.9 * float(losses[0].detach())
    with pytest.raises(ConfigError, match="random"):
        zoo.create("tree_embedding", num_nodes=4, parametrization="geoopt")


def test_odd_graphs_embed():
    """Two components, a complete graph, a chain whose ends cosh can't reach."""
    chain = torch.stack([torch.arange(59), torch.arange(1, 60)])
    for edges, count in (
        (torch.tensor([[0, 1, 3], [1, 2, 4]]), 6),
        (torch.combinations(torch.arange(4)).T, 4),
        (chain, 60),
    ):
        batch = Batch.from_data_list([Data(edge_index=edges, num_nodes=count)])
        model = zoo.create("tree_embedding", num_nodes=count, dimension=2)
        model.train()
        loss = model.objective(model(batch), batch)
        loss.backward()
        assert bool(loss.isfinite()) and bool(model.nodes.grad.isfinite().all())
        assert all(bool(v.isfinite()) for v, _ in model.measures(model(batch), batch).values())


def test_larger_graphs_are_refused():
    model = zoo.create("tree_embedding", num_nodes=3)
    with pytest.raises(UnsupportedInputError, match="num_nodes=5"):
        model(Data(edge_index=torch.tensor([[0], [4]]), num_nodes=5))


# --- HyboNet ----------------------------------------------------------------------------------


def graph(nodes=6, features=5):
    edges = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
    return Data(x=torch.randn(nodes, features), edge_index=edges)


def test_hybonet_is_embedding_linear_centroid_distance():
    model = zoo.create("hybonet", in_channels=5, out_channels=3, num_layers=1).double().eval()
    data = graph()
    x = lorentz.exp0(data.x.double())
    moved = model.layers[0].linear(x)
    mixed = torch.stack(
        [
            lorentz.centroid(moved[[i, *data.edge_index[0, data.edge_index[1] == i].tolist()]])
            for i in range(6)
        ]
    )
    centres = lorentz.exp0(model.head.centres)
    wanted = 2 + 2 * lorentz.product(mixed[:, None], centres) + model.head.bias
    assert torch.allclose(model(data)["logits"], wanted, rtol=1e-9)


@pytest.mark.parametrize("task", ["node", "link"])
def test_hybonet_and_its_counterpart_are_as_large(task):
    sizes = {
        parameters(zoo.create("hybonet", in_channels=7, out_channels=4, task=task, geometry=g))
        for g in ("lorentz", "euclidean")
    }
    assert len(sizes) == 1


def test_hybonet_scores_pairs():
    model = zoo.create("hybonet", in_channels=5, task="link", num_layers=1).double()
    data = graph()
    data.edge_label_index = torch.tensor([[0, 1], [0, 4]])
    score = model(data)["score"]
    x = model.layers[0](model.embedding(data.x.double()), data.edge_index)
    assert float(score[0].detach()) == 2.0  # a node and itself
    wanted = 2 + 2 + 2 * lorentz.product(x[1], x[4])
    assert torch.allclose(score[1], wanted, rtol=1e-9)
    with pytest.raises(CapabilityError):
        model.replace_head(3)


def test_hybonet_learns_levels_of_a_tree():
    edges, count = tree(2, 4)
    level = torch.tensor([int(math.log2(i + 1)) for i in range(count)])
    data = Data(x=torch.eye(count), edge_index=edges)
    model = zoo.create("hybonet", in_channels=31, out_channels=5, num_layers=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(data)["logits"], level)
        loss.backward()
        optimizer.step()
    assert (
        float((model(data)["logits"].argmax(1) == level).float().mean()) > 0.75
    )  # leaves alone are 0.52


def test_triples_are_scored_by_the_papers_formula():
    model = zoo.create("hybonet_kg", num_nodes=6, num_relations=2, hidden_channels=4).double()
    model.biases.data.normal_()
    data = Data(
        edge_index=torch.tensor([[0, 1], [2, 3]]), edge_type=torch.tensor([0, 1]), num_nodes=6
    )
    x = model.points()
    lorentz.check(x, where="test")
    assert float(lorentz.dist0(x).detach().max()) <= 1.5 + 1e-9
    moved = model.moved(x[[0, 1]], torch.tensor([0, 1]))
    lorentz.check(moved, where="test", tolerance=1e-12)
    gap = moved - x[[2, 3]]
    wanted = 8.0 - lorentz.product(gap, gap) + model.biases[[0, 1]] + model.biases[[2, 3]]
    assert torch.allclose(model(data)["score"], wanted, rtol=1e-9)
    flat = zoo.create(
        "hybonet_kg", num_nodes=6, num_relations=2, hidden_channels=4, geometry="euclidean"
    )
    assert parameters(flat) == parameters(model) and flat(data)["score"].shape == (2,)


def test_unknown_relations_are_refused():
    model = zoo.create("hybonet_kg", num_nodes=3, num_relations=1)
    data = Data(edge_index=torch.tensor([[0], [1]]), edge_type=torch.tensor([1]), num_nodes=3)
    with pytest.raises(UnsupportedInputError, match=r"relations 1\.\.1"):
        model(data)
    data.edge_type = torch.tensor([0, 0])
    with pytest.raises(UnsupportedInputError, match="2 relations"):
        model(data)


# --- HCNN -------------------------------------------------------------------------------------


def test_resnet18_and_its_counterpart():
    model, flat = zoo.create("hcnn-resnet18"), zoo.create("hcnn-resnet18-euclidean")
    assert [len(s) for s in model.stages] == [2, 2, 2, 2]
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in flat.modules())
    assert parameters(model) == parameters(flat) + norms == 11_178_782


@pytest.mark.parametrize("geometry", ["lorentz", "euclidean"])
def test_hcnn_learns_and_stores_its_statistics(geometry):
    model = zoo.create("hcnn-s", channels=[6], layers=[1], out_channels=2, geometry=geometry)
    x = torch.rand(40, 1, 6, 6)
    y = (x[:, 0, :3].mean((1, 2)) > x[:, 0, 3:].mean((1, 2))).long()
    x[:, 0, :3] += 0.3 * y[:, None, None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model({"x": x})["logits"], y).backward()
        optimizer.step()
    model.eval()
    out = model({"x": x})["logits"]
    assert float((out.argmax(1) == y).float().mean()) > 0.9
    again = zoo.create("hcnn-s", channels=[6], layers=[1], out_channels=2, geometry=geometry)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()({"x": x})["logits"], out)


def test_stages_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="per stage"):
        zoo.create("hcnn", channels=[4, 8], layers=[1])


# --- hyperbolic SVM ---------------------------------------------------------------------------


def test_svm_objective_is_the_papers():
    model = zoo.create("hyperbolic_svm", in_channels=3, out_channels=2, penalty=0.1).double()
    model.head.offset.data.normal_()
    x, y = torch.randn(7, 3).double(), torch.tensor([0, 1, 0, 1, 1, 0, 0])
    z, a = model.head.normal, model.head.offset
    w = torch.cat([torch.sinh(a)[:, None] * z.norm(dim=1)[:, None], torch.cosh(a)[:, None] * z], 1)
    assert torch.allclose(lorentz.product(w, w), z.square().sum(1), rtol=1e-10)  # spacelike
    side = lorentz.product(lorentz.exp0(x)[:, None], w)
    sign = torch.where(y[:, None] == torch.arange(2), 1.0, -1.0)
    hinge = (math.asinh(1.0) - torch.asinh(sign * side)).clamp(min=0)
    wanted = hinge.mean(0).sum() + 0.05 * lorentz.product(w, w).sum()
    batch = {"x": x, "y": y}
    assert torch.allclose(model.objective(model(batch), batch), wanted, rtol=1e-10)


def test_svm_refuses_labels_beyond_the_classes():
    model = zoo.create("hyperbolic_svm", in_channels=3, out_channels=2)
    for wrong in ([0, 2], [-1, 1]):
        batch = {"x": torch.zeros(2, 3), "y": torch.tensor(wrong)}
        told = rf"{wrong[0]}\.\.{wrong[1]}; the 2 classes are 0\.\.1"
        with pytest.raises(UnsupportedInputError, match=told):
            model.objective(model(batch), batch)


def test_svm_separates_what_a_line_cannot():
    """Two caps at the rim of the ball, cut off by geodesics."""
    angle = torch.linspace(0, 2 * math.pi, 120)[:-1]
    radius = 1.0 + 2.0 * torch.rand(119)
    x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    y = (angle / (2 * math.pi) * 3).long()
    batch = {"x": x, "y": y}
    model = zoo.create("hyperbolic_svm", in_channels=2, out_channels=3, penalty=1e-4)
    assert fit(model, batch, 150, 0.1)["accuracy"] > 0.95
    flat = zoo.create("hyperbolic_svm", in_channels=2, out_channels=3, geometry="euclidean")
    assert parameters(flat) == parameters(model)
    assert fit(flat, batch, 20, 0.1)["accuracy"] > 0.5


def test_svm_takes_points_of_either_model():
    options = {"in_channels": 3, "out_channels": 2, "c": 2.0}
    tangent = zoo.create("hyperbolic_svm", **options).double()
    x = torch.randn(5, 3).double()
    points = lorentz.exp0(x, c=2.0)
    for name, given in (("poincare", lorentz.to_poincare(points, c=2.0)), ("lorentz", points)):
        model = zoo.create("hyperbolic_svm", coordinates=name, **options).double()
        model.load_state_dict(tangent.state_dict())
        assert torch.allclose(model({"x": given})["logits"], tangent({"x": x})["logits"], rtol=1e-8)
        with pytest.raises(ManifoldError, match="norm|x, x"):
            model({"x": given + 1.0})
        repaired = zoo.create("hyperbolic_svm", coordinates=name, project=True, **options).double()
        assert bool(repaired({"x": given + 1.0})["logits"].isfinite().all())
    outside = zoo.create("hyperbolic_svm", coordinates="poincare", **options).double()
    with pytest.raises(ManifoldError, match=r"norm 0\.75 .* 0\.7071"):  # in the caller's units
        outside({"x": torch.tensor([[0.75, 0.0, 0.0]]).double()})
    with pytest.raises(ConfigError, match="tangent"):
        zoo.create("hyperbolic_svm", coordinates="lorentz", geometry="euclidean", **options)


def test_svm_takes_images_as_vectors():
    options = {"in_channels": 4, "out_channels": 2}
    rows, images = (zoo.create("hyperbolic_svm", domain=d, **options) for d in ("vector", "image"))
    images.load_state_dict(rows.state_dict())
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(images({"x": x})["logits"], rows({"x": x.flatten(1)})["logits"])
    with pytest.raises(UnsupportedInputError, match="9 values"):
        images({"x": torch.rand(3, 1, 3, 3)})
