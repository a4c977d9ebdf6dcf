"""Models whose answers are known in closed form, built from the public classes in float64."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vael import VAE, Noise
from vael.data import Split
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.objectives import Objective
from vael.posteriors import FullGaussianPosterior, GaussianPosterior, LowRankGaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine, Training


def cubature(latent: int) -> Noise:
    """Nodes ±√q e_j in place of draws: the mean of any quadratic over them is its mean under N(0, I), exactly."""
    nodes = math.sqrt(latent) * torch.eye(latent, dtype=torch.float64)
    return Noise((torch.cat([nodes, -nodes])[:, None, :],))


def cubature_for(latent: int, batch: int) -> Noise:
    """The same nodes for each of `batch` examples."""
    return Noise((cubature(latent).latents[0].expand(-1, batch, -1),))


@dataclass
class Linear:
    """x = W z + b + ε, ε ~ N(0, variance I), with an affine encoder q(z|x) = N(A x + a, diag exp(2 log_scale))."""

    weight: Tensor
    bias: Tensor
    variance: float
    beta: float = 1.0

    @property
    def latent(self) -> int:
        return self.weight.shape[1]

    def model(self, loc: Tensor | None = None, spread: Tensor | None = None) -> VAE:
        """The world as a VAE, with the best diagonal posterior or with one given Gaussian for every x.

        The best one has loc M⁻¹Wᵀ(x − b) and variances βσ² / M_jj, M = WᵀW + βσ² I, the exact posterior's for β = 1.
        The given one has mean `loc` and variances `spread`, `(q,)` each.
        """
        observed, latent = self.weight.shape
        likelihood = Gaussian(MLP(latent, [], observed), scale=math.sqrt(self.variance))
        vae = VAE(GaussianPrior(latent), likelihood, GaussianPosterior(MLP(observed, [], 2 * latent))).double()
        noise = self.beta * self.variance
        middle = self.weight.T @ self.weight + noise * torch.eye(latent, dtype=torch.float64)
        gain = torch.linalg.solve(middle, self.weight.T)
        with torch.no_grad():
            decoder, encoder = vae.likelihood.network.head, vae.posterior.network.head
            decoder.weight.copy_(self.weight), decoder.bias.copy_(self.bias)
            if loc is None:
                encoder.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
                encoder.bias.copy_(torch.cat([-gain @ self.bias, 0.5 * torch.log(noise / middle.diagonal())]))
            else:
                encoder.weight.zero_(), encoder.bias.copy_(torch.cat([loc, 0.5 * torch.log(spread)]))
        return vae

    def model_with_full_posterior(self) -> VAE:
        """The world with its own posterior N(M⁻¹Wᵀ(x − b), σ² M⁻¹), M = WᵀW + σ² I, by its Cholesky factor."""
        root = torch.linalg.cholesky(self._covariance())
        scale = root.diagonal()
        row, column = torch.tril_indices(self.latent, self.latent, -1)
        outputs = [scale.log(), self.latent * (root / scale[:, None])[row, column]]
        return self._with(FullGaussianPosterior, outputs)

    def model_with_low_rank_posterior(self) -> VAE:
        """The same for two latents that are positively correlated, as a diagonal and one direction."""
        covariance = self._covariance()
        common = covariance[0, 1]
        scale = (covariance.diagonal() - common).sqrt()
        return self._with(LowRankGaussianPosterior, [scale.log(), common.sqrt() / scale], rank=1)

    def _covariance(self) -> Tensor:
        middle = self.weight.T @ self.weight + self.variance * torch.eye(self.latent, dtype=torch.float64)
        return self.variance * torch.linalg.inv(middle)

    def _with(self, member: type, outputs: list[Tensor], **arguments: int) -> VAE:
        gain = self._covariance() @ self.weight.T / self.variance
        spread = torch.cat(outputs)
        posterior = member(MLP(len(self.bias), [], self.latent + len(spread)), **arguments).double()
        with torch.no_grad():
            posterior.network.head.weight.copy_(torch.cat([gain, gain.new_zeros(len(spread), len(self.bias))]))
            posterior.network.head.bias.copy_(torch.cat([-gain @ self.bias, spread]))
        plain = self.model()
        return VAE(plain.prior, plain.likelihood, posterior)

    def sample(self, examples: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(examples, self.latent, dtype=torch.float64, generator=generator)
        eps = torch.randn(examples, len(self.bias), dtype=torch.float64, generator=generator)
        return z @ self.weight.T + self.bias + math.sqrt(self.variance) * eps

    def log_px(self, x: Tensor) -> Tensor:
        """log p(x) from the covariance, by numpy's own determinant and solve: independent of the library's."""
        import numpy as np

        covariance = (self.weight @ self.weight.T).numpy() + self.variance * np.eye(len(self.bias))
        centred = (x - self.bias).numpy()
        quadratic = np.einsum("bi,ij,bj->b", centred, np.linalg.inv(covariance), centred)
        _, log_det = np.linalg.slogdet(covariance)
        return torch.from_numpy(-0.5 * (len(self.bias) * math.log(2 * math.pi) + log_det + quadratic))

    @staticmethod
    def random(latent: int, observed: int, seed: int = 0, variance: float = 0.5) -> "Linear":
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(observed, latent, dtype=torch.float64, generator=generator)
        return Linear(weight, torch.randn(observed, dtype=torch.float64, generator=generator), variance)


def split_of(x: Tensor, observed: Tensor | None = None) -> Split:
    """x as a split without rescaling."""
    return Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.float64), observed=observed)


def bars(side: int, rows: int, on: float, noise: float, seed: int, *, slab: bool = False) -> tuple[Tensor, Tensor]:
    """Pictures `(rows, side²)` that are sums of bars across and down, each on with probability `on`, in normal noise.

    slab: Each bar that is on has a height from N(0, 1) instead of 1. Returns them and the bars, `(2 side, side²)`.
    """
    generator = torch.Generator().manual_seed(seed)
    fields = torch.zeros(2 * side, side, side, dtype=torch.float64)
    for place in range(side):
        fields[place, place, :], fields[side + place, :, place] = 1, 1
    fields = fields.flatten(1)
    shape = (rows, 2 * side)
    z = (torch.rand(shape, dtype=torch.float64, generator=generator) < on).double()
    if slab:
        z = z * torch.randn(shape, dtype=torch.float64, generator=generator)
    eps = torch.randn(rows, side * side, dtype=torch.float64, generator=generator)
    return z @ fields + noise * eps, fields


def matched(found: Tensor, fields: Tensor) -> Tensor:
    """For each of `fields` `(H, F)` the greatest |correlation| of one of `found` with it, none used twice, `(H,)`."""
    correlation = torch.corrcoef(torch.cat([found, fields]))[: len(found), len(found) :].abs()
    best = torch.zeros(len(fields), dtype=found.dtype)
    for _ in range(len(fields)):
        row, column = divmod(int(correlation.argmax()), len(fields))
        best[column] = correlation[row, column]
        correlation[row], correlation[:, column] = -1, -1
    return best


@dataclass
class Wave:
    """z ~ N(0, 1), x|z ~ N(sin 2z + z/2, scale²): not linear, and log p(x) known by a fine sum over z."""

    scale: float

    def model(self, loc: float = 0.0, spread: float = 1.0) -> VAE:
        """The world as a VAE, with one Gaussian as the posterior of every x."""
        posterior = GaussianPosterior(MLP(1, [], 2)).double()
        with torch.no_grad():
            posterior.network.head.weight.zero_()
            posterior.network.head.bias.copy_(torch.tensor([loc, math.log(spread)]))
        return VAE(GaussianPrior(1), Gaussian(Sine(), scale=self.scale, event_shape=1), posterior).double()

    def log_px(self, x: float, points: int = 2_000_001) -> float:
        """The trapezoid rule on [−12, 12], by numpy alone."""
        import numpy as np

        z = np.linspace(-12, 12, points)
        off = (x - np.sin(2 * z) - z / 2) / self.scale
        log_joint = -0.5 * (z**2 + off**2) - math.log(self.scale) - math.log(2 * math.pi)
        return float(np.log(np.trapezoid(np.exp(log_joint), z)))


# What a kind of objective needs beside its draws to be tried on few of them, of few examples.
TRIED = {"miwae": {"means": 1}, "piwae": {"means": 1}, "total_correlation": {"examples": 400}}


def objective_of(kind: str, draws: int) -> Objective:
    """The objective of a kind, with `draws` draws and defaults that go with them."""
    from vael.runs.recipe import members

    found: Objective = members("objective")[kind](draws=draws, **TRIED.get(kind, {}))
    return found


class Sine(torch.nn.Module):
    """z ↦ sin 2z + z/2."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.sin(2 * z) + z / 2


# ── steps recorded and replayed ──────────────────────────────────────────────────────────────────────────────


def assert_recorded(model: VAE, objective: Objective, split: Split, *, steps: int = 6, **settings: object) -> None:
    """A run whose step is recorded after the first ends with the very weights and monitors of one that never is."""
    ends = []
    for eager_steps in (1, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vael.training.engine.EAGER_STEPS", eager_steps)
            patch.setattr("vael.training.engine.PAYING_STEPS", 0)
            said: list[str] = []
            training = Training.of({"steps": 100, "batch": 5, "warm_up": 20, **settings})
            engine = Engine(copy.deepcopy(model).train(), objective, split, training, seed=0, say=said.append)
            for _ in range(steps):
                engine.advance()
            assert not said, said
            assert (engine.replay is not None) == (eager_steps == 1)
            ends.append([*engine.model.state_dict().values(), *dict(engine.critics()).values(), engine.bound.monitor])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)
