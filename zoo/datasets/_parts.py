"""Trajectories in parallel processes, saved in parts, so that a killed run can go on.

Beside the output lies a folder `<stem>.parts` with the plan (`plan.json`: method, settings,
starting structures, versions), one file per finished chunk, and nothing else. The same call finds
the parts that are there and computes the rest; another call, with other settings, is refused.
"""

import hashlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import environ
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any
from urllib.parse import quote

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator

from zoo._files import write_atomic
from zoo.datasets import _dynamics
from zoo.datasets._dynamics import Progress, State, Trajectory
from zoo.errors import ConfigError, DataError

PLAN = "plan.json"
LONGEST = 100  # characters of a structure's name that a file's name takes
# one thread each: the processes share the cores
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trajectory: its start and its settings."""

    start: Atoms
    settings: Trajectory


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All trajectories of a set, by "structure/trajectory", and the method that labels them."""

    engine: str  # a module of zoo.datasets: "gfn2", "emt"
    jobs: Mapping[str, Job]
    chunk: int = _dynamics.CHUNK

    @property
    def frames(self) -> int:
        """In all."""
        return sum(job.settings.frames for job in self.jobs.values())

    def encoded(self) -> str:
        """The plan as JSON."""
        jobs = {
            key: {"start": _encode_start(job.start), "settings": asdict(job.settings)}
            for key, job in self.jobs.items()
        }
        versions = _engine(self.engine).versions()
        described = {"engine": self.engine, "chunk": self.chunk, "versions": versions, "jobs": jobs}
        return json.dumps(described, indent=1)


def run(
    plan: Plan, folder: Path, *, processes: int = 1, progress: Progress | None = None
) -> dict[str, list[Atoms]]:
    """Computes what is missing and returns everything.

    Args:
        plan: what to compute.
        folder: of the parts; made if it is missing.
        processes: how many at once; 1 computes in this process.
        progress: called with (frames done, frames in all).

    Returns:
        The frames of each job.

    Raises:
        ConfigError: if the folder holds parts of another plan.
        DataError: if a calculation failed.
    """
    _claim(plan, folder)
    done = {key: _finished(folder, key) for key in plan.jobs}
    count = Counter(sum(done.values()), plan.frames, progress)
    todo = [key for key, job in plan.jobs.items() if done[key] < job.settings.frames]
    # the longest first, so that no process is left alone with one in the end
    todo.sort(key=lambda key: -_cost(plan.jobs[key], done[key]))
    if processes == 1 or not todo:
        for key in todo:
            for frames in compute(plan, folder, key):
                count.add(frames)
    else:
        parallel(folder, todo, min(processes, len(todo)), count)
    return {key: _collect(folder, key) for key in plan.jobs}


def compute(plan: Plan, folder: Path, key: str) -> Iterator[int]:
    """Computes what is missing of one job, yielding the number of frames of each new part."""
    job = plan.jobs[key]
    parts = _parts(folder, key)
    state = _load_state(parts[-1]) if parts else None
    engine = _engine(plan.engine)
    steps = _dynamics.chunks(engine, job.start, job.settings, state=state, size=plan.chunk)
    try:
        for number, (frames, after) in enumerate(steps, start=len(parts)):
            _save(_part(folder, key, number), frames, after)
            yield len(frames)
    except CalculatorError as error:
        raise DataError(
            f"{key}: the calculation failed, perhaps on a broken structure: {error}"
        ) from error


def load_plan(folder: Path) -> Plan:
    """Reads the plan of a folder of parts."""
    told = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    jobs = {
        key: Job(start=_decode_start(job["start"]), settings=Trajectory(**job["settings"]))
        for key, job in told["jobs"].items()
    }
    return Plan(engine=told["engine"], jobs=jobs, chunk=told["chunk"])


def _claim(plan: Plan, folder: Path) -> None:
    """Writes the plan, or makes sure that the parts there are of the same one."""
    text, file = plan.encoded(), folder / PLAN
    if not file.exists():
        write_atomic(file, text)
    elif json.loads(file.read_text(encoding="utf-8")) != json.loads(text):
        raise ConfigError(
            f"{folder} holds parts of a run with other settings, starting structures or versions; "
            "repeat those settings to go on with it, or remove the folder to begin again"
        )


class Counter:
    """What is done, counted from several threads."""

    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = done, total, progress
        self.lock = Lock()

    def add(self, frames: int) -> None:
        with self.lock:
            self.done += frames
            if self.progress is not None:
                self.progress(self.done, self.total)


