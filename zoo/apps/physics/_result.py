"""What a physical evaluation found: numbers of model and reference, errors, lines of a manifest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from zoo.errors import ZooError

SCHEMA_VERSION = 1


class MeasurementError(ZooError, ArithmeticError):
    """A property that could not be measured, such as a minimum that no relaxation reached."""


class Property(NamedTuple):
    """One property: unit, what it is, whether errors in per cent of it make sense, and the worst.

    `worst` is what a summary shows beside the mean where the reference has no number.
    """

    unit: str
    what: str
    percent: bool = False
    worst: Literal["min", "max"] = "max"


PROPERTIES: dict[str, Property] = {
    "frequency": Property("cm^-1", "harmonic frequencies, each at its own minimum"),
    "imaginary_modes": Property("", "imaginary frequencies at the minimum"),
    "geometry_rmsd": Property("Å", "distance of the model's minimum from the reference's"),
    "nve_drift": Property("meV/atom/ps", "slope of the total energy at constant energy"),
    "nve_fluctuation": Property("meV/atom", "standard deviation of the total energy about it"),
    "stable_time": Property("ps", "dynamics until a bond breaks or atoms collapse", worst="min"),
    "own_frames_forces_mae": Property("meV/Å", "force error on frames of the model's dynamics"),
    "own_frames_mean_force": Property("meV/Å", "mean force component of the same frames"),
    "lattice_constant": Property("Å", "of the fcc crystal", percent=True),
    "bulk_modulus": Property("GPa", "from the equation of state", percent=True),
    "c11": Property("GPa", "elastic constant", percent=True),
    "c12": Property("GPa", "elastic constant", percent=True),
    "c44": Property("GPa", "elastic constant", percent=True),
    "vacancy_formation": Property("eV", "energy of a relaxed vacancy", percent=True),
    "surface_111": Property("J/m^2", "energy of the relaxed surface", percent=True),
    "surface_100": Property("J/m^2", "energy of the relaxed surface", percent=True),
    "surface_110": Property("J/m^2", "energy of the relaxed surface", percent=True),
    "alloy_lattice_constant": Property("Å", "cube root of the volume of four atoms", percent=True),
    "alloy_formation": Property("eV/atom", "energy of an ordered alloy from its metals"),
    "alloy_c_over_a": Property("", "axial ratio of an L1_0 alloy", percent=True),
    "point_energy": Property("meV/atom", "energy at a given geometry"),
    "point_forces_mae": Property("meV/Å", "force error at the same geometry"),
    "interaction_energy": Property("meV", "energy of a dimer less its two molecules"),
    "conformer_energy": Property("meV", "energy of a conformer above the lowest"),
    "conformer_rank": Property("", "correlation of the conformers' ranks (Spearman)", worst="min"),
    "torsion_energy": Property("meV", "energy along a scan, above its minimum"),
    "torsion_barrier": Property("meV", "highest point of a scan above its minimum"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of the model beside the reference's, in the unit of the property.

    `item` tells several numbers of one property and system apart, such as modes; `reference` is
    None where the number is no property of the reference.
    """

    quantity: str
    system: str
    model: float
    reference: float | None = None
    item: str = ""

    @property
    def unit(self) -> str:
        """The unit of `model` and `reference`."""
        return PROPERTIES[self.quantity].unit

    @property
    def error(self) -> float | None:
        """Model minus reference."""
        return None if self.reference is None else self.model - self.reference

    @property
    def percent(self) -> float | None:
        """The error in per cent of the reference, where that makes sense."""
        if self.error is None or not self.reference or not PROPERTIES[self.quantity].percent:
            return None
        return 100.0 * self.error / abs(self.reference)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What could not be measured, and why."""

    group: str
    system: str
    reason: str


@dataclass
class Measured:
    """The outcome of one piece of work: rows, curves for plots, and what failed."""

    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Measured":
        """The inverse of `to_dict`."""
        return Measured(
            rows=[Row(**row) for row in values["rows"]],
            curves=dict(values["curves"]),
            failures=[Failure(**failure) for failure in values["failures"]],
        )


@dataclass(frozen=True, kw_only=True)
class PhysicsReport:
    """The results of a suite.

    Attributes:
        name: the model.
        suite: "molecules", "organic" or "metals".
        reference: the method beside it.
        quick: whether it was the short version, which no card shows.
        rows: every number.
        failures: what could not be measured.
        conditions: property -> under which conditions, as a phrase.
        curves: points of the plots by piece of work.
        settings: of the suite.
        seconds: time spent, earlier runs that were resumed included.
    """

    name: str
    suite: str
    reference: str
    quick: bool
    rows: Sequence[Row]
    failures: Sequence[Failure]
    conditions: Mapping[str, str]
    curves: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values: summary, rows with unit and error, failures, settings."""
        rows = [{**asdict(r), "error": r.error, "unit": r.unit} for r in self.rows]
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "suite": self.suite,
            "reference": self.reference,
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "settings": dict(self.settings),
            "conditions": dict(self.conditions),
            "summary": self.summary(),
            "rows": rows,
            "failures": [asdict(failure) for failure in self.failures],
        }

    def summary(self) -> list[dict[str, Any]]:
        """One line per property over all systems.

        Returns:
            Mappings with `quantity`, `unit`, `systems`, `values` (how many) and either `mae`,
            `max` and, where it makes sense, `max_percent` (errors), or `mean` and `min` or `max`
            (of what the reference has no number for).
        """
        lines = []
        for name in PROPERTIES:
            rows = [row for row in self.rows if row.quantity == name]
            if not rows:
                continue
            head = {"quantity": name, "unit": PROPERTIES[name].unit}
            counts = {"systems": len({row.system for row in rows}), "values": len(rows)}
            lines.append(head | counts | _statistics(rows))
        return lines

    def by_system(self) -> list[dict[str, Any]]:
        """One line per system: errors in per cent where that makes sense, otherwise mean errors.

        Alloys are left to `summary`: there are too many.
        """
        kept = [line for line in self.summary() if not line["quantity"].startswith("alloy")]
        table: dict[str, dict[str, Any]] = {}
        for line in kept:
            name = line["quantity"]
            for system in dict.fromkeys(r.system for r in self.rows if r.quantity == name):
                rows = [r for r in self.rows if r.quantity == name and r.system == system]
                entry = table.setdefault(system, {"system": system})
                heading, value = _cell(name, rows)
                entry[heading] = value
        return list(table.values())

    def metrics(self) -> list[dict[str, Any]]:
        """Lines for the `metrics` of a manifest, one per property and statistic.

        The data set is "physics:<suite>", the split says on how many systems and under which
        conditions, the target is the property.
        """
        lines = []
        for line in self.summary():
            name = line["quantity"]
            count = line["systems"]
            split = f"{count} system{'s' * (count != 1)}"
            if name in self.conditions:
                split += f", {self.conditions[name]}"
            entry = {"dataset": f"physics:{self.suite}", "split": split, "target": name}
            for statistic in ("mae", "mean", "min", "max", "max_percent"):
                if statistic in line:
                    unit = "%" if statistic == "max_percent" else line["unit"]
                    shown = {"name": statistic, "value": line[statistic], "unit": unit}
                    lines.append(entry | shown)
        groups = dict.fromkeys(failure.group for failure in self.failures)
        for group in groups:
            count = sum(failure.group == group for failure in self.failures)
            entry = {"dataset": f"physics:{self.suite}", "split": "", "target": group}
            lines.append(entry | {"name": "failed", "value": float(count), "unit": "systems"})
        return lines


