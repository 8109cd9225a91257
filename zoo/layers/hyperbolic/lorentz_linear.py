r"""Fully hyperbolic linear maps of the Lorentz model, and heads by distance.

Chen et al., Fully Hyperbolic Neural Networks, arXiv:2105.14686, section 3. Points carry their time
coordinate first; <x, x>_L = -1/c. With u = W phi(x) + b (+ a residual point),

    y_0 = sigmoid(u_0) exp(s) + floor,    y_s = u_s sqrt(y_0^2 - 1/c) / |u_s|,

which covers boosts and rotations (W is any matrix: acting on time and space alike). As in the
authors' code the bias comes before the time is taken, where equation 7 of the paper has none in it.

No fixed W commutes with isometries of the input: the map is O(1, n)-equivariant only in the sense
that W -> W L^-1 undoes x -> L x, and rotating the rows of W (and b) that make space rotates y_s.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import lorentz
from zoo.functional.precision import check_precision
from zoo.functional.squares import safe_norm

Function = Callable[[Tensor], Tensor]


class LorentzLinear(nn.Module):
    """The fully hyperbolic linear map.

    Args:
        in_features: dimension of the space of the input points.
        out_features: dimension of the space of the output points.
        in_heads: input points side by side; they are taken as one vector.
        out_heads: output points, each on a hyperboloid of its own.
        c: absolute curvature.
        activation: phi, on all coordinates of the input; None is the identity.
        dropout: of phi(x).
        scale: exp(s) at first; the spread of the times.
        learn_scale: whether s is learnt.
        floor: the least time, in units of 1 / sqrt(c); above one.
        init: bound of the uniform distribution of W; 1 / sqrt(rows) if None. Columns that act on
            times start at zero, as the bias does.

    Raises:
        ConfigError: a size that is not positive, or a floor not above one.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        in_heads: int = 1,
        out_heads: int = 1,
        c: float = 1.0,
        activation: Function | None = None,
        dropout: float = 0.0,
        scale: float = 10.0,
        learn_scale: bool = True,
        floor: float = 1.1,
        init: float | None = None,
    ) -> None:
        super().__init__()
        if min(in_features, out_features, in_heads, out_heads) < 1 or not (floor > 1 and c > 0):
            raise ConfigError(
                f"in_features={in_features}, out_features={out_features}, in_heads={in_heads}, "
                f"out_heads={out_heads}, floor={floor}, c={c}: sizes are positive, the floor of "
                "time lies above one, the absolute curvature c above zero"
            )
        self.out_features, self.out_heads, self.c = out_features, out_heads, c
        self.activation, self.floor = activation, floor / math.sqrt(c)
        self.dropout = nn.Dropout(dropout)
        rows, columns = out_heads * (out_features + 1), in_heads * (in_features + 1)
        bound = 1.0 / math.sqrt(rows) if init is None else init
        weight = torch.empty(rows, columns).uniform_(-bound, bound)
        weight[:, :: in_features + 1] = 0.0  # time, of each input head
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(rows))
        start = torch.tensor(math.log(scale))
        self.log_scale = nn.Parameter(start, requires_grad=learn_scale)

    def forward(
        self,
        x: Float[Tensor, "*batch inputs"],
        residual: Float[Tensor, "*batch outputs"] | None = None,
    ) -> Tensor:
        """Points (*batch, out_features + 1), or (*batch, out_heads, out_features + 1) of several.

        Args:
            x: points, those of several heads flattened.
            residual: points of the output space, added before the time is taken.

        Raises:
            DeviceError: half precision.
        """
        x = self.dropout(x if self.activation is None else self.activation(x))
        u = nn.functional.linear(x, self.weight, self.bias)
        check_precision("LorentzLinear", u)
        if self.out_heads > 1:
            u = u.unflatten(-1, (self.out_heads, self.out_features + 1))
        return self._onto(u if residual is None else u + residual)

    def _onto(self, u: Tensor) -> Tensor:
        time = torch.sigmoid(u[..., :1]) * self.log_scale.exp() + self.floor
        square = u[..., 1:].square().sum(-1, keepdim=True)
        factor = torch.sqrt((time.square() - 1.0 / self.c) / square.clamp(min=1e-8))
        return lorentz.lift(factor * u[..., 1:], c=self.c)  # time anew: 1e-8 may have cut |u_s|


