"""How near a structure lies to those that a model was trained on.

Three measures of each atom, each zero or about one for what training saw:

    features      distance of the model's invariant features from the Gaussian of its element,
                  |L^-1 (x - mean)| / sqrt(d), the Mahalanobis distance
    distances     the largest gap (Å) of its interatomic distances from those seen
    surroundings  how many neighbours it has too many or too few for any surroundings seen

A Gaussian per class as a measure of how unfamiliar features are is due to Lee et al.
(arXiv:1807.03888); here classes are elements, each with a covariance of its own where training
held enough of its atoms, else with one shared by all elements, as there.

Each measure is divided by its limit. The score of an atom is the largest of the three, that of a
structure the largest over its atoms, and the limits are such that a stated share of structures
kept out of training scores below 1. A larger structure has more atoms that can stand out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from zoo.errors import CapabilityError, StateMismatchError
from zoo.functional.gaussian import group_maximum, mahalanobis, unpack_lower
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.layers.atomistic._reference import ELEMENTS
from zoo.models._trust_support import DistanceTable, Gaps, Surroundings, coordination

MEASURES = ("features", "distances", "surroundings")
#: the score of an atom of an element that was never seen
UNSEEN = 1000.0
FORMAT = 1


@dataclass(frozen=True)
class Verdict:
    """What is known of one structure.

    Attributes:
        score: at most 1 inside the training domain.
        inside: whether it is, and holds no element that training lacked.
        reason: one sentence that names the atoms, pairs or elements that decided.
        atoms: the score of each atom (n,).
        measures: the structure's score by each measure alone.
    """

    score: float
    inside: bool
    reason: str
    atoms: np.ndarray
    measures: Mapping[str, float]


class AtomScores(NamedTuple):
    """The measures of the atoms of a batch, and what explains them; float64 on the CPU."""

    raw: Float[Tensor, "3 atoms"]
    numbers: Tensor
    batch: Tensor
    gaps: Gaps
    neighbours: Float[Tensor, "atoms columns"]
    nearest: Tensor


class Trust:
    """The training domain of one set of weights.

    Args:
        tensors: as `state` gives them.

    Raises:
        StateMismatchError: for tensors that do not belong together.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        try:
            self._unpack()
        except (KeyError, IndexError, RuntimeError) as problem:
            raise StateMismatchError(
                f"the tensors of the trust file do not fit together ({problem}); fit it again "
                "with: zoo trust fit"
            ) from problem

    def _unpack(self) -> None:
        get = self._tensors.__getitem__
        if int(get("format")) != FORMAT:
            raise KeyError(f"format {int(get('format'))}, this release reads {FORMAT}")
        self.cutoff = float(get("cutoff"))
        self.elements = get("elements")
        self.counts = get("counts")
        self.limits = get("limits")
        self.quantile = float(get("quantile"))
        self.frames, self.calibration = (int(n) for n in get("frames"))
        self._place = torch.full((ELEMENTS,), -1)
        self._place[self.elements] = torch.arange(len(self.elements))
        self._mean = get("mean")
        self._factor = unpack_lower(get("factor"))[get("factor_of")]
        if len(self._mean) != len(self.elements) or self._factor.shape[1] != self._mean.shape[1]:
            raise KeyError("mean and factor")
        self._distances = DistanceTable(get("pair_keys"), get("pair_counts"), self.cutoff)
        self._surroundings = Surroundings(self.elements, get("surroundings"))

    @property
    def state(self) -> dict[str, Tensor]:
        """Everything, as tensors by name; `Trust(state)` is the same again."""
        return dict(self._tensors)

    @property
    def features(self) -> int:
        """Number of features per atom."""
        return self._mean.shape[1]

    def measure(self, graph: AtomGraph, x: AtomFeatures) -> AtomScores:
        """The three measures of each atom.

        Args:
            graph: the batch.
            x: the model's features of it.

        Raises:
            StateMismatchError: if the features are not of the model that this was fitted to.
        """
        scalars = x.scalars.detach().cpu().double()
        if scalars.shape[1] != self.features:
            raise StateMismatchError(
                f"the model has {scalars.shape[1]} features per atom, its trust data "
                f"{self.features}; fit them again with: zoo trust fit"
            )
        numbers = graph.atomic_numbers.cpu()
        place = self._place[numbers]
        far = torch.zeros(len(numbers), dtype=torch.float64)
        for k in place[place >= 0].unique().tolist():
            here = place == k
            far[here] = mahalanobis(scalars[here], self._mean[k], self._factor[k])
        gaps = self._distances.gaps(graph)
        neighbours = self._surroundings.columns(coordination(graph, self.cutoff))
        excess, nearest = self._surroundings.excess(numbers, neighbours)
        raw = torch.stack([far, gaps.gap, excess])
        return AtomScores(raw, numbers, graph.batch.cpu(), gaps, neighbours, nearest)

    def scores(self, found: AtomScores) -> tuple[Tensor, Tensor]:
        """Measures over their limits (3, atoms), and their largest (atoms,)."""
        parts = found.raw / self.limits[:, None]
        total = parts.amax(0)
        return parts, torch.where(self._place[found.numbers] < 0, UNSEEN, total)

    def judge(self, found: AtomScores, graphs: int) -> list[Verdict]:
        """One verdict per structure."""
        parts, total = self.scores(found)
        top = torch.stack([group_maximum(p, found.batch, graphs) for p in (*parts, total)], dim=1)
        starts = torch.bincount(found.batch, minlength=graphs).cumsum(0)
        verdicts = []
        for graph, (stop, best) in enumerate(zip(starts.tolist(), top.tolist(), strict=True)):
            start = starts[graph - 1].item() if graph else 0
            rows = slice(int(start), stop)
            verdicts.append(
                Verdict(
                    score=best[3],
                    inside=best[3] <= 1.0,
                    reason=self._reason(found, parts, total, rows),
                    atoms=total[rows].numpy().copy(),
                    measures=dict(zip(MEASURES, best[:3], strict=True)),
                )
            )
        return verdicts

    # --- words -----------------------------------------------------------------------------

    def _reason(self, found: AtomScores, parts: Tensor, total: Tensor, rows: slice) -> str:
        count = rows.stop - rows.start
        outside = (total[rows] > 1.0).nonzero()[:, 0] + rows.start
        if not len(outside):
            return f"all {count} atoms lie within the training domain"
        unseen = [int(a) for a in outside if self._place[found.numbers[a]] < 0]
        if unseen:
            words = _named(found, unseen, rows.start)
            return f"elements never seen in training: {words}"
        worst = int(total[rows].argmax()) + rows.start
        measure = int(parts[:, worst].argmax())
        explain = (self._far, self._gap, self._excess)[measure]
        others = f"; {len(outside)} of {count} atoms lie outside" if len(outside) > 1 else ""
        return explain(found, worst, rows.start, float(total[worst])) + others

    def _far(self, found: AtomScores, atom: int, start: int, ratio: float) -> str:
        return (
            f"the surroundings of {_named(found, [atom], start)} are unlike those in training: its "
            f"features lie at {ratio:.2g} times the limit"
        )

    def _gap(self, found: AtomScores, atom: int, start: int, ratio: float) -> str:
        other = int(found.gaps.partner[atom])
        distance, nearest = float(found.gaps.distance[atom]), float(found.gaps.nearest[atom])
        pair = "-".join(sorted(chemical_symbols[int(found.numbers[a])] for a in (atom, other)))
        seen = f"the nearest seen in training is {nearest:.2f} Å"
        if not np.isfinite(nearest):
            seen = f"training had no such pair within {self.cutoff:g} Å"
        which = _named(found, [atom, other], start)
        return f"{pair} distance of {distance:.2f} Å between {which}; {seen}"

    def _excess(self, found: AtomScores, atom: int, start: int, ratio: float) -> str:
        symbols = [*(chemical_symbols[int(z)] for z in self.elements), "other elements"]
        nearest = self._surroundings.numbers[found.nearest[atom]]
        have = _neighbours(symbols, found.neighbours[atom], "{:.1f}")
        known = _neighbours(symbols, nearest, "{:.0f}")
        return (
            f"{_named(found, [atom], start)} has {have} as neighbours; the nearest such atom in "
            f"training had {known}"
        )


def trust_of(model: Any) -> Trust:
    """The training domain of a model.

    Raises:
        CapabilityError: if it has none; says how to make one.
    """
    trust = getattr(model, "trust", None)
    if not isinstance(trust, Trust):
        name = getattr(model, "checkpoint_name", None) or type(model).__name__
        raise CapabilityError(
            f"{name} stores no training domain, so it can't say what to trust; make one from the "
            "data that it was trained on: zoo trust fit CHECKPOINT DATA "
            "(zoo.apps.trust.attach in Python)"
        )
    return trust


def _named(found: AtomScores, atoms: list[int], start: int) -> str:
    words = [f"{chemical_symbols[int(found.numbers[a])]} (atom {a - start})" for a in atoms[:5]]
    return (
        ", ".join(words[:-1])
        + (" and " if len(words) > 1 else "")
        + words[-1]
        + (f" and {len(atoms) - 5} more" if len(atoms) > 5 else "")
    )


def _neighbours(symbols: list[str], numbers: Tensor, form: str) -> str:
    pairs = zip(symbols, numbers.tolist(), strict=True)
    return " ".join(f"{form.format(n)} {s}" for s, n in pairs if n >= 0.05) or "nothing"
