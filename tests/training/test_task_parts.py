"""Losses, rows, metrics, non-edges and batches of tasks, each against its formula."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import tiny_models  # noqa: F401  # registers them
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch_geometric.data import Batch, Data

import zoo
from zoo.errors import DataError, RecipeError
from zoo.training import schedule
from zoo.training._task_section import TaskLoss, TaskSection
from zoo.training.batches import EpochBatches
from zoo.training.groups import parameter_groups
from zoo.training.recipe import OptimizerSection
from zoo.training.tasks import kinds
from zoo.training.tasks.data import TaskSamples, redraw
from zoo.training.tasks.kinds import Task, resolve_task
from zoo.training.tasks.losses import LOSSES, margin_classes, margin_pairs, task_sums
from zoo.training.tasks.parts import Part, balanced_weights
from zoo.training.tasks.rows import Rows, rows_of
from zoo.training.tasks.scores import SCORES, TaskMetrics


def task(kind: str, domain: str = "vector", **section: Any) -> Task:
    return resolve_task(TaskSection.model_validate({"kind": kind, **section}), domain, str)


def test_the_tables_agree() -> None:
    """Every metric and loss that a row names exists; every domain of the registry has a row."""
    from zoo._spec import DOMAINS
    from zoo.training.metrics import UNITS

    assert set(kinds.DOMAINS) == {*DOMAINS} - {"atoms"}
    for name, kind in kinds.KINDS.items():
        assert set(kind.metrics) == set(SCORES[name]) <= set(UNITS)
        assert set(kind.losses) <= set(LOSSES)
    for row in kinds.DOMAINS.values():
        for name, metrics in row.metrics.items():
            assert set(metrics) <= set(SCORES[name])


def test_losses_follow_their_formulas() -> None:
    scores = torch.tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 2.5]], dtype=torch.float64)
    target = torch.tensor([0, 2])
    expected = [(0.0 + 0.0) / 2, (0.0 + 1.5) / 2]
    found = margin_classes(scores, target, 1.0)
    assert found.tolist() == pytest.approx(expected)
    pairs = torch.tensor([2.0, 1.0, 1.5, -3.0, 0.8, 0.9])
    label = torch.tensor([1, 1, 0, 0, 0, 0])
    hinge = [1 - 2 + 1.5, 0.0, 0.0, 1 - 1 + 0.9]
    assert margin_pairs(pairs, label, 1.0).tolist() == pytest.approx(hinge)
    assert not len(margin_pairs(pairs[:2], label[:2], 1.0))
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    above, below = task_sums(
        Rows(scores, target), "cross_entropy", TaskLoss(), class_weights=weights
    )
    whole = torch.nn.functional.cross_entropy(scores, target, weight=weights)
    assert (above / below).item() == pytest.approx(whole.item())
    rows = Rows(torch.tensor([[3.0, 8.0]]), torch.tensor([[1.0, 2.0]]))
    above, below = task_sums(rows, "mse", TaskLoss(), scale=torch.tensor([2.0, 3.0]))
    assert (above / below).item() == pytest.approx((1.0 + 4.0) / 2)


def test_the_angle_is_right_and_smooth_at_both_ends() -> None:
    angles = torch.tensor([0.0, 1e-6, 0.7, 2.5, math.pi - 1e-6, math.pi], dtype=torch.float64)
    angles.requires_grad_(True)
    c, s, o = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turned = torch.stack([c, -s, o, s, c, o, o, o, o + 1.0], -1).reshape(-1, 3, 3)
    one = torch.eye(3, dtype=torch.float64).expand(6, 3, 3)
    values, _ = LOSSES["geodesic"](Rows(turned, one), TaskLoss())
    assert torch.allclose(values.sqrt(), angles, atol=2e-6)
    (slope,) = torch.autograd.grad(values.sum(), angles)
    assert torch.isfinite(slope).all() and torch.allclose(slope[:4], 2 * angles[:4], atol=1e-5)
    with pytest.raises(DataError, match="3, 3"):
        LOSSES["geodesic"](Rows(torch.ones(2, 4), torch.ones(2, 4)), TaskLoss())


def test_rows_leave_out_what_is_masked_or_padded() -> None:
    graph = Batch.from_data_list([Data(x=torch.zeros(3, 2)), Data(x=torch.zeros(2, 2))])
    graph.y, graph.weight = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([1.0, 0.0])
    logits = torch.randn(5, 2)
    rows = rows_of({"logits": logits}, graph, task("classification", "graph"))
    assert rows.weight is not None and rows.weight.tolist() == [1, 1, 1, 0, 0]
    assert rows.counted().target.tolist() == [0, 1, 0]
    graph.rows = torch.tensor([True, False, True, True, False])
    rows = rows_of({"logits": logits}, graph, task("classification", "graph"))
    assert torch.equal(rows.output, logits[[0, 2, 3]]) and rows.target.tolist() == [0, 0, 1]
    tokens = torch.tensor([[3, 4, 5, 0], [2, 1, 0, 0]])
    batch = {"x": tokens, "lengths": torch.tensor([3, 2])}
    out = {"logits": torch.randn(2, 4, 6)}
    rows = rows_of(out, batch, task("language_model", "sequence"))
    assert rows.target.tolist() == [4, 5, 1]
    assert torch.equal(rows.output, out["logits"][[0, 0, 1], [0, 1, 0]])
    wrong = {"prediction": torch.zeros(4, 3), "y": torch.zeros(4, 2)}
    with pytest.raises(DataError, match="they must agree"):
        rows_of(wrong, wrong, task("regression"))


def test_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target = np.array([0] * 30 + [1] * 5 + [3] * 2)  # class 2 does not occur
    logits = rng.normal(size=(37, 4)) + 1.5 * np.eye(4)[target]
    metrics = TaskMetrics(task("classification", "matrix"), 4)
    for part in np.split(np.arange(37), [10, 33]):
        metrics.update(Rows(torch.from_numpy(logits[part]), torch.from_numpy(target[part])))
    found = metrics.compute()
    predicted = logits.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == target).mean())
    expected = [(predicted[target == k] == k).mean() for k in (0, 1, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(expected), abs=1e-12)
    seen = predicted != 2
    same = balanced_accuracy_score(target[seen], predicted[seen])
    metrics.reset()
    metrics.update(Rows(torch.from_numpy(logits[seen]), torch.from_numpy(target[seen])))
    assert metrics.compute()["balanced_accuracy"] == pytest.approx(same, abs=1e-12)
    links = TaskMetrics(task("link_prediction", "graph"), 0)
    score, label = torch.from_numpy(rng.normal(size=50)), torch.from_numpy(rng.integers(0, 2, 50))
    links.update(Rows(score, label))
    assert links.compute()["auroc"] == pytest.approx(roc_auc_score(label, score), abs=1e-6)


def test_non_edges_are_new_in_each_pass_and_never_edges() -> None:
    edges = torch.from_numpy(tiny_data.tree(4))
    half = edges[:, : edges.shape[1] // 2]
    graph = Data(x=torch.zeros(31, 1), edge_index=edges, edge_label_index=half)
    graph.edge_label = torch.ones(half.shape[1])
    batch = Batch.from_data_list([graph, graph.clone()])
    drawn = [redraw(batch, 3, (0, run)).edge_label_index[:, 60:] for run in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    known = {(int(a) % 31, int(b) % 31) for a, b in edges.T}
    for a, b in drawn[0].T.tolist():
        assert a != b and a // 31 == b // 31 and (a % 31, b % 31) not in known
    assert drawn[0].shape == (2, 180)
    graph.edge_label_type = torch.arange(half.shape[1]) % 4  # false triples of the same relations
    typed = redraw(Batch.from_data_list([graph]), 2, (0,))
    kinds = typed.edge_label_type.reshape(3, -1)
    assert (kinds == graph.edge_label_type).all() and len(typed.edge_label) == kinds.numel()
    full = Data(x=torch.zeros(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
    full.edge_label_index, full.edge_label = full.edge_index, torch.ones(2)
    with pytest.raises(DataError, match=r"lower task\.negatives"):
        redraw(Batch.from_data_list([full]), 1, (0,))


def test_batches_of_one_pass_are_even() -> None:
    sizes = [len(batch) for batch in EpochBatches(65, 32, seed=0, even=True)]
    assert sorted(sizes) == [21, 22, 22]
    assert sorted(i for batch in EpochBatches(65, 32, seed=0, even=True) for i in batch) == [
        *range(65)
    ]


def test_a_share_without_samples_has_no_weight(tmp_path: Path) -> None:
    data = zoo.datasets.open(tiny_data.vectors(tmp_path / "d.npz"))
    samples = TaskSamples(Part(data, "train"), task("classification"), torch.float64, rank=1)  # type: ignore[arg-type]
    batch = samples[[]]
    assert batch["weight"].tolist() == [0.0] and batch["x"].dtype == torch.float64
    rows = rows_of({"logits": torch.zeros(1, 3)}, batch, task("classification"))
    above, below = task_sums(rows, "cross_entropy", TaskLoss())
    assert (float(above), float(below)) == (0.0, 0.0) and not len(rows.counted().target)


def test_balanced_weights_need_every_class(tmp_path: Path) -> None:
    data: Any = zoo.datasets.open(tiny_data.vectors(tmp_path / "d.npz"))
    part = Part(data.take(np.flatnonzero(data.label("y") < 2)), "train")
    assert balanced_weights(part, task("classification"), 2).tolist() == [1.0, 1.0]
    with pytest.raises(DataError, match="class 2 has no training sample"):
        balanced_weights(part, task("classification"), 3)


def test_rates_by_name_and_milestones() -> None:
    model = zoo.create("tinyvector", sphere=True)
    scale = {"head.*": 0.1, "*.bias": 0.5}
    options = OptimizerSection.model_validate({"lr_scale": scale, "weight_decay": 0.1})
    found = {
        name: (group["lr_scale"], group["weight_decay"])
        for name, p in model.named_parameters()
        for group in parameter_groups(model, options)
        if any(p is q for q in group["params"])
    }
    assert found == {
        "first.weight": (1.0, 0.1),
        "first.bias": (0.5, 0.0),
        "head.weight": (0.1, 0.1),
        "head.bias": (0.1, 0.0),
        "pole": (1.0, 0.0),  # a point of a sphere
    }
    bad = OptimizerSection.model_validate({"lr_scale": {"haed.*": 0.1}})
    with pytest.raises(RecipeError, match=r"'haed\.\*' fits no parameter"):
        parameter_groups(model, bad)
    rates = [
        schedule.factor(
            "milestones",
            step=0,
            progress=part,
            warmup=0,
            final=0.0,
            milestones=[0.3, 0.6],
            shrink=0.1,
        )
        for part in (0.0, 0.29, 0.3, 0.61)
    ]
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.01])
