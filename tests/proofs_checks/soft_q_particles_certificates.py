"""Instances that refute claims of Secs. 3.3 and 4 and App. C of soft Q-learning, and both sides by another road.

Expectations are sums over the noise, derivatives are taken numerically, and preimages are tried out.
"""

from __future__ import annotations

from typing import Any

from mpmath import cos, det, diff, exp, log, matrix, mp, mpf, npdf, pi, quad, sin


def kernel(a: list[Any], y: list[Any], bandwidth: Any) -> Any:
    return exp(-sum((p - q) ** 2 for p, q in zip(a, y, strict=True)) / bandwidth)


def at_the_edge(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The mean of the kernel's derivative over uniform samples, by quadrature."""
    w, b = x["width"], x["bandwidth"]
    mean = quad(lambda a: -2 * (a - w) / b * exp(-((a - w) ** 2) / b), [0, w / 3, w]) / w
    return x["alpha"] * mean, mpf(0)


def over_noise(f: Any) -> Any:
    """Trapezoidal sums of a smooth function against the normal density converge faster than any power."""
    return mp.fsum(npdf(mpf(k) / 5) / 5 * f(mpf(k) / 5) for k in range(-60, 61))


def uphill(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """Eq. 13 at every sample by summing over the others, Eq. 14 by summing again, and J along the network."""
    m, sigma, b = x["mean"], x["deviation"], x["bandwidth"]

    def direction(y: Any) -> Any:
        def term(noise: Any) -> Any:
            a = m + sigma * noise
            return exp(-((a - y) ** 2) / b) * (-a - x["alpha"] * 2 * (a - y) / b)

        return over_noise(term)

    def divergence(t: Any) -> Any:
        mean, deviation = m + t * x["shift"], sigma + t * x["stretch"]
        return (mean**2 + deviation**2) / (2 * x["alpha"]) - log(deviation)

    with mp.workdps(35):
        update = over_noise(lambda noise: direction(m + sigma * noise) * (x["shift"] + x["stretch"] * noise))
        return diff(divergence, 0) * update, mpf(0)


def other_peak(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    g, w = x["gap"], x["gap"] + x["other_gap"]
    return quad(lambda a: -a * (a - g) * (a - w), [0, g, w]), mpf(0)


def without_temperature(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The kernel's gradient by numerical derivatives, one coordinate after the other."""
    sides = []
    for factor in (mpf(1), x["alpha"]):
        terms = []
        for y, jacobian in zip(x["others"], x["jacobians"], strict=True):
            for a, gradient in zip(x["samples"], x["gradients"], strict=True):
                for i, slope in enumerate(gradient):
                    along = lambda t, i=i, a=a, y=y: kernel(
                        [p + t * (j == i) for j, p in enumerate(a)], y, x["bandwidth"]
                    )
                    term = along(0) * slope + factor * diff(along, 0)
                    terms.append(term * jacobian[i][component[0]])
        sides.append(mp.fsum(terms) / (len(x["samples"]) * len(x["others"])))
    return sides[0], sides[1]


def folded(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The Jacobian matrix of the map by numerical derivatives at the three noises, which it takes to one action."""
    period = x["period"]
    f = [
        lambda u, v: exp(u) * cos(2 * pi * v / period),
        lambda u, v: exp(u) * sin(2 * pi * v / period),
    ]

    def density(v: Any) -> Any:
        assert all(abs(g(x["first"], v) - g(x["first"], x["second"])) < mpf(10) ** -30 for g in f)
        jacobian = matrix([[diff(g, (x["first"], v), order) for order in ((1, 0), (0, 1))] for g in f])
        return npdf(x["first"]) * npdf(v) / abs(det(jacobian))

    values = [density(x["second"] + k * period) for k in (-1, 0, 1)]
    return log(sum(values)), log(values[1])


#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "soft_q.eq13.direction", "<=", "the samples stay among the actions", at_the_edge, [],
        {"width": "3/2", "bandwidth": "2", "alpha": "1/3"},
    ),
    (
        "soft_q.eq14.descent", "<=", "J does not rise", uphill, [],
        {"mean": "2", "shift": "1", "stretch": "3/2", "deviation": "1", "bandwidth": "2", "alpha": "4"},
    ),
    ("soft_q.sec4.map", "<=", "a MAP action", other_peak, [], {"gap": "2/3", "other_gap": "5/4"}),
    (
        "soft_q.appc1", "==", "substituted", without_temperature, [0],
        {
            "samples": [["0", "1"], ["1/2", "-1"]], "others": [["1", "1"], ["-1/3", "2"], ["0", "0"]],
            "gradients": [["1", "-2"], ["3", "1/2"]],
            "jacobians": [[["2"], ["3"]], [["1"], ["1/2"]], [["-1"], ["1"]]],
            "bandwidth": "3/2", "alpha": "5/2",
        },
    ),
    ("soft_q.eq33", "<=", "density", folded, [], {"first": "1/2", "second": "-1/4", "period": "5/4"}),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE: dict[str, set[str]] = {}
