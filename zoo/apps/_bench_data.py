"""What data cost: frames a second from memory, extended XYZ and LMDB, memory, part of a step.

The frames are random molecules of 21 atoms with energies and forces, written to a temporary folder.
Frames a second count samples drawn in random order and collated in batches of 32 in this process;
`per_cpu_second` is the same on a machine that does nothing else.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from torch.utils.data import DataLoader

from zoo import datasets, registry
from zoo.apps._memory import peak_memory, reset_peak
from zoo.apps._timing import machine, median_ms
from zoo.datasets import AtomsDataset
from zoo.datasets._frames import Frames
from zoo.errors import ConfigError, ZooError

Row = dict[str, Any]
ATOMS = 21  # of each molecule
BATCH = 32
STEP_BATCH = 8  # molecules of a training step
CUTOFF_LABELS = ("energy", "forces")


def measure(
    *,
    frames: int = 100_000,
    megabytes: int = 1024,
    steps: int = 40,
    name: str = "tensornet",
    progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Speed and memory of reading data.

    Args:
        frames: of the LMDB; memory and extended XYZ give as many as take a similar time.
        megabytes: size of the extended XYZ file that is opened.
        steps: training steps.
        name: architecture or preset of the training step.
        progress: is told what is being measured.

    Returns:
        Rows with `what`, `ours`, `target`; the last one is the machine.

    Raises:
        ConfigError: for numbers below one.
    """
    for what, number in {"frames": frames, "megabytes": megabytes, "steps": steps}.items():
        if number < 1:
            raise ConfigError(f"{what} is a whole number from 1 on, not {number}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = AtomsDataset(_frames(2000))
        progress("memory")
        rows.append(_speed("frames in memory (1/s)", small, 2 * len(small)))
        progress("LMDB")
        many = small.take(np.arange(frames) % len(small))
        rows += _lmdb(datasets.save_lmdb(folder / "set", many, shard_frames=50_000))
        progress(f"extended XYZ of {megabytes} MB")
        rows += _extxyz(_write_extxyz(folder / "big.extxyz", small, megabytes))
        progress("training steps")
        rows += _share(name, datasets.open(folder / "set", domain="atoms"), steps)
    return [*rows, {"what": "machine", **machine()}]


def _frames(count: int) -> Frames:
    """Random molecules with labels."""
    from zoo.apps.bench import cluster

    rng = np.random.default_rng(0)
    shapes = [cluster(rng, ATOMS) for _ in range(20)]
    chosen = [shapes[k % len(shapes)] for k in range(count)]
    noise = rng.normal(scale=0.02, size=(count * ATOMS, 3))
    return Frames(
        counts=np.full(count, ATOMS),
        numbers=np.concatenate([m.numbers for m in chosen]).astype(np.int64),
        positions=np.concatenate([m.positions for m in chosen]) + noise,
        cell=np.zeros((count, 3, 3)),
        pbc=np.zeros((count, 3), dtype=bool),
        charge=np.zeros(count),
        spin=np.zeros(count),
        labels={"energy": rng.normal(size=count), "forces": rng.normal(size=(count * ATOMS, 3))},
    )


def _batches(dataset: AtomsDataset, count: int) -> Iterator[list[int]]:
    order = np.random.default_rng(0).permutation(len(dataset))
    for first in range(0, count, BATCH):
        yield [int(order[k % len(order)]) for k in range(first, min(first + BATCH, count))]


def _speed(what: str, dataset: AtomsDataset, count: int, target: str | None = None) -> Row:
    start, busy = time.perf_counter(), time.process_time()
    for batch in _batches(dataset, count):
        datasets.collate([dataset[k] for k in batch], torch.float32)
    busy, spent = time.process_time() - busy, time.perf_counter() - start
    row: Row = {"what": what, "ours": count / spent, "per_cpu_second": count / busy}
    return row | ({"target": target} if target else {})


def _lmdb(folder: Path) -> list[Row]:
    dataset = datasets.open(folder, domain="atoms")
    _speed("", dataset, min(1000, len(dataset)))
    before = reset_peak()
    row = _speed(f"LMDB: {len(dataset)} frames (1/s)", dataset, len(dataset), "> 5000")
    grown = max(peak_memory() - before, 0.0)
    return [row, {"what": "LMDB: memory that this took (MB)", "ours": grown, "target": "flat"}]


def _write_extxyz(path: Path, dataset: AtomsDataset, megabytes: int) -> Path:
    """Some frames, written again and again."""
    part = path.with_suffix(".part.xyz")
    ase.io.write(part, [dataset.atoms(k) for k in range(200)], format="extxyz")
    text = part.read_bytes()
    with path.open("wb") as stream:
        while stream.tell() < megabytes << 20:
            stream.write(text)
    return path


def _extxyz(path: Path) -> list[Row]:
    """Opens the file in a process of its own, whose imports don't count."""
    code = (
        "import json, sys; from zoo.apps._bench_data import opening; "
        f"sys.stdout.write(json.dumps(opening({str(path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ZooError(f"a benchmark process failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout)
    size = f"{path.stat().st_size / 1e9:.2f} GB"
    return [
        {
            "what": f"extxyz of {size}: memory to open it (MB)",
            "ours": found["mb"],
            "target": "<200",
        },
        {"what": f"extxyz of {size}: opening it (s)", "ours": found["seconds"]},
        {"what": "extxyz: frames from the file (1/s)"} | found["speed"],
    ]


def opening(path: str) -> dict[str, Any]:
    """Memory and time of opening an extended XYZ file, and frames a second from it."""
    before, start = reset_peak(), time.perf_counter()
    dataset = datasets.open(path, domain="atoms")
    seconds, grown = time.perf_counter() - start, peak_memory() - before
    speed = _speed("", dataset, min(2000, len(dataset)))
    del speed["what"]
    return {"mb": max(grown, 0.0), "seconds": seconds, "speed": speed}


# --- part of a training step ------------------------------------------------------------------


def _share(name: str, dataset: AtomsDataset, steps: int) -> list[Row]:
    """Loading against training: in this process, and waiting for two workers."""
    from zoo.apps._bench_models import training_step
    from zoo.training.data import Samples

    model: Any = registry.create(name).train()
    # nothing is kept, as in a first pass or a set beyond memory
    samples = Samples(
        dataset, torch.float32, labels=CUTOFF_LABELS, cutoff=float(model.cutoff), keep=0
    )
    order = np.random.default_rng(1).integers(len(dataset), size=(steps + 2, STEP_BATCH))
    preparing: list[float] = []
    training: list[float] = []
    for indices in order:
        start = time.perf_counter()
        batch = samples[indices.tolist()]
        middle = time.perf_counter()
        training_step(model, batch)()
        preparing.append(middle - start)
        training.append(time.perf_counter() - middle)
    step = median_ms(training[2:])
    waiting = _waiting(model, samples, order)
    return [
        {"what": f"{name}: training step, {STEP_BATCH} x {ATOMS} atoms (ms)", "ours": step},
        {"what": "preparing its batch here (ms)", "ours": median_ms(preparing[2:])},
        {
            "what": "waiting for its batch, two workers (part of a step)",
            "ours": waiting / step,
            "target": "< 0.1",
        },
    ]


def _waiting(model: torch.nn.Module, samples: Any, order: np.ndarray) -> float:
    """Median milliseconds that a training loop waits for its next batch from two workers."""
    from zoo.apps._bench_models import training_step

    loader: DataLoader[Any] = DataLoader(
        samples, batch_size=None, sampler=order.tolist(), num_workers=2, prefetch_factor=4
    )
    waited: list[float] = []
    start = time.perf_counter()
    for batch in loader:
        waited.append(time.perf_counter() - start)
        training_step(model, batch)()
        start = time.perf_counter()
    return median_ms(waited[2:])
