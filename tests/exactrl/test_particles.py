"""Kernels, Stein's variational gradient and densities of images: three number systems, quadrature, differences."""

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import torch

from exactrl.formulas import change_of_variables, gaussian_log_density, particles
from exactrl.formulas.change_of_variables import (
    log_density_of_image,
    log_density_over_preimages,
    triangular_log_jacobian,
)
from exactrl.formulas.particles import (
    amortised_update,
    gaussian_direction,
    gaussian_direction_moments,
    gaussian_discrepancy,
    polynomial_kernel,
    polynomial_kernel_gradient,
    rbf_kernel,
    rbf_kernel_gradient,
    svgd_direction,
    uniform_repulsion,
)
from exactrl.number_systems.balls import Balls, precision
from tests.exactrl.three_views import Floats, Intervals, Tensors, parts

BITS = 192
ROUNDING = 1e-13
SEEDS = range(6)


class Case:
    """Samples, other samples, gradients, jacobians and a Gaussian policy in 1 to 3 dimensions; everything rational."""

    def __init__(self, seed, batch=()):
        rng = np.random.default_rng([seed, len(batch)])
        d, samples, others, parameters = 1 + seed % 3, 1 + seed % 4, 1 + seed % 2, 2
        ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])

        def real(*shape):
            return ratio(rng.integers(-12, 12, (*batch, *shape)))

        def positive(*shape):
            return ratio(rng.integers(2, 20, (*batch, *shape)))

        self.samples, self.others, self.gradients = real(samples, d), real(others, d), real(samples, d)
        self.jacobians = real(others, d, parameters)
        self.mean, self.slope, self.deviation, self.curvature = real(d), real(d), positive(d), positive(d)
        self.variance = self.deviation * self.deviation
        self.bandwidth, self.alpha, self.width = (np.asarray(positive(), dtype=object)[()] for _ in range(3))
        below = real(d, d)
        self.factor = np.where(np.tri(d, k=-1) > 0, below, np.where(np.eye(d) > 0, positive(d)[..., None], 0 * below))
        self.logs = real(4)
        self.log_jacobians = real(4)


def kernels(s, c):
    points, others, b = s.number(c.samples), s.number(c.others), s.number(c.bandwidth)
    return rbf_kernel(points, others, b), rbf_kernel_gradient(points, others, b)


def gaussian(s, c, *names):
    return (s.number(getattr(c, name)) for name in (*names, "slope", "curvature", "bandwidth", "alpha"))


ENTRIES = {
    "rbf_kernel": lambda s, c: kernels(s, c)[0],
    "rbf_kernel_gradient": lambda s, c: kernels(s, c)[1],
    "polynomial_kernel": lambda s, c: polynomial_kernel(s.number(c.samples), s.number(c.others), 3),
    "polynomial_kernel_gradient": lambda s, c: polynomial_kernel_gradient(s.number(c.samples), s.number(c.others), 2),
    "svgd_direction": lambda s, c: svgd_direction(*kernels(s, c), s.number(c.gradients), s.number(c.alpha)),
    "amortised_update": lambda s, c: amortised_update(s.number(c.others), s.number(c.jacobians)),
    "gaussian_direction": lambda s, c: gaussian_direction(*gaussian(s, c, "others", "mean", "variance")),
    "gaussian_discrepancy": lambda s, c: gaussian_discrepancy(*gaussian(s, c, "variance")),
    "gaussian_direction_moments": lambda s, c: gaussian_direction_moments(*gaussian(s, c, "deviation")),
    "uniform_repulsion": lambda s, c: uniform_repulsion(
        s.number(c.others[..., 0]), *(s.number(x) for x in (c.width, c.bandwidth, c.alpha))
    ),
    "log_density_of_image": lambda s, c: log_density_of_image(s.number(c.logs), s.number(c.log_jacobians)),
    "log_density_over_preimages": lambda s, c: log_density_over_preimages(s.number(c.logs), s.number(c.log_jacobians)),
    "triangular_log_jacobian": lambda s, c: triangular_log_jacobian(s.number(c.factor)),
}


