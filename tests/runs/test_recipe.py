"""Recipe ⇄ objects: constructors are the configuration."""

import tomllib

import pytest
import tomli_w
import torch

from vael.errors import RecipeError, ShapeError
from vael.likelihoods import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gamma,
    Gaussian,
    GreyBernoulli,
    Laplace,
    LogisticMixture,
    LogNormal,
    Mixed,
    NegativeBinomial,
    OrderedLogit,
    Poisson,
    Spiked,
    StudentT,
    ZeroInflatedNegativeBinomial,
)
from vael.likelihoods import (
    Beta as BetaLikelihood,
)
from vael.models import VAE
from vael.networks import MLP, ConvDecoder, ConvEncoder, Corrupted, Last, Rescaled, RowFeatures
from vael.objectives import (
    CIWAE,
    DIP,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    RAE,
    STL,
    VIMCO,
    AdversarialMatching,
    Beta,
    Capacity,
    DReG,
    Factor,
    FeatureAdversary,
    FreeBits,
    InfoVAE,
    Matching,
    RateFloor,
    Reconstruction,
    Renyi,
    Score,
    TotalCorrelation,
    WakeWake,
)
from vael.posteriors import (
    BernoulliPosterior,
    CategoricalPosterior,
    ChainPosterior,
    DeterministicPosterior,
    DiffusionPosterior,
    EnumeratedPosterior,
    FiniteScalarPosterior,
    FlowPosterior,
    FullGaussianPosterior,
    GaussianPosterior,
    LadderPosterior,
    LinearGaussianPosterior,
    LowRankGaussianPosterior,
    MixturePosterior,
    QuantizedPosterior,
    SpikeSlabPosterior,
    TruncatedPosterior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
)
from vael.priors import (
    AutoregressivePrior,
    BernoulliPrior,
    CategoricalPrior,
    ChainPrior,
    CodesPrior,
    ConditionalPrior,
    DiffusionPrior,
    ExemplarPrior,
    FlowPrior,
    GaussianPrior,
    HyperbolicPrior,
    HypersphericalPrior,
    MixturePrior,
    MovedPrior,
    SpikeSlabPrior,
    VampPrior,
)
from vael.runs.recipe import ROOMS, build, build_model, describe, describe_model, members, with_settings


def mixed():
    parts = [([0, 2], Gaussian(event_shape=2, step=[0.1, 0.0])), ([1], Categorical(levels=4, event_shape=1))]
    parts += [([3], NegativeBinomial(dispersion="per_example", event_shape=1))]
    parts += [([4, 5], Spiked(slab=LogNormal(event_shape=2, step=[0.0, 1.0]), spike=[0.0, 1.5], event_shape=2))]
    return Mixed(MLP(3, [5], Mixed.outputs_for(parts)), parts=parts)


