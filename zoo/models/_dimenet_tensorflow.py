"""The authors' TensorFlow weights of DimeNet and DimeNet++ on QM9, renamed to ours.

Their variables are named after their modules (`int_blocks/0/dense_ji/kernel`), and so are those of
torch-geometric, which our other converter knows; dense kernels are transposed on the way. A model
of theirs has an output for each of its targets. Ours has a head for each, in our units: what
theirs give in Debye, Bohr and calories is scaled, and energies at 0 K and 298.15 K, which theirs
give relative to the atoms, get those of the atoms that QM9 comes with as references.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from ase import units
from ase.data import atomic_numbers
from torch import Tensor

from zoo.datasets.published.qm9 import REFERENCES
from zoo.errors import CapabilityError, ConfigError, StateMismatchError, nearest
from zoo.layers.atomistic import EnergyScale
from zoo.models._dimenet_pyg import convert_state as from_pyg

_DEBYE, _BOHR = units.Debye, units.Bohr
_CALORIE = units.kcal / units.mol / 1000
#: their target -> our head, and our unit in theirs
TARGETS: Mapping[str, tuple[str, float]] = {
    "mu": ("dipole_norm", _DEBYE),
    "alpha": ("alpha", _BOHR**3),
    "homo": ("homo", 1.0),
    "lumo": ("lumo", 1.0),
    "gap": ("gap", 1.0),
    "r2": ("r2", _BOHR**2),
    "zpve": ("zpve", 1.0),
    "U0": ("u0", 1.0),
    "U": ("u298", 1.0),
    "H": ("h298", 1.0),
    "G": ("g298", 1.0),
    "Cv": ("cv", _CALORIE),
}
#: energies of free atoms in QM9 (eV), by our head and atomic number
ATOMS: Mapping[str, Mapping[int, float]] = {
    head: {atomic_numbers[symbol]: value for symbol, value in table.items()}
    for head, table in REFERENCES.items()
}
#: their argument -> torch-geometric's
_ARGUMENTS = {
    "emb_size": "hidden_channels",
    "out_emb_size": "out_emb_channels",
    "num_dense_output": "num_output_layers",
    "int_emb_size": "int_emb_size",
    "basis_emb_size": "basis_emb_size",
    "num_blocks": "num_blocks",
    "num_bilinear": "num_bilinear",
    "num_spherical": "num_spherical",
    "num_radial": "num_radial",
    "cutoff": "cutoff",
    "envelope_exponent": "envelope_exponent",
    "num_before_skip": "num_before_skip",
    "num_after_skip": "num_after_skip",
}
#: entries of their configuration that say nothing of the trained model
_OTHER = frozenset(
    "model_name output_init num_train num_valid data_seed dataset logdir num_steps ema_decay "
    "learning_rate warmup_steps decay_rate decay_steps batch_size evaluation_interval "
    "save_interval restart comment num_targets".split()
)
#: (their pattern, torch-geometric's), after "kernel" has become "weight"
_NAMES = (
    (r"rbf_layer/frequencies", "rbf.freq"),
    (r"emb_block/embeddings", "emb.emb.weight"),
    (r"emb_block/dense_rbf/(\w+)", r"emb.lin_rbf.\1"),
    (r"emb_block/dense/(\w+)", r"emb.lin.\1"),
    (r"output_blocks/(\d+)/dense_rbf/(\w+)", r"output_blocks.\1.lin_rbf.\2"),
    (r"output_blocks/(\d+)/up_projection/(\w+)", r"output_blocks.\1.lin_up.\2"),
    (r"output_blocks/(\d+)/dense_layers/(\d+)/(\w+)", r"output_blocks.\1.lins.\2.\3"),
    (r"output_blocks/(\d+)/dense_final/(\w+)", r"output_blocks.\1.lin.\2"),
    (r"int_blocks/(\d+)/bilinear", r"interaction_blocks.\1.W"),
    (r"int_blocks/(\d+)/dense_(\w+)/(\w+)", r"interaction_blocks.\1.lin_\2.\3"),
    (r"int_blocks/(\d+)/(down|up)_projection/(\w+)", r"interaction_blocks.\1.lin_\2.\3"),
    (r"int_blocks/(\d+)/final_before_skip/(\w+)", r"interaction_blocks.\1.lin.\2"),
    (
        r"int_blocks/(\d+)/(layers_\w+_skip)/(\d+)/dense_([12])/(\w+)",
        r"interaction_blocks.\1.\2.\3.lin\4.\5",
    ),
)
_HEAD, _OPTIMIZER = "heads.energy.", ".OPTIMIZER_SLOT"


def convert_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our constructor arguments and state dict from the authors'.

    Args:
        state: the variables of their checkpoint, by name.
        config: entries of their `config.yaml` or `config_pp.yaml`. `targets` names what the model
            predicts; without it the one output becomes the head "energy", its numbers as they are.

    Returns:
        Arguments of our class and a state dict for it.

    Raises:
        ConfigError: for a target or an entry of the configuration that the authors don't have.
        StateMismatchError: for variables that are not DimeNet's, or another number of targets.
    """
    targets = _targets(config)
    renamed = {ours: t for ours, t in _renamed(state).items()}
    finals = [name for name in renamed if re.fullmatch(r"output_blocks\.\d+\.lin\.weight", name)]
    outputs = {len(renamed[name]) for name in finals}
    if outputs != {max(len(targets), 1)}:
        raise StateMismatchError(
            f"the weights have {sorted(outputs)} outputs, but targets names {len(targets)} "
            f"({', '.join(targets) or 'none, which takes one'}); say targets as in their config"
        )
    single = {**renamed, **{name: renamed[name][:1] for name in finals}}
    arguments, weights = from_pyg(single, {_ARGUMENTS[k]: config[k] for k in _known(config)})
    arguments["extensive"] = bool(config.get("extensive", True))
    return _with_targets(arguments, weights, [renamed[name] for name in sorted(finals)], targets)


