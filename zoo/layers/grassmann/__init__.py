"""Layers on subspaces."""
