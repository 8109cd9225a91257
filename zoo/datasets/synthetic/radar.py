"""Radar-like echoes: complex signals with clutter, a Doppler line, and a micro-Doppler modulation.

Covariances of windows of such a signal are Hermitian Toeplitz on average; drones, for one, are told
apart by the modulation of their blades (Brooks et al., NeurIPS 2019, whose radar set is simulated
too and is another one).
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, parts, settled

_FRACTIONS = {"train": 0.5, "val": 0.25, "test": 0.25}
_DOPPLER = 0.12  # cycles per pulse, of the body, whatever the class
_SLOWEST, _STEP = 0.03, 0.012  # cycles per pulse, of the modulation
_DEEP = 1.2  # radians of phase
_BITS = 8


def radar_like(
    *,
    classes: int = 3,
    samples: int = 300,
    times: int = 256,
    wander: float = 0.02,
    clutter: float = 1.0,
    noise: float = 0.7,
    seed: int = 0,
) -> Made:
    """Echoes of bodies whose parts turn at a rate that the class decides.

    z(t) = a exp(i (2 pi f t + b sin(2 pi m t + p) + q)) + clutter + noise. The modulation m is
    0.03 + 0.012 k cycles per pulse for class k, up to a tenth of that step; the Doppler line f
    wanders about 0.12, the amplitude a about 1, the depth b about 1.2 rad; p and q are random.
    Clutter is a complex AR(1) process around frequency 0, noise is white.

    Args:
        classes: of the labels, up to 12.
        samples: of each class.
        times: pulses of a signal, 32 or more.
        wander: standard deviation of f between signals, cycles per pulse.
        clutter: its root mean square.
        noise: its root mean square.
        seed: of everything.

    Returns:
        Arrays `X` (s, 2, times), the real and the imaginary part, `y` (s,), `split` (50 % train,
        25 % val, 25 % test).

    Raises:
        ConfigError: for impossible settings.
    """
    between("classes", classes, 1, 12)
    at_least("samples", samples, 1)
    at_least("times", times, 32)
    for name, size in {"wander": wander, "clutter": clutter, "noise": noise}.items():
        between(name, size, 0.0, 100.0)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), samples))
    count = len(labels)
    rate = _SLOWEST + _STEP * (labels + 0.1 * (2 * rng.random(count) - 1))
    line = _DOPPLER + wander * rng.standard_normal(count)
    depth = _DEEP * np.exp(0.1 * rng.standard_normal(count))
    loud = np.exp(0.2 * rng.standard_normal(count))
    first, second = 2 * np.pi * rng.random((2, count, 1))
    time = np.arange(times)
    swing = depth[:, None] * np.sin(2 * np.pi * rate[:, None] * time + first)
    phase = 2 * np.pi * line[:, None] * time + swing + second
    signal = loud[:, None] * np.stack([np.cos(phase), np.sin(phase)])
    signal = signal + clutter * _clutter(rng.standard_normal((2, count, times)) / np.sqrt(2))
    signal = signal + noise * rng.standard_normal(signal.shape) / np.sqrt(2)
    return Made(
        domain="signal",
        title=f"radar-like echoes of {classes} classes, real and imaginary part",
        arrays={
            "X": settled(signal.swapaxes(0, 1), _BITS),
            "y": labels,
            "split": parts(labels, _FRACTIONS, rng),
        },
        limits=("simulated: it shows what a geometry is good for, and says nothing of real radar",),
    )


def _clutter(noise: np.ndarray, memory: float = 0.9) -> np.ndarray:
    """An AR(1) process along the last axis, of the variance of its noise."""
    process = noise.copy()
    for step in range(1, noise.shape[-1]):
        fresh = np.sqrt(1 - memory**2) * noise[..., step]
        process[..., step] = memory * process[..., step - 1] + fresh
    return process
