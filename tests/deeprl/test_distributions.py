"""Policies as distributions: against torch.distributions, against plain frequencies, and at the edges."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as reference

from deeprl.distributions import LOG_DEVIATION, Categorical, Deterministic, Gaussian

DOUBLE = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def theirs(output, squash):
    mean, log_deviation = output.chunk(2, dim=-1)
    base = reference.Normal(mean, log_deviation.exp())
    if squash:
        base = reference.TransformedDistribution(base, [reference.TanhTransform(cache_size=1)])
    return reference.Independent(base, 1)


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("actions", [1, 3])
def test_a_gaussian_is_that_of_pytorch(actions, squash):
    policy = Gaussian(actions, squash=squash)
    assert (policy.outputs, policy.noise_width, policy.uniform_noise) == (2 * actions, actions, False)
    output, noise = normal(2, 6, 2 * actions) * 0.7, normal(2, 6, actions, seed=1)
    sample = policy.sample(output, noise)
    mean, log_deviation = output.chunk(2, dim=-1)
    torch.testing.assert_close(sample.origin, mean + log_deviation.exp() * noise)
    torch.testing.assert_close(sample.action, torch.tanh(sample.origin) if squash else sample.origin)
    expected = theirs(output, squash).log_prob(sample.action)
    torch.testing.assert_close(sample.log_density, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(policy.log_density(output, sample.origin), sample.log_density, rtol=1e-12, atol=1e-12)
    other = normal(2, 6, 2 * actions, seed=2) * 0.5
    torch.testing.assert_close(
        policy.log_density(other, sample.origin), theirs(other, squash).log_prob(sample.action), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("squash", [True, False])
def test_samples_and_densities_are_differentiable_in_the_output(squash):
    policy, noise = Gaussian(2, squash=squash), normal(1, 3, 2)
    output = normal(1, 3, 4, seed=3).requires_grad_()
    origin = normal(1, 3, 2, seed=4)
    assert torch.autograd.gradcheck(lambda x: tuple(policy.sample(x, noise)), (output,))
    assert torch.autograd.gradcheck(lambda x: policy.log_density(x, origin), (output,))


def test_squashed_samples_follow_their_density():
    policy, count = Gaussian(1), 20_000
    output = torch.tensor([0.4, -0.3], dtype=DOUBLE)
    sample = policy.sample(output.expand(1, count, 2), normal(1, count, 1))
    law = stats.norm(0.4, math.exp(-0.3))
    assert stats.kstest(sample.action[0, :, 0].numpy(), lambda a: law.cdf(np.arctanh(a))).pvalue > 1e-3


def test_the_log_deviation_is_held_between_its_limits():
    policy = Gaussian(1, squash=False)
    for given, limit in ((-50.0, LOG_DEVIATION[0]), (9.0, LOG_DEVIATION[1])):
        output = torch.tensor([[[0.5, given]]], dtype=DOUBLE, requires_grad=True)
        sample = policy.sample(output, torch.ones(1, 1, 1, dtype=DOUBLE))
        torch.testing.assert_close(sample.origin.detach(), torch.full((1, 1, 1), 0.5 + math.exp(limit), dtype=DOUBLE))
        (slope,) = torch.autograd.grad(sample.log_density.sum(), output)
        assert slope[0, 0, 1] == 0
    assert policy.sample(torch.zeros(1, 1, 2), torch.zeros(1, 1, 1)).action.dtype == torch.float32


@pytest.mark.parametrize("mean", [-1e4, -30.0, 30.0, 1e4])
def test_a_saturated_policy_has_a_finite_density_and_gradient(mean):
    output = torch.tensor([[[mean, -20.0]]], requires_grad=True)
    sample = Gaussian(1).sample(output, torch.tensor([[[2.0]]]))
    assert sample.action.abs() == 1
    assert sample.log_density.isfinite().all()
    (slope,) = torch.autograd.grad(sample.log_density.sum(), output)
    assert slope.isfinite().all()


def test_the_mode_is_the_mean_in_the_box():
    output = torch.tensor([[[0.3, -2.0, 5.0, 0.0, 0.0, 0.0]]])
    torch.testing.assert_close(Gaussian(3).mode(output), torch.tanh(torch.tensor([[[0.3, -2.0, 5.0]]])))
    torch.testing.assert_close(Gaussian(3, squash=False).mode(output), torch.tensor([[[0.3, -1.0, 1.0]]]))
    torch.testing.assert_close(Deterministic(2).mode(output[..., :2]), torch.tanh(output[..., :2]))
    assert (Deterministic(2).outputs, Deterministic(2).noise_width) == (2, 2)


# ----------------------------------------------------------------------------------------------------- discrete actions


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_every_action_is_drawn_as_often_as_it_is_likely(dtype):
    counts = torch.tensor([3, 1, 0, 4, 2])
    output = counts.to(dtype).log().expand(1, 10, 5)  # log 0: impossible
    noise = ((torch.arange(10) + 0.5) / 10).to(dtype).reshape(1, 10, 1)
    policy = Categorical(5)
    assert (policy.outputs, policy.noise_width, policy.uniform_noise) == (5, 1, True)
    sample = policy.sample(output, noise)
    assert sample.action.dtype == dtype
    assert sample.action.sum(dim=(0, 1)).tolist() == counts.tolist()
    assert (sample.action.sum(-1) == 1).all()
    expected = reference.Categorical(logits=output).log_prob(sample.action.argmax(-1))
    torch.testing.assert_close(sample.log_density, expected)
    torch.testing.assert_close(policy.log_density(output, sample.origin), sample.log_density)


def test_the_ends_of_the_noise_draw_possible_actions():
    policy = Categorical(3)
    last = torch.tensor([[[0.0], [1 - 2**-24]]])
    for logits, expected in (
        [(0.0, 0.0, 0.0), [0, 2]],
        [(-math.inf, 0.0, 0.0), [1, 2]],
        [(-math.inf, 0.0, -math.inf), [1, 1]],
    ):
        found = policy.sample(torch.tensor(logits).expand(1, 2, 3), last).action.argmax(-1)
        assert found.tolist() == [expected]
    assert Categorical(1).sample(torch.zeros(1, 2, 1), last).action.tolist() == [[[1.0], [1.0]]]


def test_a_drawn_action_passes_no_gradient_and_its_density_does():
    output = normal(1, 4, 3).requires_grad_()
    sample = Categorical(3).sample(
        output, torch.rand(1, 4, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    )
    assert not sample.action.requires_grad
    (slope,) = torch.autograd.grad(sample.log_density.sum(), output)
    torch.testing.assert_close(slope, sample.action - output.detach().softmax(-1))


def test_the_density_of_an_impossible_action_is_minus_infinity_and_of_the_others_finite():
    output = torch.tensor([[[0.0, -math.inf, 0.0]] * 3])
    found = Categorical(3).log_density(output, torch.eye(3)[None])
    assert found.tolist() == [[pytest.approx(-math.log(2)), -math.inf, pytest.approx(-math.log(2))]]


def test_the_mode_is_the_likeliest_action():
    assert Categorical(3).mode(torch.tensor([[[0.1, 0.3, 0.2]]])).tolist() == [[[0.0, 1.0, 0.0]]]
