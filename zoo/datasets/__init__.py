"""Data sets of atoms: opening them, splitting them, generating them."""

from zoo.datasets._npz import save_npz as save_npz
from zoo.datasets._open import open as open
from zoo.datasets._open import shipped as shipped
from zoo.datasets.atoms import collate as collate
from zoo.datasets.atoms import to_batch as to_batch
from zoo.datasets.dataset import AtomsDataset as AtomsDataset
