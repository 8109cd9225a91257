"""Checks of what a model promises, for our tests, the certificate and users' own models.

    from zoo.testing import check_contract
    for result in check_contract(my_model):
        ...

`equivariance_error(model, group, inputs)` measures a symmetry alone, also of a plain function.
`AtomisticContract`, and outside atoms `SampleContract`, are the same as pytest classes: derive
from one and give a configuration.
"""

from zoo.testing._equivariance import equivariance_error
from zoo.testing._result import APPROXIMATE_CAPS, CAPS, CheckResult, Skip, tolerance
from zoo.testing._sample_subject import GROUPS as SAMPLE_GROUPS
from zoo.testing._sample_subject import SampleLaw, SampleSubject
from zoo.testing._subject import LAWS, Law, Subject, symmetry_group
from zoo.testing.broken import BROKEN, Broken
from zoo.testing.broken_samples import BROKEN_SAMPLES
from zoo.testing.checks import (
    CHECKS,
    SAMPLE_CHECKS,
    check_contract,
    domain_of,
    group_of,
    iterate_contract,
    plan,
    run_check,
    subject_of,
)
from zoo.testing.suite import AtomisticContract, Contract, SampleContract, unsettled

__all__ = [
    "APPROXIMATE_CAPS",
    "BROKEN",
    "BROKEN_SAMPLES",
    "CAPS",
    "CHECKS",
    "LAWS",
    "SAMPLE_CHECKS",
    "SAMPLE_GROUPS",
    "AtomisticContract",
    "Broken",
    "CheckResult",
    "Contract",
    "Law",
    "SampleContract",
    "SampleLaw",
    "SampleSubject",
    "Skip",
    "Subject",
    "check_contract",
    "domain_of",
    "equivariance_error",
    "group_of",
    "iterate_contract",
    "plan",
    "run_check",
    "subject_of",
    "symmetry_group",
    "tolerance",
    "unsettled",
]
