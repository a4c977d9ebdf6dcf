"""What the latent space does."""

from vael.diagnostics.units import ACTIVE, active_units, posterior_mean, unit_rates

__all__ = ["ACTIVE", "active_units", "posterior_mean", "unit_rates"]
