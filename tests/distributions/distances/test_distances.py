"""Distances of clouds: closed forms between Gaussians, brute force over few points, and laws that all obey."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from scipy.special import hyp1f1
from torch import Tensor
from torch.testing import assert_close

from vael import RecipeError, ShapeError
from vael.distributions import distances
from vael.distributions.distances import (
    cauchy_schwarz,
    cramer_wold,
    energy,
    mmd_imq,
    mmd_rbf,
    sinkhorn,
    sliced_wasserstein,
)
from vael.distributions.distances.gaussians import (
    energy_gaussians,
    mean_length,
    mmd_imq_gaussians,
    mmd_rbf_gaussians,
    renyi_gaussians,
    sliced_gaussians,
    wasserstein_gaussians,
)
from vael.distributions.distances.smoothed import angles

F64 = torch.float64
SHIFT = torch.tensor([0.5, 0.0, 0.0, -0.3, 0.2], dtype=F64)
ZERO, UNIT = torch.zeros(5, dtype=F64), torch.eye(5, dtype=F64)
A, B = 1.0, 0.7
DIRECTIONS = torch.linalg.qr(torch.randn(5, 5, dtype=F64, generator=torch.Generator().manual_seed(3)))[0]

ALL = {
    "mmd_rbf": lambda x, y: mmd_rbf(x, y, width=1.3),
    "mmd_imq": lambda x, y: mmd_imq(x, y, constant=10.0),
    "energy": energy,
    "sliced_wasserstein": lambda x, y: sliced_wasserstein(x, y, DIRECTIONS[:, : x.shape[-1]]),
    "sinkhorn": lambda x, y: sinkhorn(x, y, blur=1.0),
    "cramer_wold": lambda x, y: cramer_wold(x, y, width=0.6),
    "cauchy_schwarz": lambda x, y: cauchy_schwarz(x, y, width=0.8),
}
KERNELS = {
    "mmd_rbf": lambda x, y: mmd_rbf(x, y, width=1.3, unbiased=True),
    "mmd_imq": lambda x, y: mmd_imq(x, y, constant=10.0, unbiased=True),
    "energy": lambda x, y: energy(x, y, unbiased=True),
}
each = pytest.mark.parametrize("name", ALL)


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


# ── closed forms ─────────────────────────────────────────────────────────────────────────────────────────────

CLOSED = {
    "mmd_rbf": (lambda: mmd_rbf_gaussians(SHIFT, A**2 * UNIT, ZERO, B**2 * UNIT, width=1.3), 0.0727869315),
    "mmd_imq": (lambda: mmd_imq_gaussians(SHIFT, A, B, constant=10.0), 0.0433090956),
    "energy": (lambda: energy_gaussians(SHIFT, A, B), 0.2103234619),
    "sliced": (lambda: sliced_gaussians(SHIFT, A, B), 0.166),
    "wasserstein": (lambda: wasserstein_gaussians(SHIFT, A**2 * UNIT, ZERO, B**2 * UNIT), 0.83),
}


@pytest.mark.parametrize("name", CLOSED)
def test_between_two_gaussians_a_distance_is_the_golden_number(name):
    """To half a unit of the tenth digit, the last that is known."""
    found, golden = CLOSED[name]
    assert float(found()) == pytest.approx(golden, abs=6e-11)


@pytest.mark.parametrize(
    ("alpha", "golden"), [(0.5, 0.0521316370), (0.9, 0.1103921897), (2.0, 0.5116243067), (-1.0, -0.0677888360)]
)
def test_renyi_divergences_of_two_gaussians_are_the_golden_numbers(alpha, golden):
    """D_α(q‖p) for q = N(0, 1), p = N(0.3, 0.8²)."""
    at = lambda value: torch.tensor([value], dtype=F64)  # noqa: E731
    found = renyi_gaussians(alpha, at(0.0), at(1.0)[None], at(0.3), at(0.64)[None])
    assert float(found) == pytest.approx(golden, abs=6e-11)


def test_renyi_divergence_of_correlated_gaussians_is_its_integral_and_nears_the_kl():
    one, two = (torch.tensor(m, dtype=F64) for m in ([[1.0, 0.3], [0.3, 0.8]], [[0.9, -0.2], [-0.2, 1.4]]))
    loc = torch.tensor([0.4, -0.2], dtype=F64)
    p = torch.distributions.MultivariateNormal(loc, one)
    q = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=F64), two)
    line = torch.linspace(-9, 9, 601, dtype=F64)
    grid = torch.cartesian_prod(line, line)
    log_p, log_q = p.log_prob(grid), q.log_prob(grid)
    for alpha in (0.3, 1.4):
        integral = float(torch.exp(alpha * log_p + (1 - alpha) * log_q).sum()) * float(line[1] - line[0]) ** 2
        found = float(renyi_gaussians(alpha, loc, one, torch.zeros(2, dtype=F64), two))
        assert found == pytest.approx(math.log(integral) / (alpha - 1), abs=1e-9)
    kl = float(torch.distributions.kl_divergence(p, q))
    near = renyi_gaussians(1 + 1e-6, loc, one, torch.zeros(2, dtype=F64), two)
    assert float(near) == pytest.approx(kl, abs=1e-5)  # the slope at α = 1 times 10⁻⁶, and digits lost to the division
    with pytest.raises(RecipeError, match="has no value at alpha = 1"):
        renyi_gaussians(1, loc, one, loc, two)
    with pytest.raises(RecipeError, match="has no value at alpha = 9"):
        renyi_gaussians(9, loc, 3 * two, loc, one)


def test_wasserstein_of_correlated_gaussians_is_that_of_scipys_matrix_roots():
    import scipy.linalg

    root = normals(3, 3, seed=1)
    one, two = root @ root.T, torch.diag(torch.tensor([0.5, 2.0, 1.0], dtype=F64))
    half = scipy.linalg.sqrtm(two.numpy())
    cross = scipy.linalg.sqrtm(half @ one.numpy() @ half).real
    expected = 1.25 + np.trace(one.numpy() + two.numpy() - 2 * cross)
    loc = torch.tensor([1.0, 0.5, 0.0], dtype=F64)
    assert float(wasserstein_gaussians(loc, one, torch.zeros(3, dtype=F64), two)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("length", [0.0, 0.3, 40.0])
def test_the_mean_length_of_a_gaussian_vector_is_the_confluent_function(length):
    loc = torch.tensor([length, 0.0, 0.0], dtype=F64)
    expected = 0.7 * math.sqrt(2) * math.gamma(2) / math.gamma(1.5) * hyp1f1(-0.5, 1.5, -(length**2) / 0.98)
    assert float(mean_length(loc, 0.7)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("name", KERNELS)
def test_an_unbiased_statistic_of_samples_has_the_closed_form_as_its_mean(name):
    """80 pairs of clouds of 100 points; 4 standard errors, which are below a tenth of the distance."""
    x, y = A * normals(80, 100, 5, seed=1) + SHIFT, B * normals(80, 100, 5, seed=2)
    found = KERNELS[name](x, y)
    error = float(found.std()) / 80**0.5
    truth = float(CLOSED[name][0]())
    assert error < 0.1 * truth
    assert abs(float(found.mean()) - truth) < 4 * error


@pytest.mark.parametrize("name", KERNELS)
def test_of_equal_laws_the_unbiased_statistic_is_zero_on_average_and_the_other_is_not(name):
    x, y = normals(200, 30, 5, seed=3), normals(200, 30, 5, seed=4)
    unbiased, plain = KERNELS[name](x, y), ALL[name](x, y)
    error = float(unbiased.std()) / 200**0.5
    assert abs(float(unbiased.mean())) < 4 * error
    assert float(plain.mean()) > 10 * error
    assert (plain > 0).all()


def test_the_plain_statistic_is_too_high_by_what_its_docstring_says():
    """(1 − E k(X, X′)) / N + (1 − E k(Y, Y′)) / M, to rounding, with the unbiased mean for E k."""
    x, y = normals(7, 5, seed=1), 0.5 * normals(9, 5, seed=2)

    def mean_of_pairs(cloud: Tensor) -> float:
        pairs = [cloud[i] - cloud[j] for i, j in itertools.permutations(range(len(cloud)), 2)]
        return float(torch.exp(-torch.stack(pairs).square().sum(-1) / (2 * 1.3**2)).mean())

    excess = (1 - mean_of_pairs(x)) / 7 + (1 - mean_of_pairs(y)) / 9
    found = ALL["mmd_rbf"](x, y) - KERNELS["mmd_rbf"](x, y)
    assert float(found) == pytest.approx(excess, abs=1e-12)


def test_sliced_wasserstein_of_samples_is_the_closed_form():
    """Over an orthonormal set of directions the mean of (θᵀΔ)² is ‖Δ‖²/D exactly; ten clouds of 20 000 points."""
    x, y = A * normals(10, 20_000, 5, seed=5) + SHIFT, B * normals(10, 20_000, 5, seed=6)
    found = sliced_wasserstein(x, y, DIRECTIONS)
    error = float(found.std()) / 10**0.5
    assert error < 0.003
    assert abs(float(found.mean()) - 0.166) < 4 * error + 2e-4  # of equal laws W₂² is of the order log log N / N


# ── brute force over few points ──────────────────────────────────────────────────────────────────────────────


def test_on_a_line_sliced_wasserstein_is_the_best_assignment():
    x, y = normals(6, 3, seed=1), normals(6, 3, seed=2) + 0.4
    for theta in normals(4, 3, seed=3):
        unit = (theta / theta.norm()).numpy()
        cost = (x.numpy() @ unit)[:, None] - (y.numpy() @ unit)[None, :]
        rows, columns = scipy.optimize.linear_sum_assignment(cost**2)
        expected = (cost**2)[rows, columns].mean()
        assert float(sliced_wasserstein(x, y, theta[None])) == pytest.approx(expected, abs=1e-12)


def test_sinkhorn_goes_from_the_best_assignment_to_the_distance_of_means():
    x, y = normals(6, 3, seed=1), normals(6, 3, seed=2) + 0.4
    cost = (x[:, None] - y[None]).square().sum(-1).numpy()
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    sharp = float(sinkhorn(x, y, blur=0.1, iterations=3000))
    assert sharp == pytest.approx(cost[rows, columns].mean(), abs=1e-3)  # what ε = 0.02 still blurs
    blurred = float(sinkhorn(x, y, blur=300.0))
    assert blurred == pytest.approx(float((x.mean(0) - y.mean(0)).square().sum()), rel=1e-4)  # off by cost / ε
    assert abs(sharp - blurred) > 0.5


def test_sinkhorn_is_the_best_plan_found_by_another_optimiser():
    """OT_ε of 2 × 2 points: a plan with even margins has one number, sought by scipy on a line."""
    x, y = normals(2, 3, seed=1), normals(2, 3, seed=2)
    epsilon = 2 * 0.9**2

    def cheapest(one: Tensor, other: Tensor) -> float:
        cost = (one[:, None] - other[None]).square().sum(-1).numpy()

        def value(share: float) -> float:
            plan = np.array([[share, 0.5 - share], [0.5 - share, share]])
            return float((plan * cost).sum() + epsilon * (plan * np.log(plan / 0.25)).sum())

        bounds, exact = (1e-12, 0.5 - 1e-12), {"xatol": 1e-12}
        return float(scipy.optimize.minimize_scalar(value, bounds=bounds, method="bounded", options=exact).fun)

    expected = cheapest(x, y) - 0.5 * cheapest(x, x) - 0.5 * cheapest(y, y)
    assert float(sinkhorn(x, y, blur=0.9, iterations=200)) == pytest.approx(expected, abs=1e-9)


def test_cramer_wold_is_the_squared_difference_of_smoothed_shadows_averaged_over_directions():
    x, y, width = normals(4, 2, seed=1), 0.6 * normals(3, 2, seed=2), 0.5
    line = np.linspace(-8, 8, 4001)

    def smoothed(cloud: Tensor, unit: np.ndarray) -> np.ndarray:
        off = (line[:, None] - cloud.numpy() @ unit) / width
        return np.exp(-0.5 * off**2).mean(1) / (width * math.sqrt(2 * math.pi))

    means = []
    for turn in np.arange(0, np.pi, np.pi / 60):  # periodic: the even sum is exact
        unit = np.array([np.cos(turn), np.sin(turn)])
        means.append(np.trapezoid((smoothed(x, unit) - smoothed(y, unit)) ** 2, line))
    assert float(cramer_wold(x, y, width=width)) == pytest.approx(np.mean(means), abs=1e-9)


@pytest.mark.parametrize("dims", [1, 2, 3, 7, 16, 64, 256])
def test_the_mean_over_angles_is_the_confluent_function(dims):
    steep = np.array([0.0, 0.1, 1.0, 5.0, 25.0])
    found = sum(weight * np.exp(-share * steep) for share, weight in angles(dims))
    np.testing.assert_allclose(found, hyp1f1(0.5, dims / 2, -steep), atol=1e-9)


def test_cauchy_schwarz_is_the_ratio_of_the_integrals_of_smoothed_clouds():
    x, y, width = normals(4, 1, seed=1), 0.6 * normals(3, 1, seed=2) + 1, 0.5
    line = np.linspace(-10, 10, 8001)

    def smoothed(cloud: Tensor) -> np.ndarray:
        off = (line[:, None] - cloud.numpy()[:, 0]) / width
        return np.exp(-0.5 * off**2).mean(1)

    p, q = smoothed(x), smoothed(y)
    inner = lambda a, b: np.trapezoid(a * b, line)  # noqa: E731
    expected = -math.log(inner(p, q) ** 2 / (inner(p, p) * inner(q, q)))
    assert expected > 0.1
    assert float(cauchy_schwarz(x, y, width=width)) == pytest.approx(expected, abs=1e-9)


def test_energy_is_its_sum_over_all_pairs():
    x, y = normals(4, 3, seed=1), normals(5, 3, seed=2)
    mean = lambda one, other: np.mean([float((a - b).norm()) for a in one for b in other])  # noqa: E731
    assert float(energy(x, y)) == pytest.approx(2 * mean(x, y) - mean(x, x) - mean(y, y), abs=1e-12)


# ── laws of all ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_distance_is_under_these_laws():
    assert set(ALL) == set(distances.__all__) - {"two_sample"}


@each
def test_it_is_zero_for_one_cloud_in_any_order_and_above_zero_for_two(name):
    x, y = normals(12, 5, seed=1), normals(12, 5, seed=2) + 0.5
    assert float(ALL[name](x, x.flip(0))) == pytest.approx(0.0, abs=1e-9)
    assert float(ALL[name](x, y)) > 1e-3


@each
def test_it_is_symmetric_and_does_not_see_where_the_origin_is(name):
    """Sinkhorn's steps begin with one of the two clouds, and come to agree as they converge."""
    x, y = normals(12, 5, seed=1), 0.5 * normals(12, 5, seed=2)
    tolerance = 1e-4 if name == "sinkhorn" else 1e-9
    found = float(ALL[name](x, y))
    assert float(ALL[name](y, x)) == pytest.approx(found, abs=tolerance)
    assert float(ALL[name](x + 3, y + 3)) == pytest.approx(found, abs=1e-9)


