"""Networks: shapes, features of rows, affine maps."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vael import RecipeError, ShapeError
from vael.networks import MLP, Rescaled, RowFeatures, affine_map


class Seen(nn.Module):
    """A trunk that hands back what it is given."""

    outputs = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_an_mlp_maps_event_shapes_and_keeps_leading_axes():
    assert MLP((1, 4, 4), [3], (2, 5))(torch.zeros(7, 2, 1, 4, 4)).shape == (7, 2, 2, 5)


def test_an_mlp_refuses_other_shapes_and_unknown_activations():
    with pytest.raises(ShapeError, match=r"got \(3, 5\), expected \(…, 4\)"):
        MLP(4, [], 2)(torch.zeros(3, 5))
    with pytest.raises(RecipeError, match="unknown activation 'rleu'"):
        MLP(4, [], 2, activation="rleu")
    with pytest.raises(RecipeError, match="at least one unit"):
        MLP(4, [0], 2)


def test_an_mlp_without_hidden_layers_is_the_affine_map_it_says():
    network, x = MLP(3, [], 2), torch.randn(5, 3)
    weight, bias = affine_map(network)
    assert_close(network(x), x @ weight.T + bias)
    assert affine_map(MLP(3, [4], 2)) is None
    weight, bias = affine_map(nn.Linear(3, 2, bias=False))
    assert torch.equal(bias, torch.zeros(2))


def test_a_skip_adds_a_linear_map_of_the_inputs():
    torch.manual_seed(0)
    network, x = MLP((2, 3), [4], (5, 2), skip=True), torch.randn(7, 8, 2, 3)
    past = (x.flatten(-2) @ network.past.weight.T).unflatten(-1, (5, 2))
    hidden = network.head(network.body(x)).unflatten(-1, (5, 2))
    assert_close(network(x), hidden + past)
    assert affine_map(MLP(3, [4], 2, skip=True)) is None


def test_a_skip_is_none_without_hidden_layers():
    network, x = MLP(3, [], 2, skip=True), torch.randn(5, 3)
    weight, bias = affine_map(network)
    assert_close(network(x), x @ weight.T + bias)
    assert network.past is None


def test_a_skip_can_begin_as_an_affine_map():
    network, x = MLP(3, [4], 2, skip=True), torch.randn(5, 3)
    weight, bias = torch.randn(2, 3), torch.randn(2)
    network.begin_affine(weight, bias)
    assert_close(network(x), x @ weight.T + bias)
    with pytest.raises(RecipeError, match="begin_affine needs skip=True"):
        MLP(3, [4], 2).begin_affine(weight, bias)


def test_rescaled_brings_grey_values_to_minus_one_and_one():
    assert_close(
        Rescaled(Seen(), loc=8.0, scale=8.0)(torch.tensor([[0.0, 8.0, 16.0]])), torch.tensor([[-1.0, 0.0, 1.0]])
    )


ROW = RowFeatures(Seen(), levels=[0, 3, 0, 2], counts=[2], holes=[0, 1])


def test_a_row_becomes_numbers_log_counts_flags_and_what_was_observed():
    x = torch.tensor([[0.5, 2.0, 7.0, 1.0]])
    expected = torch.tensor([[0.5, 1.0, 2.0794415, 0.0, 0.0, 1.0, 1.0, 1.0]])
    assert_close(ROW(x), expected)
    assert ROW(x).shape[1] == RowFeatures.width([0, 3, 0, 2], [0, 1])


def test_a_hole_is_zero_and_its_flag_says_so_whatever_stands_there():
    observed = torch.tensor([[False, False, True, True]])
    expected = torch.tensor([[0.0, 1.0, 2.0794415, 0.0, 0.0, 0.0, 0.0, 0.0]])
    for value in (0.0, 2.0):
        assert_close(ROW(torch.tensor([[value, value, 7.0, 1.0]]), observed), expected)


WIDE = RowFeatures(Seen(), levels=[0, 60, 3, 200], counts=[0], holes=[1, 3], embedding=4, many=50)


def test_a_category_of_many_levels_is_learned_numbers_and_one_of_few_zeros_with_a_one():
    x = torch.tensor([[7.0, 59.0, 2.0, 0.0], [7.0, 3.0, 0.0, 199.0]])
    found = WIDE(x)
    assert found.shape == (2, RowFeatures.width([0, 60, 3, 200], [1, 3], 4, 50)) == (2, 1 + 4 + 3 + 4 + 2)
    assert_close(found[:, 1:5], WIDE.embedded["1"].weight[[59, 3]])
    assert_close(found[:, 5:8], torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    assert_close(found[:, 8:12], WIDE.embedded["3"].weight[[0, 199]])
    assert list(WIDE.embedded) == ["1", "3"]


def test_a_hole_in_a_learned_category_is_zero_and_teaches_it_nothing():
    observed = torch.tensor([[True, False, True, True]])
    found = WIDE(torch.tensor([[7.0, 59.0, 2.0, 5.0]]), observed)
    assert_close(found[0, 1:5], torch.zeros(4))
    found.sum().backward()
    assert WIDE.embedded["1"].weight.grad.abs().sum() == 0
    assert WIDE.embedded["3"].weight.grad[5].abs().sum() > 0


def test_without_an_embedding_every_category_is_zeros_with_a_one():
    plain = RowFeatures(Seen(), levels=[60], counts=[], holes=[])
    assert plain(torch.tensor([[41.0]])).nonzero().tolist() == [[0, 41]]
    assert not list(plain.parameters())


def test_an_impossible_embedding_is_refused():
    with pytest.raises(RecipeError, match="embedding must be at least 0 and many at least 2, got -1 and 50"):
        RowFeatures(Seen(), levels=[60], counts=[], holes=[], embedding=-1)


def test_begin_makes_the_marginal_what_an_mlp_gives_without_its_hidden_layer():
    network, values = MLP(2, [4], (2, 3, 3)), torch.randn(2, 1, 3, 3)
    network.begin(values)
    network.head.weight.data.zero_()
    assert_close(network(torch.randn(5, 2)), values.view(2, 3, 3).expand(5, 2, 3, 3))
