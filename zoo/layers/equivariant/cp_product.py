r"""The tensor product of Tensor Decomposition Networks (Lin et al., arXiv:2507.01131).

Features of all degrees up to L, (batch, (L + 1)^2, channels), are multiplied by the path-shared
coupling M of `zoo.functional.cp_factors`, whose factors are frozen:

    uvu   z_ku = sum_v w_uv sum_ij M_ijk x_iu y_jv        a weight per pair of channels
    uvw   z_kw = sum_uv w_uvw sum_ij M_ijk x_iu y_jv      a weight per triple
    uuu   z_ku = w_u sum_ij M_ijk x_iu y_ju               a weight per channel

with M_ijk ~ sum_r A_ir B_jr C_kr. M itself commutes with rotations and knows no parity; at a rank
that isn't exact the layer commutes with rotations up to `equivariance_error()` only.

The sums are done in the order that costs least. With one or few channels of y (uvu and uvw) each
sample gets the small matrix sum_r A_ir C_kr (B^T y)_r, which all channels of x share: (L + 1)^4
operations per channel, at any rank. With as many channels in y as in x (uuu) the factors are
applied one after another: 3 R (L + 1)^2 operations per channel.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.cp_factors import CPFactors, cp_factors
from zoo.functional.wigner import wigner_blocks
from zoo.layers.constants import ConstantModule

CPMode = Literal["uvu", "uvw", "uuu"]
_MODES: tuple[str, ...] = get_args(CPMode)


class SharedCoupling(ConstantModule):
    """The frozen factors, and what they multiply.

    Args:
        lmax: highest degree L of all three.
        rank: "exact", "quadratic" (the authors' 7 L^2) or a number of terms that ships; or factors
            of one's own, such as those of `zoo.functional.cp_fit.fit_factors`.

    Raises:
        ConfigError: no factors of this degree or rank, or factors of another degree.
    """

    first: Tensor
    second: Tensor
    third: Tensor
    table: Tensor

    def __init__(self, lmax: int, rank: int | str | CPFactors = "exact") -> None:
        super().__init__()
        factors = rank if isinstance(rank, CPFactors) else cp_factors(lmax, rank)
        if len(factors.first) != (lmax + 1) ** 2:
            raise ConfigError(
                f"the factors have {len(factors.first)} rows; lmax={lmax} takes {(lmax + 1) ** 2}"
            )
        self.lmax = lmax
        self.rank = factors.rank
        #: of the factors, |sum - M| / |M| in float64
        self.error = factors.error
        self.register_constant("first", lambda: factors.first.T.contiguous())
        self.register_constant("second", lambda: factors.second.T.contiguous())
        self.register_constant("third", lambda: factors.third.clone())
        self.register_constant("table", lambda: factors.tensor().transpose(0, 1).contiguous())

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return f"lmax={self.lmax}, rank={self.rank}, error={self.error:.1e}"

    def matrices(self, y: Float[Tensor, "*batch rows"]) -> Float[Tensor, "*batch rows rows"]:
        """sum_j M_ijk y_j, indices (i, k): what one channel of y makes of every channel of x."""
        rows = len(self.table)
        out: Tensor = (y @ self.table.flatten(1)).unflatten(-1, (rows, rows))
        return out

    def forward(
        self, x: Float[Tensor, "batch rows channels"], y: Float[Tensor, "batch rows channels"]
    ) -> Float[Tensor, "batch rows channels"]:
        """Channel by channel, through the factors."""
        out: Tensor = self.third @ ((self.first @ x) * (self.second @ y))
        return out


def apply_matrices(
    matrices: Float[Tensor, "batch rows kept"], x: Float[Tensor, "batch rows channels"]
) -> Float[Tensor, "batch kept channels"]:
    """z_ku = sum_i matrices_ik x_iu.

    Args:
        matrices: of `SharedCoupling.matrices`.
        x: features.
    """
    return matrices.transpose(1, 2) @ x


class CPTensorProduct(nn.Module):
    """Multiplies two sets of spherical features by the factorised shared coupling.

    Args:
        lmax: highest degree of x, y and the product.
        channels1: of x.
        channels2: of y; equal to `channels1` in "uuu".
        channels_out: of the product; free in "uvw", else `channels1` (None stands for it).
        mode: "uvu", "uvw" or "uuu", see the module.
        rank: "exact", "quadratic", a number of terms that ships, or factors of one's own.
        weights: "internal": parameters, normal; "external": given at each call, one set for all
            samples or one each; "none": weights of one.

    Raises:
        ConfigError: channels that the mode doesn't take, an unknown mode, no factors of this rank.
    """

    def __init__(
        self,
        lmax: int,
        channels1: int,
        channels2: int = 1,
        channels_out: int | None = None,
        *,
        mode: CPMode = "uvu",
        rank: int | str | CPFactors = "exact",
        weights: Literal["internal", "external", "none"] = "internal",
    ) -> None:
        super().__init__()
        if weights not in ("internal", "external", "none"):
            raise ConfigError(f"weights={weights!r}: expected 'internal', 'external' or 'none'")
        self.channels = _channels(channels1, channels2, channels_out, mode)
        self.mode = mode
        self.lmax = lmax
        self.weights = weights
        self.coupling = SharedCoupling(lmax, rank)
        shape = {"uvu": self.channels[:2], "uvw": self.channels, "uuu": self.channels[:1]}[mode]
        self.weight_shape = shape
        self.weight_numel = math.prod(shape)
        if weights == "internal":
            # variance: as many terms are summed as y has channels, and x in "uvw"
            summed = {"uvu": channels2, "uvw": channels1 * channels2, "uuu": 1}[mode]
            self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(summed))

    @property
    def rank(self) -> int:
        """Number of terms."""
        return self.coupling.rank

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return f"channels={self.channels}, mode={self.mode}, weights={self.weights}"

    def forward(
        self,
        x: Float[Tensor, "batch rows channels1"],
        y: Float[Tensor, "batch rows channels2"],
        weight: Float[Tensor, " numel"] | Float[Tensor, "batch numel"] | None = None,
    ) -> Float[Tensor, "batch rows channels_out"]:
        """The product.

        Args:
            x: features, degree-major.
            y: features, such as spherical harmonics of edges (with one channel).
            weight: with `weights="external"`, (weight_numel,) or one row per sample.

        Raises:
            ConfigError: other shapes, weights missing or unwanted.
        """
        self._check(x, y)
        w = self._weight(weight, x.shape[0])
        if self.mode == "uuu":
            z: Tensor = self.coupling(x, y)
            return z if w is None else z * w.unsqueeze(-2)
        if self.mode == "uvu":
            return self._uvu(x, y, w)
        each = self.coupling.matrices(y.transpose(1, 2))  # (batch, v, i, k)
        products = each.transpose(2, 3) @ x[:, None]  # (batch, v, k, u)
        if w is None:
            return products.sum((1, 3))[..., None].expand(-1, -1, self.channels[2])
        if w.dim() == 3:
            return torch.einsum("bvku,uvw->bkw", products, w)
        return torch.einsum("bvku,buvw->bkw", products, w)

    def _uvu(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        if self.channels[1] == 1 or w is None:
            z = apply_matrices(self.coupling.matrices(y.sum(2)), x)
            # w: (u, 1) or (batch, u, 1)
            return z if w is None else z * w.squeeze(-1).unsqueeze(-2)
        out: Tensor = self.coupling(x, y @ w.transpose(-1, -2))
        return out

    @torch.no_grad()
    def equivariance_error(self, *, samples: int = 16, seed: int = 0) -> float:
        """How far the product is from commuting with rotations: |f(g x, g y) - g f(x, y)| / |f|.

        Measured in the module's precision, on normal features and random rotations. At an exact
        rank it is rounding.

        Args:
            samples: pairs of features, each with a rotation of its own.
            seed: of the features and rotations.
        """
        like = self.coupling.first
        generator = torch.Generator().manual_seed(seed)
        q = torch.randn(samples, 4, generator=generator, dtype=torch.float64)
        rows = (self.lmax + 1) ** 2
        turn = torch.zeros(samples, rows, rows, dtype=torch.float64)
        for degree, block in enumerate(wigner_blocks(q, self.lmax)):
            place = slice(degree * degree, (degree + 1) ** 2)
            turn[:, place, place] = block
        turn = turn.to(like)
        x, y = (
            torch.randn(samples, rows, n, generator=generator, dtype=torch.float64).to(like)
            for n in self.channels[:2]
        )
        weight = None
        if self.weights == "external":
            drawn = torch.randn(self.weight_numel, generator=generator, dtype=torch.float64)
            weight = drawn.to(like)
        plain = self(x, y, weight)
        turned = self(turn @ x, turn @ y, weight)
        return float((turned - turn @ plain).norm() / plain.norm())

    def _check(self, x: Tensor, y: Tensor) -> None:
        rows = (self.lmax + 1) ** 2
        for name, value, channels in (("x", x, self.channels[0]), ("y", y, self.channels[1])):
            fits = value.dim() == 3 and value.shape[1:] == (rows, channels)
            if not fits or value.shape[0] != x.shape[0]:
                raise ConfigError(
                    f"{name} has the shape {tuple(value.shape)}; with lmax={self.lmax} the product "
                    f"takes ({len(x)}, {rows}, {channels})"
                )

    def _weight(self, given: Tensor | None, batch: int) -> Tensor | None:
        if (given is not None) != (self.weights == "external"):
            wanted = "needs a weight" if given is None else "takes no weight"
            raise ConfigError(f"a product with weights={self.weights!r} {wanted} at each call")
        if given is None:
            return self.weight if self.weights == "internal" else None
        if tuple(given.shape) not in ((self.weight_numel,), (batch, self.weight_numel)):
            raise ConfigError(
                f"weight has the shape {tuple(given.shape)}; expected {(self.weight_numel,)} or "
                f"{(batch, self.weight_numel)}"
            )
        weight: Tensor = given.unflatten(-1, self.weight_shape)
        return weight


def _channels(
    channels1: int, channels2: int, channels_out: int | None, mode: str
) -> tuple[int, int, int]:
    """All three numbers of channels, where the mode takes them.

    Raises:
        ConfigError: where it doesn't.
    """
    if mode not in _MODES:
        raise ConfigError(f"mode={mode!r}: {nearest(mode, _MODES)} (one of {', '.join(_MODES)})")
    out = channels1 if channels_out is None else channels_out
    channels = (channels1, channels2, out)
    if min(channels) < 1:
        raise ConfigError(f"channels {channels}: expected at least one of each")
    if mode != "uvw" and out != channels1:
        raise ConfigError(
            f"mode={mode!r} gives as many channels as x has ({channels1}), not {out}; take 'uvw'"
        )
    if mode == "uuu" and channels2 != channels1:
        raise ConfigError(
            f"mode='uuu' needs as many channels in y ({channels2}) as x ({channels1})"
        )
    return channels
