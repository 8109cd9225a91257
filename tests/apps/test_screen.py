"""Screening in shards: the same bits whoever works, after kills, and what is kept."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

import zoo
from zoo.apps.predict import predict
from zoo.apps.scale import _shards, screen
from zoo.cli.main import run
from zoo.errors import ConfigError, MissingExtraError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).double().eval()
    model.restrict_elements({1: 1, 6: 1, 8: 1, 29: 1})
    folder = tmp_path_factory.mktemp("screen") / "small"
    return str(zoo.save(model, folder, name="tensornet-t.test.r1", golden_inputs=[molecule("H2O")]))


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-two, of which number 7 has an element that the model does not know."""
    frames: list[Atoms] = [molecule(name) for name in ("H2O", "CH4", "CH3OH") for _ in range(7)]
    frames.append(bulk("Cu"))
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
    frames[7] = molecule("NH3")
    path = tmp_path_factory.mktemp("frames") / "all.extxyz"
    write(path, frames)
    return path


def _results(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "results.npz") as arrays:
        return dict(arrays)


def test_it_says_what_predict_says(weights: str, structures: Path, tmp_path: Path) -> None:
    words = ["screen", weights, str(structures), "-o", str(tmp_path / "out"), "--forces"]
    words += ["--shards", "5", "--batch-atoms", "12", "--keep", "fmax<1e6", "--top", "4"]
    assert run([*words, "--json"]) == 0
    found = _results(tmp_path / "out")
    frames = read(structures, ":")
    known = [k for k in range(len(frames)) if k != 7]
    expected = predict(zoo.load(weights), [frames[k] for k in known])
    np.testing.assert_array_equal(found["index"], np.arange(22))
    np.testing.assert_allclose(found["energy"][known], [r["energy"] for r in expected], rtol=1e-10)
    largest = [np.linalg.norm(r["forces"], axis=1).max() for r in expected]
    np.testing.assert_allclose(found["fmax"][known], largest, atol=1e-10)
    assert np.isnan(found["energy"][7])
    refused = json.loads((tmp_path / "out" / "refused.json").read_text())
    assert list(refused) == ["7"] and "N (seen 0 times)" in refused["7"]
    kept = read(tmp_path / "out" / "kept.extxyz", ":")
    order = np.argsort(found["energy_per_atom"])[:4]
    assert [frame.info["index"] for frame in kept] == order.tolist()
    assert kept[0].get_potential_energy() == pytest.approx(found["energy"][order[0]], abs=1e-7)


def test_distance_from_the_origin_costs_no_digits(weights: str, tmp_path: Path) -> None:
    model = zoo.load(weights).float()
    zoo.save(model, tmp_path / "m", name="tensornet-t.test.r2", golden_inputs=[molecule("H2O")])
    frames = [molecule("CH3OH"), molecule("H2O")]
    near = predict(model, frames)
    for frame in frames:
        frame.positions += [1e4, -1e4, 2e4]
    write(tmp_path / "far.extxyz", frames)
    screen.screen(str(tmp_path / "m"), tmp_path / "far.extxyz", tmp_path / "out", forces=True)
    found = _results(tmp_path / "out")
    for k, (one, other) in enumerate(zip(near, predict(model, frames), strict=True)):
        frames[k].calc = model.calculator()
        expected = pytest.approx(one["energy"], abs=1e-6)
        assert other["energy"] == expected
        assert found["energy"][k] == expected
        assert frames[k].get_potential_energy() == expected
        np.testing.assert_allclose(other["forces"], one["forces"], atol=1e-5)


def test_nothing_is_lost_or_done_twice(
    weights: str, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    screen.screen(weights, structures, whole, shards=6)
    results, done = _shards.Worker.results, []

    def killed(self: _shards.Worker, places: range) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(places)
        return results(self, places)

    monkeypatch.setattr(_shards.Worker, "results", killed)
    with pytest.raises(KeyboardInterrupt):
        screen.screen(weights, structures, tmp_path / "some", shards=6)
    assert not (tmp_path / "some" / "results.npz").exists()
    with pytest.raises(ConfigError, match="another model"):
        screen.screen(weights, structures, tmp_path / "some", shards=5)
    again: list[range] = []
    monkeypatch.setattr(
        _shards.Worker, "results", lambda self, p: [again.append(p), results(self, p)][1]
    )
    seen: list[tuple[int, int]] = []
    screen.screen(
        weights, structures, tmp_path / "some", shards=6, progress=lambda a, b: seen.append((a, b))
    )
    assert seen == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert sorted(k for places in done + again for k in places) == list(range(22))
    for name, values in _results(whole).items():  # to the last bit
        np.testing.assert_array_equal(values, _results(tmp_path / "some")[name])


def test_energies_that_are_no_numbers_are_said(
    weights: str, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = _shards.Worker._evaluate

    def broken(self: _shards.Worker, samples: Any, places: range) -> dict[str, np.ndarray]:
        return {**evaluate(self, samples, places), "energy": np.full(len(samples), np.inf)}

    monkeypatch.setattr(_shards.Worker, "_evaluate", broken)
    summary = screen.screen(weights, structures, tmp_path, shards=2)
    assert (summary["kept"], summary["refused"]) == (0, 22)
    refused = json.loads((tmp_path / "refused.json").read_text())
    assert "N (seen 0 times)" in refused["7"] and refused["8"].endswith("is not finite")
    assert np.isnan(_results(tmp_path)["energy"]).all()


@pytest.mark.slow
def test_two_processes_give_the_same_bits(weights: str, structures: Path, tmp_path: Path) -> None:
    screen.screen(weights, structures, tmp_path / "one", shards=4)
    screen.screen(weights, structures, tmp_path / "two", shards=4, workers=2)
    one, two = _results(tmp_path / "one"), _results(tmp_path / "two")
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


class _Rows:
    """What the adapter uses of a Ray data set, in this process."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def repartition(self, blocks: int) -> "_Rows":
        assert blocks == len(self.rows)
        return self

    def map_batches(
        self, worker: Callable[..., Any], *, fn_constructor_args: Any, batch_size: int, **_: Any
    ) -> "_Rows":
        assert batch_size == 1
        actor = worker(*fn_constructor_args)
        outs = [actor({k: np.array([v]) for k, v in row.items()}) for row in self.rows]
        return _Rows([{k: v[0] for k, v in out.items()} for out in outs])

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        yield from self.rows


def test_ray_data_runs_the_shards(
    weights: str, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Data:
        from_items = staticmethod(_Rows)
        ActorPoolStrategy = staticmethod(dict)

    monkeypatch.setattr(screen, "require", lambda *_, **__: Data)
    screen.screen(weights, structures, tmp_path / "ray", shards=3, ray=True, workers=2)
    screen.screen(weights, structures, tmp_path / "one", shards=3)
    np.testing.assert_array_equal(
        _results(tmp_path / "ray")["energy"], _results(tmp_path / "one")["energy"]
    )


def test_without_ray_the_line_to_install_it_is_said(
    weights: str, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[ray\]"):
        screen.screen(weights, structures, tmp_path, shards=3, ray=True)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"keep": "energy == 3"}, "no condition"),
        ({"keep": "enrgy < 3"}, "energy"),
        ({"keep": "fmax<1"}, "forces"),
        ({"top": 0}, "top"),
        ({"by": "volume"}, "volume"),
    ],
)
def test_options_are_checked(options: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=word):
        screen.screen("any", "any", tmp_path, **options)
    assert screen.conditions("energy<-1.5e0 and fmax >= 2") == [
        ("energy", "<", -1.5),
        ("fmax", ">=", 2.0),
    ]
