r"""A wrapper that makes any model invariant or equivariant, by an average over frames.

Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, Frame averaging for invariant and equivariant
network design, ICLR 2022, arXiv:2110.03336, equations 4 and 5: over the elements R of the frame of
each sample,

    invariant:    mean of f((x - c) R)
    equivariant:  mean of f((x - c) R) R^T, + c for positions.

Frames are those of `zoo.functional.frames`: all signs of the eigenvectors of the second moments, of
these one drawn for each sample in training ("stochastic", Duval et al., FAENet, ICML 2023,
arXiv:2305.05577), or the minimal frames of `zoo.functional.minimal_frames` (Lin et al., ICML 2024).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.frames import Frames, frames
from zoo.functional.minimal_frames import minimal_frames
from zoo.layers.symmetry._actions import Action, Batch, Laws, outputs_of
from zoo.layers.symmetry._order import Sorted

FrameKind = Literal["all", "stochastic", "minimal"]
#: eigenvalues of a larger ratio are warned of
CLOSE = 0.999


class FrameAveraging(nn.Module):
    """A model seen in the frames of its inputs, its outputs turned back and averaged.

        model = FrameAveraging(network, group="E", output={"prediction": "position"})
        model(batch)["prediction"]  # equivariant, whatever the network does

    The inner model is called once for each element: 2^d with "all" (half as many for SO and SE),
    once with "stochastic" in training, and as often as the most symmetric sample needs with
    "minimal", for most data once. Invariants of the input that the model computes stay what they
    are. A mirror image of a pseudovector is not known: all outputs are taken for true tensors.

    An output `log_softmax` stays a distribution over its last axis: that of the averaged logits.

    Frames jump. Those of eigenvectors are left to chance where eigenvalues repeat, of which a
    warning tells once; then the average is not equivariant. Minimal frames are exact there, too.
    Rank-2 outputs of samples on a line are equivariant under neither.

    Derivatives with respect to positions go through the frames, exact away from jumps, and finite:
    forces of an averaged energy are `-grad(energy, pos)` (a potential of the zoo keeps the graph of
    its energy with `create_graph=True`). They become large where eigenvalues are
    close; `detach` leaves the frames out. Where positions need no gradient, as with forces that
    come from a head, frames are constants anyway. Forces that the inner model itself gets by
    differentiating its energy are averaged as vectors: equivariant, but short of the frame's own
    derivative, so that they are not those of the averaged energy.

    In crystals the images of atoms count: wrapping an atom moves the frame.

    Args:
        model: a module or function from a batch to a dict of outputs: `Data` with `pos` and `batch`
            (atoms, with their `cell`; particles, with `vel`; points), or a dict with `x`
            (samples, ..., n). A model with a method `prepare` takes what that takes.
        group: "O", "SO", "E" or "SE", also "E(3)"; with "S x " before it, sets and clouds are
            sorted in the frame that they are seen in, and the order of points does not count,
            whatever the model is. Sorting jumps, too.
        output: "invariant", "equivariant" (as positions: with "E" and "SE" they move), or laws by
            name: see `zoo.layers.symmetry.Laws`. Energies, forces, stresses, logits and the like
            are known by their names.
        frames: "all", "stochastic", which has all outside training, or "minimal".
        points: the field with the positions; `pos` or `x` if None.
        vectors: fields with vectors, which also decide where positions leave axes to chance.
        order: how many of the last axes of `points` turn, for tensors.
        detach: whether frames are constants for derivatives with respect to positions.

    Raises:
        ConfigError: for an unknown group, law or kind of frames.
        UnsupportedInputError: in calls: a batch or output that doesn't fit.
    """

    def __init__(
        self,
        model: nn.Module | Callable[..., Any],
        *,
        group: str = "E",
        output: str | int | Laws = "invariant",
        frames: FrameKind = "all",
        points: str | None = None,
        vectors: Sequence[str] = ("vel",),
        order: int = 1,
        detach: bool = False,
    ) -> None:
        super().__init__()
        if frames not in get_args(FrameKind):
            raise ConfigError(f"frames={frames!r}: {nearest(str(frames), get_args(FrameKind))}")
        if frames == "minimal" and order > 1:
            raise ConfigError(
                f"frames='minimal' with order={order}: minimal frames are made of points or "
                "vectors; tensors take 'all' or 'stochastic'"
            )
        if not callable(model):
            raise ConfigError(f"a {type(model).__name__} can't be called on batches")
        parts = [part.strip() for part in str(group).split(" x ")]
        self.sorts = parts[0] in ("S", "S(n)") and len(parts) == 2
        group = parts[1] if self.sorts else group
        if self.sorts and order > 1:
            raise ConfigError(f"order={order} with S: sets of points are sorted, not tensors")
        self.action = Action(group, output, points=points, vectors=vectors, order=order)
        self.model = model
        self.frames: FrameKind = frames
        self.detach = detach
        self._warned = False
        domain = getattr(model, "domain", None)
        if isinstance(domain, str):  # what the checks of `zoo.testing` ask for
            self.domain, self.symmetry = domain, self.action.group.name
            self.sample_shape = getattr(model, "sample_shape", None)

    @property
    def laws(self) -> dict[str, str]:
        """Which outputs turn with positions, for the checks of `zoo.testing`."""
        own = {**self.action.laws}
        for name in getattr(self.model, "outputs", ()):
            own.setdefault(name, "equivariant" if self.action.law(name).rank else "invariant")
        return {n: "equivariant" if self.action.law(n).rank else "invariant" for n in own}

    def forward(self, inputs: Any, **options: Any) -> dict[str, Tensor]:
        """The average over the frame of each sample.

        Args:
            inputs: a batch, or what the model's `prepare` makes one of.
            **options: for the model.
        """
        prepare = getattr(self.model, "prepare", None)
        batch: Batch = inputs if prepare is None else prepare(inputs)
        owner, samples = self.action.samples(batch)
        found = self._found(batch, owner, samples)
        self._warn(found, batch)
        found = self._drawn(found)
        total: dict[str, Tensor] = {}
        elements = found.matrices.shape[1]
        for k in range(elements):
            matrices = found.matrices[:, k]
            seen = self.action.moved(batch, matrices, found.centres)
            places = self._sorted(seen, owner, samples)
            seen = seen if places is None else places.batch(seen)
            out = outputs_of(self.model(seen, **options), self.model)
            for name, given in out.items():
                value = given if places is None else places.back(given)
                back = self.action.carried(
                    name, value, batch, matrices.mT, shifts=found.centres.to(value.dtype)
                )
                part = self._weighted(name, back, batch, found, k)
                total[name] = total[name] + part if name in total else part
        if "log_softmax" in total:  # a mean of logarithms is that of no distribution
            total["log_softmax"] = torch.log_softmax(total["log_softmax"], dim=-1)
        return total

    def _found(self, batch: Batch, owner: Tensor, samples: int) -> Frames:
        """The frames of a batch, differentiable where its positions are."""
        make = minimal_frames if self.frames == "minimal" else frames
        points, rows = self._fibres(batch, owner)
        extra, extra_rows = self._extra(batch, owner, points.shape[1])
        centre = self.action.group.moves
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach):
            found = make(
                points,
                rows,
                samples,
                group=self.action.group.linear,
                extra=extra,
                extra_sample=extra_rows,
                centre=centre,
            )
        if self.detach and centre and points.requires_grad:
            # a mean is no part of the frame
            centres = points.new_zeros(samples, points.shape[1]).index_add(0, rows, points)
            count = torch.bincount(rows, minlength=samples).clamp(min=1)
            found = found._replace(centres=centres / count[:, None])
        return found

    def _fibres(self, batch: Batch, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The points that frames are made of, and the sample of each."""
        value = batch[self.action.field(batch)]
        axes = range(value.ndim - self.action.order, value.ndim)
        fibres = [value.movedim(axis, -1).flatten(1, -2) for axis in axes if value.ndim > 2]
        points = torch.cat(fibres, 1) if fibres else value[:, None]
        return points.flatten(0, 1), owner.repeat_interleave(points.shape[1])

    def _extra(
        self, batch: Batch, owner: Tensor, dim: int
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The vectors that decide where points don't, and the sample of each."""
        given = [batch.get(name) for name in self.action.vectors] if len(owner) else []
        vectors = [
            v.reshape(len(owner), -1, dim)
            for v in given
            if isinstance(v, Tensor) and len(v) == len(owner) and not v[0:1].numel() % dim
        ]
        if not vectors:
            return None, None
        joined = torch.cat(vectors, 1)
        return joined.flatten(0, 1), owner.repeat_interleave(joined.shape[1])

    def _sorted(self, seen: Batch, owner: Tensor, samples: int) -> Sorted | None:
        if not self.sorts:
            return None
        return Sorted(seen, self.action.field(seen), self.action.vectors, owner, samples)

    def _drawn(self, found: Frames) -> Frames:
        """One element of each frame, in training with stochastic frames."""
        if self.frames != "stochastic" or not self.training:
            return found
        samples, elements = found.matrices.shape[:2]
        pick = torch.randint(elements, (samples,), device=found.matrices.device)
        rows = torch.arange(samples, device=pick.device)
        return found._replace(matrices=found.matrices[rows, pick][:, None])

    def _weighted(self, name: str, value: Tensor, batch: Batch, found: Frames, k: int) -> Tensor:
        """One element's share of the mean."""
        if found.weights is None:
            return value / found.matrices.shape[1]
        weights = found.weights[:, k].to(value.dtype)[self.action.rows(name, value, batch)]
        return value * weights.reshape(-1, *[1] * (value.ndim - 1))

    def _warn(self, found: Frames, batch: Batch) -> None:
        """Says once that the answer for some samples depends on the axes of coordinates."""
        silent = self._warned or torch.compiler.is_compiling()
        if silent or self.frames == "minimal" or found.ratio is None:
            return
        lost = found.undetermined | (found.ratio > CLOSE)
        if bool(lost.any()):
            self._warned = True
            which = lost.nonzero().flatten().tolist()
            ratio = float(found.ratio[lost].max())
            more = f" and {len(which) - 5} more" if len(which) > 5 else ""
            warnings.warn(
                f"FrameAveraging: the samples {which[:5]}{more} of this batch have second moments "
                f"with repeated or nearly repeated eigenvalues (ratio up to {ratio:.6f}): their "
                f"frames are left to chance or jump, and {self.action.group.name} is lost for "
                "them; frames='minimal' keeps it for symmetric figures. This is said once",
                UserWarning,
                stacklevel=3,
            )
