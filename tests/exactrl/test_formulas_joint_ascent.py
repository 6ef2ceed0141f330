"""The pieces of MPO's coordinate ascent in three number systems: by differences, by autograd and by search."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from exactrl.formulas.joint_ascent import estep_tangent, mstep_curvature, mstep_direction
from exactrl.formulas.mpo import log_estep
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision
from tests.exactrl.three_views import Floats, Intervals, Tensors

SEEDS = range(5)
ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])


def rows(rng, shape):
    table = np.empty(shape, dtype=object)
    for index in np.ndindex(shape[:-1]):
        weights = [Fraction(int(k)) for k in rng.integers(1, 30, shape[-1])]
        table[index] = [w / sum(weights) for w in weights]
    return table


def instance(seed):
    """Three states, three actions, two parameters, everything rational."""
    rng = np.random.default_rng(seed)
    return {
        "q": rows(rng, (3, 3)),
        "policy": rows(rng, (3, 3)),
        "features": ratio(rng.integers(-20, 20, (3, 3, 2))),
        "visits": ratio(rng.integers(1, 20, 3)),
        "values": ratio(rng.integers(-20, 20, (3, 3))),
        "slope": ratio(rng.integers(-20, 20, (3, 3))),
        "direction": ratio(rng.integers(-20, 20, (3, 3))),
        "alpha": Fraction(int(rng.integers(1, 40)), 10),
    }


ENTRIES = {
    "mstep_direction": lambda s, i: mstep_direction(
        s.log(i["q"]), s.log(i["policy"]), s.number(i["features"]), s.number(i["visits"])
    ),
    "mstep_curvature": lambda s, i: mstep_curvature(s.number(i["features"]), s.number(i["visits"])),
    "estep_tangent": lambda s, i: estep_tangent(
        s.log(i["q"]), s.number(i["direction"]), s.number(i["slope"]), s.number(i["alpha"])
    ),
}


def functional(x, theta):
    """f at a parameter, in plain NumPy; log pi_theta has the base log policy and the features as slopes."""
    logits = np.log(x["policy"].astype(float)) + x["features"].astype(float) @ theta
    log_policy = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    q = x["q"].astype(float)
    return float((x["visits"].astype(float) * (q * (np.log(q) - log_policy)).sum(axis=1)).sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_direction_is_minus_the_gradient(seed):
    x = instance(seed)
    step = 1e-5
    for view in (Floats(), Tensors(), Intervals()):
        with precision(192):
            found = ENTRIES["mstep_direction"](view, x)
        for k in range(2):
            e = np.eye(2)[k] * step
            slope = (functional(x, e) - functional(x, -e)) / (2 * step)
            value = float(found.data[k].mid()) if isinstance(found, Balls) else float(found[k])
            assert value == pytest.approx(-slope, abs=1e-6)


def test_the_direction_by_autograd():
    x = instance(3)
    q, policy, features, visits = (torch.tensor(x[n].astype(float)) for n in ("q", "policy", "features", "visits"))
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    log_policy = torch.log_softmax(policy.log() + features @ theta, dim=-1)
    (visits * (q * (q.log() - log_policy)).sum(dim=-1)).sum().backward()
    found = mstep_direction(q.log(), policy.log(), features, visits)
    assert torch.allclose(found, -theta.grad, rtol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_curvature_is_a_bound_of_every_second_difference(seed):
    """At any parameter and along any unit vector; for two actions of probability 1/2 it is attained."""
    x, rng = instance(seed), np.random.default_rng([seed, 1])
    views = (Floats(), Tensors(), Intervals())
    floats, tensors, balls = (ENTRIES["mstep_curvature"](v, x) for v in views)
    pairs = [
        max(sum((f - g) ** 2 for f, g in zip(a, b, strict=True)) for a in of_state for b in of_state)
        for of_state in x["features"].tolist()
    ]
    bound = sum(v * p for v, p in zip(x["visits"], pairs, strict=True)) / 4
    assert all(float(value) == pytest.approx(float(bound), rel=1e-12) for value in (floats, tensors))
    ((low, high),) = balls.bounds()
    assert low <= bound <= high
    assert high - low < Fraction(1, 10**9)
    for _ in range(20):
        theta, u = rng.normal(size=2), rng.normal(size=2)
        u *= 1e-3 / np.linalg.norm(u)
        second = (functional(x, theta + u) - 2 * functional(x, theta) + functional(x, theta - u)) / 1e-6
        assert second <= float(bound) * (1 + 1e-6) + 1e-6
    fair = {**x, "policy": np.full((1, 2), Fraction(1, 2)), "q": np.full((1, 2), Fraction(1, 2))}
    fair |= {"features": ratio(np.array([[[7, 0], [0, 0]]])), "visits": ratio(np.array([7]))}
    u = np.array([1e-3, 0])
    second = (functional(fair, u) - 2 * functional(fair, 0 * u) + functional(fair, -u)) / 1e-6
    assert second == pytest.approx(float(mstep_curvature(Floats().number(fair["features"]), np.array([1.0]))), rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tangent_of_the_estep(seed):
    x = instance(seed)
    policy, values, alpha = (np.array(x[n], dtype=float) for n in ("policy", "values", "alpha"))
    direction, slope, step = x["direction"].astype(float), x["slope"].astype(float), 1e-5

    def log_q(t):
        logits = np.log(policy) + t * direction + (values + t * slope) / alpha
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    expected = (log_q(step) - log_q(-step)) / (2 * step)
    for view in (Floats(), Tensors(), Intervals()):
        with precision(192):
            q = log_estep(view.log(x["policy"]), view.number(x["values"]), view.number(x["alpha"]))
            tangent = view.number(x["direction"]) - namespace(q).sum(
                view.number(x["policy"]) * view.number(x["direction"]), keepdims=True
            )
            found = estep_tangent(q, tangent, view.number(x["slope"]), view.number(x["alpha"]))
        table = [[float(b.mid()) for b in row] for row in found.data] if isinstance(found, Balls) else found.tolist()
        assert np.allclose(table, expected, atol=1e-6)
    assert np.allclose((np.exp(log_q(0)) * np.array(table)).sum(axis=1), 0, atol=1e-12)


def test_a_batch_of_temperatures():
    """One temperature a model, as log_estep takes them."""
    log_policy, slope = np.log(np.full((2, 1, 2), 0.5)), np.array([[[1.0, 0.0]], [[1.0, 0.0]]])
    found = estep_tangent(log_policy, slope * 0, slope, np.array([1.0, 2.0]))
    assert np.allclose(found, [[[0.5, -0.5]], [[0.25, -0.25]]])
