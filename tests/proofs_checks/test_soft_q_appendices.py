"""The verdicts on Appendices A and B of soft Q-learning, held against a second route: chains walked step by step,
trajectories listed one by one, numerical derivatives, gradient descent and cases worked by hand.

Nothing here uses the library's formulas, except the last part, which plants falsehoods to see them refuted.
"""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

import mpmath as mp
import pytest

from tests.proofs_checks import soft_q_appendix_certificates as route
from tests.proofs_checks.test_soft_q_verdicts import (
    Model,
    at_most,
    boltzmann,
    close,
    draw_row,
    flat,
    log_sum_exp,
    mean,
    shannon,
)

SEEDS = range(6)
HALF = mp.mpf(1) / 2


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


# (a) The counterexamples, by hand.


def test_the_direction_that_lowers_the_average() -> None:
    """With q the chance of action 1 in state 1: x = 3/4 - q/2 from 1 to 2, 1/2 back, rewards q and 10."""

    def average(q: Any) -> Any:
        x = mp.mpf(3) / 4 - q / 2
        return (q / 2 + 10 * x) / (HALF + x)

    assert average(HALF) == mp.mpf(21) / 4
    assert close(mp.diff(average, HALF), HALF - mp.mpf(19) / 8)  # it falls in q
    assert HALF * HALF * HALF * (1 - 0) > 0  # d pi(1) pi(2) (Q(1) - Q(2)): the direction raises q


def test_the_direction_of_the_hand_check_in_full() -> None:
    x = {
        "dynamics": [[[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0.5, 0.5]]],
        "rewards": [[1, 0], [10, 10]], "discount": 0, "policy": [[HALF, HALF], [HALF, HALF]],
    }  # fmt: skip
    x = {name: mp.matrix([value])[0] if name == "discount" else in_mpf(value) for name, value in x.items()}
    assert abs(route.average_ascent(x, [])[1] - 2 * (mp.mpf(1) / 8) * (HALF - mp.mpf(19) / 8) / 4) < 1e-20


def in_mpf(value: Any) -> Any:
    return [in_mpf(v) for v in value] if isinstance(value, list) else mp.mpf(value)


def test_the_visits_objective_of_the_hand_check() -> None:
    """Uniform: -5 or 3 with its entropy, each half of the time; always 2: 3/4 in state 2, without entropy."""
    rewards = [-5 - mp.log(2), 3 - mp.log(2)]
    assert [boltzmann([r, r]) for r in rewards] == [[HALF, HALF]] * 2  # gamma = 0: Theorem 1
    own = mean([HALF, HALF], [r + mp.log(2) for r in rewards])
    other = mean([mp.mpf(1) / 4, 3 * HALF / 2], rewards)
    assert close(own, mp.mpf(-1))
    assert close(other, 1 - mp.log(2))
    sums = []
    for stay, bonus in ((HALF, mp.log(2)), (3 * HALF / 2, mp.mpf(0))):  # chance of state 2 after a step
        chance, total = HALF, mp.mpf(0)
        for _ in range(1000):
            total += mean([1 - chance, chance], rewards) + bonus
            chance = stay
        sums.append(total)
    assert sums[0] < -990
    assert sums[1] > 300


def test_the_double_sum_weighs_by_the_number_of_earlier_steps() -> None:
    """Without a steady state: 3 now and 0 later, or 0 now and 2 later. The single sum prefers the 3."""
    single, double = ([sum(w * r for w, r in zip(ws, rs, strict=True)) for rs in ((3, 0), (0, 2))]
                      for ws in ((1, 1), (1, 2)))  # fmt: skip
    assert single[0] > single[1]
    assert double[0] < double[1]


def test_a_state_that_is_never_seen() -> None:
    """Two states that keep themselves, gamma = 0, rewards 0: what state 2 does changes nothing from state 1."""
    third = mp.mpf(1) / 3
    values = [[shannon(p) for p in ([HALF, HALF], second)] for second in ([HALF, HALF], [third, 2 * third])]
    assert values[0][0] == values[1][0] == mp.log(2)
    assert values[1][1] < values[0][1]
    assert boltzmann([mp.mpf(0)] * 2) == [HALF, HALF]


