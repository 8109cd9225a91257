"""`zoo bench sheaf`: a layer of sheaf diffusion against assembling the sparse Laplacian.

A layer learns the restriction maps (orthogonal, by reflections, with weights of edges) from the
features and takes a step of diffusion. The peer is written here from the same formula: maps of
every directed edge from the concatenated features, the blocks of the Laplacian, its entries as one
sparse matrix of torch, times the features. What depends on the graph alone, the indices in their
order, is worked out before, on both sides. Two peers: `torch.sparse.mm` with torch's own
derivative; and compressed rows with a derivative by hand, the best that could be made of it.

Forward and backward, float32; contestants take turns in one run, and `ratio` is the median over
rounds of the peer's time over ours. Run it with OMP_NUM_THREADS=1 for what the targets are about,
one thread.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import elu

import zoo
from zoo.apps._memory import peak_memory, reset_peak
from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.errors import ZooError
from zoo.functional import sheaf
from zoo.layers.sheaf import SheafDiffusion, SheafLearner

Row = dict[str, Any]

#: as many as Chameleon has
NODES, PAIRS = 2277, 31_300
STALK, CHANNELS = 3, 20
PEERS = {"coo": "torch.sparse", "csr": "compressed rows, derivative by hand"}
#: of time and of memory; what is written by hand is there to be known, not to be beaten
TARGETS = {"coo": ">= 4", "csr": ""}


def measure(*, repeats: int = 10, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`; the last one is the machine.
    """
    jobs: list[Callable[[], Row]] = []
    jobs += [lambda peer=peer: _time(peer, repeats) for peer in PEERS]  # type: ignore[misc]
    jobs += [lambda peer=peer: _memory(peer) for peer in PEERS]  # type: ignore[misc]
    jobs += [lambda: _new_graph(repeats)]
    rows: list[Row] = []
    for job in jobs:
        if progress is not None:
            progress(len(rows), len(jobs))
        rows.append(job())
    return [*rows, {"what": "machine", **machine()}]


def _time(peer: str, repeats: int) -> Row:
    sides = contestants(NODES, PAIRS)
    found = interleaved(
        {"ours": lambda: _train(sides["ours"]), "peer": lambda: _train(sides[peer])},
        repeats=repeats,
    )
    return {
        "what": f"sheaf diffusion, {2 * PAIRS} directed edges, d = {STALK}, {CHANNELS} channels, "
        f"against {PEERS[peer]}: forward + backward (ms)",
        "ours": median_ms(found["ours"]),
        "peer": median_ms(found["peer"]),
        "ratio": median_ratio(found["peer"], found["ours"]),
        "target": TARGETS[peer],
    }


def _memory(peer: str) -> Row:
    row: Row = {"what": f"the same, against {PEERS[peer]}: peak memory (MB)"}
    for name, side in (("ours", "ours"), ("peer", peer)):
        code = (
            "from zoo.apps import _bench_sheaf as bench; import json, sys; "
            f"sys.stdout.write(json.dumps(bench.peak({side!r})))"
        )
        row[name] = json.loads(_child(code))
    return row | {"ratio": row["peer"] / row["ours"], "target": TARGETS[peer]}


def peak(side: str) -> float:
    """MB above the memory before that a forward and backward pass takes."""
    function = contestants(NODES, PAIRS)[side]
    before = reset_peak()
    _train(function)
    return peak_memory() - before


