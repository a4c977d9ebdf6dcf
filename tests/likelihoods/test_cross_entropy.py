"""The score of zeros, ones and grey values without gradients is its formula, in memory that draws do not fill."""

import numpy as np
import pytest
import torch
from scipy.special import log_expit
from torch import Tensor, nn
from torch.testing import assert_close

from vael.likelihoods import Bernoulli, Gaussian, GreyBernoulli, base
from vael.likelihoods.base import Likelihood
from vael.networks import MLP, ConvDecoder

LATENT, FEATURES = 3, 7


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def formula(logits: Tensor, x: Tensor, observed: Tensor | None = None) -> Tensor:
    """Σ_f x_f log σ(l_f) + (1 − x_f) log σ(−l_f) with scipy's log σ."""
    l, x_ = logits.detach().double().numpy(), x.double().numpy()  # noqa: E741 — the page's letter
    parts = x_ * log_expit(l) + (1 - x_) * log_expit(-l)
    return torch.from_numpy((parts if observed is None else np.where(observed.numpy(), parts, 0.0)).sum(-1))


class Constant(nn.Module):
    """A decoder that hands out the same tensor at every call."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.held, self.outputs = logits, logits.shape[-1]

    def forward(self, z: Tensor) -> Tensor:
        return self.held.expand(*z.shape[:-1], -1)


def decoders() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    steep, affine = MLP(LATENT, [9], FEATURES), MLP(LATENT, [], FEATURES)
    with torch.no_grad():
        steep.head.weight.mul_(20)
    return {
        "mlp": steep,
        "affine": affine,
        "constant": Constant(4 * normal(FEATURES)),
        "linear": MLP(LATENT, [5, 4], 7),
        "skip": MLP(LATENT, [9], FEATURES, skip=True),
    }


def kinds(seed: int = 0) -> dict[str, Tensor]:
    uniform = torch.rand(5, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return {"binary": (uniform > 0.5).double(), "grey": uniform}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("kind", ["binary", "grey"])
@pytest.mark.parametrize("name", ["mlp", "affine", "constant", "linear", "skip"])
@pytest.mark.parametrize("wide", [1, 5])
def test_without_gradients_the_score_is_the_formula(name, kind, hidden, wide):
    network, x, z = decoders()[name].double(), kinds()[kind], normal(4, wide, LATENT)
    observed = torch.rand(5, FEATURES, generator=torch.Generator().manual_seed(1)) > 0.3 if hidden else None
    seen = x if observed is None else torch.where(observed, x, torch.full_like(x, torch.nan))  # a hole holds anything
    member = (Bernoulli if kind == "binary" else GreyBernoulli)(network).eval()
    expected = formula(network(z), x, observed)
    with torch.no_grad():
        assert_close(member.log_prob(seen, z, None, observed), expected, atol=1e-12, rtol=0)
        assert_close(member.log_prob(seen, z, None, observed), expected, atol=1e-12, rtol=0)  # nothing was written over
    assert_close(member.log_prob(seen, z, None, observed).detach(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [60.0, 95.0, 1000.0])
def test_a_logit_of_any_size_keeps_its_digits(size):
    """σ(−95) is no normal number of float32 and σ(−1000) is none of float64 either; log σ of both is."""
    logits = size * torch.tensor([1.0, -1.0, 1.0, -1.0])
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    member = Bernoulli(Constant(logits)).eval()
    with torch.no_grad():
        found = member.log_prob(x, torch.zeros(2, 2, LATENT))
    assert_close(found.double(), formula(logits, x).expand(2, 2), atol=1e-9, rtol=1e-7)


def test_in_float32_a_picture_keeps_four_decimals():
    """Sharp logits, of 6000 nats together, as a trained decoder of digits has them, and a score of some 70 nats.

    A sum of 784 terms of at most 70 nats in float32 is good to 784^½ · 70 · 2⁻²⁴ = 10⁻⁴; splitting Σ x l off is not.
    """
    torch.manual_seed(0)
    network = MLP(20, [400], 784)
    with torch.no_grad():
        network.head.weight.mul_(50)
        z = torch.randn(20, 40, 20)
        x = torch.bernoulli(torch.sigmoid(network(z[:1]))[0])
        z = z[:1] + 0.01 * z
        member = Bernoulli(network).eval()
        found = member.log_prob(x, z)
        logits = network.double()(z.double())
    assert float(logits.abs().sum(-1).mean()) > 4000
    assert_close(found.double(), formula(logits, x), atol=1e-4, rtol=0)


def test_pictures_of_a_convolutional_decoder_are_scored_pixel_by_pixel():
    torch.manual_seed(0)
    network = ConvDecoder(LATENT, [4, 3], (1, 8, 8)).double()
    x, z = (normal(5, 1, 8, 8) > 0).double(), normal(2, 5, LATENT)
    with torch.no_grad():
        found = Bernoulli(network).eval().log_prob(x, z)
        assert_close(found, formula(network(z).flatten(2), x.flatten(1)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("member", [Bernoulli(MLP(LATENT, [9], 6)), Gaussian(MLP(LATENT, [9], 6), scale="optimal")])
def test_any_number_of_draws_is_decoded_a_few_at_a_time(member: Likelihood, monkeypatch):
    member, x, z = member.double().eval(), (normal(4, 6) > 0).double(), normal(50, 4, LATENT)
    with torch.no_grad():
        whole = member.log_prob(x, z)
        sizes: list[int] = []
        member.network.head.register_forward_hook(lambda _, inputs, out: sizes.append(out.numel()))
        member.network.layers[0].register_forward_hook(lambda _, inputs, out: sizes.append(out.numel() * 6 // 9))
        monkeypatch.setattr(base, "PIECE", 100)
        pieces = member.log_prob(x, z)
    assert_close(pieces, whole, atol=1e-12, rtol=0)
    assert max(sizes) <= 100
    assert sizes.count(max(sizes)) >= 50 * 4 * 6 // 100


class Doubled(MLP):
    """An MLP that is more than its parts."""

    def forward(self, z: Tensor) -> Tensor:
        return 2 * super().forward(z)


class Tempered(Bernoulli):
    """Another law of the same logits."""

    def distribution(self, parameters: Tensor):
        return super().distribution(parameters / 2)


def hooked(part: str) -> MLP:
    network = MLP(LATENT, [5], FEATURES)
    network.get_submodule(part).register_forward_hook(lambda module, given, found: 3 * found)
    return network


OTHERS = {
    "a subclass of MLP": lambda: Bernoulli(Doubled(LATENT, [5], FEATURES)),
    "a subclass of Bernoulli": lambda: Tempered(MLP(LATENT, [5], FEATURES)),
    "a hook": lambda: Bernoulli(hooked("")),
    "a hook to the head": lambda: Bernoulli(hooked("head")),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("case", OTHERS)
def test_what_changes_the_law_changes_its_sum(case, gradients):
    """To rounding of float64, a sum of seven terms of a few nats."""
    torch.manual_seed(0)
    likelihood = OTHERS[case]().double().eval()
    x, z = normal(4, FEATURES).sign().clamp(min=0), normal(6, 4, LATENT)
    with torch.set_grad_enabled(gradients):
        assert_close(likelihood.log_prob(x, z), likelihood.log_prob_parts(x, z).sum(-1), atol=1e-12, rtol=1e-12)


def test_under_autocast_it_is_scored_too():
    likelihood = Bernoulli(MLP(LATENT, [5], FEATURES)).eval()
    x, z = normal(4, FEATURES).sign().clamp(min=0).float(), normal(6, 4, LATENT).float()
    with torch.no_grad():
        exact = likelihood.log_prob(x, z)
        with torch.autocast("cpu", torch.bfloat16):
            found = likelihood.log_prob(x, z)
    assert_close(found, exact, atol=0.05, rtol=0)  # products of 8 bits


def test_no_examples_have_no_scores():
    with torch.no_grad():
        assert Bernoulli(MLP(2, [5], 3)).eval().log_prob(torch.ones(0, 3), torch.ones(6, 0, 2)).shape == (6, 0)
