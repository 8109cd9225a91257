"""Matrix functions that geodesics on Grassmann manifolds are made of, without eigenvectors.

With G = D^T D for a tangent vector D, the exponential needs cos(sqrt G) and sin(sqrt G) / sqrt G,
both entire in G: blocks of the exponential of a matrix of twice the size. Repeated and vanishing
angles are ordinary points of them, and autograd gives derivatives of every order.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cos_sinc(
    gram: Float[Tensor, "... p p"],
) -> tuple[Float[Tensor, "... p p"], Float[Tensor, "... p p"]]:
    """cos(sqrt G) and sin(sqrt G) / sqrt G of a symmetric G >= 0.

    exp [[0, -G / a], [a, 0]] has the blocks cos(sqrt G) and a sin(sqrt G) / sqrt G below it; a is
    about |sqrt G|, which balances the two.
    """
    p = gram.shape[-1]
    trace = gram.detach().diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    scale = trace.clamp_min(1.0).sqrt()
    eye = torch.eye(p, dtype=gram.dtype, device=gram.device)
    zero = torch.zeros_like(gram)
    top = torch.cat([zero, -gram / scale], dim=-1)
    bottom = torch.cat([scale * eye, zero], dim=-1)
    whole = torch.matrix_exp(torch.cat([top, bottom], dim=-2))
    return whole[..., :p, :p], whole[..., p:, :p] / scale
