"""Where the rate goes: what z knows of x, and how far the aggregated posterior is from the prior.

rate = I_q(x; z) + KL(q̄‖p),        q̄(z) = 1/N Σ_n q(z|x_n)
KL(q̄‖p) = TC(q̄) + Σ_j KL(q̄_j‖p_j)        where p factorises over units
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.diagnostics.draws import at_rest, posterior_draws, posteriors, some
from vael.distributions.marginals import is_factorised, unit_log_prob
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.numbers import Number

AT_ONCE = 2**22  # numbers held at once: draws × posteriors × units
ROOM = 1.0  # nats that I_q has to stay below its cap to be believed


@dataclass(frozen=True)
class Information:
    """The rate of a split taken apart, in nats per example.

    mutual_information: I_q(x; z), of which N examples can show log N at most: `cap`.
    marginal_kl: KL(q̄‖p). total_correlation: TC(q̄). unit_kl: Σ_j KL(q̄_j‖p_j). units: each of these, `(G,)`.
        The last three are None where a unit's own density is not known or p does not factorise.
    examples: N, the posteriors q̄ is made of. anchors: how many of them z was drawn from.
    """

    rate: Number
    mutual_information: Number
    marginal_kl: Number
    total_correlation: Number | None
    unit_kl: Number | None
    units: list[float] | None
    examples: int
    anchors: int

    @property
    def cap(self) -> float:
        """log N: q̄ holds each example's own posterior with weight 1/N, so I_q cannot be more; nats."""
        return math.log(self.examples)

    @property
    def capped(self) -> bool:
        """Whether the rate is beyond what N examples can tell apart: then I_q is too low and KL(q̄‖p) too high."""
        return self.mutual_information.value > self.cap - ROOM


def information(model: VAE, split: Split, *, anchors: int | None = 1000, draws: int = 1, seed: int = 0) -> Information:
    """I_q(x; z), KL(q̄‖p) and the parts of the latter, with q̄ the mixture of all N posteriors of `split`.

        I_q = mean of log q(z|x) − log q̄(z),   KL(q̄‖p) = mean of log q̄(z) − log p(z),   z ~ q(z|x)
        TC = mean of log q̄(z) − Σ_j log q̄_j(z_j),   KL(q̄_j‖p_j) = mean of log q̄_j(z_j) − log p_j(z_j)

    Exact but for the draws: no minibatch stands for q̄. The N examples are taken for the whole distribution, so I_q is
    at most log N, and for few examples and a high rate too low; KL(q̄‖p) is then too high by as much.

    anchors: Shuffled examples that z is drawn from, `draws` times each; None for all. Cost: anchors × draws × N × D.
    Raises RecipeError for fewer than two examples.
    Source: Hoffman & Johnson 2016, ELBO surgery; Chen et al. 2018, eq. 2 (arXiv 1802.04942).
    """
    if len(split) < 2:
        raise RecipeError(f"information: needs at least 2 examples to make q̄ of, got {len(split)}.")
    with at_rest(model):
        split = split.settled(seed=0).to(model.device)
        part = some(split, anchors, seed)
        z = posterior_draws(model, part, draws=draws, seed=seed)  # (K, A, D)
        log_q = torch.cat([q.log_prob(z[:, rows]) for rows, q in posteriors(model, part)], 1)
        prior = model.prior()
        log_p, log_bar, units_bar = prior.log_prob(z), *aggregated(model, split, z)
        units_p = unit_log_prob(prior, z) if is_factorised(prior) else None
        return _told(log_q, log_p, log_bar, units_bar, units_p, len(split))


def aggregated(model: VAE, split: Split, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """log q̄(z) `(K, A)` and log q̄_j(z_j) `(K, A, G)`, None where not known, for z `(K, A, D)`; nats, float64.

    log q̄(z) = logsumexp_n log q(z|x_n) − log N,        streamed over the examples of a settled `split`
    """
    flat = z.flatten(0, 1).unsqueeze(1)  # (K A, 1, D)
    size = max(1, AT_ONCE // flat.numel())
    whole = torch.full((len(flat),), -math.inf, dtype=torch.float64)
    units: Tensor | None = None
    for _, q in posteriors(model, split, size):
        whole = torch.logaddexp(whole, q.log_prob(flat).to("cpu", torch.float64).logsumexp(1))
        alone = unit_log_prob(q, flat)
        if alone is not None:
            summed = alone.to("cpu", torch.float64).logsumexp(1)  # (K A, G)
            units = summed if units is None else torch.logaddexp(units, summed)
    log_n = math.log(len(split))
    return (whole - log_n).view(z.shape[:2]), None if units is None else (units - log_n).view(*z.shape[:2], -1)


def _told(
    log_q: Tensor, log_p: Tensor, log_bar: Tensor, units_bar: Tensor | None, units_p: Tensor | None, examples: int
) -> Information:
    """The means over draws `(K, A, …)`, and their errors over the examples."""
    log_q, log_p = log_q.to("cpu", torch.float64), log_p.to("cpu", torch.float64)
    correlation = units = None
    if units_bar is not None and units_p is not None:
        units = (units_bar - units_p.to("cpu", torch.float64)).mean(0)  # (A, G)
        correlation = Number.of((log_bar - units_bar.sum(-1)).mean(0))
    return Information(
        rate=Number.of((log_q - log_p).mean(0)),
        mutual_information=Number.of((log_q - log_bar).mean(0)),
        marginal_kl=Number.of((log_bar - log_p).mean(0)),
        total_correlation=correlation,
        unit_kl=None if units is None else Number.of(units.sum(-1)),
        units=None if units is None else [float(unit) for unit in units.mean(0)],
        examples=examples,
        anchors=log_q.shape[1],
    )
