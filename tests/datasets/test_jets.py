"""Toy jets: energies, masses and what tells the two kinds apart."""

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.datasets.synthetic import jets
from zoo.errors import ConfigError


def test_the_masses_of_the_signal_are_those_of_its_resonances() -> None:
    momenta, lengths, labels = jets._jets(400, np.random.default_rng(0))
    np.testing.assert_allclose(momenta[..., 0] ** 2, (momenta[..., 1:] ** 2).sum(-1), atol=1e-12)
    assert np.all(np.diff(momenta[..., 0], axis=1) <= 0)  # by energy
    assert set(lengths) == {8, 9, 10, 11, 12}
    assert np.all((momenta[..., 0] > 0).sum(axis=1) == lengths)
    whole = momenta[lengths == jets.BODIES].sum(axis=1)
    mass = np.sqrt(whole[:, 0] ** 2 - (whole[:, 1:] ** 2).sum(axis=1))
    signal = labels[lengths == jets.BODIES] == 1
    np.testing.assert_allclose(mass[signal], jets.HEAVY, atol=1e-9)
    assert mass[~signal].std() > 0.2


def test_parts_have_their_own_numbers() -> None:
    small = zd.make("toy-jets", train=6, val=4, test=4)
    large = zd.make("toy-jets", train=6, val=4, test=8)
    for part in ("train", "val"):
        a, b = small.split(part)[0]["x"], large.split(part)[0]["x"]
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert small[0]["x"].shape[1:] == (4,)
    with pytest.raises(ConfigError, match="val is 0"):
        zd.make("toy-jets", val=0)