def test_eq29_without_the_entropy_of_later_states() -> None:
    """The entropy after two steps as a function of the logit of action 1, and Eq. 29 with Q = 0 and equal energies."""
    second = [mp.mpf(1) / 4, mp.mpf(3) / 4]

    def entropies(theta: Any) -> Any:
        own = boltzmann([theta, mp.mpf(0)])
        return shannon(own) + own[0] * shannon(own) + own[1] * shannon(second)

    assert abs(mp.diff(entropies, 0) - (mp.log(2) - shannon(second)) / 4) < 1e-15
    energy = mp.log(HALF)
    assert mean([HALF, HALF], [HALF * (0 - energy), -HALF * (0 - energy)]) == 0


def test_eq32_has_the_opposite_sign() -> None:
    def loss(q: Any) -> Any:
        value = log_sum_exp([q, mp.mpf(0)])
        return ((1 + value - q) ** 2 + value**2) / 4

    assert abs(mp.diff(loss, 0) + mp.mpf(1) / 4) < 1e-15
    errors = [1 + mp.log(2), mp.log(2)]
    assert close(mean([HALF, HALF], [(1 - HALF) * errors[0], (0 - HALF) * errors[1]]), mp.mpf(1) / 4)


def test_values_of_two_states_that_cannot_be_compared() -> None:
    """gamma = 0, one action, rewards 0 and 1: from Q = 0 the target is 0, and gradient descent stays for ever."""
    for reward in (0, 1):
        value = log_sum_exp([mp.mpf(0)])  # of Q = 0
        advantage = reward - log_sum_exp([mp.mpf(reward)])
        assert advantage + value == 0


# (b) What holds, by the second route.


class Positive(Model):
    """A model whose transitions are all positive, with its long run by walking."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.P = [[draw_row(self.rng, self.S, zeros=False) for _ in range(self.A)] for _ in range(self.S)]

    def as_instance(self, policy: Any, **more: Any) -> dict[str, Any]:
        return {"dynamics": self.P, "rewards": self.r, "discount": self.gamma, "policy": policy} | more


@pytest.mark.parametrize("seed", SEEDS)
def test_the_discounted_direction_and_the_average(seed: int) -> None:
    """The derivative of the average is the direction plus (1 - gamma) d' V, which vanishes with 1 - gamma."""
    model = Positive(seed)
    policy = model.policy(zeros=False)
    per_state = lambda moving: [mean(p, r) for p, r in zip(moving, model.r, strict=True)]
    d = route.long_run(model.as_instance(policy), policy)
    slopes = route.in_logits(policy, lambda m: mean(route.long_run(model.as_instance(m), m), per_state(m)))
    missing = []
    for gamma in (model.gamma, 1 - mp.mpf(1) / 50, 1 - mp.mpf(1) / 5000):
        x = model.as_instance(policy, discount=gamma)
        V = list(mp.lu_solve(mp.eye(model.S) - gamma * route.chain(x, policy), mp.matrix(per_state(policy))))
        assert close((1 - gamma) * mean(d, V), mean(d, per_state(policy)))
        Q = route.action_values(x, model.r, V)
        direction = route.in_logits(
            policy, lambda m, Q=Q: mp.fsum(w * mean(p, q) for w, p, q in zip(d, m, Q, strict=True))
        )
        bias = route.in_logits(
            policy, lambda m, V=V, g=gamma: (1 - g) * mean(route.long_run(model.as_instance(m), m), V)
        )
        pairs = list(zip(flat(direction), flat(bias), flat(slopes), strict=True))
        assert all(abs(a + b - c) < 1e-12 for a, b, c in pairs)
        missing.append(max(abs(b) for _, b, _ in pairs))
    assert missing[2] <= missing[1] / 50 + mp.mpf(10) ** -12


@pytest.mark.parametrize("seed", SEEDS)
def test_no_challenger_is_better_at_any_state(seed: int) -> None:
    model = Model(seed)
    alpha = mp.mpf(10) ** model.rng.uniform(-1, 1)
    Q = model.optimal(alpha)
    best = [log_sum_exp(q, alpha) for q in Q]
    for _ in range(4):
        policy = model.policy()
        own = model.values_of(policy, alpha=alpha)
        values = [mean(p, q) + alpha * shannon(p) for p, q in zip(policy, own, strict=True)]
        assert all(map(at_most, values, best))


