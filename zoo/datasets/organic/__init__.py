"""Organic molecules drawn from rules, in many conformations, labelled with GFN2-xTB."""

from zoo.datasets.organic._enumerate import enumerate_molecules as enumerate_molecules
from zoo.datasets.organic._frames import FRAMES as FRAMES
from zoo.datasets.organic._frames import KINDS as KINDS
from zoo.datasets.organic._frames import Settings as Settings
from zoo.datasets.organic._frames import conformations as conformations
from zoo.datasets.organic._generate import generate_organic as generate_organic
from zoo.datasets.organic._generate import split_of as split_of