def _child(code: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise ZooError(f"a measurement in a process of its own failed: {done.stderr[-500:]}")
    return done.stdout


def _new_graph(repeats: int) -> Row:
    """The time until a model has taken in a graph that it has not seen."""
    rng = np.random.default_rng(0)
    graphs = [torch.from_numpy(_pairs(rng, NODES, PAIRS)) for _ in range(repeats + 2)]
    both = iter([torch.cat([pairs, pairs.flip(0)], dim=1) for pairs in graphs])
    options = {"in_channels": CHANNELS, "hidden_channels": CHANNELS, "stalk_dim": STALK}

    def take_in() -> None:
        model: Any = zoo.create("nsd", **options)
        model.pattern(next(both), NODES)

    found = interleaved({"ours": take_in}, repeats=repeats)
    return {
        "what": f"a model of two layers for a new graph, {2 * PAIRS} directed edges (ms)",
        "ours": median_ms(found["ours"]),
        "target": "milliseconds",
    }


def _train(forward: Callable[[], Tensor]) -> None:
    """Forward and backward; gradients add up in the leaves, for all contestants alike."""
    forward().square().sum().backward()


# --- the contestants ---------------------------------------------------------------------------


def contestants(
    nodes: int, pairs: int, d: int = STALK, channels: int = CHANNELS
) -> dict[str, Callable[[], Tensor]]:
    """The layer and its peers, by name, of the same leaves."""
    ends = torch.from_numpy(_pairs(np.random.default_rng(0), nodes, pairs))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner, step = SheafLearner(d, d, channels), SheafDiffusion(d, channels)
        x = torch.randn(nodes, d, channels).requires_grad_()
    pattern = sheaf.Pattern(ends, nodes)
    peer = _Peer(learner, step, ends, nodes)

    def ours() -> Tensor:
        out: Tensor = step((learner(x, ends),), x, pattern)
        return out

    return {"ours": ours, "coo": lambda: peer.coo(x), "csr": lambda: peer.csr(x)}


def _pairs(rng: np.random.Generator, nodes: int, count: int) -> np.ndarray:
    """Different pairs (2, count) of a random graph, in ascending order."""
    codes = rng.integers(0, nodes, (2, 2 * count))
    low, high = codes.min(axis=0), codes.max(axis=0)
    found = np.unique((low * nodes + high)[low < high])
    chosen = np.sort(rng.permutation(found)[:count])
    return np.stack([chosen // nodes, chosen % nodes])


class _Peer:
    """The same layer by one sparse matrix of (nodes d, nodes d)."""

    def __init__(
        self, learner: SheafLearner, step: SheafDiffusion, pairs: Tensor, nodes: int
    ) -> None:
        assert learner.linear is not None and learner.weights is not None
        assert isinstance(step.left, nn.Linear) and isinstance(step.right, nn.Linear)
        self.maps, self.scores = learner.linear.weight, learner.weights.linear.weight
        self.left, self.right, self.epsilon = step.left.weight, step.right.weight, step.epsilon
        self.d, self.size = learner.stalk_dim, nodes * learner.stalk_dim
        self.row, self.col = torch.cat([pairs, pairs.flip(0)], dim=1)
        every, inner = torch.arange(nodes), torch.arange(self.d)
        rows, columns = torch.cat([every, self.row]), torch.cat([every, self.col])
        i = (rows[:, None, None] * self.d + inner[:, None]).expand(-1, self.d, self.d).flatten()
        j = (columns[:, None, None] * self.d + inner).expand(-1, self.d, self.d).flatten()
        self.order = torch.argsort(i * self.size + j)
        self.index = torch.stack([i[self.order], j[self.order]])
        counts = torch.bincount(i, minlength=self.size).cumsum(0)
        self.starts = torch.cat([counts.new_zeros(1), counts]).int()
        self.columns = self.index[1].int()

    def coo(self, x: Tensor) -> Tensor:
        """By `torch.sparse.mm` and torch's derivative of it."""
        matrix = torch.sparse_coo_tensor(
            self.index,
            self._entries(x),
            (self.size, self.size),
            is_coalesced=True,
            check_invariants=False,
        )
        return self._step(x, lambda z: torch.sparse.mm(matrix, z))

    def csr(self, x: Tensor) -> Tensor:
        """By compressed rows."""
        entries = self._entries(x)
        return self._step(
            x, lambda z: _Rows.apply(entries, z, self.starts, self.columns, self.size)
        )

    def _entries(self, x: Tensor) -> Tensor:
        """Entries of the normalised Laplacian in the order of the index."""
        flat, count = x.flatten(1), len(self.row) // 2
        both = torch.cat([flat[self.row], flat[self.col]], dim=1)
        q = sheaf.householder(torch.tanh(both @ self.maps.T), self.d)
        score = torch.sigmoid(both @ self.scores.T)[:, 0]
        square = (score[:count] * score[count:]).square()
        degree = x.new_zeros(len(x)).index_add(0, self.row, square.repeat(2))
        root = (degree + 1.0).rsqrt()
        scale = square * root[self.row[:count]] * root[self.col[:count]]
        off = -(q[:count].mT @ q[count:]) * scale[:, None, None]
        own = torch.diag_embed((degree / (degree + 1.0))[:, None].expand(-1, self.d))
        return torch.cat([own, off, off.mT]).flatten()[self.order]

    def _step(self, x: Tensor, multiply: Callable[[Tensor], Tensor]) -> Tensor:
        mixed = ((self.left @ x) @ self.right.T).flatten(0, 1)
        return (1.0 + torch.tanh(self.epsilon)) * x - elu(multiply(mixed)).view_as(x)


class _Rows(torch.autograd.Function):
    """A symmetric sparse matrix in compressed rows times features."""

    @staticmethod
    def forward(
        ctx: Any, entries: Tensor, x: Tensor, starts: Tensor, columns: Tensor, size: int
    ) -> Tensor:
        ctx.save_for_backward(entries, x, starts, columns)
        matrix = torch.sparse_csr_tensor(
            starts, columns, entries, (size, size), check_invariants=False
        )
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        entries, x, starts, columns = ctx.saved_tensors
        matrix = torch.sparse_csr_tensor(
            starts, columns, entries, (len(x), len(x)), check_invariants=False
        )
        grad = grads[0].contiguous()
        sampled = torch.sparse.sampled_addmm(matrix, grad, x.T, beta=0.0).values()
        return sampled, matrix @ grad, None, None, None
