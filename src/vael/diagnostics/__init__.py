"""What the latent space does, how far samples are from data, and what is wrong with a model."""

from vael.diagnostics.calibration import Calibration, calibration
from vael.diagnostics.columns import Column, Distance, association, associations, distance, shares
from vael.diagnostics.course import Course, course
from vael.diagnostics.decoder_use import DecoderUse, decoder_use
from vael.diagnostics.disentanglement import Disentanglement, disentanglement
from vael.diagnostics.doctor import diagnose
from vael.diagnostics.finding import Diagnosis, Finding
from vael.diagnostics.gaps import Gaps, gaps
from vael.diagnostics.information import Information, information
from vael.diagnostics.linear_theory import active_by_theory, eigenvalues, tradeoff
from vael.diagnostics.moments import gaussian_kl, marginal_gap
from vael.diagnostics.noise import DecoderNoise, decoder_noise
from vael.diagnostics.overfitting import Overfitting, overfitting
from vael.diagnostics.symptoms import Case, Symptoms, examine
from vael.diagnostics.units import ACTIVE, active_units, posterior_mean, unit_rates

__all__ = [
    "ACTIVE",
    "Calibration",
    "Case",
    "Column",
    "Course",
    "DecoderNoise",
    "DecoderUse",
    "Diagnosis",
    "Disentanglement",
    "Distance",
    "Finding",
    "Gaps",
    "Information",
    "Overfitting",
    "Symptoms",
    "active_by_theory",
    "active_units",
    "association",
    "associations",
    "calibration",
    "course",
    "decoder_noise",
    "decoder_use",
    "diagnose",
    "disentanglement",
    "distance",
    "eigenvalues",
    "examine",
    "gaps",
    "gaussian_kl",
    "information",
    "marginal_gap",
    "overfitting",
    "posterior_mean",
    "shares",
    "tradeoff",
    "unit_rates",
]
