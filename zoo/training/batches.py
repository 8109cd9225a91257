"""Which samples make the batch of each step.

The batch of step s is a function of (seed, s) alone: pass p over the data has the order that the
seed and p give, and is cut into batches by that order. A resumed run therefore only needs to know
its step, and several processes that share each batch see what one would see.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Indices = npt.NDArray[np.int64]


class EpochBatches(Sampler[list[int]]):
    """Lists of indices, one per step, from a step to the next validation.

    It has no length: with `costs` each pass may take another number of steps.

    Args:
        size: number of samples.
        batch_size: of a step, over all processes: samples, or what `costs` counts at most.
        seed: of the shuffling; None keeps the order.
        rank: this process.
        world: number of processes; each takes its share of every batch. A share may be empty,
            where a batch has fewer samples than there are processes.
        passes: over the data between validations.
        costs: of each sample (size,), at most `batch_size` each; a batch takes the next samples
            of the order until one more would exceed `batch_size`. None counts samples.
        even: whether the batches of a pass differ by one sample at most, instead of leaving the
            rest to a last, smaller one; their number is the same.

    Attributes:
        start: gives the step to begin with; asked at the start of each iteration.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int | None,
        rank: int = 0,
        world: int = 1,
        passes: int = 1,
        costs: Indices | None = None,
        even: bool = False,
    ) -> None:
        assert costs is None or (len(costs) == size and int(costs.max()) <= batch_size)
        self.size, self.batch_size, self.passes = size, batch_size, passes
        self.seed, self.rank, self.world = seed, rank, world
        self.even = even
        self.costs = None if costs is None else np.maximum(costs, 1)
        self.start: Callable[[], int] = lambda: 0
        self._firsts = [0]  # first step of each pass

    def __iter__(self) -> Iterator[list[int]]:
        run, place = self.locate(self.start())
        for current in range(run, (run // self.passes + 1) * self.passes):
            order = self._order(current)
            cuts = self._cuts(order)
            for first, last in zip(cuts[place:], cuts[place + 1 :], strict=False):
                yield self._share(order[first:last])
            place = 0

    def first_step(self, run: int) -> int:
        """The step that pass `run` begins with: the number of steps of `run` passes."""
        if self.costs is None:
            return run * -(-self.size // self.batch_size)
        while len(self._firsts) <= run:
            cuts = self._cuts(self._order(len(self._firsts) - 1))
            self._firsts.append(self._firsts[-1] + len(cuts) - 1)
        return self._firsts[run]

    def locate(self, step: int) -> tuple[int, int]:
        """The pass that a step belongs to, and its place in that pass."""
        if self.costs is None:
            return divmod(step, self.first_step(1))
        while self._firsts[-1] <= step:
            self.first_step(len(self._firsts))
        run = bisect_right(self._firsts, step) - 1
        return run, step - self._firsts[run]

    def passes_done(self, step: int) -> float:
        """Passes over the data, fractions included, after a number of steps."""
        if self.costs is None:
            return step / self.first_step(1)
        run, place = self.locate(step)
        return run + place / (self.first_step(run + 1) - self.first_step(run))

    def _order(self, run: int) -> Indices:
        if self.seed is None:
            return np.arange(self.size)
        return np.random.default_rng((self.seed, run)).permutation(self.size)

    def _cuts(self, order: Indices) -> list[int]:
        """Where the batches of one pass begin, and its end."""
        if self.even:
            count = self.first_step(1)
            return [self.size * k // count for k in range(count + 1)]
        if self.costs is None:
            return [*range(0, self.size, self.batch_size), self.size]
        ends = np.cumsum(self.costs[order])
        cuts, spent = [0], 0
        while cuts[-1] < self.size:
            cuts.append(int(np.searchsorted(ends, spent + self.batch_size, side="right")))
            spent = int(ends[cuts[-1] - 1])
        return cuts

    def _share(self, batch: Indices) -> list[int]:
        """This process's part of a batch; large and small samples are dealt out evenly."""
        if self.costs is not None and self.world > 1:
            batch = batch[np.argsort(-self.costs[batch], kind="stable")]
        return [int(i) for i in batch[self.rank :: self.world]]
