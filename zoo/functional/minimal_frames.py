r"""Frames of point clouds with as few elements as their symmetry allows, most often one.

Lin, Helwig, Gui, Ji, Equivariance via minimal frame averaging for more symmetries and efficiency,
ICML 2024, arXiv:2406.07598: an average over a frame is cheapest where the frame is minimal, which
one gets from a canonical form of the input, the QR decomposition for O(d), and the input's own
symmetries. The construction below is ours, made to ignore the order of the points:

    a_1 along the point farthest from the centre,
    a_k along the point farthest from the span of a_1, ..., a_(k-1),

a Gram-Schmidt basis with pivots. Where several points are equally far, the one that lies farther
along a_1, then a_2 and so on, comes first; where they still are alike, all of them are followed,
and each choice is one element. These are the symmetric figures, whose axes the eigenvectors of
`zoo.functional.frames` leave to chance: here the average over the elements is equivariant for them,
too. Where the points span fewer dimensions, further vectors (`extra`, velocities) give the rest of
the axes; along those that nothing gives, both signs are elements.

For SO(d) the last axis makes the basis right-handed.

The frame jumps where another point becomes the farthest. Derivatives are those of the Gram-Schmidt
basis of the points chosen, exact to any order away from jumps, and finite.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import UnsupportedInputError
from zoo.functional.frames import GAP, FrameGroup, Frames, check_frame, sign_table
from zoo.functional.precision import check_precision
from zoo.functional.scatter import scatter_mean

#: more elements than any finite symmetry of a molecule has
ELEMENTS = 512


def minimal_frames(
    points: Float[Tensor, "points dim"],
    sample: Int[Tensor, " points"],
    samples: int,
    *,
    group: FrameGroup = "O(n)",
    extra: Float[Tensor, "vectors dim"] | None = None,
    extra_sample: Int[Tensor, " vectors"] | None = None,
    centre: bool = True,
) -> Frames:
    """The frame of each cloud, as `zoo.functional.frames.frames` gives it, with few elements.

    Args:
        points: of all clouds.
        sample: the cloud of each point.
        samples: how many clouds there are.
        group: "O(n)" or "SO(n)".
        extra: vectors that give axes where the points don't.
        extra_sample: the cloud of each of them; that of the points if None.
        centre: whether points are seen from the centre of their cloud.

    Returns:
        Frames, `undetermined` nowhere. Clouds with fewer elements than others have some again,
        with weight zero.

    Raises:
        ConfigError: for another group, or more than 8 dimensions.
        DeviceError: in a precision other than float32 and float64.
        UnsupportedInputError: for a cloud of more than 512 elements.
    """
    check_precision("minimal_frames", points)
    dim = points.shape[-1]
    check_frame(dim, group)
    centres = scatter_mean(points, sample, samples) if centre else points.new_zeros(samples, dim)
    places = _padded(sample, samples)
    seen = _spread(points - centres.index_select(0, sample), places)
    given = [seen]
    if extra is not None:
        own = places if extra_sample is None else _padded(extra_sample, samples)
        given.append(_spread(extra, own))
    near, thin = GAP[points.dtype], torch.finfo(points.dtype).eps ** 0.5
    with torch.no_grad():
        owner, chosen = _choices(given, dim if group == "O(n)" else dim - 1, near, thin)
        first = torch.zeros(samples, dtype=torch.int64, device=owner.device)
        first = first.index_put((owner.flip(0),), torch.arange(len(owner)).flip(0).to(owner))
        empty = (chosen[first] < 0).sum(1)
        if group == "SO(n)":  # whose last axis is not chosen
            empty = torch.where(empty > 0, empty + 1, 0)
    axes = _bases(torch.cat(given, 1), owner, chosen, group)
    matrices, shares = _gathered(axes, owner, empty, samples, group)
    nothing = torch.zeros(samples, dtype=torch.bool, device=points.device)
    alike = bool((shares == shares[:, :1]).all())
    weights = None if alike else shares.to(points.dtype)
    none = torch.zeros_like(centres[:, 0], dtype=torch.float64)
    return Frames(matrices.to(points.dtype), centres, nothing, none, empty, weights)


def _padded(sample: Tensor, samples: int) -> Int[Tensor, "samples most"]:
    """Numbers of the points of each sample, -1 where there are no more."""
    counts = torch.bincount(sample, minlength=samples)
    order = torch.argsort(sample, stable=True)
    most = max(int(counts.max()), 1) if len(counts) else 1
    slots = torch.arange(most, device=sample.device).expand(samples, most)
    starts = counts.cumsum(0) - counts
    inside = slots < counts[:, None]
    rows = (starts[:, None] + slots).clamp(max=max(len(order) - 1, 0))
    return torch.where(inside, order[rows] if len(order) else rows, -1)


def _spread(vectors: Tensor, places: Tensor) -> Float[Tensor, "samples most dim"]:
    """Vectors by sample in float64, zeros where there are no more."""
    padded = torch.cat([vectors.double(), vectors.new_zeros(1, vectors.shape[1]).double()])
    return padded[places]


def _choices(
    given: list[Tensor], levels: int, near: float, thin: float
) -> tuple[Int[Tensor, " branches"], Int[Tensor, "branches levels"]]:
    """The sample of each branch, and the vectors that give its axes, -1 where nothing does.

    Args:
        given: vectors of each sample (samples, most, d), those that count first ahead.
        levels: how many axes are chosen.
        near: relative difference below which lengths are the same.
        thin: part of the largest length below which a cloud has no extent: where rounding turns
            an axis by as much as leaving it out does.
    """
    samples, _, dim = given[0].shape
    scales = [vectors.norm(dim=-1).amax(1) if vectors.shape[1] else None for vectors in given]
    owner = torch.arange(samples, device=given[0].device)
    axes = given[0].new_zeros(samples, dim, 0)
    chosen = owner.new_zeros(samples, 0)
    for _ in range(levels):
        branch, vector, axis = _longest(given, scales, owner, axes, near, thin)
        owner, chosen = owner[branch], torch.cat([chosen[branch], vector[:, None]], 1)
        axes = torch.cat([axes[branch], axis[:, :, None]], 2)
        _check_count(owner, samples)
    return owner, chosen


def _longest(
    given: list[Tensor],
    scales: list[Tensor | None],
    owner: Tensor,
    axes: Tensor,
    near: float,
    thin: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The branches that go on, the vector that each takes and its new axis, zero where none is."""
    samples = len(given[0])
    open_ = torch.ones_like(owner, dtype=torch.bool)
    branches, numbers, news, offset = [], [], [], 0
    for vectors, scale in zip(given, scales, strict=True):
        if scale is not None and bool(open_.any()):
            mine = open_.nonzero()[:, 0]
            x, a = vectors[owner[mine]], axes[mine]
            along = x @ a  # coordinates along the axes so far
            rest = x - along @ a.mT
            length = rest.norm(dim=-1)
            best = _most(length.amax(1), owner[mine], samples)
            enough = best > thin * scale
            kept = length >= (best - near * scale)[owner[mine], None]
            kept &= enough[owner[mine], None]
            for k in range(along.shape[-1]):
                kept = _farthest(kept, along[..., k], owner[mine], scale * near)
            b, n = kept.nonzero().T
            branches.append(mine[b])
            numbers.append(n + offset)
            news.append(rest[b, n] / length[b, n, None])
            open_ = open_ & ~enough[owner]
        offset += vectors.shape[1]
    left = open_.nonzero()[:, 0]
    branches.append(left)
    numbers.append(torch.full_like(left, -1))
    news.append(axes.new_zeros(len(left), axes.shape[1]))
    return torch.cat(branches), torch.cat(numbers), torch.cat(news)


