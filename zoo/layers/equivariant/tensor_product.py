"""Products of irreps behind one constructor.

Every equivariant bilinear map of channels is, path by path, a number times the coupling tensor:

    z^k_c = sum_ij a_ijk,c sqrt(2 l3 + 1) w3j(l1, l2, l3) x^i_c y^j_c.

The methods differ in which numbers a they reach, and at what cost; (i, j, k) are irreps of the
inputs and the output, c channels.

| method         | a_ijk                                   | can't express                      |
|----------------|-----------------------------------------|------------------------------------|
| `cg`           | w_ijk / sqrt(paths into k)              | nothing                            |
| `cg_sparse`    | the same                                | nothing                            |
| `gaunt_grid`   | n_k w1_i w2_j w3_k G / sqrt(2 l3 + 1)   | odd l1 + l2 + l3; free path weights|
| `gaunt_fourier`| the same                                | the same                           |
| `matrix`       | n_k w1_i w2_j w3_k m_ijk                | free path weights                  |
| `vector_gaunt` | n_k sum over kinds w1 w2 w3 v_ijk       | free path weights                  |
| `cp`           | w / sqrt(paths into k)                  | free path weights                  |

G is the Gaunt coefficient, m and v are the numbers of the constructions in `_matrix` and
`_vector_gaunt`; w are weights (of `cp` one per channel), n_k makes the variance of the output's
components one. Definitions stand in full in the modules of the methods.
"""

from typing import Any, NamedTuple

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.layers.equivariant._cg import DenseCG
from zoo.layers.equivariant._cg_sparse import SparseCG
from zoo.layers.equivariant._cp import SharedCP
from zoo.layers.equivariant._gaunt import GauntFourier, GauntGrid
from zoo.layers.equivariant._legs import Irrep, Leg, Legs, as_irreps
from zoo.layers.equivariant._matrix import MatrixProduct
from zoo.layers.equivariant._method import Method
from zoo.layers.equivariant._vector_gaunt import VectorGaunt

METHODS: dict[str, type[Method]] = {
    "cg": DenseCG,
    "cg_sparse": SparseCG,
    "gaunt_grid": GauntGrid,
    "gaunt_fourier": GauntFourier,
    "matrix": MatrixProduct,
    "vector_gaunt": VectorGaunt,
    "cp": SharedCP,
}
#: methods that take options
OPTIONAL = ("gaunt_grid", "cp")
WEIGHTS = ("internal", "external", "none")


class Coupling(NamedTuple):
    """A path that the group allows."""

    #: positions among the irreps of in1, in2 and out
    path: tuple[int, int, int]
    #: such as "1o x 1o -> 2e"
    irreps: str
    #: a_ijk with weights of one
    coefficient: float


