"""One shard of a screening: structures in, quantities of each out, in one file."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo import datasets, hub
from zoo._files import write_atomic
from zoo.datasets.atoms import assemble
from zoo.errors import CapabilityError, DataError, UnsupportedInputError

_INPUTS = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")
#: of each structure; `fmax` only where forces are asked for
QUANTITIES = ("energy", "energy_per_atom", "fmax", "atoms")


@dataclass(frozen=True)
class Job:
    """What every process of a run has to know; arguments of `screen`."""

    model: str
    source: str
    folder: str
    shards: int
    forces: bool = False
    batch_atoms: int = 2048
    device: str = "cpu"
    head: str | None = None
    allow_untrained_elements: bool = False

    def path(self, shard: int) -> Path:
        """Where a shard's results stand."""
        return Path(self.folder) / "shards" / f"shard-{shard:06d}.npz"

    def open_shards(self) -> list[int]:
        """Shards without results."""
        return [k for k in range(self.shards) if not self.path(k).is_file()]


class Worker:
    """One process: works through shards.

    Args:
        job: what to do.

    Raises:
        CapabilityError: for a model that is not of the domain atoms.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = hub.load(
            job.model,
            device=job.device,
            allow_untrained_elements=job.allow_untrained_elements,
        ).eval()
        if not hasattr(self.model, "find_head"):
            raise CapabilityError(
                f"{job.model} does not work on atoms; zoo predict takes files of every domain"
            )
        self._head = self.model.find_head(job.head)
        self._dataset = open_structures(job.source)

    def __call__(self, shard: int) -> int:
        """Writes the results of a shard, unless they are there; returns its number."""
        path = self.job.path(shard)
        if not path.is_file():
            rows, refused = self.results(bounds(len(self._dataset), self.job.shards)[shard])
            stream = io.BytesIO()
            np.savez(stream, **{"refused": np.array(json.dumps(refused)), **rows})  # type: ignore[arg-type]
            write_atomic(path, stream.getvalue())
        return shard

    def results(self, places: range) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """Quantities of structures, and why some were refused."""
        count = len(places)
        rows = {name: np.full(count, np.nan) for name in QUANTITIES[:3]}
        rows |= {"index": np.array(places), "atoms": np.zeros(count, dtype=np.int64)}
        refused: dict[int, str] = {}
        for batch in self._batches(places):
            where = np.array([place - places.start for place, _ in batch])
            rows["atoms"][where] = [len(sample.pos) for _, sample in batch]
            try:
                found = self._evaluate([sample for _, sample in batch])
            except UnsupportedInputError:
                found = self._one_by_one(batch, refused)
            for name, values in found.items():
                rows[name][where] = values
        for k in np.flatnonzero(~np.isfinite(rows["energy"])).tolist():
            refused.setdefault(places[k], "the model's energy is not finite")
            rows["energy"][k] = np.nan
        rows["energy_per_atom"] = rows["energy"] / rows["atoms"]
        if not self.job.forces:
            del rows["fmax"]
        return rows, refused

    def _batches(self, places: range) -> Iterator[list[tuple[int, Any]]]:
        batch: list[tuple[int, Any]] = []
        size = 0
        for place in places:
            sample = self._dataset[place]
            if batch and size + len(sample.pos) > self.job.batch_atoms:
                yield batch
                batch, size = [], 0
            batch.append((place, sample))
            size += len(sample.pos)
        yield batch

    def _evaluate(self, samples: Sequence[Any]) -> dict[str, np.ndarray]:
        counts = [len(sample.pos) for sample in samples]
        fields = {name: torch.cat([sample[name] for sample in samples]) for name in _INPUTS}
        dtype = self.model.dtype
        cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in fields.items()}
        wanted = ("energy", "forces") if self.job.forces else ("energy",)
        with torch.no_grad():
            out = self.model(
                assemble(cast, counts).to(self.model.device),
                outputs=wanted,
                head=self._head,
                create_graph=False,
            )
        found = {"energy": out["energy"].cpu().numpy()}
        if self.job.forces:
            parts = out["forces"].double().norm(dim=1).cpu().split(counts)
            found["fmax"] = np.array([float(part.max()) for part in parts])
        return found

    def _one_by_one(
        self, batch: Sequence[tuple[int, Any]], refused: dict[int, str]
    ) -> dict[str, np.ndarray]:
        found: dict[str, list[float]] = {"energy": [], "fmax": []}
        for place, sample in batch:
            try:
                values = {k: float(v[0]) for k, v in self._evaluate([sample]).items()}
            except UnsupportedInputError as problem:
                values = {}
                refused[place] = str(problem)
            for name in found:
                found[name].append(values.get(name, np.nan))
        return {name: np.array(values) for name, values in found.items()}


def bounds(size: int, shards: int) -> list[range]:
    """The structures of each shard; sizes differ by one at most."""
    edges = [size * k // shards for k in range(shards + 1)]
    return [range(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def open_structures(source: str) -> Any:
    """The structures of a file or set, read one by one.

    Raises:
        DataError: for a set of another domain.
    """
    dataset = datasets.open(source)
    if dataset.domain != "atoms":
        raise DataError(f"{source} holds {dataset.domain}, not structures of atoms")
    return dataset
