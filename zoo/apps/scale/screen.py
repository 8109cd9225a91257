"""Screening: what a model says of very many structures, and which of them to keep.

The structures are divided into shards once and for all. A shard is worked through in one process
and its results appear as one file, complete or not at all; whichever processes take whichever
shards, and however often they are killed, each shard is counted once and holds the same bits.
Structures are read where they lie, by number, and never held in memory together.
"""

import functools
import hashlib
import json
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from zoo._extras import require
from zoo._files import write_atomic
from zoo.apps.scale._parts import claim, extxyz, load, model_digest, npz
from zoo.apps.scale._shards import QUANTITIES, Job, Worker, open_structures
from zoo.errors import ConfigError, DataError, nearest

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*")
_TESTS: dict[str, Callable[[Any, float], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
Progress = Callable[[int, int], None]


def screen(
    model: str,
    source: str | Path,
    output: str | Path,
    *,
    shards: int = 16,
    workers: int = 1,
    keep: str | None = None,
    top: int | None = None,
    by: str = "energy_per_atom",
    forces: bool = False,
    ray: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Evaluates all structures of a file or set and keeps some of them.

    Args:
        model: a checkpoint or a saved folder.
        source: what `zoo.datasets.open` takes: a file, a folder, the name of a set. Labels in it
            are not looked at.
        output: a folder for `results.npz` (`index`, `energy` eV, `energy_per_atom`, `atoms` and,
            with forces, `fmax` eV/Å, all (structures,); energies of refused ones are NaN),
            `kept.extxyz`, `refused.json` and `summary.json`. The same call goes on after a kill.
        shards: parts of equal size, as many as fit; what can be lost by a kill is one of them for
            each process.
        workers: processes.
        keep: conditions that hold for what is kept, such as "energy_per_atom<-4 and fmax<1".
        top: keep at most so many, those lowest in `by`.
        by: a quantity.
        forces: whether forces are computed, for `fmax`; it costs about twice as much again.
        ray: whether Ray Data runs the processes, on a cluster if there is one that shares the
            folder; needs the extra `ray`.
        progress: called with (shards done, shards in all).
        **options: `batch_atoms` (2048), atoms per model call at most, unless one structure has
            more; `device` ("cpu"); `head`, the energy head (the first); and
            `allow_untrained_elements` (no), see `zoo.load`.

    Returns:
        The summary: `structures`, `kept`, `refused`, `shards`.

    Raises:
        ConfigError: for options that can't be, or a folder that holds another run.
        MissingExtraError: with `ray`, if it is not installed.
    """
    rules = conditions(keep or "")
    _check(rules, shards=shards, workers=workers, top=top, by=by, forces=forces)
    if ray:
        require("ray.data", extra="ray", package="ray")  # before anything is written
    dataset = open_structures(str(source))
    shards = min(shards, len(dataset))
    job = Job(
        model,
        str(source),
        str(output),
        shards,
        forces=forces,
        **options,
    )
    worker = Worker(job)
    _mark(job, worker, dataset)
    done = _by_ray if ray else _by_processes
    finished = shards - len(job.open_shards())
    for _ in done(job, worker, workers):
        finished += 1
        if progress is not None:
            progress(finished, shards)
    return _merge(job, dataset, rules, top=top, by=by)


def conditions(text: str) -> list[tuple[str, str, float]]:
    """Quantity, sign and limit of each part of a text such as "energy<-4 and fmax<1".

    Raises:
        ConfigError: for anything else.
    """
    rules = []
    for part in filter(None, (word.strip() for word in re.split(r"\band\b", text))):
        match = _CONDITION.fullmatch(part)
        try:
            limit = float(match[3]) if match else np.nan
        except ValueError:
            limit = np.nan
        if match is None or np.isnan(limit):
            raise ConfigError(
                f"{part!r} is no condition; write one such as energy_per_atom<-4.2, several with "
                "'and'"
            )
        rules.append((match[1], match[2], limit))
    return rules


def _check(
    rules: Sequence[tuple[str, str, float]],
    *,
    shards: int,
    workers: int,
    top: int | None,
    by: str,
    forces: bool,
) -> None:
    for name, value in (("shards", shards), ("workers", workers), ("top", top)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; expected 1 or more")
    known = [name for name in QUANTITIES if forces or name != "fmax"]
    for name in (by, *(rule[0] for rule in rules)):
        if name not in known:
            hint = "ask for forces too" if name == "fmax" else nearest(name, known)
            raise ConfigError(f"no quantity {name!r} is computed: {hint}")


def _mark(job: Job, worker: Worker, dataset: Any) -> None:
    """Claims the folder for this run, or refuses it.

    Raises:
        ConfigError: if it holds another run.
    """
    digest = hashlib.sha256(model_digest(worker.model).encode())
    told = {k: v for k, v in asdict(job).items() if k not in ("model", "folder", "device")}
    digest.update(json.dumps(told, sort_keys=True).encode())
    path = Path(job.source)
    if path.is_file():
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    else:
        digest.update(dataset.hash.encode())
    mark = Path(job.folder) / "run.json"
    if mark.is_file():
        claim(mark, digest.hexdigest())
    else:
        write_atomic(mark, json.dumps({"run": digest.hexdigest()}))


# --- who works ----------------------------------------------------------------------------------


def _by_processes(job: Job, worker: Worker, workers: int) -> Iterator[int]:
    """Shards as they are finished, by this process or by several."""
    todo = job.open_shards()
    if workers == 1 or len(todo) < 2:
        yield from map(worker, todo)
        return
    # fresh interpreters: a forked one would inherit the threads' locks of torch
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        tasks = [pool.submit(_work, job, shard) for shard in todo]
        try:
            for task in as_completed(tasks):
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()


@functools.lru_cache(maxsize=1)
def _worker(job: Job) -> Worker:
    """Of a process that does nothing else."""
    return Worker(job)


def _work(job: Job, shard: int) -> int:
    return _worker(job)(shard)


class _RayWorker:
    """`Worker` as Ray Data calls it, on batches of one row."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"shard": np.array([self._worker(int(shard)) for shard in batch["shard"]])}


def _by_ray(job: Job, worker: Worker, workers: int) -> Iterator[int]:
    """Shards as Ray Data finishes them."""
    data = require("ray.data", extra="ray", package="ray")
    todo = job.open_shards()
    if not todo:
        return
    shards = data.from_items([{"shard": shard} for shard in todo])
    finished = shards.repartition(len(todo)).map_batches(
        _RayWorker,
        fn_constructor_args=(_anywhere(job),),
        batch_size=1,
        # as many as there is room for: a fixed number waits for what the machine does not have
        compute=data.ActorPoolStrategy(min_size=1, max_size=min(workers, len(todo))),
        num_gpus=1 if job.device.startswith("cuda") else 0,
    )
    for row in finished.iter_rows():
        yield int(row["shard"])


def _anywhere(job: Job) -> Job:
    """The same job for processes whose working directory is another."""
    model, source, folder = (
        str(Path(path).resolve()) if Path(path).exists() else path
        for path in (job.model, job.source, job.folder)
    )
    return replace(job, model=model, source=source, folder=folder)


# --- the end ------------------------------------------------------------------------------------


def _merge(
    job: Job, dataset: Any, rules: Sequence[tuple[str, str, float]], *, top: int | None, by: str
) -> dict[str, Any]:
    """Writes the results of all shards together, and what is kept."""
    rows, refused = _gather(job)
    if not np.array_equal(rows["index"], np.arange(len(dataset))):
        raise DataError(f"shards in {job.folder} don't hold every structure once; start anew")
    kept = np.isfinite(rows["energy"])
    for name, sign, limit in rules:
        kept &= _TESTS[sign](rows[name], limit)
    chosen = np.flatnonzero(kept)
    if top is not None:
        chosen = chosen[np.argsort(rows[by][chosen], kind="stable")[:top]]
    folder = Path(job.folder)
    write_atomic(folder / "results.npz", npz(rows))
    write_atomic(
        folder / "kept.extxyz", extxyz([_frame(dataset, rows, k) for k in chosen.tolist()])
    )
    write_atomic(folder / "refused.json", json.dumps(refused, indent=2))
    summary = {
        "model": job.model,
        "source": job.source,
        "structures": len(dataset),
        "kept": len(chosen),
        "refused": len(refused),
        "shards": job.shards,
    }
    write_atomic(folder / "summary.json", json.dumps(summary, indent=2))
    return summary


def _gather(job: Job) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    parts: list[dict[str, np.ndarray]] = []
    refused: dict[str, str] = {}
    for shard in range(job.shards):
        path = job.path(shard)
        part = load(path, "delete it and repeat")
        try:
            refused |= json.loads(str(part.pop("refused")))
        except (ValueError, KeyError) as problem:
            raise DataError(f"{path} is damaged ({problem}); delete it and repeat") from problem
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, refused


def _frame(dataset: Any, rows: Mapping[str, np.ndarray], place: int) -> Any:
    """A structure without its old labels, with the model's energy."""
    frame = dataset.atoms(place).copy()
    frame.info["index"] = int(place)
    if "fmax" in rows:
        frame.info["fmax"] = float(rows["fmax"][place])
    frame.calc = SinglePointCalculator(frame, energy=float(rows["energy"][place]))
    return frame
