"""Layers of hyperbolic networks."""