@pytest.mark.parametrize("seed", SEEDS)
def test_double_and_single_sums_by_listing_trajectories(seed: int) -> None:
    """In fractions, for a chain of two states with its stationary distribution (q, p) / (p + q)."""
    rng = random.Random(seed)
    p, q = (Fraction(rng.randint(1, 9), 10) for _ in range(2))
    P, start = [[1 - p, p], [q, 1 - q]], [q / (p + q), p / (p + q)]
    earned = [Fraction(rng.randint(-9, 9), 4) for _ in range(2)]
    for steps in (1, 2, 3, 5):
        double = single = Fraction(0)
        for walk in itertools.product((0, 1), repeat=steps):
            chance = start[walk[0]]
            for s, t in itertools.pairwise(walk):
                chance *= P[s][t]
            single += chance * sum(earned[s] for s in walk)
            double += chance * sum(earned[s] for t in range(steps) for s in walk[t:])
        assert double == Fraction(steps + 1, 2) * single


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_policy_iteration(seed: int) -> None:
    model = Model(seed)
    best = model.optimal(mp.mpf(1))
    solution = [boltzmann(q) for q in best]
    assert all(map(close, flat(model.values_of(solution)), flat(best)))  # the limit is of the form of its own values
    policy = model.policy()
    values = model.values_of(policy)
    gap = max(abs(x - y) for x, y in zip(flat(values), flat(best), strict=True))
    for _ in range(4):
        policy = [boltzmann(q) for q in values]
        apart = [abs(mp.log(x) - mp.log(y)) for x, y in zip(flat(policy), flat(solution), strict=True)]
        assert at_most(max(apart), 2 * gap)
        following = model.values_of(policy)
        assert all(map(at_most, flat(values), flat(following)))
        gap *= model.gamma
        assert at_most(max(abs(x - y) for x, y in zip(flat(following), flat(best), strict=True)), gap)
        values = following


@pytest.mark.parametrize("seed", SEEDS)
def test_what_an_improvement_gains(seed: int) -> None:
    """At least the divergence at every state; and whoever differs from its own improvement is improved."""
    model = Model(seed)

    def worth(policy: Any) -> list[Any]:
        own = model.values_of(policy)
        return [mean(p, q) + shannon(p) for p, q in zip(policy, own, strict=True)]

    policy = model.policy()
    improved = [boltzmann(q) for q in model.values_of(policy)]
    short = [
        mp.fsum(x * mp.log(x / y) for x, y in zip(*rows, strict=True) if x)
        for rows in zip(policy, improved, strict=True)
    ]
    gains = [b - a for a, b in zip(worth(policy), worth(improved), strict=True)]
    assert all(map(at_most, short, gains))
    best = [log_sum_exp(q) for q in model.optimal(mp.mpf(1))]
    lost = [b - a for a, b in zip(worth(policy), best, strict=True)]
    assert at_most(max(lost), max(short) / (1 - model.gamma))


@pytest.mark.parametrize("seed", SEEDS)
def test_one_solution_from_every_start(seed: int) -> None:
    model = Model(seed)
    best, other = model.optimal(mp.mpf(1)), model.table()
    backed_up = model.ahead([log_sum_exp(q) for q in other])
    residual = max(abs(x - y) for x, y in zip(flat(backed_up), flat(other), strict=True))
    assert at_most((1 - model.gamma) * max(abs(x - y) for x, y in zip(flat(best), flat(other), strict=True)), residual)
    for _ in range(600):
        other = model.ahead([log_sum_exp(q) for q in other])
    assert all(map(close, flat(other), flat(best)))