def _statistics(rows: Sequence[Row]) -> dict[str, float]:
    errors = np.array([row.error for row in rows if row.error is not None])
    if not len(errors):
        values = np.array([row.model for row in rows])
        worst = PROPERTIES[rows[0].quantity].worst
        return {"mean": float(values.mean()), worst: float(getattr(values, worst)())}
    result = {"mae": float(abs(errors).mean()), "max": float(abs(errors).max())}
    percents = [abs(row.percent) for row in rows if row.percent is not None]
    return result | ({"max_percent": max(percents)} if percents else {})


def _cell(name: str, rows: Sequence[Row]) -> tuple[str, float]:
    """Heading and value of a property in a table by system."""
    percents = [row.percent for row in rows if row.percent is not None]
    if percents and len(rows) == 1:
        return f"{name} (%)", percents[0]
    unit = f" ({PROPERTIES[name].unit})" if PROPERTIES[name].unit else ""
    errors = [abs(row.error) for row in rows if row.error is not None]
    values = errors if errors else [row.model for row in rows]
    return f"{name}{unit}", float(np.mean(values))


def merged(existing: Iterable[Mapping[str, Any]], found: PhysicsReport) -> list[dict[str, Any]]:
    """The metrics of a manifest with those of a report in place of older ones of the same targets.

    Args:
        existing: the manifest's.
        found: what was measured now.
    """
    new = found.metrics()
    replaced = {(line["dataset"], line["target"]) for line in new}
    kept = [dict(line) for line in existing if (line["dataset"], line["target"]) not in replaced]
    return kept + new
