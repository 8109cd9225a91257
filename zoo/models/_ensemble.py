"""Several models of one architecture as one: their mean, and how far they disagree.

    energy, forces, stress, ...   the mean over the members
    energy_std  (graphs,) eV      sqrt(sum_k (E_k - E)^2 / (K - 1))
    forces_std  (atoms,) eV/Å     sqrt(sum_k |F_k - F|^2 / (K - 1)), a length: rotations keep it

The mean force is the gradient of the mean energy, so it is conservative if the members' are. The
spread says where members that differ by their seeds disagree; a mistake that all of them make
stays unseen.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.errors import CapabilityError, ConfigError
from zoo.layers.atomistic import AtomFeatures, AtomGraph, EnergyScale
from zoo.models._atomistic import AtomisticModel

#: the spread of each output that has one
SPREADS = {"energy_std": "energy", "forces_std": "forces"}


class Ensemble(AtomisticModel):
    """The mean and the spread of models that differ in their weights alone.

    Args:
        models: two or more of one class and configuration; they are not copied.

    Raises:
        ConfigError: for fewer than two, or models that are not alike.
    """

    def __init__(self, models: Sequence[AtomisticModel]) -> None:
        nn.Module.__init__(self)  # the members have the heads, scales and elements
        _check_alike(models)
        first = models[0]
        self.members = nn.ModuleList(models)
        self.cutoff, self.max_z = first.cutoff, first.max_z
        self.architecture, self.hparams = first.architecture, dict(first.hparams)
        self.manifest: Any = None
        self.checkpoint_name: str | None = None
        self.trust: Any = None

    @property
    def first(self) -> AtomisticModel:
        """The first member, which answers for all where they are alike."""
        member = self.members[0]
        assert isinstance(member, AtomisticModel)
        return member

    @property
    def trained_elements(self) -> dict[int, int] | None:  # type: ignore[override]
        """Atoms seen by atomic number."""
        return self.first.trained_elements

    @property
    def allowed(self) -> Tensor:  # type: ignore[override]
        """Which atomic numbers are accepted."""
        return self.first.allowed

    @property
    def energy_scale(self) -> EnergyScale:  # type: ignore[override]
        """References and scale of the first member."""
        return self.first.energy_scale

    @property
    def energy_scales(self) -> nn.ModuleDict:  # type: ignore[override]
        """Those of its further energy heads."""
        return self.first.energy_scales

    @property
    def direct_scales(self) -> nn.ModuleDict:  # type: ignore[override]
        """Those of its direct heads."""
        return self.first.direct_scales

    @property
    def heads(self) -> nn.ModuleDict:  # type: ignore[override]
        """Heads of the first member."""
        return self.first.heads

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that can be asked for."""
        known = self.first.outputs
        return (*known, *(name for name, of in SPREADS.items() if of in known))

    def forward(
        self,
        batch: Data,
        *,
        outputs: Sequence[str] | None = None,
        head: str | None = None,
        create_graph: bool | None = None,
        observe: Callable[[AtomGraph, AtomFeatures], None] | None = None,
    ) -> dict[str, Tensor]:
        """Evaluates a batch by all members on one neighbour list; see `AtomisticModel.__call__`.

        `observe` is shown the features of the first member.
        """
        asked = None
        if outputs is not None:
            asked = list(dict.fromkeys(SPREADS.get(name, name) for name in outputs))
        shared = self._shared(batch)
        options: dict[str, Any] = {"outputs": asked, "create_graph": create_graph}
        options |= {} if head is None else {"head": head}
        keep = self.training if create_graph is None else create_graph
        found: list[dict[str, Tensor]] = []
        for member in self.members:
            extra = {"observe": observe} if observe is not None and not found else {}
            found.append(member(shared, **options | {"create_graph": keep}, **extra))
        result = _combined(found)
        if "energy_std" in result:  # only energies themselves need float64
            result["energy_std"] = result["energy_std"].to(self.dtype)
        return result if outputs is None else {name: result[name] for name in outputs}

    def _shared(self, batch: Data) -> Data:
        """A copy of the batch that carries the neighbour list."""
        batch = batch if isinstance(batch, Batch) else Batch.from_data_list([batch])
        self.first._check_batch(batch)
        shared = copy.copy(batch)
        shared.pair_index, shared.pair_shift = self.first._pairs(batch)
        shared.pair_cutoff = torch.full_like(batch.charge, self.cutoff, dtype=torch.float64)
        return shared

    # --- what all members do ---------------------------------------------------------------

    def restrict_elements(
        self, counts: Mapping[int, int] | None, *, allow_untrained: bool = False
    ) -> None:
        """See `AtomisticModel.restrict_elements`."""
        for member in self._all():
            member.restrict_elements(counts, allow_untrained=allow_untrained)

    def keep_heads(self, wanted: Sequence[str]) -> None:
        """See `EnergyHeads.keep_heads`."""
        for member in self._all():
            member.keep_heads(wanted)
        self.hparams = dict(self.first.hparams)

    def _all(self) -> list[AtomisticModel]:
        return [member for member in self.members if isinstance(member, AtomisticModel)]

    # --- what only single models do ----------------------------------------------------------

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Features of the first member."""
        return self.first.features(graph)

    def embedding(self) -> nn.Embedding:
        """An ensemble is not trained as one."""
        raise _not_as_one()

    def blocks(self) -> list[nn.Module]:
        """An ensemble is not trained as one."""
        raise _not_as_one()

    def add_elements(self, numbers: Sequence[int]) -> None:
        """An ensemble is not trained as one."""
        raise _not_as_one()

    def add_head(self, name: str, *, like: str | None = None) -> None:
        """An ensemble is not trained as one."""
        raise _not_as_one()

    def set_references(self, values: Mapping[int, float] | Tensor, head: str | None = None) -> None:
        """An ensemble is not trained as one."""
        raise _not_as_one()


def _not_as_one() -> CapabilityError:
    return CapabilityError(
        "an ensemble is for prediction; train or fine-tune its members one by one and join them "
        "with: zoo ensemble A B -o FOLDER"
    )


def _combined(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Means and spreads; of equal members exactly the one and exactly zero."""
    result: dict[str, Tensor] = {}
    spreads: dict[str, Tensor] = {}
    for name, value in found[0].items():
        apart = torch.stack([other[name] - value for other in found])
        shift = apart.mean(0)
        result[name] = value + shift
        spread = next((key for key, of in SPREADS.items() if of == name), None)
        if spread is not None:
            # the norm has derivative zero where all agree, a square root would have none
            axes = [0] if name == "energy" else [0, 2]
            length = torch.linalg.vector_norm(apart - shift, dim=axes)
            spreads[spread] = length / (len(found) - 1) ** 0.5
    return result | spreads


def _check_alike(models: Sequence[AtomisticModel]) -> None:
    if len(models) < 2:
        raise ConfigError(f"an ensemble needs two members or more; {len(models)} given")
    first = models[0]
    for place, model in enumerate(models):
        if isinstance(model, Ensemble):
            raise ConfigError(f"member {place} is an ensemble itself; give its members")
        if type(model) is not type(first):
            raise ConfigError(
                f"member {place} is a {type(model).__name__}, member 0 a {type(first).__name__}; "
                "members must be of one architecture"
            )
        if dict(model.hparams) != dict(first.hparams):
            differing = sorted(
                key for key in first.hparams if model.hparams.get(key) != first.hparams[key]
            )
            raise ConfigError(
                f"member {place} differs from member 0 in {', '.join(differing)}; members must "
                "have one configuration"
            )
        if model.dtype != first.dtype:
            raise ConfigError(
                f"member {place} is in {model.dtype}, member 0 in {first.dtype}; cast one of them"
            )
