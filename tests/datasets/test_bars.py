"""Bars and stripes: what the patterns are, and that classes have the same mean."""

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.datasets.synthetic.bars import bars_and_stripes
from zoo.errors import ConfigError


def test_patterns() -> None:
    made = bars_and_stripes(train=2000, val=10, test=10, noise=0.0)
    images, labels = made.arrays["images"][:, 0], made.arrays["y"]
    assert set(np.unique(images)) == {0.0, 1.0}
    rows = (images == images[:, :, :1]).all(axis=(1, 2))
    columns = (images == images[:, :1]).all(axis=(1, 2))
    assert (rows == (labels == 0)).all() and (columns == (labels == 1)).all()
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == 124
    means = [images[labels == label].mean() for label in (0, 1)]
    np.testing.assert_allclose(means, 0.5, atol=0.03)


def test_noise_and_parts() -> None:
    small = bars_and_stripes(train=20, val=5, test=5)
    large = bars_and_stripes(train=40, val=5, test=9)
    assert small.arrays["images"].shape == (30, 1, 6, 6)
    assert 0 <= small.arrays["images"].min() and small.arrays["images"].max() <= 1
    for name, count in (("train", 20), ("val", 5), ("test", 5)):
        ours = [made.arrays["images"][made.arrays["split"] == name] for made in (small, large)]
        np.testing.assert_array_equal(ours[0], ours[1][:count])
    other = bars_and_stripes(train=20, val=5, test=5, seed=1)
    assert not np.array_equal(other.arrays["images"], small.arrays["images"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"size": 1}, "size is 1"), ({"noise": -0.1}, "noise is -0.1"), ({"val": 0}, "val is 0")],
)
def test_impossible_settings(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make("bars-and-stripes", **settings)
