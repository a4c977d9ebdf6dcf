"""A table's model at the linear model of its rows: where networks with a linear part begin."""

from typing import cast

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.models.vae import VAE
from vael.networks import MLP, RowFeatures
from vael.noise import stream
from vael.posteriors import FullGaussianPosterior, GaussianPosterior, LowRankGaussianPosterior

UPDATES, ROWS, RATE = 150, 256, 0.03  # of the decoder's linear part: half a second
LEAST_NOISE = 0.02  # variance that z leaves of a standardised feature


def begin_linear(model: VAE, batch: Batch) -> None:
    """Begin at principal components: q(z|x) in closed form, and p(x|z) by the likelihood of x given its draws.

        f = standardised features of x,  Σ = (1/N) Σ_n f fᵀ = U Λ Uᵀ,   σ² = mean of λ_{D+1} …, at least LEAST_NOISE
        q(z_j|x) = N(√(λ_j − σ²) / λ_j · u_jᵀ f, σ² / λ_j),      parameters of p(x|z) = S z + b,   (S, b) by Adam

    What the hidden layers add is 0 to begin with. Nothing is done to a model of other parts: both networks need a
    linear part, the posterior a Gaussian, and nothing may be given.

    Source: Tipping & Bishop 1999, equations 6–8, whose posterior this is.
    """
    encoder = getattr(model.posterior, "network", None)
    inside, decoder = getattr(encoder, "network", encoder), model.likelihood.network
    gaussian = isinstance(model.posterior, (GaussianPosterior, FullGaussianPosterior, LowRankGaussianPosterior))
    if not gaussian or not skips(inside) or not skips(decoder) or batch.given is not None or len(batch) < 2:
        return
    features = encoder.features(batch.x, batch.observed) if isinstance(encoder, RowFeatures) else batch.x
    cast(MLP, inside).begin_affine(*components(features.detach(), model.latent, cast(MLP, inside).head.out_features))
    fit_decoder(model, cast(MLP, decoder), batch)


def skips(network: object) -> bool:
    """Whether it is an MLP with a linear part, of z or x alone."""
    return isinstance(network, MLP) and network.past is not None and not network.given


def components(features: Tensor, latent: int, outputs: int) -> tuple[Tensor, Tensor]:
    """The affine map from features `(N, H)` to loc and log_scale of q(z|x), `(outputs, H)` and `(outputs,)`.

    Latents beyond H stay at N(0, 1), and so do outputs beyond both at 0.
    """
    f = features.double()
    centre, spread = f.mean(0), torch.clamp(f.std(0), min=1e-6)
    standard = (f - centre) / spread
    values, vectors = torch.linalg.eigh(standard.mT @ standard / len(f))
    values, vectors = torch.clamp(values.flip(0), min=0), vectors.flip(1)
    count = min(latent, len(values))
    noise = LEAST_NOISE
    if count < len(values):
        noise = max(noise, float(values[count:].mean()))
    kept = torch.clamp(values[:count], min=noise)
    rows = ((kept - noise).sqrt() / kept).unsqueeze(1) * vectors[:, :count].mT / spread
    weight, bias = f.new_zeros(outputs, f.shape[1]), f.new_zeros(outputs)
    weight[:count], bias[:count] = rows, -rows @ centre
    bias[latent : latent + count] = 0.5 * torch.log(noise / kept)
    return weight.to(features.dtype), bias.to(features.dtype)


def fit_decoder(model: VAE, decoder: MLP, batch: Batch) -> None:
    """Climb log p(x|z), z drawn from q(z|x), by the decoder's linear part and the likelihood's own parameters."""
    decoder.begin_affine(torch.zeros_like(cast(torch.nn.Linear, decoder.past).weight), decoder.head.bias.clone())
    own = [parameter for name, parameter in model.likelihood.named_parameters() if not name.startswith("network.")]
    learned = [cast(torch.nn.Linear, decoder.past).weight, decoder.head.bias, *own]
    adam = torch.optim.Adam(learned, RATE)
    noise = stream(0, purpose="begin")
    was_training = model.training
    model.train()
    for update in range(UPDATES):
        adam.param_groups[0]["lr"] = RATE * (1 - update / UPDATES)
        rows = torch.randint(len(batch), (min(ROWS, len(batch)),), generator=noise)
        x, observed = batch.x[rows], None if batch.observed is None else batch.observed[rows]
        with torch.no_grad():
            q = model.posterior(x, None, observed)
            z = q.from_noise(torch.randn((1, len(rows), model.latent), generator=noise, dtype=x.dtype))
        loss = -model.likelihood.log_prob(x, z, None, observed).mean()
        for parameter, gradient in zip(learned, torch.autograd.grad(loss, learned, allow_unused=True), strict=True):
            parameter.grad = gradient
        adam.step()
    for parameter in learned:
        parameter.grad = None
    model.train(was_training)
