"""What the latent space does, and how far samples are from data."""

from vael.diagnostics.columns import Column, Distance, association, associations, distance, shares
from vael.diagnostics.gaps import Gaps, gaps
from vael.diagnostics.units import ACTIVE, active_units, posterior_mean, unit_rates

__all__ = [
    "ACTIVE",
    "Column",
    "Distance",
    "Gaps",
    "active_units",
    "association",
    "associations",
    "distance",
    "gaps",
    "posterior_mean",
    "shares",
    "unit_rates",
]
