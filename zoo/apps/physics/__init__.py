"""Physical properties of a potential beside those of its reference method.

    report = physics.measure("tensornet-s.gfn2-md10.r1", "molecules", only=["frequencies"])
    report.summary(), report.rows, report.failures
    physics.write_metrics("tensornet-s.gfn2-md10.r1", report)

Every property is a function of a structure and an ASE calculator, used alike for the model and the
reference; the suites `molecules`, `organic` and `metals` put them together.
"""

from zoo.apps.physics._metals import MetalSettings as MetalSettings
from zoo.apps.physics._molecules import MoleculeSettings as MoleculeSettings
from zoo.apps.physics._organic import OrganicSettings as OrganicSettings
from zoo.apps.physics._result import PROPERTIES as PROPERTIES
from zoo.apps.physics._result import Failure as Failure
from zoo.apps.physics._result import MeasurementError as MeasurementError
from zoo.apps.physics._result import PhysicsReport as PhysicsReport
from zoo.apps.physics._result import Row as Row
from zoo.apps.physics._run import GROUPS as GROUPS
from zoo.apps.physics._run import groups_of as groups_of
from zoo.apps.physics._run import measure as measure
from zoo.apps.physics._run import write_metrics as write_metrics
from zoo.apps.physics._run import write_report as write_report
from zoo.apps.physics.alloys import ordered_alloy as ordered_alloy
from zoo.apps.physics.bulk import equation_of_state as equation_of_state
from zoo.apps.physics.conservation import drift as drift
from zoo.apps.physics.defects import vacancy_formation_energy as vacancy_formation_energy
from zoo.apps.physics.dynamics import Integrator as Integrator
from zoo.apps.physics.dynamics import calculator_forces as calculator_forces
from zoo.apps.physics.dynamics import model_forces as model_forces
from zoo.apps.physics.elastic import elastic_constants as elastic_constants
from zoo.apps.physics.plots import write_plots as write_plots
from zoo.apps.physics.relaxation import relax as relax
from zoo.apps.physics.stability import watch as watch
from zoo.apps.physics.surfaces import surface_energy as surface_energy
from zoo.apps.physics.vibrations import frequencies as frequencies
from zoo.apps.physics.vibrations import hessian as hessian
from zoo.apps.physics.vibrations import minimum as minimum

__all__ = [
    "GROUPS",
    "PROPERTIES",
    "Failure",
    "Integrator",
    "MeasurementError",
    "MetalSettings",
    "MoleculeSettings",
    "OrganicSettings",
    "PhysicsReport",
    "Row",
    "calculator_forces",
    "drift",
    "elastic_constants",
    "equation_of_state",
    "frequencies",
    "groups_of",
    "hessian",
    "measure",
    "minimum",
    "model_forces",
    "ordered_alloy",
    "relax",
    "surface_energy",
    "vacancy_formation_energy",
    "watch",
    "write_metrics",
    "write_plots",
    "write_report",
]
