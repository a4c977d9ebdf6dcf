"""A hierarchy's posterior that says how far each level is from the prior there."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from vael.distributions.chained import Chained, Level, above_and_given
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.errors import RecipeError
from vael.networks.inputs import given_of
from vael.posteriors.base import Posterior
from vael.posteriors.gaussian import GaussianPosterior
from vael.priors.base import Prior


class LadderPosterior(Posterior):
    """q(z|x) = Π_l N(z_l; loc_l + Δloc_l, (scale_l · Δscale_l)²), (loc_l, scale_l) the prior's at the levels above.

        h = network(x)                                              bottom up, once, shared by all levels
        (Δloc_l, log Δscale_l) = level_l(h, given = z_1 … z_{l−1})    top down

    KL_l = ½ Σ [ Δloc² / scale² + Δscale² − 1 − 2 log Δscale ]: a level with nothing to say has Δloc = 0, Δscale = 1
    and costs nothing, wherever the levels above moved its prior. The prior is a `ChainPrior` of Gaussian levels with as
    many numbers, whose parameters stay its own.

    Args:
        network: x `(B, *event)` → h `(B, H)`.
        levels: Top-down, at least one: Gaussian posteriors whose networks see h and are told the levels above, first
            to last, and then what the model itself is given.

    Raises RecipeError for levels of another kind, or a prior without such levels.
    Source: Sønderby et al. 2016, Ladder variational autoencoders (arXiv 1602.02282); Vahdat & Kautz 2020, NVAE,
        section 3.2, for residual normals (arXiv 2007.03898).
    """

    family = Chained

    def __init__(self, network: nn.Module, levels: Sequence[GaussianPosterior]) -> None:
        super().__init__()
        if not levels or not all(isinstance(level, GaussianPosterior) for level in levels):
            kinds = ", ".join(type(level).__name__ for level in levels) or "none"
            raise RecipeError(f"LadderPosterior: levels must be Gaussian posteriors, at least one, got {kinds}.")
        self.network, self.levels = network, nn.ModuleList(levels)
        self.sizes = [level.latent for level in levels]
        self.latent = sum(self.sizes)
        self.above: tuple[Prior, ...] = ()

    def bind(self, prior: nn.Module, likelihood: nn.Module) -> None:
        theirs, sizes = getattr(prior, "levels", None), getattr(prior, "sizes", None)
        if theirs is None or sizes != self.sizes:
            got = type(prior).__name__ if theirs is None else f"levels of {sizes} numbers"
            raise RecipeError(
                f"LadderPosterior: starts from the levels of a ChainPrior, of {self.sizes} numbers; got {got}."
            )
        for level in theirs:
            if level.family not in (DiagonalGaussian, StandardGaussian):
                raise RecipeError(
                    f"LadderPosterior: moves Gaussian levels of a prior, got {type(level).__name__}.\n"
                    f"  Use gaussian and conditional levels, or a chain posterior."
                )
        # A tuple: modules set as an attribute would become this posterior's own.
        self.above = tuple(theirs)

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Chained:
        """Raises RecipeError where it has joined no model yet."""
        if not self.above:
            raise RecipeError(
                "LadderPosterior: starts from a model's prior, and belongs to none yet.\n"
                "  Give it to a VAE: VAE(ChainPrior(…), likelihood, posterior)."
            )
        seen = self.features(x, given, observed)

        def moving(level: nn.Module, prior: Prior) -> Level:
            def law(parents: Tensor | None) -> DiagonalGaussian:
                beside = above_and_given(parents, given)
                return moved(prior(beside), level(seen, beside))

            return law

        def held(level: nn.Module, prior: Prior) -> Level:
            def law(parents: Tensor | None) -> DiagonalGaussian:
                beside = above_and_given(parents, given)
                return moved(still(prior, beside), still(level, seen.detach(), beside))

            return law

        pairs = list(zip(self.levels, self.above, strict=True))
        frozen = [held(*pair) for pair in pairs]
        return Chained([moving(*pair) for pair in pairs], self.sizes, still=lambda: Chained(frozen, self.sizes))

    def features(self, x: Tensor, given: Tensor | None, observed: Tensor | None) -> Tensor:
        """h, what the trunk makes of x, `(B, H)`."""
        more: dict[str, Tensor | None] = {"given": given} if given_of(self.network) else {}
        if observed is not None and getattr(self.network, "takes_mask", False):
            more["observed"] = observed
        found: Tensor = self.network(x, **more)
        return found


def moved(p: Any, change: DiagonalGaussian) -> DiagonalGaussian:
    """N(loc + Δloc, (scale · Δscale)²) for p = N(loc, scale²), where Δloc and Δscale are those of `change`."""
    if isinstance(p, StandardGaussian):
        return change
    return DiagonalGaussian(p.loc + change.loc, p.log_scale + change.log_scale)


def still(module: nn.Module, *arguments: Tensor | None) -> Any:
    """What a module returns with parameters that carry no gradient."""
    return functional_call(module, {name: one.detach() for name, one in module.named_parameters()}, arguments)
