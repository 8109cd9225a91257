"""Products, involutions, norms and versors of multivectors (..., blades)."""

import functools
import math
from collections.abc import Callable, Collection

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import UnsupportedInputError
from zoo.functional.clifford import _native
from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._kernels import (
    multiply,
    multiply_connected,
    multiply_weighted,
)
from zoo.functional.clifford._mode import compiles
from zoo.functional.clifford._plan import Kind, plain
from zoo.functional.precision import check_precision

Multivector = Float[Tensor, "*batch blades"]
Multivectors = Float[Tensor, "*batch channels blades"]
#: factors whose leading axes broadcast
Left = Float[Tensor, "*left blades"]
Right = Float[Tensor, "*right blades"]
Product = Float[Tensor, "*both blades"]

#: added to the square of a quadratic form, so that roots have finite gradients
EPS = 1e-16


def blade_major(x: Tensor) -> Tensor:
    """(..., channels, blades) as (blades, ..., channels), one contiguous block per blade.

    Copies nothing for what `channels_first` gave back.
    """
    return x.movedim(-1, 0).contiguous()


def channels_first(x: Tensor) -> Tensor:
    """(blades, ..., channels) seen as (..., channels, blades); copies nothing."""
    return x.movedim(0, -1)


def geometric_product(x: Left, y: Right, of: Algebra) -> Product:
    """x y; leading axes broadcast."""
    return _product(x, y, of, "geometric")


def wedge(x: Left, y: Right, of: Algebra) -> Product:
    """The outer product: of grades a and b the part of grade a + b; no metric enters."""
    return _product(x, y, of, "wedge")


def inner(x: Left, y: Right, of: Algebra) -> Product:
    """Hestenes' inner product: the part of grade |a - b|, nothing where a or b is 0."""
    return _product(x, y, of, "inner")


def left_contraction(x: Left, y: Right, of: Algebra) -> Product:
    """Of grades a and b the part of grade b - a."""
    return _product(x, y, of, "left")


def regressive(x: Left, y: Right, of: Algebra) -> Product:
    """The meet: the wedge of the right complements, brought back; no metric enters."""
    return _product(x, y, of, "regressive")


def weighted_product(
    x: Float[Tensor, "*batch channels blades"],
    y: Float[Tensor, "*batch channels blades"],
    weight: Float[Tensor, "channels paths"],
    of: Algebra,
) -> Float[Tensor, "*batch channels blades"]:
    r"""sum over paths of w_{c,(ijk)} << <x_c>_i <y_c>_k >_j.

    Ruhe, Brandstetter, Forré, Clifford group equivariant neural networks, equation 12. The weight
    of a path stands outside of the sum of its terms, so that weights cost little.

    Args:
        x: left factors.
        y: right factors, of the same shape.
        weight: in the order of `of.paths`.
        of: the algebra.

    Raises:
        UnsupportedInputError: for factors or weights of other shapes.
    """
    check("weighted_product", of, x, y)
    _check_factors("weighted_product", x, y, weight, x.shape[-2:-1], of)
    if compiles(x, of):
        flat = (math.prod(x.shape[:-2]), *x.shape[-2:])
        return _native.product(x.reshape(flat), y.reshape(flat), weight, of).reshape(x.shape)
    out = multiply_weighted(_flat(x), _flat(y), weight.T, of)
    return channels_first(out).reshape(x.shape)


def connected_product(
    x: Float[Tensor, "*batch inputs blades"],
    y: Float[Tensor, "*batch inputs blades"],
    weight: Float[Tensor, "outputs inputs paths"],
    of: Algebra,
) -> Float[Tensor, "*batch outputs blades"]:
    r"""sum over inputs n and paths of w_{m,n,(ijk)} << <x_n>_i <y_n>_k >_j.

    Products along all paths once, then one matrix multiplication per grade of the output.

    Args:
        x: left factors.
        y: right factors, of the same shape.
        weight: in the order of `of.paths`.
        of: the algebra.

    Raises:
        UnsupportedInputError: for factors or weights of other shapes.
    """
    check("connected_product", of, x, y)
    _check_factors("connected_product", x, y, weight, (*weight.shape[:1], *x.shape[-2:-1]), of)
    out = channels_first(multiply_connected(_flat(x), _flat(y), weight, of))
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


