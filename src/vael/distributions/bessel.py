"""Modified Bessel functions of the first kind by their logarithms, of every order: torch has the orders 0 and 1."""

import math
from fractions import Fraction

import torch
from torch import Tensor

SERIES_BELOW = 30.0  # the argument up to which the power series is summed
SERIES_TERMS = 48  # at 30 the last one is e⁻⁵⁰ of the sum
DEBYE_TERMS = 10  # at 30 and order 0, where it is worst, the first term left out is 1e-13 of the sum


def debye(terms: int) -> list[list[float]]:
    """Coefficients of U_k in powers of p², k = 0 … terms: u_k(p) = p^k U_k(p²) are Debye's polynomials.

        u_{k+1}(p) = ½ p² (1 − p²) u_k′(p) + ⅛ ∫₀^p (1 − 5t²) u_k(t) dt,   u_0 = 1

    Source: DLMF 10.41.9, https://dlmf.nist.gov/10.41.
    """
    rows = [[Fraction(1)]]
    for k in range(terms):
        after = [Fraction(0)] * (k + 2)
        for j, coefficient in enumerate(rows[-1]):
            power = k + 2 * j
            after[j] += coefficient * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            after[j + 1] -= coefficient * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        rows.append(after)
    return [[float(coefficient) for coefficient in row] for row in rows]


DEBYE = debye(DEBYE_TERMS)


def log_bessel(order: float, x: Tensor) -> Tensor:
    """log [ x^{−ν} e^{−x} I_ν(x) ] for x > 0 and order ν ≥ 0: smooth down to x = 0, finite wherever x is.

        x < 30:     I_ν(x) = (x/2)^ν Σ_k (x²/4)^k / (k! Γ(ν + k + 1)),   all terms positive
        x ≥ 30:     I_ν(x) ~ e^{r − ν asinh(ν/x)} / √(2πr) · Σ_k U_k(ν²/r²) / r^k,   r = √(ν² + x²)

    The second is Debye's expansion, uniform in the order; both are right to 1e-12 of I where they are used.

    Source: DLMF 10.25.2 and 10.41.3, https://dlmf.nist.gov/10.41.
    """
    near, far = x.clamp(max=SERIES_BELOW), x.clamp(min=SERIES_BELOW)
    k = torch.arange(SERIES_TERMS, dtype=x.dtype, device=x.device)
    log_terms = 2 * k * torch.log(near / 2).unsqueeze(-1) - torch.lgamma(k + 1) - torch.lgamma(k + order + 1)
    series = log_terms.logsumexp(-1) - order * math.log(2) - near
    radius = (far.square() + order**2).sqrt()
    share, total = order**2 / radius.square(), torch.zeros_like(far)
    for coefficients in reversed(DEBYE):
        polynomial = torch.zeros_like(far)
        for coefficient in reversed(coefficients):
            polynomial = polynomial * share + coefficient
        total = total / radius + polynomial
    lift = order**2 / (radius + far) - order * torch.asinh(order / far)  # r − x, without its cancellation
    expansion = lift - 0.5 * torch.log(2 * math.pi * radius) + torch.log(total) - order * torch.log(far)
    return torch.where(x < SERIES_BELOW, series, expansion)


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """I_{ν+1}(x) / I_ν(x), between 0 and 1: the derivative of log [ x^{−ν} I_ν(x) ].

    Source: DLMF 10.29.4.
    """
    return x * torch.exp(log_bessel(order + 1, x) - log_bessel(order, x))
