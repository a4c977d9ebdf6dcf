"""Laws for every estimator of log p(x), and the truths each is known by. A new estimator joins by one line in SHARP."""

import math
import warnings
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, Wave, split_of

from vael import VAE, Batch, RecipeError, evaluate
from vael.evidence import (
    Annealed,
    Defensive,
    DensityRatio,
    Exact,
    Importance,
    PriorSampling,
    Quadrature,
    Renyi,
    Thermodynamic,
)
from vael.evidence.chosen import estimator, kinds
from vael.evidence.density_ratio import chain_error
from vael.evidence.importance import log_prior_spread
from vael.likelihoods import Bernoulli
from vael.models.classical import gaussian_mixture, spike_slab_sparse_coding
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior, EnumeratedPosterior, GaussianPosterior
from vael.priors import BernoulliPrior, GaussianPrior

WORLD = Linear.random(2, 5, seed=3)
X = WORLD.sample(12)

# Settings under which each answers the world above within its own error; the least and the most that it may be off.
SHARP = {
    "exact": Exact(),
    "importance": Importance(draws=4000),
    "prior_sampling": PriorSampling(draws=20_000),
    "defensive": Defensive(draws=4000, share=0.2),
    "renyi": Renyi(draws=4000, alpha=1e-9),
    "annealed": Annealed(temperatures=40, chains=20, leapfrog=5),
    "thermodynamic": Thermodynamic(temperatures=200, chains=10, leapfrog=5),
    "density_ratio": DensityRatio(draws=400, leapfrog=5),
    "quadrature": Quadrature(nodes=40),
}
every = pytest.mark.parametrize("name", SHARP)


def answer(name: str, model: VAE, x: Tensor, observed: Tensor | None = None, seed: int = 0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that prior sampling is hopeless is what another test is about
        return SHARP[name](model, split_of(x, observed), seed=seed)


def test_every_public_estimator_is_under_these_laws():
    assert set(kinds()) == set(SHARP)
    assert {name: type(one) for name, one in SHARP.items()} == kinds()


@every
def test_it_finds_the_evidence_of_a_linear_model(name):
    """The mean over 12 examples, within 4 of its own Monte Carlo errors, which are below 0.1 nats."""
    found = answer(name, WORLD.model(), X)
    off = found.value - WORLD.log_px(X)
    error = float(found.monte_carlo_error.square().mean().sqrt()) / 12**0.5
    assert abs(float(off.mean())) < 4 * error + (0.01 if name == "thermodynamic" else 1e-9)
    assert error < 0.1
    assert found.value.dtype == torch.float64
    assert found.value.shape == found.monte_carlo_error.shape == (12,)


@every
def test_it_speaks_of_what_is_observed_alone(name):
    observed = torch.rand(12, 5, generator=torch.Generator().manual_seed(1)) > 0.4
    observed[:, 0] = True
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())  # an encoder that looks at no hole
    truth = Exact()(model, split_of(X, observed)).value
    found = answer(name, model, torch.where(observed, X, torch.full_like(X, 7.0)), observed)
    error = float(found.monte_carlo_error.square().mean().sqrt()) / 12**0.5
    assert abs(float((found.value - truth).mean())) < 4 * error + (0.01 if name == "thermodynamic" else 1e-9)


@every
def test_the_users_units_are_in_the_number(name):
    shift = torch.arange(12).double()
    split = split_of(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = SHARP[name](WORLD.model(), split)
        shifted = SHARP[name](WORLD.model(), type(split)(split.x, split.index, shift))
    assert_close(shifted.value, plain.value + shift, atol=1e-9, rtol=0)


@every
def test_a_seed_repeats_and_the_model_is_left_as_it_was(name):
    model = WORLD.model().train()
    first, again = answer(name, model, X[:3], seed=5), answer(name, model, X[:3], seed=5)
    assert torch.equal(first.value, again.value)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.posterior.parameters())
    if name not in ("exact", "quadrature"):
        assert not torch.equal(first.value, answer(name, model, X[:3], seed=6).value)


