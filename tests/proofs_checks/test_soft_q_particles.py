"""The verdicts on Secs. 3.3 and 4 and App. C of soft Q-learning, held against sums over the noise and simulations.

Nothing here uses the library's formulas, except the last part, which plants falsehoods to see them refuted.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from scipy import integrate, stats

from exactrl.formulas.particles import rbf_kernel
from proofs_checks import certify, verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.claims.soft_q import section4, section33
from proofs_checks.claims.soft_q.matrices import times
from proofs_checks.falsify import Budget, search
from tests.proofs_checks import judging, soft_q_particles_certificates
from tests.proofs_checks.second_routes import refuted

SMALL = Budget(draws=200, generations=3, population=120, suspects=4, swept=1)
SEEDS = range(8)

LITERAL_AND_INTENDED = {
    "soft_q.eq13.direction": ("refuted", "survived"),
    "soft_q.eq14": ("survived", "survived"),
    "soft_q.eq14.descent": ("refuted", "survived"),
    "soft_q.sec4.lqr": ("survived", "survived"),
    "soft_q.sec4.map": ("refuted", "survived"),
    "soft_q.appc1": ("refuted", "survived"),
    "soft_q.appc2.optimal": ("survived", "survived"),
    "soft_q.eq33": ("refuted", "survived"),
}

NOISE = np.arange(-60, 61) / 5
WEIGHTS = np.exp(-NOISE * NOISE / 2) / (5 * math.sqrt(2 * math.pi))


# (a) The counterexamples, by hand.


def test_samples_leave_a_bounded_set_of_actions() -> None:
    """Samples uniform on [0, 1], A = [-1, 1], Q = 0: the sample at 1 moves by 1 - 1/e, and KL was log 2."""
    samples = (np.arange(200_000) + 0.5) / 200_000
    away = np.mean(-2 * (samples - 1) * np.exp(-((samples - 1) ** 2)))
    assert away == pytest.approx(1 - math.exp(-1), abs=1e-6)
    assert away > 0


def test_following_the_direction_raises_the_divergence() -> None:
    """m = 1, sigma = 2, Q = -a^2 / 2: theta falls by 5 / 17^(3/2) while J falls with rising theta at the rate 1/2."""
    a, y = (1 + 2 * NOISE)[:, None], (1 + 2 * NOISE)[None, :]
    kernel = np.exp(-((a - y) ** 2))
    direction = WEIGHTS @ (kernel * -a - 2 * (a - y) * kernel)
    update = WEIGHTS @ (direction * (1 - NOISE))
    assert update == pytest.approx(-5 / 17**1.5, rel=1e-12)
    divergence = lambda theta: ((1 + theta) ** 2 + (2 - theta) ** 2) / 2 - math.log(2 - theta)
    assert divergence(1e-3 * update) > divergence(0)
    assert divergence(-1e-3 * update) < divergence(0)


def test_the_actor_without_repulsion_ends_at_the_lesser_peak() -> None:
    """Q' = -a (a - 1) (a - 3): what starts below 1 ends at 0, what starts above ends at 3, where Q is 9/4 higher."""
    samples = np.array([-1.0, 0.3, 0.9, 1.1, 5.0])
    for _ in range(4000):
        samples = samples - 0.005 * samples * (samples - 1) * (samples - 3)
    assert np.allclose(samples, [0, 0, 0, 3, 3], atol=1e-6)
    rise, _ = integrate.quad(lambda a: -a * (a - 1) * (a - 3), 0, 3)
    assert rise == pytest.approx(9 / 4)


def test_weights_of_the_kernel_alone_keep_two_modes_apart() -> None:
    """With gradients weighted by the kernel but no repulsion, two samples settle at two different peaks."""
    samples = np.array([0.4, 2.5])
    for _ in range(4_000):
        gradients = -samples * (samples - 1) * (samples - 3)
        kernel = np.exp(-((samples[:, None] - samples) ** 2))
        samples = samples + 0.05 * kernel @ gradients / 2
    assert np.allclose(samples, [0, 3], atol=1e-6)


def test_the_estimate_without_temperature() -> None:
    """a = 1, other 0, h = 1, alpha = 2: the derivative of exp(-a^2) at 1 is -2 / e."""
    slope = float(mp.diff(lambda a: mp.exp(-(a**2)), 1))
    assert slope == pytest.approx(-2 / math.e)
    assert 2 * slope != slope


