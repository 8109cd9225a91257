"""Minimal frames: equivariance for symmetric figures too, order of points, size, derivatives."""

import math

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional.frames import FrameGroup, Frames, frames, from_frames, to_frames
from zoo.functional.minimal_frames import minimal_frames


def clouds() -> dict[str, Tensor]:
    """Symmetric, flat, straight and generic ones."""
    rng = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double()
    turns = torch.arange(6).double() * math.pi / 3
    ring = torch.stack([turns.cos(), turns.sin(), torch.zeros_like(turns)], 1)
    return {
        "tetrahedron": corners,
        "hexagon": ring,
        "line": torch.arange(5.0).double()[:, None] * draw(1, 3),
        "plane": draw(5, 2) @ draw(2, 3),
        "sphere": torch.nn.functional.normalize(draw(7, 3), dim=1),
        "generic": draw(6, 3),
        "same points": torch.zeros(3, 3).double(),
        "one point": draw(1, 3),
    }


COUNTS = torch.tensor([len(cloud) for cloud in clouds().values()])
SAMPLE = torch.repeat_interleave(COUNTS)
#: elements of each cloud: its symmetries, times the signs of axes along which nothing lies
SIZES = {"O(n)": [24, 24, 8, 2, 1, 1, 8, 8], "SO(n)": [12, 12, 4, 1, 1, 1, 4, 4]}


def crooked(seen: Tensor) -> Tensor:
    """A function with no symmetry at all but that of the order of points."""
    dim = seen.shape[-1]
    weights = torch.arange(1.0, dim * dim + 1, dtype=seen.dtype).reshape(dim, dim)
    return torch.sin(seen @ weights + 0.3) + seen.roll(1, -1) ** 2


def averaged(points: Tensor, group: FrameGroup) -> tuple[Tensor, Frames]:
    found = minimal_frames(points, SAMPLE, len(COUNTS), group=group)
    seen = to_frames(points, SAMPLE, found)
    return from_frames(crooked(seen), SAMPLE, found, centre=True), found


def orthogonal(sign: float) -> Tensor:
    rng = torch.Generator().manual_seed(5)
    q = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))[0]
    q[:, 0] *= sign * torch.sign(torch.linalg.det(q))
    return q


@pytest.mark.parametrize(("group", "sign"), [("O(n)", 1.0), ("O(n)", -1.0), ("SO(n)", 1.0)])
def test_every_cloud_is_equivariant(group: FrameGroup, sign: float) -> None:
    points, turn = torch.cat(list(clouds().values())), orthogonal(sign)
    plain, found = averaged(points, group)
    moved, _ = averaged(points @ turn.T + 3.0, group)
    assert (moved - (plain @ turn.T + 3.0)).abs().max() < 1e-12
    counts = (found.weights > 0).sum(1).tolist()  # type: ignore[operator]
    assert counts == SIZES[group]
    eye = torch.eye(3).double().expand_as(found.matrices)
    torch.testing.assert_close(found.matrices.mT @ found.matrices, eye)


def test_eigenvectors_lose_what_minimal_frames_keep() -> None:
    """The same measurement on the frames of eigenvectors fails for the tetrahedron."""
    points, turn = clouds()["tetrahedron"], orthogonal(1.0)
    one = torch.zeros(4, dtype=torch.int64)

    def run(x: Tensor) -> Tensor:
        found = frames(x, one, 1)
        return from_frames(crooked(to_frames(x, one, found)), one, found)

    assert (run(points @ turn.T) - run(points) @ turn.T).abs().max() > 1e-2


def test_mirror_images_stay_apart_under_rotations() -> None:
    points, turn = torch.cat(list(clouds().values())), orthogonal(-1.0)
    error = (averaged(points @ turn.T, "SO(n)")[0] - averaged(points, "SO(n)")[0] @ turn.T).abs()
    assert error[SAMPLE == 5].max() > 1e-2  # the generic one


