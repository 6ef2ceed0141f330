"""MPO's formulas in three number systems, by definition, by differences and by autograd."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from exactrl.errors import Uncertain
from exactrl.formulas import mpo
from exactrl.formulas.mpo import (
    centred_features,
    dual_derivatives,
    dual_value,
    expected_features,
    expected_kl,
    log_estep,
    mstep_objective,
    mstep_target,
    nearest_table,
    nearest_table_within,
    softmax_fisher,
    tilted_kl,
)
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision
from exactrl.number_systems.rationals import float_logs, normalised
from tests.exactrl.three_views import Floats, Intervals, Tensors, parts

BITS = 192


def rows(rng, shape, zeros=False):
    """Rational distributions on the last axis."""
    table = np.empty(shape, dtype=object)
    for index in np.ndindex(shape[:-1]):
        weights = [Fraction(int(k)) for k in rng.integers(1, 30, shape[-1])]
        if zeros:
            weights[int(rng.integers(shape[-1]))] = Fraction(0)
            weights[0] += 1
        table[index] = normalised(weights)
    return table


def instance(seed, zeros=False):
    """Policy, target, Q, weights, eta, epsilon, members, features; everything rational."""
    rng = np.random.default_rng([seed, int(zeros)])
    ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])
    policy = rows(rng, (3, 4), zeros)
    target = rows(rng, (3, 4)) * (policy > 0)
    target = target / target.sum(axis=-1, keepdims=True)
    return {
        "policy": policy,
        "target": target,
        "q": ratio(rng.integers(-20, 20, (3, 4))),
        "weights": rows(rng, (3,)),
        "eta": Fraction(int(rng.integers(1, 40)), 10),
        "epsilon": Fraction(1, 10),
        "members": rows(rng, (5, 3, 4)),
        "features": ratio(rng.integers(-9, 9, (3, 4, 2))),
    }


def problem(s, i):
    return s.log(i["policy"]), s.number(i["q"]), s.number(i["weights"])


def log_ratio(s, i):
    return s.log(i["members"][0]) - s.log(i["members"][1])


ENTRIES = {
    "dual_value": lambda s, i: dual_value(*problem(s, i), s.number(i["eta"]), s.number(i["epsilon"])),
    "dual_derivatives": lambda s, i: dual_derivatives(*problem(s, i), s.number(i["eta"]), s.number(i["epsilon"])),
    "log_estep": lambda s, i: log_estep(s.log(i["policy"]), s.number(i["q"]), s.number(i["eta"])),
    "tilted_kl": lambda s, i: tilted_kl(s.log(i["members"][1]), log_ratio(s, i)),
    "expected_kl": lambda s, i: expected_kl(s.log(i["target"]), s.log(i["policy"]), s.number(i["weights"])),
    "mstep_objective": lambda s, i: mstep_objective(s.log(i["target"]), s.log(i["policy"]), s.number(i["weights"])),
    "mstep_target": lambda s, i: mstep_target(s.log(i["target"]), s.log(i["policy"]), s.number(i["eta"])),
    "nearest_table": lambda s, i: nearest_table(s.log(i["target"]), s.log(i["members"]), s.number(i["weights"])),
    "nearest_table_within": lambda s, i: nearest_table_within(
        s.log(i["target"]), s.log(i["policy"]), s.log(i["members"]), s.number(i["weights"]), s.number(Fraction(3))
    ),
    "centred_features": lambda s, i: centred_features(s.number(i["policy"]), s.number(i["features"])),
    "expected_features": lambda s, i: expected_features(
        s.number(i["policy"]), s.number(i["features"]), s.number(i["weights"])
    ),
    "softmax_fisher": lambda s, i: softmax_fisher(s.log(i["policy"]), s.number(i["features"]), s.number(i["weights"])),
}


def test_every_public_formula_has_an_entry():
    assert set(ENTRIES) == set(mpo.__all__)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", ENTRIES)
def test_floats_lie_in_the_balls_and_tensors_equal_floats(name, zeros):
    for seed in range(4):
        i = instance(seed, zeros)
        floats, tensors = parts(ENTRIES[name](Floats(), i)), parts(ENTRIES[name](Tensors(), i))
        with precision(BITS):
            for number, tensor, enclosed in zip(floats, tensors, parts(ENTRIES[name](Intervals(), i)), strict=True):
                np.testing.assert_allclose(np.asarray(tensor), number, rtol=1e-12, atol=1e-13)
                assert_inside(number, enclosed)


def assert_inside(number, enclosed):
    if not isinstance(enclosed, Balls):  # the position of a member
        np.testing.assert_array_equal(number, enclosed)
        return
    assert enclosed.shape == np.shape(number)
    for v, x in zip(np.ravel(number), enclosed.data.ravel(), strict=True):
        if np.isinf(v):
            assert float(x) == v
        else:
            ((low, high),) = Balls(x).bounds()
            assert high - low < Fraction(1, 10**40)
            assert low - Fraction(1, 10**12) <= Fraction(float(v)) <= high + Fraction(1, 10**12)


def floats(seed=0, zeros=False):
    i = instance(seed, zeros)
    return float_logs(i["policy"]), i["q"].astype(float), i["weights"].astype(float), i


def test_means_of_features_by_loops_over_fractions():
    """The centred features have mean 0 under the policy, whatever the weights."""
    i = instance(5)
    policy, features, weights = i["policy"], i["features"], i["weights"]
    states, actions, size = features.shape
    pairs = [(s, a) for s in range(states) for a in range(actions)]
    mean = [sum(weights[s] * policy[s, a] * features[s, a, k] for s, a in pairs) for k in range(size)]
    assert expected_features(policy, features, weights).tolist() == mean
    centred = centred_features(policy, features)
    for s, a in pairs:
        away = [features[s, a, k] - sum(policy[s, b] * features[s, b, k] for b in range(actions)) for k in range(size)]
        assert centred[s, a].tolist() == away
    assert expected_features(policy, centred, weights).tolist() == [0] * size


@pytest.mark.parametrize("zeros", [False, True])
def test_the_dual_and_its_derivatives_by_definition(zeros):
    log_policy, q, mu, _ = floats(3, zeros)
    policy, eta, epsilon = np.exp(log_policy), 1.7, 0.2

    def g(eta):
        return eta * epsilon + eta * mu @ np.log((policy * np.exp(q / eta)).sum(axis=1))

    assert dual_value(log_policy, q, mu, eta, epsilon) == pytest.approx(g(eta), rel=1e-14)
    slope, curvature = dual_derivatives(log_policy, q, mu, eta, epsilon)
    h = 1e-4
    assert slope == pytest.approx((g(eta + h) - g(eta - h)) / (2 * h), abs=1e-7)
    assert curvature == pytest.approx((g(eta + h) - 2 * g(eta) + g(eta - h)) / h**2, abs=1e-6)
    e = torch.tensor(eta, dtype=torch.float64, requires_grad=True)
    value = dual_value(torch.tensor(log_policy + 1e-300), torch.tensor(q), torch.tensor(mu), e, epsilon)
    (first,) = torch.autograd.grad(value, e, create_graph=True)
    (second,) = torch.autograd.grad(first, e)
    assert [first.item(), second.item()] == pytest.approx([slope, curvature], rel=1e-10)


def test_the_slope_of_the_dual_is_what_the_divergence_misses_and_the_estep_is_a_tilt():
    log_policy, q, mu, _ = floats(5)
    log_q = log_estep(log_policy, q, 0.9)
    tilted = np.exp(log_policy) * np.exp(q / 0.9)
    np.testing.assert_allclose(np.exp(log_q), tilted / tilted.sum(axis=1, keepdims=True), rtol=1e-13)
    slope, _ = dual_derivatives(log_policy, q, mu, 0.9, 0.3)
    assert slope == pytest.approx(0.3 - expected_kl(log_q, log_policy, mu), abs=1e-14)


def test_a_batch_of_temperatures_is_its_rows():
    log_policy, q, mu, _ = floats(2)
    batch = [np.stack([x, x]) for x in (log_policy, q, mu)]
    eta = np.array([0.5, 2.0])
    together = dual_value(*batch, eta, 0.1), *dual_derivatives(*batch, eta, 0.1)
    for k in (0, 1):
        apart = dual_value(log_policy, q, mu, eta[k], 0.1), *dual_derivatives(log_policy, q, mu, eta[k], 0.1)
        assert [x[k] for x in together] == pytest.approx(apart, rel=1e-14)
    np.testing.assert_allclose(log_estep(*batch[:2], eta)[1], log_estep(log_policy, q, 2.0))


def test_a_small_divergence_keeps_its_relative_precision_and_bad_rows_cost_their_square():
    policy = np.log([0.3, 0.2, 0.5])
    values = np.array([1.0, -2.0, 0.5])
    for size in (1e-3, 1e-6, 1e-9):
        with precision(300):
            exact = Balls([Fraction(3, 10), Fraction(1, 5), Fraction(1, 2)])
            scores = Balls(Fraction(size)) * Balls(values)
            xp = namespace(scores)
            total = xp.log(xp.sum(exact * xp.exp(scores)))
            truth = xp.sum(exact * xp.exp(scores - total) * (scores - total))
            expected = float(truth.data[()])
        ratio = size * values - np.log1p(np.exp(policy) @ np.expm1(size * values))
        assert tilted_kl(policy, ratio) == pytest.approx(expected, rel=1e-15 / size * 3)
        assert tilted_kl(policy + 1e-10, ratio - 1e-10) == pytest.approx(expected, rel=1e-15 / size * 3, abs=3e-20)
    assert tilted_kl(np.log([1e-320, 1.0]), np.array([730.0, -2.0])) < np.inf


def test_the_fisher_information_is_the_second_order_term_of_the_divergence():
    log_policy, _, mu, i = floats(1)
    features = i["features"].astype(float)
    direction = np.array([0.3, -0.8])
    quadratic = direction @ softmax_fisher(log_policy, features, mu) @ direction / 2
    for size in (1e-2, 1e-3):
        moved = log_policy + features @ (size * direction)
        moved = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
        assert expected_kl(log_policy, moved, mu) / size**2 == pytest.approx(quadratic, rel=20 * size)


def test_the_target_of_the_penalised_mstep_by_definition():
    log_policy, _, mu, i = floats(4, zeros=True)
    log_target = float_logs(i["target"])
    q, policy = np.exp(log_target), np.exp(log_policy)
    np.testing.assert_allclose(np.exp(mstep_target(log_target, log_policy, 3.0)), (q + 3 * policy) / 4, rtol=1e-14)
    np.testing.assert_array_equal(mstep_target(log_target, log_policy, 0.0), log_target)
    assert mstep_objective(log_target, log_policy, mu) == pytest.approx(
        sum(mu[s] * q[s, a] * log_policy[s, a] for s, a in np.argwhere(q > 0)), rel=1e-14
    )
    assert mstep_objective(log_policy, np.log(np.eye(4)[[0, 1, 2]] + 1e-300), mu) < -100


def test_states_of_weight_zero_do_not_count_even_where_they_diverge():
    one, other = np.log([[0.5, 0.5], [1.0, 1e-300]]), np.log([[0.5, 0.5], [0.5, 0.5]])
    assert expected_kl(one, other, np.array([1.0, 0.0])) == 0.0
    with np.errstate(divide="ignore"):
        corner = np.log([[0.5, 0.5], [0.0, 1.0]])
    assert expected_kl(other, corner, np.array([1.0, 0.0])) == 0.0
    assert expected_kl(other, corner, np.array([0.5, 0.5])) == np.inf


def test_the_nearest_table_by_comparison_and_ties_in_balls():
    log_policy, _, mu, i = floats(6)
    target, members = i["target"].astype(float), i["members"].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = [mu @ (target * np.log(target / m)).sum(axis=1) for m in members]
        away = [mu @ (np.exp(log_policy) * (log_policy - np.log(m))).sum(axis=1) for m in members]
    logs = np.log(target), np.log(members)
    assert nearest_table(*logs, mu) == np.argmin(costs)
    radius = sorted(away)[1] + 1e-9
    allowed = [k for k in range(5) if away[k] <= radius]
    assert nearest_table_within(logs[0], log_policy, logs[1], mu, radius) == min(allowed, key=costs.__getitem__)
    s = Intervals()
    twice = np.stack([i["members"][0], i["members"][0]])
    with precision(64), pytest.raises(Uncertain):
        nearest_table(s.log(i["target"]), s.log(twice), s.number(i["weights"]))
