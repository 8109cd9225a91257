"""Our models inside torch-sim, where it is installed: its checks, units, relaxation, dynamics."""

import sys
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import zoo
from zoo.apps.scale.torch_sim import torch_sim_model
from zoo.errors import CapabilityError, ConfigError, MissingExtraError, UnknownHeadError

ts: Any = pytest.importorskip("torch_sim")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fresh() -> Any:
    """A small network of any elements, in double precision."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("tensornet", hidden_channels=8, num_rbf=6, cutoff=3.5).double().eval()


@pytest.fixture(scope="module")
def trained() -> Any:
    """Weights of organic molecules, in single precision."""
    return zoo.load("tensornet-s.gfn2-md10.r2")


@pytest.fixture(scope="module")
def crystals() -> list[Atoms]:
    """Cells of different sizes, none of them at rest or with right angles only."""
    frames = [bulk("Si", a=5.3), bulk("NaCl", "rocksalt", a=5.5), bulk("Cu", cubic=True)]
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
        frame.set_cell(frame.cell.array @ _strain(k).T, scale_atoms=True)
    return frames


@pytest.fixture(scope="module")
def molecules() -> list[Atoms]:
    frames = [molecule(name) for name in ("CH3OH", "H2O", "C2H6")]
    for k, frame in enumerate(frames):
        frame.rattle(0.05, seed=k)
    return frames


def _strain(seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return (torch.eye(3) + 0.05 * torch.rand(3, 3, generator=generator)).double().numpy()


def test_its_own_check_passes(fresh: Any) -> None:
    adapter = torch_sim_model(fresh)
    ts.models.interface.validate_model_outputs(adapter, CPU, torch.float64)
    assert adapter.compute_stress and adapter.compute_forces  # it switched them on
    assert (adapter.device, adapter.dtype) == (CPU, torch.float64)


def test_states_get_what_structures_get(
    fresh: Any, crystals: list[Atoms], molecules: list[Atoms]
) -> None:
    for frames, stress in ((crystals, True), (molecules, False)):
        adapter = torch_sim_model(fresh, stress=stress)
        state = ts.io.atoms_to_state(frames, CPU, torch.float64)
        found, expected = adapter(state), fresh(frames)
        assert set(found) == {"energy", "forces"} | ({"stress"} if stress else set())
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-11)
        alone = [adapter(ts.io.atoms_to_state(frame, CPU, torch.float64)) for frame in frames]
        for name, value in found.items():
            joined = torch.cat([out[name] for out in alone])
            torch.testing.assert_close(value, joined, rtol=1e-9, atol=1e-11)


def test_the_stress_is_the_one_that_torch_sim_expects(fresh: Any, crystals: list[Atoms]) -> None:
    """The slope of the energy over the volume; cells that follow it alone lose energy."""
    adapter = torch_sim_model(fresh, stress=True)
    state = ts.io.atoms_to_state(crystals, CPU, torch.float64)
    energies = []
    for eps in (1e-4, -1e-4):
        moved = state.clone()
        stretch = torch.eye(3, dtype=torch.float64)
        stretch[0, 0] += eps
        moved.cell = stretch @ moved.cell  # columns
        moved.positions = moved.positions @ stretch
        energies.append(adapter(moved)["energy"])
    slope = (energies[0] - energies[1]) / 2e-4 / torch.linalg.det(state.cell)
    assert slope.abs().min() > 1e-6
    found = adapter(state)["stress"]
    torch.testing.assert_close(found[:, 0, 0], slope, rtol=1e-5, atol=1e-9)
    # with one atom there is nothing but the cell, whose optimiser leaves atoms where they are
    cells = ts.io.atoms_to_state([bulk("Cu"), bulk("Fe")], CPU, torch.float64)
    options = {"positions_lr": 0.0, "cell_lr": 1e-2}
    init, step = ts.optimizers.unit_cell_gradient_descent(adapter, **options)
    start = init(cells)
    before, after = start.energy.clone(), step(start).energy
    assert (after < before).all()


def test_single_precision_loses_neither_positions_nor_energies(
    trained: Any, molecules: list[Atoms]
) -> None:
    adapter = torch_sim_model(trained, dtype=torch.float64)
    far = [frame.copy() for frame in molecules]
    for frame in far:
        frame.positions += 1e5
    here, there = (adapter(ts.io.atoms_to_state(f, CPU, torch.float64)) for f in (molecules, far))
    assert here["energy"].dtype == here["forces"].dtype == torch.float64
    torch.testing.assert_close(here["energy"], trained(molecules)["energy"], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(there["forces"], here["forces"], rtol=0.0, atol=1e-4)
    single = torch_sim_model(trained)(ts.io.atoms_to_state(molecules, CPU, torch.float32))
    assert single["energy"].dtype == single["forces"].dtype == torch.float32


def test_relaxes_as_we_do(trained: Any, molecules: list[Atoms]) -> None:
    frames = molecules[:2]
    adapter = torch_sim_model(trained, dtype=torch.float64, memory_scales_with="n_atoms")
    state = ts.optimize(
        frames,
        adapter,
        optimizer=ts.optimizers.fire,
        convergence_fn=ts.generate_force_convergence_fn(0.02, include_cell_forces=False),
        autobatcher=ts.InFlightAutoBatcher(
            adapter, memory_scales_with=adapter.memory_scales_with, max_memory_scaler=6.0
        ),
        max_steps=400,
    )
    ours = zoo.relax(trained, frames, fmax=0.02)
    for frame, result in zip(state.to_atoms(), ours, strict=True):
        assert result.converged
        assert frame.get_chemical_formula() == result.atoms.get_chemical_formula()
        energies = trained([frame, result.atoms])["energy"]
        assert abs(energies[0] - energies[1]) < 1e-3


def test_dynamics_conserve_the_energy(trained: Any, molecules: list[Atoms]) -> None:
    """But for the error of velocity Verlet, which is of second order in the time step."""
    coarse, fine = (_energy_error(trained, molecules, fs) for fs in (0.4, 0.2))
    assert (coarse < 1e-2).all()
    assert (fine < 0.4 * coarse + 1e-4).all()


def _energy_error(model: Any, frames: list[Atoms], fs: float) -> torch.Tensor:
    """Largest departure of each total energy within eight femtoseconds at 300 K (systems,), eV."""
    adapter = torch_sim_model(model, dtype=torch.float64)
    start = ts.io.atoms_to_state(frames, CPU, torch.float64)
    units = ts.units.MetalUnits
    options = {"dt": 1e-3 * fs * units.time, "kT": 300.0 * units.temperature}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in options.items()}
    init, step = ts.integrators.nve(adapter, **tensors)
    state = init(start.clone(), seed=0)
    totals = []
    for _ in range(round(8.0 / fs)):
        state = step(state)
        kinetic = ts.calc_kinetic_energy(
            momenta=state.momenta, masses=state.masses, system_idx=state.system_idx
        )
        totals.append(state.energy + kinetic)
    assert (state.positions - start.positions).norm(dim=1).max() > 0.05
    course = torch.stack(totals)
    return (course - course[0]).abs().max(dim=0).values


def test_what_cannot_be_used_is_refused(
    fresh: Any, molecules: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ts.io.atoms_to_state(molecules, CPU, torch.float64)
    with pytest.raises(CapabilityError, match="three periodic directions"):
        torch_sim_model(fresh, stress=True)(state)
    with pytest.raises(UnknownHeadError):
        torch_sim_model(fresh, head="other")
    with pytest.raises(ConfigError, match="n_atoms_x_density"):
        torch_sim_model(fresh, memory_scales_with="volume")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a model on atoms"):
        torch_sim_model(zoo.create("spdnet", in_channels=3, out_channels=2))
    monkeypatch.setitem(sys.modules, "torch_sim.models.interface", None)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[torchsim\]"):
        torch_sim_model(fresh)