class LorentzEmbedding(nn.Module):
    """Vectors as tangents at the origin: x -> exp0(x).

    Args:
        c: absolute curvature.
    """

    def __init__(self, *, c: float = 1.0) -> None:
        super().__init__()
        self.c = c

    def forward(self, x: Float[Tensor, "*batch space"]) -> Tensor:
        """Points (*batch, space + 1)."""
        return lorentz.exp0(x, c=self.c)


class LorentzDistanceHead(nn.Module):
    """Logits 2/c + 2 <x, c_k>_L + b_k: minus the squared Lorentz distance to a centre per class.

    Equivariant: an isometry of points and centres together leaves the logits alone.

    Args:
        in_features: dimension of the space.
        out_features: classes.
        c: absolute curvature.
    """

    def __init__(self, in_features: int, out_features: int, *, c: float = 1.0) -> None:
        super().__init__()
        self.c = c
        # tangents at the origin: any optimiser trains them
        self.centres = nn.Parameter(torch.randn(out_features, in_features) / math.sqrt(in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Float[Tensor, "*batch point"]) -> Tensor:
        """Logits (*batch, classes).

        Args:
            x: points.
        """
        centres = lorentz.exp0(self.centres, c=self.c)
        space = x[..., 1:] @ centres[:, 1:].T - x[..., :1] * centres[:, 0]
        return 2.0 / self.c + 2.0 * space + self.bias


class LorentzMLR(nn.Module):
    r"""Multinomial logistic regression by signed distances to hyperplanes.

    Bdeir, Schwethelm, Landwehr, arXiv:2303.15919, equation 8; the parametrisation of hyperplanes
    is that of arXiv:2211.00181: with unit normals z/|z| and offsets a,

        logit_k = |z_k| / sqrt(c) asinh(sqrt(c) (cosh(sqrt(c) a_k) <z_k, x_s> / |z_k|
                  - sinh(sqrt(c) a_k) x_0)).

    The authors' sign, absolute value and norm of the normal vector reduce to this.

    Args:
        in_features: dimension of the space.
        out_features: classes.
        c: absolute curvature.
    """

    def __init__(self, in_features: int, out_features: int, *, c: float = 1.0) -> None:
        super().__init__()
        self.c = c
        bound = 1.0 / math.sqrt(in_features)
        self.offset = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))
        self.normal = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*batch point"]) -> Tensor:
        """Logits (*batch, classes).

        Args:
            x: points.
        """
        return hyperplane_logits(x, self.normal, self.offset, c=self.c)


def hyperplane_logits(
    x: Float[Tensor, "*batch point"],
    normal: Float[Tensor, "classes space"],
    offset: Float[Tensor, " classes"],
    *,
    c: float = 1.0,
) -> Tensor:
    """Signed distances to hyperplanes times the lengths of their normals; see `LorentzMLR`.

    Args:
        x: points.
        normal: z.
        offset: a, the hyperplanes' distances from the origin.
        c: absolute curvature.

    Returns:
        (*batch, classes).
    """
    root = math.sqrt(c)
    side = hyperplane_products(root * x, normal, root * offset)
    return safe_norm(normal) / root * torch.asinh(side)


def hyperplane_products(
    x: Float[Tensor, "*batch point"],
    normal: Float[Tensor, "classes space"],
    offset: Float[Tensor, " classes"],
) -> Tensor:
    """<w, x>_L with the unit spacelike w = (sinh(a), cosh(a) z / |z|), sinh of a distance.

    Args:
        x: points of the unit hyperboloid.
        normal: z; where it is zero, so is the product.
        offset: a, cut at `lorentz.RADIUS`.

    Returns:
        (*batch, classes).

    Raises:
        DeviceError: half precision.
    """
    check_precision("hyperplanes of the Lorentz model", x, normal, offset)
    length = safe_norm(normal)
    positive = length > 0
    unit = normal / torch.where(positive, length, 1.0)[:, None]
    turn = offset.clamp(-lorentz.RADIUS[x.dtype], lorentz.RADIUS[x.dtype])
    side = torch.cosh(turn) * (x[..., 1:] @ unit.T) - torch.sinh(turn) * x[..., :1]
    return side * positive
