"""Domain `particles`: charged or massive points in motion.

A sample is a PyG `Data` with `pos` and `vel` (n, d), `charge` (n,) where it is given, and the
target `y` (n, d) (later positions, forces, ...) or one label per sample. An archive holds
`pos` (samples, n, d), `vel`, `charge` (samples, n) or (samples, n, 1), `y`; for the other layouts
see `zoo.datasets.domains._rows`.
"""

import numpy as np
from torch_geometric.data import Data

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._raw import Chooser, Keys, Raw, shape_error
from zoo.datasets.domains._rows import joined, layout, row_labels
from zoo.datasets.domains._store import Store

POSITIONS = ("loc", "positions")
VELOCITIES = ("velocity", "velocities", "v")
CHARGES = ("charges", "q")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Samples of particles.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, ("pos", "vel", "charge"))
    pos = chooser.needed("pos", POSITIONS)
    form = layout(chooser, pos, chooser.where("pos", POSITIONS), "particle")
    vel = chooser.needed("vel", VELOCITIES)
    if vel.shape != pos.shape:
        raise shape_error(chooser.where("vel", VELOCITIES), vel.shape, f"{pos.shape}, as pos has")
    fields = {
        "pos": form.rows(pos, chooser.where("pos", POSITIONS), 1),
        "vel": form.rows(vel, chooser.where("vel", VELOCITIES), 1),
    }
    charge = chooser.floats("charge", CHARGES)
    if charge is not None:
        if charge.ndim == len(form.lead) + 1 and charge.shape[-1] == 1:
            charge = charge[..., 0]
        fields["charge"] = form.rows(charge, chooser.where("charge", CHARGES), 0)
    label, classes = row_labels(chooser, form)
    return joined(chooser, form.size, fields, label, classes)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Positions and velocities."""
    return has(arrays, "pos", *POSITIONS) and has(arrays, "vel", *VELOCITIES)


PARTICLES = Domain(
    name="particles",
    build=build,
    matches=matches,
    sign="positions (pos, loc) and velocities (vel)",
    container=Data,
)