def _most(values: Tensor, owner: Tensor, samples: int) -> Tensor:
    """The largest value of each sample."""
    floor = values.new_full((samples,), -torch.inf)
    return floor.scatter_reduce(0, owner, values, "amax")


def _farthest(kept: Tensor, along: Tensor, owner: Tensor, near: Tensor) -> Tensor:
    """Of the vectors kept, those that lie farthest along an axis."""
    value = torch.where(kept, along, -torch.inf)
    best = _most(value.amax(1), owner, len(near))
    return kept & (value >= (best - near)[owner, None])


def _check_count(owner: Tensor, samples: int) -> None:
    counts = torch.bincount(owner, minlength=samples)
    if len(counts) and int(counts.max()) > ELEMENTS:
        worst = int(counts.argmax())
        raise UnsupportedInputError(
            f"minimal_frames: sample {worst} has {int(counts[worst])} points that no distance "
            f"tells apart; at most {ELEMENTS} elements are followed: use frames='all', or move "
            "points that coincide apart"
        )


def _bases(
    vectors: Tensor, owner: Tensor, chosen: Tensor, group: FrameGroup
) -> Float[Tensor, "branches dim dim"]:
    """Gram-Schmidt bases of the vectors chosen, as columns; the axes of none stand last."""
    dim = vectors.shape[-1]
    taken = vectors[owner[:, None], chosen.clamp(min=0)]  # (branches, levels, dim)
    axes: list[Tensor] = []
    for k in range(chosen.shape[1]):
        axis = _normal(_across(taken[:, k], axes))
        axes.append(torch.where(chosen[:, k, None] >= 0, axis, 0.0))
    found = torch.stack(axes, 2) if axes else vectors.new_zeros(len(owner), dim, 0)
    with torch.no_grad():  # any axes across those found
        across = torch.eye(dim).to(found) - found @ found.mT
        rest = torch.linalg.eigh(across)[1].flip(-1)  # columns, those across first
    missing = dim - (chosen >= 0).sum(1)
    for k in range(dim):
        more = _normal(_across(rest[:, :, k], axes))
        axes.append(torch.where((k < missing)[:, None], more, 0.0))
    stacked = torch.stack(axes, 2)
    none = (stacked.detach().abs().amax(1) < 0.1).to(torch.int64)
    order = torch.argsort(none, dim=1, stable=True)
    basis = stacked.gather(2, order[:, None, :dim].expand(-1, dim, -1))
    if group == "SO(n)":
        hand = torch.linalg.det(basis.detach()).sign()
        basis = torch.cat([basis[..., :-1], basis[..., -1:] * hand[:, None, None]], -1)
    return basis


