"""Prior, likelihood and posterior bound together, and the densities they give."""

from vael.models.terms import Latent, Terms, average
from vael.models.vae import VAE

__all__ = ["VAE", "Latent", "Terms", "average"]
