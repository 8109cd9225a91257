"""Data sets of every domain: opening, checking, converting and splitting them."""

from zoo.datasets._base import Dataset as Dataset
from zoo.datasets._check import check as check
from zoo.datasets._convert import convert as convert
from zoo.datasets._npz import save_npz as save_npz
from zoo.datasets._open import fetched as fetched
from zoo.datasets._open import known as known
from zoo.datasets._open import open as open
from zoo.datasets._open import shipped as shipped
from zoo.datasets._save_lmdb import save_lmdb as save_lmdb
from zoo.datasets._split_file import write_splits as write_splits
from zoo.datasets.atoms import collate as collate
from zoo.datasets.atoms import to_batch as to_batch
from zoo.datasets.dataset import AtomsDataset as AtomsDataset
from zoo.datasets.domains import ComplexData as ComplexData
from zoo.datasets.domains import DomainDataset as DomainDataset
from zoo.datasets.synthetic import make as make
