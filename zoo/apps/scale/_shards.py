"""One shard of a screening: structures in, quantities of each out, in one file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo import datasets, hub
from zoo._files import write_atomic
from zoo.apps.scale._parts import npz
from zoo.apps.scale._pool import largest
from zoo.datasets._frames import Frames
from zoo.datasets.atoms import check_structures, narrowed
from zoo.errors import CapabilityError, DataError, UnsupportedInputError

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
        self._counts = self._dataset.counts

    def __call__(self, shard: int) -> int:
        """Writes the results of a shard, unless they are there; returns its number."""
        path = self.job.path(shard)
        if not path.is_file():
            rows, refused = self.results(bounds(len(self._dataset), self.job.shards)[shard])
            write_atomic(path, npz({"refused": np.array(json.dumps(refused)), **rows}))
        return shard

    def results(self, places: range) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """Quantities of structures, and why some were refused."""
        rows = {name: np.full(len(places), np.nan) for name in QUANTITIES[:3]}
        rows |= {"index": np.array(places), "atoms": self._counts[places.start : places.stop]}
        refused: dict[int, str] = {}
        for part in self._batches(places):
            frames = next(self._dataset.take(np.array(part)).chunks(len(part)))
            try:
                found = self._evaluate(frames, part)
            except UnsupportedInputError:
                found = self._one_by_one(frames, part, refused)
            for name, values in found.items():
                rows[name][part.start - places.start : part.stop - places.start] = values
        for k in np.flatnonzero(~np.isfinite(rows["energy"])).tolist():
            refused.setdefault(places[k], "the model's energy is not finite")
            rows["energy"][k] = np.nan
        rows["energy_per_atom"] = rows["energy"] / rows["atoms"]
        if not self.job.forces:
            del rows["fmax"]
        return rows, refused

    def _batches(self, places: range) -> Iterator[range]:
        """Structures of one call, in the order in which they lie."""
        start, size = places.start, 0
        for place, count in zip(places, self._counts[places.start : places.stop], strict=True):
            if place > start and size + count > self.job.batch_atoms:
                yield range(start, place)
                start, size = place, 0
            size += count
        yield range(start, places.stop)

    def _evaluate(self, frames: Frames, places: range) -> dict[str, np.ndarray]:
        model, counts = self.model, frames.counts.tolist()
        arrays = {"atomic_numbers": frames.numbers, "pos": frames.positions}
        arrays |= {name: getattr(frames, name) for name in ("cell", "pbc", "charge", "spin")}
        check_structures(arrays, counts, places)
        fields = {name: torch.from_numpy(array) for name, array in arrays.items()}
        wanted = ("energy", "forces") if self.job.forces else ("energy",)
        with torch.no_grad():
            out = model(
                narrowed(fields, counts, model.dtype).to(model.device),
                outputs=wanted,
                head=self._head,
                create_graph=False,
            )
        found = {"energy": out["energy"].cpu().numpy()}
        if self.job.forces:
            owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
            norms = out["forces"].double().norm(dim=1).cpu()
            found["fmax"] = largest(norms, owner, len(counts)).numpy()
        return found

    def _one_by_one(
        self, frames: Frames, places: range, refused: dict[int, str]
    ) -> dict[str, np.ndarray]:
        found: dict[str, list[float]] = {"energy": [], "fmax": []}
        for k, place in enumerate(places):
            try:
                alone = frames.take(np.array([k]))
                here = self._evaluate(alone, range(place, place + 1))
                values = {name: float(v[0]) for name, v in here.items()}
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
