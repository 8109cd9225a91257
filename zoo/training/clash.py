"""What can't be fine-tuned together: levels of theory, and inputs that the weights never saw."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from zoo.datasets import AtomsDataset
from zoo.errors import DataError, UnsupportedInputError
from zoo.training.metrics import Evaluation
from zoo.training.references import References

_PERIODICITY = {0: "none", 1: "partial", 2: "partial", 3: "full"}


def head_level(model: Any, head: str) -> str:
    """The level of theory that a model's manifest states for a head; empty if it does not.

    Properties of a model without energies (an empty name) have one level together.
    """
    outputs = model.manifest.outputs if model.manifest is not None else {}
    name = "energy" if head == "energy" else f"energy/{head}"
    entry = outputs.get(name) if head else next(iter(outputs.values()), None)
    level = (entry.level_of_theory if entry is not None else None) or ""
    return "" if level == "not stated" else level


def new_level(data: AtomsDataset, stated: str | None, old: str) -> str:
    """The level of theory of new labels; empty if neither user nor file states it.

    Args:
        data: the new frames.
        stated: what the user says; "same" means that of the old labels.
        old: level of theory of the head, or empty.
    """
    level = str(stated or data.metadata.get("level_of_theory") or "")
    if level == "same":
        return old or "same"
    return "" if level == "not stated" else level


def same_level(old: str, new: str) -> bool:
    """Whether two stated levels of theory are one; spelling in case and blanks does not count."""
    return old.casefold().split() == new.casefold().split()


def check_levels(old: str, new: str, *, references: str, replay: bool, source: str) -> None:
    """Refuses what would train one head on two levels of theory.

    Args:
        old: level of theory of the head, or empty.
        new: of the new labels, or empty.
        references: "fit" or "keep".
        replay: whether old labels are replayed through the same head.
        source: of the new data, for messages.

    Raises:
        DataError: says how to go on.
    """
    if references == "keep" and old and new and not same_level(old, new):
        raise DataError(
            f"{source}: the labels are {new}, the weights {old}; their total energies differ by "
            "constants per element, so references can't be kept: say references='fit' "
            "(--set references=fit)"
        )
    if not replay or new == "same" or (old and new and same_level(old, new)):
        return
    if old and new:
        raise DataError(
            f"{source}: the labels are {new}, the replayed ones {old}; one head can't learn both "
            "surfaces. Give the new labels a head of their own: heads='new:NAME' (--head new:NAME)"
        )
    missing = f"the level of theory of {'the new labels' if old else 'the weights'} is not stated"
    raise DataError(
        f"{source}: {missing}, so replay through one head might mix two of them. Say "
        "heads='new:NAME' (--head new:NAME) for a head of its own, which is right in any case, or "
        "level_of_theory='same' (--set level_of_theory=same) if old and new labels agree"
    )


def check_kept(score: Evaluation, fitted: References, source: str) -> None:
    """Refuses to keep references that evidently belong to another kind of energy.

    Args:
        score: of the untouched model on training frames.
        fitted: the constants per element that would explain its errors.
        source: of the frames.

    Raises:
        DataError: with the evidence.
    """
    atoms = np.array([len(z) for z in score.numbers])
    before = float(np.abs((score.energy[1] - score.energy[0]) / atoms).mean())
    if before > 0.2 and fitted.mae_after < 0.1 * fitted.mae_before:
        raise DataError(
            f"{source}: the energies are {before:.3g} eV per atom away from what the weights "
            f"predict, and constants per element explain {100 * fitted.explained:.4g} % of that: "
            "another level of theory, or another kind (total, formation, cohesive). Say "
            "references='fit' (--set references=fit) to take the constants up"
        )


def check_inputs(
    model: Any, data: AtomsDataset, *, new_pbc: bool, new_charges: bool
) -> dict[str, list[str]]:
    """Compares periodicity and charge with what the weights have seen.

    Returns:
        What is new: `pbc` and `charge`, in words.

    Raises:
        UnsupportedInputError: for what is new and not admitted.
    """
    if model.manifest is None or model.manifest.source != "zoo":
        return {}
    known = model.manifest.inputs
    samples = [data[i] for i in range(len(data))]
    kinds = {_PERIODICITY[int(sample.pbc.sum())] for sample in samples}
    charged = [i for i, sample in enumerate(samples) if bool((sample.charge != 0).any())]
    fresh = sorted(kinds - set(known.pbc))
    if fresh and not new_pbc:
        raise UnsupportedInputError(
            f"{data.source}: holds structures with {_words(fresh)} periodicity, the weights saw "
            f"{_words(known.pbc)}; to train them now, say new_pbc=True (--new-pbc)"
        )
    if charged and not known.charge and not new_charges:
        raise UnsupportedInputError(
            f"{data.source}: {len(charged)} structures are charged (the first is frame "
            f"{charged[0]}), the weights saw neutral ones only; to train them now, say "
            "new_charges=True (--new-charges)"
        )
    return {"pbc": fresh, "charge": ["charged"] if charged and not known.charge else []}


def _words(kinds: Iterable[str]) -> str:
    return " and ".join(kinds)
