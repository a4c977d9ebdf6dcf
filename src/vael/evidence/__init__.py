"""log p(x) with an error bar."""

from vael.evidence.annealed import Annealed, Sandwich, Thermodynamic, sandwich
from vael.evidence.density_ratio import DensityRatio
from vael.evidence.estimate import Estimate, Estimator
from vael.evidence.exact import Exact, LinearGaussian, closed_form, linear_gaussian
from vael.evidence.importance import Defensive, Importance, PriorSampling, Renyi
from vael.evidence.quadrature import Quadrature

__all__ = [
    "Annealed",
    "Defensive",
    "DensityRatio",
    "Estimate",
    "Estimator",
    "Exact",
    "Importance",
    "LinearGaussian",
    "PriorSampling",
    "Quadrature",
    "Renyi",
    "Sandwich",
    "Thermodynamic",
    "closed_form",
    "linear_gaussian",
    "sandwich",
]
