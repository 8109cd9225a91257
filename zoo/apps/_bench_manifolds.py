"""`zoo bench manifolds`: networks and geometry against spd-learn, geoopt and hypll.

Everything is float32, forward and backward where a row says so. Contestants take turns in one run;
`ratio` is the median over rounds of the peer's time over ours. Run it with OMP_NUM_THREADS=1 for
what the targets are about, one thread; the machine's row says how many there were. Peers are
optional: `pip install spd-learn hypll` makes all rows complete.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.functional import poincare
from zoo.functional.spd import affine_invariant
from zoo.layers.spd import LieBatchNorm, LieMetric
from zoo.models.spdnet import SPDNet

Row = dict[str, Any]
Contestants = dict[str, Callable[[], object]]

SIZE, BATCH, CLASSES = 64, 64, 4  # rows of the matrices, matrices, outputs
SAMPLES = 200  # of each covariance
POINTS, DIMENSION = 4096, 64  # in the Poincaré ball


def measure(*, repeats: int = 20, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `ours`, `peer` (ms), `ratio`, `target`; the last one is the machine.
    """
    rows: list[Row] = []
    table = _table()
    for what, (peer, target, make) in table.items():
        if progress is not None:
            progress(len(rows), len(table))
        rows.append(_row(what, peer, target, make, repeats))
    return [*rows, {"what": "machine", **machine()}]


def _table() -> Mapping[str, tuple[str, str, Callable[[], Contestants]]]:
    """What is measured: the peer's package, the target, the contestants."""
    net = f"{BATCH} x ({SIZE}, {SIZE}), forward + backward (ms)"
    geometry = f"{BATCH} x ({SIZE}, {SIZE}) (ms)"
    ball = f"{POINTS} x {DIMENSION}, forward + backward (ms)"
    return {
        f"SPDNet {SIZE}-{SIZE}: {net}": ("spd_learn", ">= 1.5", lambda: _networks(None)),
        f"SPDNet + LieBN AIM: {net}": ("spd_learn", ">= 2", lambda: _networks("AIM")),
        f"SPDNet + LieBN LCM: {net}": ("spd_learn", ">= 1", lambda: _networks("LCM")),
        f"LieBN AIM: {net}": ("spd_learn", ">= 2", lambda: _norms("AIM")),
        f"LieBN LCM: {net}": ("spd_learn", ">= 1", lambda: _norms("LCM")),
        f"SPD distance: {geometry}": ("geoopt", ">= 3", lambda: _spd("dist")),
        f"SPD log: {geometry}": ("geoopt", ">= 1.5", lambda: _spd("log")),
        f"SPD exp: {geometry}": ("geoopt", ">= 1.4", lambda: _spd("exp")),
        f"Poincaré distance: {ball}": ("geoopt", ">= 1.5", lambda: _ball("dist")),
        f"Möbius addition: {ball}": ("geoopt", ">= 1.5", lambda: _ball("mobius_add")),
        f"HNN++ linear: {ball}": ("hypll", ">= 1.5", _hyperbolic_linear),
    }


def _row(what: str, peer: str, target: str, make: Callable[[], Contestants], repeats: int) -> Row:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        contestants = make()
    seconds = interleaved(contestants, repeats=repeats)
    row: Row = {"what": what, "ours": median_ms(seconds["ours"]), "target": target}
    name = peer.replace("_", "-")
    if "peer" not in seconds:
        return row | {"peer": None, "note": f"{name} is not installed; run: pip install {name}"}
    return row | {
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
        "note": name,
    }


