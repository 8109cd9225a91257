"""Groups that act on every axis of tensors, and automorphisms of a graph: kept, and broken."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.functional import tensor_power as tp
from zoo.testing import _actions as actions
from zoo.testing._sample_subject import SampleSubject


class Square(nn.Module):
    """x J x of matrices, or x x; broken by a function of single entries."""

    def __init__(self, form: Tensor, broken: bool) -> None:
        super().__init__()
        self.form, self.broken = nn.Parameter(form, requires_grad=False), broken

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = batch["x"]
        out = x @ self.form.to(x) @ x
        return {"prediction": torch.relu(out) if self.broken else out}


def errors(check: Any, model: nn.Module, group: str, size: int) -> float:
    rng = np.random.default_rng(0)
    inputs = [{"x": rng.normal(size=(size, size))} for _ in range(3)]
    laws: Any = {"prediction": "equivariant"}
    subject = SampleSubject(model, domain="tensor", group=group, laws=laws, inputs=inputs)
    return max(float(value) for value in check(subject).values())


def test_rotations_act_on_every_axis() -> None:
    for check in (actions.rotation, actions.reflection):
        assert errors(check, Square(torch.eye(3), broken=False), "O(n)", 3) < 1e-12
        assert errors(check, Square(torch.eye(3), broken=True), "O(n)", 3) > 1e-3
        # right for Sp(n), wrong for O(n)
        assert errors(check, Square(tp.symplectic_form(4), broken=False), "O(n)", 4) > 1e-3


def test_symplectic_transformations() -> None:
    g = actions.symplectic(np.random.default_rng(0), 6)
    form = tp.symplectic_form(6).numpy()
    np.testing.assert_allclose(g.T @ form @ g, form, atol=1e-12)
    assert np.abs(g.T @ g - np.eye(6)).max() > 0.1  # no rotation
    form = tp.symplectic_form(4)
    assert errors(actions.isometry, Square(form, broken=False), "Sp(n)", 4) < 1e-12
    assert errors(actions.isometry, Square(form, broken=True), "Sp(n)", 4) > 1e-3
    assert errors(actions.isometry, Square(torch.eye(4), broken=False), "Sp(n)", 4) > 1e-3


class OnRing(nn.Module):
    """Differences along a ring, of both neighbours or of the next one alone."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.broken = broken
        every = torch.arange(5)
        edges = torch.stack([every, (every + 1) % 5])
        self.group = tp.graph_automorphisms(torch.cat([edges, edges.flip(0)], dim=1), 5)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = batch["x"] * self.weight
        both = 0 if self.broken else x.roll(-1, dims=1)
        return {"prediction": torch.tanh(x.roll(1, dims=1) + both)}


def test_automorphisms() -> None:
    rng = np.random.default_rng(0)
    inputs = [{"x": rng.normal(size=(5, 2))} for _ in range(3)]
    found = []
    for broken in (False, True):
        laws: Any = {"prediction": "equivariant"}
        subject = SampleSubject(
            OnRing(broken), domain="sequence", group="Aut(G)", laws=laws, inputs=inputs
        )
        found.append(float(actions.permutation(subject)["prediction"]))
    assert found[0] < 1e-12 and found[1] > 1e-3