class TensorProduct(nn.Module):
    """Multiplies two sets of irreps channel by channel, by any of seven methods.

    Features lie as in e3nn, irrep after irrep, channels times components. All irreps of one
    argument have the same multiplicity, the number of channels; an argument with one channel
    serves all channels of the other. Channels are mixed by `Linear`, before or after.

    Weights are rows times channels, (weight_rows, channels) flattened: one row for each path of
    `cg` and `cg_sparse` (in the order of `couplings`, which is that of an e3nn TensorProduct with
    these "uuu" or "uvu" instructions), one for each irrep of both inputs and the output in the
    other methods, and for `vector_gaunt` one for each kind in which an irrep takes part; `cp` has
    one row.

    Args:
        irreps_in1: of x.
        irreps_in2: of y.
        irreps_out: of the product; None for every irrep that the method reaches, each once.
        method: "cg", "cg_sparse", "gaunt_grid", "gaunt_fourier", "matrix", "vector_gaunt" or "cp".
        weights: "internal": parameters (normal for paths, ones otherwise); "external": given at
            each call, to all samples or one set each; "none": weights of one.
        options: of the method. `gaunt_grid`: `grid` ("gauss_legendre" or "lebedev"), `resolution`
            (lat, lon), `allow_aliasing`. `cp`: `rank` ("exact", "quadratic" or a number of terms).

    Raises:
        ConfigError: unreadable irreps, several multiplicities, irreps that don't couple (or not by
            this method), a degree beyond the tables, a grid too coarse.
    """

    def __init__(
        self,
        irreps_in1: str | o3.Irreps,
        irreps_in2: str | o3.Irreps,
        irreps_out: str | o3.Irreps | None = None,
        method: str = "cg",
        *,
        weights: str = "internal",
        **options: Any,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ConfigError(
                f"method={method!r}: {nearest(method, METHODS)} (one of {', '.join(METHODS)})"
            )
        if weights not in WEIGHTS:
            raise ConfigError(
                f"weights={weights!r}: {nearest(weights, WEIGHTS)} (one of {', '.join(WEIGHTS)})"
            )
        if options and method not in OPTIONAL:
            raise ConfigError(f"method {method!r} takes no options, not {', '.join(options)}")
        kernel = METHODS[method]
        out = reachable(irreps_in1, irreps_in2, method) if irreps_out is None else irreps_out
        legs = Legs(
            Leg(irreps_in1, "irreps_in1", kernel.input_key),
            Leg(irreps_in2, "irreps_in2", kernel.input_key),
            Leg(out, "irreps_out", kernel.key),
        )
        _check_channels(legs)
        _check_coupled(legs, legs.triples())
        self.method = method
        self.channels = legs.out.channels
        self.irreps_in1, self.irreps_in2, self.irreps_out = (leg.irreps for leg in legs)
        self.kernel = kernel(legs, **options)
        _check_coupled(legs, [c.path for c in self.couplings() if c.coefficient], method)
        self.weight_rows = self.kernel.weight_rows
        self.weight_numel = self.weight_rows * self.channels
        self.weights = weights
        if weights == "internal":
            paths = method.startswith("cg")
            shape = (self.weight_rows, self.channels)
            self.weight = nn.Parameter(torch.randn(shape) if paths else torch.ones(shape))

    def forward(
        self,
        x: Float[Tensor, "*batch in1"],
        y: Float[Tensor, "*same_batch in2"],
        weight: Float[Tensor, " numel"] | Float[Tensor, "*batch numel"] | None = None,
    ) -> Float[Tensor, "*batch out"]:
        """The product.

        Args:
            x: features of `irreps_in1`.
            y: features of `irreps_in2`.
            weight: with `weights="external"`: (weight_numel,), or one row per sample
                (`cg_sparse` takes one for all only).

        Raises:
            ConfigError: widths other than the irreps', weights missing, unwanted or of another
                shape.
        """
        self._check_widths(x, y)
        batch = x.shape[:-1]
        w = self._weights(weight, batch)
        legs = self.kernel.legs
        rows = [
            leg.to_rows(t if t.dim() == 2 else t.reshape(-1, leg.width), self.channels)
            for leg, t in ((legs.in1, x), (legs.in2, y))
        ]
        z = legs.out.from_rows(self.kernel(*rows, w))
        return z if len(batch) == 1 else z.reshape(*batch, legs.out.width)

    def couplings(self) -> list[Coupling]:
        """Every path that rotations and inversions allow, with its coefficient at weights of one.

        A coefficient of zero is a path that the method can't express.
        """
        legs, found = self.kernel.legs, self.kernel.coefficients
        return [Coupling(p, legs.describe(p), float(found[p])) for p in legs.triples()]

    @property
    def inexpressible(self) -> list[str]:
        """The allowed paths that this method leaves out, such as "1o x 1o -> 1e"."""
        return [path.irreps for path in self.couplings() if path.coefficient == 0.0]

    def extra_repr(self) -> str:
        """For `repr`."""
        return (
            f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, method={self.method}, "
            f"weights={self.weights} ({self.weight_numel})"
        )

    def _check_widths(self, x: Tensor, y: Tensor) -> None:
        for name, value, leg in (("x", x, self.kernel.legs.in1), ("y", y, self.kernel.legs.in2)):
            if value.shape[-1] != leg.width:
                raise ConfigError(
                    f"{name} has rows of {value.shape[-1]} numbers; {leg.irreps} has {leg.width}"
                )
        if x.shape[:-1] != y.shape[:-1]:
            raise ConfigError(
                f"x holds {tuple(x.shape[:-1])} samples, y {tuple(y.shape[:-1])}; they must agree"
            )

    def _weights(self, given: Tensor | None, batch: torch.Size) -> Tensor | None:
        """(weight rows, channels, samples or 1)."""
        if (given is not None) != (self.weights == "external"):
            wanted = "needs a weight" if given is None else "takes no weight"
            raise ConfigError(f"a product with weights={self.weights!r} {wanted} at each call")
        if given is None:
            return self.weight[..., None] if self.weights == "internal" else None
        shape = tuple(given.shape)
        if shape == (self.weight_numel,):
            return given.reshape(self.weight_rows, self.channels, 1)
        each = (*batch, self.weight_numel)
        if shape != each or not self.kernel.per_sample_weights:
            either = f" or {each}" if self.kernel.per_sample_weights else ""
            raise ConfigError(
                f"weight has the shape {shape}; {self.method!r} expects "
                f"{(self.weight_numel,)}{either}"
            )
        return given.reshape(-1, self.weight_rows, self.channels).permute(1, 2, 0)


def reachable(irreps_in1: str | o3.Irreps, irreps_in2: str | o3.Irreps, method: str) -> o3.Irreps:
    """Every irrep that a method makes of two inputs, once, in e3nn's order.

    Args:
        irreps_in1: of x.
        irreps_in2: of y.
        method: of the product.

    Raises:
        ConfigError: unreadable irreps.
    """
    first, second = as_irreps(irreps_in1, "irreps_in1"), as_irreps(irreps_in2, "irreps_in2")
    kernel = METHODS[method]
    found = {
        Irrep(c.l, c.p)
        for a in first
        for b in second
        for c in a.ir * b.ir
        if kernel.expresses(_irrep(a), _irrep(b), Irrep(c.l, c.p))
    }
    channels = max(part.mul for part in [*first, *second])
    return o3.Irreps([(channels, tuple(c)) for c in sorted(found, key=lambda c: (c.l, c.kind < 0))])


def _irrep(part: Any) -> Irrep:
    return Irrep(part.ir.l, part.ir.p)


def _check_channels(legs: Legs) -> None:
    channels = [leg.channels for leg in legs]
    if channels[2] != max(channels) or any(c not in (1, channels[2]) for c in channels[:2]):
        raise ConfigError(
            f"{legs.in1.irreps} x {legs.in2.irreps} -> {legs.out.irreps} has {channels[0]} x "
            f"{channels[1]} -> {channels[2]} channels; the product works channel by channel: give "
            "all the same multiplicity (an input may have one)"
        )


def _check_coupled(
    legs: Legs, paths: list[tuple[int, int, int]], method: str | None = None
) -> None:
    """Refuses irreps that no path reaches or uses.

    Args:
        legs: the irreps.
        paths: the paths there are.
        method: the method they are those of; None for all that the group allows.
    """
    names = ("irreps_in1", "irreps_in2", "irreps_out")
    whole = f"{legs.in1.irreps} x {legs.in2.irreps} -> {legs.out.irreps}"
    for column in (2, 0, 1):
        idle = set(range(len(legs[column].entries))) - {path[column] for path in paths}
        if not idle:
            continue
        listed = "+".join(str(legs[column].entries[n]) for n in sorted(idle))
        if method is None:
            raise ConfigError(
                f"{listed} of {names[column]} doesn't couple in {whole}: degrees obey "
                "|l1 - l2| <= l3 <= l1 + l2, parities multiply (e x e and o x o give e, e x o "
                "gives o); leave it out, or give irreps it couples to"
            )
        why = "of even l1 + l2 + l3" if method.startswith("gaunt") else "without 0o"
        raise ConfigError(
            f"{listed} of {names[column]} takes part in no path of {whole} by method {method!r}, "
            f"which has only those {why}; take 'cg' or 'vector_gaunt', or leave it out"
        )