class Walks:
    """A small model without a discount, with all trajectories of a policy and their probabilities."""

    def __init__(self, seed: int) -> None:
        self.model = model = Model(seed)
        self.start, self.horizon = draw_row(model.rng, model.S), model.rng.randint(1, 3)
        self.pairs = list(itertools.product(range(model.S), range(model.A)))

    def listed(self, policy: Any) -> list[tuple[Any, Any]]:
        found = []
        for walk in itertools.product(self.pairs, repeat=self.horizon):
            chance = self.start[walk[0][0]]
            for (s, a), (t, _) in itertools.pairwise(walk):
                chance *= self.model.P[s][a][t]
            found.append((walk, chance * mp.fprod(policy[s][a] for s, a in walk)))
        return found

    def objective(self, policy: Any) -> Any:
        H = [shannon(p) for p in policy]
        return mp.fsum(
            chance * mp.fsum(self.model.r[s][a] + H[s] for s, a in walk) for walk, chance in self.listed(policy)
        )

    def weighed(self, policy: Any, weight: Any) -> list[list[Any]]:
        """The mean of the sum over the steps of grad log pi(a | s) times the weight of (walk, step)."""
        gradient = [[mp.mpf(0)] * self.model.A for _ in policy]
        for walk, chance in self.listed(policy):
            for step, (s, a) in enumerate(walk):
                for j in range(self.model.A):
                    gradient[s][j] += chance * weight(walk, step) * ((a == j) - policy[s][j])
        return gradient


@pytest.mark.parametrize("seed", SEEDS)
def test_the_policy_gradients_by_listing_trajectories(seed: int) -> None:
    """Eqs. 27, 29 and 32, with what a trajectory still earns for Q; later entropies count in the soft one."""
    walks = Walks(seed)
    model, policy = walks.model, walks.model.policy(zeros=False)
    H = [shannon(p) for p in policy]
    shift = [mp.mpf(model.rng.uniform(-3, 3)) for _ in policy]
    true = flat(route.in_logits(policy, walks.objective))

    def to_go(walk: Any, step: int) -> Any:
        return mp.fsum(model.r[s][a] for s, a in walk[step:])

    def soft_to_go(walk: Any, step: int) -> Any:
        return to_go(walk, step) + mp.fsum(H[s] for s, _ in walk[step + 1 :])

    def energy(walk: Any, step: int) -> Any:
        s, a = walk[step]
        return mp.log(policy[s][a]) + shift[s]

    def entropies(moving: Any) -> Any:
        worth = [shannon(p) for p in moving]
        return mp.fsum(chance * mp.fsum(worth[s] for s, _ in walk) for walk, chance in walks.listed(moving))

    score_part = walks.weighed(policy, lambda w, t: to_go(w, t) + shift[w[t][0]])
    eq27 = [a + b for a, b in zip(flat(score_part), flat(route.in_logits(policy, entropies)), strict=True)]
    eq29 = flat(walks.weighed(policy, lambda w, t: soft_to_go(w, t) - energy(w, t)))
    # An advantage differs from the action value by a number of the state, here any.
    eq32 = flat(walks.weighed(policy, lambda w, t: soft_to_go(w, t) - 7 * shift[w[t][0]] - energy(w, t)))
    for right in (eq27, eq29, eq32):
        assert all(abs(x - y) < 1e-12 for x, y in zip(true, right, strict=True))
    plain = flat(walks.weighed(policy, lambda w, t: to_go(w, t) - energy(w, t)))
    moved = max(abs(x - y) for x, y in zip(true, plain, strict=True))
    assert (moved < 1e-12) == (walks.horizon == 1 or model.S == 1 or model.A == 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_descent_ends_at_a_shift_of_each_state(seed: int) -> None:
    """On the error of Eq. 30 with the soft advantage: the sum of a row never changes, Q - Q* is one number a row."""
    model = Model(seed)
    best = model.optimal(mp.mpf(1))
    for q in best:
        n = len(q)
        advantage = [v - log_sum_exp(q) for v in q]
        found = [mp.mpf(model.rng.uniform(-1, 1)) for _ in q]
        total = mp.fsum(found)
        for _ in range(4000):
            value, policy = log_sum_exp(found), boltzmann(found)
            errors = [b + value - v for b, v in zip(advantage, found, strict=True)]
            push = mp.fsum(errors)
            found = [v + (e - p * push) / 2 for v, e, p in zip(found, errors, policy, strict=True)]
            if max(map(abs, errors)) < 1e-30:
                break
        assert abs(mp.fsum(found) - total) < 1e-25
        shift = (total - mp.fsum(q)) / n
        assert all(abs(v - w - shift) < 1e-8 for v, w in zip(found, q, strict=True))