def test_a_map_without_singular_points_that_is_not_injective() -> None:
    """The share of samples near the image of (0, 0), counted, is above what one noise brings and near the sum."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((500_000, 2))
    actions = np.exp(noise[:, :1]) * np.stack([np.cos(2 * np.pi * noise[:, 1]), np.sin(2 * np.pi * noise[:, 1])], -1)
    radius = 0.12
    share = np.mean(((actions - [1, 0]) ** 2).sum(axis=-1) < radius**2) / (np.pi * radius**2)
    printed = 1 / (2 * np.pi) / (2 * np.pi)
    assert share == pytest.approx(printed * (1 + 2 * math.exp(-0.5) + 2 * math.exp(-2)), rel=0.1)
    assert share > 2 * printed


COUNTEREXAMPLES: list[tuple[str, Any]] = [
    ("soft_q.eq13.direction", {"width": "1", "bandwidth": "1", "alpha": "1"}),
    (
        "soft_q.eq14.descent",
        {"mean": "1", "deviation": "2", "bandwidth": "1", "alpha": "1", "shift": "1", "stretch": "-1"},
    ),
    ("soft_q.sec4.map", {"gap": "1", "other_gap": "2"}),
    (
        "soft_q.appc1",
        {
            "samples": [["1"]], "others": [["0"]], "gradients": [["0"]], "jacobians": [[["1"]]], "bandwidth": "1",
            "alpha": "2",
        },
    ),
    ("soft_q.eq33", {"first": "0", "second": "0", "period": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "data"), COUNTEREXAMPLES, ids=[c for c, _ in COUNTEREXAMPLES])
def test_the_counterexamples_refute_the_literal_reading_alone(claim: str, data: Any) -> None:
    readings = registry()[claim].readings
    instance = readings["literal"].space.from_json(data)
    assert certify.examine(readings["literal"], instance).outcome == "violated"
    if readings["intended"].space.permits(instance):
        assert certify.examine(readings["intended"], instance, most_bits=256).outcome in ("satisfied", "tied")


# (b) The quantities of the claims, by sums over the noise and by brute force.


def drawn(claim: str, reading: str, seed: int, **sizes: int) -> tuple[Any, Any]:
    """A batch of instances of a reading, and its checks by name."""
    found = registry()[claim].readings[reading]
    batch = found.space.draw(np.random.default_rng(seed), 40, sizes)
    p = batch.problem()
    with np.errstate(all="ignore"):
        return p, {check.name: check for check in found.checks(p)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_affine_step_by_moving_samples(seed: int) -> None:
    """Eq. 13 for the kernel 1 + xy by sums over the noise; the divergence by E [log pi - log T' - Q / alpha]."""
    p, checks = drawn("soft_q.eq13.direction", "intended", seed, d=1, k=1)
    check = checks["a step lowers the divergence"]
    for i in range(40):
        m, sigma, c, h = (float(x[i, 0]) for x in (p.mean, p.deviation, p.centre, p.curvature))
        alpha, share = float(p.alpha[i]), float(p.share[i])
        a = m + sigma * NOISE
        slope = WEIGHTS @ (a * -h * (a - c) + alpha)
        pull = WEIGHTS @ (-h * (a - c))
        rate = (pull**2 + slope**2) / alpha
        bend = h / alpha * ((pull + slope * m) ** 2 + (sigma * slope) ** 2) + 4 * slope**2
        step = share * rate / (bend + 2 * abs(slope) * rate + 1)

        def divergence(
            t: float, a=a, pull=pull, slope=slope, sigma=sigma, c=c, h=h, alpha=alpha
        ) -> float:  # the values of this round
            moved = a + t * (pull + slope * a)
            density = -NOISE * NOISE / 2 - math.log(sigma * (1 + t * slope))
            target = -h * (moved - c) ** 2 / (2 * alpha) + math.log(h / alpha) / 2
            return float(WEIGHTS @ (density - target))

        size = 1 + abs(divergence(0)) + h / alpha * (m * m + c * c + sigma * sigma)
        assert abs(divergence(step) - check.left[i]) < 1e-9 * size
        assert abs(divergence(0) - step * rate / 2 - check.right[i]) < 1e-9 * size


@pytest.mark.parametrize("seed", SEEDS)
def test_the_challengers_by_sums_over_the_noise(seed: int) -> None:
    """The rate at which the divergence falls along sum w k(z, .), times alpha, is what the claim squares."""
    p, checks = drawn("soft_q.eq13.direction", "intended", seed, d=1, k=2)
    check = checks["no direction is faster"]
    for i in range(40):
        m, sigma, c, h = (float(x[i, 0]) for x in (p.mean, p.deviation, p.centre, p.curvature))
        b, alpha = float(p.bandwidth[i]), float(p.alpha[i])
        if sigma * sigma > 5 * b:
            continue  # too narrow a kernel for the sums
        y = m + sigma * NOISE
        z, w = p.points[i, :, 0], p.weights[i, :, 0]
        k = np.exp(-((y[:, None] - z) ** 2) / b)
        rate = WEIGHTS @ ((-h * (y - c))[:, None] * k - alpha * 2 * (y[:, None] - z) / b * k) @ w
        scale = np.abs(w).sum() * (h * (abs(m - c) + sigma) + alpha / math.sqrt(b))
        assert abs(check.left[i] - rate**2) <= 1e-7 * scale**2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tangent_of_the_chain_rule(seed: int) -> None:
    """J is convex in location and scale; its derivative along the network is that of the tangent in the claim."""
    p, checks = drawn("soft_q.eq14", "literal", seed)
    check = checks["tangent"]

    def divergence(mean: Any, deviation: Any) -> Any:
        return p.curvature * ((mean - p.centre) ** 2 + deviation**2) / (2 * p.alpha) - np.log(deviation)

    move, stretch = p.other_mean - p.mean, p.other_deviation - p.deviation
    rise = divergence(p.other_mean, p.other_deviation) - divergence(p.mean, p.deviation)
    reach = (abs(p.mean) + abs(p.other_mean) + abs(p.centre) + p.deviation + p.other_deviation) ** 2
    size = 1 + p.curvature / p.alpha * reach + p.other_deviation / p.deviation
    assert np.all(abs(rise - check.left) < 1e-11 * size)
    t = 1e-30
    slope = divergence(p.mean + 1j * t * move, p.deviation + 1j * t * stretch).imag / t
    assert np.all(abs(slope - check.right) < 1e-11 * size)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "m", "steps"), [(1, 1, 3), (2, 1, 2), (2, 2, 3)])
