"""Whether labels are in the units that they are said to be in.

Units are judged by evidence alone: the labels regressed on the untouched model's predictions. A
model whose forces agree with the labels up to a factor of 23.06 has told the unit of the labels.
Where predictions and labels do not agree up to a factor, nothing is said. Positions are judged by
the distances of nearest atoms.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii

from zoo.datasets import AtomsDataset
from zoo.datasets._units import ENERGY, LENGTH, Units, parse
from zoo.errors import DataError
from zoo.training.metrics import Evaluation, remove_offsets

Array = npt.NDArray[np.float64]

#: a factor is believed where labels and predictions correlate at least so well
CORRELATION = 0.9
#: and where it lies this near (relatively) to that of a unit
NEAR = 0.15
#: atoms whose nearest neighbours tell the unit of length, at least
ATOMS = 10
_LEAVE = "(any_units=True, --any-units, if they are right as they are)"


@dataclass(frozen=True)
class Slope:
    """Labels as a multiple of predictions.

    Attributes:
        value: the ratio of their root mean squares.
        correlation: how well one is a multiple of the other; 1 is perfectly.
    """

    value: float
    correlation: float

    @property
    def trusted(self) -> bool:
        """Whether the factor means anything."""
        return self.correlation > CORRELATION and math.isfinite(self.value) and self.value > 0


@dataclass(frozen=True)
class Guess:
    """Units in which labels seem to be.

    Attributes:
        energy: unit of energy.
        length: unit of length.
        labels: the labels that are in them.
        whole: whether these are all labels that tell.
    """

    energy: str
    length: str
    labels: tuple[str, ...]
    whole: bool

    def words(self) -> str:
        """What seems to be the case."""
        unit = {"energy": self.energy, "forces": f"{self.energy} per {self.length}"}
        return " and ".join(f"{name} labels look like {unit[name]}" for name in self.labels)

    def mend(self, stated: Units) -> str:
        """What to do about it."""
        line = f'units={{"energy": "{self.energy}", "length": "{self.length}"}}'
        if not self.whole:
            return f"The other labels are as stated: convert the {self.labels[0]} in the file"
        if LENGTH[self.length] != stated.length:
            return (
                f"If the positions are in {self.length} too, open the file with {line}; else "
                "convert the forces in the file"
            )
        return f"Open the file with {line} (--unit energy={self.energy})"


def slope(predicted: Array, labelled: Array) -> Slope:
    """The factor between predictions and labels through the origin, and how well it fits."""
    a, b, c = predicted @ predicted, predicted @ labelled, labelled @ labelled
    if len(predicted) < 3 or a <= 0 or c <= 0:
        return Slope(math.nan, 0.0)
    return Slope(math.sqrt(c / a), float(b / math.sqrt(a * c)))


def check_units(score: Evaluation, data: AtomsDataset) -> dict[str, float]:
    """Refuses labels or positions that are, by the model's evidence, in other units than stated.

    Args:
        score: of the untouched model on training frames.
        data: the frames; `metadata["units"]` are those they were opened with.

    Returns:
        The evidence: `forces_slope`, `energy_slope` and their correlations, where they exist.

    Raises:
        DataError: naming the likely units and the line that says so.
    """
    units = data.metadata.get("units")
    stated = parse(units) if isinstance(units, Mapping) else Units()
    _check_lengths(data, stated)
    evidence: dict[str, Slope] = {}
    if len(score.forces[0]):
        evidence["forces"] = slope(*score.forces)
    if len(score.energy[0]):
        predicted, labelled = (remove_offsets(score.numbers, part) for part in score.energy)
        # what float64 leaves of energies of thousands of eV is no signal
        if np.abs(predicted).max() > 1e-6 and np.abs(labelled).max() > 1e-6:
            evidence["energy"] = slope(predicted, labelled)
    trusted = {name: found.value for name, found in evidence.items() if found.trusted}
    guess = guess_units(trusted, stated)
    if guess is not None:
        shown = " and ".join(f"{name} {value:.4g}" for name, value in sorted(trusted.items()))
        raise DataError(
            f"{data.source}: {guess.words()}: read as they are said to be, they are proportional "
            f"to what the weights predict, by a factor of {shown}. {guess.mend(stated)} {_LEAVE}"
        )
    return {
        f"{name}_{key}": value
        for name, found in evidence.items()
        for key, value in (("slope", found.value), ("correlation", found.correlation))
        if math.isfinite(value)
    }


def guess_units(slopes: Mapping[str, float], stated: Units | None = None) -> Guess | None:
    """The units in which labels would be, if their factors are explained by other units.

    Args:
        slopes: trusted factors of "energy" and "forces".
        stated: the units that they were read in; eV and Å if None.

    Returns:
        None where the stated units explain the factors, or nothing does.
    """
    said = stated or Units()
    odd = {name: value for name, value in slopes.items() if not _near(value, 1.0)}
    if not odd:
        return None
    for names in (slopes, odd):  # all labels in one system of units, or some of them alone
        off = {}
        for energy, length in itertools.product(ENERGY, ("angstrom", "bohr")):
            factor, per = said.energy / ENERGY[energy], LENGTH[length] / said.length
            expected = {"energy": factor, "forces": factor * per}
            # 0.53 or 1.89 for the forces alone is as well a model that is not good enough
            if not _near(factor, 1.0) or (not _near(per, 1.0) and "energy" in names):
                deviations = [abs(math.log(v / expected[k])) for k, v in names.items()]
                off[energy, length] = max(deviations)
        best = min(off, key=lambda pair: off[pair])
        if off[best] < math.log(1.0 + NEAR):
            return Guess(*best, tuple(names), whole=len(names) == len(slopes))
    return None


def _near(value: float, wanted: float) -> bool:
    return value > 0 and abs(math.log(value / wanted)) < math.log(1.0 + NEAR)


def _check_lengths(data: AtomsDataset, stated: Units, frames: int = 20) -> None:
    """Compares the distance of nearest atoms with the sum of their covalent radii."""
    ratios: list[float] = []
    for index in np.unique(np.linspace(0, len(data) - 1, min(frames, len(data))).astype(int)):
        sample = data[int(index)]
        pos, radii = sample.pos.numpy(), covalent_radii[sample.atomic_numbers.numpy()]
        if len(pos) < 2 or bool(sample.pbc.any()):
            continue
        gaps = np.linalg.norm(pos[:, None] - pos[None], axis=-1) / (radii[:, None] + radii[None])
        np.fill_diagonal(gaps, np.inf)
        ratios += gaps.min(axis=1).tolist()
    if len(ratios) < ATOMS:
        return
    middle = float(np.median(ratios))
    for unit, factor in LENGTH.items():
        seen = stated.length / factor  # what a distance of 1 Å reads if this is the unit
        if not _near(seen, 1.0) and 0.8 < middle / seen < 1.2:
            raise DataError(
                f"{data.source}: the positions look like {unit}: nearest atoms are {middle:.3g} "
                "times the sum of their covalent radii apart. Open the file with "
                f'units={{"length": "{unit}"}} (--unit length={unit}) {_LEAVE}'
            )
