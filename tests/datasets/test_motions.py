"""Generated motions and waves: what their equations promise."""

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.datasets.synthetic import tetris
from zoo.datasets.synthetic.waves import later
from zoo.errors import ConfigError


def _frames(dataset: zd.DomainDataset) -> np.ndarray:
    """All eight frames (samples, 8, points, 3)."""
    found = []
    for k in range(len(dataset)):
        sample = dataset[k]
        before = sample.x.reshape(4, 3, 3) + sample.pos[:, None]
        found.append(np.concatenate([before, sample.pos[:, None], sample.y], axis=1))
    return np.stack(found).swapaxes(1, 2).astype(np.float64)


def test_pieces_are_rigid_and_move_by_one_motion() -> None:
    frames = _frames(zd.make("tetris-like", train=16, val=4, test=4, noise=0.0))
    pairs = frames[:, :, :, None] - frames[:, :, None]
    lengths = np.sqrt((pairs**2).sum(-1))
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:, :1], lengths.shape), atol=2e-4)
    shapes = np.sort(lengths[:8, 0].reshape(8, -1), axis=1)
    expected = tetris.PIECES[:, :, None] - tetris.PIECES[:, None]
    sides = np.sort(np.sqrt((expected**2).sum(-1)).reshape(8, -1), axis=1)
    np.testing.assert_allclose(shapes, sides, atol=2e-4)
    # corners of the T piece span space only with time: fit x -> R x + s on frames 0..6
    for sample in frames:
        before, after = sample[:-1].reshape(-1, 3), sample[1:].reshape(-1, 3)
        rows = np.concatenate([before, np.ones((len(before), 1))], axis=1)
        fit = np.linalg.lstsq(rows, after, rcond=None)[0]
        np.testing.assert_allclose(rows @ fit, after, atol=1e-3)
        np.testing.assert_allclose(fit[:3].T @ fit[:3], np.eye(3), atol=5e-2)


def test_noise_is_on_what_is_seen_only_and_parts_have_their_own_numbers() -> None:
    clean = zd.make("tetris-like", train=8, val=4, test=4, noise=0.0)
    noisy = zd.make("tetris-like", train=8, val=4, test=4, noise=0.1)
    longer = zd.make("tetris-like", train=16, val=4, test=4, noise=0.1)
    spread = np.std([(noisy[k].pos - clean[k].pos).numpy() for k in range(16)])
    assert 0.05 < spread < 0.2
    for k in range(8):
        assert np.array_equal(noisy[k].y, clean[k].y)
        assert np.array_equal(noisy[k].pos, longer[k].pos)
    test = [d.split("test")[0].pos.numpy() for d in (noisy, longer)]
    assert np.array_equal(*test)


def test_what_the_card_of_the_pieces_says() -> None:
    dataset = zd.open("tetris-like").split("test")
    errors = [(dataset[k].pos[:, None] - dataset[k].y).square().mean() for k in range(len(dataset))]
    assert float(np.mean(errors)) == pytest.approx(1.453, abs=5e-4)


def _derivative(field: np.ndarray, axis: int) -> np.ndarray:
    k = 2j * np.pi * np.fft.fftfreq(field.shape[axis], 1 / field.shape[axis])
    shape = [1, 1]
    shape[axis] = -1
    return np.asarray(np.fft.ifft(k.reshape(shape) * np.fft.fft(field, axis=axis), axis=axis).real)


def test_waves_solve_their_equations() -> None:
    rng = np.random.default_rng(0)
    modes = np.fft.fft2(rng.normal(size=(3, 16, 16)))
    modes[:, 8] = modes[:, :, 8] = 0
    start = np.fft.ifft2(modes).real
    c, f = 0.3, 2.0

    def at(time: float) -> np.ndarray:
        return np.asarray(later(start, time=time, speed=c, rotation=f))

    np.testing.assert_allclose(at(0.0), start, atol=1e-12)
    np.testing.assert_allclose((at(3.0) ** 2).sum(), (start**2).sum(), rtol=1e-12)
    h, u, v = at(0.7)
    step = 1e-4
    slope = (at(0.7 + step) - at(0.7 - step)) / (2 * step)
    expected = [
        -c * (_derivative(u, 0) + _derivative(v, 1)),
        f * v - c * _derivative(h, 0),
        -f * u - c * _derivative(h, 1),
    ]
    np.testing.assert_allclose(slope, expected, atol=1e-4 * np.abs(slope).max())
    still = later(start, time=2.0, speed=0.0, rotation=0.0)
    np.testing.assert_allclose(still, start, atol=1e-12)


def test_what_the_card_of_the_waves_says() -> None:
    dataset = zd.open("waves").split("test")
    pairs = [(dataset[k]["x"], dataset[k]["y"]) for k in range(len(dataset))]
    errors = [float((x - y).norm() / y.norm()) for x, y in pairs]
    assert np.mean(errors) == pytest.approx(1.256, abs=5e-4)
    energies = [float(x.square().sum() / y.square().sum()) for x, y in pairs]
    np.testing.assert_allclose(energies, 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("tetris-like", {"train": 0}, "train is 0"),
        ("tetris-like", {"noise": -0.1}, "noise is -0.1"),
        ("waves", {"size": 7}, "size is 7; it must be even"),
        ("waves", {"smoothness": 0.0}, "smoothness"),
        ("waves", {"time": -1.0}, "time is -1"),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make(kind, **settings)
