"""Relaxation of any number of structures at once.

Those that have reached their minimum leave the batch and others take their places, so that every
call of the model is full. Positions alone, or positions and cell: then the coordinates are those of
Tadmor et al., Phys. Rev. B 59, 235 (1999), atoms in the undeformed cell and a deformation F
(pos = X Fᵀ), with forces f F and -V σ F⁻ᵀ / n for n atoms, and the same limit for both.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from zoo._files import write_atomic
from zoo.apps.scale._optimizers import OPTIMIZERS
from zoo.apps.scale._parts import Parts, extxyz, fingerprint
from zoo.apps.scale._pool import Evaluator, Pool, Values, largest
from zoo.apps.scale._relaxed import Relaxed, counts, label, outcome, pack, to_json, unpack
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models._atomistic import AtomisticModel

#: structures that are kept together in one file meanwhile
PART = 64
#: tensors of a run that say where it stands
_HELD = ("_steps", "_deform", "_plain", "_cell")
Method = Literal["lbfgs", "fire"]
Progress = Callable[[int, int], None]


__all__ = ["Relaxed", "counts", "relax", "relax_to", "to_json"]


@dataclass(frozen=True)
class Settings:
    """How structures are relaxed; arguments of `relax`."""

    fmax: float = 0.05
    steps: int = 500
    method: str = "lbfgs"
    cell: bool = False
    skin: float = 0.5
    batch_atoms: int = 512
    head: str | None = None

    def check(self) -> None:
        """Refuses what can't be.

        Raises:
            ConfigError: names the argument.
        """
        if self.method not in OPTIMIZERS:
            raise ConfigError(f"method is {self.method!r}; expected {' or '.join(OPTIMIZERS)}")
        for name, low in (("fmax", 0.0), ("skin", 0.0), ("steps", 0), ("batch_atoms", 1)):
            value = getattr(self, name)
            if not value >= low or (name == "fmax" and value == 0.0):
                bound = "a positive force (eV/Å)" if name == "fmax" else f"at least {low}"
                raise ConfigError(f"{name} is {value}; expected {bound}")


def relax(
    model: AtomisticModel,
    structures: Sequence[Atoms],
    *,
    fmax: float = 0.05,
    steps: int = 500,
    method: Method = "lbfgs",
    cell: bool = False,
    skin: float = 0.5,
    batch_atoms: int = 512,
    head: str | None = None,
    parts: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Relaxed]:
    """The minima that structures fall into.

    Args:
        model: any model with energies; its precision and device are used.
        structures: molecules and crystals may be mixed; not changed. Atoms under `FixAtoms` stay.
        fmax: largest force on an atom at the end (eV/Å).
        steps: moves at most.
        method: "lbfgs", or "fire", which needs more steps and forgives rougher potentials.
        cell: whether cells relax too; every structure then needs three periodic directions.
        skin: of the neighbour lists (Å): how much farther than the cutoff they reach.
        batch_atoms: atoms per model call, at most, unless one structure has more.
        head: the energy head; the first if None.
        parts: a folder where finished structures are kept meanwhile; a second call with the same
            model, structures and options goes on from there. Nothing is kept if None.
        progress: called with (structures done, structures in all).

    Returns:
        One entry per structure, in order.

    Raises:
        ConfigError: for options that can't be, or a folder of another run.
        CapabilityError: for a model without energies.
        UnknownHeadError: for a head that the model does not have.
    """
    options = Settings(fmax, steps, method, cell, skin, batch_atoms, head)
    options.check()
    done: dict[int, Relaxed] = {}
    run, store = _Run(model, options, structures), None
    if parts is not None:
        store = Parts(parts, fingerprint(model, structures, vars(options)))
        for part in store.read():
            done |= unpack(part, structures)
        run.restore(store.state() or {})
    fresh: dict[int, Relaxed] = {}
    for finished in run.rounds([k for k in range(len(structures)) if k not in done]):
        for place, result in finished:
            done[place] = result
            fresh[place] = result
            if progress is not None:
                progress(len(done), len(structures))
        if store is not None and (len(fresh) >= PART or len(done) == len(structures)) and fresh:
            store.write(pack(fresh), run.state())
            fresh = {}
    return [done[k] for k in range(len(structures))]


def relax_to(
    path: str | Path, model: AtomisticModel, structures: Sequence[Atoms], **options: Any
) -> list[Relaxed]:
    """Relaxes structures into an extended XYZ file, which appears complete or not at all.

    What is finished stands in the folder `<path>.parts` meanwhile; the same call goes on from
    there after a kill, and the folder goes when the file is there.

    Args:
        path: the file.
        model: see `relax`.
        structures: see `relax`.
        **options: see `relax`.

    Raises:
        ConfigError: see `relax`.
        OutputError: if the file can't be written.
    """
    path = Path(path)
    parts = path.with_name(f"{path.name}.parts")
    results = relax(model, structures, parts=parts, **options)
    write_atomic(path, extxyz([result.atoms for result in results]))
    shutil.rmtree(parts)
    return results


class _Run:
    """One pass over a queue of structures."""

    def __init__(
        self, model: AtomisticModel, options: Settings, structures: Sequence[Atoms]
    ) -> None:
        self._options = options
        self._structures = structures
        self._evaluate = Evaluator(model, head=options.head, skin=options.skin, stress=options.cell)
        self._optimizer = OPTIMIZERS[options.method]()
        self._pool: Pool | None = None
        self._frames: dict[int, Atoms] = {}
        self._steps = torch.zeros(0, dtype=torch.long)
        # deformation of the cell, and the atoms and cell before it
        self._deform = torch.zeros(0, 3, 3, dtype=torch.float64)
        self._plain = torch.zeros(0, 3, dtype=torch.float64)
        self._cell = torch.zeros(0, 3, 3, dtype=torch.float64)

    def rounds(self, todo: Sequence[int]) -> Iterator[list[tuple[int, Relaxed]]]:
        """The structures `todo`, with their numbers, as they are done; between two calls of the
        model `state` says all there is to know."""
        # largest first: they take the most steps, and the last batches are not theirs alone
        waiting = [k for k in reversed(todo) if k not in self._frames]
        waiting.sort(key=lambda place: len(self._structures[place]))
        while waiting or self._pool is not None:
            finished = list(self._fill(waiting))
            if self._pool is not None:
                finished += self._leave(*self._values(self._pool))
                self._move()
            if finished:
                yield finished

    def state(self) -> dict[str, np.ndarray]:
        """All that decides how the run goes on, beside what is finished; nothing at its end."""
        if self._pool is None:
            return {}
        groups = {
            "pool": self._pool.fields | {"counts": self._pool.counts},
            "run": {name: getattr(self, name) for name in _HELD},
            "optimizer": vars(self._optimizer),
        }
        arrays = {
            f"{group}.{n}": v.numpy() for group, held in groups.items() for n, v in held.items()
        }
        lists = self._evaluate.neighbors.state()
        return arrays | {f"neighbors.{name}": array for name, array in lists.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave, to the last bit."""
        groups: dict[str, dict[str, Any]] = {}
        for name, array in state.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = array
        if not groups:
            return
        self._evaluate.neighbors.restore(groups.pop("neighbors"))
        held = {
            g: {n: torch.from_numpy(v) for n, v in arrays.items()} for g, arrays in groups.items()
        }
        counts = held["pool"].pop("counts")
        self._pool = Pool(held["pool"], counts)
        vars(self).update(held["run"])
        vars(self._optimizer).update(held["optimizer"])
        places = held["pool"]["place"].tolist()
        self._frames = {place: self._structures[place] for place in places}

    # --- joining and leaving ---------------------------------------------------------------

    def _fill(self, waiting: list[int]) -> Iterator[tuple[int, Relaxed]]:
        """Lets structures join while there is room; what the model refuses is done at once."""
        room = self._options.batch_atoms - (self._pool.size if self._pool else 0)
        joining: dict[int, Atoms] = {}
        while waiting:
            frame = self._structures[waiting[-1]]
            if len(frame) > room and (self._pool is not None or joining):
                break
            joining[waiting.pop()] = frame
            room -= len(frame)
        try:
            self._enter(joining)
        except UnsupportedInputError:
            for place, frame in joining.items():
                try:
                    self._enter({place: frame})
                except UnsupportedInputError as problem:
                    yield place, outcome(frame.copy(), "refused", 0, np.nan, str(problem))

    def _enter(self, joining: dict[int, Atoms]) -> None:
        """All of them, or none."""
        if not joining:
            return
        for place, frame in joining.items():
            self._check_cell(frame, place)
        pool = self._evaluate.check(list(joining.values()), list(joining))
        self._frames |= joining
        self._join(pool)

    def _check_cell(self, frame: Atoms, place: int) -> None:
        if self._options.cell and not frame.pbc.all():
            raise UnsupportedInputError(
                f"structure {place}: its cell can't relax, pbc is {frame.pbc.tolist()}; set "
                "atoms.pbc = True and a cell, or leave cells alone"
            )

    def _join(self, new: Pool) -> None:
        old = self._pool
        if old is not None:
            atoms, graphs = torch.arange(old.size), torch.arange(len(old))
            self._pool = old.join(new)
        else:
            atoms, graphs = torch.arange(0), torch.arange(0)
            self._pool = new
        self._deform = torch.cat([self._deform, torch.eye(3).double().repeat(len(new), 1, 1)])
        self._plain = torch.cat([self._plain, new.fields["pos"]])
        self._cell = torch.cat([self._cell, new.fields["cell"]])
        self._steps = torch.cat([self._steps, torch.zeros(len(new), dtype=torch.long)])
        absent = torch.full((new.size,), -1), torch.full((len(new),), -1)
        self._select(torch.cat([atoms, absent[0]]), torch.cat([graphs, absent[1]]), len(atoms))

    def _select(self, atoms: Tensor, graphs: Tensor, old_atoms: int) -> None:
        """Tells the optimiser which of its rows go on."""
        rows = atoms
        if self._options.cell:
            cells = torch.where(graphs < 0, -1, old_atoms + 3 * graphs)[:, None] + torch.arange(3)
            rows = torch.cat([atoms, torch.where(graphs[:, None] < 0, -1, cells).flatten()])
        self._optimizer.select(rows, graphs)

    def _leave(self, values: Values, failed: dict[int, str]) -> Iterator[tuple[int, Relaxed]]:
        """Takes out what has converged, failed or used up its steps."""
        pool = self._pool
        assert pool is not None
        self._forces = self._rows_of_forces(pool, values)
        fmax = largest(self._forces.norm(dim=1), self._owner(pool), len(pool))
        limit = self._options.fmax
        over = (fmax < limit) | (self._steps >= self._options.steps)
        out = over | torch.tensor([k in failed for k in range(len(pool))])
        splits = pool.split(values.forces), pool.split(pool.fields["pos"])
        for g in out.nonzero()[:, 0].tolist():
            place = int(pool.fields["place"][g])
            frame = self._frames.pop(place).copy()
            frame.positions = splits[1][g].numpy()
            frame.cell = pool.fields["cell"][g].numpy()
            status = "failed" if g in failed else "converged" if fmax[g] < limit else "steps"
            if status != "failed":
                label(frame, values, splits[0][g], g)
            reached = np.nan if status == "failed" else float(fmax[g])
            steps = int(self._steps[g])
            yield place, outcome(frame, status, steps, reached, failed.get(g, ""))
        if bool(out.any()):
            self._keep(~out)

    def _keep(self, graphs: Tensor) -> None:
        pool = self._pool
        assert pool is not None
        atoms = graphs[pool.owner]
        rows = torch.cat([atoms, graphs.repeat_interleave(3)]) if self._options.cell else atoms
        self._select(atoms.nonzero()[:, 0], graphs.nonzero()[:, 0], pool.size)
        self._forces = self._forces[rows]
        self._deform, self._cell = self._deform[graphs], self._cell[graphs]
        self._plain, self._steps = self._plain[atoms], self._steps[graphs]
        self._pool = pool.keep(graphs) if bool(graphs.any()) else None

    # --- values and moves --------------------------------------------------------------------

    def _values(self, pool: Pool) -> tuple[Values, dict[int, str]]:
        """What the model says, and which structures have failed, by their number in the pool."""
        failed: dict[int, str] = {}
        try:
            values = self._evaluate(pool)
        except UnsupportedInputError:
            values, failed = self._one_by_one(pool)
        finite = torch.isfinite(values.energy)
        rows = torch.isfinite(values.forces).all(dim=1).double()
        finite &= torch.ones(len(pool)).double().scatter_reduce_(0, pool.owner, rows, "amin") > 0
        for g in (~finite).nonzero()[:, 0].tolist():
            failed.setdefault(g, "energy or forces are not finite")
        values.forces.nan_to_num_(0.0, 0.0, 0.0)
        return values, failed

    def _one_by_one(self, pool: Pool) -> tuple[Values, dict[int, str]]:
        """The same, each structure by itself: one of them is nothing the model can take."""
        failed, found = {}, []
        for g in range(len(pool)):
            alone = pool.keep(torch.arange(len(pool)) == g)
            try:
                found.append(self._evaluate(alone))
            except UnsupportedInputError as problem:
                failed[g] = str(problem)
                zero = torch.zeros(1, dtype=torch.float64)
                nothing = zero.new_zeros(1, 3, 3) if self._options.cell else None
                found.append(Values(zero, zero.new_zeros(alone.size, 3), nothing))
        energy, forces = (torch.cat([getattr(v, n) for v in found]) for n in ("energy", "forces"))
        stress = [v.stress for v in found if v.stress is not None]
        return Values(energy, forces, torch.cat(stress) if stress else None), failed

    def _owner(self, pool: Pool) -> Tensor:
        """The structure of each row."""
        if not self._options.cell:
            return pool.owner
        return torch.cat([pool.owner, torch.arange(len(pool)).repeat_interleave(3)])

    def _rows_of_forces(self, pool: Pool, values: Values) -> Tensor:
        forces = torch.where(pool.fields["fixed"][:, None], 0.0, values.forces)
        if not self._options.cell:
            return forces
        assert values.stress is not None
        forces = torch.einsum("nx,nxy->ny", forces, self._deform[pool.owner])
        volume = torch.linalg.det(pool.fields["cell"]).abs() / pool.counts
        pull = -volume[:, None, None] * values.stress @ torch.linalg.inv(self._deform).mT
        return torch.cat([forces, pull.reshape(-1, 3).nan_to_num(0.0, 0.0, 0.0)])

    def _move(self) -> None:
        """One step of the optimiser for all that is left."""
        pool = self._pool
        if pool is None:
            return
        owner = self._owner(pool)
        if not self._options.cell:
            pool.fields["pos"] = pool.fields["pos"] + self._optimizer.step(
                pool.fields["pos"], self._forces, owner
            )
        else:
            weights = pool.counts[:, None, None]
            x = torch.cat([self._plain, (self._deform * weights).reshape(-1, 3)])
            x = x + self._optimizer.step(x, self._forces, owner)
            self._plain = x[: pool.size]
            self._deform = x[pool.size :].reshape(-1, 3, 3) / weights
            turned = self._deform.mT
            pool.fields["pos"] = torch.einsum("nx,nxy->ny", self._plain, turned[pool.owner])
            pool.fields["cell"] = self._cell @ turned
        self._steps += 1
