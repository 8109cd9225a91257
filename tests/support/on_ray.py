"""A screening on real Ray Data; as a script, a driver that dies or one of whose workers dies.

`python on_ray.py driver|worker|none` screens `frames.extxyz` with `model` into `out`, all of the
working directory. What must happen once is marked by files there.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from zoo.apps.scale import screen

SHARDS = 6


def main(victim: str) -> None:
    """Screens with two workers, in 128 MiB of shared memory."""
    here = Path.cwd()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        log_to_driver=False,
        logging_level="error",
    )

    class Mortal(screen._RayWorker):
        """Dies once, in the middle of a shard."""

        def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
            if victim == "driver" and int(batch["shard"][0]) > 2:
                time.sleep(30.0)  # some are left when it dies, however late it hears of the others
            mark = here / "worker-died"
            if victim == "worker" and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    def progress(done: int, total: int) -> None:
        if victim == "driver" and done == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    screen._RayWorker = Mortal  # type: ignore[misc]
    screen.screen(
        "model", "frames.extxyz", "out", shards=SHARDS, workers=2, ray=True, progress=progress
    )


if __name__ == "__main__":
    main(sys.argv[1])
