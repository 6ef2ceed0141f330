"""App. A.2 of the MPO paper by a second route: the whole iteration, run in mpmath.

Policies are tables of probabilities, values are solved for, derivatives are taken numerically.  Nothing here uses the
library's formulas, except the last part, where its quantities are compared.
"""

from __future__ import annotations

import random
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from exactrl.formulas.joint_ascent import mstep_curvature
from proofs_checks.claims.mpo import joint_objective as terms
from proofs_checks.instances import Problem
from tests.proofs_checks.mpo_certificates import average, divergence
from tests.proofs_checks.mpo_proposition3_certificates import (
    Process,
    lottery,
    softmax,
    stay_or_leave,
    times,
    uniform,
)
from tests.proofs_checks.second_routes import numbers

SEEDS = range(8)
TINY = mp.mpf(10) ** -25


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


def at_most(x: Any, y: Any) -> bool:
    return bool(x <= y + TINY * (1 + abs(x) + abs(y)))


def close(x: Any, y: Any) -> bool:
    return at_most(x, y) and at_most(y, x)


# (a) The counterexamples: J falls at every small step that is taken, not only in the limit.


def joint(process: Process, policy: Any) -> Any:
    """J(theta, q(theta)) at state 1."""
    return process.regularised(process.improved(policy), policy)[0]


STEPS = [mp.mpf(10) ** -k for k in range(8)]
SHARED = numbers({"rewards": [["1", "0"], ["0", "1"]], "discount": "3/4", "alpha": "1"})
LOTTERY = numbers({"pay": "1", "prize": "9", "policy": ["1/2", "1/2"], "discount": "1/6", "alpha": "1"})


def test_a_shared_logit_by_hand() -> None:
    process, logits = stay_or_leave(SHARED)
    sigma = mp.e / (1 + mp.e)
    assert [close(v, 2) for v in process.values(uniform())] == [True, True]
    q = process.improved(uniform())
    assert close(q[0][0], sigma)
    assert close(q[1][1], sigma)
    assert [mp.nstr(d, 2) for d in process.visits(uniform(), [1, 0])] == ["1.6", "2.4"]
    assert [mp.nstr(d, 3) for d in process.visits(q, [1, 0])] == ["2.21", "1.79"]
    assert close(logits[0][0], -mp.mpf(4) / 5 * (sigma - mp.mpf(1) / 2))
    falls = [joint(process, uniform()) - joint(process, softmax(uniform(), times(b, logits))) for b in STEPS]
    assert all(fall > 0 for fall in falls)
    slope = falls[-1] / STEPS[-1]
    assert abs(slope - mp.mpf("0.8") * mp.mpf("0.42766") * (sigma - mp.mpf(1) / 2) ** 2) < 1e-6


def test_a_logit_for_every_action_by_hand() -> None:
    """The two terms of the derivative, from the definitions."""
    process, policy, logits = lottery(LOTTERY)
    values, q = process.values(policy), process.improved(policy)
    assert close(values[1], 0)
    assert q[0][0] > policy[0][0]
    assert logits[0][0] > 0
    regularised = process.regularised(q, policy)
    assert abs(regularised[1] - (9 - mp.log(2)) / (mp.mpf(5) / 6)) < 1e-6
    falls = [joint(process, policy) - joint(process, softmax(policy, times(b, logits))) for b in STEPS[1:]]
    assert all(fall > 0 for fall in falls)
    visits_q, visits = (process.visits(p, [1, 0]) for p in (q, policy))
    first = sum(
        c * d * (z - p) ** 2
        for c, d, row, base in zip(visits_q, visits, q, policy, strict=True)
        for z, p in zip(row, base, strict=True)
    )
    moving = [
        [mp.diff(lambda b, s=s, a=a: process.improved(softmax(policy, times(b, logits)))[s][a], 0) for a in (0, 1)]
        for s in (0, 1)
    ]
    gained = [x - v for x, v in zip(regularised, values, strict=True)]
    second = process.discount * visits_q[0] * average(moving[0], gained)  # state 2 leads nowhere else
    assert (mp.nstr(first, 3), mp.nstr(second, 3)) == ("0.157", "-0.16")
    assert abs(first + second + falls[-1] / STEPS[-1]) < 1e-5