# One line, and a new member of a room is under every law below.
REGISTER = {
    "prior": {
        "gaussian": [GaussianPrior(3)],
        "exemplar": [ExemplarPrior(6, examples=7)],
        "moved": [MovedPrior(FlowPrior(6, hidden=[5])), MovedPrior(GaussianPrior(6))],
        "mixture": [MixturePrior(3), MixturePrior(3, 4)],
        "vamp": [VampPrior(3), VampPrior(3, 7, event_shape=[6])],
        "flow": [FlowPrior(3), FlowPrior(3, "maf", transforms=2, hidden=[5])],
        "autoregressive": [AutoregressivePrior(3), AutoregressivePrior(3, 2, hidden=[5])],
        "hyperspherical": [HypersphericalPrior(3)],
        "hyperbolic": [HyperbolicPrior(3), HyperbolicPrior(3, curvature=0.5, scale=0.7)],
        "spike_slab": [SpikeSlabPrior(3), SpikeSlabPrior(3, 0.4, learned=True)],
        "bernoulli": [BernoulliPrior(3), BernoulliPrior(3, 0.2, learned=True)],
        "categorical": [CategoricalPrior(3), CategoricalPrior(4, groups=2, learned=True)],
        "chain": [ChainPrior([GaussianPrior(2), ConditionalPrior(MLP(2, [4], 2))])],
        "codes": [CodesPrior(3), CodesPrior(2, 8, 3, stages=2, hidden=[])],
        "diffusion": [
            DiffusionPrior(MLP(2, [4], 2, given=3), 4),
            DiffusionPrior(MLP(2, [4], 2, given=1), 4, variance="learned"),
        ],
        "conditional": [ConditionalPrior(MLP(2, [4], 6)), ConditionalPrior(latent=3)],
    },
    "likelihood": {
        "bernoulli": [Bernoulli(MLP(3, [5], 6)), Bernoulli(MLP(3, [5], (1, 2, 3)))],
        "grey_bernoulli": [GreyBernoulli(MLP(3, [], 6, activation="tanh"))],
        "categorical": [Categorical(MLP(3, [5], 12), levels=4)],
        "discretized_logistic": [DiscretizedLogistic(MLP(3, [5], (2, 4, 4)), levels=17)],
        "gaussian": [
            Gaussian(MLP(3, [5], 6)),
            Gaussian(MLP(3, [5], 6), scale=0.5, step=0.25),
            Gaussian(MLP(3, [5], 6), scale="per_example", floor=0.1, step=[0.0, 0.5, 1.0]),
            Gaussian(MLP(3, [5], 6), scale="optimal"),
            Gaussian(MLP(3, [5], 6), scale="shared"),
        ],
        "negative_binomial": [
            NegativeBinomial(MLP(3, [5], 6)),
            NegativeBinomial(MLP(3, [5], 6), dispersion="per_example"),
        ],
        "poisson": [Poisson(MLP(3, [5], 6))],
        "zero_inflated_negative_binomial": [
            ZeroInflatedNegativeBinomial(MLP(3, [5], 6)),
            ZeroInflatedNegativeBinomial(MLP(3, [5], 6), dispersion="per_example"),
        ],
        "beta": [BetaLikelihood(MLP(3, [5], 6), step=0.05)],
        "beta_binomial": [BetaBinomial(MLP(3, [5], (2, 4, 4)), levels=17)],
        "continuous_bernoulli": [ContinuousBernoulli(MLP(3, [5], 6))],
        "gamma": [Gamma(MLP(3, [5], 6), floor=0.01)],
        "laplace": [Laplace(MLP(3, [5], 6), step=[0.0, 0.5, 1.0])],
        "log_normal": [LogNormal(MLP(3, [5], 6))],
        "logistic_mixture": [
            LogisticMixture(MLP(3, [5], (9, 4, 4)), levels=17, components=3),
            LogisticMixture(MLP(3, [5], (50, 4, 4))),
            LogisticMixture(MLP(3, [5], 30)),
        ],
        "ordered_logit": [OrderedLogit(MLP(3, [5], 6), levels=4)],
        "spiked": [Spiked(MLP(3, [5], 6), slab=LogNormal(event_shape=2), spike=0.0)],
        "student_t": [StudentT(MLP(3, [5], 6))],
        "mixed": [mixed()],
    },
    "posterior": {
        "gaussian": [GaussianPosterior(MLP((1, 2, 3), [5], 6)), GaussianPosterior(MLP(6, [5], 6), latent=3)],
        "full_gaussian": [FullGaussianPosterior(MLP(6, [5], 9))],
        "flow": [
            FlowPosterior(MLP(6, [5], 9 + 25), latent=3),
            FlowPosterior(MLP(6, [5], 8), flow="iaf", transforms=2, context=2, hidden=[5]),
        ],
        "low_rank_gaussian": [
            LowRankGaussianPosterior(MLP(6, [5], 12)),
            LowRankGaussianPosterior(MLP(6, [5], 15), latent=3, rank=3),
        ],
        "enumerated": [EnumeratedPosterior(3)],
        "linear_gaussian": [LinearGaussianPosterior(3)],
        "spike_slab": [SpikeSlabPosterior(3)],
        "truncated": [TruncatedPosterior(6), TruncatedPosterior(3, states=4, generations=2, seed=1)],
        "bernoulli": [
            BernoulliPosterior(MLP(6, [5], 3)),
            BernoulliPosterior(MLP(6, [5], 3), temperature=0.5, straight_through=True, latent=3),
        ],
        "categorical": [
            CategoricalPosterior(MLP(6, [5], 3), classes=3, enumerates=True),
            CategoricalPosterior(MLP(6, [5], 8), classes=4, groups=2, temperature=0.5),
        ],
        "mixture": [MixturePosterior(MLP(6, [5], 14)), MixturePosterior(MLP(6, [5], 21), latent=3, components=3)],
        "von_mises_fisher": [VonMisesFisherPosterior(MLP(6, [5], 4))],
        "wrapped_normal": [WrappedNormalPosterior(MLP(6, [5], 6), curvature=0.5)],
        "quantized": [
            QuantizedPosterior(MLP(6, [5], 4), positions=2),
            QuantizedPosterior(MLP(6, [5], 3), positions=1, codes=8, size=3, stages=2, commitment=0.5, decay=0.9),
        ],
        "finite_scalar": [
            FiniteScalarPosterior(MLP(6, [5], 8), positions=2),
            FiniteScalarPosterior(MLP(6, [5], 4), positions=2, levels=[3, 4]),
        ],
        "ladder": [
            LadderPosterior(
                MLP(6, [5], 4), [GaussianPosterior(MLP(4, [], 4)), GaussianPosterior(MLP(4, [], 2, given=2))]
            )
        ],
        "diffusion": [DiffusionPosterior(6, [0.1, 0.5])],
        "deterministic": [DeterministicPosterior(MLP(6, [5], 3), sparse=s, contract=2 * s) for s in (0.0, 0.5)],
        "chain": [
            ChainPosterior([GaussianPosterior(MLP(6, [5], 4)), GaussianPosterior(MLP(6, [5], 2, given=2))]),
            ChainPosterior([CategoricalPosterior(MLP(6, [], 3), classes=3, enumerates=True)], classifier=0.5),
        ],
    },
    "network": {
        "mlp": [
            MLP(3, [5, 7], 6, activation="silu"),
            MLP((1, 2, 3), [], (2, 2)),
            MLP(3, [5], 6, given=2),
            MLP(3, [5], 6, skip=True),
        ],
        "corrupted": [Corrupted(MLP(3, [5], 6), mask=0.25, blank=0.5, noise=0.1)],
        "rescaled": [Rescaled(MLP(3, [5], 6), loc=8.0, scale=7.5)],
        "last": [Last(MLP(2, [5], 6), 4)],
        "row_features": [
            RowFeatures(MLP(7, [5], 6), levels=[0, 3, 2, 0], counts=[3], holes=[1]),
            RowFeatures(MLP(5, [5], 6), levels=[60, 0], counts=[], holes=[], embedding=4, many=40),
        ],
        "conv_encoder": [
            ConvEncoder((3, 9, 8), [4, 5], 6),
            ConvEncoder([1, 8, 8], [4], 6, blocks=2, activation="relu", given=3),
        ],
        "conv_decoder": [
            ConvDecoder(3, [5, 4], (3, 9, 8)),
            ConvDecoder(3, [4], (1, 8, 8), blocks=1, bias="per_channel"),
        ],
    },
    "objective": {
        "elbo": [ELBO(), ELBO(draws=3), ELBO(rate="drawn")],
        "beta": [Beta(beta=4.0, draws=2)],
        "iwae": [IWAE(draws=7)],
        "free_bits": [FreeBits(), FreeBits(bits=0.5, draws=2)],
        "capacity": [Capacity(), Capacity(capacity=5.0, weight=30.0, draws=2)],
        "stl": [STL(), STL(draws=3)],
        "dreg": [DReG(draws=7)],
        "score": [Score(), Score(draws=1, baseline="none"), Score(draws=2, baseline=-90.5)],
        "vimco": [VIMCO(draws=7)],
        "miwae": [MIWAE(), MIWAE(draws=12, means=3)],
        "piwae": [PIWAE(), PIWAE(draws=12, means=3)],
        "ciwae": [CIWAE(), CIWAE(beta=0.2, draws=7)],
        "renyi": [Renyi(), Renyi(alpha=-1.5, draws=7)],
        "wake_wake": [WakeWake(), WakeWake(draws=7)],
        "rate_floor": [RateFloor(), RateFloor(floor=2.5, draws=2)],
        "dip": [DIP(), DIP(covariance="draws", off_diagonal=3.0, diagonal=4.0, draws=2)],
        "total_correlation": [TotalCorrelation(), TotalCorrelation(beta=3.0, weights="even", examples=70, draws=2)],
        "info_vae": [InfoVAE(), InfoVAE(alpha=0.5, weight=9.0, distance="mmd_imq", width=2.0, draws=2)],
        "matching": [Matching(), Matching(distance="sinkhorn", weight=9.0, width=2.0, draws=2)],
        "reconstruction": [Reconstruction(), Reconstruction(draws=2)],
        "factor": [Factor(), Factor(weight=3.0, hidden=[8], draws=2)],
        "adversarial_matching": [AdversarialMatching(), AdversarialMatching(weight=3.0, hidden=[8], draws=2)],
        "feature_adversary": [FeatureAdversary(), FeatureAdversary(0.5, 2.0, 3.0, hidden=[8], draws=2)],
        "rae": [RAE(), RAE(code_norm=0.5, weight=2.0, smooth="slope", draws=2)],
    },
}
CASES = [(room, kind, thing) for room, kinds in REGISTER.items() for kind, things in kinds.items() for thing in things]


