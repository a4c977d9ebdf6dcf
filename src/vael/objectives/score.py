"""The gradient of the bound without a derivative by z: for latents that jump."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.objectives.elbo import check_draws

Baseline = Literal["none", "mean"]


@dataclass(frozen=True)
class Score:
    """The ELBO by its draws, differentiated by q's parameters φ through their density alone (REINFORCE).

        ∂_φ L = E[ 1/K Σ_k (log w_k − b_k) ∂_φ log q(z_k|x) ],    ∂_θ L = E[ 1/K Σ_k ∂_θ log p(x, z_k) ]

    for log w = log p(x, z) − log q(z|x): ∂_φ Σ_z q log w = Σ_z q log w ∂_φ log q − Σ_z ∂_φ q, and the last sum is zero.
    For the same reason any b_k that does not depend on z_k changes the variance and not the mean. z need not be
    continuous; where it is, gradients through z have far less variance.

    Args:
        draws: K, at least 1, and at least 2 for baseline="mean".
        baseline: "none"; "mean", the mean of log w over the other draws of the same x; or a number in nats, such as
            the bound expected.

    Draws carry no gradient; a posterior that takes all states has the exact gradient under `ELBO` and is refused here.
    Call: `Terms` → the bound in nats per example, shape `(B,)`, higher is better.
    Source: Williams 1992, Machine Learning 8; Mnih & Gregor 2014 (arXiv 1402.0030); "mean": Kool et al. 2019.
    """

    draws: int = 4
    baseline: Baseline | float = "mean"
    reparameterised: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "none"})

    def __post_init__(self) -> None:
        check_draws("Score", self.draws)
        if isinstance(self.baseline, str) and self.baseline not in ("none", "mean"):
            raise RecipeError(f"Score: baseline must be none, mean or a number of nats, got {self.baseline!r}.")
        if self.baseline == "mean" and self.draws < 2:
            raise RecipeError(
                f"Score: baseline 'mean' is that of an example's other draws; draws must be at least 2, "
                f"got {self.draws}.\n  Use baseline none or a number for a single draw."
            )

    def __call__(self, terms: Terms) -> Tensor:
        return self.at(terms, 1.0)

    def at(self, terms: Terms, share: float | Tensor) -> Tensor:
        """The bound and its gradient with the rate weighed by `share`."""
        check_drawn("Score", terms, at_least=2 if self.baseline == "mean" else 1)
        log_q = score_of(terms)
        # Parameters of q held still: their own derivative of −log q has mean zero, and would only add variance.
        gain = terms.log_px_z - share * (terms.log_px_z - terms.log_w_fixed)  # (K, B)
        way = average((gain.detach() - self.baseline_of(gain.detach())) * log_q, terms.log_measure)
        return average(gain, terms.log_measure) + (way - way.detach())

    def baseline_of(self, gain: Tensor) -> Tensor | float:
        """b_k for the gains `(K, B)` of K draws."""
        if self.baseline == "mean":
            return (gain.sum(0) - gain) / (len(gain) - 1)
        return 0.0 if isinstance(self.baseline, str) else self.baseline

    def warmed(self, share: float | Tensor) -> "WarmedScore":
        return WarmedScore(self, share)


@dataclass(frozen=True)
class WarmedScore:
    """`Score` on its way up: its rate weighs the share a warm-up has reached, read anew at every call."""

    of: Score
    share: float | Tensor
    reparameterised: ClassVar[bool] = False

    @property
    def draws(self) -> int:
        return self.of.draws

    def __call__(self, terms: Terms) -> Tensor:
        return self.of.at(terms, self.share)

    def warmed(self, share: float | Tensor) -> Self:
        return replace(self, share=share)


def score_of(terms: Terms) -> Tensor:
    """log q(z|x) over all levels, `(K, B)`: its gradient by q's parameters is the score."""
    total = terms.latents[0].log_q
    for latent in terms.latents[1:]:
        total = total + latent.log_q
    return total


def check_drawn(name: str, terms: Terms, *, at_least: int) -> None:
    """Raise RecipeError unless `terms` holds enough draws of q, none of which carries a gradient."""
    if terms.log_measure.dim():
        raise RecipeError(
            f"{name}: is for draws, got all states of z weighed by q. Use ELBO, whose gradient is then exact."
        )
    if any(latent.z.requires_grad for latent in terms.latents):
        raise RecipeError(
            f"{name}: its draws carry a gradient, which would count twice. Ask for "
            f"model.terms(batch, noise, reparameterised=False)."
        )
    if len(terms.log_px_z) < at_least:
        raise RecipeError(f"{name}: needs terms of at least {at_least} draws, got {len(terms.log_px_z)}.")
