"""Handwritten digits of scikit-learn, as images and as covariance descriptors (extra: signals)."""

import numpy as np

from zoo import _extras
from zoo.datasets.synthetic._made import Made, at_least, parts, settled

_FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}
_SOURCE = (
    "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository (its test part), as scikit-learn ships it"
)
_LICENCE = "as distributed with scikit-learn (BSD-3-Clause); its makers ask to be cited"
_CITATION = "E. Alpaydin, C. Kaynak, Cascading classifiers, Kybernetika 34, 369 (1998)"
_LIMITS = ("pictures of one writer are in all splits, as nothing says who wrote which",)


def digits(*, seed: int = 0) -> Made:
    """1797 pictures of 8 x 8 pixels.

    Args:
        seed: of the splits.

    Returns:
        Arrays `images` (1797, 1, 8, 8) from 0 to 1 (the numbers 0 to 16 by 16), `y`, `split` (60 %
        train, 15 % val, 25 % test).

    Raises:
        MissingExtraError: without scikit-learn.
    """
    images, labels, split = _load(seed)
    return Made(
        domain="image",
        title="handwritten digits, 8 x 8 pixels",
        arrays={"images": settled(images[:, None], 4), "y": labels, "split": split},
        limits=_LIMITS,
        source=_SOURCE,
        licence=_LICENCE,
        citation=_CITATION,
    )


def digits_cov(*, shrinkage: float = 1e-3, seed: int = 0) -> Made:
    """Region covariance descriptors of the digits (Tuzel, Porikli, Meer, ECCV 2006).

    The pixels of a picture are the samples of a covariance between features of a pixel: its
    row and column, intensity, the intensity of the pixels two to the left and above, first and
    second derivatives, and products of the intensity with the position.

    Args:
        shrinkage: times the mean variance is added to the diagonal.
        seed: of the splits.

    Returns:
        Arrays `matrices` (1797, n, n), `y`, `split`, as for `digits`.

    Raises:
        MissingExtraError: without scikit-learn.
        ConfigError: for a shrinkage that isn't positive.
    """
    at_least("shrinkage", shrinkage, 1e-6)
    images, labels, split = _load(seed)
    features = pixel_features(images)
    centred = features - features.mean(axis=-1, keepdims=True)
    matrices = centred @ centred.swapaxes(-2, -1) / features.shape[-1]
    size = matrices.shape[-1]
    mean = np.trace(matrices, axis1=-2, axis2=-1)[:, None, None] / size
    # row and column are uncorrelated: + 0.0 makes what rounds to -0 the same zero everywhere
    matrices = settled(matrices + shrinkage * mean * np.eye(size), 20) + np.float32(0.0)
    return Made(
        domain="matrix",
        title=f"handwritten digits as region covariances, {size} features",
        arrays={"matrices": matrices, "y": labels, "split": split},
        limits=_LIMITS,
        source=_SOURCE,
        licence=_LICENCE,
        citation=_CITATION,
    )


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Features of every pixel (samples, features, pixels) of pictures (samples, h, w)."""
    height, width = images.shape[1:]
    row, column = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))

    def moved(down: int, right: int) -> np.ndarray:
        return padded[:, 2 + down : 2 + down + height, 2 + right : 2 + right + width]

    across, along = (moved(0, 1) - moved(0, -1)) / 2, (moved(1, 0) - moved(-1, 0)) / 2
    features = [
        row + 0 * images,
        column + 0 * images,
        images,
        np.abs(across),
        np.abs(along),
        moved(0, 1) - 2 * images + moved(0, -1),
        moved(1, 0) - 2 * images + moved(-1, 0),
        (moved(1, 1) - moved(1, -1) - moved(-1, 1) + moved(-1, -1)) / 4,
    ]
    return np.stack(features, axis=1).reshape(len(images), len(features), -1)


def _load(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sets = _extras.require("sklearn.datasets", extra="signals", package="scikit-learn")
    held = sets.load_digits()
    labels = held.target.astype(np.int64)
    split = parts(labels, _FRACTIONS, np.random.default_rng(seed))
    return held.images / 16.0, labels, split
