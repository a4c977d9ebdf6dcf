"""The M-step: parameters in closed form from moments of the data and their latents."""

import torch
from torch import Tensor, nn

from vael.inference.moments import Moments
from vael.likelihoods.gaussian import QUICKER, Gaussian
from vael.models.vae import VAE
from vael.networks.mlp import MLP, affine_map
from vael.priors.discrete import CategoricalPrior

NEVER = 1e-12  # least probability a learned prior gives to a bit or class, so that its logit stays a number
FLAT = 1e-12  # relative eigenvalue of E[z̃ z̃ᵀ] below which a direction of (W, b) makes no difference


def not_closed(model: VAE) -> str | None:
    """Why the M-step of `model` has no closed form here, in words, or None."""
    likelihood = model.likelihood
    if not isinstance(likelihood, Gaussian):
        return f"needs a Gaussian likelihood, got {type(likelihood).__name__}."
    if likelihood.network is None or affine_map(likelihood.network) is None or head(model).bias is None:
        return "needs an affine decoder with a bias, such as MLP(latent, [], features)."
    if likelihood.on_grid:
        return "needs a density; this Gaussian scores cells of a grid. Set its step to 0."
    if likelihood.scale == "optimal":
        return "needs a scale that is a number, shared, per_feature or per_example, got 'optimal'."
    if likelihood.scale == "per_example" and getattr(model.prior, "groups", 0) != 1:
        return "knows scale='per_example' only where z is the one choice of a component: CategoricalPrior, one group."
    return None


def head(model: VAE) -> nn.Linear:
    """The decoder's one linear layer."""
    network = model.likelihood.network
    layer = network.head if isinstance(network, MLP) else network
    assert isinstance(layer, nn.Linear)
    return layer


def maximise(model: VAE, moments: Moments, centre: Tensor, *, least: float = 0.0) -> None:
    """Set prior and decoder of a float64 `model` to the maximum of E[log p(x, z)], in place.

    W, b: the regression of x on z̃. σ²: what it leaves, where it is learned. π: how often each bit or class is on.
    least: A bound below which no σ may fall.
    """
    likelihood, layer = model.likelihood, head(model)
    assert isinstance(likelihood, Gaussian)
    slopes = regression(moments)  # (F, D + 1)
    loc_weight, loc_bias = slopes[:, :-1], slopes[:, -1] + centre
    if likelihood.scale == "per_example":
        of_class = class_scales(moments, likelihood, least)
        layer.weight.copy_(torch.cat([loc_weight, of_class]))
        layer.bias.copy_(torch.cat([loc_bias, torch.zeros_like(loc_bias)]))
    else:
        layer.weight.copy_(loc_weight)
        layer.bias.copy_(loc_bias)
        set_scale(likelihood, left_over(moments, slopes), moments.zz[:, -1, -1], least)
    if getattr(model.prior, "learned", False):
        set_prior(model, moments.on / moments.examples)


def regression(moments: Moments) -> Tensor:
    """(W, b) `(F, D + 1)` with the least expected squared error, the smallest where several have it."""
    inverse: Tensor = torch.linalg.pinv(moments.zz, rtol=FLAT, hermitian=True)
    return (inverse @ moments.xz.unsqueeze(-1)).squeeze(-1)


def left_over(moments: Moments, slopes: Tensor) -> Tensor:
    """Σ E[(x_f − slopes_f · z̃)²] over the examples that have f, `(F,)`: the posterior's own spread is part of it."""
    quadratic = (slopes.unsqueeze(-2) @ moments.zz @ slopes.unsqueeze(-1)).squeeze(-1).squeeze(-1)
    return torch.clamp(moments.xxz[:, -1] - 2 * (slopes * moments.xz).sum(-1) + quadratic, min=0)


def set_scale(likelihood: Gaussian, squares: Tensor, seen: Tensor, least: float = 0.0) -> None:
    """A learned σ from the sums of `squares` `(F,)` over `seen` examples `(F,)` or `(1,)`; a fixed one stays."""
    seen = seen.expand(squares.shape)
    if likelihood.scale == "shared":
        likelihood.slow_scale.copy_(
            unfloored(likelihood, torch.clamp((squares.sum() / seen.sum()).sqrt(), min=least)) / QUICKER
        )
    elif likelihood.scale == "per_feature":
        each = torch.clamp((squares / torch.clamp(seen, min=1)).sqrt(), min=least)
        likelihood.slow_scale.copy_(unfloored(likelihood, each.reshape(likelihood.event_shape)) / QUICKER)


def class_scales(moments: Moments, likelihood: Gaussian, least: float) -> Tensor:
    """The decoder outputs `(F, C)` that give each class its own σ_cf = √(Σ r_c (x_f − μ_cf)² / Σ r_c)."""
    weight = torch.clamp(moments.zz.diagonal(dim1=-2, dim2=-1)[:, :-1], min=NEVER)  # Σ r_c, (1 or F, C)
    mean = moments.xz[:, :-1] / weight
    variance = torch.clamp(moments.xxz[:, :-1] / weight - mean.square(), min=0)
    return unfloored(likelihood, torch.clamp(variance.sqrt(), min=least))


def unfloored(likelihood: Gaussian, scale: Tensor) -> Tensor:
    """The log_scale that `likelihood` turns into `scale`, or into its floor where that is larger."""
    return torch.log(torch.clamp(scale - likelihood.floor, min=NEVER))


def set_prior(model: VAE, often: Tensor) -> None:
    """Learned probabilities of bits or classes from how `often` each is on, `(D,)`."""
    logits = model.prior.logits
    assert isinstance(logits, Tensor)
    if isinstance(model.prior, CategoricalPrior):
        logits.copy_(torch.log(torch.clamp(often, min=NEVER)).reshape(logits.shape))
    else:
        share = torch.clamp(often, NEVER, 1 - NEVER)
        logits.copy_(torch.log(share) - torch.log1p(-share))