@every
def test_it_is_found_by_its_name_and_evaluate_takes_it(name):
    assert type(estimator(name)) is kinds()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(WORLD.model(), split_of(X), method=SHARP[name], max_examples=5)
    assert found.evidence.method == name
    assert found.evidence.examples == (12 if name == "exact" and found.evidence.examples == 12 else 5)


def test_a_name_may_be_cut_short_where_it_stays_clear():
    assert estimator("prior", draws=7) == PriorSampling(draws=7)
    assert estimator("density-ratio", settings={"warm-up": 3}) == DensityRatio(warm_up=3)
    with pytest.raises(RecipeError, match=r"method annealed: takes no draws\. Its settings are: temperatures, chains"):
        estimator("annealed", draws=7)
    with pytest.raises(RecipeError, match="unknown method 'ne'"):
        estimator("ne")


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_prior_needs_as_many_draws_as_the_law_says():
    """[(w² + σ²) / (σ √(2w² + σ²))]^d at x = 0 for W = w I: golden values for w = 1, σ = 0.1."""
    golden = {1: 7.123991, 2: 50.8, 5: 1.83e4, 10: 3.37e8}
    for d, value in golden.items():
        world = Linear(torch.eye(d).double(), torch.zeros(d).double(), 0.01)
        log_spread = log_prior_spread(world.model(), split_of(torch.zeros(1, d).double()))
        assert float(log_spread) == pytest.approx(math.log(value), rel=5e-3)
    closed = 10 * math.log((1 + 0.01) / (0.1 * math.sqrt(2 + 0.01)))
    assert float(log_spread) == pytest.approx(closed, abs=1e-9)


def test_prior_sampling_is_off_by_what_the_law_says_and_warns_before():
    """d = 1: the relative variance of one draw is 6.12; measured over 40 000 draws, 4 standard errors."""
    world, zero = Linear(torch.ones(1, 1).double(), torch.zeros(1).double(), 0.01), torch.zeros(1, 1).double()
    model = world.model()
    noise = model.noise(40_000, 1, seed=0)
    with torch.no_grad():
        weight = torch.exp(model.log_px_z(Batch(zero), noise.latents[0]) - world.log_px(zero))[:, 0]
    spread = (weight - 1).square()
    assert abs(float(spread.mean()) - 6.123991) < 4 * float(spread.std()) / 200
    wide = Linear(torch.eye(10).double(), torch.zeros(10).double(), 0.01)
    with pytest.warns(UserWarning, match=r"more than 10\^9 draws of the prior"):
        found = PriorSampling(draws=200)(wide.model(), split_of(torch.zeros(3, 10).double()))
    assert float((wide.log_px(torch.zeros(3, 10).double()) - found.value).min()) > 2  # and it is far too low indeed
    told = evaluate(wide.model(), split_of(wide.sample(6)), method="prior", draws=100)  # a warning here is an error
    assert sum("use importance or annealed" in text for text in told.warnings) == 1


