"""Several models trained as one are, to rounding, those trained one by one."""

import pytest
import torch
from torch import nn
from worlds import split_of

from vael import VAE, RecipeError
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP, ConvDecoder, ConvEncoder
from vael.objectives import ELBO, IWAE, PIWAE, RAE, Beta, Factor, Matching, Renyi, TotalCorrelation
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine, Together, Training
from vael.training.train import stepper


def rows(seed: int) -> torch.Tensor:
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model_of(seed: int, **likelihood: object) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(GaussianPrior(2), Gaussian(MLP(2, [8], 5), **likelihood), GaussianPosterior(MLP(5, [8], 4))).double()


def engines_of(objectives, *, rates=None, **settings: object) -> list[Engine]:
    training = Training.of({"steps": 100, "batch": 16, **settings})
    return [
        Engine(model_of(seed, scale="optimal"), objective, split_of(rows(seed)), training, seed=seed)
        for seed, objective in enumerate(objectives)
    ]


CASES = {
    "seeds": [ELBO(), ELBO(), ELBO()],
    "betas": [Beta(0.1), Beta(1.0), Beta(4.0)],
    "importance-weighted": [IWAE(5), IWAE(5)],
    "partly": [PIWAE(6, means=3), PIWAE(6, means=3)],
    "Rényi": [Renyi(0.2, draws=5), Renyi(1.7, draws=5)],
    "dependence": [TotalCorrelation(beta=2.0), TotalCorrelation(beta=6.0)],
    "shadows": [Matching(distance="sliced", weight=2.0), Matching(distance="sliced", weight=9.0)],
    "transport": [Matching(distance="sinkhorn", width=1.0), Matching(distance="sinkhorn", width=2.0)],
}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_each_is_what_it_would_have_been_alone(case, recorded, monkeypatch):
    """Weights, moments, running means and monitors within 1e-12 over 20 steps, in float64."""
    if recorded:
        monkeypatch.setattr("vael.training.together.EAGER_STEPS", 1)
        monkeypatch.setattr("vael.training.together.PAYING_STEPS", 0)
    settings = {"warm_up": 0 if case in ("importance-weighted", "partly", "Rényi") else 30, "clip": 0.5}
    alone, company = engines_of(CASES[case], **settings), engines_of(CASES[case], **settings)
    together = Together(company)
    for _ in range(20):
        for engine in alone:
            engine.advance()
        together.advance()
    assert (together.replay is not None) == recorded
    for one, other in zip(alone, company, strict=True):
        assert other.step == 20
        for name, value in one.bound.state_dict().items():
            torch.testing.assert_close(other.bound.state_dict()[name], value, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(other.bound.monitor, one.bound.monitor, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(other.adam.exp_avg_sq, one.adam.exp_avg_sq, atol=1e-12, rtol=1e-12)
    ends = [engine.parameters[0] for engine in company]
    assert not torch.equal(ends[0], ends[1])


def test_with_convolutions_in_their_own_memory_order():
    def engine(seed: int) -> Engine:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = ConvEncoder((1, 8, 8), [4, 6], 4)
            model = VAE(GaussianPrior(2), Bernoulli(ConvDecoder(2, [4, 6], (1, 8, 8))), GaussianPosterior(encoder))
        x = torch.rand(20, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).round()
        return Engine(model.double(), ELBO(), split_of(x), Training(steps=99, batch=7), seed=seed)

    alone, company = [engine(0), engine(1)], [engine(0), engine(1)]
    together = Together(company)
    for _ in range(6):
        for one in alone:
            one.advance()
        together.advance()
    for one, other in zip(alone, company, strict=True):
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value, atol=1e-9, rtol=1e-9)


def test_engines_at_different_steps_go_on_side_by_side():
    alone, company = engines_of(CASES["betas"]), engines_of(CASES["betas"])
    for _ in range(5):
        alone[1].advance()
        company[1].advance()
    together = Together(company)
    for _ in range(4):
        for engine in alone:
            engine.advance()
        together.advance()
    assert [engine.step for engine in company] == [4, 9, 4]
    for one, other in zip(alone, company, strict=True):
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value, atol=1e-9, rtol=1e-9)


