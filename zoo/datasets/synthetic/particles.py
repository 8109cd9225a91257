"""The charged N-body benchmark as a data set: see `zoo.datasets.nbody`."""

import numpy as np

from zoo.datasets import nbody as system
from zoo.datasets.synthetic._made import Made, between


def nbody(*, train: int = 3000, val: int = 2000, test: int = 2000, seed: int = system.SEED) -> Made:
    """Five charged particles: positions and velocities at one time, positions at a later one.

    Args:
        train: trajectories to train on, the first ones of the 10 000 that are drawn; the benchmark
            takes 3000.
        val: to validate on, of 2000.
        test: to test on, of 2000.
        seed: of everything; the published data have 43.

    Returns:
        Arrays `pos`, `vel`, `y` (n, 5, 3) and `charge` (n, 5) in float32, in which the published
        models were trained; `split`.

    Raises:
        ConfigError: for empty parts, or more trajectories than are drawn.
    """
    counts = {"train": train, "val": val, "test": test}
    for name, count in counts.items():
        between(name, count, 1, system.SIZES[name])
    parts = [
        # whole splits go to the cache and come from there
        system.trajectories(name, None if count == system.SIZES[name] else range(count), seed=seed)
        for name, count in counts.items()
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in system.NAMES}
    return Made(
        domain="particles",
        title="five charged particles, and where they are a little later (N-body)",
        arrays={
            "pos": joined["loc_frame30"].astype(np.float32),
            "vel": joined["vel_frame30"].astype(np.float32),
            "charge": joined["charges"][..., 0].astype(np.float32),
            "y": joined["loc_frame40"].astype(np.float32),
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=(
            "a toy system without units; the task is short extrapolation, not long-term dynamics",
            "a few trajectories are chaotic: made anew on another machine they differ visibly",
        ),
        source="computed by this package with the numbers of the authors' generator (seed 43)",
        citation="V. G. Satorras, E. Hoogeboom, M. Welling, E(n) equivariant graph neural "
        "networks, ICML 2021; the system: T. Kipf et al., Neural relational inference, ICML 2018",
    )
