"""Terms to nats per example: what training maximises."""

from vael.objectives.adversarial_matching import AdversarialMatching
from vael.objectives.adversary import Adversary
from vael.objectives.capacity import Capacity
from vael.objectives.dip import DIP
from vael.objectives.dreg import DReG
from vael.objectives.elbo import ELBO, Beta, Objective
from vael.objectives.factor import Factor
from vael.objectives.feature_adversary import FeatureAdversary
from vael.objectives.free_bits import FreeBits
from vael.objectives.info_vae import InfoVAE
from vael.objectives.iwae import IWAE
from vael.objectives.matching import Matching
from vael.objectives.miwae import CIWAE, MIWAE, PIWAE
from vael.objectives.rae import RAE
from vael.objectives.rate_floor import RateFloor
from vael.objectives.reconstruction import Reconstruction
from vael.objectives.renyi import Renyi
from vael.objectives.score import Score
from vael.objectives.sticking import STL
from vael.objectives.total_correlation import TotalCorrelation
from vael.objectives.vimco import VIMCO
from vael.objectives.wake_wake import WakeWake

__all__ = [
    "CIWAE",
    "DIP",
    "ELBO",
    "IWAE",
    "MIWAE",
    "PIWAE",
    "RAE",
    "STL",
    "VIMCO",
    "AdversarialMatching",
    "Adversary",
    "Beta",
    "Capacity",
    "DReG",
    "Factor",
    "FeatureAdversary",
    "FreeBits",
    "InfoVAE",
    "Matching",
    "Objective",
    "RateFloor",
    "Reconstruction",
    "Renyi",
    "Score",
    "TotalCorrelation",
    "WakeWake",
]
