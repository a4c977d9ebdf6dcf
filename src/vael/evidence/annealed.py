"""log p(x) by annealing: chains that walk from an easy law to the posterior, or back, and weigh each step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split, positions
from vael.errors import RecipeError
from vael.evidence.estimate import LARGEST_CHUNK, Estimate, check_count, check_number, mean_weight
from vael.inference.hmc import Move, find_steps, noise_of
from vael.inference.path import Path, path_to_posterior
from vael.memory import keep_freed_memory
from vael.models.vae import VAE
from vael.noise import stream

Start = Literal["prior", "encoder"]
Spacing = Literal["sigmoid", "uniform"]

SIGMOID_REACH = 4.0  # β runs over σ(−4 … 4): short steps at both ends, where the law changes fastest
STEP_PLACES = 10  # places on the path at which a pilot finds step sizes
PILOT_MOVES = 12  # at each of them
PILOT_CHAINS = 4


def schedule(temperatures: int, spacing: Spacing) -> list[float]:
    """0 = β_0 < β_1 < … < β_T = 1.

    "uniform", or "sigmoid", β_t ∝ σ(4 (2t/T − 1)) brought to 0 … 1 (Wu et al. 2017, section 4.1).
    """
    even = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    if spacing == "uniform":
        betas: list[float] = even.tolist()
        return betas
    curve = torch.sigmoid(SIGMOID_REACH * (2 * even - 1))
    bent: list[float] = ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()
    return bent


def walk(path: Path, z: Tensor, betas: Sequence[float], move: Move, noise: Iterator[Tensor]) -> Iterator[Tensor]:
    """log f₁(z_t) − log f₀(z_t) in float64 `(C, B)` at z_0 = z, and at z_t after a move at β_t, for each of `betas`.

    betas: Of the moves, in either direction; none for where the chains begin.
    """
    place = path.at(z)
    yield place.lift.to("cpu", torch.float64)
    for beta in betas:
        place = move(place, beta, path, next(noise))
        yield place.lift.to("cpu", torch.float64)


@dataclass(frozen=True)
class Walker:
    """How chains walk from f₀ to the posterior: what annealing and thermodynamic integration share.

    Args:
        temperatures: T, steps from f₀ to the posterior.
        chains: For each example; their weights are averaged.
        leapfrog: Leapfrog steps of each move.
        start: f₀, the "prior" p(z) or the "encoder" q(z|x). From the encoder fewer temperatures do, if it is good.
        spacing: Of the temperatures, "sigmoid" or "uniform".
        acceptance: The share of moves to be accepted, by which steps are found.
        move: A `Move` to be used in place of Hamiltonian ones.

    Raises RecipeError for arguments out of range.
    """

    temperatures: int = 1000
    chains: int = 16
    leapfrog: int = 10
    start: Start = "prior"
    spacing: Spacing = "sigmoid"
    acceptance: float = 0.65
    move: Move | None = None
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_count(name, temperatures=self.temperatures, chains=self.chains, leapfrog=self.leapfrog)
        if self.start not in ("prior", "encoder"):
            raise RecipeError(f"{name}: start must be prior or encoder, got {self.start!r}.")
        if self.spacing not in ("sigmoid", "uniform"):
            raise RecipeError(f"{name}: spacing must be sigmoid or uniform, got {self.spacing!r}.")
        check_number(name, acceptance=self.acceptance)
        if not 0 < self.acceptance < 1:
            raise RecipeError(f"{name}: acceptance must be between 0 and 1, got {self.acceptance}.")

    @property
    def betas(self) -> list[float]:
        """β_0 … β_T."""
        return schedule(self.temperatures, self.spacing)

    @property
    def moves(self) -> float:
        """What it costs, in moves of all its chains: the walk and the pilot before it."""
        return self.temperatures + STEP_PLACES * PILOT_MOVES * PILOT_CHAINS / self.chains

    def shortened(self) -> tuple[Self, float]:
        """The same with a twentieth of the temperatures, to time it by, and how many times more the whole one costs."""
        short = replace(self, temperatures=max(2, self.temperatures // 20))
        return short, self.moves / short.moves

    def noise(
        self, examples: Sequence[int], like: Tensor, seed: int, purpose: str, chains: int = 0
    ) -> Iterator[Tensor]:
        """Noise for the moves, `(chains, B, D + 2)` at a time."""
        width = like.shape[-1] + 2
        return noise_of(examples, chains or self.chains, width, seed=seed, purpose=purpose, like=like)

    def found_moves(self, path: Path, examples: Sequence[int], seed: int) -> Move:
        """Hamiltonian moves whose steps a pilot walk has found, at some places along the path."""
        betas = self.betas
        last = len(betas) - 1
        places = sorted({round(n * last / (STEP_PLACES - 1)) for n in range(STEP_PLACES)})
        noise = self.noise(examples, path.goal_width, seed, "annealing pilot", PILOT_CHAINS)
        begin = path.at(path.draw(next(noise)[..., :-2]))
        return find_steps(
            path, begin, noise, [betas[n] for n in places], leapfrog=self.leapfrog,
            acceptance=self.acceptance, moves=PILOT_MOVES,
        )  # fmt: skip


@dataclass(frozen=True)
class Annealed(Walker):
    """Annealed importance sampling with Hamiltonian moves, many chains for each example at once.

        f_β = f₀^(1 − β) p(x, z)^β;    z_0 ~ f₀,  z_t from z_{t−1} by a move that leaves f_{β_t} unchanged
        log w = Σ_{t=0}^{T−1} (β_{t+1} − β_t) [log p(x, z_t) − log f₀(z_t)],    log p̂(x) = log mean over chains of w

    E[w] = p(x) for every T, so log p̂ is a lower bound in expectation. The steps of the moves are found beforehand, for
    each example, by a walk of its own, and then held still. The same seed and the same batch give the same numbers.

    Its arguments are those of `Walker`. Raises RecipeError for discrete latents.
    Source: Neal 2001, Annealed importance sampling; Wu, Burda, Salakhutdinov & Grosse 2017 (arXiv 1611.04273).
    """

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        def of_some(batch: Batch, examples: list[int]) -> Estimate:
            log_w = self.log_weights(path_to_posterior(model, batch, start=self.start), examples, seed=seed)
            return Estimate(*mean_weight(log_w), self.chains, "annealed", "lower")

        return in_pieces(model, split, self.chains, self.chunk, of_some)

    def log_weights(
        self, path: Path, examples: Sequence[int], *, seed: int = 0, back_from: Tensor | None = None
    ) -> Tensor:
        """log w of every chain, `(C, B)` float64.

        back_from: Draws `(C, B, D)` of the posterior. Then the chains walk from there to f₀, and E[1/w] = 1/p(x).
        """
        betas, like = self.betas, path.goal_width
        noise = self.noise(examples, like, seed, "annealing" if back_from is None else "annealing back")
        move = self.move or self.found_moves(path, examples, seed)
        begin = path.draw(next(noise)[..., :-2]) if back_from is None else back_from
        steps = torch.tensor(betas, dtype=torch.float64).diff()
        inner = betas[1:-1] if back_from is None else betas[-2:0:-1]
        total = torch.zeros(begin.shape[:2], dtype=torch.float64)
        for step, lift in zip(
            steps if back_from is None else steps.flip(0), walk(path, begin, inner, move, noise), strict=True
        ):
            total += step * lift
        return total


@dataclass(frozen=True)
class Thermodynamic(Walker):
    """Thermodynamic integration over the same walk.

        log p(x) = ∫₀¹ E_{f_β}[log p(x, z) − log f₀(z)] dβ,    by the trapezoid rule over the temperatures

    The sums from the left and from the right are the annealed chain's mean log-weight forwards and backwards, and
    bracket log p(x) (Masrani et al. 2019, arXiv 1907.00031); their middle has an error of order 1/T². It errs to either
    side when chains lag behind, which its Monte Carlo error does not show.

    Source: Gelman & Meng 1998; Friel & Pettitt 2008.
    """

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        def of_some(batch: Batch, examples: list[int]) -> Estimate:
            each = self.integrals(path_to_posterior(model, batch, start=self.start), examples, seed=seed)
            error = each.std(0) / self.chains**0.5 if self.chains > 1 else torch.full_like(each[0], torch.nan)
            return Estimate(each.mean(0), error, None, self.chains, "thermodynamic", "estimate")

        return in_pieces(model, split, self.chains, self.chunk, of_some)

    def integrals(self, path: Path, examples: Sequence[int], *, seed: int = 0) -> Tensor:
        """The trapezoid sum of every chain, `(C, B)` float64."""
        betas = self.betas
        noise = self.noise(examples, path.goal_width, seed, "annealing")
        move = self.move or self.found_moves(path, examples, seed)
        begin = path.draw(next(noise)[..., :-2])
        lifts = torch.stack(list(walk(path, begin, betas[1:], move, noise)))  # (T + 1, C, B)
        return torch.trapezoid(lifts, torch.tensor(betas, dtype=torch.float64), dim=0)


def in_pieces(
    model: VAE, split: Split, chains: int, chunk: int, of_some: Callable[[Batch, list[int]], Estimate]
) -> Estimate:
    """Estimates of as many examples at a time as `chunk` decoded features hold, in eval mode, weights held still."""
    split, was_training = split.settled(seed=0).to(model.device), model.training
    size = max(1, chunk // (chains * max(model.likelihood.dims, model.latent)))
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    keep_freed_memory()
    model.eval()
    try:
        for parameter in learned:  # slopes are wanted with respect to z alone: no graph through the weights
            parameter.requires_grad_(False)
        pieces: list[Estimate] = []
        for rows in positions(split, size):
            found = of_some(split.batch(rows.to(model.device)), split.index[rows].tolist())
            pieces.append(found.shifted(split.log_jacobian[rows]))
        return Estimate.join(pieces)
    finally:
        for parameter in learned:
            parameter.requires_grad_()
        model.train(was_training)


@dataclass(frozen=True)
class Sandwich:
    """log p(x) of simulated examples from below and from above.

    lower: Forward chains. upper: Backward chains from the z that each x was made of.
    """

    lower: Estimate
    upper: Estimate

    @property
    def gap(self) -> Tensor:
        """upper − lower of each example, `(N,)`: at least the error of either, in expectation."""
        return self.upper.value - self.lower.value

    def to_json(self) -> dict[str, Any]:
        """Mean gap with its standard error over the examples, in nats."""
        gap = self.gap
        error = float(gap.std() / len(gap) ** 0.5) if len(gap) > 1 else None
        return {"gap": {"value": float(gap.mean()), "standard_error": error}, "examples": len(gap)}


def sandwich(model: VAE, annealed: Annealed, examples: int, *, seed: int = 0) -> Sandwich:
    """Bidirectional Monte Carlo: `annealed` forwards and backwards on `examples` draws (z, x) of the model itself.

        E[log p̂_forward(x)] ≤ log p(x) ≤ E[log p̂_backward(x)],    p̂_backward = 1 / mean over chains of 1/w

    z is an exact draw of p(z|x), which is what a backward chain must begin with; one draw begins all chains. With
    perfect moves and even spacing the gap of single chains is [KL(f₀‖f₁) + KL(f₁‖f₀)] / T.

    Source: Grosse, Ghahramani & Adams 2015 (arXiv 1511.02543); Wu et al. 2017, section 4.2.
    """
    check_count("sandwich", examples=examples)
    z, x = simulated(model, examples, seed)
    split = Split(x, torch.arange(examples), torch.zeros(examples, dtype=torch.float64))

    def of_some(batch: Batch, numbers: list[int]) -> Estimate:
        path = path_to_posterior(model, batch, start=annealed.start)
        begin = z[numbers].to(model.device).expand(annealed.chains, -1, -1)
        value, error, size = mean_weight(-annealed.log_weights(path, numbers, seed=seed, back_from=begin))
        return Estimate(-value, error, size, annealed.chains, "annealed back", "upper")

    lower = annealed(model, split, seed=seed)
    return Sandwich(lower, in_pieces(model, split, annealed.chains, annealed.chunk, of_some))


def simulated(model: VAE, examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """`examples` draws of (z, x) from the model: z `(N, D)`, x `(N, *event)`."""
    if model.given:
        raise RecipeError("sandwich: simulates examples, and this model is p(x|given): there is nothing to give it.")
    like = model.noise(1, 1, seed=0).latents[0]
    eps = torch.randn((examples, model.latent), generator=stream(seed, purpose="simulated z"), dtype=like.dtype)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        z = model.prior().from_noise(eps.to(model.device))
        x = model.likelihood.draw(model.likelihood(z), stream(seed, purpose="simulated x", device=model.device))
    model.train(was_training)
    return z, x
