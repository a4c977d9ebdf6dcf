"""Annealing: the golden numbers of perfect moves, brackets of Hamiltonian ones, and both against quadrature."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, Wave, split_of

from vael import VAE, Batch, RecipeError
from vael.evidence import Annealed, Importance, Thermodynamic, sandwich
from vael.evidence.annealed import schedule, simulated
from vael.inference import Path, Place, find_steps, hamiltonian, noise_of, path_to_posterior
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior
from vael.priors import BernoulliPrior

WEIGHT = torch.tensor([[1, 0.5], [0, 1], [1, -1], [0.5, 0]], dtype=torch.float64)
WORLD = Linear(WEIGHT, torch.zeros(4, dtype=torch.float64), 0.25)
X = torch.tensor([[1, -1, 0.5, 2]], dtype=torch.float64)
LOG_PX = -10.477006172979

# T: mean log-weight forwards and backwards with perfect moves and even spacing.
PERFECT = {1: (-22.403165, -8.609763), 10: (-11.315023, -9.935683), 100: (-10.547638, -10.409704)}
JEFFREYS = 13.793402778  # KL(prior‖posterior) + KL(posterior‖prior)


class Perfect:
    """A draw of f_β itself: N(β S Wᵀ x / σ², S), S = (I + β Wᵀ W / σ²)⁻¹; the chain forgets where it was."""

    def __call__(self, place: Place, beta: float, path: Path, noise: Tensor) -> Place:
        return path.at(at_temperature(beta, noise[..., :2]))


def at_temperature(beta: float, eps: Tensor) -> Tensor:
    middle = torch.eye(2, dtype=torch.float64) + beta * WEIGHT.T @ WEIGHT / 0.25
    covariance = torch.linalg.inv(middle)
    loc = beta * (covariance @ WEIGHT.T @ X[0]) / 0.25
    return loc + eps @ torch.linalg.cholesky(covariance).T


@pytest.mark.parametrize("temperatures", PERFECT)
def test_perfect_moves_give_the_golden_means_forwards_and_backwards(temperatures):
    """3 standard errors of independent chains, themselves below 0.2 nats."""
    chains = {1: 10_000, 10: 4000, 100: 600}[temperatures]
    annealed = Annealed(temperatures=temperatures, chains=chains, spacing="uniform", move=Perfect())
    path = path_to_posterior(WORLD.model(), Batch(X))
    eps = torch.randn(chains, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    forward = annealed.log_weights(path, [0])
    backward = annealed.log_weights(path, [0], back_from=at_temperature(1.0, eps))
    for log_w, golden in zip((forward, backward), PERFECT[temperatures], strict=True):
        error = float(log_w.std()) / chains**0.5
        assert abs(float(log_w.mean()) - golden) < 3 * error
        assert error < 0.2
    gap = backward.mean() - forward.mean()
    assert abs(float(gap) - JEFFREYS / temperatures) < 3 * float((forward.var() + backward.var()) / chains) ** 0.5


def test_a_thousand_temperatures_give_the_golden_sandwich_and_integral():
    annealed = Annealed(temperatures=1000, chains=60, spacing="uniform", move=Perfect())
    log_w = annealed.log_weights(path_to_posterior(WORLD.model(), Batch(X)), [0])
    error = float(log_w.std()) / 60**0.5
    assert abs(float(log_w.mean()) + 10.483920) < 3 * error
    assert error < 0.03
    integral = Thermodynamic(temperatures=1000, chains=60, spacing="uniform", move=Perfect())
    found = integral(WORLD.model(), split_of(X))
    assert abs(float(found.value) - LOG_PX) < 3 * float(found.monte_carlo_error)
    assert float(found.monte_carlo_error) < 0.03


def test_ten_temperatures_integrate_to_the_middle_of_both_golden_sums():
    """The trapezoid rule is the mean of the sums from the left and from the right; 3 standard errors."""
    integral = Thermodynamic(temperatures=10, chains=1000, spacing="uniform", move=Perfect())
    found = integral(WORLD.model(), split_of(X))
    assert abs(float(found.value) - sum(PERFECT[10]) / 2) < 3 * float(found.monte_carlo_error)
    assert float(found.monte_carlo_error) < 0.1
    assert found.bound == "estimate"


@pytest.mark.parametrize(("temperatures", "chains"), [(1, 20_000), (3, 20_000), (20, 2000)])
@pytest.mark.parametrize("start", ["prior", "encoder"])
def test_the_mean_weight_is_p_of_x_for_any_number_of_temperatures(temperatures, chains, start):
    """E[w] = p(x), however bad the moves: 4 standard errors of the ratio, itself below 0.1."""
    model = WORLD.model(torch.tensor([0.8, -0.1]).double(), torch.tensor([0.5, 0.5]).double())
    annealed = Annealed(temperatures=temperatures, chains=chains, leapfrog=1, start=start)
    path = path_to_posterior(model, Batch(X), start=start)
    ratio = torch.exp(annealed.log_weights(path, [0]) - LOG_PX)
    error = float(ratio.std()) / chains**0.5
    assert abs(float(ratio.mean()) - 1) < 4 * error
    assert error < (0.1 if temperatures > 1 or start == "encoder" else 0.3)


def test_hamiltonian_chains_bracket_the_truth_of_a_linear_model():
    world = Linear.random(3, 6)
    found = sandwich(world.model(), Annealed(temperatures=60, chains=8), 40)
    assert float(found.gap.mean()) < 1.0
    assert float(found.gap.mean()) > -3 * float(found.gap.std()) / 40**0.5
    _, x = simulated(world.model(), 40, 0)
    for side, sign in ((found.lower, 1), (found.upper, -1)):
        off = sign * (world.log_px(x) - side.value)  # above 0 in expectation
        assert float(off.mean()) > -3 * float(off.std()) / 40**0.5
        assert abs(float(off.mean())) < 0.5


@pytest.mark.parametrize(("scale", "temperatures"), [(0.3, 100), (0.1, 400)])
@pytest.mark.parametrize("x", [1.0, 0.0, -1.5])
def test_the_chains_find_the_integral_over_a_wavy_decoder(scale, temperatures, x):
    """Three modes in one dimension: what an annealed chain is for. 4 standard errors, themselves below 0.1 nats."""
    world = Wave(scale)
    found = Annealed(temperatures=temperatures, chains=200)(world.model(), split_of(torch.tensor([[x]]).double()))
    assert abs(float(found.value) - world.log_px(x)) < 4 * float(found.monte_carlo_error)
    assert float(found.monte_carlo_error) < 0.1


def test_hamiltonian_chains_bracket_the_truth_of_a_wavy_decoder():
    """Forwards and backwards on 25 simulated examples of three modes, against quadrature: 3 standard errors."""
    world = Wave(0.3)
    found = sandwich(world.model(), Annealed(temperatures=60, chains=8, leapfrog=5), 25)
    _, x = simulated(world.model(), 25, 0)
    truth = torch.tensor([world.log_px(float(one), points=200_001) for one in x], dtype=torch.float64)
    for side, sign in ((found.lower, 1), (found.upper, -1)):
        off = sign * (truth - side.value)  # above 0 in expectation
        error = float(off.std()) / 25**0.5
        assert float(off.mean()) > -3 * error
        assert error < 0.1
        assert abs(float(off.mean())) < 0.3


def test_the_golden_numbers_of_the_wavy_decoder():
    golden = {0.3: (-1.067392315, -1.477112498, -1.336761977), 0.1: (-1.147933332, -1.671671295, -1.242134097)}
    for scale, numbers in golden.items():
        for x, number in zip((1.0, 0.0, -1.5), numbers, strict=True):
            assert Wave(scale).log_px(x) == pytest.approx(number, abs=1e-8)


def test_annealing_beats_importance_sampling_where_the_encoder_is_poor():
    world = Linear.random(6, 12, variance=0.3)
    model, x = world.model(torch.zeros(6).double(), torch.ones(6).double()), world.sample(10)
    annealed = Annealed(temperatures=200, chains=16)(model, split_of(x)).value
    weighed = Importance(draws=3000)(model, split_of(x)).value
    assert float((world.log_px(x) - annealed).mean().abs()) < 0.3
    assert float((world.log_px(x) - weighed).mean()) > 1.0


def test_moves_are_accepted_as_often_as_was_asked():
    model, x = Linear.random(10, 30).model(), Linear.random(10, 30).sample(6)
    path = path_to_posterior(model, Batch(x), start="encoder")
    noise = noise_of(range(6), 20, 12, seed=0, purpose="test", like=path.goal_width)
    place = path.at(path.draw(next(noise)[..., :-2]))
    for wanted in (0.65, 0.9):
        hmc = find_steps(path, place, noise, (1.0,), leapfrog=10, acceptance=wanted, moves=40)
        taken = torch.stack(
            [hamiltonian(place, 1.0, path, next(noise), step=hmc.step(1.0), leapfrog=10)[1] for _ in range(10)]
        )
        assert abs(float(taken.mean()) - wanted) < 0.08


def test_a_move_leaves_its_target_unchanged_and_its_energy_error_is_of_second_order():
    path = path_to_posterior(WORLD.model(), Batch(X))
    noise = noise_of([0], 20_000, 4, seed=1, purpose="test", like=path.goal_width)
    place = path.at(at_temperature(0.5, next(noise)[..., :-2]))
    moved = place
    for _ in range(3):
        moved, accepted = hamiltonian(moved, 0.5, path, next(noise), step=torch.tensor([0.7]).double(), leapfrog=4)
    assert 0.5 < float(accepted.mean()) < 0.99  # neither always nor never: the test is about both
    truth = at_temperature(0.5, torch.zeros(1, 1, 2).double())
    assert float((moved.z.mean(0) - truth).abs().max()) < 4 * float(moved.z.std()) / 20_000**0.5
    middle = torch.eye(2, dtype=torch.float64) + 0.5 * WEIGHT.T @ WEIGHT / 0.25
    assert_close(torch.cov(moved.z[:, 0].T), torch.linalg.inv(middle), atol=0.005, rtol=0)
    lost = []
    for step in (0.2, 0.1):
        _, accepted = hamiltonian(
            place, 0.5, path, next(noise), step=torch.tensor([step]).double(), leapfrog=round(1 / step)
        )
        lost.append(float((1 - accepted).mean()))
    assert 3.0 < lost[0] / lost[1] < 5.0  # halving the step quarters the error


def test_temperatures_rise_from_nothing_to_all():
    for spacing in ("uniform", "sigmoid"):
        betas = torch.tensor(schedule(20, spacing))
        assert (betas.diff() > 0).all()
        assert [float(betas[0]), float(betas[-1])] == [0.0, 1.0]
    assert schedule(4, "uniform") == [0, 0.25, 0.5, 0.75, 1]
    bent = schedule(3, "sigmoid")
    low, inner = 1 / (1 + math.exp(4)), 1 / (1 + math.exp(4 / 3))
    assert bent[1] == pytest.approx((inner - low) / (1 - 2 * low), abs=1e-12)


def test_the_same_seed_gives_the_same_number_and_leaves_the_model_as_it_was():
    model = Linear.random(3, 6).model().train()
    split = split_of(Linear.random(3, 6).sample(5))
    first, again = (Annealed(temperatures=5, chains=3)(model, split, seed=2) for _ in range(2))
    assert torch.equal(first.value, again.value)
    assert not torch.equal(first.value, Annealed(temperatures=5, chains=3)(model, split, seed=3).value)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.posterior.parameters())


def test_discrete_latents_are_refused_in_words():
    model = VAE(BernoulliPrior(3), Bernoulli(MLP(3, [], 4)), BernoulliPosterior(MLP(4, [], 3)))
    with pytest.raises(RecipeError, match="latents are discrete or have point masses, and Hamiltonian moves"):
        Annealed(temperatures=2)(model, split_of(torch.zeros(2, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperatures": 0}, "Annealed: temperatures must be a whole number of at least 1, got 0"),
        ({"start": "somewhere"}, "start must be prior or encoder, got 'somewhere'"),
        ({"spacing": "cubic"}, "spacing must be sigmoid or uniform, got 'cubic'"),
        ({"acceptance": 1.0}, "acceptance must be between 0 and 1, got 1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(RecipeError, match=message):
        Annealed(**arguments)


def test_a_walk_is_timed_by_a_twentieth_of_itself():
    """The pilot's moves count, four chains to sixteen: 1000 + 30 moves against 50 + 30."""
    whole = Annealed(temperatures=1000, chains=16, start="encoder")
    short, times = whole.shortened()
    assert short == Annealed(temperatures=50, chains=16, start="encoder")
    assert times == pytest.approx(1030 / 80)
    assert Annealed(temperatures=3).shortened()[0].temperatures == 2
