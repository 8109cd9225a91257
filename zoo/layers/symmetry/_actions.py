"""How O(n), SO(n), E(n) and SE(n) act on batches of any domain, and on what models return.

A batch is PyG's `Data` with positions, or a mapping of tensors with a leading axis of samples. Each
sample has a matrix M of its own: its points become (x - c) M, its vectors and the rows of its cell
v M, and each of the last axes of a tensor is multiplied alike. Outputs are turned by their laws.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from zoo.errors import ConfigError, UnsupportedInputError, nearest
from zoo.functional.frames import FrameGroup
from zoo.layers.atomistic import SCALARS

#: name of an output -> how it answers: "invariant", "vector", "position" (a vector that moves with
#: the origin), "tensor" (two axes), "equivariant" (as the positions do under the group), or a
#: number of axes
Laws: TypeAlias = Mapping[str, str | int]
Batch: TypeAlias = Data | Mapping[str, Tensor]

GROUPS = ("O", "SO", "E", "SE")
LAWS = ("invariant", "equivariant", "vector", "position", "tensor")
#: outputs whose law is known by their name, wherever it isn't said
KNOWN: Mapping[str, str] = {
    "energy": "invariant",
    "forces": "vector",
    "stress": "tensor",
    "virial": "tensor",
    "dipole": "vector",
    "polarizability": "tensor",
    "charges": "invariant",
    **dict.fromkeys(SCALARS, "invariant"),
    "logits": "invariant",
    "log_softmax": "invariant",
    "score": "invariant",
    "embedding": "invariant",
}


class Named(NamedTuple):
    """A group by its parts."""

    #: the group of the axes
    linear: FrameGroup
    #: whether it has translations
    moves: bool
    #: of the space, where the name says it
    dim: int | None

    @property
    def name(self) -> str:
        """Such as "SE(n)"."""
        letter = "E" if self.moves else "O"
        return f"{'S' if self.linear == 'SO(n)' else ''}{letter}(n)"


class Law(NamedTuple):
    """How an output answers."""

    #: how many of its last axes turn
    rank: int
    #: whether it moves with the origin
    moves: bool


def read_group(group: str) -> Named:
    """Reads "O", "SO", "E" or "SE", also as "E(n)" or "E(3)".

    Raises:
        ConfigError: for another name.
    """
    found = re.fullmatch(r"(S?)([OE])(?:\((n|[1-9]\d*)\))?", str(group).strip())
    if found is None:
        raise ConfigError(f"no group is called {group!r} here: {nearest(str(group), GROUPS)}")
    special, letter, size = found.groups()
    dim = int(size) if size and size != "n" else None
    return Named("SO(n)" if special else "O(n)", letter == "E", dim)


def read_law(law: str | int, group: Named) -> Law:
    """Reads a law of an output under a group.

    Raises:
        ConfigError: for another word, or a negative number of axes.
    """
    if isinstance(law, int) and not isinstance(law, bool) and law >= 0:
        return Law(law, False)
    if law not in LAWS:
        raise ConfigError(f"no output answers by the law {law!r}: {nearest(str(law), LAWS)}")
    if law == "equivariant":
        return Law(1, group.moves)
    return Law({"invariant": 0, "tensor": 2}.get(str(law), 1), law == "position")


class Action:
    """How a group acts on batches of one kind, and on the outputs of one model.

    Args:
        group: "O", "SO", "E" or "SE".
        output: the law of outputs that neither `KNOWN` nor a mapping names; or a mapping, which
            must name all others.
        points: the field that holds positions; `pos` or else `x` if None.
        vectors: fields that hold vectors, which don't move with the origin; of those a batch may
            lack some. A last axis of k times the dimension is read as k vectors.
        order: how many of the last axes of `points` turn: 2 for matrices x -> M^T x M.

    Raises:
        ConfigError: for an unknown group or law, or an order below 1.
    """

    def __init__(
        self,
        group: str,
        output: str | int | Laws = "invariant",
        *,
        points: str | None = None,
        vectors: Sequence[str] = ("vel",),
        order: int = 1,
    ) -> None:
        self.group = read_group(group)
        self.laws: dict[str, str | int] = {}
        self.rest: str | int | None = None
        if isinstance(output, Mapping):
            self.laws = dict(output)
        else:
            self.rest = output
        for law in (*self.laws.values(), *([] if self.rest is None else [self.rest])):
            read_law(law, self.group)
        if order < 1 or (order > 1 and self.group.moves):
            raise ConfigError(
                f"order={order} with the group {self.group.name}: expected at least 1, and 1 for "
                "groups with translations; tensors take O or SO"
            )
        self.points, self.vectors, self.order = points, tuple(vectors), order

    def field(self, batch: Batch) -> str:
        """The name of the field with the positions.

        Raises:
            UnsupportedInputError: for a batch without them, or of another dimension or kind.
        """
        if not isinstance(batch, (Data, Mapping)):
            raise UnsupportedInputError(
                f"{self.group.name} acts on PyG's Data or a dict of tensors, not on a "
                f"{type(batch).__name__}"
            )
        keys = list(batch.keys()) if isinstance(batch, Mapping) else list(batch.to_dict())
        name = self.points or ("pos" if "pos" in keys else "x")
        value = batch[name] if name in keys else None
        if not isinstance(value, Tensor) or not value.is_floating_point():
            have = ", ".join(map(str, keys)) or "nothing"
            raise UnsupportedInputError(
                f"{self.group.name} acts on {name}, which this batch doesn't have as real numbers "
                f"(it has {have}); say points='...' for another field"
            )
        self._check_dim(name, value)
        return name

    def _check_dim(self, name: str, value: Tensor) -> None:
        shape = tuple(value.shape)
        same = len(shape) > self.order and len(set(shape[len(shape) - self.order :])) == 1
        if not same or self.group.dim not in (None, shape[-1]):
            want = "n" if self.group.dim is None else self.group.dim
            last = ", ".join([str(want)] * self.order)
            raise UnsupportedInputError(
                f"{self.group.name.replace('n', str(want))} acts on {name} of the shape (..., "
                f"{last}), not {shape}"
            )

    def samples(self, batch: Batch) -> tuple[Int[Tensor, " rows"], int]:
        """The sample of each row of the positions, and how many samples there are."""
        value = batch[self.field(batch)]
        if not isinstance(batch, Data):
            return torch.arange(len(value), device=value.device), len(value)
        owner = batch.get("batch")
        if owner is None:
            return torch.zeros(len(value), dtype=torch.int64, device=value.device), 1
        return owner, int(batch.num_graphs)

    def moved(
        self,
        batch: Batch,
        matrices: Float[Tensor, "samples dim dim"],
        centres: Float[Tensor, "samples dim"] | None = None,
        shifts: Float[Tensor, "samples dim"] | None = None,
    ) -> Any:
        """The batch with x -> (x - c) M + s of each sample; vectors and cells without c and s.

        Args:
            batch: left as it is.
            matrices: M.
            centres: c, or None.
            shifts: s, or None.
        """
        name = self.field(batch)
        owner, _ = self.samples(batch)
        mine, value = matrices.index_select(0, owner), batch[name]
        if centres is not None:
            value = value - _along(centres.index_select(0, owner), value)
        value = turned(value, mine, self.order)
        if shifts is not None:
            value = value + _along(shifts.index_select(0, owner), value)
        changed = {name: value}
        for other in self.vectors:
            given = batch.get(other)
            if given is not None and other != name:
                changed[other] = self._turned_vectors(other, given, mine)
        cell = batch.get("cell")
        if isinstance(cell, Tensor):
            changed["cell"] = _turned_cells(cell, matrices)
        if not isinstance(batch, Data):
            return {**batch, **changed}
        result = copy.copy(batch)
        for key, new in changed.items():
            result[key] = new
        return result

    def random(
        self, batch: Batch, generator: torch.Generator | None = None, scale: float = 1.0
    ) -> tuple[Float[Tensor, "samples dim dim"], Float[Tensor, "samples dim"] | None]:
        """An element for each sample: matrices uniform in the group, and normal shifts, or None.

        Args:
            batch: says how many samples there are, of which dimension and precision.
            generator: on the CPU.
            scale: standard deviation of the shifts.
        """
        value = batch[self.field(batch)]
        _, samples = self.samples(batch)
        dim = value.shape[-1]
        draw = torch.randn(samples, dim, dim, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(draw)
        q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
        if self.group.linear == "SO(n)":
            hand = torch.linalg.det(q).sign()
            q = torch.cat([q[..., :1] * hand[:, None, None], q[..., 1:]], -1)
        if not self.group.moves:
            return q.to(value), None
        shifts = scale * torch.randn(samples, dim, generator=generator, dtype=torch.float64)
        return q.to(value), shifts.to(value)

    def _turned_vectors(self, name: str, value: Any, matrices: Tensor) -> Tensor:
        dim = matrices.shape[-1]
        fits = isinstance(value, Tensor) and value.ndim > 1 and len(value) == len(matrices)
        if not fits or value.shape[-1] % dim:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UnsupportedInputError(
                f"{name} holds vectors of {dim} numbers for each of {len(matrices)} rows, by "
                f"vectors={list(self.vectors)}, but is {found}"
            )
        parts = value.unflatten(-1, (-1, dim))
        return turned(parts, matrices, 1).flatten(-2)

    def law(self, name: str) -> Law:
        """How an output answers.

        Raises:
            ConfigError: for one whose law nobody said.
        """
        law = self.laws.get(name)
        if law is None:
            law = KNOWN.get(name.partition("/")[0], self.rest)
        if law is None:
            raise ConfigError(
                f"how does the output {name!r} answer {self.group.name}? Say output={{..., "
                f"{name!r}: one of {', '.join(LAWS)}}}; laws are given for "
                f"{', '.join(self.laws) or 'none'}"
            )
        return read_law(law, self.group)

    def carried(
        self,
        name: str,
        value: Tensor,
        batch: Batch,
        matrices: Float[Tensor, "samples dim dim"],
        centres: Tensor | None = None,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """An output turned by M, and moved from c to s, as its law says.

        Raises:
            UnsupportedInputError: for an output whose rows are neither points nor samples.
        """
        law = self.law(name)
        if law.rank == 0:
            return value
        owner = self.rows(name, value, batch)
        if value.ndim <= law.rank or set(value.shape[value.ndim - law.rank :]) != {
            matrices.shape[-1]
        }:
            raise UnsupportedInputError(
                f"the output {name} has the shape {tuple(value.shape)}; by its law its last "
                f"{law.rank} axes have {matrices.shape[-1]} entries, one for each dimension"
            )
        if law.moves and centres is not None:
            value = value - _along(centres[owner].to(value.dtype), value)
        value = turned(value, matrices.to(value.dtype)[owner], law.rank)
        if law.moves and shifts is not None:
            value = value + _along(shifts[owner].to(value.dtype), value)
        return value

    def rows(self, name: str, value: Tensor, batch: Batch) -> Tensor:
        """The sample of each row of an output."""
        owner, samples = self.samples(batch)
        if value.ndim and len(value) == len(owner):
            return owner
        if value.ndim and len(value) == samples:
            return torch.arange(samples, device=value.device)
        raise UnsupportedInputError(
            f"the output {name} has the shape {tuple(value.shape)}: neither a row for each of the "
            f"{len(owner)} points nor one for each of the {samples} samples"
        )


def outputs_of(out: Any, model: Any) -> Mapping[str, Tensor]:
    """What a model returned, once it is known to be a dict of tensors.

    Raises:
        ConfigError: for anything else.
    """
    named = isinstance(out, Mapping) and all(isinstance(v, Tensor) for v in out.values())
    if not named:
        raise ConfigError(
            f"{type(model).__name__} returned {type(out).__name__}; outputs have names here, by "
            'which their laws are known: return a dict of tensors such as {"prediction": ...}'
        )
    found: Mapping[str, Tensor] = out
    return found


def turned(
    value: Float[Tensor, "rows *axes"], matrices: Float[Tensor, "rows dim dim"], rank: int
) -> Float[Tensor, "rows *axes"]:
    """Each of the last axes of each row multiplied by its matrix, y_j = sum_i x_i M_ij.

    Args:
        value: rows of tensors, channels first.
        matrices: M.
        rank: how many of the last axes.
    """
    for axis in range(value.ndim - rank, value.ndim):
        last = value.movedim(axis, -1)
        flat = last.reshape(len(last), -1, last.shape[-1]) if last.numel() else last
        if last.numel():
            value = (flat @ matrices).reshape(last.shape).movedim(-1, axis)
    return value


def _along(vectors: Tensor, like: Tensor) -> Tensor:
    """Vectors (rows, d) to broadcast against (rows, ..., d)."""
    return vectors.reshape(len(vectors), *[1] * (like.ndim - 2), vectors.shape[-1])


def _turned_cells(cells: Tensor, matrices: Tensor) -> Tensor:
    """Rows of cells (samples, d, d), or below each other as PyG joins those of (d, d)."""
    samples, dim, _ = matrices.shape
    if tuple(cells.shape) not in ((samples, dim, dim), (samples * dim, dim)):
        raise UnsupportedInputError(
            f"cell has the shape {tuple(cells.shape)}; expected ({samples}, {dim}, {dim}) for "
            f"{samples} samples"
        )
    return (cells.reshape(samples, dim, dim) @ matrices).reshape(cells.shape)
