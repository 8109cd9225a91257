"""Units of data files, turned into eV and Å."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase import units

from zoo.datasets._labels import POWERS
from zoo.errors import ConfigError, nearest

ENERGY: dict[str, float] = {
    "eV": units.eV,
    "meV": 1e-3 * units.eV,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
    "hartree": units.Hartree,
    "rydberg": units.Rydberg,
}
LENGTH: dict[str, float] = {"angstrom": units.Angstrom, "bohr": units.Bohr, "nm": units.nm}
_SPELLINGS = {"Ha": "hartree", "Eh": "hartree", "Ry": "rydberg", "Å": "angstrom", "A": "angstrom"}
_TABLES = {"energy": ENERGY, "length": LENGTH}


@dataclass(frozen=True)
class Units:
    """Factors that turn a file's numbers into eV and Å."""

    energy: float = 1.0
    length: float = 1.0

    def factor(self, label: str) -> float:
        """What to multiply a label by: forces are energy per length, and so on."""
        energy, length = POWERS[label]
        return self.energy**energy * self.length**length


def parse(given: Mapping[str, str]) -> Units:
    """Reads `{"energy": "kcal/mol", "length": "angstrom"}`; what is left out is eV or Å.

    Raises:
        ConfigError: for a quantity or unit that isn't known.
    """
    for quantity in given:
        if quantity not in _TABLES:
            raise ConfigError(
                f"units has no entry {quantity!r}: {nearest(quantity, _TABLES)} "
                "(forces are in energy/length, stress in energy/length^3)"
            )
    return Units(**{quantity: _value(quantity, unit) for quantity, unit in given.items()})


def _value(quantity: str, unit: str) -> float:
    table = _TABLES[quantity]
    name = _SPELLINGS.get(unit, unit)
    for known, value in table.items():
        if isinstance(name, str) and known.lower() == name.lower():
            return float(value)
    raise ConfigError(
        f"{unit!r} is no unit of {quantity} that is known; allowed: {', '.join(table)}"
    )