def _package(name: str) -> Any:
    """A peer's module, or None where its package is not installed."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return None
    return importlib.import_module(name)


# --- SPD matrices -------------------------------------------------------------------------------


def covariances() -> Tensor:
    """Covariances of independent normal samples (batch, size, size)."""
    samples = torch.randn(BATCH, SIZE, SAMPLES)
    return samples @ samples.mT / SAMPLES


def _networks(metric: LieMetric | None) -> Contestants:
    """BiMap, LieBN where asked for, ReEig, LogEig, linear."""
    x = covariances()
    ours = SPDNet(
        in_channels=SIZE,
        out_channels=CLASSES,
        hidden_channels=[SIZE],
        rectify_last=True,
        batch_norm=_NORMS[metric],
    )
    contestants: Contestants = {"ours": lambda: _train(lambda: ours({"x": x})["logits"])}
    peer = _package("spd_learn.modules")
    if peer is not None:
        parts = [peer.BiMap(SIZE, SIZE)]
        parts += [] if metric is None else [peer.SPDBatchNormLie(SIZE, metric=metric)]
        length = SIZE * (SIZE + 1) // 2
        parts += [peer.ReEig(1e-4), peer.LogEig(upper=True), nn.Linear(length, CLASSES)]
        theirs = nn.Sequential(*parts)
        contestants["peer"] = lambda: _train(lambda: theirs(x))
    return contestants


_NORMS: Mapping[LieMetric | None, Any] = {None: None, "AIM": "lie_aim", "LCM": "lie_lcm"}


def _norms(metric: LieMetric) -> Contestants:
    """The layer alone, in training mode, with gradients for its input."""
    x = covariances().requires_grad_()
    ours = LieBatchNorm(SIZE, metric=metric)
    contestants: Contestants = {"ours": lambda: _train(lambda: ours(x))}
    peer = _package("spd_learn.modules")
    if peer is not None:
        theirs = peer.SPDBatchNormLie(SIZE, metric=metric)
        contestants["peer"] = lambda: _train(lambda: theirs(x))
    return contestants


def _spd(name: str) -> Contestants:
    """Maps of the affine-invariant metric, without gradients."""
    x, y = covariances(), covariances()
    v = 0.3 * affine_invariant.log(x, y)
    peer = geoopt.SymmetricPositiveDefinite()
    table: dict[str, Contestants] = {
        "dist": {"ours": lambda: affine_invariant.dist(x, y), "peer": lambda: peer.dist(x, y)},
        "log": {"ours": lambda: affine_invariant.log(x, y), "peer": lambda: peer.logmap(x, y)},
        "exp": {"ours": lambda: affine_invariant.exp(x, v), "peer": lambda: peer.expmap(x, v)},
    }
    return table[name]


# --- the Poincaré ball --------------------------------------------------------------------------


def _ball(name: str) -> Contestants:
    x, y = (poincare.random((POINTS, DIMENSION)).requires_grad_() for _ in range(2))
    ours = {"dist": poincare.dist, "mobius_add": poincare.mobius_add}[name]
    theirs = getattr(geoopt.PoincareBall(c=1.0), name)
    return {
        "ours": lambda: _train(lambda: ours(x, y)),
        "peer": lambda: _train(lambda: theirs(x, y)),
    }


def _hyperbolic_linear() -> Contestants:
    """Fully connected layers of HNN++ with the same weights, results projected into the ball."""
    x = poincare.random((POINTS, DIMENSION)).requires_grad_()
    z = (torch.randn(DIMENSION, DIMENSION) / DIMENSION).requires_grad_()
    bias = (0.1 * torch.randn(DIMENSION)).requires_grad_()
    contestants: Contestants = {
        "ours": lambda: _train(lambda: poincare.fully_connected(x, z, bias))
    }
    if _package("hypll") is not None:
        linear = _package("hypll.manifolds.poincare_ball.math.linalg")
        space = _package("hypll.manifolds.poincare_ball.math.diffgeom")
        c = torch.tensor(1.0)

        def theirs() -> Tensor:
            out: Tensor = space.project(linear.poincare_fully_connected(x, z, bias, c), c)
            return out

        contestants["peer"] = lambda: _train(theirs)
    return contestants


def _train(forward: Callable[[], Tensor]) -> None:
    """Forward and backward; gradients add up in the leaves, for both contestants alike."""
    forward().square().sum().backward()