def project(x: Multivector, grades: Collection[int], of: Algebra) -> Multivector:
    """The part of the given grades, zeros elsewhere."""
    check("project", of, x)
    for grade in grades:
        of.slice(grade)  # refuses what isn't there
    return x * x.new_tensor([float(g in grades) for g in of.grades])


def grade_involution(x: Multivector, of: Algebra) -> Multivector:
    """(-1)^g on grade g: every vector changes its sign."""
    return _signed(x, of, lambda g: g)


def reverse(x: Multivector, of: Algebra) -> Multivector:
    """(-1)^(g (g - 1) / 2) on grade g: the order of all products is reversed."""
    return _signed(x, of, lambda g: g * (g - 1) // 2)


def conjugate(x: Multivector, of: Algebra) -> Multivector:
    """Clifford conjugation, reverse and grade involution: (-1)^(g (g + 1) / 2) on grade g."""
    return _signed(x, of, lambda g: g * (g + 1) // 2)


def quadratic_form(x: Multivector, of: Algebra) -> Float[Tensor, "*batch"]:
    """q(x), the scalar part of reverse(x) x; negative or zero where the metric isn't positive."""
    check("quadratic_form", of, x)
    return (x * x) @ x.new_tensor([float(s) for s in of.squares])


def grade_forms(x: Multivector, of: Algebra) -> Float[Tensor, "*batch grades"]:
    """q of each grade's part."""
    check("grade_forms", of, x)
    squares = (x * x * x.new_tensor([float(s) for s in of.squares])).movedim(-1, 0)
    parts = [squares[of.slice(g)].sum(0) for g in range(of.dimension + 1)]
    return torch.stack(parts).movedim(0, -1)


def norm(x: Multivector, of: Algebra) -> Float[Tensor, "*batch"]:
    """A smooth sqrt(|q(x)|), (q^2 + 1e-16)^(1/4): 1e-4 at zero and for light-like vectors."""
    return smooth_root(quadratic_form(x, of))


def grade_norms(x: Multivector, of: Algebra) -> Float[Tensor, "*batch grades"]:
    """`norm` of each grade's part."""
    return smooth_root(grade_forms(x, of))


def smooth_root(q: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """(q^2 + 1e-16)^(1/4): sqrt(|q|) with finite derivatives; in float32 up to |q| = 1.8e19."""
    return (q * q + EPS).sqrt().sqrt()


def embed(values: Float[Tensor, "*batch size"], grade: int, of: Algebra) -> Multivector:
    """Components of one grade as multivectors: scalars (1), vectors (n), bivectors, ...

    Raises:
        UnsupportedInputError: for another number of components.
    """
    where = of.slice(grade)
    if values.shape[-1] != of.sizes[grade]:
        raise UnsupportedInputError(
            f"grade {grade} of Cl{of.signature} has {of.sizes[grade]} components, not "
            f"{values.shape[-1]}"
        )
    return torch.nn.functional.pad(values, (where.start, of.blades - where.stop))


def versor(vectors: Float[Tensor, "count *batch n"], of: Algebra) -> Product:
    """The product of vectors; the Pin group's elements, where each squares to +1 or -1.

    Args:
        vectors: factors from left to right, in the coordinates of the generators.
        of: the algebra.
    """
    factors = embed(vectors, 1, of).unbind()
    return functools.reduce(lambda a, b: geometric_product(a, b, of), factors)


def act(v: Left, x: Right, of: Algebra) -> Product:
    """The versor v acting on x: v hat(x) v^-1 for odd v, v x v^-1 for even v.

    On vectors an odd versor of one factor reflects; the action respects products, sums and grades.

    Raises:
        UnsupportedInputError: where v isn't odd or even, or has no inverse (q(v) = 0).
    """
    check("act", of, v, x)
    odd = [g % 2 == 1 for g in of.grades]
    weight = v.detach().abs()
    mask = torch.tensor(odd, device=v.device)
    total, odd_part = weight.sum(-1), (weight * mask).sum(-1)
    limit = 1e3 * torch.finfo(v.dtype).eps * total
    form = quadratic_form(v, of)
    is_odd = odd_part > total / 2
    stray = torch.where(is_odd, total - odd_part, odd_part)
    if bool((stray > limit).any()) or bool((form.detach().abs() <= limit * total).any()):
        raise UnsupportedInputError(
            "act needs versors: products of vectors, odd or even, whose squares aren't zero "
            f"(smallest |q| {float(form.detach().abs().min()):.3g}, largest part of the other "
            f"parity {float(stray.max()):.3g}); make them with versor"
        )
    turned = torch.where(is_odd[..., None], grade_involution(x, of), x)
    inverse = reverse(v, of) / form[..., None]
    return geometric_product(geometric_product(v, turned, of), inverse, of)


def _signed(x: Tensor, of: Algebra, power: Callable[[int], int]) -> Tensor:
    check("an involution", of, x)
    return x * x.new_tensor([(-1.0) ** power(g) for g in of.grades])


def _product(x: Tensor, y: Tensor, of: Algebra, kind: Kind) -> Tensor:
    check(kind, of, x, y)
    x, y = torch.broadcast_tensors(x, y)
    out = multiply(x.movedim(-1, 0).contiguous(), y.movedim(-1, 0).contiguous(), plain(of, kind))
    return out.movedim(0, -1)


def _flat(x: Tensor) -> Tensor:
    """(*batch, channels, blades) as (blades, batch, channels)."""
    return blade_major(x).reshape(x.shape[-1], math.prod(x.shape[:-2]), x.shape[-2])


def check(where: str, of: Algebra, *tensors: Tensor) -> None:
    """Refuses half precision, two precisions, and a last axis that isn't the blades'.

    Args:
        where: names the function.
        of: the algebra.
        tensors: multivectors.

    Raises:
        UnsupportedInputError: names the shape or the precisions.
        DeviceError: half precision.
    """
    check_precision(f"clifford.{where}", *tensors)
    for x in tensors:
        if x.ndim == 0 or x.shape[-1] != of.blades:
            raise UnsupportedInputError(
                f"clifford.{where}: the last axis holds the {of.blades} blades of "
                f"Cl{of.signature}; the shape is {tuple(x.shape)}"
            )
    if len({x.dtype for x in tensors}) > 1:
        raise UnsupportedInputError(
            f"clifford.{where}: the factors are {' and '.join(str(x.dtype) for x in tensors)}; "
            "bring both to one precision"
        )


def _check_factors(
    where: str, x: Tensor, y: Tensor, weight: Tensor, channels: tuple[int, ...], of: Algebra
) -> None:
    """Refuses what would be read in another order, or spread over channels.

    Args:
        where: names the product.
        x: left factors.
        y: right factors.
        weight: of the paths.
        channels: axes of the weight before the paths.
        of: the algebra.
    """
    if x.ndim < 2 or x.shape != y.shape:
        raise UnsupportedInputError(
            f"clifford.{where} takes two factors (..., channels, {of.blades}) of one shape, not "
            f"{tuple(x.shape)} and {tuple(y.shape)}; expand the smaller one"
        )
    shape = (*channels, len(of.paths))
    if tuple(weight.shape) != shape or weight.dtype != x.dtype:
        raise UnsupportedInputError(
            f"clifford.{where}: the weight is {tuple(weight.shape)} in {weight.dtype}; expected "
            f"{shape} in {x.dtype}, the last axis in the order of the {len(of.paths)} paths"
        )
