"""Frames of clouds: equivariance of any function, signs, degenerate clouds, derivatives."""

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional.frames import FrameGroup as Group
from zoo.functional.frames import Frames, frames, from_frames, to_frames

COUNTS = (5, 4, 7)
SAMPLE = torch.repeat_interleave(torch.tensor(COUNTS))


def cloud(dim: int = 3, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(sum(COUNTS), dim, generator=rng, dtype=torch.float64)


def orthogonal(dim: int, sign: float, seed: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))[0]
    q[:, 0] *= sign * torch.sign(torch.linalg.det(q))
    return q


def crooked(seen: Tensor) -> Tensor:
    """A function with no symmetry at all."""
    dim = seen.shape[-1]
    weights = torch.arange(1.0, dim * dim + 1, dtype=seen.dtype).reshape(dim, dim)
    return torch.sin(seen @ weights + 0.3) + seen.roll(1, -1) ** 2


def averaged(points: Tensor, group: Group, extra: Tensor | None = None) -> Tensor:
    found = frames(points, SAMPLE, len(COUNTS), group=group, extra=extra)
    return from_frames(crooked(to_frames(points, SAMPLE, found)), SAMPLE, found, centre=True)


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize(("group", "sign"), [("O(n)", 1.0), ("O(n)", -1.0), ("SO(n)", 1.0)])
def test_any_function_becomes_equivariant(dim: int, group: Group, sign: float) -> None:
    points, turn = cloud(dim), orthogonal(dim, sign)
    shift = torch.arange(1.0, dim + 1, dtype=torch.float64)
    moved = averaged(points @ turn.T + shift, group)
    assert (moved - (averaged(points, group) @ turn.T + shift)).abs().max() < 1e-10


def test_rotations_alone_leave_mirror_images_apart() -> None:
    points, turn = cloud(), orthogonal(3, -1.0)
    moved = averaged(points @ turn.T, "SO(n)")
    assert (moved - averaged(points, "SO(n)") @ turn.T).abs().max() > 1e-2


@pytest.mark.parametrize(("group", "count"), [("O(n)", 8), ("SO(n)", 4)])
def test_the_elements(group: Group, count: int) -> None:
    found = frames(cloud(), SAMPLE, 3, group=group)
    assert found.matrices.shape == (3, count, 3, 3)
    eye = torch.eye(3, dtype=torch.float64).expand(3, count, 3, 3)
    torch.testing.assert_close(found.matrices.mT @ found.matrices, eye)
    signs = torch.linalg.det(found.matrices).round()
    assert set(signs.flatten().tolist()) == ({1.0, -1.0} if group == "O(n)" else {1.0})
    first = found.matrices[0].reshape(count, 9)
    assert torch.cdist(first, first).fill_diagonal_(9).min() > 1  # no element twice


def test_the_axes_are_those_of_the_covariance() -> None:
    points = cloud()
    found = frames(points, SAMPLE, 3)
    mine = points[:5] - points[:5].mean(0)
    inside = found.matrices[0, 0].T @ (mine.T @ mine) @ found.matrices[0, 0]
    assert (inside - torch.diag(inside.diag())).abs().max() < 1e-12
    assert (inside.diag().diff() > 0).all()


def test_invariants_and_channels() -> None:
    points, turn = cloud(), orthogonal(3, 1.0)
    found = frames(points, SAMPLE, 3)
    vectors = torch.stack([cloud(seed=1), cloud(seed=2)], dim=1)
    seen = to_frames(vectors, SAMPLE, found, centre=False)
    assert seen.shape == (8, 16, 2, 3)
    torch.testing.assert_close(from_frames(seen, SAMPLE, found), vectors)
    other = to_frames(vectors @ turn.T, SAMPLE, frames(points @ turn.T, SAMPLE, 3), centre=False)
    torch.testing.assert_close(crooked(seen).mean(0), crooked(other).mean(0))


def test_repeated_eigenvalues_are_told() -> None:
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    one = torch.zeros(4, dtype=torch.int64)
    assert frames(square, one, 1).undetermined.tolist() == [True]
    stretched = square * torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert frames(stretched, one, 1).undetermined.tolist() == [False]
    line = torch.arange(4.0, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 2.0, 2.0]])
    assert frames(line.double(), one, 1).undetermined.tolist() == [False]


def test_further_vectors_decide() -> None:
    """Where positions leave the axes to chance; elsewhere they change nothing."""
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    one = torch.zeros(4, dtype=torch.int64)
    extra, turn = cloud(2)[:4], orthogonal(2, -1.0)

    def run(points: Tensor, vectors: Tensor) -> Tensor:
        found = frames(points, one, 1, extra=vectors)
        assert not found.undetermined.any()
        return from_frames(crooked(to_frames(points, one, found)), one, found)

    moved = run(square @ turn.T, extra @ turn.T)
    assert (moved - run(square, extra) @ turn.T).abs().max() < 1e-10
    points = cloud()
    plain, decided = frames(points, SAMPLE, 3), frames(points, SAMPLE, 3, extra=cloud(seed=4))
    assert torch.equal(plain.matrices, decided.matrices)


def test_points_on_a_line_or_alone_are_equivariant() -> None:
    """Their repeated eigenvalue is zero: nothing lies along the axes that are left to chance."""
    line = torch.tensor([0.0, 1.0, 2.5, 4.0, 7.0], dtype=torch.float64)[:, None]
    points = torch.cat([line * cloud()[:1], cloud()[5:9], torch.zeros(7, 3, dtype=torch.float64)])
    for group, sign in (("O(n)", -1.0), ("SO(n)", 1.0)):
        turn = orthogonal(3, sign)
        moved = averaged(points @ turn.T, group)  # type: ignore[arg-type]
        assert (moved - averaged(points, group) @ turn.T).abs().max() < 1e-9  # type: ignore[arg-type]


def test_derivatives() -> None:
    """Exact to the second order at a generic cloud, finite at all."""
    points = cloud()[:5].requires_grad_()
    one = torch.zeros(5, dtype=torch.int64)

    def run(x: Tensor) -> Tensor:
        found = frames(x, one, 1)
        return from_frames(crooked(to_frames(x, one, found)), one, found)

    assert torch.autograd.gradcheck(run, (points,))
    assert torch.autograd.gradgradcheck(run, (points,), atol=1e-4, rtol=1e-4)
    degenerate = torch.eye(3, dtype=torch.float64)
    for x in (torch.zeros(5, 3).double(), torch.cat([degenerate, -degenerate])[:5], points * 0):
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(grad.square().sum(), x)
        assert torch.isfinite(grad).all() and torch.isfinite(second).all()


def test_single_precision() -> None:
    points = cloud()
    coarse = averaged(points.float(), "O(n)")
    assert coarse.dtype == torch.float32
    assert (coarse.double() - averaged(points, "O(n)")).abs().max() < 1e-4


def test_refusals() -> None:
    points = cloud()
    with pytest.raises(ConfigError, match=r"'E\(n\)'"):
        frames(points, SAMPLE, 3, group="E(n)")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="9 dimensions have 512 elements"):
        frames(torch.zeros(16, 9), SAMPLE, 3)
    with pytest.raises(DeviceError, match="frames"):
        frames(points.half(), SAMPLE, 3)
    found: Frames = frames(points, SAMPLE, 3)
    with pytest.raises(UnsupportedInputError, match="have 8 elements, the vectors 4"):
        from_frames(torch.zeros(4, 16, 3, dtype=torch.float64), SAMPLE, found)
