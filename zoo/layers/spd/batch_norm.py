r"""Batch norms of SPD matrices: what all of them share, and Brooks' and Kobler's.

Every batch norm here is, in the co-domain of its chart,

    out = shift_B( scale_{s / sqrt(v^2 + eps)}( centre_M(X) ) ),

with M the batch's Fréchet mean and v^2 = mean_i d^2(centre_M(X_i), origin) while training, their
running averages in evaluation, and learnable bias B and scale s. In training the output's mean is B
and its variance s^2 v^2 / (v^2 + eps), as far as the iteration for M has converged.

Sources: Brooks et al., "Riemannian batch normalization for SPD neural networks" (NeurIPS 2019),
section 3; Kobler, Hirayama, Kawanabe, "Controlling the Fréchet variance improves batch
normalization on the symmetric positive definite manifold" (ICASSP 2022), equations (6) to (10);
Kobler et al., "SPD domain-specific batch normalization" (NeurIPS 2022), Algorithm 1.

Deviations: statistics carry no gradients unless `detach=False`; one sample alone is centred and
not scaled; the variance is measured around the mean that is used, exactly, where the authors of
the domain-specific norm approximate it in the tangent space of the iteration's starting point.
"""

from typing import Literal, TypedDict, Unpack, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError, DataError
from zoo.functional.precision import check_precision
from zoo.layers.spd._charts import Centred, Chart, CongruenceChart
from zoo.layers.spd.parameter import Parametrization, SPDParameter

#: what becomes of a domain without statistics
Unseen = Literal["pool", "refuse"]
#: steps of the mean when statistics are refit: the iteration stops itself long before
REFIT_STEPS = 100


class StatisticsOptions(TypedDict, total=False):
    """Arguments that every batch norm takes: see `SPDBatchNorm`."""

    momentum: float
    batch_weight: float
    eps: float
    steps: int
    learn_bias: bool
    learn_scale: bool
    detach: bool
    unseen: Unseen
    parametrization: Parametrization


class NormOptions(StatisticsOptions, total=False):
    """The same with the number of domains."""

    num_domains: int | None


