"""Over-fitting taken apart: what the model has learned by heart, and what the encoder has."""

from dataclasses import dataclass

from torch import Tensor

from vael.numbers import Number

Scores = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Overfitting:
    """Nats per example that the bound is lower on held-out examples than on training ones, and whose fault it is.

        ELBO_train − ELBO_test = [log p_train − log p_test] + [(log p − ELBO)_test − (log p − ELBO)_train]
                                 = model                    + encoder

    The model has over-fitted by the first: its density is too high where it was trained. The encoder by the second:
    its q(z|x) is nearer to p(z|x) for the examples it was trained on, which a better encoder, or optimising q for
    each example, would mend without touching the model.

    whole: The left side. gap: log p − ELBO on the held-out examples.
    """

    whole: Number
    model: Number
    encoder: Number
    gap: Number


def overfitting(train: Scores, test: Scores) -> Overfitting:
    """Both parts, from (ELBO, log p(x)) of training and of held-out examples, nats, `(n,)` each.

    log p(x) is exact, or an importance estimate of so many draws that what is left of its own gap is the same on both.
    Source: Cremer, Li & Duvenaud 2018, Inference suboptimality in VAEs, section 5.5 (arXiv 1801.03558).
    """
    (elbo, log_px), (its_elbo, its_log_px) = train, test
    return Overfitting(
        whole=_difference(elbo, its_elbo),
        model=_difference(log_px, its_log_px),
        encoder=_difference(its_log_px - its_elbo, log_px - elbo),
        gap=Number.of(its_log_px - its_elbo),
    )


def _difference(first: Tensor, other: Tensor) -> Number:
    """The difference of the means of two independent samples."""
    one, two = Number.of(first), Number.of(other)
    errors = (one.standard_error, two.standard_error)
    known = None if None in errors else sum(error**2 for error in errors if error is not None) ** 0.5
    return Number(one.value - two.value, known)
