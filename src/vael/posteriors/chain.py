"""Several posteriors, each told the latents above it: hierarchies, and a class that may be known."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vael.distributions.bits import OneHot
from vael.distributions.chained import Chained, Level, above_and_given, known
from vael.errors import RecipeError
from vael.posteriors.base import Posterior
from vael.posteriors.discrete import CategoricalPosterior


class ChainPosterior(Posterior):
    """q(z|x) = Π_l q_l(z_l | x, z_1 … z_{l−1}, given), levels of any kind of this room side by side in z.

    A level's encoder network is told the levels above as `given`, first to last and then what the model itself is
    given: build it with as many.

    Where the first level is a choice of classes that enumerates, it is summed over: every class has draws of the
    levels below, weighed by q(y|x), so nothing of y is noise. An example whose label is known has all weight there,

        L(x, y) = E_q(z|x,y)[ log p(x|y, z) + log p(z|y) − log q(z|x, y) ] + log p(y)
        U(x)    = Σ_y q(y|x) L(x, y) + H(q(y|x))                        ≤ log p(x)

    and its bound is one of log p(x, y).

    Args:
        levels: Top-down, at least one.
        classifier: α, the weight of −log q(y|x) for known labels, a penalty beside the bound: without it nothing
            known teaches q(y|x).

    Source: Kingma et al. 2014, Semi-supervised learning with deep generative models, eqs. 6–9 (arXiv 1406.5298).
    """

    family = Chained

    def __init__(self, levels: Sequence[Posterior], *, classifier: float = 0.0) -> None:
        super().__init__()
        if not levels:
            raise RecipeError("ChainPosterior: levels must be at least one posterior, got none.")
        if any(level.enumerates for level in levels[1:]):
            raise RecipeError("ChainPosterior: only the first level can enumerate its states.")
        if not classifier >= 0:
            raise RecipeError(f"ChainPosterior: classifier must be at least 0, got {classifier}.")
        if classifier and not isinstance(levels[0], CategoricalPosterior):
            raise RecipeError("ChainPosterior: classifier weighs q(y|x), and the first level is no choice of classes.")
        self.levels, self.classifier = nn.ModuleList(levels), classifier
        self.sizes = [level.latent for level in levels]
        self.latent, self.summed = sum(self.sizes), levels[0].enumerates

    @property
    def path(self) -> str:
        """That of the level whose draws carry the least."""
        paths = [str(level.path) for level in self.levels]
        return next((path for path in ("none", "all", "straight", "relaxed") if path in paths), "smooth")

    def bind(self, prior: nn.Module, likelihood: nn.Module) -> None:
        """Raises RecipeError for a chain of priors whose levels have other sizes."""
        sizes = getattr(prior, "sizes", self.sizes)
        if sizes != self.sizes:
            raise RecipeError(f"ChainPosterior: its levels have {self.sizes} numbers, the prior's {sizes}.")
        theirs = getattr(prior, "levels", [prior] * len(self.levels))
        for level, one in zip(self.levels, theirs, strict=True):
            level.bind(one, likelihood)  # type: ignore[operator]

    def check_label(self, name: str, count: int) -> bool:
        """Whether the first level is the class that a label of `count` classes tells.

        Raises RecipeError where it is a choice of others.
        """
        first = self.levels[0]
        if not isinstance(first, CategoricalPosterior) or (first.classes, first.groups) == (count, 1):
            return isinstance(first, CategoricalPosterior)
        choices = f"{first.groups} choices" if first.groups > 1 else "a choice"
        raise RecipeError(
            f"ChainPosterior: its first level is {choices} of {first.classes} classes, and examples tell it the label "
            f"{name!r} of {count}.\n  Give it one choice of {count} classes, or leave the label out: --ignore {name}."
        )

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Chained:
        return self.law(x, given, observed, None)

    def labelled(self, x: Tensor, given: Tensor | None, observed: Tensor | None, label: Tensor) -> Chained:
        """q(z|x) with the first level known where `label` `(B,)` is not −1, and the classifier's penalty."""
        return self.law(x, given, observed, label)

    def law(self, x: Tensor, given: Tensor | None, observed: Tensor | None, label: Tensor | None) -> Chained:
        """The chain, whose first level may be known."""

        def moving(level: nn.Module) -> Level:
            return lambda parents: level(x, above_and_given(parents, given), observed)

        def held(level: nn.Module) -> Level:
            def law(parents: Tensor | None) -> Any:
                still = {name: parameter.detach() for name, parameter in level.named_parameters()}
                return functional_call(level, still, (x, above_and_given(parents, given), observed))

            return law

        penalties: dict[str, Tensor] = {}
        levels, frozen = [moving(level) for level in self.levels], [held(level) for level in self.levels]
        if label is not None and isinstance(self.levels[0], CategoricalPosterior):
            guess = self.levels[0](x, given, observed)
            penalties, top = self.penalties(guess, label), known(guess, label)
            top_held = OneHot(top.logits.detach(), temperature=top.temperature, straight_through=top.straight_through)
            levels[0], frozen[0] = (lambda parents: top), (lambda parents: top_held)
        return Chained(
            levels, self.sizes, still=lambda: Chained(frozen, self.sizes), summed=self.summed, penalties=penalties
        )

    def penalties(self, law: OneHot, label: Tensor) -> dict[str, Tensor]:
        """α · −log q(label|x) where the label is known, 0 where not."""
        if not self.classifier:
            return {}
        chosen = law.logits.log_softmax(-1)[..., 0, :].gather(-1, label.clamp(min=0)[:, None])[:, 0]
        return {"classifier": -self.classifier * torch.where(label >= 0, chosen, torch.zeros_like(chosen))}