def test_defensive_draws_find_a_mode_that_the_encoder_misses():
    """z² is what x sees: the posterior has modes at ±1.5, q sits on one of them. By quadrature over z."""

    class Square(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.square()

    from vael.likelihoods import Gaussian

    posterior = GaussianPosterior(MLP(1, [], 2)).double()
    with torch.no_grad():
        posterior.network.head.weight.zero_()
        posterior.network.head.bias.copy_(torch.tensor([1.5, math.log(0.05)]))
    model = VAE(GaussianPrior(1), Gaussian(Square(), scale=0.3, event_shape=1), posterior).double()
    x = torch.tensor([[2.25]]).double()
    truth = float(Quadrature(nodes=400, around="prior")(model, split_of(x)).value)
    blind = float(Importance(draws=2000)(model, split_of(x)).value)
    found = Defensive(draws=20_000, share=0.5)(model, split_of(x))
    assert truth - blind > 0.5  # log 2, but for chance
    assert abs(float(found.value) - truth) < 4 * float(found.monte_carlo_error)
    assert float(found.monte_carlo_error) < 0.03


def test_a_defensive_mixture_is_unbiased_for_any_number_of_draws():
    """E[p̂] = p, by 4000 repetitions with 7 draws of which 2 come from the prior; 4 standard errors."""
    wide = WORLD.model(torch.zeros(2).double(), 0.3 * torch.ones(2).double())
    x = X[:1].expand(4000, -1)
    found = Defensive(draws=7, share=0.3)(wide, split_of(x))
    ratio = torch.exp(found.value - WORLD.log_px(X[:1]))
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / 4000**0.5
    assert float(ratio.std()) / 4000**0.5 < 0.2


# ── other powers of a weight ─────────────────────────────────────────────────────────────────────────────────

M, S = 0.3, 0.8  # the posterior N(0.3, 0.8²) under q = N(0, 1)
DIVERGENCE = {0.5: 0.0521316370, 0.9: 0.1103921897, 2.0: 0.5116243067, -1.0: -0.0677888360}


def gaussian_pair() -> tuple[VAE, Tensor, float]:
    """A model and an x whose posterior is N(0.3, 0.8²), with q = N(0, 1), and log p(x)."""
    variance = S**2 / (1 - S**2)  # x = z + ε: the posterior's precision is 1 + 1/variance
    world = Linear(torch.ones(1, 1).double(), torch.zeros(1).double(), variance)
    x = torch.tensor([[M * (1 + variance)]], dtype=torch.float64)
    return world.model(torch.zeros(1).double(), torch.ones(1).double()), x, float(world.log_px(x))


@pytest.mark.parametrize("alpha", [0.5, 0.9, -1.0])
def test_the_renyi_bound_lies_its_divergence_below(alpha):
    """Golden divergences of two Gaussians; 4 Monte Carlo errors of 200 000 draws, below 0.02 nats."""
    model, x, log_px = gaussian_pair()
    found = Renyi(draws=200_000, alpha=alpha)(model, split_of(x))
    assert abs(float(found.value) - (log_px - DIVERGENCE[alpha])) < 4 * float(found.monte_carlo_error)
    assert float(found.monte_carlo_error) < 0.02
    assert found.bound == ("estimate" if alpha < 0 else "lower")


def test_alpha_two_by_quadrature_of_its_weights():
    """w⁻¹ has no finite variance here, so no error bar: the expectation itself, over a grid of z."""
    model, x, log_px = gaussian_pair()
    z = torch.linspace(-14, 14, 40_001).double()[:, None, None]
    with torch.no_grad():
        log_q = model.posterior(x).log_prob(z)[:, 0]
        log_w = model.log_joint(Batch(x), z)[:, 0] - log_q
    bound = -torch.log(torch.trapezoid(torch.exp(log_q - log_w), z[:, 0, 0]))
    assert float(bound) == pytest.approx(log_px - DIVERGENCE[2.0], abs=1e-8)


def test_cubo_is_half_the_log_of_one_plus_the_variance():
    variance = 1 / (S * math.sqrt(2 - S**2)) * math.exp(M**2 / (2 - S**2)) - 1
    assert variance == pytest.approx(0.145198142, abs=1e-9)
    # E_q[(posterior/q)²] with q = N(0, 1): the roles of τ and s as in the variance of a weight.
    assert -DIVERGENCE[-1.0] == pytest.approx(0.5 * math.log1p(variance), abs=1e-9)


def test_bounds_fall_with_alpha_on_the_same_draws():
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())
    values = [Renyi(draws=300, alpha=alpha)(model, split_of(X)).value for alpha in (-2.0, -0.5, 0.0, 0.5, 0.99, 1.5)]
    for higher, lower in pairwise(values):
        assert (higher >= lower - 1e-9).all()
    assert_close(values[2], Importance(draws=300)(model, split_of(X)).value, atol=1e-9, rtol=0)


