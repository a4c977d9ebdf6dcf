"""The bound with what a critic of x makes of it: VAE-GAN."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.adversary import Adversary, called

if TYPE_CHECKING:
    from vael.models.vae import VAE


class FeatureAdversary(Adversary):
    """VAE-GAN: a critic of x beside the bound, whose hidden features say how far a reconstruction is off.

    No bound of log p(x), and not meant as one.

        L = −pixels · distortion − rate − features · ½‖φ(x) − φ(x̂)‖² − weight · (softplus(−f(x̂)) + softplus(−f(x′)))

    x̂ is the centre of p(x|z) at a draw of q(z|x), x′ at a draw of p(z), φ(x) the critic's last hidden layer. The
    critic learns x from x̂ and x′. By the last summand the decoder learns and the encoder does not. Hidden features
    of x are zero in all three. Below the bits of a Bernoulli likelihood x̂ is grey, and any critic sees that: it is for
    continuous x. The best weights are chosen by the bound, which a sharper picture does not raise.

    Args:
        pixels: Weight of the distortion, at least 0; the paper has none. features, weight: Of the two terms of the
            critic, at least 0; with both 0 and pixels 1 it is the ELBO.
        hidden: Widths of the critic's hidden layers, at least one.
        draws: K, at least 1; the critic looks at the first.

    Call: `Terms` of a model's own, with spare noise → nats per example, `(B,)`.
    Source: Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity metric, algorithm 1
        (arXiv 1512.09300).
    """

    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})

    def __init__(
        self, pixels: float = 1.0, features: float = 1.0, weight: float = 1.0, hidden: Sequence[int] = (256, 64),
        draws: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(hidden, draws, pixels=pixels, features=features, weight=weight)
        if not hidden:
            raise RecipeError("FeatureAdversary: compares hidden layers of its critic; give hidden at least one width.")
        self.pixels, self.features, self.weight = pixels, features, weight
        self.neighbours: tuple[Any, ...] = ()

    def sees(self, model: "VAE") -> int:
        return model.likelihood.dims

    def bind(self, model: "VAE") -> None:
        super().bind(model)
        # A tuple: a module set as an attribute would become one of this objective's own, learned twice.
        self.neighbours = (model.likelihood,)

    def gain(self, terms: Terms) -> Tensor:
        z = self.level(terms).z[0]
        x, made = self.example(terms), self.decoded(terms, z)
        off = (self.hidden_layer(x) - self.hidden_layer(made)).square().sum(-1)
        return -self.pixels * terms.distortion - 0.5 * self.features * off - self.weight * self.seen_through(terms)

    def seen_through(self, terms: Terms) -> Tensor:
        """softplus(−f) of the reconstruction and of a new example, as the decoder's cost, `(B,)`."""
        z, new = self.level(terms).z[0].detach(), self.prior_draws(terms).detach()
        return sum(softplus(-self.judged(self.decoded(terms, one), still=True)) for one in (z, new))  # type: ignore[return-value]

    def cost(self, terms: Terms) -> Tensor:
        return terms.rate

    def lesson(self, terms: Terms) -> Tensor:
        x, z = self.example(terms), self.level(terms).z[0]
        made, new = self.decoded(terms, z), self.decoded(terms, self.prior_draws(terms))
        return self.told_apart(x, made) + self.told_apart(x, new)

    def hidden_layer(self, x: Tensor) -> Tensor:
        """φ(x) `(B, width)`, the critic held still."""
        return called(self.network.layers[:-1], x, still=True)

    def example(self, terms: Terms) -> Tensor:
        """x, flattened, `(B, F)`, zero where it is hidden. Raises RecipeError for terms without a batch."""
        if terms.batch is None:
            raise RecipeError("FeatureAdversary: looks at x itself, and these terms carry none; use a model's own.")
        return self._shown(terms, terms.batch.x)

    def decoded(self, terms: Terms, z: Tensor) -> Tensor:
        """The centre of p(x|z) of z `(B, D)`, flattened, `(B, F)`, zero where x is hidden."""
        (likelihood,) = self.neighbours
        assert terms.batch is not None
        return self._shown(terms, likelihood.centre(likelihood(z, terms.batch.given)))

    def _shown(self, terms: Terms, x: Tensor) -> Tensor:
        assert terms.batch is not None
        seen = terms.batch.observed
        flat = x.flatten(1)
        return flat if seen is None else torch.where(seen, flat, torch.zeros_like(flat))