def test_the_mean_is_the_best_first_control_of_all(seed: int, n: int, m: int, steps: int) -> None:
    """The whole cost is quadratic in the controls: its Hessian and gradient from exact differences, in fractions."""
    found = registry()["soft_q.sec4.lqr"].readings["literal"]
    batch = found.space.draw(np.random.default_rng(seed), 1, {"n": n, "m": m, "steps": steps})
    with np.errstate(all="ignore"):
        check = found.checks(batch.problem())[0]
    x = batch.exact(0)
    factor = np.tril(x["control_below"], -1) + np.diag(x["control_diagonal"])
    S, R = x["state_factor"] @ x["state_factor"].T, factor @ factor.T

    def cost(controls: Any) -> Fraction:
        state, total, discount = x["state"], Fraction(0), Fraction(1)
        for u in controls.reshape(steps, m):
            total += discount * (state @ S @ state + u @ R @ u)
            state, discount = x["transition"] @ state + x["control"] @ u, discount * x["discount"]
        return total + discount * (state @ S @ state)

    if x["discount"] == 0:
        steps, size = 1, m
    else:
        size = steps * m
    units = np.array([[Fraction(int(i == j)) for j in range(size)] for i in range(size)], dtype=object)
    gradient = [float((cost(e) - cost(-e)) / 2) for e in units]
    hessian = [[float(cost(e + f) - cost(e) - cost(f) + cost(0 * e)) for f in units] for e in units]
    best = np.linalg.lstsq(np.array(hessian), -np.array(gradient), rcond=None)[0][:m]
    assert np.allclose(check.left[0], best, rtol=1e-5, atol=1e-6)
    assert np.allclose(check.right[0], best, rtol=1e-5, atol=1e-6)


