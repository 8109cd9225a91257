"""The front end of models of SPD matrices that take signals too."""

from zoo.layers.spd import CovarianceFrontEnd, FrontEnd, front_end


def optional_front_end(
    name: FrontEnd | None, *, order: int, lag: int, shrinkage: float
) -> CovarianceFrontEnd | None:
    """The front end that a model's arguments ask for.

    Args:
        name: see `front_end`; None for models that take matrices.
        order: see there, as the rest.
        lag: see there.
        shrinkage: see there.

    Raises:
        ConfigError: for an unknown name or options out of range.
    """
    if name is None:
        return None
    return front_end(name, order=order, lag=lag, shrinkage=shrinkage)