def through_toml(table):
    return tomllib.loads(tomli_w.dumps(table))


def test_the_register_has_every_public_member_of_every_room():
    assert {room: set(kinds) for room, kinds in REGISTER.items()} == {room: set(members(room)) for room in ROOMS}


@pytest.mark.parametrize(("room", "kind", "thing"), CASES)
def test_describing_and_building_is_the_identity_through_toml(room, kind, thing):
    table = describe(thing, room)
    again = build(through_toml(table), room)
    assert table["kind"] == kind
    assert type(again) is type(thing)
    assert through_toml(describe(again, room)) == through_toml(table)
    if isinstance(thing, torch.nn.Module):
        states = [{name: value.shape for name, value in one.state_dict().items()} for one in (thing, again)]
        assert states[0] == states[1]
        again.load_state_dict(thing.state_dict())
        assert repr(again) == repr(thing)
    else:
        assert again == thing


def test_a_whole_model_is_built_again_with_the_same_densities():
    model = VAE(
        GaussianPrior(3),
        mixed(),
        GaussianPosterior(RowFeatures(MLP(7, [5], 6), levels=[0, 4, 0, 0], counts=[3], holes=[])),
    )
    again = build_model(through_toml(describe_model(model)))
    again.load_state_dict(model.state_dict())
    x = torch.tensor([[0.5, 3.0, -1.0, 7.0, 0.0, 1.5], [0.0, 0.0, 2.0, 0.0, 1.25, 2.0]])
    noise = model.noise(5, 2, seed=0)
    assert torch.equal(model.terms(x, noise).log_w, again.terms(x, noise).log_w)