def test_every_public_formula_has_an_entry():
    assert {"DirectionMoments", *ENTRIES} == {*particles.__all__, *change_of_variables.__all__}


@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
@pytest.mark.parametrize("name", ENTRIES)
def test_floats_and_tensors_lie_near_the_enclosure(name, batch):
    for seed in SEEDS:
        case = Case(seed, batch)
        with precision(BITS):
            views = [parts(ENTRIES[name](view, case)) for view in (Floats(), Tensors(), Intervals())]
            for found, tensors, enclosed in zip(*views, strict=True):
                assert found.shape == tuple(tensors.shape) == enclosed.shape
                for x, y, (low, high) in zip(
                    np.ravel(found), np.ravel(tensors.numpy()), enclosed.bounds(), strict=True
                ):
                    assert 0 <= high - low < Fraction(1, 2**120) * (1 + abs(low))
                    for value in (x, y):
                        assert abs(Fraction(float(value)) - low) <= Fraction(ROUNDING) * (1000 + abs(low))


# The kernels and the direction, by definition


def test_kernels_by_hand():
    """exp(-(1 - 3)^2 / 2) = exp(-2), its derivative in the first argument is 2 exp(-2); (1 + 3)^2 = 16, 2 * 4 * 3."""
    x, y, b = np.array([[1.0]]), np.array([[3.0]]), np.float64(2)
    assert math.isclose(rbf_kernel(x, y, b)[0, 0], math.exp(-2))
    assert math.isclose(rbf_kernel_gradient(x, y, b)[0, 0, 0], 2 * math.exp(-2))
    assert polynomial_kernel(x, y, 2)[0, 0] == 16
    assert polynomial_kernel_gradient(x, y, 2)[0, 0, 0] == 24
    assert polynomial_kernel_gradient(x, y, 1)[0, 0, 0] == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_of_kernels_are_what_autograd_finds(seed):
    case, s = Case(seed), Tensors()
    points, others, b = s.number(case.samples).requires_grad_(), s.number(case.others), s.number(case.bandwidth)
    for kernel, gradient in (
        (rbf_kernel(points, others, b), rbf_kernel_gradient(points, others, b)),
        (polynomial_kernel(points, others, 3), polynomial_kernel_gradient(points, others, 3)),
    ):
        for i in range(kernel.shape[0]):
            for j in range(kernel.shape[1]):
                (found,) = torch.autograd.grad(kernel[i, j], points, retain_graph=True)
                assert torch.allclose(found[i], gradient[i, j].detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_direction_by_plain_loops(seed):
    case, s = Case(seed), Floats()
    a, y, g = (np.array(x, dtype=float) for x in (case.samples, case.others, case.gradients))
    b, alpha = float(case.bandwidth), float(case.alpha)
    found = svgd_direction(*kernels(s, case), g, alpha)
    for j in range(len(y)):
        total = np.zeros(y.shape[1])
        for i in range(len(a)):
            k = math.exp(-sum((a[i] - y[j]) ** 2) / b)
            total += k * g[i] - alpha * 2 * (a[i] - y[j]) / b * k
        assert np.allclose(found[j], total / len(a), rtol=1e-12)
    update = amortised_update(found, np.array(case.jacobians, dtype=float))
    loops = sum(found[j] @ np.array(case.jacobians[j], dtype=float) for j in range(len(y))) / len(y)
    assert np.allclose(update, loops, rtol=1e-12)


def test_one_sample_follows_the_gradient_and_two_keep_apart():
    """A sample does not push itself; where Q is constant two samples move away from each other."""
    one = np.array([[0.5]])
    b = np.float64(1)
    alone = svgd_direction(rbf_kernel(one, one, b), rbf_kernel_gradient(one, one, b), np.array([[3.0]]), 7.0)
    assert alone[0, 0] == 3
    two = np.array([[0.0], [1.0]])
    apart = svgd_direction(rbf_kernel(two, two, b), rbf_kernel_gradient(two, two, b), np.zeros((2, 1)), 1.0)
    assert apart[0, 0] < 0 < apart[1, 0]
    assert math.isclose(apart[1, 0], math.exp(-1))


# Closed forms for Gaussians, by quadrature


# Trapezoidal sums over the noise converge faster than any power for such integrands.
NOISE = np.arange(-60, 61) / 5
WEIGHTS = np.exp(-NOISE * NOISE / 2) / (5 * math.sqrt(2 * math.pi))
TINY = 1e-30


def drawn(seed):
    """A policy, the centre and curvature of Q, bandwidth and temperature in one dimension."""
    rng = np.random.default_rng(seed)
    m, c = rng.integers(-9, 9, 2) / 7
    sigma, h, b, alpha = rng.integers(4, 15, 4) / 7
    return m, sigma, c, h, b, alpha


def direction_at(y, slope, m, sigma, b, alpha):
    """Eq. 13 at points y, which may be complex, for a gradient of Q."""
    a = (m + sigma * NOISE)[:, None]
    kernel = np.exp(-((a - y) ** 2) / b)
    return WEIGHTS @ (kernel * slope(a) - alpha * 2 * (a - y) / b * kernel)


def derivative(f, y):
    """The complex step: f(y + it) / t, its imaginary part, has no cancellation."""
    return np.imag(f(y + 1j * TINY)) / TINY


@pytest.mark.parametrize("seed", SEEDS)
def test_closed_forms_for_one_coordinate_by_quadrature(seed):
    m, sigma, c, h, b, alpha = drawn(seed)
    slope = lambda a: -h * (a - c)
    direction = lambda y: direction_at(y, slope, m, sigma, b, alpha)
    policy = np.array([m]), np.array([sigma**2]), np.array([slope(m)]), np.array([h])
    numbers = np.float64(b), np.float64(alpha)
    points = np.array([m, m + 1, -2.0])
    assert np.allclose(gaussian_direction(points[:, None], *policy, *numbers)[:, 0], direction(points), rtol=1e-11)
    samples = m + sigma * NOISE
    moments = gaussian_direction_moments(np.array([sigma]), *policy[2:], *numbers)
    assert np.isclose(moments.mean[0], WEIGHTS @ direction(samples), rtol=1e-11, atol=1e-13)
    assert np.isclose(moments.noise[0], WEIGHTS @ (direction(samples) * NOISE), rtol=1e-11, atol=1e-13)
    # the squared length is the direction under Stein's operator: E [Q' f + alpha f']
    squared = WEIGHTS @ (slope(samples) * direction(samples) + alpha * derivative(direction, samples))
    assert np.isclose(gaussian_discrepancy(*policy[1:], *numbers), squared, rtol=1e-11, atol=1e-13)


def test_coordinates_that_are_at_the_target_only_damp_the_others():
    """With g = 0 and alpha = h v in a coordinate, all that it leaves is its factor (b / (b + 4 v))^(1/2)."""
    one = gaussian_discrepancy(np.array([2.0]), np.array([3.0]), np.array([1.0]), 5.0, 1.5)
    both = gaussian_discrepancy(np.array([2.0, 0.5]), np.array([3.0, 0.0]), np.array([1.0, 3.0]), 5.0, 1.5)
    assert math.isclose(both, one * math.sqrt(5 / 7))
    assert gaussian_discrepancy(np.array([0.5]), np.array([0.0]), np.array([3.0]), 5.0, 1.5) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_divergence_falls_at_the_rate_of_the_squared_length(seed):
    """KL of the samples that were moved, by the change of variables and quadrature, for a Q with two peaks.

    KL(T pi || p) is E [log pi(a) - log T'(a) - Q(T a) / alpha] + const; its derivative is the complex step's.
    """
    m, sigma, c, _, b, alpha = drawn(seed)
    q = lambda a: -((a * a - 1) ** 2) / 4 + c * a / 5
    slope = lambda a: -a * (a * a - 1) + c / 5
    direction = lambda y: direction_at(y, slope, m, sigma, b, alpha)
    samples = m + sigma * NOISE
    moved, stretched = direction(samples), derivative(direction, samples)
    divergence = lambda step: WEIGHTS @ (-np.log(1 + step * stretched) - q(samples + step * moved) / alpha)
    rate = derivative(divergence, 0.0)
    # the squared length, E_{a,y} [k Q'(a) Q'(y) + alpha k_y Q'(a) + alpha k_a Q'(y) + alpha^2 k_ay]
    a, y = samples[:, None], samples[None, :]
    k, gap = np.exp(-((a - y) ** 2) / b), a - y
    mixed = (2 / b - 4 * gap * gap / b**2) * k
    both = k * slope(a) * slope(y) + alpha * 2 * gap / b * k * (slope(a) - slope(y)) + alpha**2 * mixed
    length = WEIGHTS @ both @ WEIGHTS
    assert length > 0
    assert np.isclose(rate, -length / alpha, rtol=1e-9)
    # no function of the kernel's space that is as long makes it fall faster
    rng = np.random.default_rng(seed)
    for _ in range(5):
        points, weights = rng.normal(size=3), rng.normal(size=3)
        other = lambda y, z=points, w=weights: sum(u * np.exp(-((x - y) ** 2) / b) for u, x in zip(w, z, strict=True))
        squared = weights @ np.exp(-((points[:, None] - points) ** 2) / b) @ weights
        fall = WEIGHTS @ (slope(samples) * other(samples) / alpha + derivative(other, samples))
        assert abs(fall) <= math.sqrt(squared * length) / alpha * (1 + 1e-12)


@pytest.mark.parametrize(("y", "w", "b", "alpha"), [(2, 1, 3, 2), (0, 4, 1, 1), (1, 2, 5, 3)])
def test_uniform_repulsion_by_quadrature(y, w, b, alpha):
    integral = mp.quad(lambda a: -2 * (a - y) / b * mp.exp(-((a - y) ** 2) / b), [0, w])
    found = uniform_repulsion(np.array([float(y)]), *(np.float64(x) for x in (w, b, alpha)))[0]
    assert abs(found - alpha * integral / w) < 1e-13


# The density of images


def test_squaring_brings_two_noises_to_one_action():
    """For xi ~ N(0, 1) and a = xi^2 the density at 1 is that of chi squared: 2 phi(1) / 2; one preimage has half."""
    noise = np.array([[-1.0], [1.0]])
    log_density = gaussian_log_density(noise, noise * 0)
    log_jacobian = np.log(np.abs(2 * noise[:, 0]))
    chi_squared = float(mp.exp(-mp.mpf(1) / 2) / mp.sqrt(2 * mp.pi))
    assert math.isclose(math.exp(log_density_over_preimages(log_density, log_jacobian)), chi_squared)
    assert math.isclose(2 * math.exp(log_density_of_image(log_density, log_jacobian)[0]), chi_squared)


def test_the_complex_exponential_brings_infinitely_many():
    """f(x, y) = e^x (cos 2 pi y, sin 2 pi y): the density of its polar angle and radius, wrapped, by numerical sums."""
    x, y = 0.25, 0.125
    preimages = np.array([[x, y + k] for k in range(-8, 9)])
    log_jacobian = np.full(17, math.log(2 * math.pi) + 2 * x)
    found = math.exp(log_density_over_preimages(gaussian_log_density(preimages, preimages * 0), log_jacobian))
    # log radius ~ N(0, 1); the angle is 2 pi y wrapped, with density theta_3 / (2 pi); da = radius dradius dangle
    radius = mp.exp(x)
    wrapped = mp.jtheta(3, mp.pi * y, mp.exp(-2 * mp.pi**2)) / (2 * mp.pi)
    density = mp.npdf(x) / radius * wrapped / radius
    assert abs(found / density - 1) < 1e-13


def test_triangular_maps_have_the_determinant_of_linear_algebra():
    for seed in SEEDS:
        factor = np.array(Case(seed).factor, dtype=float)
        assert math.isclose(triangular_log_jacobian(factor), np.linalg.slogdet(factor)[1], abs_tol=1e-12)


def test_balls_refuse_a_bandwidth_that_may_be_zero():
    from exactrl.errors import Uncertain

    with precision(64), pytest.raises(Uncertain):
        rbf_kernel(Balls([[1]]), Balls([[2]]), Balls(0))