def _targets(config: Mapping[str, Any]) -> list[str]:
    found = config.get("targets") or []
    names = [found] if isinstance(found, str) else list(found)
    for name in names:
        if name not in TARGETS:
            raise ConfigError(f"targets: the authors have no {name!r}; {nearest(name, TARGETS)}")
    return names


def _known(config: Mapping[str, Any]) -> list[str]:
    known = {*_ARGUMENTS, *_OTHER, "extensive", "targets"}
    for name in config:
        if name not in known:
            raise ConfigError(f"the authors' configuration has no {name!r}: {nearest(name, known)}")
    if not config.get("extensive", True) and not config.get("targets"):
        raise CapabilityError(
            "extensive: False makes means over the atoms, which an energy is not; name the targets"
        )
    return [name for name in config if name in _ARGUMENTS]


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torch-geometric's names; dense kernels (inputs, outputs) are transposed."""
    found, unknown = {}, []
    for name, value in state.items():
        path = name.removeprefix("model/")
        if _OPTIMIZER in path or path.startswith(("optimizer/", "step", "save_counter")):
            continue  # a checkpoint of training has more than the model
        plain = re.sub(r"/kernel$", "/weight", path)
        match = next((p for p in _NAMES if re.fullmatch(p[0], plain)), None)
        if match is None:
            unknown.append(name)
        else:
            value = value.T.contiguous() if path.endswith("/kernel") else value
            found[re.sub(*match, plain)] = value
    if unknown:
        raise StateMismatchError(
            f"{len(unknown)} variables are not those of the authors' DimeNet: "
            f"{', '.join(unknown[:10])}; give the checkpoint of one of their models"
        )
    return found


def _with_targets(
    arguments: dict[str, Any],
    weights: dict[str, Tensor],
    finals: list[Tensor],
    targets: list[str],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A head for each target instead of the head of the energy."""
    if not targets:
        return arguments, weights
    head = {k.removeprefix(_HEAD): v for k, v in weights.items() if k.startswith(_HEAD)}
    rest = {k: v for k, v in weights.items() if not k.startswith(_HEAD)}
    last = sorted(k for k, v in head.items() if len(v) == 1 and v.ndim == 2)
    for row, target in enumerate(targets):
        name, unit = TARGETS[target]
        rows = {k: final[row : row + 1] for k, final in zip(last, finals, strict=True)}
        rest |= {f"heads.{name}.{k}": v for k, v in {**head, **rows}.items()}
        scale = EnergyScale()
        scale.set_reference(ATOMS.get(name, {}))
        scale.scale.fill_(unit)
        rest |= {f"scalar_scales.{name}.{k}": v for k, v in scale.state_dict().items()}
    return {**arguments, "heads": [TARGETS[t][0] for t in targets]}, {
        k: torch.as_tensor(v) for k, v in rest.items()
    }
