"""Data sets that are computed: one function per kind, the same numbers for the same seed anywhere.

`KINDS` names them. `make` yields a data set in memory; `generate` writes it as an .npz with its
description. The sets that ship with the package were made so; their descriptions name the command.
"""

import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo._files import write_atomic
from zoo.datasets._described import prepare, write_description
from zoo.datasets._open import open as open_dataset
from zoo.datasets.domains import DomainDataset
from zoo.datasets.domains._raw import Raw
from zoo.datasets.domains._readers import assemble
from zoo.datasets.synthetic._made import Made as Made
from zoo.datasets.synthetic.bars import bars_and_stripes as bars_and_stripes
from zoo.datasets.synthetic.bodies import inertia as inertia
from zoo.datasets.synthetic.counting import graph_counting as graph_counting
from zoo.datasets.synthetic.digits import digits as digits
from zoo.datasets.synthetic.digits import digits_cov as digits_cov
from zoo.datasets.synthetic.eeg import eeg_like as eeg_like
from zoo.datasets.synthetic.flows import burgers as burgers
from zoo.datasets.synthetic.flows import darcy as darcy
from zoo.datasets.synthetic.graphs import bipartite as bipartite
from zoo.datasets.synthetic.graphs import csbm as csbm
from zoo.datasets.synthetic.hulls import hulls as hulls
from zoo.datasets.synthetic.jets import toy_jets as toy_jets
from zoo.datasets.synthetic.orthogonal import o3_volumes as o3_volumes
from zoo.datasets.synthetic.orthogonal import o5_regression as o5_regression
from zoo.datasets.synthetic.particles import nbody as nbody
from zoo.datasets.synthetic.radar import radar_like as radar_like
from zoo.datasets.synthetic.rotations import rotations as rotations
from zoo.datasets.synthetic.subspaces import subspaces as subspaces
from zoo.datasets.synthetic.tensors import hyperelastic as hyperelastic
from zoo.datasets.synthetic.tensors import ring_signals as ring_signals
from zoo.datasets.synthetic.tetris import tetris_like as tetris_like
from zoo.datasets.synthetic.trees import balanced_tree as balanced_tree
from zoo.datasets.synthetic.trees import sir_tree as sir_tree
from zoo.datasets.synthetic.waves import waves as waves
from zoo.datasets.synthetic.words import parentheses as parentheses
from zoo.datasets.synthetic.words import prefix as prefix
from zoo.errors import ConfigError, UnknownNameError, nearest


