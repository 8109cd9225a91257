"""Modules shared by the architectures, one sub-package per geometry."""
