"""Checks of what a model promises, for our tests, the certificate and users' own models.

    from zoo.testing import check_contract
    for result in check_contract(my_model):
        ...

`AtomisticContract` is the same as a pytest class: derive from it and give a configuration.
"""

from zoo.testing._result import APPROXIMATE_CAPS, CAPS, CheckResult, Skip, tolerance
from zoo.testing._subject import LAWS, Law, Subject, symmetry_group
from zoo.testing.broken import BROKEN, Broken
from zoo.testing.checks import CHECKS, check_contract, iterate_contract, plan, run_check
from zoo.testing.suite import AtomisticContract, unsettled

__all__ = [
    "APPROXIMATE_CAPS",
    "BROKEN",
    "CAPS",
    "CHECKS",
    "LAWS",
    "AtomisticContract",
    "Broken",
    "CheckResult",
    "Law",
    "Skip",
    "Subject",
    "check_contract",
    "iterate_contract",
    "plan",
    "run_check",
    "symmetry_group",
    "tolerance",
    "unsettled",
]
