"""How many of its codes a quantised model uses."""

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.evidence.exact import examples_at_once
from vael.models.vae import VAE
from vael.posteriors.coded import CodedPosterior


def perplexity(numbers: Tensor, codes: int) -> float:
    """exp(−Σ_k f_k log f_k) for the share f_k of code k among `numbers`, of any shape: 1 … C codes in even use.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017 (arXiv 1711.00937), as their code reports it.
    """
    share = torch.bincount(numbers.flatten(), minlength=codes).double() / numbers.numel()
    return float(torch.special.entr(share).sum().exp())


def code_perplexity(model: VAE, split: Split) -> list[float] | None:
    """The perplexity of each stage's codes over all positions of all examples; None for a model without codes."""
    posterior = model.posterior
    if not isinstance(posterior, CodedPosterior):
        return None
    was_training, found = model.training, []
    model.eval()
    with torch.inference_mode():
        for batch in split.batches(examples_at_once(model)):
            found.append(posterior.numbers_of(batch.x, batch.given, batch.observed).cpu())
    model.train(was_training)
    stages = torch.cat(found).unflatten(-1, (posterior.positions, posterior.stages)).unbind(-1)
    return [round(perplexity(numbers, posterior.codes), 4) for numbers in stages]
