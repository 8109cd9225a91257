"""Orbits of tuples of coordinates under a permutation group."""

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._groups import Group

#: tuples whose orbits are looked for at most
TUPLES = 2**24


def orbit_labels(group: Group, n: int, order: int, why: str = "") -> Int[Tensor, " tuples"]:
    """The number of the orbit that each tuple of `order` coordinates is in, by union of labels.

    Args:
        group: whose matrices are permutations.
        n: coordinates.
        order: of the tuples, m; the last coordinate runs fastest.
        why: what else to say of the group where there are too many.

    Returns:
        Numbers (n^m,) from 0 on, in the order of the orbits' first tuples.

    Raises:
        ConfigError: for more tuples than are looked at.
    """
    count = n**order
    if count > TUPLES:
        raise ConfigError(
            f"{group} {why}: orbits of {n}^{order} = {count} tuples would take "
            f"{count * 8 / 2**20:.0f} MB for each generator; at most {TUPLES} tuples are looked "
            "at. Take lower orders"
        )
    places = torch.arange(count)
    images = []
    for matrix in group.generators(n):
        image = matrix.argmax(dim=0)  # where each coordinate goes
        moved, stride = torch.zeros_like(places), 1
        for _ in range(order):
            moved += image[places // stride % n] * stride
            stride *= n
        images.append(moved)
    labels = _smallest(places, images)
    inverse: Tensor = torch.unique(labels, return_inverse=True)[1]
    return inverse


def _smallest(labels: Tensor, images: list[Tensor]) -> Tensor:
    """The smallest place in the orbit of each."""
    while True:
        before = labels
        for moved in images:
            low = torch.minimum(labels, labels[moved])
            labels = low.scatter_reduce(0, moved, low, "amin")
        labels = labels[labels]
        if torch.equal(labels, before):
            return labels
