"""Convolutional networks: any size, leading axes, where a pixel's influence ends, and how they begin."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vael import RecipeError, ShapeError
from vael.networks import ConvDecoder, ConvEncoder
from vael.networks.conv import Residual

sides = st.integers(8, 256)


def levels_of(height: int, width: int) -> int:
    """How often the shorter side can be halved, counted by halving it."""
    side, count = min(height, width), 0
    while side > 1:
        side, count = side // 2, count + 1
    return count


@pytest.mark.parametrize("size", [(28, 20), (33, 47), (8, 8), (9, 64), (255, 17), (256, 256)])
def test_a_decoder_hits_the_exact_size_with_any_number_of_levels(size):
    for levels in range(1, levels_of(*size) + 1):
        shape = (2, *size)
        with torch.no_grad():
            assert ConvDecoder(3, [2] * levels, shape)(torch.zeros(1, 3)).shape == (1, *shape)
            assert ConvEncoder(shape, [2] * levels, 5)(torch.zeros(1, *shape)).shape == (1, 5)


@given(height=sides, width=sides, blocks=st.integers(0, 1))
def test_every_size_from_8_to_256_goes_in_and_comes_out(height, width, blocks):
    levels = levels_of(height, width)
    shape = (1, height, width)
    encoder, decoder = ConvEncoder(shape, [1] * levels, 4, blocks=blocks), ConvDecoder(2, [1] * levels, shape)
    with torch.no_grad():
        assert decoder(encoder(torch.zeros(1, *shape))[:, :2]).shape == (1, *shape)


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (3, 1, 2), (0,)])
def test_leading_axes_are_flattened_and_restored(leading):
    encoder, decoder = ConvEncoder((3, 9, 11), [4, 5], 6, blocks=1), ConvDecoder(2, [5, 4], (6, 9, 11), blocks=1)
    x, z = torch.randn(*leading, 3, 9, 11), torch.randn(*leading, 2)
    codes, pictures = encoder(x), decoder(z)
    assert codes.shape == (*leading, 6)
    assert pictures.shape == (*leading, 6, 9, 11)
    for at in np.ndindex(leading):
        assert_close(encoder(x[at]), codes[at], atol=1e-5, rtol=1e-5)
        assert_close(decoder(z[at]), pictures[at], atol=1e-5, rtol=1e-5)


def test_a_pixel_is_made_of_the_cells_below_it_alone():
    """Two levels: a coarse cell (i, j) reaches the pixels 4i − 3 … 4i + 6, rows and columns, and no others."""
    decoder = ConvDecoder(1, [3, 4], (2, 25, 38))
    before = decoder(torch.zeros(1, 1))[0]
    bias = decoder.first.bias.data.view(*decoder.coarse)  # (height, width, channels)
    assert bias.shape == (6, 9, 3)
    bias[3, 5] += 1.0
    rows, columns = (decoder(torch.zeros(1, 1))[0] - before).abs().sum(0).nonzero().unbind(1)
    assert 9 <= rows.min() <= 12
    assert 15 <= rows.max() <= 18
    assert 17 <= columns.min() <= 20
    assert 23 <= columns.max() <= 26


def test_an_encoder_reads_features_where_a_decoder_puts_them():
    """The linear layer's inputs are cell after cell, so one pixel moves the cells it lies in and those beside them."""
    encoder = ConvEncoder((1, 16, 16), [4, 8], 1)
    seen = []
    encoder.head.register_forward_pre_hook(lambda layer, given: seen.append(given[0].detach().view(4, 4, 8)))
    x = torch.zeros(2, 1, 16, 16)
    for pixel in (0.0, 1.0):
        x[0, 0, 9, 2] = pixel
        encoder(x[:1])
    moved = (seen[1] - seen[0]).abs().sum(-1).nonzero()
    assert moved[:, 0].min() >= 1
    assert moved[:, 0].max() <= 3
    assert moved[:, 1].max() <= 1
    assert len(moved) >= 4


def test_a_residual_block_is_the_identity_at_first_and_can_leave_it():
    block, x = Residual(3, "silu"), torch.randn(2, 3, 5, 7)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    last = block.branch[-1]
    assert last.weight.grad.abs().sum() > 0
    with torch.no_grad():
        last.weight -= 0.1 * last.weight.grad
    assert not torch.equal(block(x), x)


