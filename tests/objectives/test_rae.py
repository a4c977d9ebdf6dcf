"""The regularised autoencoder against its formula."""

import copy

import pytest
import torch
from torch.testing import assert_close
from worlds import split_of

from vael import VAE, RecipeError, Training
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.objectives import RAE, Reconstruction
from vael.posteriors import BernoulliPosterior, DeterministicPosterior
from vael.priors import BernoulliPrior, GaussianPrior
from vael.training import Engine

F64 = torch.float64


def parts(hidden: list[int]) -> tuple[VAE, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder, encoder = MLP(2, hidden, 5, activation="tanh"), MLP(5, [], 2)
        model = VAE(GaussianPrior(2), Gaussian(decoder, scale=0.7), DeterministicPosterior(encoder)).double()
        return model, torch.randn(6, 5, dtype=F64)


def valued(objective: RAE, model: VAE, x: torch.Tensor) -> torch.Tensor:
    objective.bind(model)
    return objective(model.terms(x, model.noise(1, len(x), seed=1, spare=1)))


@pytest.mark.parametrize("smooth", ["weights", "slope"])
def test_without_weights_it_is_reconstruction_and_each_has_an_effect(smooth):
    model, x = parts([4])
    plain = Reconstruction()(model.terms(x, model.noise(1, 6, seed=1)))
    assert_close(valued(RAE(0.0, 0.0, smooth), model, x), plain)
    assert (valued(RAE(0.5, 0.0, smooth), model, x) < plain - 1e-4).all()
    assert (valued(RAE(0.0, 0.5, smooth), model, x) < plain - 1e-4).all()


def test_short_codes_and_weights_are_charged_by_half_their_squares():
    model, x = parts([4])
    plain = Reconstruction()(model.terms(x, model.noise(1, 6, seed=1)))
    z = model.posterior(x).mean
    first, last = model.likelihood.network.layers[0].weight, model.likelihood.network.head.weight
    squares = sum((weight**2).sum() for weight in (first, last))
    wanted = plain - 0.3 * 0.5 * (z**2).sum(1) - 0.2 * 0.5 * squares
    assert_close(valued(RAE(0.3, 0.2), model, x), wanted)


def test_where_all_states_stand_for_draws_each_counts_by_its_chance():
    model, x = parts([4])
    model = VAE(BernoulliPrior(2), model.likelihood, BernoulliPosterior(MLP(5, [], 2), enumerates=True)).double()
    plain = Reconstruction()(model.terms(x, model.noise(1, 6, seed=1)))
    ones = model.posterior(x).mean.sum(-1)  # E ‖z‖² of zeros and ones
    assert_close(valued(RAE(0.3, 0.0), model, x), plain - 0.3 * 0.5 * ones)


def test_the_slope_is_that_of_the_decoder_along_the_spare_normals_and_on_average_the_jacobians_squares():
    model, x = parts([4])
    objective, noise = RAE(0.0, 1.0, "slope"), model.noise(1, 6, seed=1, spare=1)
    objective.bind(model)
    z = model.posterior(x).mean
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(model.likelihood.network, one) for one in z]
    )  # (B, F, D)
    along = (jacobian @ noise.spare[0].unsqueeze(-1)).squeeze(-1)
    assert_close(objective.roughness(model.terms(x, noise)), (along**2).sum(1))
    draws = torch.stack([
        objective.roughness(model.terms(x, model.noise(1, 6, seed=seed, spare=1))).detach() for seed in range(400)
    ])  # fmt: skip
    error = draws.std(0) / 20
    assert (error < 0.1 * draws.mean(0)).all()
    assert ((draws.mean(0) - (jacobian**2).sum((1, 2))).abs() < 4 * error).all()


@pytest.mark.parametrize("smooth", ["weights", "slope"])
def test_in_training_the_decoder_gets_smoother_by_its_own_measure(smooth):
    model, x = parts([8])
    ends = []
    for weight in (0.0, 0.5):
        trained = copy.deepcopy(model)
        engine = Engine(trained, RAE(0.0, weight, smooth), split_of(x), Training(steps=100, learning_rate=0.01), seed=0)
        for _ in range(100):
            engine.advance()
        z = trained.posterior(x).mean.detach()
        jacobian = torch.autograd.functional.jacobian(trained.likelihood.network, z)
        slope = sum((jacobian[row, :, row] ** 2).sum() for row in range(6))
        weights = sum((value.detach() ** 2).sum() for value in trained.likelihood.parameters() if value.dim() > 1)
        ends.append(float(slope if smooth == "slope" else weights))
    assert ends[1] < 0.8 * ends[0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RAE(code_norm=-1.0), "RAE: code_norm and weight must be at least 0, got -1.0 and"),
        (lambda: RAE(smooth="spectral"), "RAE: smooth must be weights or slope, got 'spectral'"),
        (lambda: RAE(draws=0), "RAE: draws must be at least 1, got 0"),
        (lambda: RAE().warmed(0.5), "RAE: has no rate to warm up"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(RecipeError, match=says):
        make()


def test_what_is_lacking_is_said():
    model, x = parts([])
    terms = model.terms(x, model.noise(1, 6, seed=1))
    with pytest.raises(RecipeError, match="RAE: has no decoder yet"):
        RAE()(terms)
    objective = RAE(smooth="slope")
    objective.bind(model)
    with pytest.raises(RecipeError, match=r"RAE: a slope needs noise of its own.*\n.*spare=1"):
        objective(terms)
