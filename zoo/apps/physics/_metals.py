"""The suite `metals`: fcc crystals, elasticity, vacancies, surfaces and ordered alloys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from zoo.apps.physics._result import Measured, Row
from zoo.apps.physics._simulate import Progress
from zoo.apps.physics._suite import MODEL, REFERENCE, STATIC, Pair, Unit, compare
from zoo.apps.physics.alloys import Alloy, ordered_alloy, prototype
from zoo.apps.physics.bulk import Equation, equation_of_state
from zoo.apps.physics.defects import vacancy_formation_energy
from zoo.apps.physics.elastic import elastic_constants
from zoo.apps.physics.surfaces import SURFACES, surface_energy

GROUPS = ("bulk", "elastic", "vacancy", "surfaces", "alloys")


@dataclass(frozen=True, kw_only=True)
class MetalSettings:
    """How metals are measured.

    `strain` is that of the elastic constants, `repeat` the supercell of the vacancy in cubes of
    four atoms, `layers` of every slab (None: `SURFACES`), `fmax` (eV/Å) ends relaxations.
    """

    strain: float = 0.005
    repeat: int = 3
    layers: int | None = None
    fmax: float = 1e-3

    @staticmethod
    def short() -> "MetalSettings":
        """A first look."""
        return MetalSettings(repeat=2, layers=7, fmax=0.01)


class Metals:
    """The pieces of work of the suite.

    Args:
        pair: model and reference; both need stress.
        metals: chemical symbols of fcc metals; every two of them make three alloys.
        settings: how to measure.
    """

    def __init__(self, pair: Pair, metals: Sequence[str], settings: MetalSettings) -> None:
        self._pair, self._metals, self._settings = pair, list(metals), settings
        self._equations: dict[tuple[str, str], Equation] = {}

    def units(self, groups: Sequence[str]) -> list[Unit]:
        """The work, in order."""
        makers: dict[str, Callable[[str], Measured]] = {
            "bulk": self._bulk,
            "elastic": self._elastic,
            "vacancy": self._vacancy,
            "surfaces": self._surfaces,
        }
        found = []
        for group, make in makers.items():
            if group in groups:
                found += [Unit(group, m, m, STATIC, _bound(make, m)) for m in self._metals]
        if "alloys" in groups:
            for first, second in combinations(self._metals, 2):
                name = first + second
                found.append(Unit("alloys", name, name, STATIC, self._alloys(first, second)))
        return found

    @property
    def conditions(self) -> dict[str, str]:
        """Property -> under which conditions."""
        atoms = 4 * self._settings.repeat**3
        return {
            "vacancy_formation": f"cells of {atoms} atoms",
            "alloy_lattice_constant": "L1_2 and L1_0",
            "alloy_formation": "L1_2 and L1_0",
            "alloy_c_over_a": "L1_0",
        }

    def _equation(self, which: str, metal: str) -> Equation:
        if (which, metal) not in self._equations:
            crystal = bulk(metal, "fcc")
            self._equations[which, metal] = equation_of_state(crystal, self._calc(which, crystal))
        return self._equations[which, metal]

    def _constant(self, which: str, metal: str) -> float:
        """The lattice constant (Å): the primitive cell holds a quarter of the cube."""
        return float((4 * self._equation(which, metal).volume) ** (1 / 3))

    def _crystal(self, which: str, metal: str) -> Atoms:
        return bulk(metal, "fcc", a=self._constant(which, metal), cubic=True)

    def _calc(self, which: str, atoms: Atoms) -> Calculator:
        return self._pair.calculator(which, atoms)

    def _bulk(self, metal: str) -> Measured:
        rows = [
            compare("lattice_constant", metal, lambda w: self._constant(w, metal)),
            compare("bulk_modulus", metal, lambda w: self._equation(w, metal).bulk_modulus),
        ]
        curves = {}
        for which in (MODEL, REFERENCE):
            equation = self._equation(which, metal)
            curves[which] = {
                "volumes": equation.volumes.tolist(),
                "energies": equation.energies.tolist(),
            }
        return Measured(rows, curves)

    def _elastic(self, metal: str) -> Measured:
        found = {}
        for which in (MODEL, REFERENCE):
            crystal = self._crystal(which, metal)
            calculator = self._calc(which, crystal)
            found[which] = elastic_constants(crystal, calculator, strain=self._settings.strain)
        rows = []
        for name in ("c11", "c12", "c44"):
            both = {which: float(getattr(constants, name)) for which, constants in found.items()}
            rows.append(compare(name, metal, both.__getitem__))
        return Measured(rows)

    def _vacancy(self, metal: str) -> Measured:
        s = self._settings

        def energy(which: str) -> float:
            crystal = self._crystal(which, metal)
            calculator = self._calc(which, crystal)
            return vacancy_formation_energy(crystal, calculator, repeat=s.repeat, fmax=s.fmax)

        return Measured([compare("vacancy_formation", metal, energy)])

    def _surfaces(self, metal: str) -> Measured:
        rows = []
        for surface in SURFACES:

            def energy(which: str, surface: str = surface) -> float:
                return surface_energy(
                    metal,
                    surface,
                    self._calc(which, self._crystal(which, metal)),
                    constant=self._constant(which, metal),
                    energy=self._equation(which, metal).energy,
                    layers=self._settings.layers,
                    fmax=self._settings.fmax,
                )

            rows.append(compare(f"surface_{surface}", metal, energy))
        return Measured(rows)

    def _alloys(self, first: str, second: str) -> Callable[[Progress], Measured]:
        """Both L1_2 alloys of two metals, and the L1_0 one."""
        kinds = {
            f"{first}{second}3": (first, second, "L1_2"),
            f"{second}{first}3": (second, first, "L1_2"),
            f"{first}{second}": (first, second, "L1_0"),
        }

        def measure(progress: Progress) -> Measured:
            rows: list[Row] = []
            for name, (one, other, kind) in kinds.items():
                found = {w: self._alloy(w, one, other, kind) for w in (MODEL, REFERENCE)}
                for title, key in (
                    ("alloy_lattice_constant", "lattice_constant"),
                    ("alloy_formation", "formation_energy"),
                    ("alloy_c_over_a", "c_over_a"),
                ):
                    if key != "c_over_a" or kind == "L1_0":
                        both = {which: getattr(alloy, key) for which, alloy in found.items()}
                        rows.append(compare(title, f"{name} {kind}", both.__getitem__))
            return Measured(rows)

        return measure

    def _alloy(self, which: str, first: str, second: str, kind: str) -> Alloy:
        share = 0.25 if kind == "L1_2" else 0.5
        constants = [self._constant(which, metal) for metal in (first, second)]
        crystal = prototype(first, second, kind, share * constants[0] + (1 - share) * constants[1])
        energies = {m: self._equation(which, m).energy for m in (first, second)}
        return ordered_alloy(crystal, self._calc(which, crystal), energies)


def _bound(make: Callable[[str], Measured], metal: str) -> Callable[[Progress], Measured]:
    return lambda progress: make(metal)