def test_blocks_add_to_every_level():
    plain, deeper = ConvEncoder((1, 16, 16), [4, 8], 3), ConvEncoder((1, 16, 16), [4, 8], 3, blocks=2)
    count = [sum(isinstance(layer, Residual) for layer in network.levels) for network in (plain, deeper)]
    assert count == [0, 4]
    count = [sum(isinstance(layer, Residual) for layer in ConvDecoder(3, [8, 4], (1, 16, 16), blocks=b).levels)
             for b in (0, 2)]  # fmt: skip
    assert count == [0, 4]


@pytest.mark.parametrize("bias", ["per_pixel", "per_channel"])
def test_begin_moves_the_output_to_the_marginal(bias):
    decoder, values = ConvDecoder(2, [8, 4], (6, 9, 11), bias=bias), torch.randn(2, 3, 9, 11)  # P = 2, three colours
    z = torch.randn(5, 2)
    before = decoder(z)
    decoder.begin(values)
    wanted = values.reshape(6, 9, 11)
    if bias == "per_channel":
        wanted = wanted.mean((1, 2), keepdim=True)
    assert_close(decoder(z) - before, wanted.expand(5, 6, 9, 11), atol=1e-5, rtol=1e-5)
    assert decoder.offset.requires_grad


def test_the_sizes_are_those_of_the_layers():
    encoder, decoder = ConvEncoder((3, 32, 32), [8, 16], 10), ConvDecoder(5, [16, 8], (6, 32, 32))
    assert encoder.outputs == 10
    assert tuple(decoder.outputs) == (6, 32, 32)
    weights = 8 * 3 * 16 + 8 + 16 * 8 * 16 + 16 + 10 * 16 * 64 + 10
    assert sum(p.numel() for p in encoder.parameters()) == weights
    weights = (5 + 1) * 16 * 64 + 16 * 8 * 16 + 8 + 8 * 6 * 16 + 6 + 6 * 32 * 32
    assert sum(p.numel() for p in decoder.parameters()) == weights


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ConvEncoder((784,), [8], 4), r"ConvEncoder: works on pictures .*, got \(784,\)"),
        (lambda: ConvDecoder(4, [8], 784), "ConvDecoder: works on pictures .*, got 784"),
        (lambda: ConvEncoder((1, 8, 20), [8] * 4, 4), "4 channels, but 8 × 20 pixels can be halved 3 times"),
        (lambda: ConvEncoder((1, 8, 8), [], 4), "0 channels, but 8 × 8"),
        (lambda: ConvEncoder((1, 1, 8), [4], 4), "1 × 8 pixels cannot be halved. Use an MLP"),
        (lambda: ConvEncoder((1, 8, 8), [0], 4), r"channels of at least 1 and blocks of at least 0, got \[0\], 0"),
        (lambda: ConvDecoder(4, [8], (1, 8, 8), blocks=-1), r"blocks of at least 0, got \[8\], -1"),
        (lambda: ConvEncoder((1, 8, 8), [8], 0), "outputs must be a whole number of at least 1, got 0"),
        (lambda: ConvDecoder(0, [8], (1, 8, 8)), "inputs must be a whole number of at least 1, got 0"),
        (lambda: ConvDecoder(4, [8], (1, 8, 8), bias="none"), "bias must be per_pixel or per_channel, got 'none'"),
        (lambda: ConvEncoder((1, 8, 8), [8], 4, activation="silo"), "ConvEncoder: unknown activation 'silo'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(make, complaint):
    with pytest.raises(RecipeError, match=complaint):
        make()


def test_other_shapes_are_refused_with_both():
    with pytest.raises(ShapeError, match=r"ConvEncoder: got \(2, 3, 8, 9\), expected \(…, 3, 9, 8\)"):
        ConvEncoder((3, 9, 8), [4], 2)(torch.zeros(2, 3, 8, 9))
    with pytest.raises(ShapeError, match=r"ConvDecoder: got \(2, 5\), expected \(…, 4\)"):
        ConvDecoder(4, [4], (3, 9, 8))(torch.zeros(2, 5))
