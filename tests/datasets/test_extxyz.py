"""Extended XYZ: what ASE reads, nothing skipped, and the same from memory and from the file."""

import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from data_samples import frames
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.datasets as zd
from zoo.apps._memory import peak_memory, reset_peak
from zoo.datasets import _extxyz
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import comment, value
from zoo.errors import DataError

TWO = "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1.5\nH 0 0 0 1 2 3\nH 0 0 1 4 5 6\n"


def opened(path: Path, stream: bool, **settings: object) -> zd.AtomsDataset:
    store = _extxyz.read(path, {}, Units(), stream=stream)
    assert isinstance(store, _extxyz.ExtxyzFrames) is stream
    return zd.AtomsDataset(store, source=str(path), **settings)  # type: ignore[arg-type]


def test_the_same_from_memory_and_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    made = frames(30)
    ase.io.write(path, made)
    spec = {"kind": "group", "key": "name", "fractions": {"train": 0.5, "test": 0.5}}
    memory, stream = (opened(path, s, splits=spec) for s in (False, True))
    assert memory.labels == stream.labels == {"energy", "forces", "dipole"}
    assert memory.hash == stream.hash and memory.split_hash == stream.split_hash
    assert memory.split("test").hash == stream.split("test").hash != memory.hash
    assert memory.elements == stream.elements
    assert memory.counts.tolist() == stream.counts.tolist()
    assert np.array_equal(memory.label("forces"), stream.label("forces"))
    assert {k: v.tolist() for k, v in memory.columns.items()} == {
        k: v.tolist() for k, v in stream.columns.items()
    }
    for index in (0, 17, -1):
        one, other = memory[index], stream[index]
        assert set(one.keys()) == set(other.keys())
        for name in one.keys():  # noqa: SIM118  a Data is no mapping
            if isinstance(one[name], torch.Tensor):
                assert torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype
            else:
                assert one[name] == other[name]
        assert memory.atoms(index).get_dipole_moment() == pytest.approx(
            stream.atoms(index).get_dipole_moment(), abs=0
        )
    stream.check()


def test_a_stream_can_be_pickled_and_read_by_workers(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.extxyz", frames(8))
    stream = opened(tmp_path / "a.extxyz", True)
    again = pickle.loads(pickle.dumps(stream))
    assert again.hash == stream.hash
    loader = torch.utils.data.DataLoader(
        stream, batch_size=4, collate_fn=zd.collate, num_workers=1, multiprocessing_context="fork"
    )
    assert torch.cat([batch.energy for batch in loader]).tolist() == stream.label("energy").tolist()


def test_large_files_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.extxyz"
    text = TWO * 20_000
    path.write_text(text)
    before = reset_peak()
    stream = opened(path, True)
    assert len(stream) == 20_000 and peak_memory() - before < 10
    assert stream[19_999].forces.tolist() == [[1, 2, 3], [4, 5, 6]]
    monkeypatch.setattr(_extxyz, "STREAM_BYTES", len(text))
    assert isinstance(zd.open(path)._store, _extxyz.ExtxyzFrames)


_numbers = st.floats(-1e6, 1e6, allow_nan=False)
_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)
_values = st.one_of(
    st.integers(-(2**62), 2**62), _numbers, st.booleans(), _words, st.sampled_from(["1,2", "T F"])
)


def both(line: str) -> tuple[dict[str, object], dict[str, object] | None]:
    """A comment line as ASE reads it, and as we do; None where we refuse a repeated key."""
    expected = ase.io.extxyz.key_val_str_to_dict(line) if line else {}
    try:
        found = {k: value(k, v, "") for k, v in comment(line, "").items()}
    except DataError as error:
        assert "twice" in str(error)
        return expected, None
    return expected, found


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True), _values))
def test_comments_are_read_as_ase_reads_them(info: dict[str, object]) -> None:
    line = ase.io.extxyz.key_val_dict_to_str(info)
    try:
        expected, found = both(line)
    except ValueError:  # the words can be quotes that nothing closes: both refuse them
        with pytest.raises(DataError):
            {k: value(k, v, "") for k, v in comment(line, "").items()}
        return
    if found is not None:
        assert found.keys() == expected.keys()
        for key, theirs in expected.items():
            ours = np.asarray(found[key])
            assert ours.dtype == np.asarray(theirs).dtype
            numbers = ours.dtype.kind == "f"  # a word such as NAN is one
            assert np.array_equal(ours, np.asarray(theirs), equal_nan=numbers), key


