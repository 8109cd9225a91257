"""The tables of domains and of readers: which files each domain is read from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._archive import read_npz
from zoo.datasets._base import RefusedDataError
from zoo.datasets.domains import (
    _arrays,
    _bnci,
    _csv,
    _folders,
    _graph_files,
    _jets,
    _mat_fields,
    _matlab,
    _meshes,
    _motion,
    _pdearena,
    _pickles,
    _pictures,
    _ply,
    _recordings,
    _trees,
)
from zoo.datasets.domains._dataset import DomainDataset
from zoo.datasets.domains._domain import Domain
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains.complex import COMPLEX
from zoo.datasets.domains.field import FIELD
from zoo.datasets.domains.graph import GRAPH
from zoo.datasets.domains.image import IMAGE
from zoo.datasets.domains.matrix import MATRIX
from zoo.datasets.domains.particles import PARTICLES
from zoo.datasets.domains.points import POINTS
from zoo.datasets.domains.sequence import SEQUENCE
from zoo.datasets.domains.signal import SIGNAL
from zoo.datasets.domains.tensor import TENSOR
from zoo.datasets.domains.vector import VECTOR
from zoo.errors import DataError

DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        PARTICLES,
        POINTS,
        COMPLEX,
        GRAPH,
        MATRIX,
        SIGNAL,
        TENSOR,
        IMAGE,
        FIELD,
        SEQUENCE,
        VECTOR,
    )
}


@dataclass(frozen=True)
class Reader:
    """One way of reading one domain.

    Attributes:
        name: such as "points ply".
        suffixes: of its files, or of the files in its folder.
        domain: of its samples.
        arrays: the file's arrays.
        folder: whether it reads a folder.
        pickle: whether its files are pickles, which may run code.
        sign: whether a folder has this layout, by the names of its files; None where suffixes tell.
    """

    name: str
    suffixes: tuple[str, ...]
    domain: str
    arrays: Callable[[Path, Keys | None], Raw]
    folder: bool = False
    pickle: bool = False
    sign: Callable[[Path], object] | None = None

    def read(
        self,
        path: str | Path,
        *,
        keys: Keys | None = None,
        splits: Mapping[str, Any] | None = None,
        source: str | None = None,
    ) -> DomainDataset:
        """Reads a file and checks every value.

        Raises:
            ZooError: for anything that isn't a file of this kind, whole and right.
        """
        place = Path(path)
        return assemble(self.arrays(place, keys), self.domain, keys, splits, source)


def assemble(
    raw: Raw,
    domain: str,
    keys: Keys | None,
    splits: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> DomainDataset:
    """A data set of a file's arrays, with every value checked."""
    described = DOMAINS[domain]
    dataset = DomainDataset(
        described.build(raw, keys),
        domain=domain,
        container=described.container,
        examine=described.examine,
        splits=splits,
        metadata={"format": raw.kind},
        source=source or str(raw.path),
    )
    try:
        dataset.check()
    except DataError as error:
        raise RefusedDataError(str(error), dataset) from error
    return dataset


def _npz(path: Path, keys: Keys | None) -> Raw:
    return Raw(path, read_npz(path), "npz")


def _folder_of(
    kinds: tuple[str, ...], read: Callable[[Path], np.ndarray], kind: str
) -> Callable[[Path, Keys | None], Raw]:
    def arrays(path: Path, keys: Keys | None) -> Raw:
        return _folders.stacked(path, _folders.listing(path, kinds), read, kind)

    return arrays


def _mats(path: Path, keys: Keys | None) -> Raw:
    name = dict(keys or {}).get("x")
    found = _folders.listing(path, (".mat",))
    raw = _folders.stacked(path, found, lambda file: _matlab.read_mat(file, name), "mat folder")
    return replace(raw, consumed=frozenset(("x",)))


def _clouds(path: Path, keys: Keys | None) -> Raw:
    found = _folders.listing(path, CLOUDS)
    return _folders.clouds(path, found, lambda file, keys: _CLOUDS[file.suffix.lower()](file, keys))


