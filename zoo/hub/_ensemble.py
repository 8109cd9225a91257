"""Joining weights that differ by their seeds into one checkpoint."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from zoo import hub
from zoo.errors import ConfigError, ManifestError, StateMismatchError
from zoo.hub._entries import Parent
from zoo.hub.manifest import Manifest
from zoo.models._atomistic import AtomisticModel
from zoo.models._ensemble import Ensemble

#: members whose reference energies differ by more (eV) were not trained on the same energies
REFERENCE_TOLERANCE = 1e-6
_KEY = re.compile(r"members\.(\d+)\.(.+)")


def combine(refs: Sequence[str | Path], folder: str | Path, *, name: str, **fields: Any) -> Path:
    """Saves several sets of weights as one ensemble.

    Args:
        refs: two or more checkpoints or saved folders of one architecture, configuration and
            level of theory, with equal reference energies: such as the same recipe run with
            several seeds.
        folder: as for `save`.
        name: of the ensemble, `<architecture>-<size>.<dataset>.r<k>`.
        **fields: more fields of the manifest, such as `metrics`.

    Returns:
        The folder; `load` gives a model whose outputs are means, with `energy_std` and
        `forces_std`.

    Raises:
        ConfigError: if the weights do not belong together.
        ZooError: as `load` and `save` do.
    """
    models = [hub.load(ref, domain="atoms") for ref in refs]
    ensemble = Ensemble(models)
    manifests = [_manifest(model) for model in models]
    _check_theory(models, manifests)
    _check_references(models, manifests)
    ensemble.manifest = manifests[0]  # its licence
    first = manifests[0]
    # only elements that every member has seen
    counts = [item.inputs.elements for item in manifests]
    elements = {s: min(c[s] for c in counts) for s in counts[0] if all(s in c for c in counts)}
    given: dict[str, Any] = {
        "inputs": first.inputs.model_dump(mode="json") | {"elements": elements},
        "outputs": {
            key: output.model_dump(mode="json", exclude_none=True)
            for key, output in first.outputs.items()
        },
        "training": None if first.training is None else first.training.model_dump(mode="json"),
        "limits": first.limits,
        "citation": first.citation,
        "ensemble": {
            "joined": [
                Parent(name=item.name, sha256=item.weights.sha256).model_dump()
                for item in manifests
            ]
        },
    }
    kept = {key: value for key, value in (given | fields).items() if value not in (None, [])}
    return hub.save(ensemble, folder, name=name, golden_inputs=_golden(refs[0]), **kept)


def split_members(
    state: Mapping[str, Tensor], members: int, *, where: str
) -> list[dict[str, Tensor]]:
    """The tensors of each member of an ensemble's weights file.

    Raises:
        StateMismatchError: if the file holds another number of members, or other tensors.
    """
    states: list[dict[str, Tensor]] = [{} for _ in range(members)]
    for key, tensor in state.items():
        match = _KEY.fullmatch(key)
        if match is None or int(match[1]) >= members:
            raise StateMismatchError(
                f"{where}: the tensor {key!r} belongs to none of the {members} members that the "
                "manifest names"
            )
        states[int(match[1])][match[2]] = tensor
    return states


def _manifest(model: AtomisticModel) -> Manifest:
    if not isinstance(model.manifest, Manifest):
        raise ManifestError("a member was loaded without a manifest")
    return model.manifest


def _golden(ref: str | Path) -> Any:
    """The golden structures of the first member, if it stores any."""
    path = hub.find(ref)
    manifest = hub.read_manifest(path)
    if manifest.golden is None:
        return None
    return hub.golden_structures(hub.golden_tensors(manifest, path.parent))


def _check_theory(models: Sequence[AtomisticModel], manifests: Sequence[Manifest]) -> None:
    def theories(manifest: Manifest) -> dict[str, str | None]:
        return {key: output.level_of_theory for key, output in manifest.outputs.items()}

    first = theories(manifests[0])
    for manifest in manifests[1:]:
        if theories(manifest) != first:
            raise ConfigError(
                f"{manifest.name} and {manifests[0].name} have other levels of theory "
                f"({theories(manifest)} and {first}); their mean would mean nothing"
            )


def _check_references(models: Sequence[AtomisticModel], manifests: Sequence[Manifest]) -> None:
    for head in models[0].energy_heads:
        first = models[0].scale_of(head).reference.cpu()
        for model, manifest in zip(models[1:], manifests[1:], strict=True):
            apart = (model.scale_of(head).reference.cpu() - first).abs()
            if float(apart.max()) > REFERENCE_TOLERANCE:
                z = int(torch.argmax(apart))
                raise ConfigError(
                    f"the reference energies of {manifest.name} and {manifests[0].name} differ, "
                    f"for {chemical_symbols[z]} by {float(apart[z]):.3g} eV; train the members "
                    "on the same frames, or with references: {kind: given}"
                )
