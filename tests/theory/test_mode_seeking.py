"""KL(q‖p) seeks one mode, KL(p‖q) covers both: the best Gaussians for two modes, by quadrature on a line."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from vael.distributions import DiagonalGaussian

F64 = torch.float64
LINE = torch.linspace(-15, 15, 30_001, dtype=F64).unsqueeze(-1)
STEP = float(LINE[1] - LINE[0])
MODES = [DiagonalGaussian(torch.tensor([m], dtype=F64), torch.tensor([math.log(0.5)], dtype=F64)) for m in (-2.0, 2.0)]
LOG_P = torch.logaddexp(*(mode.log_prob(LINE) for mode in MODES)) - math.log(2)


def log_q(at: np.ndarray) -> Tensor:
    loc, log_scale = torch.tensor([at[0]], dtype=F64), torch.tensor([at[1]], dtype=F64)
    return DiagonalGaussian(loc, log_scale).log_prob(LINE)


def seeking(at: np.ndarray) -> float:
    """KL(q‖p): what the bound charges."""
    log = log_q(at)
    return float((log.exp() * (log - LOG_P)).sum()) * STEP


def covering(at: np.ndarray) -> float:
    """KL(p‖q): what the wake phase of wake–sleep lowers."""
    return float((LOG_P.exp() * (LOG_P - log_q(at))).sum()) * STEP


def best(divergence: object, start: tuple[float, float]) -> tuple[float, float, float]:
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 2000}
    found = scipy.optimize.minimize(divergence, np.array(start), method="Nelder-Mead", options=options)
    return float(found.fun), float(found.x[0]), math.exp(found.x[1])


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_kl_that_the_bound_charges_sits_on_one_mode(side):
    value, loc, scale = best(seeking, (side, 0.0))
    assert value == pytest.approx(0.693053, abs=5e-7)
    assert loc == pytest.approx(side * 1.9998, abs=5e-5)
    assert scale == pytest.approx(0.5004, abs=5e-5)


def test_the_kl_of_wake_sleep_covers_both_modes_with_their_mean_and_variance():
    value, loc, scale = best(covering, (1.0, 0.0))
    assert value == pytest.approx(0.723553, abs=5e-7)
    assert loc == pytest.approx(0.0, abs=1e-5)
    assert scale**2 == pytest.approx(4.25, abs=1e-4)
    # Summed on [−12, 12] alone it is 2.097616: the tails of q, where p is nearly 0, hold another 1.1e-6.
    assert seeking(np.array([0.0, 0.5 * math.log(4.25)])) == pytest.approx(2.0976172, abs=5e-8)
