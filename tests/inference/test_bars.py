"""Bars: pictures that are sums of a few bars of a grid; what finds every bar has found the causes of the data.

Source: Földiák 1990, Forming sparse representations by local anti-Hebbian learning.
"""

import torch
from worlds import bars, matched, split_of

from vael.inference import begin_at, em
from vael.models.classical import binary_sparse_coding, spike_slab_sparse_coding
from vael.posteriors import TruncatedPosterior


def test_a_picture_of_bars_is_the_sum_of_those_that_are_on():
    x, fields = bars(side=3, rows=50, on=0.5, noise=0.0, seed=0)
    assert fields.shape == (6, 9)
    assert (fields.sum(1) == 3).all()  # each bar as long as the grid is wide
    assert fields.sum(0).eq(2).all()  # one across and one down through each place
    heights = torch.linalg.pinv(fields.T) @ x.T
    assert (fields.T @ heights - x.T).abs().max() < 1e-9


def test_binary_sparse_coding_finds_every_bar():
    x, fields = bars(side=4, rows=400, on=0.25, noise=0.1, seed=0)
    model, split = binary_sparse_coding(16, 8, on=0.25).double(), split_of(x)
    begin_at(model, split, starts=6, seed=0)
    em(model, split, steps=200)
    found = model.likelihood.network.head.weight.detach().T
    assert matched(found, fields).min() > 0.99
    assert abs(float(model.likelihood.noise_scale(x).detach()) - 0.1) < 0.01


def test_spike_and_slab_finds_every_bar_of_any_height_and_sign():
    x, fields = bars(side=3, rows=500, on=0.3, noise=0.1, seed=1, slab=True)
    model, split = spike_slab_sparse_coding(9, 6, on=0.3).double(), split_of(x)
    begin_at(model, split, starts=6, seed=0)
    em(model, split, steps=300)
    found = model.likelihood.network.head.weight.detach().T
    assert matched(found, fields).min() > 0.99
    assert abs(float(model.likelihood.noise_scale(x).detach()) - 0.1) < 0.01


def test_an_eighth_of_the_states_is_enough_to_find_every_bar():
    x, fields = bars(side=4, rows=400, on=0.25, noise=0.1, seed=0)
    model = binary_sparse_coding(16, 8, on=0.25, posterior=TruncatedPosterior(8, states=32)).double()
    begin_at(model, split_of(x), starts=6, seed=0)
    em(model, split_of(x), steps=200)
    assert matched(model.likelihood.network.head.weight.detach().T, fields).min() > 0.99