def test_the_algorithm_rests_on_a_slope() -> None:
    gap, alpha = mp.mpf(2), mp.mpf(3) / 2
    x = {"rewards": [[0, gap], [gap, 0]], "discount": mp.mpf(2) / 3, "alpha": alpha}
    process, logits = stay_or_leave(x)
    assert close(logits[0][0], 0)
    sigma = 1 / (1 + mp.exp(-gap / alpha))
    first = 3 / (1 + 2 * sigma)
    assert close(process.visits(process.improved(uniform()), [1, 0])[0], first)
    slope = mp.diff(lambda t: joint(process, softmax(uniform(), [[t, 0], [t, 0]])), 0)
    assert abs(slope - alpha * (sigma - mp.mpf(1) / 2) * (3 - first - first)) < 1e-15
    still = process.improved(uniform())
    partial = mp.diff(lambda t: process.regularised(still, softmax(uniform(), [[t, 0], [t, 0]]))[0], 0)
    assert abs(partial - slope) < 1e-15
    assert slope > 0.29


@pytest.mark.parametrize("start", [-3, 3])
def test_small_steps_lead_to_that_point_from_both_sides(start: int) -> None:
    """A hundred steps of Eq. 18 end at theta = 0, although J is larger to its right."""
    process, _ = stay_or_leave({"rewards": [[0, 1], [1, 0]], "discount": mp.mpf(2) / 3, "alpha": mp.mpf(1)})
    theta, distances = mp.mpf(start), []
    for _ in range(100):
        policy = softmax(uniform(), [[theta, 0], [theta, 0]])
        rows = zip(process.visits(policy, [1, 0]), process.improved(policy), policy, strict=True)
        theta += mp.mpf(1) / 2 * sum(d * (q[0] - p[0]) for d, q, p in rows)
        distances.append(abs(theta))
    assert all(x <= y for x, y in zip(distances[1:], distances, strict=False))
    assert distances[-1] < 1e-5
    assert joint(process, softmax(uniform(), [[mp.mpf(1) / 10, 0]] * 2)) > joint(process, uniform()) + 0.01


def test_a_bandit_by_hand() -> None:
    """r = (log 3, 0), pi = (1/2, 1/2): q = (3/4, 1/4); f falls by 1/16 and not by 1/8, so does T V rise."""
    process = Process([[mp.log(3), mp.mpf(0)]], [[[1], [1]]], mp.mpf(0), mp.mpf(1))
    fair = [[mp.mpf(1) / 2] * 2]
    q = process.improved(fair)
    assert close(q[0][0], mp.mpf(3) / 4)
    fall = mp.diff(lambda t: divergence(q[0], softmax(fair, [[t, 0]])[0]), 0)
    assert abs(fall + mp.mpf(1) / 4) < 1e-15
    rise = mp.diff(lambda b: joint(process, softmax(fair, [[b / 4, 0]])), 0)
    assert abs(rise - mp.mpf(1) / 16) < 1e-15


def test_the_lost_temperature_by_hand() -> None:
    process = Process([[mp.mpf(0)] * 2], [[[1], [1]]], mp.mpf(0), mp.mpf(2))
    (left,) = process.earned([[mp.mpf(1), mp.mpf(0)]], [[mp.mpf(1) / 2] * 2], process.r)
    assert close(left, -2 * mp.log(2))
    assert close(divergence([mp.mpf(1), mp.mpf(0)], [mp.mpf(1) / 2] * 2), mp.log(2))


def test_the_value_and_its_expansion_by_hand() -> None:
    half = mp.mpf(1) / 2
    process, _ = stay_or_leave({"rewards": [[mp.log(3), 0], [0, 0]], "discount": half, "alpha": mp.mpf(1)})
    stays = mp.mpf(3) ** (mp.mpf(4) / 3)
    assert close(process.improved(uniform())[0][0], stays / (1 + stays))
    process, _ = stay_or_leave({"rewards": [[1, 0], [0, 0]], "discount": half, "alpha": mp.mpf(1)})
    sigma = process.improved(uniform())[0][0]
    assert mp.nstr(sigma, 3) == "0.791"
    assert mp.nstr(mp.mpf(4) / 3 * (sigma - half), 3) == "0.389"
    assert mp.nstr(mp.diff(lambda t: joint(process, softmax(uniform(), [[t, 0], [0, 0]])), 0), 2) == "0.54"


# (b) What holds, by the same road on models drawn at random.


