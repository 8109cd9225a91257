"""Properties that models on atoms are trained on beside energies: units of errors, and scales.

A scalar property that is a sum over atoms gets a constant per element, by least squares on the
training labels (`zoo.training.references`); one that is a mean over atoms gets their mean. With
`normalise.properties: standard` the network predicts the rest in units of its standard deviation,
for sums in units of that over sqrt(atoms), which is how sums of independent atoms would spread.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.datasets import AtomsDataset
from zoo.layers.atomistic import SCALARS
from zoo.training.recipe import PROPERTIES, Recipe
from zoo.training.references import fit_references

_THOUSANDTHS = {"eV": "meV", "eV/K": "meV/K"}
_WORDS = {"dipole": "e Angstrom", "polarizability": "Angstrom^3", "charges": "e", **SCALARS}
#: property -> unit that its errors are given in
ERROR_UNITS: Mapping[str, str] = {
    name: _THOUSANDTHS.get(_WORDS[name], _WORDS[name].replace("Angstrom", "Å").replace("^3", "³"))
    for name in PROPERTIES
}
#: property -> what an error in the label's unit is multiplied by
ERROR_FACTORS: Mapping[str, float] = {
    name: 1000.0 if _WORDS[name] in _THOUSANDTHS else 1.0 for name in PROPERTIES
}


def set_scales(model: Any, recipe: Recipe, train: AtomsDataset) -> dict[str, dict[str, float]]:
    """Sets references and scales of the scalar properties that are trained.

    Args:
        model: with heads for them.
        recipe: `normalise.properties` says which.
        train: frames with labels.

    Returns:
        For each property: `constant` (mean over structures of what the references give, in the
        label's unit) and `scale`.
    """
    found: dict[str, dict[str, float]] = {}
    if recipe.normalise.properties == "none":
        return found
    ends = np.cumsum(train.counts)[:-1]
    for name in recipe.loss.properties:
        if name not in model.scalar_scales:
            continue
        scale, label = model.scalar_scale(name), train.label(name)
        if scale.mean:
            constant = np.full(len(label), label.mean())
            scale.offset.fill_(float(label.mean()))
        else:
            fitted = fit_references(np.split(train.numbers, ends), label)
            scale.set_reference(fitted.values)
            table = scale.reference.numpy()[train.numbers]
            constant = np.add.reduceat(table, np.cumsum(train.counts) - train.counts)
        rest = (label - constant) / (1.0 if scale.mean else np.sqrt(train.counts))
        if recipe.normalise.properties == "standard":
            scale.scale.fill_(float(np.sqrt(np.mean(rest**2))) or 1.0)
        found[name] = {"constant": float(constant.mean()), "scale": float(scale.scale)}
    return found
