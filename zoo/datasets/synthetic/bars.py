"""Bars and stripes: pictures whose classes have the same mean, so that no linear model tells them.

The patterns are those of D. J. C. MacKay, Information theory, inference and learning algorithms,
Cambridge University Press 2003: all rows of one colour each, or all columns. Pictures of a single
colour would be both and are left out.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, settled


def bars_and_stripes(
    *,
    train: int = 1000,
    val: int = 500,
    test: int = 1000,
    size: int = 6,
    noise: float = 0.3,
    seed: int = 0,
) -> Made:
    """Noisy pictures of horizontal bars (class 0) and vertical stripes (class 1).

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        size: pixels along each side.
        noise: standard deviation of what is added to each pixel, 0 or 1, before all are cut off
            to [0, 1].
        seed: of everything.

    Returns:
        Arrays `images` (n, 1, size, size) from 0 to 1; `y` (n,); `split`.

    Raises:
        ConfigError: for empty parts, or numbers out of range.
    """
    between("size", size, 2, 32)
    between("noise", noise, 0.0, 10.0)
    counts = {"train": train, "val": val, "test": test}
    drawn = []
    for place, (name, count) in enumerate(counts.items()):
        at_least(name, count, 1)
        drawn.append(_part(count, size, noise, np.random.default_rng((seed, place))))
    images, labels = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    return Made(
        domain="image",
        title=f"bars and stripes, {size} x {size} noisy pixels",
        arrays={
            "images": settled(images[:, None], 16),
            "y": labels,
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=(
            f"{2 * (2**size - 2)} patterns and noise; of no use but to compare classifiers",
            "most patterns of the test part occur in the training part, under other noise",
        ),
        citation="D. J. C. MacKay, Information theory, inference and learning algorithms, 2003",
    )


def _part(
    count: int, size: int, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    # a stream for each kind of number, so that more samples begin with the same ones
    of_labels, of_codes, of_noise = rng.spawn(3)
    labels = of_labels.integers(0, 2, count)
    codes = of_codes.integers(1, 2**size - 1, count)  # neither all black nor all white
    bits = (codes[:, None] >> np.arange(size)) & 1
    rows = np.broadcast_to(bits[:, :, None], (count, size, size))
    images = np.where(labels[:, None, None] == 0, rows, rows.swapaxes(1, 2)).astype(float)
    images += noise * of_noise.standard_normal(images.shape)
    return np.clip(images, 0.0, 1.0), labels.astype(np.int64)