@dataclass(frozen=True)
class Kind:
    """One kind of generated data.

    Attributes:
        function: makes it.
        summary: one line.
        fixed: settings that belong to the kind's name.
    """

    function: Callable[..., Made]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What may be set, with the values taken unless said, the seed among them."""
        known = inspect.signature(self.function).parameters
        return {name: p.default for name, p in known.items() if name not in self.fixed}


KINDS: dict[str, Kind] = {
    "balanced-tree": Kind(balanced_tree, "a tree with as many children everywhere (graph)"),
    "sir-tree": Kind(sir_tree, "an infection spreading down a random tree (graph)"),
    "csbm": Kind(csbm, "a contextual stochastic block model of any homophily (graph)"),
    "csbm-10": Kind(csbm, "the same, 10 % of the edges within classes", {"homophily": 0.1}),
    "csbm-80": Kind(csbm, "the same, 80 % of the edges within classes", {"homophily": 0.8}),
    "bipartite": Kind(bipartite, "a bipartite graph of any homophily (graph)"),
    "graph-counting": Kind(
        graph_counting, "random graphs, and counts of small patterns in them (graph)"
    ),
    "hyperelastic": Kind(hyperelastic, "stresses in an elastic body (tensor)"),
    "ring-signals": Kind(ring_signals, "signals on a ring, now and later (sequence)"),
    "inertia": Kind(inertia, "the inertia of point masses, its symmetry perturbed (vector)"),
    "prefix": Kind(prefix, "pairs of sequences: is one a noisy prefix of the other (sequence)"),
    "prefix-10": Kind(prefix, "the same with 10 % of the prefix replaced", {"percent": 10}),
    "prefix-30": Kind(prefix, "the same with 30 % of the prefix replaced", {"percent": 30}),
    "prefix-50": Kind(prefix, "the same with 50 % of the prefix replaced", {"percent": 50}),
    "parentheses": Kind(parentheses, "words of brackets, balanced or not (sequence)"),
    "eeg-like": Kind(eeg_like, "EEG-like trials of subjects and sessions (signal)"),
    "radar-like": Kind(radar_like, "radar-like echoes, real and imaginary parts (signal)"),
    "subspaces": Kind(subspaces, "clusters of subspaces (matrix, bases)"),
    "rotations": Kind(rotations, "random rotations, the input and the target (vector)"),
    "nbody": Kind(nbody, "charged particles, and where they are later (particles)"),
    "o3-volumes": Kind(o3_volumes, "signed volumes of three vectors (sequence)"),
    "o5-regression": Kind(o5_regression, "an invariant of two vectors (sequence)"),
    "o5-hulls": Kind(
        hulls, "volumes of convex hulls of 16 points of R^5 (sequence)", {"points": 16}
    ),
    "csmpn-hulls": Kind(hulls, "the same of 8 points (sequence)", {"points": 8}),
    "toy-jets": Kind(toy_jets, "four-momenta of two kinds of decays (sequence)"),
    "tetris-like": Kind(tetris_like, "Tetris pieces in motion: four frames, then four (points)"),
    "waves": Kind(waves, "waves on a shallow, rotating sea, now and later (field)"),
    "burgers": Kind(burgers, "velocities on a ring, now and later: Burgers' equation (field)"),
    "darcy": Kind(darcy, "permeabilities of a square, and the pressure: Darcy flow (field)"),
    "bars-and-stripes": Kind(bars_and_stripes, "noisy bars or stripes (image)"),
    "digits": Kind(digits, "scikit-learn's digits (image)"),
    "digits-cov": Kind(digits_cov, "their region covariances (matrix)"),
}


def make(kind: str, *, splits: Mapping[str, Any] | None = None, **settings: Any) -> DomainDataset:
    """Makes a data set in memory.

    Args:
        kind: a name of `KINDS`.
        splits: see `zoo.datasets.open`; the kind's own unless given.
        settings: of the kind's function, `seed` among them.

    Returns:
        The data set.

    Raises:
        UnknownNameError: for another kind.
        ConfigError: for unknown, ill-typed or impossible settings.
        MissingExtraError: for digits without scikit-learn.
    """
    made, used = _compute(kind, settings)
    raw = Raw(Path(kind), dict(made.arrays), "generated", metadata=made.metadata())
    raw.metadata["generation"] = {"kind": kind, "settings": used}
    return assemble(raw, made.domain, made.keys, splits or made.splits, kind)


def generate(
    kind: str, output: str | Path, *, overwrite: bool = False, **settings: Any
) -> DomainDataset:
    """Makes a data set and writes it with its description, `<stem>.yaml`.

    Args:
        kind: a name of `KINDS`.
        output: an .npz file.
        overwrite: whether an existing output may be replaced.
        settings: as for `make`.

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: for another suffix, or settings that `make` refuses.
        UnknownNameError: for another kind.
    """
    path = prepare(output, overwrite=overwrite, suffixes=(".npz",))
    made, used = _compute(kind, settings)
    held = assemble(Raw(path, dict(made.arrays), "generated"), made.domain, made.keys)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **made.arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
    changed = {name: used[name] for name in settings}
    words = [f"--set {name}={value}" for name, value in changed.items() if name != "seed"]
    command = ["zoo data generate", kind, *words, f"--seed {used['seed']}", f"-o {path.name}"]
    write_description(
        path,
        domain=made.domain,
        samples=len(held),
        **made.metadata(),
        keys=dict(made.keys),
        splits=dict(made.splits or {}),
        generation={"command": " ".join(command), "settings": used, "hash": held.hash},
    )
    opened = open_dataset(path.with_suffix(".yaml"))
    assert isinstance(opened, DomainDataset)
    return opened


def _compute(kind: str, settings: Mapping[str, Any]) -> tuple[Made, dict[str, Any]]:
    """The arrays of a kind and all settings that made them."""
    if kind not in KINDS:
        raise UnknownNameError(f"there is no generated set {kind!r}: {nearest(kind, KINDS)}")
    entry = KINDS[kind]
    usual = entry.settings
    for name, value in settings.items():
        if name not in usual:
            raise ConfigError(f"{kind} has no setting {name!r}: {nearest(name, usual)}")
        _check_type(f"{kind}: {name}", value, usual[name])
    used = usual | dict(settings)
    if used["seed"] < 0:
        raise ConfigError(f"{kind}: seed is {used['seed']}; it must be 0 or more")
    return entry.function(**used, **entry.fixed), used


def _check_type(where: str, value: Any, usual: Any) -> None:
    kinds = (int, float) if isinstance(usual, float) else (type(usual),)
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(usual, bool):
        raise ConfigError(f"{where} is {value!r}; expected {kinds[-1].__name__}, as {usual!r}")
