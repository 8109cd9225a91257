r"""Matrix product states as classifiers.

Stoudenmire, Schwab, *Supervised learning with tensor networks*, NeurIPS 2016 (arXiv:1605.05775):
each number x_j of a sample becomes a vector phi(x_j) of two, and

    f^l(x) = a^T (prod_{j<p} sum_s A_j^s phi_s(x_j)) L^l (prod_{j>=p} sum_s A_j^s phi_s(x_j)) b

with matrices A of `bond_dim` rows and one core L with an index for the class at the site p.

Two vectors run from the ends to the label, side by side: 2 n d D^2 multiplications for each sample
(n sites, d = 2, D = `bond_dim`), as many as one after the other in half as many steps. Multiplying
neighbouring matrices pairwise, which takes log n steps but n D^3, was slower in every size measured
on a CPU (36 to 256 sites, D = 4 to 20) but one, 256 sites of D = 4 in batches of 64.

Deviations: the paper sweeps over pairs of sites and cuts singular values, here any optimiser trains
all cores at once, from the identity and a little noise. `normalise=True` divides both vectors by
their lengths before they meet the label, which leaves the order of the classes as it is and keeps
chains of any length finite; the paper's f grows or shrinks exponentially with their length.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.precision import check_precision

FeatureMap = Literal["cos_sin", "linear"]
#: between two rescalings: so many steps can't leave the range of float32 on the way
_STEPS = 4


def site_features(
    x: Float[Tensor, "*batch"], kind: FeatureMap = "cos_sin"
) -> Float[Tensor, "*batch 2"]:
    """The vector of each number.

    Args:
        x: any numbers; those from 0 to 1 go from the first axis to the second.
        kind: "cos_sin" for (cos(pi x / 2), sin(pi x / 2)), of length 1; "linear" for (1 - x, x).
    """
    if kind == "linear":
        return torch.stack([1 - x, x], dim=-1)
    turn = x * (math.pi / 2)
    return torch.stack([turn.cos(), turn.sin()], dim=-1)


class MPSChain(nn.Module):
    """The matrices on both sides of the label.

    Args:
        n_sites: numbers of a sample.
        bond_dim: rows of the matrices (D).
        feature_map: see `site_features`.
        label_site: how many sites lie left of the label; half of them if None.
        init_std: standard deviation of the noise on every matrix.
        normalise: whether the vectors are divided by their lengths.

    Raises:
        ConfigError: for sizes below 1, a label outside of the chain, or an unknown feature map.
    """

    def __init__(
        self,
        n_sites: int,
        bond_dim: int = 20,
        feature_map: FeatureMap = "cos_sin",
        label_site: int | None = None,
        *,
        init_std: float = 0.1,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        site = n_sites // 2 if label_site is None else label_site
        _check(n_sites, bond_dim, feature_map, site, init_std)
        self.n_sites, self.bond_dim, self.label_site = n_sites, bond_dim, site
        self.feature_map: FeatureMap = feature_map
        self.normalise = normalise
        # the sum of the features lies between 1 and sqrt 2, or is 1
        scale = 2**-0.25 if feature_map == "cos_sin" else 1.0
        start = scale * torch.eye(bond_dim).expand(n_sites, 2, bond_dim, bond_dim)
        self.cores = nn.Parameter(start + init_std * torch.randn(start.shape))
        self.ends = nn.Parameter(torch.full((2, bond_dim), bond_dim**-0.5))

    def forward(
        self, x: Float[Tensor, "batch sites"]
    ) -> tuple[Float[Tensor, "batch bond"], Float[Tensor, "batch bond"]]:
        """The vectors that arrive at the label from the left and from the right.

        Args:
            x: one number per site.

        Raises:
            UnsupportedInputError: for another number of sites.
            DeviceError: in half precision.
        """
        check_precision("MPSChain", x)
        if x.ndim != 2 or x.shape[1] != self.n_sites:
            raise UnsupportedInputError(
                f"MPSChain: an input of shape {tuple(x.shape)}, but the chain has n_sites="
                f"{self.n_sites}; bring samples to (batch, n_sites) or make a chain of theirs"
            )
        weights, features = self._steps(x)
        vectors = self.ends[:, None].expand(2, x.shape[0], self.bond_dim)
        scale = x.new_zeros(2, x.shape[0], 1)
        for step, (weight, feature) in enumerate(zip(weights, features, strict=True)):
            both = vectors[..., None] * feature[:, :, None, :]  # (sides, batch, bond, 2)
            vectors = torch.bmm(both.flatten(2), weight)
            if step % _STEPS == _STEPS - 1:
                # without gradient: a common factor leaves directions, and is put back otherwise
                size = vectors.detach().abs().amax(dim=-1, keepdim=True)
                size = size.clamp(min=torch.finfo(x.dtype).tiny)
                vectors, scale = vectors / size, scale + size.log()
        if self.normalise:
            length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
            vectors = vectors / length.clamp(min=torch.finfo(x.dtype).tiny)
        else:
            vectors = vectors * scale.exp()
        return vectors[0], vectors[1]

    def _steps(
        self, x: Float[Tensor, "batch sites"]
    ) -> tuple[Float[Tensor, "steps 2 rows bond"], Float[Tensor, "steps 2 batch 2"]]:
        """Matrices (bond and feature by bond) and features, from the ends to the label.

        The shorter side begins with sites that change nothing.
        """
        site, steps = self.label_site, max(self.label_site, self.n_sites - self.label_site)
        phi = site_features(x, self.feature_map).transpose(0, 1)  # (sites, batch, 2)
        left, right = self.cores[:site], self.cores[site:].flip(0).transpose(2, 3)
        weights, features = [], []
        for cores, side in ((left, phi[:site]), (right, phi[site:].flip(0))):
            missing = steps - len(cores)
            idle = cores.new_zeros(missing, 2, self.bond_dim, self.bond_dim)
            idle[:, 0] = torch.eye(self.bond_dim, dtype=idle.dtype, device=idle.device)
            still = phi.new_tensor([1.0, 0.0]).expand(missing, x.shape[0], 2)
            rows = torch.cat([idle, cores]).transpose(1, 2).flatten(1, 2)
            weights.append(rows)  # (steps, bond * 2, bond)
            features.append(torch.cat([still, side]))
        return torch.stack(weights, dim=1), torch.stack(features, dim=1)


class MPSLabel(nn.Module):
    """The core between both sides: one matrix per class.

    Args:
        bond_dim: rows of the matrices.
        n_classes: how many.

    Raises:
        ConfigError: for fewer than one class.
    """

    def __init__(self, bond_dim: int, n_classes: int) -> None:
        super().__init__()
        if n_classes < 1:
            raise ConfigError(f"MPSLabel: n_classes={n_classes}; expected 1 or more")
        self.weight = nn.Parameter(torch.randn(n_classes, bond_dim, bond_dim))

    def forward(
        self, left: Float[Tensor, "batch bond"], right: Float[Tensor, "batch bond"]
    ) -> Float[Tensor, "batch classes"]:
        """left^T L^l right for each class."""
        return torch.einsum("bi,lij,bj->bl", left, self.weight, right)


class MPSHead(nn.Module):
    """A matrix product state from features to classes; the head of a network, or all of it.

    Args:
        n_sites: features of a sample.
        n_classes: outputs.
        bond_dim: rows of the matrices.
        feature_map: "cos_sin" or "linear", see `site_features`; both expect numbers from 0 to 1.
        label_site: how many sites lie left of the label; half of them if None.
        init_std: standard deviation of the noise on the initial matrices.
        normalise: whether the vectors that meet at the label are divided by their lengths.

    Raises:
        ConfigError: for sizes below 1, a label outside of the chain, or an unknown feature map.
    """

    def __init__(
        self,
        n_sites: int,
        n_classes: int,
        bond_dim: int = 20,
        feature_map: FeatureMap = "cos_sin",
        label_site: int | None = None,
        *,
        init_std: float = 0.1,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.chain = MPSChain(
            n_sites, bond_dim, feature_map, label_site, init_std=init_std, normalise=normalise
        )
        self.label = MPSLabel(bond_dim, n_classes)

    def forward(self, x: Float[Tensor, "batch sites"]) -> Float[Tensor, "batch classes"]:
        """Logits; without `normalise` the published f, which overflows on long chains."""
        left, right = self.chain(x)
        logits: Tensor = self.label(left, right)
        return logits


def _check(sites: int, bond: int, kind: str, label_site: int, init_std: float) -> None:
    if sites < 1 or bond < 1 or init_std < 0:
        raise ConfigError(
            f"MPS: n_sites={sites}, bond_dim={bond}, init_std={init_std}; expected sizes >= 1 and "
            "a standard deviation >= 0"
        )
    if not 0 <= label_site <= sites:
        raise ConfigError(
            f"MPS: label_site={label_site} lies outside of a chain of {sites} sites; expected 0 to "
            f"{sites}"
        )
    if kind not in ("cos_sin", "linear"):
        raise ConfigError(f"MPS: feature_map={kind!r}; expected 'cos_sin' or 'linear'")
