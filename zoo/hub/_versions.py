"""Old weights in new releases: upgrade steps, and conventions that must agree.

An architecture whose numbers change for the same weights adds one step to its module's
`UPGRADES`, a dict `{1: f1, 2: f2, ...}`: `fk(config, state)` returns the configuration and the
tensors of version k + 1, and None in its place says that version k can't be carried over. The
current spec version is one more than the last step. `CONVENTIONS`, a dict of words, records
choices that the numbers depend on, such as the sign of edge vectors.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo import registry
from zoo.errors import SpecError
from zoo.hub.manifest import Manifest
from zoo.registry import Spec


def current(spec: Spec) -> int:
    """The spec version that this release writes for an architecture."""
    return 1 + max(_steps(spec), default=0)


def conventions(spec: Spec) -> dict[str, str]:
    """The conventions of an architecture in this release."""
    return dict(getattr(registry.module_of(spec), "CONVENTIONS", {}))


def upgrade(
    spec: Spec, manifest: Manifest, state: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors in the current spec version.

    Raises:
        SpecError: if the weights are of a later version, no path leads here, they are not what
            their version says, or they follow other conventions.
    """
    version, now = manifest.spec_version, current(spec)
    if version > now:
        raise SpecError(
            f"{manifest.name} has version {version} of {spec.name}, this release knows up to "
            f"{now}; run: pip install -U geometric-zoo"
        )
    if version == now:
        _compare_conventions(spec, manifest)
    config, tensors = dict(manifest.config), dict(state)
    for step in range(version, now):
        function = _steps(spec).get(step)
        if function is None:
            raise SpecError(
                f"{manifest.name} has version {version} of {spec.name}, and nothing leads from "
                f"version {step} to {step + 1}; load it with an older release of geometric-zoo"
            )
        try:
            config, tensors = function(config, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as problem:
            raise SpecError(
                f"{manifest.name} says that it has version {version} of {spec.name}, but the step "
                f"from version {step} to {step + 1} failed ({problem!r}); the file is not what it "
                "says: get it again"
            ) from problem
    return config, tensors


def _steps(spec: Spec) -> Mapping[int, Any]:
    steps: Mapping[int, Any] = getattr(registry.module_of(spec), "UPGRADES", {})
    return steps


def _compare_conventions(spec: Spec, manifest: Manifest) -> None:
    ours = conventions(spec)
    for key, value in manifest.conventions.items():
        if ours.get(key) != value:
            raise SpecError(
                f"{manifest.name} follows the convention {key} = {value!r}, {spec.name} in this "
                f"release {ours.get(key)!r}; its numbers would be wrong, so it was not loaded"
            )
