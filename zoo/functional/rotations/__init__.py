"""Rotations: SO(3) (`so3`), SO(n) (`son`), conversions and representations for networks."""

from zoo.functional.rotations import so3, son
from zoo.functional.rotations._convert import (
    axis_angle_to_matrix,
    euler_to_matrix,
    hat,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_to_matrix,
    vee,
)
from zoo.functional.rotations._representations import (
    REPRESENTATIONS,
    Representation,
    from_5d,
    from_6d,
    from_9d,
    representation,
    to_5d,
    to_6d,
    to_9d,
)

__all__ = [
    "REPRESENTATIONS",
    "Representation",
    "axis_angle_to_matrix",
    "euler_to_matrix",
    "from_5d",
    "from_6d",
    "from_9d",
    "hat",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "representation",
    "so3",
    "son",
    "to_5d",
    "to_6d",
    "to_9d",
    "vee",
]