# ── integrals ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("x", [1.0, 0.0, -1.5])
def test_quadrature_meets_the_trapezoid_rule_on_a_wavy_decoder(x):
    for scale in (0.3, 0.1):
        found = Quadrature(nodes=4001, around="prior", rule="trapezoid")(
            Wave(scale).model(), split_of(torch.tensor([[x]]).double())
        )
        assert float(found.value) == pytest.approx(Wave(scale).log_px(x), abs=1e-6)
        assert float(found.monte_carlo_error) < 1e-6
    by_hermite = Quadrature(nodes=300, around="prior")(Wave(0.3).model(), split_of(torch.tensor([[x]]).double()))
    assert float(by_hermite.value) == pytest.approx(Wave(0.3).log_px(x), abs=1e-3)


def test_sixty_four_nodes_are_enough_for_four_bits():
    """Logits a z + b: log p(1, 0, 1, 1) is golden, and all sixteen patterns add up to one."""
    decoder = MLP(1, [], 4)
    with torch.no_grad():
        decoder.head.weight.copy_(torch.tensor([[2.0], [-1.0], [0.5], [3.0]]))
        decoder.head.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    model = VAE(GaussianPrior(1), Bernoulli(decoder), GaussianPosterior(MLP(4, [], 2))).double()
    patterns = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4)
    found = Quadrature(nodes=64, around="prior")(model, split_of(patterns))
    row = int((patterns == torch.tensor([1.0, 0.0, 1.0, 1.0])).all(1).nonzero())
    assert float(found.value[row]) == pytest.approx(-2.656391683, abs=1e-6)
    assert float(found.value.logsumexp(0)) == pytest.approx(0.0, abs=1e-8)


def test_a_refinement_too_coarse_shows_in_its_error():
    found = Quadrature(nodes=12, around="prior")(Wave(0.1).model(), split_of(torch.zeros(1, 1).double()))
    assert float(found.monte_carlo_error) > 0.05


def test_more_than_three_latents_are_refused():
    world = Linear.random(4, 6)
    with pytest.raises(RecipeError, match="64\\^4 nodes for 4 latents are too many; it is for at most 3"):
        Quadrature()(world.model(), split_of(world.sample(2)))


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_the_density_ratio_meets_quadrature_on_bits(latent):
    """Bernoulli decoders of 1–3 latents: 4 Monte Carlo errors, from 25 chains each, the errors below 0.1 nats."""
    generator = torch.Generator().manual_seed(latent)
    decoder = MLP(latent, [], 6)
    with torch.no_grad():
        decoder.head.bias.copy_(torch.randn(6, generator=generator))
        decoder.head.weight.copy_(2 * torch.randn(6, latent, generator=generator))
    model = VAE(GaussianPrior(latent), Bernoulli(decoder), GaussianPosterior(MLP(6, [], 2 * latent))).double()
    x = (torch.rand(3, 6, generator=generator) > 0.5).double()
    found = DensityRatio(draws=1000, chains=25, warm_up=50, leapfrog=4, start="prior")(model, split_of(x))
    off = found.value - Quadrature(nodes=40, around="prior")(model, split_of(x)).value
    assert (off.abs() < 4 * found.monte_carlo_error).all()
    assert (found.monte_carlo_error < 0.1).all()
    assert found.bound == "estimate"


