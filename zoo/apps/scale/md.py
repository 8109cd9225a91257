"""Dynamics of many structures at once, which survive a kill.

Structures that fit in a batch run together to their end, one group after another; the groups, and
what is random in a structure, follow from the arguments alone. Every so many steps the frames since
are written, and then where the group stands; a run that was killed goes on from there and takes the
same path. Structures that explode are stopped, and the others go on.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.io import write as ase_write
from torch import Tensor

from zoo._files import write_atomic
from zoo.apps.scale._frames import FRAME, Store
from zoo.apps.scale._parts import claim, extxyz, fingerprint
from zoo.apps.scale._pool import Evaluator, Pool, Values, largest, per_graph
from zoo.apps.scale._thermostats import ENSEMBLES, Noise, scaling, thermal, without_drift
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models._atomistic import AtomisticModel

#: an atom that moves farther than this in one step has been thrown out (Å)
FARTHEST = 0.5
FORMATS = ("extxyz", "traj")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """Of a run; see `md`."""

    steps: int
    timestep: float = 0.5
    ensemble: str = "nve"
    temperature: float = 300.0
    friction: float = 0.01
    tau: float = 100.0
    seed: int = 0
    every: int = 10
    save: int = 500
    skin: float = 1.0
    batch_atoms: int = 1024
    head: str | None = None

    def check(self) -> None:
        """Refuses what can't be.

        Raises:
            ConfigError: names the argument.
        """
        if self.ensemble not in ENSEMBLES:
            raise ConfigError(f"ensemble is {self.ensemble!r}; expected {', '.join(ENSEMBLES)}")
        for name in ("steps", "every", "save", "batch_atoms", "timestep", "friction", "tau"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than zero")
        if not self.temperature >= 0:
            raise ConfigError(f"temperature is {self.temperature} K; expected zero or more")
        if self.save % self.every:
            raise ConfigError(f"save is {self.save}; expected a multiple of every, {self.every}")


def md(
    model: AtomisticModel,
    structures: Sequence[Atoms],
    output: str | Path,
    *,
    form: str = "extxyz",
    progress: Progress | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Runs dynamics and writes a trajectory of each structure.

    Args:
        model: any model with energies.
        structures: molecules and crystals may be mixed; without constraints. Momenta they carry are
            where they start; others are drawn at the temperature, without motion of the centre.
        output: a folder, for `structure-000000.extxyz` and so on, `report.json`, and what a run
            that was killed needs to go on. Frames hold momenta, energy, forces and the time (fs).
        form: "extxyz", or "traj" for ASE's own.
        progress: called with (steps done, steps in all), over all groups.
        **options: `steps`; `timestep` (0.5 fs); `ensemble` ("nve", "langevin" or "bussi");
            `temperature` (300 K); `friction` (0.01/fs) of langevin; `tau` (100 fs) of bussi;
            `seed` (0), with a structure's number the seed of all that is random in it; `every`
            (10), steps between frames; `save` (500), steps between saves; `skin` (1 Å) and
            `batch_atoms` (1024), see `relax`; `head`.

    Returns:
        Of each structure: `status` ("done", "exploded", "refused"), `steps`, `temperature` (K, the
        mean over the frames after the first half), `drift` (eV an atom: the total energy of the
        last frame less the first) and `reason`.

    Raises:
        ConfigError: for options that can't be, or a folder of another run.
    """
    try:
        settings = Settings(**options)
    except TypeError as problem:
        raise ConfigError(f"{problem}; known: {', '.join(Settings.__annotations__)}") from problem
    settings.check()
    if form not in FORMATS:
        raise ConfigError(f"form is {form!r}; expected {' or '.join(FORMATS)}")
    folder = Path(output)
    _mark(folder, fingerprint(model, structures, asdict(settings)))
    evaluate = Evaluator(model, head=settings.head, skin=settings.skin)
    reports: list[dict[str, Any]] = [{} for _ in structures]
    groups = list(_groups(evaluate, structures, settings.batch_atoms, reports))
    for number, places in enumerate(groups):
        store = Store(folder / "state", number)
        run = Group(evaluate, {k: structures[k] for k in places}, settings)
        for step in run.run(store):
            if progress is not None:
                progress(number * settings.steps + step, len(groups) * settings.steps)
        frames = store.frames(structures, settings.save)
        for place in places:
            reports[place] = _report(frames[place], run, place)
            _write(folder / f"structure-{place:06d}.{form}", frames[place])
    write_atomic(folder / "report.json", json.dumps(reports, indent=2))
    return reports


