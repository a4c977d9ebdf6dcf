"""The update is that of torch.optim.AdamW, to the bit."""

import pytest
import torch

from vael.training.adam import Adam


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_moves_as_torchs_adamw_does(dtype, weight_decay):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,), ()]
    ours = [torch.randn(shape, dtype=dtype, generator=generator, requires_grad=True) for shape in shapes]
    theirs = [parameter.detach().clone().requires_grad_() for parameter in ours]
    rate = torch.tensor(0.1)
    adam = Adam(ours, rate, weight_decay=weight_decay, epsilon=1e-3)
    reference = torch.optim.AdamW(theirs, lr=rate, weight_decay=weight_decay, eps=1e-3, fused=True)
    for step in range(6):
        rate.fill_(0.1 / (step + 1))
        for parameter in theirs:
            parameter.grad = torch.randn(parameter.shape, dtype=dtype, generator=generator)
        adam.update([parameter.grad.clone() for parameter in theirs])
        reference.step()
    for one, other, square in zip(ours, theirs, adam.exp_avg_sq, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(square, reference.state[other]["exp_avg_sq"])


def test_a_gradient_is_divided_before_it_is_used():
    one, other = (torch.ones(3, requires_grad=True) for _ in range(2))
    gradient = torch.tensor([1.0, -2.0, 4.0])
    whole, part = Adam([one], torch.tensor(0.1)), Adam([other], torch.tensor(0.1))
    whole.update([gradient / 4])
    part.update([gradient.clone()], torch.tensor(4.0))
    assert torch.equal(whole.exp_avg[0], part.exp_avg[0])
    assert torch.equal(one, other)


def test_what_nothing_depends_on_stays_where_it_is():
    one, other = (torch.ones(3, requires_grad=True) for _ in range(2))
    adam = Adam([one, other], torch.tensor(0.1), weight_decay=0.5)
    adam.update([torch.ones(3), None])
    assert torch.equal(other, torch.ones(3))
    assert not torch.equal(one, torch.ones(3))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


LAYOUTS = {
    "transposed gradient": (drawn(3, 4), drawn(4, 3).t()),
    "transposed parameter": (drawn(4, 3).t(), drawn(3, 4)),
    "one number for all": (drawn(5), drawn().expand(5)),  # the gradient of a sum
    "a parameter with gaps": (drawn(10, 4)[::2], drawn(5, 4)),
    "channels last": (drawn(3, 4, 2, 2).to(memory_format=torch.channels_last), drawn(3, 4, 2, 2)),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_gradient_in_another_memory_order_moves_the_same(case):
    start, gradient = LAYOUTS[case]
    ours, theirs = (
        start.detach().as_strided(start.shape, start.stride()).requires_grad_(),
        start.clone(memory_format=torch.contiguous_format).requires_grad_(),
    )
    adam, reference = Adam([ours], torch.tensor(0.1)), torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.0, fused=True)
    theirs.grad = gradient.clone(memory_format=torch.contiguous_format)
    for _ in range(3):
        adam.update([gradient])
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