def test_the_variance_of_a_proposal_by_quadrature() -> None:
    p, checks = drawn("soft_q.appc2.optimal", "literal", 3, actions=2)
    check = checks["no Gaussian proposal has less variance"]
    compared = 0
    for i in range(40):
        c, h, height, alpha, m, e = (
            float(getattr(p, name)[i]) for name in ("centre", "curvature", "height", "alpha", "mean", "excess")
        )
        v = alpha * (1 + e) / (2 * h)
        width = math.sqrt(v / e)
        if not (0.05 < e < 50 and abs(m - c) < 4 * math.sqrt(v) and abs(height) < 100 * alpha):
            continue
        middle = c - (m - c) / e
        a = middle + width * np.linspace(-12, 12, 4001)
        log_integrand = 2 * (height - h * (a - c) ** 2 / 2) / alpha - stats.norm.logpdf(a, m, math.sqrt(v))
        top = log_integrand.max()
        area = integrate.simpson(np.exp(log_integrand - top), x=a)
        assert check.left[i] == pytest.approx(top + math.log(area), abs=1e-7 * (1 + abs(top)))
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_densities_of_injective_maps(seed: int) -> None:
    p, checks = drawn("soft_q.eq33", "intended", seed, n=2)
    for i in range(40):
        factor = np.array([[p.diagonal[i, 0], 0], [p.below[i, 1, 0], p.diagonal[i, 1]]])
        law = stats.multivariate_normal([0, 0], factor @ factor.T, allow_singular=True)
        expected = law.logpdf(factor @ p.noise[i])
        assert checks["affine"].left[i] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        # what tanh(x / 2) does to logistic noise, by the probability between two near actions
        x = float(np.clip(p.logit[i], -8, 8))
        ends = np.tanh(np.array([x - 1e-5, x + 1e-5]) / 2)
        assert np.diff(stats.logistic.cdf([x - 1e-5, x + 1e-5]))[0] / np.diff(ends)[0] == pytest.approx(0.5, rel=1e-6)
        # the density of t + b t^2, by the probability between two near actions
        t, bend = float(p.first[i]), float(p.bend[i])
        image = lambda u, bend=bend: u + bend * u * u
        slope = (image(t + 1e-6) - image(t - 1e-6)) / 2e-6
        assert 1 / slope == pytest.approx(1 / (1 + 2 * bend * t), rel=1e-5)


def test_the_best_step_of_ascent_by_hand() -> None:
    """One sample at 2, Q = -a^2, step 1/2 of 1/2: to 1, and Q rises from -4 to -1, more than 1/2 * 1/4 * 16."""
    reading = registry()["soft_q.sec4.map"].readings["intended"]
    data = {"samples": ["2"], "centre": "0", "curvature": "2", "bandwidth": "1", "share": "1/2"}
    p = reading.space.problem(reading.space.from_json(data))
    rises, uphill, approach = reading.checks(p)
    assert [float(x) for x in (rises.left.data[()], rises.right.data[()])] == [3, 2]
    assert float(uphill.left.data[()]) == 4
    assert float(approach.left.data[0]) == float(approach.right.data[0]) == 1


# (c) The edges.

