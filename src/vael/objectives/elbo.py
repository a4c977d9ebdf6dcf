"""The evidence lower bound, and its weighted form."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms


class Objective(Protocol):
    """What training maximises: a bound in nats per example, higher is better.

    draws: K, how many draws of z each example gets.

    One that differentiates by the score function says `reparameterised = False` and gets draws without a gradient.
    `paths` are the kinds of draws its gradient is right for, see `Posterior.path`; all but "none" where it is silent.
    One that values an example by the others of its batch too says `joins_examples = True`. One that needs normals
    beside those of its draws, `terms.spare` `(S, B, D)`, says `spare = S`. One whose value can be above log p(x) says
    `is_bound = False`. One that has to know how many training examples there are has `for_examples(N)`, which gives the
    objective that does; training calls it.
    """

    @property
    def draws(self) -> int: ...

    def __call__(self, terms: Terms) -> Tensor:
        """`Terms` of K draws and B examples → `(B,)`."""
        ...

    def warmed(self, share: float | Tensor) -> "Objective":
        """The objective when a warm-up has reached `share` of its way, 0 … 1."""
        ...


class Charging(Protocol):
    """An objective that is the expected log-likelihood less a cost of the rate, which a warm-up can weigh."""

    @property
    def draws(self) -> int: ...

    def cost(self, terms: Terms) -> Tensor:
        """What is taken off for the rate, nats, `(B,)`."""
        ...


def check_draws(name: str, draws: int) -> None:
    """Raise RecipeError unless `draws` is a whole number of at least 1."""
    if draws < 1:
        raise RecipeError(f"{name}: draws must be at least 1, got {draws}.")


@dataclass(frozen=True)
class ELBO:
    """Evidence lower bound: expected log-likelihood minus KL from posterior to prior.

        L(x) = E_q[log p(x|z)] − KL(q(z|x)‖p(z)) ≤ log p(x)

    Args:
        draws: K, at least 1; the expectation is a mean over them.
        rate: "closed", the KL in closed form where it is registered, or "drawn", the mean of log q − log p over the
            draws, so that the bound is the mean of K log-weights. Both have one expectation, and other noise.

    Call: `Terms` → bound in nats per example, shape `(B,)`, higher is better.
    Source: Kingma & Welling 2013, eq. 3 (arXiv 1312.6114).
    """

    draws: int = 1
    rate: Literal["closed", "drawn"] = "closed"

    def __post_init__(self) -> None:
        check_draws("ELBO", self.draws)
        if self.rate not in ("closed", "drawn"):
            raise RecipeError(f"ELBO: rate must be closed or drawn, got {self.rate!r}.")

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The rate itself."""
        return terms.rate if self.rate == "closed" else terms.drawn_rate

    def warmed(self, share: float | Tensor) -> "Warmed":
        return Warmed(self, share)


@dataclass(frozen=True)
class Beta:
    """The bound with its rate weighted by β.

        L_β(x) = E_q[log p(x|z)] − β KL(q(z|x)‖p(z))

    For β ≥ 1 still a lower bound of log p(x); for β < 1 not. In the linear-Gaussian model a latent survives while its
    eigenvalue exceeds βσ².

    Args:
        beta: β, at least 0; a number, or a 0-d tensor that a schedule fills.
        draws: K, at least 1.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better.
    Source: Higgins et al. 2017 (β-VAE, ICLR); Bowman et al. 2016 for its warm-up (arXiv 1511.06349).
    """

    beta: float | Tensor = 1.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("Beta", self.draws)
        if not isinstance(self.beta, Tensor) and self.beta < 0:
            raise RecipeError(f"Beta: beta must be at least 0, got {self.beta}.")

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """β times the rate."""
        return self.beta * terms.rate

    def warmed(self, share: float | Tensor) -> "Warmed":
        return Warmed(self, share)


@dataclass(frozen=True)
class Warmed:
    """An objective on its way up: its cost times the share a warm-up has reached, read anew at every call.

        L(x) = E_q[log p(x|z)] − share · cost(x)

    A product taken once would freeze the share at the value it had then.
    """

    of: Charging
    share: float | Tensor

    @property
    def draws(self) -> int:
        return self.of.draws

    @property
    def spare(self) -> int:
        """What the objective itself asks for."""
        wanted: int = getattr(self.of, "spare", 0)
        return wanted

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.share * self.of.cost(terms)

    def warmed(self, share: float | Tensor) -> Self:
        return replace(self, share=share)
