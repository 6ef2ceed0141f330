"""Functional networks against PyTorch's modules, member by member, and the stacking of seeds against its inverse."""

import math

import pytest
import torch
from torch import nn

from deeprl.networks import Network, Parameters


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def module(network, parameters, member):
    """The member as PyTorch's own layers, with its numbers copied in."""
    layers, views = [], iter(parameters.constants)
    for index in range(len(network.sizes) - 1):
        linear = nn.Linear(*network.sizes[index : index + 2], bias=network.bias, dtype=parameters.flat.dtype)
        with torch.no_grad():
            linear.weight.copy_(next(views)[member].T)
            if network.bias:
                linear.bias.copy_(next(views)[member, 0])
        layers += [nn.ReLU(), linear]
    return nn.Sequential(*layers[1:])


SIZES = [(3, 4), (3, 1), (3, 8, 2), (3, 8, 8, 1), (3, 1, 5), (3, 1, 1, 1)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_values_and_gradients_are_those_of_pytorchs_layers(sizes, copies, bias):
    network = Network(sizes, copies=copies, bias=bias)
    seeds = [network.initial(generator(seed), torch.float64) for seed in range(2)]
    stacked = Parameters.stack(seeds)
    x = torch.randn(2, 7, 3, generator=generator(), dtype=torch.float64)
    found = network(stacked.leaves, x)
    assert found.shape == (2 * copies, 7, sizes[-1])
    gradients = torch.autograd.grad(found.square().sum(), stacked.leaves)
    for seed in range(2):
        for copy in range(copies):
            one, row = module(network, seeds[seed], copy), seed * copies + copy
            expected = one(x[seed])
            torch.testing.assert_close(found[row], expected, rtol=1e-13, atol=1e-13)
            slopes = torch.autograd.grad(expected.square().sum(), list(one.parameters()))
            for mine, theirs in zip(gradients, slopes, strict=True):
                torch.testing.assert_close(
                    mine[row], theirs.T if theirs.ndim == 2 else theirs[None], rtol=1e-12, atol=1e-13
                )


def test_several_inputs_are_concatenated_and_features_replace_them():
    x, y = torch.randn(1, 5, 2), torch.randn(1, 5, 3)
    plain = Network((5, 4))
    parameters = plain.initial(generator())
    torch.testing.assert_close(plain(parameters.leaves, x, y), plain(parameters.leaves, torch.cat([x, y], -1)))
    product = Network((6, 4), features=lambda a, b: (a[..., :, None] * b[..., None, :]).flatten(-2))
    assert product(product.initial(generator()).leaves, x, y).shape == (1, 5, 4)


@pytest.mark.parametrize("sizes", SIZES)
def test_an_input_is_not_changed_and_its_gradient_is_right(sizes):
    network = Network(sizes, copies=2)
    parameters = network.initial(generator(), torch.float64)
    x = torch.randn(1, 4, 3, dtype=torch.float64, generator=generator(), requires_grad=True)
    before = x.detach().clone()
    assert torch.autograd.gradcheck(lambda v: network(parameters.constants, v), (x,))
    assert torch.equal(before, x.detach())


def test_members_are_ordered_seed_by_seed():
    network = Network((2, 1), copies=2, bias=False)
    parameters = [Parameters(torch.tensor([k, k, k + 0.5, k + 0.5]), ((2, 2, 1),)) for k in (1.0, 2.0, 3.0)]
    output = network(Parameters.stack(parameters).leaves, torch.ones(3, 5, 2))
    expected = torch.tensor([[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])[..., None].expand(3, 2, 5)
    torch.testing.assert_close(network.by_seed(output), expected)


@pytest.mark.parametrize("width", [1, 4, 100])
def test_the_first_numbers_are_uniform_in_the_bounds_of_pytorch(width):
    network = Network((width, 200), copies=3)
    bound = 1 / math.sqrt(width)
    for view in network.initial(generator(width)).constants:
        assert view.abs().max() <= bound
        assert view.abs().max() > 0.9 * bound
        # The deviation of a uniform law; 5 standard errors.
        assert abs(view.std() / (bound / math.sqrt(3)) - 1) < 5 / math.sqrt(view.numel())


def test_both_precisions_start_from_the_same_numbers():
    network = Network((3, 16, 2), copies=2)
    single, double = network.initial(generator(4)), network.initial(generator(4), torch.float64)
    assert single.flat.dtype == torch.float32
    assert double.flat.dtype == torch.float64
    assert torch.equal(single.flat.double(), double.flat)
    assert not torch.equal(single.flat, network.initial(generator(5)).flat)


def test_the_views_are_the_flat_tensor_and_a_clone_is_not():
    parameters = Network((3, 4, 2)).initial(generator())
    copy = parameters.clone()
    assert sum(leaf.numel() for leaf in parameters.leaves) == parameters.flat.numel()
    parameters.flat.fill_(7.0)
    assert all((leaf == 7).all() and leaf.requires_grad for leaf in parameters.leaves)
    assert all((view == 7).all() and not view.requires_grad for view in parameters.constants)
    assert not (copy.flat == 7).any()
    with torch.no_grad():
        parameters.leaves[1].zero_()
    assert (parameters.flat == 0).sum() == parameters.leaves[1].numel()


def test_constants_pass_no_gradient_to_the_parameters_and_leaves_do():
    network = Network((3, 1))
    parameters = network.initial(generator())
    x = torch.ones(1, 2, 3, requires_grad=True)
    assert torch.autograd.grad(network(parameters.constants, x).sum(), (*parameters.leaves, x), allow_unused=True)[
        :2
    ] == (None, None)
    assert all(g is not None for g in torch.autograd.grad(network(parameters.leaves, x).sum(), parameters.leaves))


@pytest.mark.parametrize("copies", [1, 2])
def test_of_seed_undoes_stack(copies):
    network = Network((3, 4, 2), copies=copies)
    members = [network.initial(generator(seed)) for seed in range(3)]
    stacked = Parameters.stack(members)
    for seed, member in enumerate(members):
        found = stacked.of_seed(seed, 3)
        assert found.shapes == member.shapes
        assert torch.equal(found.flat, member.flat)
        found.flat.zero_()  # a copy
    assert torch.equal(stacked.of_seed(1, 3).flat, members[1].flat)
    numbers = Parameters.stack([Parameters.constant(float(k), torch.float64) for k in range(3)])
    assert numbers.flat.tolist() == [0.0, 1.0, 2.0]
    assert numbers.of_seed(2, 3).flat.tolist() == [2.0]


def test_to_moves_the_numbers_and_builds_views_anew():
    parameters = Network((2, 2)).initial(generator())
    moved = parameters.to("cpu")
    assert torch.equal(moved.flat, parameters.flat)
    assert [leaf.shape for leaf in moved.leaves] == [leaf.shape for leaf in parameters.leaves]
