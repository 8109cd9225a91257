"""Architectures, one file each; create them by name with `zoo.create`."""
