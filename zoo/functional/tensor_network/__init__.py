"""Tensor formats (CP, Tucker, trains, rings): ranks, cores, contractions, decompositions.

A format is a name, its cores a list of tensors; `resolve_rank` says what ranks mean,
`core_shapes` which cores there are, `reconstruct` and `apply` what they stand for, `decompose`
finds them for a tensor.
"""

from zoo.functional.tensor_network._alternating import (
    Structure,
    Template,
    alternating_structure_search,
)
from zoo.functional.tensor_network._cores import (
    apply,
    core_shapes,
    core_std,
    expand,
    frobenius,
    mode_shape,
    reconstruct,
    symbols,
)
from zoo.functional.tensor_network._cp import component_norms, cp_als
from zoo.functional.tensor_network._decompose import decompose, hooi, relative_error, unfold
from zoo.functional.tensor_network._greedy import Found, greedy_structure_search
from zoo.functional.tensor_network._layout import Step
from zoo.functional.tensor_network._network import Network
from zoo.functional.tensor_network._path import Plan, contract, plan, run
from zoo.functional.tensor_network._rank import (
    FORMATS,
    Format,
    Rank,
    limits,
    parameter_count,
    resolve_rank,
)
from zoo.functional.tensor_network._select import select_tucker_rank

__all__ = [
    "FORMATS",
    "Format",
    "Found",
    "Network",
    "Plan",
    "Rank",
    "Step",
    "Structure",
    "Template",
    "alternating_structure_search",
    "apply",
    "component_norms",
    "contract",
    "core_shapes",
    "core_std",
    "cp_als",
    "decompose",
    "expand",
    "frobenius",
    "greedy_structure_search",
    "hooi",
    "limits",
    "mode_shape",
    "parameter_count",
    "plan",
    "reconstruct",
    "relative_error",
    "resolve_rank",
    "run",
    "select_tucker_rank",
    "symbols",
    "unfold",
]
