"""The divergence between Gaussians: by quadrature, by the textbook's matrices, by torch, in balls; and the misprint."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from exactrl.formulas.gaussians import KLParts, gaussian_kl, gaussian_kl_diagonal, solve_lower
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision


def drawn(seed, n, batch=()):
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(*batch, n, n)))
    diagonal = np.arange(n)
    factor[..., diagonal, diagonal] = np.exp(rng.normal(size=(*batch, n)) / 2)
    return rng.normal(size=(*batch, n)), factor


def textbook(mean_i, cov_i, mean, cov):
    """Both parts by inverse and determinant of full matrices."""
    inverse, move = np.linalg.inv(cov), mean - mean_i
    spread = np.trace(inverse @ cov_i) - len(mean) + np.log(np.linalg.det(cov) / np.linalg.det(cov_i))
    return move @ inverse @ move / 2, spread / 2


@pytest.mark.parametrize("n", [1, 2, 5])
def test_both_parts_are_the_textbooks(n):
    (mean_i, factor_i), (mean, factor) = drawn(1, n), drawn(2, n)
    parts = gaussian_kl(mean_i, factor_i, mean, factor)
    np.testing.assert_allclose(parts, textbook(mean_i, factor_i @ factor_i.T, mean, factor @ factor.T), rtol=1e-12)


def test_the_sum_is_the_integral():
    x = np.linspace(-14, 14, 400_001)
    density = lambda mean, std: np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    p, log_ratio = density(0.3, 0.8), -(((x - 0.3) / 0.8) ** 2) / 2 + (((x + 0.5) / 1.4) ** 2) / 2 + np.log(1.4 / 0.8)
    parts = gaussian_kl_diagonal(np.array([0.3]), np.log([0.8]), np.array([-0.5]), np.log([1.4]))
    assert sum(parts) == pytest.approx((p * log_ratio).sum() * (x[1] - x[0]), rel=1e-10)


def test_the_sum_is_torchs_in_batches_and_for_diagonals():
    (mean_i, factor_i), (mean, factor) = drawn(3, 3, (4, 2)), drawn(4, 3, (4, 2))
    t = torch.tensor
    normal = torch.distributions.MultivariateNormal
    truth = torch.distributions.kl_divergence(
        normal(t(mean_i), scale_tril=t(factor_i)), normal(t(mean), scale_tril=t(factor))
    )
    np.testing.assert_allclose(sum(gaussian_kl(mean_i, factor_i, mean, factor)), truth.numpy(), rtol=1e-12)
    log_std_i, log_std = np.log(np.abs(mean_i) + 0.1), np.log(np.abs(mean) + 0.1)
    parts = gaussian_kl_diagonal(mean_i, log_std_i, mean, log_std)
    full = gaussian_kl(mean_i, np.exp(log_std_i)[..., None] * np.eye(3), mean, np.exp(log_std)[..., None] * np.eye(3))
    np.testing.assert_allclose(parts, full, rtol=1e-11)


def test_each_part_vanishes_with_what_it_is_named_after():
    """Eq. 27 prints the names exchanged: its C_mu does not see the means at all."""
    (mean_i, factor), (mean, other) = drawn(5, 2), drawn(6, 2)
    same_covariance = gaussian_kl(mean_i, factor, mean, factor)
    assert same_covariance.mean > 0.01
    assert same_covariance.covariance == pytest.approx(0.0, abs=1e-15)
    same_mean = gaussian_kl(mean, factor, mean, other)
    assert same_mean.mean == 0.0
    assert same_mean.covariance > 0.01
    assert isinstance(same_mean, KLParts)


def test_what_stands_above_the_diagonal_is_not_read():
    (mean_i, factor_i), (mean, factor) = drawn(7, 3), drawn(8, 3)
    dirty = [x + np.triu(np.full((3, 3), 9.0), 1) for x in (factor_i, factor)]
    np.testing.assert_array_equal(
        gaussian_kl(mean_i, dirty[0], mean, dirty[1]), gaussian_kl(mean_i, factor_i, mean, factor)
    )


def test_forward_substitution_solves():
    _, factor = drawn(9, 4)
    right = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(factor @ solve_lower(factor, right), right, atol=1e-13)


def test_a_small_change_of_covariance_keeps_its_precision():
    tiny = 1e-7
    parts = gaussian_kl_diagonal(np.zeros(1), np.array([tiny]), np.zeros(1), np.zeros(1))
    assert parts.covariance == pytest.approx(tiny**2, rel=1e-6)


def test_balls_enclose_and_gradients_flow():
    (mean_i, factor_i), (mean, factor) = drawn(10, 3), drawn(11, 3)
    with precision(128):
        parts = gaussian_kl(*(Balls(x) for x in (mean_i, factor_i, mean, factor)))
        diagonal = gaussian_kl_diagonal(*(Balls(x) for x in (mean_i, mean_i, mean, mean)))
        for found, enclosed in (
            *zip(gaussian_kl(mean_i, factor_i, mean, factor), parts, strict=True),
            *zip(gaussian_kl_diagonal(mean_i, mean_i, mean, mean), diagonal, strict=True),
        ):
            ((low, high),) = enclosed.bounds()
            assert high - low < Fraction(1, 10**30)
            assert abs(Fraction(float(found)) - low) < Fraction(1, 10**12) * max(1, abs(low))
        assert namespace(parts.mean).name == "balls"
    tensors = [torch.tensor(x, requires_grad=True) for x in (mean_i, factor_i, mean, factor)]
    assert torch.autograd.gradcheck(lambda *x: tuple(gaussian_kl(*x)), tensors)
    logs = [torch.tensor(x, requires_grad=True) for x in (mean_i, mean_i / 3, mean, mean / 3)]
    assert torch.autograd.gradcheck(lambda *x: tuple(gaussian_kl_diagonal(*x)), logs)
