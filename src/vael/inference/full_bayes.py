"""Full variational Bayes: the decoder's weights are latent too."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.trainers import Trainer
from vael.models.vae import VAE
from vael.noise import Noise, stream


class WeightPosterior(nn.Module):
    """q(θ) = N(loc, diag exp(2 log_scale)) over the weights of a decoder network, under p(θ) = N(0, prior_scale² I).

    Args:
        network: Its weights are where loc begins. scale: Where every exp(log_scale) begins. prior_scale: Of p(θ).

    Raises RecipeError for scales that are not above 0.
    """

    def __init__(self, network: nn.Module, *, scale: float = 0.05, prior_scale: float = 1.0) -> None:
        super().__init__()
        if not (scale > 0 and prior_scale > 0):
            raise RecipeError(f"WeightPosterior: scales must be above 0, got {scale} and {prior_scale}.")
        self.scale, self.prior_scale = scale, prior_scale
        self.shapes = {name: weight.shape for name, weight in network.named_parameters()}
        start = torch.cat([weight.detach().flatten() for weight in network.parameters()])
        self.loc = nn.Parameter(start.clone())
        self.log_scale = nn.Parameter(torch.full_like(start, math.log(scale)))

    def draw(self, eps: Tensor) -> dict[str, Tensor]:
        """θ = loc + exp(log_scale) ε for `eps` `(W,)`, by the names of the network's parameters."""
        theta = self.loc + self.log_scale.exp() * eps
        pieces = theta.split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.reshape(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def kl(self) -> Tensor:
        """KL(q(θ)‖p(θ)), nats, a scalar."""
        squares = (self.loc.square() + (2 * self.log_scale).exp()) / self.prior_scale**2
        return 0.5 * (squares - 1).sum() - self.log_scale.sum() + len(self.loc) * math.log(self.prior_scale)


class FullBayes(Trainer):
    """A VAE whose decoder weights θ have a posterior of their own; one `advance` is one reparameterised step.

        log p(X) ≥ E_q(θ)[ Σ_x L(x; θ) ] − KL(q(θ)‖p(θ)),    L the ELBO of x with weights θ

    The likelihood's own parameters, such as a noise scale, and the encoder are learned as ever.

    Args:
        model, split, batch, learning_rate, seed: As for `Trainer`.
        scale, prior_scale: Of the weights, as for `WeightPosterior`.

    `settle` puts the mean weights into the model.
    Source: Kingma & Welling 2013, appendix F.
    """

    def __init__(
        self, model: VAE, split: Split, *, scale: float = 0.05, prior_scale: float = 1.0, batch: int = 100,
        learning_rate: float = 0.02, seed: int = 0,
    ) -> None:  # fmt: skip
        if not isinstance(model.likelihood.network, nn.Module):
            raise RecipeError(f"FullBayes: {type(model.likelihood).__name__} has no decoder network of its own.")
        self.weights = WeightPosterior(model.likelihood.network, scale=scale, prior_scale=prior_scale)
        self.whole = _Whole(model)
        super().__init__(model, split, batch=batch, learning_rate=learning_rate, seed=seed)

    def learned(self) -> list[Tensor]:
        decoder = {id(weight) for weight in self._decoder()}
        others = [one for one in self.model.parameters() if one.requires_grad and id(one) not in decoder]
        return [*self.weights.parameters(), *others]

    def _decoder(self) -> Iterator[Tensor]:
        network = self.model.likelihood.network
        assert network is not None
        return network.parameters()

    def bound(self, batch: Batch, noise: Noise, eps: Tensor) -> Tensor:
        """The bound of log p(X) for all N examples of the split, from a batch of them and one θ, nats, a scalar.

        noise: Of z, `(K, B, D)`. eps: Standard normal, one number for each weight.
        """
        theta = {f"model.likelihood.network.{name}": weight for name, weight in self.weights.draw(eps).items()}
        elbo: Tensor = functional_call(self.whole, theta, (batch, noise))
        return len(self.split) * elbo.mean() - self.weights.kl()

    def advance(self) -> float:
        """The bound of log p(X) divided by the number of examples, nats."""
        batch = self.look()
        noise = self.model.noise(1, len(batch), seed=self.seed, step=self.step)
        generator = stream(self.seed, self.step, purpose="weights")
        eps = torch.randn(len(self.weights.loc), dtype=self.weights.loc.dtype, generator=generator)
        gain = self.bound(batch, noise, eps.to(self.weights.loc.device)) / len(self.split)
        self.step += 1
        return self.move(gain)

    @torch.no_grad()
    def settle(self) -> None:
        """Give the model the mean of q(θ) as its decoder's weights."""
        network = self.model.likelihood.network
        assert network is not None
        network.load_state_dict(self.weights.draw(torch.zeros_like(self.weights.loc)), strict=False)


class _Whole(nn.Module):
    """(batch, noise) → the ELBO of each example: what is called with other weights."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Tensor:
        return self.model.terms(batch, noise).elbo
