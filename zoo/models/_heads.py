"""Several energy heads on one trunk: choosing among them, adding one, leaving some out."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import CapabilityError, ConfigError, DataError
from zoo.layers.atomistic import (
    SCALARS,
    TOTALS,
    AtomFeatures,
    AtomGraph,
    EnergyScale,
    OutputScale,
    ScalarScale,
    balanced,
)
from zoo.layers.atomistic._names import DIRECT, NEW, check_name, choose, energy_name, entry_of

#: what an energy head gives by differentiation, where no direct head gives it
DERIVATIVES = ("forces", "stress", "virial")


class EnergyHeads(nn.Module):
    """The part of a model on atoms that knows its energy heads.

    Attributes:
        heads: modules by entry: "energy", "energy/<name>", "dipole", "polarizability", "charges",
            scalar properties, and the direct ones, "forces" and "stress", which serve every
            energy head alike.
        energy_scale: of the head "energy".
        energy_scales: of the other energy heads, by name.
        direct_scales: of the direct heads, by kind.
        scalar_scales: of the heads of scalar properties, by name.
        hparams: constructor arguments; `heads` follows what is added or left out.
    """

    heads: nn.ModuleDict
    energy_scale: EnergyScale
    energy_scales: nn.ModuleDict
    direct_scales: nn.ModuleDict
    scalar_scales: nn.ModuleDict
    hparams: dict[str, Any]
    checkpoint_name: str | None

    @property
    def direct(self) -> tuple[str, ...]:
        """Which of forces and stress are given by heads of their own."""
        return tuple(kind for kind in DIRECT if kind in self.heads)

    @property
    def derived(self) -> tuple[str, ...]:
        """Outputs that are derivatives of the energy."""
        return tuple(n for n in DERIVATIVES if n not in self.heads) if self.energy_heads else ()

    @property
    def conservative(self) -> bool:
        """Whether forces and stress are the derivatives of the energy."""
        return bool(self.energy_heads) and not self.direct

    @property
    def extensive(self) -> tuple[str, ...]:
        """Scalar properties that are sums over the atoms."""
        return tuple(n for n in self.scalar_scales if not self.scalar_scale(n).mean)

    def scalar_scale(self, name: str) -> ScalarScale:
        """Scale, references and read-out of a scalar property that the model has a head for."""
        scale = self.scalar_scales[name]
        assert isinstance(scale, ScalarScale)
        return scale

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that can be asked for."""
        kinds = dict.fromkeys(entry.partition("/")[0] for entry in self.heads)
        return (*kinds, *self.derived)

    @property
    def energy_heads(self) -> tuple[str, ...]:
        """Names of the energy heads; the first answers where none is named."""
        return tuple(name for name in map(energy_name, self.heads) if name is not None)

    def find_head(self, name: str | None) -> str:
        """The energy head that a name means; None means the first one.

        Raises:
            UnknownHeadError: offers the nearest names.
            CapabilityError: if the model has no energy head.
        """
        if not self.energy_heads:
            raise CapabilityError(
                f"{self._title()} has no energy head (heads: {', '.join(self.heads)})"
            )
        if name is None:
            return self.energy_heads[0]
        return choose(name, self.energy_heads, owner=self._title())

    def scale_of(self, head: str | None = None) -> EnergyScale:
        """References, scale and offset of one energy head.

        Raises:
            UnknownHeadError: offers the nearest names.
        """
        name = self.find_head(head)
        scale = self.energy_scale if name == "energy" else self.energy_scales[name]
        assert isinstance(scale, EnergyScale)
        return scale

    def set_references(self, values: Mapping[int, float] | Tensor, head: str | None = None) -> None:
        """Sets reference energies (eV) by atomic number; see `EnergyScale.set_reference`.

        Args:
            values: energies by atomic number.
            head: of which energy head; the first if None.
        """
        scale = self.scale_of(head) if self.energy_heads else self.energy_scale
        scale.set_reference(values)

    def add_head(self, name: str, *, like: str | None = None) -> None:
        """Puts a new energy head before the others, as a copy of one of them.

        A copy starts where the old head is, which is nearer to any other level of theory than
        random weights. The new head becomes the one that answers where none is named.

        Args:
            name: of the new head.
            like: the head to copy, references and scale included; the first if None.

        Raises:
            ConfigError: for a name that can't be one or is taken.
        """
        if check_name(name) in self.energy_heads:
            raise ConfigError(f"{self._title()} has a head {name!r} already; choose another name")
        source = self.find_head(like)
        head = copy.deepcopy(self.heads[entry_of(source)])
        self.energy_scales[name] = copy.deepcopy(self.scale_of(source))
        self._set_heads({entry_of(name): head, **dict(self.heads.items())})

    def keep_heads(self, wanted: Sequence[str]) -> None:
        """Leaves out all heads but these, in their order; the first energy head is the default.

        Args:
            wanted: names of energy heads, other kinds of heads, or `new:<name>`, which adds an
                energy head that is a copy of the first.

        Raises:
            UnknownHeadError: offers the nearest names.
            ConfigError: for none at all, or one twice.
        """
        entries = [self._entry(name) for name in wanted]
        if not entries or len(set(entries)) != len(entries):
            raise ConfigError(
                f"heads is {list(wanted)}; expected at least one, and each once, of "
                f"{', '.join(self._known())} or new:<name>"
            )
        first = self.find_head(None) if self.energy_heads else None
        for name in wanted:
            if name.startswith(NEW):
                self.add_head(name.removeprefix(NEW), like=first)
        self._set_heads({entry: self.heads[entry] for entry in entries})
        for name in [n for n in self.energy_scales if n not in self.energy_heads]:
            del self.energy_scales[name]
        for scales in (self.direct_scales, self.scalar_scales):
            for kind in [k for k in scales if k not in self.heads]:
                del scales[kind]

    def _entry(self, name: str) -> str:
        if name.startswith(NEW):
            return entry_of(check_name(name.removeprefix(NEW)))
        if name in self.heads:
            return name
        found = choose(name, self._known(), owner=self._title())
        return found if found in self.heads else entry_of(found)

    def _known(self) -> list[str]:
        """Energy heads by name, other heads by kind."""
        return [energy_name(entry) or entry for entry in self.heads]

    def _set_heads(self, heads: Mapping[str, nn.Module]) -> None:
        self.heads = nn.ModuleDict(dict(heads))
        self.hparams["heads"] = list(heads)

    def _title(self) -> str:
        return self.checkpoint_name or type(self).__name__

    # --- evaluation ----------------------------------------------------------------------

    def _properties(
        self, x: AtomFeatures, graph: AtomGraph, pos: Tensor, wanted: Sequence[str]
    ) -> dict[str, Tensor]:
        """What the heads other than those of energies give."""
        result: dict[str, Tensor] = {}
        if "dipole" in wanted:
            result["dipole"] = self.heads["dipole"](x, graph, pos)
        if "polarizability" in wanted:
            result["polarizability"] = self.heads["polarizability"](x, graph)
        if "charges" in wanted:
            result["charges"] = balanced(self.heads["charges"](x), graph)
        for name in [n for n in wanted if n in SCALARS]:
            atomic = self.heads[name](x)
            places = graph.atomic_numbers, graph.batch, graph.num_graphs
            value = self.scalar_scale(name)(atomic, *places)
            result[name] = value if name in TOTALS else value.to(atomic.dtype)
        for kind in self.direct:
            if kind in wanted:
                scale = self.direct_scales[kind]
                assert isinstance(scale, OutputScale)
                result[kind] = scale(self.heads[kind](x, graph))
        return result

    def _energies(
        self, x: AtomFeatures, graph: AtomGraph, head: str | None, index: Tensor | None
    ) -> Float[Tensor, " graphs"]:
        """Total energies by one head, or for each structure by the head that `index` gives."""
        if index is None or head is not None:
            return self._energy(x, graph, self.find_head(head))
        # all heads run, so that every process of a parallel run has the same gradients to share
        table = torch.stack([self._energy(x, graph, name) for name in self.energy_heads])
        return table.gather(0, index[None])[0]

    def _energy(self, x: AtomFeatures, graph: AtomGraph, name: str) -> Float[Tensor, " graphs"]:
        atomic = self.heads[entry_of(name)](x)
        energies: Tensor = self.scale_of(name)(
            atomic, graph.atomic_numbers, graph.batch, graph.num_graphs
        )
        return energies

    def _head_index(self, batch: Data, head: str | None) -> Int[Tensor, " graphs"] | None:
        """The batch's own choice of heads, if it makes one.

        Raises:
            ConfigError: if the caller names a head as well.
            DataError: if there is no such head.
        """
        index = batch.get("head")
        if index is None:
            return None
        if head is not None:
            raise ConfigError(
                f"head={head!r} is given, but the batch carries heads of its own (batch.head); "
                "leave out one of them"
            )
        count = len(self.energy_heads)
        if index.dtype != torch.int64 or bool(((index < 0) | (index >= count)).any()):
            raise DataError(
                f"batch.head must be int64 numbers below {count}, which count the energy heads "
                f"{', '.join(self.energy_heads)}; it is {index.tolist()[:8]} ({index.dtype})"
            )
        found: Tensor = index
        return found
