"""AdamW in one fused kernel a step."""

from collections.abc import Sequence

import torch
from torch import Tensor

BETAS = 0.9, 0.999
MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) over parameters of one device.

        m ← β₁ m + (1 − β₁) g    v ← β₂ v + (1 − β₂) g²    θ ← θ − η [ w θ + m̂ / (√v̂ + ε) ],    m̂, v̂ free of their bias

    The kernel is that of `torch.optim.AdamW(fused=True)`, called without its bookkeeping, which for a small table costs
    more than the update. Nothing is read back from the device.

    parameters: What is moved. rate: η, a 0-d tensor on their device, read at every step. weight_decay: w.
    count: Steps made, a 0-d tensor. exp_avg, exp_avg_sq: m and v of each parameter, in its memory order.
    """

    def __init__(
        self, parameters: Sequence[Tensor], rate: Tensor, *, weight_decay: float = 0.0, epsilon: float = 1e-8
    ) -> None:
        self.parameters, self.rate = list(parameters), rate
        self.weight_decay, self.epsilon = weight_decay, epsilon
        for parameter in self.parameters:
            if torch.empty_like(parameter).stride() != parameter.stride():  # has gaps, in which the kernel would write
                parameter.data = parameter.detach().contiguous()
        self.count = torch.zeros((), dtype=torch.float32, device=rate.device)
        self.exp_avg = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        self.exp_avg_sq = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor | None], divisor: Tensor | None = None) -> None:
        """One step along `gradients`, each divided by `divisor` where one is given; None where nothing depends."""
        self.count += 1
        if divisor is not None and divisor.device.type == "cpu":  # where the kernel's own division is float32's alone
            gradients, divisor = [None if g is None else g / divisor for g in gradients], None
        gradients = [laid_out(g, p) for g, p in zip(gradients, self.parameters, strict=True)]
        moved = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if not moved:
            return
        torch.ops.aten._fused_adamw_.tensor_lr(
            [self.parameters[place] for place in moved],
            [gradients[place] for place in moved],
            [self.exp_avg[place] for place in moved],
            [self.exp_avg_sq[place] for place in moved],
            [],
            [self.count] * len(moved),
            lr=self.rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.weight_decay,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=None if divisor is None else divisor.float(),  # the one type that the kernel reads
            found_inf=None if divisor is None else torch.zeros_like(divisor, dtype=torch.float32),
        )


def laid_out(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """The gradient in the memory order of its parameter, along which the kernel walks without a look at strides."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)
