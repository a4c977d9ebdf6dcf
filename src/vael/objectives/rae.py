"""An autoencoder's reconstruction, with codes held short and a decoder held smooth."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.func import vjp

from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.objectives.elbo import check_draws

if TYPE_CHECKING:
    from vael.models.vae import VAE


class RAE(nn.Module):
    """Regularised autoencoder: in place of noise in z, short codes and a smooth decoder.

    No bound of log p(x): it has no rate.

        L = −distortion − code_norm · ½‖z‖² − weight · R,
        R = ½ Σ θ² over the decoder's weights ("weights", RAE-L2), or ‖∂ centre(p(x|z)) / ∂z‖² ("slope", RAE-GP)

    The squared slope is estimated by one normal direction v, E_v ‖J v‖² = ‖J‖². No rate is charged and there is no
    bound of log p(x): fit a prior to the codes afterwards, see `vael.applications.refit_prior`. With weights of 0 it is
    `Reconstruction`. (Spectral norms of the decoder's layers, the paper's third kind, are not here.)

    Args:
        code_norm: Of half the squared length of z, at least 0; the paper's β.
        weight: Of R, at least 0; the paper's λ.
        smooth: What is held small, "weights" or "slope".
        draws: K, at least 1.

    Call: `Terms` with spare noise → nats per example, `(B,)`, higher is better.
    Source: Ghosh et al. 2020, From variational to deterministic autoencoders, eq. 7–9 (arXiv 1903.12436).
    """

    is_bound: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed", "all", "point"})

    def __init__(
        self, code_norm: float = 1e-2, weight: float = 1e-3, smooth: Literal["weights", "slope"] = "weights",
        draws: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        check_draws("RAE", draws)
        if not (code_norm >= 0 and weight >= 0):
            raise RecipeError(f"RAE: code_norm and weight must be at least 0, got {code_norm} and {weight}.")
        if smooth not in ("weights", "slope"):
            raise RecipeError(f"RAE: smooth must be weights or slope, got {smooth!r}.")
        self.code_norm, self.weight, self.smooth, self.draws = code_norm, weight, smooth, draws
        self.neighbours: tuple[Any, ...] = ()

    @property
    def spare(self) -> int:
        """Normals for the direction of a slope."""
        return int(self.smooth == "slope")

    def bind(self, model: "VAE") -> None:
        """Keep hold of p(x|z), which stays the model's; called by training."""
        self.neighbours = (model.likelihood,)

    def forward(self, terms: Terms) -> Tensor:
        (latent,) = terms.latents
        length = average(latent.z.square().sum(-1), terms.log_measure)
        return -terms.distortion - 0.5 * self.code_norm * length - self.weight * self.roughness(terms)

    def roughness(self, terms: Terms) -> Tensor:
        """R, of the decoder as a whole `()` or at each code `(B,)`."""
        if not self.neighbours:
            raise RecipeError(
                "RAE: has no decoder yet; training hands it over.\n  Elsewhere call objective.bind(model) first."
            )
        (likelihood,) = self.neighbours
        if self.smooth == "weights":
            halves = [0.5 * weight.square().sum() for weight in likelihood.parameters() if weight.dim() > 1]
            return torch.stack(halves).sum()
        return self.squared_slope(likelihood, terms)

    def squared_slope(self, likelihood: Any, terms: Terms) -> Tensor:
        """‖J v‖² at the first draw of each example, v the spare normals, `(B,)`."""
        if terms.spare is None:
            raise RecipeError(
                "RAE: a slope needs noise of its own, which these terms lack.\n"
                "  Make it with model.noise(draws, batch, seed=…, spare=1)."
            )
        given = None if terms.batch is None else terms.batch.given
        with torch.inference_mode(False):  # even a measurement takes a derivative here
            at, direction = terms.latents[0].z[0].clone(), terms.spare[0].clone()
            along = pushed(lambda z: likelihood.centre(likelihood(z, given)), at, direction)
        return along.flatten(1).square().sum(-1)

    def warmed(self, share: float | Tensor) -> Self:
        raise RecipeError("RAE: has no rate to warm up; leave out warm_up.")


def pushed(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> Tensor:
    """J v, the derivative of `function` at a point along v: the gradient of ⟨Jᵀu, v⟩ by u, which is linear in u."""
    value, pull, *_ = vjp(function, at)
    _, push, *_ = vjp(lambda u: pull(u)[0], torch.zeros_like(value))
    found: Tensor = push(along)[0]
    return found
