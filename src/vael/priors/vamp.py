"""A prior made of the posterior itself."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vael.distributions.mixture import Mixture
from vael.errors import RecipeError, ShapeError
from vael.likelihoods.base import Likelihood
from vael.posteriors.base import EncodedPosterior
from vael.priors.base import Prior


class VampPrior(Prior):
    """p(z) = 1/C Σ_c q(z|u_c), with C learned pseudo-inputs u_c in the place of examples.

    The prior that maximises the mean ELBO for a given posterior is the aggregated one, 1/N Σ_n q(z|x_n); this is of its
    form, with fewer terms. Pseudo-inputs are numbers as the encoder sees x, in x's own view and without bounds, and
    begin at training examples. Where the encoder looks at a code, as of a category, no gradient comes to it and it
    stays an example's.

    Args:
        latent: D.
        components: C.
        event_shape: Of x; the likelihood's when left out. The pseudo-inputs are made when the prior joins a model.

    Raises RecipeError for a posterior that is not read off an encoder's outputs with smooth draws, or whose encoder is
    told what is given; ShapeError for an event_shape that is not the likelihood's.
    Source: Tomczak & Welling 2018, VAE with a VampPrior, eq. 10 (arXiv 1705.07120), there with bounds on u.
    """

    family = Mixture
    pseudo: nn.Parameter | None

    def __init__(self, latent: int, components: int = 500, event_shape: Sequence[int] | int | None = None) -> None:
        super().__init__()
        if latent < 1 or components < 1:
            raise RecipeError(
                f"VampPrior: latent and components must be at least 1, got {latent} latents and {components} "
                f"components."
            )
        self.latent, self.components, self.event_shape = latent, components, event_shape
        self.neighbours: tuple[EncodedPosterior, ...] = ()
        self.register_parameter("pseudo", None)
        if event_shape is not None:
            self._allocate(torch.empty(event_shape).shape)

    def _allocate(self, shape: torch.Size) -> None:
        self.pseudo = nn.Parameter(torch.randn(self.components, *shape))

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        if not isinstance(posterior, EncodedPosterior) or posterior.path != "smooth":
            raise RecipeError(
                f"VampPrior: is a mixture of an encoder's q(z|x) with smooth draws, got {type(posterior).__name__}.\n"
                f"  Use a posterior such as gaussian, full_gaussian or flow."
            )
        if getattr(posterior.network, "given", 0):
            raise RecipeError(
                "VampPrior: its pseudo-inputs are examples without what is given, and this encoder is told of it.\n"
                "  Use prior gaussian or conditional."
            )
        shape = torch.Size(cast(Likelihood, likelihood).event_shape)
        if self.pseudo is None:
            self._allocate(shape)
        elif self.pseudo.shape[1:] != shape:
            raise ShapeError(
                f"VampPrior: event_shape is {tuple(self.pseudo.shape[1:])}, the likelihood's is {tuple(shape)}.\n"
                f"  Leave event_shape out: the prior then takes the likelihood's."
            )
        # A tuple: a module set as an attribute would become one of this prior's own, its weights kept twice.
        self.neighbours = (posterior,)

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Start at the first C examples of x, over again where there are fewer; what is missing counts as zero."""
        assert self.pseudo is not None
        rows = torch.arange(self.components, device=x.device) % len(x)
        self.pseudo.copy_(torch.nan_to_num(x[rows]))

    def forward(self, given: Tensor | None = None) -> Mixture:
        if not self.neighbours or self.pseudo is None:
            raise RecipeError(
                f"VampPrior: is made of a model's posterior, and belongs to none yet.\n"
                f"  Give it to a VAE: VAE(VampPrior({self.latent}), likelihood, posterior)."
            )
        (posterior,) = self.neighbours
        outputs = posterior.outputs_of(self.pseudo)
        return Mixture(outputs, posterior.law, outputs.new_zeros(self.components))