@pytest.mark.parametrize(
    "line",
    [
        "a plain comment of words",
        "i = 5, time = 2.5, E = -17.1",
        "a={1 2 3} b=[T F] c='x y' d=\"1e-3\" e=1,2,3 f= g",
        'q="\\"quoted\\"" h="_JSON [[1, 2], [3, 4]]" j=99999999999999999999 uid=007',
        'virial="1 2 3 2 4 5 3 5 6" x=nan y=-inf z=1_0',
    ],
)
def test_odd_comments_are_read_as_ase_reads_them(line: str) -> None:
    expected, found = both(line)
    assert found is not None and repr(_plain(found)) == repr(_plain(expected))


def _plain(found: dict[str, object]) -> dict[str, object]:
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in found.items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_frames_are_read_as_ase_reads_them(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, periodic: bool, tagged: bool
) -> None:
    generator = np.random.default_rng(seed)
    atoms = Atoms(
        numbers=generator.integers(1, 119, count),
        positions=generator.normal(size=(count, 3)) * 10.0 ** generator.integers(-3, 4),
        cell=generator.normal(size=(3, 3)) if periodic else None,
        pbc=generator.integers(0, 2, 3) if periodic else False,
    )
    if tagged:
        atoms.set_tags(generator.integers(0, 3, count))
        atoms.info |= {"name": "two words", "step": 3, "flag": True, "v": generator.normal(size=3)}
    stress = generator.normal(size=6)
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=generator.normal(),
        forces=generator.normal(size=(count, 3)),
        stress=stress,
        charges=generator.normal(size=count),
    )
    path = tmp_path_factory.mktemp("xyz") / "a.extxyz"
    ase.io.write(path, atoms)
    read = ase.io.read(path) if count else atoms  # ASE can't read a frame without atoms
    ours = opened(path, True)
    theirs = zd.AtomsDataset.from_atoms([read])
    assert ours.labels == theirs.labels == {"energy", "forces", "stress", "charges"}
    assert ours.columns == theirs.columns
    if count:
        assert ours.hash == theirs.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + "\n" + TWO, "line 5: a blank line"),
        (TWO + "3\nenergy=1\nH 0 0 0\n", "frame 1, line 5: 3 atoms are announced.*ends after 1"),
        (TWO + "two\n", "line 5: expected the number of atoms.*'two'"),
        (TWO + "2", "frame 1, line 6"),
        (TWO.replace("H 0 0 1 4 5 6", "H 0 0 1 4 5"), "frame 0, line 4: 6 values.*names 7"),
        (TWO.replace("H 0 0 1 4 5 6", "H 0 0 1 4 5 6 7"), "frame 0, line 4: 8 values"),
        (TWO.replace("4 5 6", "4 x 6"), "frame 0, line 4: forces should be a number, not 'x'"),
        (TWO.replace("H 0 0 1", "Hh 0 0 1"), "frame 0, line 2: 'Hh' is no symbol"),
        (TWO.replace("pos:R:3", "pos:R"), "frame 0, line 2: Properties"),
        (TWO.replace("pos:R:3", "pos:R:2:x:R:1"), "no positions"),
        (TWO.replace("energy=-1.5", "energy=1 energy=2"), "'energy' appears twice"),
        (TWO.replace("energy=-1.5", "energy"), "energy must be numbers, not True"),
        (TWO.replace("energy=-1.5", 'Lattice="1 2 3"'), "Lattice must be nine numbers"),
        (TWO.replace("energy=-1.5", 'stress="1 2 3 4 5 6"'), "stress must be nine.*REF_stress"),
        (TWO.replace("energy=-1.5", "pbc=maybe"), "pbc must be"),
        (TWO.replace("energy=-1.5", "charge=x"), "charge must be a number"),
        ("-1\n\n", "line 1"),
        ("\xff\xfe", "line 1"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_frames_are_named(tmp_path: Path, text: str, message: str, stream: bool) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message):
        opened(path, stream).check()


def test_frames_that_lack_a_label_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(TWO + TWO.replace("energy=-1.5", "") + TWO)
    for stream in (False, True):
        with pytest.raises(DataError, match=r"1 of 3 frames have no 'energy': frames 1.*keys="):
            opened(path, stream)


def test_trailing_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_bytes((TWO + TWO + "\n  \n").replace("\n", "\r\n").encode())
    dataset = zd.open(path)
    assert len(dataset) == 2 and dataset.label("energy").tolist() == [-1.5, -1.5]


def test_a_file_that_was_changed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(TWO * 3)
    state = pickle.dumps(opened(path, True))
    path.write_text(TWO * 2)
    with pytest.raises(DataError, match="was changed since it was opened"):
        pickle.loads(state)[0]
