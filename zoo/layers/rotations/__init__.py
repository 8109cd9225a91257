"""Representations of rotations by networks."""
