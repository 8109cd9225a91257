"""Functions of tensors that rotations commute with, and signals on a graph, to learn from."""

import numpy as np

from zoo.datasets.synthetic._made import Made, between, settled
from zoo.datasets.synthetic.orthogonal import FINE, draw

_STEPS = 40  # of Euler's rule, for a time of 1


def hyperelastic(
    *,
    train: int = 1000,
    val: int = 300,
    test: int = 1000,
    strain: float = 0.2,
    shear: float = 1.0,
    bulk: float = 1.0,
    seed: int = 0,
) -> Made:
    r"""The stress in an isotropic elastic body (Saint Venant, Kirchhoff), of its deformation.

    P = F (lambda tr(E) 1 + 2 mu E), E = (F^T F - 1) / 2: the first Piola-Kirchhoff stress. In axes
    turned or mirrored by R, F becomes R F R^T and P becomes R P R^T.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        strain: standard deviation of the entries of F - 1.
        shear: mu.
        bulk: lambda.
        seed: of everything.

    Returns:
        Arrays `tensors` (n, 3, 3), F; `y` (n, 3, 3), P; `split`.

    Raises:
        ConfigError: for empty parts, or moduli and strains out of range.
    """
    between("strain", strain, 0.0, 1.0)
    between("shear", shear, 0.0, 10.0)
    between("bulk", bulk, 0.0, 10.0)
    drawn, split = draw({"train": train, "val": val, "test": test}, (3, 3), seed)
    f = settled(np.eye(3) + strain * drawn, FINE).astype(np.float64)
    e = (np.einsum("nki,nkj->nij", f, f) - np.eye(3)) / 2
    second = bulk * np.einsum("nii->n", e)[:, None, None] * np.eye(3) + 2 * shear * e
    return Made(
        domain="tensor",
        title="stresses in an isotropic elastic body, of deformation gradients",
        arrays={
            "tensors": f.astype(np.float32),
            "y": settled(np.einsum("nik,nkj->nij", f, second), 12),
            "split": split,
        },
        limits=(
            "a polynomial of nine random numbers; gradients may turn a body inside out, which no "
            "material allows",
        ),
    )


def ring_signals(
    *,
    train: int = 500,
    val: int = 200,
    test: int = 1000,
    nodes: int = 12,
    diffusion: float = 1.0,
    seed: int = 0,
) -> Made:
    """Signals on a ring of nodes, and what diffusion and a reaction make of them in a time of 1.

    du_i/dt = D (u_{i-1} - 2 u_i + u_{i+1}) + u_i - u_i^3, in 40 steps of Euler's rule: turning the
    ring, or reversing it, turns or reverses the result.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        nodes: of the ring.
        diffusion: D.
        seed: of everything.

    Returns:
        Arrays `sequences` (n, nodes, 1), independent standard normal numbers; `y` (n, nodes), u at
        the end; `split`.

    Raises:
        ConfigError: for empty parts, fewer than three nodes, or a diffusion that the steps are too
            long for.
    """
    between("nodes", nodes, 3, 1000)
    between("diffusion", diffusion, 0.0, 10.0)
    drawn, split = draw({"train": train, "val": val, "test": test}, (nodes,), seed)
    x = settled(drawn, FINE)
    u = x.astype(np.float64)
    for _ in range(_STEPS):
        neighbours = np.roll(u, 1, axis=1) - 2 * u + np.roll(u, -1, axis=1)
        u = u + (diffusion * neighbours + u - u**3) / _STEPS
    return Made(
        domain="sequence",
        title=f"signals on a ring of {nodes} nodes, now and later",
        arrays={"sequences": x[..., None], "y": settled(u, 12), "split": split},
        limits=("a made-up equation on a ring; of no use but to compare layers",),
    )
