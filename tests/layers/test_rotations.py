"""Heads that predict rotations, and losses between them."""

import math

import pytest
import torch

from zoo.errors import ConfigError, DeviceError
from zoo.functional import rotations
from zoo.functional.rotations import REPRESENTATIONS, so3
from zoo.layers.rotations import ChordalLoss, GeodesicLoss, RotationHead, rotation_loss


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_heads_give_rotations(name: str) -> None:
    torch.manual_seed(0)
    head = RotationHead(5, representation=name, rotations=2).double()  # type: ignore[arg-type]
    x = torch.randn(4, 5, dtype=torch.float64)
    out = head.eval()(x)
    assert out.shape == (4, 2, 3, 3)
    so3.check(out, where=name)
    if name == "matrix":
        assert torch.allclose(so3.project(head.train()(x)), out)
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_losses() -> None:
    angle = torch.tensor([0.0, 0.3, 2.0, math.pi], dtype=torch.float64)
    axis = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    r = rotations.axis_angle_to_matrix(angle[:, None] * axis)
    eye = torch.eye(3, dtype=torch.float64).expand_as(r)
    assert float(GeodesicLoss()(r, eye)) == pytest.approx(float(angle.mean()))
    expected = 8 / 9 * (angle / 2).sin().square().mean()
    assert float(ChordalLoss()(r, eye)) == pytest.approx(float(expected))
    assert isinstance(rotation_loss("geodesic"), GeodesicLoss)
    assert isinstance(rotation_loss("chordal"), ChordalLoss)


def test_the_geodesic_loss_trains_from_zero_and_half_turns() -> None:
    """acos of the trace has no gradient to descend along at either."""
    target = torch.stack([torch.eye(3), torch.diag(torch.tensor([-1.0, -1.0, 1.0]))])
    a = rotations.to_6d(torch.eye(3)).expand(2, 6).clone().requires_grad_()
    loss = GeodesicLoss()(rotations.from_6d(a), target)
    loss.backward()
    assert a.grad is not None and torch.isfinite(a.grad).all()


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="axis_angle"):
        RotationHead(5, representation="axisangle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 rotations"):
        RotationHead(5, rotations=0)
    with pytest.raises(DeviceError, match="bfloat16"):
        RotationHead(5).bfloat16()(torch.zeros(2, 5, dtype=torch.bfloat16))
    with pytest.raises(ConfigError, match="geodesic"):
        rotation_loss("geodesc")  # type: ignore[arg-type]
