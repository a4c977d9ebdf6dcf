"""q(z|x) over the few states of many bits that explain x best."""

from collections.abc import Callable
from itertools import combinations, islice

import torch
from torch import Generator, Tensor

from vael.distributions.bits import Bits
from vael.distributions.listed import Listed
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood
from vael.noise import stream
from vael.posteriors.exact import ComputedPosterior, seen_log_px_z
from vael.priors.base import Prior

LogJoint = Callable[[Tensor], Tensor]


class TruncatedPosterior(ComputedPosterior):
    """p(z|x) cut down to S states of D bits: q(z) ∝ p(x, z) for z in K(x), else 0.

    Every log-weight of it is log Σ_{z ∈ K} p(x, z), which is at most log p(x), grows with K, and is log p(x) once K
    holds all 2^D states. K(x) is found by evolution: from the states with the fewest ones, each generation flips one
    random bit of each state and keeps the S best of parents and children.

    Args:
        latent: D, at most 62 bits. states: S; all 2^D where it is more.
        generations: How often K is improved, at every call.
        seed: Of the flips, the same for every example.

    For any likelihood, under `BernoulliPrior`. `em` keeps K(x) of each training example from step to step.
    Source: Guiraud, Drefs & Lücke 2018, Evolutionary expectation maximization; Lücke & Eggert 2010 for the truncation.
    """

    def __init__(self, latent: int, *, states: int = 32, generations: int = 30, seed: int = 0) -> None:
        super().__init__(latent)
        if latent > 62:
            raise RecipeError(f"TruncatedPosterior: numbers states by 64 bits; latent can be at most 62, got {latent}.")
        if states < 1:
            raise RecipeError(f"TruncatedPosterior: states must be at least 1, got {states}.")
        if generations < 0:
            raise RecipeError(f"TruncatedPosterior: generations must be at least 0, got {generations}.")
        self._states: int
        self._states, self.generations, self.seed = min(states, int(2**latent)), generations, seed

    @property
    def states(self) -> int:
        return self._states

    def refusal(self, prior: Prior, likelihood: Likelihood) -> str | None:
        return None if prior.family is Bits else f"needs BernoulliPrior, got {type(prior).__name__}."

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Listed:
        log_joint = self.log_joint(x, given, observed)
        with torch.no_grad():
            states = self.begin(len(x), like=self.prior(given).logits)
            generator = stream(self.seed, purpose="evolve", device=states.device)
            states, _ = evolved(states, log_joint, self.generations, generator)
        return Listed(states, log_joint(states))

    def log_joint(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> LogJoint:
        """z `(K, B, D)` → log p(x, z) of what is observed, nats, `(K, B)`."""
        p = self.prior(given)
        return lambda z: p.log_prob(z) + seen_log_px_z(self.likelihood, x, z, given, observed)

    def begin(self, examples: int, *, like: Tensor) -> Tensor:
        """The S states with the fewest ones, for each example, `(S, B, D)`."""
        return fewest_ones(self.latent, self.states).to(like).unsqueeze(1).repeat(1, examples, 1)


def fewest_ones(latent: int, states: int) -> Tensor:
    """The first `states` of all vectors of `latent` bits, those with fewer ones before those with more, `(S, D)`."""
    chosen = islice((on for count in range(latent + 1) for on in combinations(range(latent), count)), states)
    table = torch.zeros(states, latent)
    for row, on in enumerate(chosen):
        table[row, list(on)] = 1
    return table


def evolved(
    states: Tensor, log_joint: LogJoint, generations: int, generator: Generator
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Better states for each example, and their log p(x, z): `(S, B, D)` and `(S, B)`, best first.

    Σ_{z ∈ K} p(x, z) never falls: what is kept are the S best of a set that holds the old ones. No state is kept twice.
    """
    size, bits = len(states), states.shape[-1]
    value = log_joint(states)
    for _ in range(generations):
        place = torch.randint(bits, (size,), generator=generator, device=states.device)
        flip = torch.nn.functional.one_hot(place, bits).to(states).unsqueeze(1)  # the same for every example
        children = (states - flip).abs()
        both = torch.cat([states, children])
        worth = torch.cat([value, log_joint(children)])
        best = worth.masked_fill(repeated(both), -torch.inf).topk(size, dim=0)
        states = both.gather(0, best.indices.unsqueeze(-1).expand(-1, -1, bits))
        value = best.values
    return states, value


def repeated(states: Tensor) -> Tensor:
    """Which of an example's states `(S, B, D)` stood before among them, `(S, B)`."""
    number = (states.long() << torch.arange(states.shape[-1], device=states.device)).sum(-1)
    order = number.argsort(stable=True, dim=0)
    sorted_ = number.gather(0, order)
    again = torch.zeros_like(sorted_, dtype=torch.bool)
    again[1:] = sorted_[1:] == sorted_[:-1]
    return torch.zeros_like(again).scatter(0, order, again)
