"""The fused step against Adam by its definition and against PyTorch's optimiser."""

import numpy as np
import pytest
import torch

from deeprl.networks import Network, Parameters
from deeprl.optimisation import BETAS, EPSILON, Moments, adam_step, gradient_step


def networks(dtype, copies=2):
    made = [Network((3, 5, 2), copies=copies).initial(torch.Generator().manual_seed(k), dtype) for k in range(2)]
    return [*made, Parameters.constant(0.5, dtype)]


def gradients(parameters, seed):
    """Of very different sizes, exact zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for leaf in (leaf for one in parameters for leaf in one.leaves):
        size = 10.0 ** torch.randint(-9, 4, leaf.shape, generator=generator)
        found.append((torch.randn(leaf.shape, generator=generator) * size).to(leaf.dtype))
    found[0].flatten()[0] = 0
    return found


def flat(parameters):
    return torch.cat([one.flat for one in parameters])


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_step_is_adam_by_its_definition(dtype, limit):
    parameters, rate = networks(dtype), 3e-2
    moments = [Moments.zeros(one) for one in parameters]
    expected = flat(parameters).double().numpy()
    first, second = np.zeros_like(expected), np.zeros_like(expected)
    for count in range(1, 8):
        given = gradients(parameters, count)
        adam_step(parameters, moments, given, rate)
        g = np.concatenate([x.double().numpy().reshape(-1) for x in given])
        first, second = BETAS[0] * first + (1 - BETAS[0]) * g, BETAS[1] * second + (1 - BETAS[1]) * g * g
        mean, square = first / (1 - BETAS[0] ** count), second / (1 - BETAS[1] ** count)
        expected = expected - rate * mean / (np.sqrt(square) + EPSILON)
        np.testing.assert_allclose(flat(parameters).double().numpy(), expected, rtol=0, atol=limit)
        assert all((one.steps == count).all() for one in moments)
    np.testing.assert_allclose(flat([one.first for one in moments]).double().numpy(), first, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(flat([one.second for one in moments]).double().numpy(), second, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("fused", [True, False])
def test_fifty_steps_are_those_of_pytorchs_optimiser(fused, dtype, limit):
    parameters = networks(dtype)
    moments = [Moments.zeros(one) for one in parameters]
    theirs = [leaf.detach().clone().requires_grad_() for one in parameters for leaf in one.leaves]
    optimiser = torch.optim.Adam(theirs, lr=1e-2, fused=fused)
    for count in range(50):
        given = gradients(parameters, count)
        adam_step(parameters, moments, given, 1e-2)
        for leaf, gradient in zip(theirs, given, strict=True):
            leaf.grad = gradient
        optimiser.step()
    expected = torch.cat([leaf.detach().reshape(-1) for leaf in theirs])
    torch.testing.assert_close(flat(parameters), expected, rtol=0, atol=0 if fused else limit)


def test_the_first_step_is_the_rate_in_the_direction_of_the_sign():
    parameters = [Parameters(torch.zeros(4, dtype=torch.float64), ((4,),))]
    moments = [Moments.zeros(parameters[0])]
    adam_step(parameters, moments, [torch.tensor([5.0, -1e-3, 0.0, 1e6], dtype=torch.float64)], 0.1)
    torch.testing.assert_close(
        parameters[0].flat, torch.tensor([-0.1, 0.1, 0.0, -0.1], dtype=torch.float64), rtol=2e-5, atol=0
    )


def test_parameters_that_are_not_handed_over_stay_with_their_moments():
    parameters = networks(torch.float32)
    moments = [Moments.zeros(one) for one in parameters]
    before = parameters[1].flat.clone()
    adam_step(parameters[:1], moments[:1], gradients(parameters[:1], 0), 0.1)
    assert torch.equal(parameters[1].flat, before)
    assert not moments[1].steps.any()
    assert not moments[1].first.flat.any()


def test_a_clone_of_the_moments_goes_its_own_way():
    parameters = networks(torch.float32)
    moments = [Moments.zeros(one) for one in parameters]
    copies = [one.clone() for one in moments]
    adam_step(parameters, moments, gradients(parameters, 1), 0.1)
    assert all(not one.steps.any() and not one.second.flat.any() for one in copies)
    # What the clone counts, its counters show.
    adam_step(parameters, copies, gradients(parameters, 1), 0.1)
    assert all((one.steps == 1).all() and all(c == 1 for c in one.to("cpu").counters) for one in copies)
    for mine, copy in zip(moments, copies, strict=True):
        assert torch.equal(mine.first.flat, copy.first.flat)


def test_plain_descent_subtracts_the_rate_times_the_gradient():
    parameters = networks(torch.float64)
    before, given = flat(parameters).clone(), gradients(parameters, 3)
    gradient_step(parameters, given, 0.25)
    torch.testing.assert_close(
        flat(parameters), before - 0.25 * torch.cat([g.reshape(-1) for g in given]), rtol=1e-15, atol=0
    )
