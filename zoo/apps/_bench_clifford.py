"""`zoo bench clifford`: products with weights and a network against their einsum formulation.

The peers are written here from their formulas: the weights of the paths are spread over the dense
table of the algebra, and one einsum multiplies three factors. Of fully connected products the
result hangs on the order in which einsum takes them: left to right, as torch does on its own, or
the one that opt_einsum finds, where that is installed. Forward and backward, float32; contestants
take turns in one run, and `ratio` is the median over rounds of the peer's time over ours. Run it
with OMP_NUM_THREADS=1 for what the targets are about, one thread. Where there is a C compiler our
products, norms and gates are compiled code, in `compiled_products` and out of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.apps._bench_clifford_dense import dense_table, spread
from zoo.apps._bench_clifford_network import contestants as networks
from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra

Row = dict[str, Any]
Order = Literal["left to right", "opt_einsum"]

BATCH, CHANNELS = 1024, 32
#: samples of a step of the network
SAMPLES = 100


@dataclass(frozen=True)
class Job:
    """One row.

    Attributes:
        signature: of the algebra; None for the network.
        target: of the ratio.
        compiled: whether our side runs in `compiled_products`; outside, it decides by size.
        order: of the peer's factors in a fully connected product; None for others.
    """

    signature: tuple[int, int, int] | None
    target: str
    compiled: bool = False
    order: Order | None = None


JOBS = (
    Job((3, 0, 0), ">= 3"),
    Job((1, 3, 0), ">= 10"),
    Job((5, 0, 0), ">= 20"),
    Job((3, 0, 0), ">= 50", order="left to right"),
    Job((3, 0, 0), "", order="opt_einsum"),
    Job(None, ">= 8"),
)
COMPILED = (
    Job((3, 0, 0), ">= 10", compiled=True),
    Job((1, 3, 0), ">= 40", compiled=True),
    Job((5, 0, 0), ">= 60", compiled=True),
    Job(None, ">= 8", compiled=True),
)


def measure(
    *,
    repeats: int = 10,
    compiled: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        compiled: adds the rows whose targets are those of compiled products.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `ours`, `peer` (ms), `ratio`, `target`; the last one is the machine.
    """
    jobs = [job for job in JOBS if job.order != "opt_einsum" or _has_opt_einsum()]
    jobs += COMPILED if compiled and clifford.has_compiler() else ()
    rows: list[Row] = []
    for job in jobs:
        if progress is not None:
            progress(len(rows), len(jobs))
        rows.append(_row(job, repeats))
    return [*rows, {"what": "machine", **machine()}]


def _row(job: Job, repeats: int) -> Row:
    if job.signature is None:
        what = f"CGENN's N-body network, a training step of {SAMPLES} samples"
        ours, peer = _steps()
    else:
        of = algebra(*job.signature)
        connected = job.order is not None
        kind = f"connected product, {CHANNELS} -> {CHANNELS}" if connected else "weighted product"
        what = f"{kind}, Cl{of.signature}: {BATCH} x {CHANNELS}, forward + backward"
        functions = contestants(of, connected=connected)
        ours, peer = (_trained(function) for function in functions)
    what += f"; einsum by {job.order}" if job.order else ""
    what += "; compiled" if job.compiled else ""
    seconds = interleaved(
        {"ours": _in(ours, job), "peer": _in(peer, job)}, repeats=repeats, warmup=2
    )
    return {
        "what": f"{what} (ms)",
        "ours": median_ms(seconds["ours"]),
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
        "target": job.target,
    }


def _in(function: Callable[[], None], job: Job) -> Callable[[], None]:
    """A function called under the job's settings, whose peers don't see `compiled`."""

    def call() -> None:
        inside = clifford.compiled_products() if job.compiled else nullcontext()
        with _ordered(job.order), inside:
            function()

    return call


@contextmanager
def _ordered(order: Order | None) -> Iterator[None]:
    if order is None or not _has_opt_einsum():
        yield
        return
    with torch.backends.opt_einsum.flags(enabled=order == "opt_einsum"):
        yield


def _has_opt_einsum() -> bool:
    return bool(torch.backends.opt_einsum.is_available())


def _steps() -> tuple[Callable[[], None], Callable[[], None]]:
    """A step of training of our network, and of the same by einsum."""
    model, peer, batch = networks(samples=SAMPLES)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.0)  # weights stay as they are for both

    def step(predict: Callable[[], Tensor]) -> None:
        optimizer.zero_grad()
        (predict() - batch.y).square().mean().backward()
        optimizer.step()

    return lambda: step(lambda: model.forward(batch)["prediction"]), lambda: step(
        lambda: peer(batch)
    )


def contestants(
    of: Algebra, *, connected: bool, batch: int = BATCH, channels: int = CHANNELS
) -> tuple[Callable[[], tuple[Tensor, list[Tensor]]], Callable[[], tuple[Tensor, list[Tensor]]]]:
    """Our product and the einsum with their leaves; both as the public layout has them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, y = (torch.randn(batch, channels, of.blades).requires_grad_() for _ in range(2))
        shape = (channels,) * (1 + connected)
        weight = torch.randn(*shape, len(of.paths)).requires_grad_()
    table = dense_table(of)
    formula = "bni,mnijk,bnk->bmj" if connected else "bni,nijk,bnk->bnj"
    product = clifford.connected_product if connected else clifford.weighted_product
    leaves = [x, y, weight]

    def ours() -> tuple[Tensor, list[Tensor]]:
        return product(x, y, weight, of), leaves

    def peer() -> tuple[Tensor, list[Tensor]]:
        return torch.einsum(formula, x, spread(weight, of) * table, y), leaves

    return ours, peer


def _trained(function: Callable[[], tuple[Tensor, list[Tensor]]]) -> Callable[[], None]:
    """Forward and backward, to the gradients of all leaves."""

    def train() -> None:
        out, leaves = function()
        torch.autograd.grad(out.square().sum(), leaves)

    return train