class SPDBatchNorm(nn.Module):
    """The base of all batch norms of SPD matrices; subclasses choose the chart.

    Args:
        size: n of the matrices.
        chart: the co-domain.
        num_domains: keeps statistics of so many domains (sessions, subjects), each normalised by
            its own; None: one for all, and domains are not looked at.
        momentum: weight of a batch in the running statistics.
        batch_weight: weight of a batch in the statistics that training itself normalises by; 1 is
            the batch alone. Below 1 it is momentum batch norm, and a schedule may change it.
        eps: added to the variance.
        steps: of the iteration for the batch's mean; the authors take one.
        dispersion: whether the variance is normalised too.
        learn_bias: whether there is a bias; without it the output's mean is the origin.
        learn_scale: whether the scale is learned; else it is 1.
        detach: whether statistics carry no gradients.
        unseen: what becomes of a domain without statistics in evaluation: "pool" normalises it by
            the mean of all domains' statistics, "refuse" asks for adaptation.
        parametrization: of the bias: see `SPDParameter`.

    Attributes:
        refitting: while true, every call takes the statistics of its input, whole and with the
            iteration converged, as the running ones and normalises by them.

    Raises:
        ConfigError: for numbers out of range.
    """

    running_mean: Tensor
    running_var: Tensor
    training_mean: Tensor
    training_var: Tensor
    batches: Tensor

    def __init__(  # noqa: PLR0913 - options of one layer
        self,
        size: int,
        *,
        chart: Chart,
        num_domains: int | None = None,
        momentum: float = 0.1,
        batch_weight: float = 1.0,
        eps: float = 1e-5,
        steps: int = 1,
        dispersion: bool = True,
        learn_bias: bool = True,
        learn_scale: bool = True,
        detach: bool = True,
        unseen: Unseen = "pool",
        parametrization: Parametrization = "exp",
    ) -> None:
        super().__init__()
        _check_numbers(size, num_domains, momentum, batch_weight, eps, steps)
        self.size, self.eps, self.steps = size, eps, steps
        self.momentum, self.batch_weight = momentum, batch_weight
        self.domain_specific = num_domains is not None
        self.dispersion, self.detach, self.unseen = dispersion, detach, unseen
        self.refitting = False
        self.chart = chart
        self.bias = SPDParameter(size, parametrization=parametrization) if learn_bias else None
        scale = nn.Parameter(torch.zeros(())) if dispersion and learn_scale else None
        self.register_parameter("log_scale", scale)
        tables = num_domains or 1
        start = chart.origin(size).expand(tables, size, size)
        for name in ("running_mean", "training_mean"):
            self.register_buffer(name, start.clone())
        for name in ("running_var", "training_var"):
            self.register_buffer(name, torch.ones(tables))
        self.register_buffer("batches", torch.zeros(tables, dtype=torch.int64))

    @property
    def num_domains(self) -> int:
        """How many domains have statistics."""
        return len(self.batches)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """s, positive."""
        if self.log_scale is None:
            return self.running_var.new_ones(())
        return cast(Tensor, self.log_scale).exp()

    def forward(
        self, x: Float[Tensor, "*batch n n"], domain: Int[Tensor, " samples"] | None = None
    ) -> Float[Tensor, "*batch n n"]:
        """Normalised matrices.

        Args:
            x: SPD matrices; all leading axes are averaged over.
            domain: the number of each sample's domain along the first axis; only looked at with
                `num_domains`. Without it all are domain 0 in training, from then on the only one
                that counts, and are normalised by the mean of all domains' statistics in
                evaluation.

        Raises:
            ConfigError: for matrices of another size.
            DataError: for a number out of range, or, where they are refused, a domain without
                statistics in evaluation.
            ManifoldError: for matrices that are not positive definite.
            DeviceError: in half precision.
        """
        where = type(self).__name__
        check_precision(where, x)
        if x.shape[-2:] != (self.size, self.size) or x.ndim < 3 or x.shape[0] == 0:
            raise ConfigError(
                f"{where} of size {self.size} takes (batch, ..., {self.size}, {self.size}) with at "
                f"least one matrix, not {tuple(x.shape)}"
            )
        if not self.domain_specific or domain is None:
            return self._normalise(x, 0 if not self.domain_specific else None)
        return self._by_domain(x, domain)

    def grow(self, num_domains: int) -> None:
        """Makes room for the statistics of more domains, fresh ones at the end."""
        more = num_domains - self.num_domains
        if more <= 0:
            return
        origin = self.chart.origin(self.size).to(self.running_mean).expand(more, -1, -1)
        ones = self.running_var.new_ones(more)
        self.running_mean = torch.cat([self.running_mean, origin])
        self.training_mean = torch.cat([self.training_mean, origin])
        self.running_var = torch.cat([self.running_var, ones])
        self.training_var = torch.cat([self.training_var, ones])
        self.batches = torch.cat([self.batches, self.batches.new_zeros(more)])

    def _by_domain(self, x: Tensor, domain: Tensor) -> Tensor:
        if domain.shape != x.shape[:1]:
            raise DataError(
                f"domain has the shape {tuple(domain.shape)}; expected ({len(x)},), a number for "
                "each sample"
            )
        low, high = int(domain.min()), int(domain.max())
        if self.refitting:
            self.grow(high + 1)
        if low < 0 or high >= self.num_domains:
            raise DataError(
                f"the domains lie in {low}..{high}; this batch norm keeps statistics of "
                f"0..{self.num_domains - 1}: create the model with num_domains={high + 1}, or call "
                "model.adapt(batch) with unlabelled samples of the new ones"
            )
        out = torch.empty_like(x)
        for number in torch.unique(domain).tolist():
            chosen = domain == number
            out[chosen] = self._normalise(x[chosen], int(number))
        return out

    def _normalise(self, x: Tensor, domain: int | None) -> Tensor:
        """Normalises by the statistics of one domain; None: of all of them."""
        y = self.chart.lift(x.reshape(-1, self.size, self.size))
        if self.training or self.refitting:
            if self.domain_specific and domain is None:
                # the new samples are all that counts from now on
                self.batches = self.batches * (torch.arange(self.num_domains) == 0).to(self.batches)
            centred, var = self._from_batch(y, domain or 0)
        else:
            mean, var = self._pooled() if domain is None else self._stored(domain)
            centred = self.chart.centre(y, mean)
        factor = None
        alone = self.training and len(y) == 1
        if self.dispersion and not alone:
            factor = self.scale / (var + self.eps).sqrt()
        z = self.chart.shift(centred.scaled(factor), self.bias)
        return self.chart.lower(z).reshape(x.shape)

    def _from_batch(self, y: Tensor, domain: int) -> tuple[Centred, Tensor]:
        """Centred points and variance of a batch, whose statistics are kept."""
        detach = self.detach or self.refitting
        weight = 1.0 if self.refitting else self.batch_weight
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
            mean = self.chart.mean(y, REFIT_STEPS if self.refitting else self.steps)
        used = mean
        if weight < 1.0:
            used = self.chart.blend(self.training_mean[domain], mean, weight)
        centred = self.chart.centre(y, used)
        var = self.running_var[domain]
        known = self.dispersion and len(y) > 1
        if known:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
                var = centred.square().mean()
        before = self.training_var[domain]
        blended = torch.lerp(before, var, weight) if known and weight < 1.0 else var
        self._keep(domain, (mean.detach(), var.detach()), (used.detach(), blended.detach()))
        return centred, blended

    @torch.no_grad()
    def _keep(self, domain: int, batch: tuple[Tensor, Tensor], used: tuple[Tensor, Tensor]) -> None:
        """Takes a batch's mean and variance into the running statistics."""
        momentum = 1.0 if self.refitting else self.momentum
        mean, var = batch
        if momentum < 1.0:
            mean = self.chart.blend(self.running_mean[domain], mean, momentum)
            var = torch.lerp(self.running_var[domain], var, momentum)
        values = {"running_mean": mean, "running_var": var}
        values |= {"training_mean": used[0], "training_var": used[1]}
        for name, value in values.items():
            # replaced, not written into: graphs of earlier calls may still need the old table
            table = getattr(self, name).clone()
            table[domain] = value
            setattr(self, name, table)
        batches = self.batches.clone()
        batches[domain] += 1
        self.batches = batches

    def _stored(self, domain: int) -> tuple[Tensor, Tensor]:
        """The running statistics of a domain."""
        if self.domain_specific and int(self.batches[domain]) == 0:
            if self.unseen == "pool":
                return self._pooled()
            known = torch.nonzero(self.batches).flatten().tolist()
            raise DataError(
                f"domain {domain} has no statistics (those that have: {known}); call "
                "model.adapt(batch) with unlabelled samples of it first, or leave the domains "
                "out to normalise by the mean of all"
            )
        return self.running_mean[domain], self.running_var[domain]

    def _pooled(self) -> tuple[Tensor, Tensor]:
        """The mean of the statistics of all domains that have some."""
        known = self.batches > 0
        if not bool(known.any()):
            return self.running_mean[0], self.running_var[0]
        mean = self.chart.mean(self.running_mean[known], REFIT_STEPS)
        return mean, self.running_var[known].mean()

    def extra_repr(self) -> str:
        """What tells norms apart."""
        domains = f", num_domains={self.num_domains}" if self.domain_specific else ""
        return (
            f"size={self.size}, chart={self.chart}, momentum={self.momentum}, "
            f"steps={self.steps}, dispersion={self.dispersion}{domains}"
        )


class RiemannianBatchNorm(SPDBatchNorm):
    """Brooks' batch norm, and with `dispersion` Kobler's: M^-1/2 X M^-1/2, power, B^1/2 X B^1/2.

    Args:
        size: n of the matrices.
        dispersion: whether the variance is normalised too.
        **options: see `SPDBatchNorm`.
    """

    def __init__(
        self, size: int, *, dispersion: bool = False, **options: Unpack[NormOptions]
    ) -> None:
        super().__init__(size, chart=CongruenceChart("symmetric"), dispersion=dispersion, **options)


def _check_numbers(
    size: int,
    num_domains: int | None,
    momentum: float,
    batch_weight: float,
    eps: float,
    steps: int,
) -> None:
    if size < 1 or steps < 1 or (num_domains is not None and num_domains < 1):
        raise ConfigError(
            f"size={size}, steps={steps}, num_domains={num_domains}: a batch norm needs all of at "
            "least 1"
        )
    if not (0 < momentum <= 1 and 0 < batch_weight <= 1):
        raise ConfigError(
            f"momentum={momentum}, batch_weight={batch_weight}: weights of a batch lie in (0, 1]"
        )
    if eps <= 0:
        raise ConfigError(f"eps={eps} must be positive: equal matrices have no variance")
