"""Our models on atoms as models of torch-sim (extra `torchsim`), which batches many simulations on
one device: `torch_sim.static`, `optimize`, `integrate`, with its autobatchers.

Its states hold positions (Å), lattice vectors as columns (Å) and, in release 0.3, one `pbc` for all
structures; it wants energies (eV), forces (eV/Å) and stresses (eV/Å³) of the sign that ours have:
its cell optimisers take -volume * stress as the virial. It knows no charges in that release, so
structures count as neutral.
"""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo import hub
from zoo._extras import require
from zoo.datasets.atoms import assemble
from zoo.errors import CapabilityError, ConfigError
from zoo.models._atomistic import AtomisticModel

EXTRA, PACKAGE = "torchsim", "torch-sim-atomistic"
Scaling = Literal["n_atoms_x_density", "n_atoms"]


class StateModel(nn.Module):
    """Energies, forces and stresses of the states of torch-sim; see `torch_sim_model`.

    Args:
        model: in the precision and on the device to use.
        head: name of the energy head.
        dtype: of states; the model's own if None.
        stress: whether stresses are computed.
        memory_scales_with: what memory grows with.
    """

    def __init__(
        self,
        model: AtomisticModel,
        *,
        head: str,
        dtype: torch.dtype | None,
        stress: bool,
        memory_scales_with: Scaling,
    ) -> None:
        super().__init__()
        self.model, self._head, self._state_dtype = model, head, dtype
        self._scaling: Scaling = memory_scales_with
        self.compute_stress = stress

    @property
    def device(self) -> torch.device:
        """Where the model computes, and states have to be."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Of states and of everything that is returned."""
        return self.model.dtype if self._state_dtype is None else self._state_dtype

    @property
    def memory_scales_with(self) -> Scaling:
        """What the autobatchers measure structures by."""
        return self._scaling

    @property
    def compute_stress(self) -> bool:
        """Whether stresses are computed, which every structure must then have a cell for."""
        return self._stress

    @compute_stress.setter
    def compute_stress(self, wanted: bool) -> None:
        if wanted and "stress" not in self.model.outputs:
            raise CapabilityError(f"{self.model.architecture} gives no stress; leave stress out")
        self._stress = bool(wanted)

    @property
    def compute_forces(self) -> bool:
        """Always."""
        return True

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Evaluates a state.

        Args:
            state: a `SimState` of torch-sim, or a dict of its fields.

        Returns:
            `energy` (systems,) eV, `forces` (atoms, 3) eV/Å and, if wanted, `stress`
            (systems, 3, 3) eV/Å³, in the precision of the state.

        Raises:
            UnsupportedElementError: for an element the weights have not seen.
            UnsupportedInputError: for coincident atoms.
            CapabilityError: stresses of structures that are not periodic.
        """
        get = _reader(state)
        names = ["energy", "forces", *(["stress"] if self.compute_stress else [])]
        out = self.model(self._batch(get), outputs=names, head=self._head, create_graph=False)
        return {name: value.to(get("positions").dtype) for name, value in out.items()}

    def _batch(self, get: Callable[[str], Any]) -> Batch:
        """What our models take; positions count from each structure's centre, to be rounded
        less."""
        pos, cell = get("positions").detach(), get("cell").detach().mT  # as rows
        owner, dtype = get("system_idx"), self.model.dtype
        if owner is None:
            owner = torch.zeros(len(pos), dtype=torch.long, device=pos.device)
        cell = cell.reshape(-1, 3, 3)
        counts = torch.bincount(owner, minlength=len(cell))
        centre = pos.new_zeros(len(cell), 3).index_add_(0, owner, pos) / counts[:, None]
        periodic = get("pbc")
        pbc = torch.as_tensor(True if periodic is None else periodic, device=pos.device)
        fields = {
            "atomic_numbers": get("atomic_numbers").long(),
            "pos": (pos - centre[owner]).to(dtype),
            "cell": cell.to(dtype),
            "pbc": pbc.expand(len(cell), 3),
            "charge": _per_system(get("charge"), cell).to(dtype),
            "spin": _per_system(get("spin"), cell).to(dtype),
        }
        return assemble(fields, counts.tolist()).to(self.device)


def _reader(state: Any) -> Callable[[str], Any]:
    """Gives the fields of a state or of a dict, None for those it has not."""
    return state.get if isinstance(state, Mapping) else lambda name: getattr(state, name, None)


def _per_system(value: Any, cell: Tensor) -> Tensor:
    """What later releases may say of charge or spin (systems,); zeros, which is unknown or none."""
    return cell.new_zeros(len(cell)) if value is None else torch.as_tensor(value)


def torch_sim_model(
    model: AtomisticModel | str | Path,
    *,
    head: str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    stress: bool = False,
    memory_scales_with: Scaling = "n_atoms_x_density",
) -> Any:
    """A model that torch-sim can use: an instance of its `ModelInterface`.

    Args:
        model: a model on atoms, or the name or folder of weights. It is used as it is, not copied.
        head: the energy head; the first if None.
        dtype: of states and results; the model's own if None. With float64 and a model in float32
            the network computes in float32, and nothing is lost of positions and total energies.
        device: moves the model there first; None leaves it where it is.
        stress: compute stresses too, which needs three periodic directions.
        memory_scales_with: what torch-sim's autobatchers measure structures by. The default suits
            crystals and liquids; molecules without a cell have no density: "n_atoms".

    Returns:
        The model of torch-sim.

    Raises:
        MissingExtraError: torch-sim is not installed.
        ConfigError: the model is not one on atoms, or has no energies.
        UnknownHeadError: for a head that the model does not have.
        CapabilityError: stresses of a model that gives none.
    """
    interface = require("torch_sim.models.interface", extra=EXTRA, package=PACKAGE).ModelInterface
    if isinstance(model, str | Path):
        model = hub.load(model, domain="atoms")
    if not isinstance(model, AtomisticModel) or not model.energy_heads:
        raise ConfigError(
            f"{getattr(model, 'architecture', type(model).__name__)} gives no energies of atoms; "
            "torch-sim needs a model on atoms with an energy head"
        )
    if memory_scales_with not in Scaling.__args__:  # type: ignore[attr-defined]
        raise ConfigError(
            f"memory_scales_with is {memory_scales_with!r}; expected 'n_atoms_x_density' or "
            "'n_atoms'"
        )
    if device is not None:
        model.to(device)
    made = types.new_class("TorchSimModel", (StateModel, interface))
    return made(
        model.eval(),
        head=model.find_head(head),
        dtype=dtype,
        stress=stress,
        memory_scales_with=memory_scales_with,
    )