def test_the_order_of_points_does_not_matter() -> None:
    points = torch.cat(list(clouds().values()))
    rng = torch.Generator().manual_seed(1)
    starts = (COUNTS.cumsum(0) - COUNTS).tolist()
    order = torch.cat(
        [
            start + torch.randperm(int(n), generator=rng)
            for start, n in zip(starts, COUNTS, strict=True)
        ]
    )
    assert (averaged(points[order], "O(n)")[0] - averaged(points, "O(n)")[0][order]).abs().max() < (
        1e-12
    )


def test_velocities_give_the_axes_that_positions_do_not() -> None:
    one, turn = torch.zeros(2, dtype=torch.int64), orthogonal(-1.0)
    rng = torch.Generator().manual_seed(2)
    pair, vel = torch.randn(2, 2, 3, generator=rng, dtype=torch.float64)
    found = minimal_frames(pair, one, 1, extra=vel)
    assert found.matrices.shape[1] == 1 and int(found.empty[0]) == 0  # type: ignore[index]
    moved = minimal_frames(pair @ turn.T, one, 1, extra=vel @ turn.T)
    torch.testing.assert_close(moved.matrices, turn @ found.matrices)


def test_derivatives() -> None:
    rng = torch.Generator().manual_seed(3)
    points = torch.randn(5, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    one = torch.zeros(5, dtype=torch.int64)

    def run(x: Tensor) -> Tensor:
        found = minimal_frames(x, one, 1)
        return from_frames(crooked(to_frames(x, one, found)), one, found)

    assert torch.autograd.gradcheck(run, (points,))
    assert torch.autograd.gradgradcheck(run, (points,), atol=1e-4, rtol=1e-4)
    for cloud in clouds().values():
        x, own = cloud.clone().requires_grad_(), torch.zeros(len(cloud), dtype=torch.int64)
        found = minimal_frames(x, own, 1)
        value = from_frames(crooked(to_frames(x, own, found)), own, found).square().sum()
        (grad,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(grad.square().sum(), x)
        assert torch.isfinite(grad).all() and torch.isfinite(second).all()


def test_single_precision_and_other_dimensions() -> None:
    for dim in (1, 2, 4):
        rng = torch.Generator().manual_seed(dim)
        points = torch.randn(6, dim, generator=rng)
        one = torch.zeros(6, dtype=torch.int64)
        turn = torch.linalg.qr(torch.randn(dim, dim, generator=rng))[0]
        found, moved = minimal_frames(points, one, 1), minimal_frames(points @ turn.T, one, 1)
        assert found.matrices.dtype == torch.float32
        torch.testing.assert_close(moved.matrices, turn @ found.matrices, atol=1e-5, rtol=0)


def test_no_clouds_at_all() -> None:
    none = minimal_frames(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 0)
    assert none.matrices.shape[0] == 0


def test_refusals() -> None:
    one = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ConfigError, match=r"'E\(n\)'"):
        minimal_frames(torch.zeros(4, 3), one, 1, group="E(n)")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="minimal_frames"):
        minimal_frames(torch.zeros(4, 3).half(), one, 1)
    turns = torch.linspace(0, 2 * math.pi, 601, dtype=torch.float64)[:-1]
    ring = torch.stack([turns.cos(), turns.sin()], 1)
    with pytest.raises(UnsupportedInputError, match="sample 0 has 600 points.*at most 512"):
        minimal_frames(ring, torch.zeros(600, dtype=torch.int64), 1)


@pytest.mark.parametrize("width", [1e-4, 1e-7, 1e-8, 1e-9, 1e-12])
def test_clouds_as_thin_as_needles(width: float) -> None:
    """Where a cloud counts as a line, or hardly doesn't, little more than rounding is lost."""
    rng = torch.Generator().manual_seed(4)
    points = torch.randn(6, 3, generator=rng, dtype=torch.float64)
    points = points * torch.tensor([1.0, width, 0.7 * width], dtype=torch.float64)
    one, turn = torch.zeros(6, dtype=torch.int64), orthogonal(-1.0)

    def run(x: Tensor) -> Tensor:
        found = minimal_frames(x, one, 1)
        return from_frames(crooked(to_frames(x, one, found)), one, found)

    assert (run(points @ turn.T) - run(points) @ turn.T).abs().max() < 1e-6