@each
def test_the_same_clouds_twice_over_have_the_same_distance(name):
    x, y = normals(6, 5, seed=1), 0.5 * normals(6, 5, seed=2)
    assert_close(ALL[name](torch.cat([x, x]), torch.cat([y, y])), ALL[name](x, y), atol=1e-9, rtol=0)


@each
def test_what_stands_before_the_points_is_kept(name):
    x, y = normals(2, 3, 6, 5, seed=1), 0.5 * normals(2, 3, 6, 5, seed=2)
    found = ALL[name](x, y)
    assert found.shape == (2, 3)
    assert_close(found[1, 2], ALL[name](x[1, 2], y[1, 2]), atol=1e-12, rtol=0)


@each
@pytest.mark.parametrize("points", [1, 5])
def test_its_gradient_is_that_of_differences_and_finite_where_points_coincide(name, points):
    """Of Sinkhorn, whose gradient is that at the optimum, with as many steps as that takes."""
    at = ALL[name]
    if name == "sinkhorn":
        at = lambda x, y: sinkhorn(x, y, blur=1.0, iterations=500)  # noqa: E731
    x, y = normals(points, 3, seed=1).requires_grad_(), 0.5 * normals(points, 3, seed=2)
    (slope,) = torch.autograd.grad(at(x, y), x)
    step = 1e-5
    for place in itertools.product(range(points), range(3)):
        moved = torch.zeros_like(x)
        moved[place] = step
        difference = (at(x.detach() + moved, y) - at(x.detach() - moved, y)) / (2 * step)
        assert float(slope[place]) == pytest.approx(float(difference), abs=1e-6)
    (still,) = torch.autograd.grad(at(x, x.detach()), x)
    assert torch.isfinite(still).all()
    assert float(still.abs().max()) < 1e-4  # the least there is