def every_kind_of_z() -> dict[str, VAE]:
    """Models whose log p(x) is a sum or in closed form, by the kind of posterior that finds z."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        bits = VAE(BernoulliPrior(3, on=0.3), Bernoulli(MLP(3, [], 5)), BernoulliPosterior(MLP(5, [], 3)))
        counted = VAE(bits.prior, bits.likelihood, BernoulliPosterior(MLP(5, [], 3), enumerates=True))
        exact = VAE(bits.prior, bits.likelihood, EnumeratedPosterior(latent=3))
        spiked = spike_slab_sparse_coding(5, 2)
        clusters = gaussian_mixture(5, 3)
        torch.nn.init.normal_(spiked.likelihood.network.head.weight)
        torch.nn.init.normal_(clusters.likelihood.network.head.weight, std=0.5)
    models = {"bits": bits, "counted": counted, "enumerated": exact, "spike_slab": spiked, "mixture": clusters}
    return {name: model.double() for name, model in models.items()}


@pytest.mark.parametrize("kind", every_kind_of_z())
@pytest.mark.parametrize("name", SHARP)
def test_every_estimator_agrees_with_the_exact_sum_or_refuses(name, kind):
    """Whatever finds z: within 4 Monte Carlo errors over 6 examples, or in words that z is discrete."""
    model = every_kind_of_z()[kind]
    x = (torch.rand(6, 5, generator=torch.Generator().manual_seed(2)) > 0.5).double()
    truth = Exact()(model, split_of(x)).value
    if name in ("annealed", "thermodynamic", "quadrature", "density_ratio"):
        with pytest.raises(RecipeError, match="discrete or have point masses"):
            answer(name, model, x)
        return
    found = answer(name, model, x)
    error = float(found.monte_carlo_error.square().mean().sqrt()) / 6**0.5
    assert abs(float((found.value - truth).mean())) < 4 * error + 1e-9
    assert error < 0.1


def test_the_exact_sum_drops_nothing_out():
    model = every_kind_of_z()["bits"]
    model.likelihood.network = torch.nn.Sequential(torch.nn.Dropout(0.5), model.likelihood.network)
    x = torch.ones(2, 5).double()
    at_rest = Exact()(model.eval(), split_of(x)).value
    assert torch.equal(Exact()(model.train(), split_of(x)).value, at_rest)
    assert model.training


def test_draws_of_one_chain_count_as_one():
    """Four chains that never move: the spread of four numbers, however often each is drawn."""
    still = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)[:, None]
    log_r = still.log1p().repeat(50, 1)  # 50 draws of each chain in turn
    r = 1 + still[:, 0]
    assert_close(chain_error(log_r, 4), (r.std() / r.mean() / 2).reshape(1), atol=1e-12, rtol=0)
    assert torch.isnan(chain_error(log_r, 1)).all()


def test_states_that_can_be_counted_are_summed():
    posterior = BernoulliPosterior(MLP(4, [], 3), enumerates=True)
    model = VAE(BernoulliPrior(3, on=0.3), Bernoulli(MLP(3, [], 4)), posterior).double()
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4)
    found = Exact()(model, split_of(x))
    assert float(found.value.logsumexp(0)) == pytest.approx(0.0, abs=1e-9)  # a law over sixteen patterns
    total = torch.zeros(16).double()
    for z in torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3):
        p_z = torch.where(z > 0, 0.3, 0.7).prod()
        p = torch.sigmoid(model.likelihood.network(z))
        total += p_z * torch.where(x > 0, p, 1 - p).prod(-1)
    assert_close(found.value, total.log(), atol=1e-6, rtol=0)  # 0.3 is kept in float32 logits
    assert evaluate(model, split_of(x)).evidence.method == "exact"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Importance(draws=0), "Importance: draws must be a whole number of at least 1, got 0"),
        (lambda: Defensive(share=1.0), "share must be between 0 and 1, got 1.0"),
        (lambda: Defensive(draws=3, share=0.1), "3 draws with a share of 0.1 leave none for one side"),
        (lambda: Renyi(alpha=1), "alpha = 1 is the ELBO"),
        (lambda: Renyi(alpha="abc"), "Renyi: alpha must be a number, got 'abc'"),
        (lambda: Renyi(alpha=math.nan), "Renyi: alpha must be a number, got nan"),
        (lambda: Defensive(share="x"), "Defensive: share must be a number, got 'x'"),
        (lambda: Annealed(acceptance="high"), "Annealed: acceptance must be a number, got 'high'"),
        (lambda: Annealed(temperatures=True), "temperatures must be a whole number of at least 1, got True"),
        (lambda: DensityRatio(warm_up=-5), "warm_up must be a whole number of at least 1, got -5"),
        (lambda: Quadrature(around="here"), "around must be prior or encoder, got 'here'"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()