class Drawn:
    """A random model with a positive policy, one with zeros, a q, features of two parameters and a start."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.S, self.A = rng.randint(1, 3), rng.randint(1, 3)
        dynamics = [[self.row(self.S, zeros=True) for _ in range(self.A)] for _ in range(self.S)]
        discount = mp.mpf(rng.choice([0, 1, 5, 8])) / 10
        self.process = Process(self.table(4), dynamics, discount, mp.mpf(10) ** rng.uniform(-1, 1))
        self.policy, self.next, self.q = (self.rows(zeros=False) for _ in range(3))
        self.sparse, self.walker = (self.rows(zeros=True) for _ in range(2))
        self.features = [self.table(2) for _ in range(2)]
        self.start = self.row(self.S, zeros=True)

    def row(self, n: int, *, zeros: bool) -> list[Any]:
        rng = self.rng
        weights = [mp.mpf(0) if zeros and rng.random() < 0.3 else mp.mpf(10) ** -rng.uniform(0, 3) for _ in range(n)]
        weights[rng.randrange(n)] += 1
        return [w / mp.fsum(weights) for w in weights]

    def rows(self, *, zeros: bool) -> list[list[Any]]:
        return [self.row(self.A, zeros=zeros) for _ in range(self.S)]

    def table(self, most: int) -> list[list[Any]]:
        return [[mp.mpf(self.rng.uniform(-most, most)) for _ in range(self.A)] for _ in range(self.S)]

    def logits(self, theta: Any) -> list[list[Any]]:
        return [
            [mp.fsum(t * f[s][a] for t, f in zip(theta, self.features, strict=True)) for a in range(self.A)]
            for s in range(self.S)
        ]

    def ascent(self, q: Any, policy: Any, visits: Any) -> list[Any]:
        """Minus the gradient of f in theta, numerically."""

        def functional(t: Any, k: int) -> Any:
            moved = softmax(policy, times(t, self.features[k]))
            return average(visits, [divergence(z, p) for z, p in zip(q, moved, strict=True)])

        return [-mp.diff(lambda t, k=k: functional(t, k), 0) for k in range(2)]

    def largest_step(self, visits: Any) -> Any:
        """1 / L by the definition of L."""
        spread = []
        for s in range(self.S):
            points = list(zip(self.features[0][s], self.features[1][s], strict=True))
            spread.append(max((a - c) ** 2 + (b - d) ** 2 for a, b in points for c, d in points))
        bound = average(visits, spread) / 4
        return 1 / bound if bound else mp.mpf(0)

    def value(self, q: Any, policy: Any) -> Any:
        return average(self.start, self.process.regularised(q, policy))


def mended(model: Drawn, q: Any, policy: Any, share: Any) -> tuple[Any, Any, Any]:
    """A step of coordinate ascent: the new q and policy, and what J is to gain at least."""
    process = model.process
    visits = process.visits(q, model.start)
    slope, step = model.ascent(q, policy, visits), share * model.largest_step(visits)
    new = softmax(policy, model.logits([step * g for g in slope]))
    improved = process.estep(new, process.ahead(process.regularised(q, new)))
    return improved, new, process.alpha * step * mp.fsum(g * g for g in slope) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_estep(seed: int) -> None:
    """Eqs. 19, 20 and 22, for policies with zeros."""
    model = Drawn(seed)
    process, policy = model.process, model.sparse
    q = process.improved(policy)
    ahead = process.ahead(process.values(policy))
    best = process.earned(q, policy, ahead)
    within = [[z if p else 0 for z, p in zip(*rows, strict=True)] for rows in zip(model.q, policy, strict=True)]
    other = [[z / mp.fsum(row) for z in row] for row in within]
    for x, y, z, b in zip(best, process.earned(other, policy, ahead), other, q, strict=True):
        assert close(x - y, process.alpha * divergence(z, b))  # Eq. 19
    both = zip(process.values(policy), process.regularised(q, policy), strict=True)
    assert all(at_most(v, w) for v, w in both)  # Eq. 20
    new, ahead = model.next, process.ahead(process.values(model.next))
    after, before = (process.earned(z, new, ahead) for z in (process.improved(new), process.improved(model.policy)))
    assert all(at_most(x, y) for x, y in zip(before, after, strict=True))  # Eq. 22


@pytest.mark.parametrize("seed", SEEDS)
def test_coordinate_ascent(seed: int) -> None:
    """The amended Eq. 21 from any q, and along a sequence."""
    model = Drawn(seed)
    q, policy = model.q, model.policy
    for share in (mp.mpf(1), mp.mpf(1) / 3, mp.mpf(0), mp.mpf(1)):
        before = model.value(q, policy)
        q, policy, gain = mended(model, q, policy, share)
        assert at_most(before + gain, model.value(q, policy))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_gradient_means_a_maximum(seed: int) -> None:
    """The bound of the amendment, near a policy under which all actions are worth nearly the same."""
    model = Drawn(seed)
    process, level = model.process, [mp.mpf(model.rng.uniform(-3, 3)) for _ in range(model.S)]
    slack = mp.mpf(10) ** -model.rng.randint(1, 6) * process.alpha
    for s in range(model.S):
        for a in range(model.A):
            ahead = process.discount * average(process.P[s][a], level)
            process.r[s][a] = level[s] - ahead + slack * model.rng.uniform(-1, 1)
    q = process.improved(model.policy)
    pairs = [(z, p) for rows in zip(q, model.policy, strict=True) for z, p in zip(*rows, strict=True)]
    most = max(abs(z / p - 1) for z, p in pairs)
    assert most < 1
    room = process.alpha / (1 - process.discount) * mp.log((1 + most) / (1 - most))
    here = model.value(q, model.policy)
    greedy = [
        [mp.mpf(a == max(range(model.A), key=lambda b, s=s: process.r[s][b])) for a in range(model.A)]
        for s in range(model.S)
    ]
    for other in (model.q, model.sparse, greedy, process.improved(model.next)):
        assert at_most(model.value(other, model.next), here + room)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_functional_falls_and_the_gain_one_step_ahead(seed: int) -> None:
    """Eqs. 23 and 24 with the squared norm and the temperature."""
    model = Drawn(seed)
    process, policy = model.process, model.policy
    q, visits = process.improved(policy), process.visits(policy, model.start)
    slope = model.ascent(q, policy, visits)
    squared = mp.fsum(g * g for g in slope)

    def moved(step: Any) -> Any:
        return softmax(policy, model.logits([step * g for g in slope]))

    def functional(step: Any) -> Any:
        return average(visits, [divergence(z, p) for z, p in zip(q, moved(step), strict=True)])

    for share in (mp.mpf(1), mp.mpf(1) / 10):
        step = share * model.largest_step(visits)
        assert at_most(functional(step), functional(0) - step * squared / 2)
    ahead = process.ahead(process.values(policy))

    def gained(step: Any) -> Any:
        new = moved(step)
        return average(visits, process.earned(process.improved(new), new, ahead))

    assert abs(mp.diff(gained, 0) - process.alpha * squared) < 1e-12 * (1 + abs(process.alpha * squared))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_functional_of_step_2(seed: int) -> None:
    """Summed over steps until nothing is left, against the solved system; and split with the temperature."""
    model = Drawn(seed)
    process = model.process
    ahead = process.ahead(process.values(model.next))
    term = process.earned(model.sparse, model.policy, ahead)
    mass, weight, summed = model.start, mp.mpf(1), mp.mpf(0)
    for _ in range(400):
        summed += weight * average(mass, term)
        mass = [
            mp.fsum(mass[s] * model.walker[s][a] * process.P[s][a][t] for s in range(model.S) for a in range(model.A))
            for t in range(model.S)
        ]
        weight *= process.discount
    visits = process.visits(model.walker, model.start)
    assert close(summed, average(visits, term))
    plain = average(visits, [average(z, v) for z, v in zip(model.sparse, ahead, strict=True)])
    functional = average(visits, [divergence(z, p) for z, p in zip(model.sparse, model.policy, strict=True)])
    assert close(average(visits, term), plain - process.alpha * functional)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_remainder_is_of_second_order(seed: int) -> None:
    """Ever smaller steps: the remainder over the squared step settles."""
    model = Drawn(seed)
    process, policy = model.process, model.policy
    q, visits = process.improved(policy), process.visits(policy, model.start)
    slope, ahead = model.ascent(q, policy, visits), process.ahead(process.values(policy))

    def over_the_square(step: Any) -> Any:
        new = softmax(policy, model.logits([step * g for g in slope]))
        change = process.ahead(process.values(new))
        rows = zip(process.improved(new), q, ahead, change, strict=True)
        parts = [mp.fsum((z - y) * (v - w) for z, y, v, w in zip(*row, strict=True)) for row in rows]
        return average(visits, parts) / step**2

    sizes = [over_the_square(mp.mpf(10) ** -k) for k in (5, 6, 7)]
    assert all(abs(x - sizes[-1]) <= 1e-3 * (abs(sizes[-1]) + mp.mpf(10) ** -12) for x in sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_resolvent_in_fractions(seed: int) -> None:
    from sympy import Matrix, Rational, eye

    rng = random.Random(seed)
    n = rng.randint(1, 3)

    def stochastic() -> Any:
        rows = [[rng.randint(0, 3) for _ in range(n)] for _ in range(n)]
        for row in rows:
            row[rng.randrange(n)] += 1
        return Matrix([[Rational(k, sum(row)) for k in row] for row in rows])

    first, second, discount = stochastic(), stochastic(), Rational(rng.choice([0, 1, 4]), 5)
    one, other = ((eye(n) - discount * p).inv() for p in (first, second))
    change = first - second
    order = [other, discount * other * change * other, discount**2 * one * change * other * change * other]
    assert one == order[0] + order[1] + order[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mended_expansion(seed: int) -> None:
    """Exactly for any second policy and q, with the transition matrix of the second q."""
    model = Drawn(seed)
    process = model.process
    before = process.regularised(model.q, model.policy)
    q, policy = process.improved(model.next), model.next
    gained = [
        x - y
        for x, y in zip(
            process.earned(q, policy, process.ahead(before)),
            process.earned(model.q, model.policy, process.ahead(before)),
            strict=True,
        )
    ]
    after = [v + w for v, w in zip(before, process.solve(q, gained), strict=True)]
    assert all(close(x, y) for x, y in zip(after, process.regularised(q, policy), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_where_the_printed_algorithm_does_rise(seed: int) -> None:
    """Without a future by alpha times the squared gradient; at high temperatures along the policy gradient."""
    model = Drawn(seed)
    process, policy = model.process, model.policy

    def slope_of_joint() -> tuple[Any, Any]:
        q = process.improved(policy)
        slope = model.ascent(q, policy, process.visits(policy, model.start))

        def value(step: Any) -> Any:
            new = softmax(policy, model.logits([step * g for g in slope]))
            return model.value(process.improved(new), new)

        return mp.diff(value, 0), mp.fsum(g * g for g in slope)

    process.discount, kept = mp.mpf(0), process.discount
    rise, squared = slope_of_joint()
    assert abs(rise - process.alpha * squared) < 1e-12 * (1 + abs(rise))
    process.discount, process.alpha = kept, mp.mpf(10) ** 6
    rise, _ = slope_of_joint()
    gradient = [
        mp.diff(lambda t, k=k: average(model.start, process.values(softmax(policy, times(t, model.features[k])))), 0)
        for k in range(2)
    ]
    length = mp.fsum(g * g for g in gradient)
    assert abs(process.alpha * rise - length) < 1e-3 * (length + mp.mpf(10) ** -6)


# (c) The library's quantities, against the same route.


def as_problem(model: Drawn, **more: Any) -> Problem:
    """The drawn model as a batch of one in floats."""

    def floats(x: Any) -> Any:
        return np.array(x, dtype=object).astype(float)[None]

    process = model.process
    features = [[[f[s][a] for f in model.features] for a in range(model.A)] for s in range(model.S)]
    arrays = {
        "dynamics": floats(process.P), "rewards": floats(process.r), "discount": floats(process.discount),
        "alpha": floats(process.alpha), "log_policy": np.log(floats(model.policy)), "initial": floats(model.start),
        "features": floats(features),
    }  # fmt: skip
    return Problem({}, arrays | {name: floats(value) for name, value in more.items()})


@pytest.mark.parametrize("seed", SEEDS)
def test_the_slopes_in_floats(seed: int) -> None:
    model = Drawn(seed)
    process, policy = model.process, model.policy
    p = as_problem(model)
    now = terms.iterate(p, p.log_policy)
    move = terms.printed_direction(p, now)
    slope = model.ascent(process.improved(policy), policy, process.visits(policy, model.start))
    assert np.allclose(move.logits[0], np.array(model.logits(slope), dtype=float), rtol=1e-6, atol=1e-9)
    found = terms.at_start(p, terms.slopes(p, now, move.logits).regularised)

    def value(step: Any) -> Any:
        new = softmax(policy, model.logits([step * g for g in slope]))
        return model.value(process.improved(new), new)

    assert np.isclose(float(found[0]), float(mp.diff(value, 0)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mended_step_in_floats(seed: int) -> None:
    model = Drawn(seed)
    share = mp.mpf(2) / 3
    q, policy, _ = mended(model, model.q, model.policy, share)
    p = as_problem(model, share=share)
    ascent = terms.mended_step(p, p.log_policy, np.log(np.array(model.q, dtype=object).astype(float))[None])
    assert np.allclose(np.exp(ascent.log_policy[0]), np.array(policy, dtype=float), rtol=1e-6, atol=1e-9)
    assert np.allclose(np.exp(ascent.log_q[0]), np.array(q, dtype=float), rtol=1e-6, atol=1e-9)
    visits = model.process.visits(model.q, model.start)
    bound = mstep_curvature(p.features, np.array([[float(d) for d in visits]]))
    assert np.isclose(float(bound[0]) * float(model.largest_step(visits)), 1) or float(bound[0]) == 0
