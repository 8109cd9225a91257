"""Toy jets: which of two kinds of decays do some four-momenta come from?

A task of the kind of top tagging (Kasieczka et al., SciPost Physics 7, 014, 2019), by a generator
of our own: decays to two bodies, each isotropic in the frame of what decays. It has no showers, no
detector and no units; numbers measured here can't be compared with those of top tagging.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, settled

#: masses of the signal's two resonances, as top quark and W boson in units of 100 GeV
HEAVY, LIGHT = 1.73, 0.80
#: bodies that are left in the end, before the softest are lost
BODIES, LOST = 12, 5


def toy_jets(*, train: int = 2048, val: int = 512, test: int = 1024, seed: int = 0) -> Made:
    """Jets of 8 to 12 massless particles.

    Both kinds are the same cascade: something decays to a light body and an intermediate one, that
    to two light bodies, and each of the three, in two steps, to four massless particles. In the
    signal the first two always have the same masses (1.73 and 0.8), in the background any; so
    invariant masses tell them apart, and nothing else does. The whole is boosted along a random
    direction; the particles of least energy are lost, up to four.

    Args:
        train: jets to train on, the two kinds in turn.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        seed: of everything.

    Returns:
        Arrays `sequences` (n, 12, 4), four-momenta in descending order of energy, their first
        component; `lengths` (n,), beyond which there are zeros; `y` (n,), 1 for signal; `split`.

    Raises:
        ConfigError: for empty parts.
    """
    counts = {"train": train, "val": val, "test": test}
    for name, count in counts.items():
        at_least(name, count, 1)
    drawn = [
        _jets(count, np.random.default_rng((seed, k))) for k, count in enumerate(counts.values())
    ]
    momenta, lengths, labels = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    return Made(
        domain="sequence",
        title="toy jets of two kinds of decays",
        arrays={
            "sequences": settled(momenta, 16),
            "lengths": lengths,
            "y": labels,
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("decays to two bodies without showers; of no use but to compare layers",),
    )


def _jets(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Momenta (count, 12, 4), how many are there (count,), and labels (count,)."""
    label = np.arange(count) % 2
    heavy = np.where(label, HEAVY, rng.uniform(1.2, 2.3, count))
    light = np.where(label, LIGHT, rng.uniform(0.4, 1.0, count))
    small = rng.uniform(0.05, 0.15, (3, count))
    parent = np.zeros((count, 4))
    parent[:, 0] = heavy
    parent = _boosted(
        parent, _momentum(rng.uniform(1.0, 3.0, count), heavy, _directions(count, rng))
    )
    first, middle = _decay(parent, heavy, small[0], light, rng)
    second, third = _decay(middle, light, small[1], small[2], rng)
    last = []
    for body, mass in zip((first, second, third), small, strict=True):
        masses = mass * rng.uniform(0.1, 0.4, (2, count))
        for half, inner in zip(_decay(body, mass, masses[0], masses[1], rng), masses, strict=True):
            last += _decay(half, inner, np.zeros(count), np.zeros(count), rng)
    momenta = np.stack(last, axis=1)
    order = np.argsort(-momenta[..., 0], axis=1, kind="stable")
    momenta = np.take_along_axis(momenta, order[..., None], axis=1)
    lengths = BODIES - rng.integers(0, LOST, count)
    inside = np.arange(BODIES) < lengths[:, None]
    return np.where(inside[..., None], momenta, 0.0), lengths, label


def _decay(
    parent: np.ndarray, mass: np.ndarray, a: np.ndarray, b: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Four-momenta (count, 4) of two bodies of the masses a and b."""
    square = (mass**2 - (a + b) ** 2) * (mass**2 - (a - b) ** 2)
    size = np.sqrt(np.maximum(square, 0.0)) / (2 * mass)
    direction = _directions(len(mass), rng)
    return [
        _boosted(_momentum(sign * size, m, direction), parent) for sign, m in ((1.0, a), (-1.0, b))
    ]


def _momentum(size: np.ndarray, mass: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The four-momentum of a body of a mass."""
    energy = np.sqrt(size**2 + mass**2)
    return np.concatenate([energy[:, None], size[:, None] * direction], axis=1)


def _directions(count: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True)))


def _boosted(p: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """p, as given where `frame` is at rest, where it moves as it does."""
    mass = np.sqrt(frame[:, :1] ** 2 - (frame[:, 1:] ** 2).sum(axis=1, keepdims=True))
    along = (p[:, 1:] * frame[:, 1:]).sum(axis=1, keepdims=True)
    energy = (frame[:, :1] * p[:, :1] + along) / mass
    space = p[:, 1:] + frame[:, 1:] * (p[:, :1] + energy) / (frame[:, :1] + mass)
    return np.concatenate([energy, space], axis=1)