@pytest.mark.parametrize(("room", "kind"), [(room, kind) for room, kinds in REGISTER.items() for kind in kinds])
def test_an_unknown_key_is_answered_with_the_signature(room, kind):
    takes = list(describe(REGISTER[room][kind][0], room))
    with pytest.raises(RecipeError, match=rf"\[{room}\]: unknown key 'bogus_key'. \w+ takes: .+\.") as told:
        build({"kind": kind, "bogus_key": 1}, room)
    assert all(key in str(told.value) for key in takes if key != "kind")


@pytest.mark.parametrize(
    ("table", "place", "hint"),
    [
        ({"kind": "gausian"}, "likelihood", "There are: .*Did you mean 'gaussian'"),
        ({"kind": "gaussian", "scael": 1.0}, "likelihood", "Did you mean 'scale'"),
        ({"kind": "beta", "bta": 1.0}, "objective", "Beta takes: beta, draws. Did you mean 'beta'"),
        (
            {"kind": "bernoulli", "network": {"kind": "mlp", "hiden": []}},
            "likelihood",
            r"\[likelihood.network\].*'hidden'",
        ),
        ({}, "prior", "unknown kind None"),
        ({"kind": "mlp", "inputs": 3}, "posterior.network", r"\[posterior.network\]: .*missing"),
    ],
)
def test_a_misspelling_is_answered_with_place_and_suggestion(table, place, hint):
    with pytest.raises(RecipeError, match=hint):
        build(table, place)