def _across(vector: Tensor, axes: list[Tensor]) -> Tensor:
    for _ in range(2):  # the second time for rounding
        for axis in axes:
            vector = vector - (vector * axis).sum(-1, keepdim=True) * axis
    return vector


def _normal(vector: Tensor) -> Tensor:
    """Of length one; zero vectors stay, with finite derivatives."""
    square = vector.square().sum(-1, keepdim=True)
    there = square > 0
    return torch.where(there, vector / torch.where(there, square, 1.0).sqrt(), 0.0)


def _gathered(
    axes: Tensor, owner: Tensor, empty: Tensor, samples: int, group: FrameGroup
) -> tuple[Float[Tensor, "samples elements dim dim"], Float[Tensor, "samples elements"]]:
    """The elements of each sample, all signs of axes that nothing lies along, and their weights."""
    dim = axes.shape[-1]
    signs = sign_table(dim, group).to(axes)  # (signs, dim)
    free = torch.arange(dim, device=owner.device) >= dim - empty[owner, None]  # (branches, dim)
    lawful = ((signs[None] > 0) | free[:, None]).all(-1)
    branch, which = lawful.nonzero().T
    made = axes[branch] * signs[which, None, :]
    mine = owner[branch]
    rows = _padded(mine, samples)
    counts = (rows >= 0).sum(1)
    slots = torch.arange(rows.shape[1], device=rows.device) % counts.clamp(min=1)[:, None]
    elements = made[rows.gather(1, slots)]
    return elements, (rows >= 0).to(axes.dtype) / counts[:, None]
