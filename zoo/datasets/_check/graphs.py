"""Edges: of nodes that exist, in one direction or both, to themselves, twice, and none at all."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.report import Finding, finding
from zoo.datasets._check.values import Sample


class Graphs:
    """The edges of every graph."""

    def __init__(self) -> None:
        self._outside: list[int] = []
        self._isolated: dict[int, int] = {}
        self._loops: dict[int, int] = {}
        self._repeated: dict[int, int] = {}
        self._directed: list[int] = []
        self._edgeless: list[int] = []
        self._nodes = self._edges = self._graphs = 0
        self._same = self._compared = 0

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one graph."""
        edges = sample["edge_index"]
        count = len(sample["x"])
        self._graphs += 1
        self._nodes += count
        self._edges += edges.shape[1]
        if not edges.size:
            self._edgeless.append(index)
            return
        if edges.min() < 0 or edges.max() >= count:
            self._outside.append(index)
            return
        degree = np.bincount(edges.ravel(), minlength=count)
        loops = edges[0] == edges[1]
        self._note(self._isolated, index, int((degree == 0).sum()))
        self._note(self._loops, index, int(loops.sum()))
        codes = np.unique(edges[0].astype(np.int64) * count + edges[1])
        self._note(self._repeated, index, edges.shape[1] - len(codes))
        back = np.unique(edges[1].astype(np.int64) * count + edges[0])
        if not np.array_equal(codes, back):
            self._directed.append(index)
        label = sample.get("y")
        if label is not None and label.dtype.kind in "iu" and label.shape == (count,):
            ends = label[edges[:, ~loops]]
            self._same += int((ends[0] == ends[1]).sum())
            self._compared += ends.shape[1]

    @staticmethod
    def _note(found: dict[int, int], index: int, count: int) -> None:
        if count:
            found[index] = count

    def findings(self) -> Iterator[Finding]:
        """What is odd about the edges."""
        if self._outside:
            yield finding(
                "error",
                "edges",
                "edges name nodes that aren't there",
                frames=self._outside,
                mend="number nodes from 0 in each graph",
            )
        notes = (
            (self._isolated, "info", "nodes without edges", "a model sees only their features"),
            (
                self._loops,
                "info",
                "edges from a node to itself",
                "some architectures add their own; leave them out if both would count",
            ),
            (self._repeated, "warning", "edges that are there twice", "write each edge once"),
        )
        for found, severity, what, mend in notes:
            if found:
                yield finding(
                    "warning" if severity == "warning" else "info",
                    "edges",
                    f"{sum(found.values())} {what} in {len(found)} of {self._graphs} graphs",
                    frames=list(found),
                    mend=mend,
                )
        if self._directed:
            yield finding(
                "info",
                "edges",
                f"{len(self._directed)} of {self._graphs} graphs are directed: not every edge has "
                "its reverse",
                frames=self._directed,
                mend="where direction means nothing, write both",
            )
        if self._edgeless:
            text = f"{len(self._edgeless)} graphs have no edges"
            yield finding("warning", "edges", text, frames=self._edgeless)

    def summary(self) -> dict[str, Any]:
        """Counts, and how often an edge joins nodes of one class."""
        found: dict[str, Any] = {"nodes": self._nodes, "edges": self._edges}
        if self._compared:
            found["edges within a class"] = self._same / self._compared
        return found