def test_a_module_from_elsewhere_is_described_by_its_name_and_needed_to_build():
    table = describe(GaussianPosterior(torch.nn.Linear(4, 6), latent=3), "posterior")
    assert table["network"] == {"kind": "foreign", "class": "torch.nn.modules.linear.Linear"}
    with pytest.raises(
        RecipeError, match=r"a run folder holds no code\.[\s\S]*modules=\{'posterior.network': module\}"
    ):
        build(table, "posterior")
    own = torch.nn.Linear(4, 6)
    assert build(table, "posterior", {"posterior.network": own}).network is own


def test_prior_and_posterior_that_disagree_are_refused_with_both_sizes():
    with pytest.raises(ShapeError, match="the prior has 2 latents, the posterior 3"):
        VAE(GaussianPrior(2), mixed(), GaussianPosterior(MLP(4, [], 6)))


# ── --set ────────────────────────────────────────────────────────────────────────────────────────────────────

TABLES = {"seed": 0, "data": {"name": "x"}, "training": {"batch": 128}, "likelihood": {"network": {"hidden": [8]}}}


def test_a_new_kind_keeps_what_both_take_and_drops_the_rest_whatever_the_order():
    tables = describe_model(
        VAE(
            GaussianPrior(3),
            Bernoulli(ConvDecoder(3, [4], (1, 8, 8), blocks=1)),
            GaussianPosterior(ConvEncoder((1, 8, 8), [4], 6)),
        )
    )
    asked = {"likelihood.network.hidden": [5], "likelihood.network.kind": "mlp"}
    changed = with_settings(tables, asked)
    assert changed["likelihood"]["network"] == {"kind": "mlp", "inputs": 3, "outputs": [1, 8, 8], "hidden": [5]}
    assert changed["posterior"] == tables["posterior"]
    assert build_model(changed).likelihood.network.hidden == [5]


def test_a_kind_that_does_not_exist_is_answered_when_it_is_built():
    changed = with_settings(
        {"posterior": describe(GaussianPosterior(MLP(6, [], 6)), "posterior")}, {"posterior.kind": "gausian"}
    )
    with pytest.raises(RecipeError, match=r"unknown kind 'gausian'\. There are: .*Did you mean 'gaussian'"):
        build(changed["posterior"], "posterior")


def test_a_dotted_key_changes_one_value_and_the_original_is_left_alone():
    changed = with_settings(TABLES, {"training.batch": 64, "likelihood.network.hidden": [4], "training.warm-up": 3})
    assert changed["training"] == {"batch": 64, "warm_up": 3}
    assert changed["likelihood"]["network"]["hidden"] == [4]
    assert TABLES["training"] == {"batch": 128}
    assert TABLES["likelihood"] == {"network": {"hidden": [8]}}


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("trainin.batch", "the recipe has no table 'trainin'. Did you mean 'training'"),
        ("seed", "name a table and a key, such as training.batch=64"),
        ("training.batch.more", "no table 'batch'"),
        ("data.split", "described by --split, --column, --ignore and --label"),
    ],
)
def test_a_key_that_names_nothing_is_refused(key, complaint):
    with pytest.raises(RecipeError, match=complaint):
        with_settings(TABLES, {key: 1})