def parallel(folder: Path, todo: Sequence[str], processes: int, count: Counter) -> None:
    """Has worker processes compute the jobs `todo` of the plan in a folder."""
    queue: SimpleQueue[str | None] = SimpleQueue()
    for key in todo:
        queue.put(key)
    for _ in range(processes):
        queue.put(None)
    with ThreadPoolExecutor(processes) as pool:
        for finished in [pool.submit(_serve, folder, queue, count) for _ in range(processes)]:
            finished.result()


def _serve(folder: Path, queue: "SimpleQueue[str | None]", count: Counter) -> None:
    """Feeds one worker process, which has a thread count of its own, with jobs."""
    command = [sys.executable, "-m", "zoo.datasets._worker", str(folder)]
    worker = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environ, **ONE_THREAD},
    )
    assert worker.stdin and worker.stdout and worker.stderr
    try:
        while (key := queue.get()) is not None:
            worker.stdin.write(key + "\n")
            worker.stdin.flush()
            while (answer := worker.stdout.readline().strip()).isdigit():
                count.add(int(answer))
            if answer != "done":
                words = (worker.stderr.read().strip().splitlines() or ["it was killed"])[-1]
                raise DataError(f"{key} failed: {words}; what is finished is kept in {folder}")
    finally:
        worker.stdin.close()
        worker.terminate()
        worker.wait()
        worker.stdout.close()
        worker.stderr.close()


def _engine(name: str) -> Any:
    return importlib.import_module(f"zoo.datasets.{name}")


def _cost(job: Job, done: int) -> float:
    return (job.settings.frames - done) * job.settings.stride * float(len(job.start)) ** 2


def _part(folder: Path, key: str, number: int) -> Path:
    structure, _, trajectory = key.rpartition("/")
    word = quote(structure, safe="")
    if len(word) > LONGEST:
        word = hashlib.sha256(word.encode()).hexdigest()
    return folder / f"{word}~{trajectory}.{number:04d}.npz"


def _parts(folder: Path, key: str) -> list[Path]:
    """The parts of a job in order, up to the first that is missing."""
    found: list[Path] = []
    while (file := _part(folder, key, len(found))).exists():
        found.append(file)
    return found


def _finished(folder: Path, key: str) -> int:
    parts = _parts(folder, key)
    return _load_state(parts[-1]).frames if parts else 0


def _save(path: Path, frames: Sequence[Atoms], state: State) -> None:
    first = frames[0]
    arrays: dict[str, Any] = {
        "numbers": first.numbers,
        "pbc": first.pbc,
        "cell": np.stack([f.cell.array for f in frames]),
        "positions": np.stack([f.positions for f in frames]),
        "info": json.dumps([f.info for f in frames]),
        "state": json.dumps({"frames": state.frames, "random": state.random}),
        "state.positions": state.positions,
        "state.momenta": state.momenta,
    }
    for name in first.calc.results:
        arrays[f"results.{name}"] = np.stack([np.asarray(f.calc.results[name]) for f in frames])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def _load_state(path: Path) -> State:
    with np.load(path) as archive:
        told = json.loads(str(archive["state"]))
        return State(
            frames=told["frames"],
            random=told["random"],
            positions=archive["state.positions"],
            momenta=archive["state.momenta"],
        )


def _collect(folder: Path, key: str) -> list[Atoms]:
    frames = []
    for part in _parts(folder, key):
        with np.load(part) as archive:
            arrays = {name: archive[name] for name in archive.files}
        results = {n[8:]: a for n, a in arrays.items() if n.startswith("results.")}
        for index, info in enumerate(json.loads(str(arrays["info"]))):
            atoms = Atoms(
                numbers=arrays["numbers"],
                positions=arrays["positions"][index],
                cell=arrays["cell"][index],
                pbc=arrays["pbc"],
            )
            atoms.info = info
            values = {name: array[index] for name, array in results.items()}
            atoms.calc = SinglePointCalculator(atoms, **values)
            frames.append(atoms)
    return frames


def _encode_start(atoms: Atoms) -> dict[str, Any]:
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "info": atoms.info,
    }


def _decode_start(told: Mapping[str, Any]) -> Atoms:
    arrays = {name: told[name] for name in ("numbers", "positions", "cell", "pbc")}
    return Atoms(**arrays, info=told["info"])
