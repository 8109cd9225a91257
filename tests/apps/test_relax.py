"""Relaxation of many structures at once: against ASE, mixed structures, refusals, after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength
from ase.filters import UnitCellFilter
from ase.optimize import BFGS, FIRE

import zoo
from zoo.apps.scale import _parts
from zoo.apps.scale import relax as scale
from zoo.apps.scale._pool import Evaluator, Neighbors, Pool
from zoo.errors import ConfigError, DataError
from zoo.functional import neighbor_pairs
from zoo.models.tensornet import TensorNet


@pytest.fixture(scope="module")
def model() -> TensorNet:
    """A small network whose energies hold atoms together."""
    return _Pairs(hidden_channels=4, num_layers=0, num_rbf=4, cutoff=3.0).double().eval()


class _Pairs(TensorNet):
    """Lennard-Jones pairs under a smooth cutoff, so that there is a minimum to be found."""

    def _energies(self, x: object, graph: object, head: object, index: object) -> torch.Tensor:
        r = graph.distances  # type: ignore[attr-defined]
        smooth = (1 - (r / self.cutoff) ** 2).clamp(min=0) ** 3
        energy = 4.0 * ((1.2 / r) ** 12 - (1.2 / r) ** 6) * smooth
        owner = graph.batch[graph.pairs[1]]  # type: ignore[attr-defined]
        zeros = energy.new_zeros(graph.num_graphs)  # type: ignore[attr-defined]
        return zeros.index_add(0, owner, energy).double()


def _molecules(count: int) -> list[Atoms]:
    names = ("CH4", "H2O", "CH3OH", "NH3", "C2H4", "N2")
    frames = [molecule(names[k % len(names)]) for k in range(count)]
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
    return frames


@pytest.fixture(scope="module")
def near(model: TensorNet) -> list[Atoms]:
    """Structures near their minima."""
    frames = [result.atoms for result in scale.relax(model, _molecules(3)[1:], fmax=0.02)]
    for k, frame in enumerate(frames):
        frame.rattle(0.01, seed=k)
    return frames


@pytest.mark.parametrize(("method", "peer"), [("lbfgs", BFGS), ("fire", FIRE)])
def test_minima_are_those_of_ase(
    model: TensorNet, near: list[Atoms], method: str, peer: type
) -> None:
    results = scale.relax(model, near, fmax=5e-3, method=method, batch_atoms=12)  # type: ignore[arg-type]
    for frame, result in zip(near, results, strict=True):
        alone = frame.copy()
        alone.calc = model.calculator()
        optimizer = peer(alone, logfile=None)
        optimizer.run(fmax=5e-3, steps=200)
        assert result.converged
        assert result.fmax < 5e-3
        energy = result.atoms.get_potential_energy()
        assert energy == pytest.approx(alone.get_potential_energy(), abs=1e-4)
        assert np.linalg.norm(model(result.atoms)["forces"], axis=1).max() < 5e-3
        if method == "fire":  # the same method takes the same path
            assert result.steps == optimizer.nsteps
            np.testing.assert_allclose(result.atoms.positions, alone.positions, atol=1e-8)


def test_cells_relax_and_fixed_atoms_stay(model: TensorNet) -> None:
    squeezed = bulk("Cu", cubic=True, a=1.9)
    squeezed.set_cell(squeezed.cell.array * [1.0, 1.02, 0.97], scale_atoms=True)
    (result,) = scale.relax(model, [squeezed], fmax=1e-2, cell=True, steps=60)
    alone = squeezed.copy()
    alone.calc = model.calculator()
    BFGS(UnitCellFilter(alone), logfile=None).run(fmax=1e-2, steps=60)
    assert result.converged
    assert result.atoms.get_volume() == pytest.approx(alone.get_volume(), rel=0.01)
    assert np.abs(result.atoms.get_stress()).max() < 0.02

    held = _molecules(1)[0]
    held.set_constraint(FixAtoms([0, 2]))
    (other,) = scale.relax(model, [held])
    moved = np.linalg.norm(other.atoms.positions - held.positions, axis=1)
    np.testing.assert_allclose(moved[[0, 2]], 0.0, atol=1e-14)
    assert moved[[1, 3, 4]].max() > 1e-3


def test_what_becomes_of_each_is_said(model: TensorNet) -> None:
    bound = _molecules(1)[0]
    bound.set_constraint(FixBondLength(0, 1))
    coincident = Atoms("H2", positions=np.zeros((2, 3)))
    frames = [*_molecules(2), bound, coincident, Atoms("H", positions=[[np.nan, 0, 0]])]
    seen: list[tuple[int, int]] = []
    results = scale.relax(model, frames, progress=lambda a, b: seen.append((a, b)))
    statuses = [result.status for result in results]
    assert statuses == ["converged", "converged", "refused", "failed", "refused"]
    assert "FixBondLength" in results[2].reason
    assert "coincide" in results[3].reason
    assert results[3].atoms.info["relax_status"] == "failed"
    assert seen[-1] == (5, 5)
    assert scale.counts(results) == {"converged": 2, "steps": 0, "failed": 1, "refused": 2}
    (short,) = scale.relax(model, _molecules(1), steps=2)
    assert (short.status, short.steps) == ("steps", 2)
    (open_cell,) = scale.relax(model, _molecules(1), cell=True)
    assert open_cell.status == "refused"


def test_structures_do_not_meet(model: TensorNet) -> None:
    """Neither which others are there nor when they come matters."""
    frames = [*_molecules(5), bulk("Cu", cubic=True, a=1.9)]
    frames[-1].rattle(0.03, seed=1)
    together = scale.relax(model, frames, batch_atoms=14, steps=8)
    for k, frame in enumerate(frames):
        (alone,) = scale.relax(model, [frame], steps=8)
        assert alone.steps == together[k].steps
        np.testing.assert_allclose(alone.atoms.positions, together[k].atoms.positions, atol=1e-9)


def test_neighbour_lists_last(model: TensorNet) -> None:
    frames = [bulk("Cu", cubic=True, a=2.5), molecule("CH3OH"), Atoms("He")]
    pool = Pool.of(frames, range(3))
    lists = Neighbors(3.0, 0.6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        index, shift = lists.update(pool)
        fields = pool.fields
        exact = neighbor_pairs(fields["pos"], 3.0, pool.owner, fields["cell"], fields["pbc"])
        assert _pairs(index, shift) == _pairs(*exact)
        step = 0.06 * torch.randn(fields["pos"].shape, generator=generator, dtype=torch.float64)
        fields["pos"] = fields["pos"] + step
    assert 3 < lists.built < 30


def _pairs(index: torch.Tensor, shift: torch.Tensor) -> set[tuple[int, ...]]:
    both = torch.cat([index, index.flip(0)], 1), torch.cat([shift, -shift])
    return {
        (*pair, *image) for pair, image in zip(both[0].T.tolist(), both[1].tolist(), strict=True)
    }


def test_it_goes_on_after_a_kill(
    model: TensorNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = _molecules(12)
    monkeypatch.setattr(scale, "PART", 3)
    options = {"batch_atoms": 12, "steps": 6}
    whole = scale.relax_to(tmp_path / "whole.extxyz", model, frames, **options)
    evaluate, calls = Evaluator.__call__, 0

    def killed(self: Evaluator, pool: Pool) -> object:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return evaluate(self, pool)

    monkeypatch.setattr(Evaluator, "__call__", killed)
    path = tmp_path / "some.extxyz"
    with pytest.raises(KeyboardInterrupt):
        scale.relax_to(path, model, frames, **options)
    assert not path.exists()
    parts = tmp_path / "some.extxyz.parts"
    finished = sum(len(np.load(part)["place"]) for part in parts.glob("part*"))
    assert 0 < finished < len(frames)
    (state,) = parts.glob("state*")
    under_way = len(np.load(state).get("pool.place", ()))
    with pytest.raises(ConfigError, match="another model"):
        scale.relax_to(path, model, frames, **options, fmax=0.1)
    entered: list[int] = []
    check = Evaluator.check
    monkeypatch.setattr(Evaluator, "check", lambda s, f, p: [entered.extend(p), check(s, f, p)][1])
    again = scale.relax_to(path, model, frames, **options)
    assert len(entered) == len(frames) - finished - under_way
    assert [r.steps for r in again] == [r.steps for r in whole]
    for one, other in zip(again, whole, strict=True):  # to the last bit
        np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
        assert one.atoms.get_potential_energy() == other.atoms.get_potential_energy()
    assert path.read_text() == (tmp_path / "whole.extxyz").read_text()
    assert not (tmp_path / "some.extxyz.parts").exists()


def test_damaged_parts_are_named(model: TensorNet, tmp_path: Path) -> None:
    parts = _parts.Parts(tmp_path, "run")
    (tmp_path / "part-000000000.npz").write_text("nonsense")
    with pytest.raises(DataError, match="damaged"):
        parts.read()
    with pytest.raises(ConfigError, match="another"):
        _parts.Parts(tmp_path, "other")


@pytest.mark.parametrize(
    "wrong",
    [{"fmax": 0.0}, {"method": "newton"}, {"skin": -1.0}, {"steps": -1}, {"batch_atoms": 0}],
)
def test_options_are_checked(model: TensorNet, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        zoo.relax(model, _molecules(1), **wrong)
