"""Each model of Pythae beside the parts of vael that make it, with the same networks and weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pythae.models as zoo
import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn
from torch.nn.functional import softplus

from vael import VAE
from vael import objectives as aims
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.posteriors import (
    DeterministicPosterior,
    FlowPosterior,
    GaussianPosterior,
    QuantizedPosterior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
)
from vael.priors import CodesPrior, GaussianPrior, HyperbolicPrior, HypersphericalPrior, VampPrior

PIXELS, LATENT, COMPONENTS = 784, 16, 50
POSITIONS, SIZE, CODES = 8, 2, 64  # of a code


class Encoder(BaseEncoder):
    """A network of vael read the way a model of Pythae wants it."""

    def __init__(self, network: MLP, form: str) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, x: Tensor) -> ModelOutput:
        out = self.network(x)
        if self.form == "point":
            return ModelOutput(embedding=out)
        if self.form == "codes":  # Pythae's axes: numbers of a code, height, width
            return ModelOutput(embedding=out.unflatten(-1, (POSITIONS, SIZE)).transpose(1, 2).unsqueeze(-1))
        if self.form == "sphere":
            loc, concentration = out.split([LATENT, 1], -1)
            return ModelOutput(embedding=loc, log_concentration=concentration)
        loc, log_scale = out[..., : 2 * LATENT].chunk(2, -1)
        if self.form == "ball":
            length = loc.norm(dim=-1, keepdim=True).clamp_min(1e-15)
            loc = torch.tanh(length) * loc / length
        return ModelOutput(embedding=loc, log_covariance=2 * log_scale)


class Decoder(BaseDecoder):
    """Probabilities, as Pythae's losses take them."""

    def __init__(self, network: MLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        flat = z.squeeze(-1).transpose(1, 2).flatten(1) if z.dim() == 4 else z
        return ModelOutput(reconstruction=torch.sigmoid(self.network(flat)))


class Sharpened(nn.Module):
    """Pythae's concentration, softplus(c) + 1, as the number that `VonMisesFisherPosterior` makes the same of."""

    def __init__(self, network: MLP) -> None:
        super().__init__()
        self.network, self.outputs = network, LATENT + 1

    def forward(self, x: Tensor) -> Tensor:
        loc, concentration = self.network(x).split([LATENT, 1], -1)
        wanted = (softplus(concentration) + 1 - 1e-2) / LATENT
        return torch.cat([loc, torch.log(torch.expm1(wanted))], -1)


Make = Callable[[MLP, MLP], VAE]


def gaussian(encoder: MLP, decoder: MLP) -> VAE:
    return VAE(GaussianPrior(LATENT), Bernoulli(decoder), GaussianPosterior(encoder))


def squared(decoder: MLP) -> Gaussian:
    """−log p(x|z) is the squared error of probabilities, and a constant."""
    return Gaussian(nn.Sequential(decoder, nn.Sigmoid()), scale=math.sqrt(0.5), event_shape=PIXELS)


def point(encoder: MLP, decoder: MLP) -> VAE:
    return VAE(GaussianPrior(LATENT), squared(decoder), DeterministicPosterior(encoder))


def vamp(encoder: MLP, decoder: MLP) -> VAE:
    return VAE(VampPrior(LATENT, COMPONENTS), Bernoulli(decoder), GaussianPosterior(encoder))


def sphere(encoder: nn.Module, decoder: MLP) -> VAE:
    return VAE(HypersphericalPrior(LATENT), Bernoulli(decoder), VonMisesFisherPosterior(encoder))


def ball(encoder: MLP, decoder: MLP) -> VAE:
    """Pythae's way from the middle is counted in coordinates there, half a hyperbolic length."""
    with torch.no_grad():
        for part in (encoder.head.weight, encoder.head.bias):
            part[:LATENT] *= 2
    return VAE(HyperbolicPrior(LATENT), Bernoulli(decoder), WrappedNormalPosterior(encoder))


def codes(encoder: MLP, decoder: MLP) -> VAE:
    # Pythae's commitment is a mean over the numbers of a code and its positions, vael's a sum.
    posterior = QuantizedPosterior(encoder, positions=POSITIONS, codes=CODES, size=SIZE, commitment=0.25 / LATENT)
    return VAE(CodesPrior(POSITIONS, CODES, SIZE), squared(decoder), posterior)


def flow(kind: str) -> Make:
    def made(encoder: MLP, decoder: MLP) -> VAE:
        posterior = FlowPosterior(encoder, LATENT, flow=kind, transforms=2, context=CONTEXT, hidden=[128, 128])
        return VAE(GaussianPrior(LATENT), Bernoulli(decoder), posterior)

    return made


CONTEXT = 16


@dataclass(frozen=True)
class Pair:
    """A model of Pythae, `theirs` with its `settings`, and the vael model and objective that stand for it.

    form: What the encoder says: gaussian, point, sphere, ball or codes. outputs: How many numbers.
    trainer: Of Pythae: "", "CoupledOptimizer" or "Adversarial". warms: Whether the rate's target rises over the run.
    load: Pythae's trained model as one of vael; None where there is no such model.
    """

    name: str
    theirs: str
    objective: Callable[[], Any]
    model: Make = gaussian
    form: str = "gaussian"
    outputs: int = 2 * LATENT
    settings: dict[str, Any] = field(default_factory=dict)
    trainer: str = ""
    trainer_settings: dict[str, Any] = field(default_factory=dict)
    warms: bool = False
    load: Any = lambda pair, peer: pair.model(peer.encoder.network, peer.decoder.network)

    @property
    def squared(self) -> bool:
        """Whether the squared error is what both make small."""
        return self.form in ("point", "codes")

    def peer(self, encoder: MLP, decoder: MLP, x: Tensor) -> nn.Module:
        """Pythae's model of these networks."""
        config = getattr(zoo, self.theirs + ("_Config" if "_" in self.theirs else "Config"))
        scored = {} if self.squared else {"reconstruction_loss": "bce"}
        asked = config(input_dim=(PIXELS,), latent_dim=LATENT, **scored, **self.settings)
        made: nn.Module = getattr(zoo, self.theirs)(
            asked, encoder=Encoder(encoder, self.form), decoder=Decoder(decoder)
        )
        if self.theirs == "VAMP":  # begin at the examples that vael begins at
            with torch.no_grad():
                made.pseudo_inputs[0].weight.copy_(x[:COMPONENTS].T)
                made.pseudo_inputs[0].bias.zero_()
        return made


def load_vamp(pair: Pair, peer: Any) -> VAE:
    model = pair.model(peer.encoder.network, peer.decoder.network)
    with torch.no_grad():
        model.prior.pseudo.copy_(peer.pseudo_inputs(peer.idle_input))
    return model


def load_sphere(pair: Pair, peer: Any) -> VAE:
    return sphere(Sharpened(peer.encoder.network), peer.decoder.network)


def load_codes(pair: Pair, peer: Any) -> VAE:
    model = pair.model(peer.encoder.network, peer.decoder.network)
    model.posterior.codebook.copy_(peer.quantizer.embeddings)
    return model


def flow_log_w(peer: Any, x: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """log w and log p(x|z) `(K, B)` of a Pythae model whose posterior is a flow of parameters that x does not move."""
    said = peer.encoder(x)
    loc, log_scale = said.embedding, said.log_covariance / 2
    found = []
    for _ in range(draws):
        eps = torch.randn_like(loc)
        z, jacobian = pushed(peer, loc + log_scale.exp() * eps)
        log_likelihood = Bernoulli(peer.decoder.network).log_prob(x, z.unsqueeze(0))[0]
        ratio = (log_scale + 0.5 * eps.square() - 0.5 * z.square()).sum(-1) + jacobian
        found.append(torch.stack([log_likelihood + ratio, log_likelihood]))
    log_w, log_likelihoods = torch.stack(found, 1)
    return log_w, log_likelihoods


def pushed(peer: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """z after the flow, and log |det| of the way there."""
    if hasattr(peer, "iaf_flow"):
        out = peer.iaf_flow.inverse(z)
        return out.out, out.log_abs_det_jac
    total = torch.zeros_like(z[..., 0])
    for layer in peer.net:
        out = layer(z)
        z, total = out.out, total + out.log_abs_det_jac
    return z, total


def folds(peer: Any) -> int:
    """How many planar maps are not invertible: those with wᵀu ≤ −1, of whose draws log q(z|x) is not known."""
    return sum(float((layer.w * layer.u).sum()) <= -1 for layer in getattr(peer, "net", ()))


POINT = {"form": "point", "outputs": LATENT, "model": point}
GROUPS, SWAPPED = ({"number_gradient_estimates": m, "number_samples": k} for m, k in ((2, 5), (5, 2)))
KERNEL = {"kernel_choice": "rbf", "kernel_bandwidth": 1.0}
PAIRS = (
    Pair("VAE", "VAE", aims.ELBO),
    Pair("BetaVAE", "BetaVAE", lambda: aims.Beta(2.0), settings={"beta": 2.0}),
    Pair(
        "DisentangledBetaVAE", "DisentangledBetaVAE", lambda: aims.Capacity(capacity=15.0, weight=10.0),
        settings={"C": 15.0, "beta": 10.0, "warmup_epoch": 4}, warms=True,
    ),
    Pair("IWAE", "IWAE", lambda: aims.IWAE(5), settings={"number_samples": 5}),
    Pair("CIWAE", "CIWAE", lambda: aims.CIWAE(0.5, 5), settings={"number_samples": 5, "beta": 0.5}),
    Pair("MIWAE", "MIWAE", lambda: aims.MIWAE(10, 2), settings=GROUPS),
    Pair("MIWAE, M and K exchanged", "MIWAE", lambda: aims.MIWAE(10, 2), settings=SWAPPED),
    Pair("PIWAE", "PIWAE", lambda: aims.PIWAE(10, 2), settings=GROUPS, trainer="CoupledOptimizer"),
    Pair("PIWAE, M and K exchanged", "PIWAE", lambda: aims.PIWAE(10, 2), settings=SWAPPED, trainer="CoupledOptimizer"),
    Pair("BetaTCVAE", "BetaTCVAE", lambda: aims.TotalCorrelation(2.0), settings={"beta": 2.0}),
    Pair(
        "FactorVAE", "FactorVAE", lambda: aims.Factor(2.0, [1000] * 5), settings={"gamma": 2.0}, trainer="Adversarial"
    ),
    Pair("InfoVAE", "INFOVAE_MMD", lambda: aims.InfoVAE(0.5, 10.0), settings={"alpha": 0.5, "lbd": 10.0, **KERNEL}),
    Pair(
        "Adversarial_AE", "Adversarial_AE", lambda: aims.AdversarialMatching(10.0, [256]), trainer="Adversarial",
        settings={"adversarial_loss_scale": 1.0, "reconstruction_loss_scale": 0.1, "deterministic_posterior": False},
    ),
    Pair("VAMP", "VAMP", aims.ELBO, vamp, settings={"number_components": COMPONENTS}, load=load_vamp),
    Pair("SVAE", "SVAE", aims.ELBO, sphere, "sphere", LATENT + 1, load=load_sphere),
    Pair("PoincareVAE", "PoincareVAE", aims.ELBO, ball, "ball"),
    Pair(
        "VAE_LinNF", "VAE_LinNF", aims.ELBO, flow("planar"), outputs=2 * LATENT + 2 * (2 * LATENT + 1),
        settings={"flows": ["Planar", "Planar"]}, load=None,
    ),
    Pair(
        "VAE_IAF", "VAE_IAF", aims.ELBO, flow("iaf"), outputs=2 * LATENT + CONTEXT,
        settings={"n_made_blocks": 2, "n_hidden_in_made": 2, "hidden_size": 128}, load=None,
    ),
    Pair("AE", "AE", aims.Reconstruction, **POINT),
    Pair("WAE", "WAE_MMD", lambda: aims.Matching(weight=10.0), settings={"reg_weight": 10.0, **KERNEL}, **POINT),
    Pair(
        "RAE_L2", "RAE_L2", lambda: aims.RAE(1e-2, 1e-4), settings={"embedding_weight": 1e-2, "reg_weight": 1e-4},
        trainer="CoupledOptimizer", trainer_settings={"decoder_optimizer_params": {"weight_decay": 1e-4}}, **POINT,
    ),
    Pair(
        "RAE_GP", "RAE_GP", lambda: aims.RAE(1e-2, 1e-4, "slope"),
        settings={"embedding_weight": 1e-2, "reg_weight": 1e-4}, **POINT,
    ),
    Pair(
        "VQVAE", "VQVAE", aims.ELBO, codes, "codes", LATENT, load=load_codes,
        settings={"num_embeddings": CODES, "use_ema": True, "decay": 0.99, "commitment_loss_factor": 0.25},
    ),
)  # fmt: skip