class Group:
    """Structures that run together.

    Args:
        evaluate: of the model.
        frames: the structures, by number.
        settings: of the run.

    Attributes:
        stopped: of those that exploded, step and reason by number.
    """

    def __init__(self, evaluate: Evaluator, frames: dict[int, Atoms], settings: Settings) -> None:
        self._evaluate, self._settings = evaluate, settings
        self.pool = Pool.of(list(frames.values()), list(frames))
        self.noise = Noise([_seed(settings.seed, place) for place in frames])
        self.stopped: dict[int, tuple[int, str]] = {}
        self.step = 0
        self.velocities = self._start(list(frames.values()))
        self._samples: dict[str, list[np.ndarray]] = {}
        self._values: Values

    def run(self, store: Store) -> Iterator[int]:
        """Goes to the end, from where the store says; yields the steps done."""
        state = store.state()
        if state is not None:
            self._restore(state)
        if len(self.pool):
            self._values = self._evaluate(self.pool)
        if state is None:
            self._sample()
            store.save(self._taken(), 0, self._state())
        settings = self._settings
        while self.step < settings.steps and len(self.pool):
            self._advance()
            if len(self.pool) and self.step % settings.every == 0:
                self._sample()
            last = self.step == settings.steps or not len(self.pool)
            if last or self.step % settings.save == 0:
                # the first chunk holds the start
                chunk = -(-self.step // settings.save)
                store.save(self._taken(), chunk, self._state())
            yield self.step

    def _start(self, frames: Sequence[Atoms]) -> Tensor:
        """Velocities that the structures carry, or thermal ones."""
        masses, owner = self.pool.fields["masses"][:, None], self.pool.owner
        counts = self.pool.counts.tolist()
        drawn = thermal(self.noise, counts, masses, self._settings.temperature)
        still = without_drift(masses * drawn, masses, owner, len(self.pool)) / masses
        drawn = torch.where(self.pool.counts[owner, None] > 1, still, drawn)
        own = [frame.has("momenta") and bool(frame.get_momenta().any()) for frame in frames]
        given = torch.from_numpy(np.concatenate([frame.get_velocities() for frame in frames]))
        return torch.where(torch.tensor(own)[owner, None], given, drawn)

    def _advance(self) -> None:
        """One step of all structures."""
        settings, pool, fields = self._settings, self.pool, self.pool.fields
        masses, half = fields["masses"][:, None], 0.5 * settings.timestep * units.fs
        before = fields["pos"]
        v = self.velocities + half * self._values.forces / masses
        middle = self._langevin(v) if settings.ensemble == "langevin" else v
        fields["pos"] = before + half * (v + middle)
        self.velocities = middle
        self.step += 1
        moved = largest((fields["pos"] - before).norm(dim=1), pool.owner, len(pool))
        self._stop(~(moved <= FARTHEST), f"an atom moved farther than {FARTHEST} Å in one step")
        if len(self.pool):
            self._evaluate_all()
        if len(self.pool):
            masses = self.pool.fields["masses"][:, None]
            self.velocities = self.velocities + half * self._values.forces / masses
            if settings.ensemble == "bussi":
                self._bussi()

    def _evaluate_all(self) -> None:
        try:
            values = self._evaluate(self.pool)
        except UnsupportedInputError:  # find out which
            for g in reversed(range(len(self.pool))):
                only = torch.arange(len(self.pool)) == g
                try:
                    self._evaluate(self.pool.keep(only))
                except UnsupportedInputError as problem:
                    self._stop(only, str(problem))
            if not len(self.pool):
                return
            values = self._evaluate(self.pool)
        rows = torch.isfinite(values.forces).all(dim=1)
        bad = per_graph((~rows).double(), self.pool.owner, len(self.pool)) > 0
        bad |= ~torch.isfinite(values.energy)
        atoms = ~bad[self.pool.owner]
        self._stop(bad, "energy or forces are not finite")
        self._values = Values(values.energy[~bad], values.forces[atoms], None)

    def _stop(self, graphs: Tensor, reason: str) -> None:
        """Takes structures out."""
        if not bool(graphs.any()):
            return
        for place in self.pool.fields["place"][graphs].tolist():
            self.stopped[place] = (self.step, reason)
        self.velocities = self.velocities[~graphs[self.pool.owner]]
        self.noise.keep((~graphs).nonzero()[:, 0].tolist())
        self.pool = self.pool.keep(~graphs)

    def _langevin(self, v: Tensor) -> Tensor:
        settings, owner = self._settings, self.pool.owner
        masses = self.pool.fields["masses"][:, None]
        keep = float(np.exp(-settings.friction * settings.timestep))
        width = torch.sqrt(units.kB * settings.temperature * (1 - keep**2) / masses)
        kick = width * self.noise.rows(self.pool.counts.tolist())
        still = without_drift(masses * kick, masses, owner, len(self.pool)) / masses
        return keep * v + torch.where(self.pool.counts[owner, None] > 1, still, kick)

    def _bussi(self) -> None:
        freedom = self._freedom()
        alpha = scaling(
            self.noise.bussi(freedom.long().tolist()),
            self._kinetic(),
            freedom,
            temperature=self._settings.temperature,
            keep=float(np.exp(-self._settings.timestep / self._settings.tau)),
        )
        self.velocities = alpha[self.pool.owner, None] * self.velocities

    def _freedom(self) -> Tensor:
        """Degrees of freedom (g,): without those of the centre of mass, but for single atoms."""
        counts = self.pool.counts.double()
        return torch.where(counts > 1, 3 * counts - 3, 3 * counts)

    def _kinetic(self) -> Tensor:
        each = 0.5 * self.pool.fields["masses"] * self.velocities.square().sum(1)
        return per_graph(each, self.pool.owner, len(self.pool))

    # --- what is kept ------------------------------------------------------------------------

    def _sample(self) -> None:
        time = self.step * self._settings.timestep
        for name, value in {
            "place": self.pool.fields["place"],
            "time": torch.full((len(self.pool),), time, dtype=torch.float64),
            "energy": self._values.energy,
            "pos": self.pool.fields["pos"],
            "velocities": self.velocities,
            "forces": self._values.forces,
        }.items():
            self._samples.setdefault(name, []).append(value.numpy())

    def _taken(self) -> dict[str, np.ndarray]:
        frames = {name: np.concatenate(parts) for name, parts in self._samples.items()}
        self._samples = {}
        empty = {name: np.zeros(0, dtype=np.int64 if name == "place" else float) for name in FRAME}
        return frames or empty

    def _state(self) -> dict[str, np.ndarray]:
        text = {"random": self.noise.state, "stopped": self.stopped}
        return {
            "step": np.array(self.step),
            "place": self.pool.fields["place"].numpy(),
            "pos": self.pool.fields["pos"].numpy(),
            "velocities": self.velocities.numpy(),
            "text": np.array(json.dumps(text)),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        text = json.loads(str(state["text"]))
        there = torch.isin(self.pool.fields["place"], torch.from_numpy(state["place"]))
        self.noise.keep(there.nonzero()[:, 0].tolist())
        self.noise.state = text["random"]
        self.stopped = {int(k): (v[0], v[1]) for k, v in text["stopped"].items()}
        self.pool = self.pool.keep(there)
        self.pool.fields["pos"] = torch.from_numpy(state["pos"])
        self.velocities = torch.from_numpy(state["velocities"])
        self.step = int(state["step"])


def _seed(seed: int, place: int) -> int:
    """Independent of how many structures there are."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1, np.uint64)[0])


def _groups(
    evaluate: Evaluator,
    structures: Sequence[Atoms],
    batch_atoms: int,
    reports: list[dict[str, Any]],
) -> Iterator[list[int]]:
    """Numbers of the structures that run together; what is refused is reported."""
    group: list[int] = []
    size = 0
    for place, frame in enumerate(structures):
        try:
            if frame.constraints:
                raise UnsupportedInputError(
                    f"structure {place} has constraints, which these dynamics don't know; remove "
                    "them with atoms.set_constraint(), or use ASE with model.calculator()"
                )
            evaluate(evaluate.check([frame], [place]))
        except UnsupportedInputError as problem:
            reports[place] = {"status": "refused", "steps": 0, "reason": str(problem)}
            continue
        if group and size + len(frame) > batch_atoms:
            yield group
            group, size = [], 0
        group.append(place)
        size += len(frame)
    if group:
        yield group


def _report(frames: Sequence[Atoms], run: Group, place: int) -> dict[str, Any]:
    atoms = len(frames[0])
    freedom = 3 * atoms - 3 if atoms > 1 else 3
    late = frames[len(frames) // 2 :]
    kinetic = float(np.mean([frame.get_kinetic_energy() for frame in late]))
    total = [frame.get_potential_energy() + frame.get_kinetic_energy() for frame in frames]
    steps, reason = run.stopped.get(place, (run.step, ""))
    return {
        "status": "exploded" if place in run.stopped else "done",
        "steps": steps,
        "temperature": 2 * kinetic / (freedom * units.kB),
        "drift": float(total[-1] - total[0]) / atoms,
        "reason": reason,
    }


def _write(path: Path, frames: Sequence[Atoms]) -> None:
    if path.suffix == ".traj":
        stream = io.BytesIO()
        ase_write(stream, list(frames), format="traj")
        write_atomic(path, stream.getvalue())
    else:
        write_atomic(path, extxyz(frames))


def _mark(folder: Path, run: str) -> None:
    mark = folder / "run.json"
    if mark.is_file():
        claim(mark, run)
    else:
        write_atomic(mark, json.dumps({"run": run}))