_CLOUDS: dict[str, Callable[[Path, Keys | None], Raw]] = {
    ".ply": _ply.read_ply,
    ".off": _meshes.read_off,
    ".obj": _meshes.read_obj,
    ".txt": _meshes.read_xyz_text,
}
CLOUDS = tuple(_CLOUDS)
PICKLES = _pickles.SUFFIXES
_npy_folder = _folder_of((".npy",), _arrays.read_npy, "npy folder")
_png_folder = _folder_of((".png",), _arrays.read_png, "png folder")

READERS: tuple[Reader, ...] = (
    *(Reader(f"{name} npz", (".npz",), name, _npz) for name in DOMAINS),
    Reader("points ply", (".ply",), "points", _ply.read_ply),
    Reader("points off", (".off",), "points", _meshes.read_off),
    Reader("points obj", (".obj",), "points", _meshes.read_obj),
    Reader("points txt", (".txt", ".pts", ".xyzn"), "points", _meshes.read_xyz_text),
    Reader("points csv", (".csv",), "points", _csv.read_points),
    Reader("points folder", CLOUDS, "points", _clouds, folder=True),
    Reader("complex ply", (".ply",), "complex", _ply.read_ply),
    Reader("complex off", (".off",), "complex", _meshes.read_off),
    Reader("complex obj", (".obj",), "complex", _meshes.read_obj),
    Reader("graph csv", (".csv",), "graph", _graph_files.read_tables),
    Reader("graph csv folder", (".csv",), "graph", _graph_files.read_tables, folder=True),
    Reader("graph tsv", (".tsv",), "graph", _trees.read_closure),
    *(
        Reader(f"{name} folder", suffixes, name.split()[0], read, True, sign=sign)
        for name, suffixes, read, sign in (
            ("graph webkb", (".txt", ".npz"), _graph_files.read_webkb, _graph_files.is_webkb),
            ("graph hgcn", (".csv", ".npz", ".npy"), _trees.read_hgcn, _trees.is_hgcn),
            ("graph triples", (".txt",), _trees.read_triples, _trees.is_triples),
            ("image cifar", (".bin", ".txt"), _pictures.read_cifar, _pictures.is_cifar),
            (
                "image tiny-imagenet",
                (".jpeg", ".txt"),
                _pictures.read_tiny_imagenet,
                _pictures.is_tiny_imagenet,
            ),
            ("graph planetoid", (".graph",), _pickles.read_planetoid, _pickles.planetoid_names),
            ("sequence top-tagging", (".h5",), _jets.read_jets, _jets.is_jets),
            ("field pdearena", (".h5",), _pdearena.read_pdearena, _pdearena.is_pdearena),
            ("signal bnci", (".mat",), _bnci.read_bnci, _bnci.recordings),
            ("particles motion", (".pkl",), _motion.read_motion, _motion.is_motion),
        )
    ),
    Reader(
        "image pickled cifar folder",
        (".meta",),
        "image",
        _pictures.read_pickled_cifar,
        True,
        pickle=True,
        sign=_pictures.is_pickled_cifar,
    ),
    *(
        Reader(f"{name} pickle", PICKLES, name, _pickles.read_pickle, pickle=True)
        for name in DOMAINS
    ),
    Reader("field mat", (".mat",), "field", _mat_fields.read_field_mat),
    Reader("matrix npy", (".npy",), "matrix", _arrays.read_series),
    Reader("matrix npy folder", (".npy",), "matrix", _npy_folder, folder=True),
    Reader("matrix mat folder", (".mat",), "matrix", _mats, folder=True),
    Reader("signal fif", (".fif",), "signal", _recordings.read_fif),
    Reader("signal npy", (".npy",), "signal", _arrays.read_series),
    Reader("signal npy folder", (".npy",), "signal", _npy_folder, folder=True),
    Reader("image png folder", (".png",), "image", _png_folder, folder=True),
    Reader("sequence csv", (".csv",), "sequence", _csv.read_sequences),
    Reader("vector csv", (".csv",), "vector", _csv.read_vectors),
)
