r"""Waves on a shallow, rotating sea: fields whose future is known exactly.

Height h and velocity (u, v) on a periodic square of side 1, in units in which they have the same
energy:

    dh/dt = -c (du/dx + dv/dy),  du/dt = f v - c dh/dx,  dv/dt = -f u - c dh/dy.

Every Fourier mode k = 2 pi (m, n) turns by itself: with A the matrix of the equations and w^2 =
f^2 + c^2 |k|^2, exp(t A) = 1 + sin(w t) / w A + (1 - cos(w t)) / w^2 A^2, because A^3 = -w^2 A.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, between, settled
from zoo.datasets.synthetic.orthogonal import draw
from zoo.errors import ConfigError


def waves(
    *,
    train: int = 512,
    val: int = 128,
    test: int = 256,
    size: int = 16,
    time: float = 0.5,
    speed: float = 0.5,
    rotation: float = 4.0,
    smoothness: float = 3.0,
    seed: int = 0,
) -> Made:
    """Height and velocity of a shallow, rotating sea, now and some time later.

    The first fields are Gaussian random fields whose Fourier modes (m, n) have the standard
    deviation exp(-(m^2 + n^2) / (2 smoothness^2)), scaled to a mean square of 1.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        size: points along each side, an even number.
        time: between the two fields.
        speed: of waves (c), sides per unit of time.
        rotation: of the sea (f).
        smoothness: see above.
        seed: of everything.

    Returns:
        Arrays `a` and `u` (n, 3, size, size), height and velocity before and after; axis 2 is x,
        axis 3 is y; `split`.

    Raises:
        ConfigError: for empty parts, or numbers out of range.
    """
    between("size", size, 4, 256)
    if size % 2:
        raise ConfigError(f"size is {size}; it must be even, such as {size + 1}")
    between("smoothness", smoothness, 0.1, size)
    for name, value in (("time", time), ("speed", speed), ("rotation", rotation)):
        between(name, value, 0.0, 1000.0)
    noise, split = draw({"train": train, "val": val, "test": test}, (3, size, size), seed)
    m = np.fft.fftfreq(size, 1 / size)
    square = m[:, None] ** 2 + m[None, :] ** 2
    spectrum = np.exp(-square / (2 * smoothness**2))
    spectrum[size // 2] = spectrum[:, size // 2] = 0  # these modes have no sine
    modes = np.fft.fft2(noise) * (spectrum / np.sqrt((spectrum**2).mean()))
    before = np.fft.ifft2(modes).real
    after = later(before, time=time, speed=speed, rotation=rotation)
    return Made(
        domain="field",
        title="waves on a shallow, rotating sea, and what becomes of them",
        arrays={"a": settled(before, 16), "u": settled(after, 16), "split": split},
        limits=(
            "a linear equation: a linear map of Fourier modes is exact; of no use but to compare "
            "layers",
        ),
    )


def later(fields: np.ndarray, *, time: float, speed: float, rotation: float) -> np.ndarray:
    """The fields (..., 3, size, size) after a time, exactly."""
    k = 2 * np.pi * np.fft.fftfreq(fields.shape[-1], 1 / fields.shape[-1])
    kx, ky = np.meshgrid(speed * k, speed * k, indexing="ij")
    zero, f = np.zeros_like(kx), np.full_like(kx, rotation)
    rows = [[zero, -1j * kx, -1j * ky], [-1j * kx, zero, f], [-1j * ky, -f, zero]]
    a = np.moveaxis(np.array(rows), (0, 1), (-2, -1))  # (size, size, 3, 3)
    w = np.sqrt(rotation**2 + kx**2 + ky**2)[..., None, None]
    # sin(w t) / w and (1 - cos(w t)) / w^2, also at w = 0
    first = time * np.sinc(w * time / np.pi)
    second = (time * np.sinc(w * time / (2 * np.pi))) ** 2 / 2
    turn = np.eye(3) + first * a + second * (a @ a)
    modes = np.moveaxis(np.fft.fft2(fields), -3, -1)[..., None]
    return np.fft.ifft2(np.moveaxis((turn @ modes)[..., 0], -1, -3)).real