EDGES: dict[str, list[dict[str, Any]]] = {
    "soft_q.eq13.direction": [
        {"mean": ["0"], "deviation": ["1"], "centre": ["0"], "curvature": ["1"], "bandwidth": "1", "alpha": "1",
         "points": [["0"]], "weights": [["1"]], "share": "1"},
        {"mean": ["1/2"], "deviation": [f"1/{10**9}"], "centre": ["1000000"], "curvature": [f"{10**9}"],
         "bandwidth": f"1/{10**6}", "alpha": f"1/{10**6}", "points": [["1/2"]], "weights": [["1"]], "share": "1"},
        # the direction of the kernel 1 + xy vanishes: pull 1, mean 1, slope 1 - 4 h + alpha = 0 needs pull 0 too
        {"mean": ["0"], "deviation": ["2"], "centre": ["0"], "curvature": ["1/4"], "bandwidth": "5", "alpha": "1",
         "points": [["3"]], "weights": [["-7"]], "share": "1/2"},
    ],
    "soft_q.eq14": [
        {"mean": "0", "deviation": "1", "centre": "0", "curvature": "1", "alpha": "1", "other_mean": "0",
         "other_deviation": "1", "kernel_size": "1", "noise": "0"},
        {"mean": "3", "deviation": f"1/{10**9}", "centre": "-3", "curvature": f"{10**9}", "alpha": f"1/{10**9}",
         "other_mean": "3", "other_deviation": f"{10**9}", "kernel_size": f"1/{10**9}", "noise": "100"},
    ],
    "soft_q.eq14.descent": [
        {"mean": ["0"], "deviation": ["1"], "centre": ["0"], "curvature": ["1"], "bandwidth": "1", "alpha": "1"},
        {"mean": ["5"], "deviation": [f"1/{10**9}"], "centre": ["0"], "curvature": [f"{10**9}"],
         "bandwidth": f"1/{10**9}", "alpha": f"{10**9}"},
    ],
    "soft_q.sec4.lqr": [
        {"transition": [["1"]], "control": [["0"]], "state_factor": [["1"]], "control_diagonal": ["1"],
         "control_below": [["0"]], "discount": "1", "alpha": "1", "state": ["3"], "shift": ["0"],
         "other_diagonal": ["1"], "other_below": [["0"]], "steps": 3},
        {"transition": [["2"]], "control": [["1"]], "state_factor": [["0"]], "control_diagonal": [f"1/{10**9}"],
         "control_below": [["0"]], "discount": "0", "alpha": f"{10**9}", "state": ["-7"], "shift": ["1"],
         "other_diagonal": [f"{10**9}"], "other_below": [["0"]], "steps": 2},
        {"transition": [["1", "5"], ["0", "1"]], "control": [["0", "1"], ["1", "1"]], "control_diagonal": ["1", "2"],
         "state_factor": [["1", "0"], ["1", "0"]], "control_below": [["0", "0"], ["9", "0"]], "discount": "1/2",
         "alpha": "1", "state": ["1", "-1"], "shift": ["0", f"1/{10**30}"], "other_diagonal": ["1", "1"],
         "other_below": [["0", "0"], ["0", "0"]], "steps": 3},
    ],
    "soft_q.sec4.map": [
        {"samples": ["1", "1"], "centre": "1", "curvature": "1", "bandwidth": "1", "share": "1"},
        {"samples": ["1", f"{10**9}"], "centre": "0", "curvature": f"1/{10**9}", "bandwidth": f"{10**9}",
         "share": "1"},
        {"samples": ["1", "-1", "0"], "centre": "0", "curvature": "9", "bandwidth": f"1/{10**9}", "share": "0"},
    ],
    "soft_q.appc1": [
        {"samples": [["1"]], "others": [["1"]], "gradients": [["7"]], "jacobians": [[["1"]]], "bandwidth": "1",
         "alpha": f"{10**9}"},
        {"samples": [["1", "0"], ["0", "1"]], "others": [["1", "0"], ["0", "1"]], "gradients": [["1", "2"], ["3", "4"]],
         "jacobians": [[["1"], ["2"]], [["-1"], ["0"]]], "bandwidth": f"1/{10**6}", "alpha": "1/7"},
    ],
    "soft_q.appc2.optimal": [
        {"centre": "0", "curvature": "1", "height": "0", "alpha": "1", "action": "100", "mean": "0", "excess": "1",
         "action_values": ["0"], "proposal": ["1"]},
        {"centre": "1", "curvature": f"{10**9}", "height": "-5", "alpha": f"1/{10**9}", "action": "0", "mean": "9",
         "excess": f"1/{10**9}", "action_values": ["0", "1000"],
         "proposal": [f"1/{10**300}", f"{10**300 - 1}/{10**300}"]},
    ],
    "soft_q.eq33": [
        {"diagonal": ["1"], "below": [["0"]], "noise": ["0"], "logit": "0", "first": "0", "second": "0", "bend": "0"},
        {"diagonal": [f"1/{10**9}", f"{10**9}"], "below": [["0", "0"], [f"{10**9}", "0"]], "noise": ["9", "-9"],
         "logit": "-5000", "first": "1", "second": "0", "bend": f"{10**9}"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("claim", EDGES)
def test_edges(claim: str) -> None:
    reading = registry()[claim].readings["intended"]
    for data in EDGES[claim]:
        outcome = certify.examine(reading, reading.space.from_json(data), most_bits=1024).outcome
        assert outcome in ("satisfied", "tied"), data


# (d) The verdicts and their certificates.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


CERTIFICATES = [refuted("literal", row) for row in soft_q_particles_certificates.INSTANCES]


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=[c["claim"] for c in CERTIFICATES])
def test_the_checker_and_the_library_have_the_values_of_the_second_route(certificate: dict[str, Any]) -> None:
    assert certificate["claim"] in checker.check(json.dumps(certificate).encode())
    reading = registry()[certificate["claim"]].readings["literal"]
    verdict, own, _ = verify._settle_instance(reading, certificate["instance"])
    assert verdict == "refuted"
    assert own is not None
    if own["component"] == certificate["component"]:
        assert (own["left"], own["right"]) == (certificate["left"], certificate["right"])


def moved(certificate: dict[str, Any]) -> Any:
    """The certificate with one number of its instance doubled and a seventh added, each in turn."""
    for name, value in certificate["instance"].items():
        places = list(itertools.product(*(range(k) for k in np.shape(value)))) or [()]
        for place in places:
            changed = copy.deepcopy(certificate)
            target, key = changed["instance"], name
            for index in place:
                target, key = target[key], index
            target[key] = str(2 * Fraction(target[key]) + Fraction(1, 7))
            yield changed


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=[c["claim"] for c in CERTIFICATES])
def test_every_number_of_a_certificate_counts(certificate: dict[str, Any]) -> None:
    for changed in moved(certificate):
        assert changed["instance"] != certificate["instance"]
        with pytest.raises(checker.Rejected):
            checker.check(json.dumps(changed).encode())


def test_every_parameter_has_a_component_of_its_own() -> None:
    """With a second column of derivatives each component has its own sides, and those of the other one are refused."""
    (row,) = (row for row in soft_q_particles_certificates.INSTANCES if row[0] == "soft_q.appc1")
    *words, _, x = copy.deepcopy(row)
    for rows in x["jacobians"]:
        for entries in rows:
            entries.append(str(2 * Fraction(entries[0]) + 1))
    first, second = (refuted("literal", (*words, [column], x)) for column in (0, 1))
    alone = next(c for c in CERTIFICATES if c["claim"] == "soft_q.appc1")
    assert (first["left"], first["right"]) == (alone["left"], alone["right"])
    for certificate, other in ((first, second), (second, first)):
        assert checker.check(json.dumps(certificate).encode())
        with pytest.raises(checker.Rejected, match=r"^left: "):
            checker.check(json.dumps(certificate | {"component": other["component"]}).encode())


def test_too_many_samples_are_refused() -> None:
    certificate = copy.deepcopy(next(c for c in CERTIFICATES if c["claim"] == "soft_q.appc1"))
    x = certificate["instance"]
    x["samples"], x["gradients"] = x["samples"] * 32, x["gradients"] * 32
    x["others"], x["jacobians"] = (x["others"] * 22)[:64], (x["jacobians"] * 22)[:64]
    with pytest.raises(checker.Rejected, match="more than 4096 terms"):
        checker.check(json.dumps(certificate).encode())


# (e) Planted falsehoods.


def is_refuted(like: str, sides: Sides) -> bool:
    """Whether the search finds an instance on which balls are certain of a violation."""
    reading = replace(registry()[like].readings["intended"], sides=sides)
    found = search(reading, np.random.SeedSequence(3), SMALL)
    return any(certify.examine(reading, x, most_bits=1024).outcome == "violated" for _, x in found.suspects)


def changed(like: str, name: str, change: Any) -> Sides:
    """One check of the claim with another right side."""

    def sides(p: Any) -> Check:
        check = next(c for c in registry()[like].readings["intended"].checks(p) if c.name == name)
        return replace(check, right=change(p, check))

    return sides


def too_long_a_step(p: Any) -> Check:
    """A step of three times 1/smoothness raises a concave Q."""
    arrays = {name: getattr(p, name) for name in ("samples", "centre", "curvature", "bandwidth")}
    longer = type(p)({}, {**arrays, "share": 3 * p.share})
    return section4.ascent_ends_at_the_maximum.readings["intended"].checks(longer)[0]


def without_discount(p: Any) -> Check:
    """The maximum entropy policy has the gains of the problem without a discount."""
    check = registry()["soft_q.sec4.lqr"].readings["intended"].checks(p)[0]
    arrays = {name: getattr(p, name) for name in ("transition", "control", "state_factor", "control_diagonal",
                                                  "control_below", "state")}  # fmt: skip
    whole = type(p)({"steps": p.steps}, {**arrays, "discount": p.discount * 0 + 1})
    return replace(check, left=-times(section4._first_backup(whole).gain, p.state))


def positive_factor(p: Any) -> Check:
    """The printed direction is a positive multiple of the gradient of J."""
    check = registry()["soft_q.eq14"].readings["intended"].checks(p)[0]
    return replace(check, right=-check.right)


def repulsion_counts_twice(p: Any) -> Check:
    """The direction with 2 alpha is the steepest: its length is not what the rate along it is."""
    names = ("mean", "deviation", "centre", "curvature", "bandwidth", "points", "weights")
    twice = type(p)({}, {**{n: getattr(p, n) for n in names}, "alpha": 2 * p.alpha})
    check = section33._no_challenger_is_faster(p)
    return replace(check, left=section33._no_challenger_is_faster(twice).left)


def a_wider_kernel(p: Any) -> Check:
    """Lengths measured with the kernel of half the bandwidth."""
    check = section33._no_challenger_is_faster(p)
    return replace(check, right=check.right * rbf_kernel(p.points, p.points, p.bandwidth)[..., 0, -1])


PLANTED: dict[str, tuple[str, Sides]] = {
    "a rate that is twice as fast": (
        "soft_q.eq13.direction",
        changed("soft_q.eq13.direction", "a step lowers the divergence", lambda p, c: c.right - 3 * (c.right - c.left)),
    ),
    "a shorter direction is as fast": (
        "soft_q.eq13.direction",
        changed("soft_q.eq13.direction", "no direction is faster", lambda p, c: c.right / 2),
    ),
    "repulsion counts twice": ("soft_q.eq13.direction", repulsion_counts_twice),
    "lengths by another kernel": ("soft_q.eq13.direction", a_wider_kernel),
    "the gradient with a positive factor": ("soft_q.eq14", positive_factor),
    "the gradient halved": (
        "soft_q.eq14",
        changed("soft_q.eq14", "tangent", lambda p, c: c.right / 2),
    ),
    "J rises along the direction": (
        "soft_q.eq14.descent",
        lambda p: replace(
            registry()["soft_q.eq14.descent"].readings["intended"].checks(p)[0], relation=">="
        ),
    ),
    "gains without a discount": ("soft_q.sec4.lqr", without_discount),
    "another Gaussian policy has a little more": (
        "soft_q.sec4.lqr",
        changed("soft_q.sec4.lqr", "no Gaussian policy has more", lambda p, c: c.right + p.alpha / 1000),
    ),
    "a long step uphill": ("soft_q.sec4.map", too_long_a_step),
    "samples approach twice as fast": (
        "soft_q.sec4.map",
        changed("soft_q.sec4.map", "samples approach", lambda p, c: c.right * (1 - p.share[..., None])),
    ),
    "the sum over one set without its mean": (
        "soft_q.appc1",
        changed("soft_q.appc1", "substituted", lambda p, c: c.right * p.samples.shape[-2] * p.others.shape[-2]),
    ),
    "a variance that is a little larger": (
        "soft_q.appc2.optimal",
        changed("soft_q.appc2.optimal", "no Gaussian proposal has less variance", lambda p, c: c.right + 1),
    ),
    "one weight without the temperature": (
        "soft_q.appc2.optimal",
        changed("soft_q.appc2.optimal", "one weight for all", lambda p, c: c.right * p.alpha),
    ),
    "the determinant on the wrong side": (
        "soft_q.eq33",
        changed("soft_q.eq33", "affine", lambda p, c: -c.right),
    ),
    "a bent map that does not thin out": (
        "soft_q.eq33",
        changed("soft_q.eq33", "bent, from above", lambda p, c: c.right / (1 + p.bend)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, sides = PLANTED[name]
    assert is_refuted(like, sides)
