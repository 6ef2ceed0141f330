"""Soft Q-learning, Secs. 3.3 and 4, App. C: samples that follow Stein's variational gradient, and their density.

The kernel is k(a, y) = exp(-|a - y|^2 / b) with the bandwidth b, and alpha is the temperature.
"""

from __future__ import annotations

from typing import Any

from flint import arb, fmpq

from .exact_input import Field, Rejected
from .quantities import log, log_sum_exp
from .row import POSITIVE, REAL, IllPosed, Refuted, readings

MAX_TERMS = 4_096


def kernel(a: list[fmpq], y: list[fmpq], bandwidth: fmpq) -> arb:
    """exp(-|a - y|^2 / b)."""
    return arb(-sum(((p - q) * (p - q) for p, q in zip(a, y, strict=True)), fmpq(0)) / bandwidth).exp()


def soft_q_eq13(x: Any, _: list[int]) -> tuple[Any, Any]:
    """How far Eq. 13 moves a sample at the upper end w of [0, w], where actions end: it should not be outwards.

    Q is constant, so what is left is alpha times the mean of dk(a, w)/da over the uniform law on [0, w]; the integral
    of the derivative is k(w, w) - k(0, w).
    """
    w = x.width
    return x.alpha * (kernel([w], [w], x.bandwidth) - kernel([fmpq(0)], [w], x.bandwidth)) / w, fmpq(0)


def soft_q_eq14(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The derivative of J in theta times what Eq. 14 puts in its place; following that should not raise J.

    The sample of noise xi is m + sigma xi + theta (shift + stretch xi), at theta = 0, and Q = -a^2 / 2.  The target is
    N(0, alpha), so that J = (m^2 + v) / (2 alpha) - log sigma + const with v = sigma^2.

    For Eq. 14 let a and y be independent of law N(m, v), and d = a - y, s = a + y - 2m, which are independent N(0, 2v).
    Under the weight k they keep apart: E k = z = (b / (b + 4v))^(1/2), E k s^2 = 2v z, E k d^2 = 2v z b / (b + 4v), and
    odd powers vanish.  With Q'(a) = -a, a - m = (s + d) / 2, y - m = (s - d) / 2 and dk/da = -2 d k / b:
    E [k Q' + alpha dk/da] = -m z, and times y - m it is -E k (s^2 - d^2) / 4 + alpha E k d^2 / b.
    """
    m, sigma, b = x.mean, x.deviation, x.bandwidth
    v = sigma * sigma
    z = arb(b / (b + 4 * v)).sqrt()
    square_of_sum, square_of_gap = 2 * v * z, 2 * v * z * b / (b + 4 * v)
    location = -m * z
    scale = (-(square_of_sum - square_of_gap) / 4 + x.alpha * square_of_gap / b) / sigma
    slope = x.shift * m / x.alpha + x.stretch * (sigma / x.alpha - 1 / sigma)
    return slope * (x.shift * location + x.stretch * scale), fmpq(0)


def soft_q_map(x: Any, _: list[int]) -> tuple[Any, Any]:
    """What the other peak has more than the one at which the actor stays.

    Q'(a) = -(a - p)(a - q)(a - r) is 0 at the peaks p and r, and Q(r) - Q(p) is the integral of Q' from p to r.  With
    t = a - p it is -(t^3 - (g + w) t^2 + g w t) for g = q - p, w = r - p, integrated from 0 to w.
    """
    g = x.gap
    w = g + x.other_gap
    return -(w**4 / 4 - (g + w) * w**3 / 3 + g * w * w**2 / 2), fmpq(0)


def soft_q_appc1(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The printed double sum, and the one that Eqs. 13 and 14 give, which has alpha before the kernel's gradient."""
    parameter = component[0]
    printed, substituted = arb(0), arb(0)
    for y, jacobian in zip(x.others, x.jacobians, strict=True):
        for a, gradient in zip(x.samples, x.gradients, strict=True):
            k = kernel(a, y, x.bandwidth)
            for i, (p, q) in enumerate(zip(a, y, strict=True)):
                drop = -2 * (p - q) / x.bandwidth * k
                printed += (k * gradient[i] + drop) * jacobian[i][parameter]
                substituted += (k * gradient[i] + x.alpha * drop) * jacobian[i][parameter]
    count = len(x.samples) * len(x.others)
    return printed / count, substituted / count


def soft_q_eq33(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The log density that three noises bring to the action f(x, y), against the log of the printed one.

    f(x, y) = e^x (cos(2 pi y / T), sin(2 pi y / T)) has the derivatives f in x and (2 pi / T) e^x (-sin, cos) in y; its
    determinant is (2 pi / T) e^(2x), and (x, y - T), (x, y), (x, y + T) are mapped to one action.
    """
    determinant = log(2 * arb.pi() / x.period) + 2 * x.first

    def log_density(y: Any) -> Any:
        return -arb(x.first * x.first + y * y) / 2 - log(2 * arb.pi()) - determinant

    return log_sum_exp([log_density(x.second + k * x.period) for k in (-1, 0, 1)]), log_density(x.second)


def nothing_to_bound(x: Any, _: str) -> None:
    """A few numbers."""


def few_samples(x: Any, _: str) -> None:
    """Bound the double sum."""
    if len(x.samples) * len(x.others) * len(x.samples[0]) > MAX_TERMS:
        raise Rejected(f"samples: more than {MAX_TERMS} terms")


SAMPLES = {
    "samples": Field("real", ("m", "d")),
    "others": Field("real", ("k", "d")),
    "gradients": Field("real", ("m", "d")),
    "jacobians": Field("real", ("k", "d", "parameters")),
    "bandwidth": POSITIVE,
    "alpha": POSITIVE,
}
NETWORK = {
    **dict.fromkeys(("mean", "shift", "stretch"), REAL),
    **dict.fromkeys(("deviation", "bandwidth", "alpha"), POSITIVE),
}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("soft_q.eq13.direction", "the samples stay among the actions"): Refuted(
        "<=", readings({"width": POSITIVE, "bandwidth": POSITIVE, "alpha": POSITIVE}), soft_q_eq13,
        "how far samples at the edge are moved outwards", "0", domain=nothing_to_bound,
    ),
    ("soft_q.eq14.descent", "J does not rise"): Refuted(
        "<=", readings(NETWORK), soft_q_eq14, "the rate at which J changes along Eq. 14", "0",
        domain=nothing_to_bound,
    ),
    ("soft_q.sec4.map", "a MAP action"): Refuted(
        "<=", readings({"gap": POSITIVE, "other_gap": POSITIVE}), soft_q_map,
        "what the other peak has more", "0", domain=nothing_to_bound,
    ),
    ("soft_q.appc1", "substituted"): Refuted(
        "==", readings(SAMPLES), soft_q_appc1, "the printed estimate", "Eqs. 13 and 14", component=("parameters",),
        domain=few_samples,
    ),
    ("soft_q.eq33", "density"): Refuted(
        "<=", readings({"first": REAL, "second": REAL, "period": POSITIVE}), soft_q_eq33,
        "the log density of three noises together", "the printed log density", domain=nothing_to_bound,
    ),
}  # fmt: skip
