"""Objectives that learn themselves: a critic trained against the model by the same gradient."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import logsigmoid

from vael.errors import RecipeError
from vael.models.terms import Latent, Terms
from vael.networks.mlp import MLP
from vael.objectives.elbo import check_draws

if TYPE_CHECKING:
    from vael.models.vae import VAE


class Adversary(nn.Module, ABC):
    """An objective with a critic f, a network that tells two clouds apart while the model brings them together.

        L = E_q[log p(x|z)] − share · cost(critic held still) + lesson − [lesson],
        lesson = log σ(f(a)) + log σ(−f(b))  at points a of the one cloud and b of the other, the model held still

    [·] is a number without a gradient, so the lesson is worth nothing and one gradient moves both: the model up L, the
    critic up its lesson. At its best the critic is the log of the ratio of the two densities (Goodfellow et al. 2014).
    Both take a step at once where the papers alternate. The value is that of a game: it falls where the critic learns.

    Args:
        hidden: Widths of the critic's hidden layers.
        draws: K, at least 1.

    Raises RecipeError when called before `bind`, which training does, has made the critic.
    """

    joins_examples: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    spare = 1
    share: float | Tensor
    critic: MLP | None

    def __init__(self, hidden: Sequence[int], draws: int, **weights: float) -> None:
        super().__init__()
        name = type(self).__name__
        check_draws(name, draws)
        for word, weight in weights.items():
            if not weight >= 0:
                raise RecipeError(f"{name}: {word} must be at least 0, got {weight}.")
        if any(width < 1 for width in hidden):
            raise RecipeError(f"{name}: every hidden layer needs at least one unit, got {list(hidden)}.")
        self.hidden, self.draws, self.share, self.critic = list(hidden), draws, 1.0, None

    @abstractmethod
    def sees(self, model: "VAE") -> int:
        """How many numbers the critic looks at."""

    @abstractmethod
    def cost(self, terms: Terms) -> Tensor:
        """What is taken off for the rate, or in its place, the critic held still; nats, `(B,)`."""

    @abstractmethod
    def lesson(self, terms: Terms) -> Tensor:
        """What the critic climbs, the model held still; `(B,)`."""

    def bind(self, model: "VAE") -> None:
        """Make the critic, from torch's global state; called by training under the run's seed."""
        like = next(model.parameters())
        self.critic = MLP(self.sees(model), self.hidden, 1).to(like)

    def gain(self, terms: Terms) -> Tensor:
        """The expected log-likelihood, `(B,)`."""
        return -terms.distortion

    def forward(self, terms: Terms) -> Tensor:
        """Nats per example, `(B,)`, higher is better."""
        lesson = self.lesson(terms)
        return self.gain(terms) - self.share * self.cost(terms) + (lesson - lesson.detach())

    def warmed(self, share: float | Tensor) -> Self:
        """The same objective and the same critic, its cost times the share a warm-up has reached."""
        on_its_way = copy(self)
        on_its_way.share = share
        return on_its_way

    def judged(self, points: Tensor, *, still: bool) -> Tensor:
        """f of points `(..., D)`, `(...)`. still: With the critic's weights held still, so that points alone learn."""
        return called(self.network, points, still=still).squeeze(-1)

    @property
    def network(self) -> MLP:
        """The critic. Raises RecipeError where there is none yet."""
        if self.critic is None:
            raise RecipeError(
                f"{type(self).__name__}: has no critic yet; training makes it.\n"
                f"  Elsewhere call objective.bind(model) first."
            )
        return self.critic

    def told_apart(self, one: Tensor, other: Tensor) -> Tensor:
        """log σ(f(one)) + log σ(−f(other)) at fixed points: what the critic climbs, `(...)`."""
        high, low = (self.judged(points.detach(), still=False) for points in (one, other))
        return logsigmoid(high) + logsigmoid(-low)

    def level(self, terms: Terms) -> Latent:
        """The one level of latents. Raises RecipeError for several, without spare noise, and before `bind`."""
        name, _ = type(self).__name__, self.network
        if len(terms.latents) != 1:
            raise RecipeError(f"{name}: is for one level of latents, got {len(terms.latents)}.")
        if terms.spare is None:
            raise RecipeError(
                f"{name}: needs noise of its own, which these terms lack.\n"
                f"  Make it with model.noise(draws, batch, seed=…, spare=1)."
            )
        return terms.latents[0]

    def prior_draws(self, terms: Terms) -> Tensor:
        """As many draws of p(z) as there are examples, `(B, D)`."""
        assert terms.spare is not None
        (drawn,) = self.level(terms).p.from_noise(terms.spare[:1])
        found: Tensor = drawn
        return found


def called(network: nn.Module, points: Tensor, *, still: bool) -> Tensor:
    """network(points) in the type of the points. still: With its weights held still, so that the points alone learn."""
    fixed = {name: weight.detach() for name, weight in network.named_parameters()}
    out: Tensor = functional_call(network, fixed, (points,)) if still else network(points)
    return out.to(points.dtype)
