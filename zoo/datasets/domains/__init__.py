"""Data sets of every domain but atoms: one file per domain, and one per file format.

A sample of `particles`, `points`, `complex` and `graph` is a PyG `Data`, which `Batch` joins; of
`matrix`, `signal`, `tensor`, `image`, `field`, `sequence` and `vector` it is a dict of tensors with
`x` and, where there are labels, `y`. `READERS` lists every way of reading each.
"""

from zoo.datasets.domains._dataset import DomainDataset as DomainDataset
from zoo.datasets.domains._join import join as join
from zoo.datasets.domains._readers import DOMAINS as DOMAINS
from zoo.datasets.domains._readers import READERS as READERS
from zoo.datasets.domains._readers import Reader as Reader
from zoo.datasets.domains.complex import ComplexData as ComplexData
