"""A set computed in shards of a few molecules, so that a killed run goes on.

Beside the output lies a folder `<stem>.parts` with the plan (`plan.json`) and one file per finished
shard, a small set of its own. A shard of which nothing is left is an empty file.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ase import Atoms

from zoo._files import write_atomic
from zoo.datasets import _parts, gfn2
from zoo.datasets._dynamics import Progress
from zoo.datasets._npz import save_npz
from zoo.datasets._open import open as open_dataset
from zoo.datasets.organic._frames import Settings, conformations
from zoo.errors import ConfigError

MOLECULES = 20  # of a shard


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is computed: molecules (SMILES) and how many frames of which kind each has."""

    molecules: tuple[str, ...]
    settings: Settings
    shard: int = MOLECULES

    def keys(self) -> list[str]:
        """Names of the shards."""
        count = -(-len(self.molecules) // self.shard)
        return [f"shard-{k:05d}" for k in range(count)]

    def of(self, key: str) -> Sequence[str]:
        """The molecules of a shard."""
        first = int(key.rpartition("-")[2]) * self.shard
        return self.molecules[first : first + self.shard]

    def encoded(self) -> str:
        """The plan as JSON."""
        told = {
            "engine": "organic",
            "versions": gfn2.versions(),
            "shard": self.shard,
            "settings": asdict(self.settings),
            "molecules": list(self.molecules),
        }
        return json.dumps(told, indent=1)


def load_plan(folder: Path) -> Plan | None:
    """Reads the plan of a folder; None if it is of another kind."""
    told = json.loads((folder / _parts.PLAN).read_text(encoding="utf-8"))
    if told["engine"] != "organic":
        return None
    return Plan(
        molecules=tuple(told["molecules"]),
        settings=Settings(**told["settings"]),
        shard=told["shard"],
    )


def compute(plan: Plan, folder: Path, key: str) -> Iterator[int]:
    """Computes a shard and yields the number of its molecules."""
    frames = [frame for smiles in plan.of(key) for frame in conformations(smiles, plan.settings)]
    if frames:
        save_npz(_file(folder, key), frames)
    else:
        write_atomic(_file(folder, key), b"")
    yield len(plan.of(key))


def run(
    plan: Plan, folder: Path, *, processes: int = 1, progress: Progress | None = None
) -> list[Atoms]:
    """Computes the shards that are missing and returns all frames.

    Args:
        plan: what to compute.
        folder: of the shards; made if it is missing.
        processes: how many at once; 1 computes in this process.
        progress: called with (molecules done, molecules in all).

    Raises:
        ConfigError: if the folder holds shards of another plan.
        DataError: if a process failed.
    """
    _claim(plan, folder)
    todo = [key for key in plan.keys() if not _file(folder, key).exists()]
    done = len(plan.molecules) - sum(len(plan.of(key)) for key in todo)
    count = _parts.Counter(done, len(plan.molecules), progress)
    if processes == 1 or not todo:
        for key in todo:
            for molecules in compute(plan, folder, key):
                count.add(molecules)
    else:
        _parts.parallel(folder, todo, min(processes, len(todo)), count)
    return [atoms for key in plan.keys() for atoms in _read(_file(folder, key))]


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.npz"


def _read(path: Path) -> list[Atoms]:
    if not path.stat().st_size:
        return []
    dataset = open_dataset(path, domain="atoms")
    return [dataset.atoms(index) for index in range(len(dataset))]


def _claim(plan: Plan, folder: Path) -> None:
    """Writes the plan, or makes sure that the shards there are of the same one."""
    text, file = plan.encoded(), folder / _parts.PLAN
    if not file.exists():
        write_atomic(file, text)
    elif json.loads(file.read_text(encoding="utf-8")) != json.loads(text):
        raise ConfigError(
            f"{folder} holds parts of a run with other molecules, settings or versions; repeat "
            "those settings to go on with it, or remove the folder to begin again"
        )