@each
def test_in_half_the_digits_it_is_the_same_to_rounding(name):
    x, y = normals(40, 5, seed=1) + 50, 0.5 * normals(40, 5, seed=2) + 50
    assert float(ALL["energy"](x, y)) > 0.1
    if name == "sliced_wasserstein":
        x, y = x - 50, y - 50
        found = sliced_wasserstein(x.float(), y.float(), DIRECTIONS.float())
    else:
        found = ALL[name](x.float(), y.float())
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(ALL[name](x, y)), rel=1e-3, abs=1e-5)


def test_clouds_far_apart_have_finite_distances_and_slopes():
    x, y = (normals(4, 5) * 1e3).requires_grad_(), normals(4, 5, seed=1)
    for at in ALL.values():
        found = at(x, y)
        (slope,) = torch.autograd.grad(found, x)
        assert torch.isfinite(found)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("make", "error", "complaint"),
    [
        (lambda x, y: mmd_rbf(x, y, width=0.0), RecipeError, "mmd_rbf: width must be above 0, got 0"),
        (lambda x, y: mmd_imq(x, y, constant=-1), RecipeError, "mmd_imq: constant must be above 0, got -1"),
        (lambda x, y: sinkhorn(x, y, blur=math.nan), RecipeError, "sinkhorn: blur must be above 0, got nan"),
        (lambda x, y: cramer_wold(x, y, width=0.0), RecipeError, "cramer_wold: width must be above 0, got 0"),
        (lambda x, y: cauchy_schwarz(x, y, width=0.0), RecipeError, "cauchy_schwarz: width must be above 0, got 0"),
        (lambda x, y: energy(x, y[:, :2]), ShapeError, "points of 3 numbers against points of 2"),
        (lambda x, y: sliced_wasserstein(x, y[:2], torch.eye(3)), ShapeError, "sliced_wasserstein: 4 points against 2"),
    ],
)
def test_what_cannot_be_is_refused(make, error, complaint):
    with pytest.raises(error, match=complaint):
        make(torch.zeros(4, 3), torch.zeros(4, 3))