def test_what_cannot_be_one_model_is_refused_in_words():
    with pytest.raises(RecipeError, match="objectives differ in draws, which is not a weight"):
        Together(engines_of([IWAE(5), IWAE(6)]))
    with pytest.raises(RecipeError, match="objectives are of different kinds"):
        Together(engines_of([ELBO(), Beta(2.0)]))
    with pytest.raises(RecipeError, match="a compiled step is one model's"):
        Together(engines_of([ELBO(), ELBO()], compile=True))
    with pytest.raises(RecipeError, match="differ in precision"):
        Together([engines_of([ELBO()])[0], engines_of([ELBO()], precision="bf16")[0]])
    narrow = engines_of([ELBO()])[0]
    fixed = engines_of([ELBO()])[0]
    fixed.learn_all_but(fixed.names[:1])
    with pytest.raises(RecipeError, match="or in which parameters are learned"):
        Together([narrow, fixed])
    with torch.random.fork_rng(devices=[]):
        other = VAE(GaussianPrior(3), Gaussian(MLP(3, [8], 5), scale="optimal"), GaussianPosterior(MLP(5, [8], 6)))
    wide = Engine(other.double(), ELBO(), split_of(rows(0)), Training(steps=9, batch=16), seed=0)
    with pytest.raises(RecipeError, match="parameters of different shapes"):
        Together([narrow, wide])


def with_encoder(encoder, seed: int, objective=None, **settings: object) -> Engine:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(GaussianPrior(2), Gaussian(MLP(2, [8], 5)), GaussianPosterior(encoder(), latent=2)).double()
    training = Training.of({"steps": 100, "batch": 16, **settings})
    return Engine(model, objective or ELBO(), split_of(rows(seed)), training, seed=seed)


def with_an_idle_one() -> nn.Module:
    network = nn.Linear(5, 4)
    network.idle = nn.Parameter(torch.ones(3))
    return network


def test_a_parameter_that_nothing_depends_on_does_not_decay_either():
    alone, company = ([with_encoder(with_an_idle_one, seed, weight_decay=0.5) for seed in range(2)] for _ in range(2))
    together = Together(company)
    for _ in range(3):
        for engine in alone:
            engine.advance()
        together.advance()
    for one, other in zip(alone, company, strict=True):
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value, atol=1e-12, rtol=1e-12)


NOT_BATCHED = {
    "dropout": lambda: nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5)),
    "mean of all batches": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, momentum=None)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)),
}


@pytest.mark.parametrize("case", NOT_BATCHED)
def test_what_torch_cannot_batch_is_advanced_in_turn(case):
    said = []
    engines = [with_encoder(NOT_BATCHED[case], seed) for seed in range(2)]
    stepper(engines, said.append)()
    assert [engine.step for engine in engines] == [1, 1]
    assert len(said) == 1
    assert said[0].startswith("advanced in turn, not as one batch; together: RuntimeError")


def test_an_objective_that_is_no_table_of_numbers_is_advanced_in_turn():
    class Plain:
        draws = 1

        def __call__(self, terms):
            return -terms.distortion - terms.rate

    said = []
    engines = [with_encoder(with_an_idle_one, seed, Plain()) for seed in range(2)]
    stepper(engines, said.append)()
    assert [engine.step for engine in engines] == [1, 1]
    assert "Plain is not of vael or torch.nn" in said[0]


@pytest.mark.parametrize("objective", [RAE, Factor])
def test_an_objective_that_belongs_to_its_model_is_advanced_in_turn(objective):
    said = []
    engines = [with_encoder(with_an_idle_one, seed, objective()) for seed in range(2)]
    stepper(engines, said.append)()
    assert [engine.step for engine in engines] == [1, 1]
    assert f"{objective.__name__} belongs to one model" in said[0]
