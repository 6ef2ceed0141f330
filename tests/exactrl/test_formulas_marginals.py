"""Marginals of a trajectory and their derivatives in three number systems, against sums over all trajectories."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from exactrl.formulas.chains import (
    chain_of,
    discounted_system,
    expected_following,
    expected_next,
    next_marginal,
    policy_kernel,
)
from exactrl.formulas.marginals import chain_slopes, mean_slopes, next_marginal_slopes
from exactrl.number_systems.balls import Balls, precision
from exactrl.number_systems.rationals import normalised
from tests.exactrl.three_views import Floats, Intervals, Tensors

STEPS = 3


class Case:
    """A start, dynamics, a positive policy, numbers of the states and of the pairs; zeros among the dynamics."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.S, self.A = int(rng.integers(1, 4)), int(rng.integers(1, 4))

        def rows(*shape, least):
            weights = rng.integers(least, 9, shape)
            weights[..., 0] += weights.sum(-1) == 0
            flat = [normalised([Fraction(int(w)) for w in row]) for row in weights.reshape(-1, shape[-1])]
            return np.array(flat, dtype=object).reshape(shape)

        self.start = rows(self.S, least=0)
        self.dynamics = rows(self.S, self.A, self.S, least=0)
        self.policy = rows(self.S, self.A, least=1)
        self.values = np.array([Fraction(int(k), 3) for k in rng.integers(-9, 9, self.S)], dtype=object)
        drawn = rng.integers(-9, 9, (self.S, self.A))
        self.slopes = np.vectorize(lambda k: Fraction(int(k), 5), otypes=[object])(drawn)

    def listed(self):
        """The marginal of every step and its derivative in every logit, by the scores of whole trajectories."""
        states, actions = range(self.S), range(self.A)
        marginals = np.full((STEPS, self.S), Fraction(0), dtype=object)
        slopes = np.full((STEPS, self.S, self.A, self.S), Fraction(0), dtype=object)
        for t in range(STEPS):
            for walk in itertools.product(*[states, actions] * t, states):
                chance, score = self.start[walk[0]], np.full((self.S, self.A), Fraction(0), dtype=object)
                for s, a, following in zip(walk[:-1:2], walk[1::2], walk[2::2], strict=True):
                    chance = chance * self.policy[s, a] * self.dynamics[s, a, following]
                    score[s] -= self.policy[s]
                    score[s, a] += 1
                marginals[t, walk[-1]] += chance
                slopes[t, :, :, walk[-1]] += chance * score
        return marginals, slopes

    def walked(self, view):
        """The same by the formulas, step by step, and the derivative of a mean at the last step."""
        start, dynamics, policy = (view.number(x) for x in (self.start, self.dynamics, self.policy))
        chain = chain_of(policy, dynamics)
        moved = chain_slopes(policy, dynamics, chain)
        marginals, slopes = [start], [moved * 0]
        for _ in range(STEPS - 1):
            slopes.append(next_marginal_slopes(slopes[-1], marginals[-1], chain, moved))
            marginals.append(next_marginal(marginals[-1], chain))
        mean = mean_slopes(slopes[-1], marginals[-1], view.number(self.values), view.number(self.slopes))
        return marginals, slopes, mean

    def expected_mean(self):
        marginals, slopes = self.listed()
        moved = (slopes[-1] * self.values).sum(axis=-1)
        return moved + marginals[-1][:, None] * self.slopes


def one_step(s, c, formula):
    """A formula of the marginals one step from the start."""
    policy, dynamics, start = s.number(c.policy), s.number(c.dynamics), s.number(c.start)
    return formula(chain_of(policy, dynamics), policy, dynamics, start)


ENTRIES = {
    "chain_of": lambda s, c: chain_of(s.number(c.policy), s.number(c.dynamics)),
    "next_marginal": lambda s, c: one_step(s, c, lambda chain, policy, dynamics, start: next_marginal(start, chain)),
    "expected_following": lambda s, c: expected_following(s.number(c.dynamics), s.number(c.values)),
    "discounted_system": lambda s, c: discounted_system(s.number(c.dynamics[:, 0]), s.number(Fraction(7, 8))),
    "chain_slopes": lambda s, c: one_step(
        s, c, lambda chain, policy, dynamics, _: chain_slopes(policy, dynamics, chain)
    ),
    "next_marginal_slopes": lambda s, c: one_step(
        s,
        c,
        lambda chain, policy, dynamics, start: next_marginal_slopes(
            dynamics, start, chain, chain_slopes(policy, dynamics, chain)
        ),
    ),
    "mean_slopes": lambda s, c: mean_slopes(
        s.number(c.dynamics), s.number(c.start), s.number(c.values), s.number(c.slopes)
    ),
}


@pytest.mark.parametrize("seed", range(10))
def test_the_chain_by_loops_over_fractions(seed):
    """Both layouts of the dynamics; the system has the discounted sum as its solution."""
    c = Case(seed)
    flat = c.dynamics.reshape(-1, c.S)
    expected = [[sum(c.policy[s, a] * c.dynamics[s, a, t] for a in range(c.A)) for t in range(c.S)] for s in range(c.S)]
    chain = chain_of(c.policy, c.dynamics)
    assert chain.tolist() == policy_kernel(c.policy, flat).tolist() == expected
    ahead = [[sum(c.dynamics[s, a] * c.values) for a in range(c.A)] for s in range(c.S)]
    assert expected_following(c.dynamics, c.values).tolist() == expected_next(flat, c.values).tolist() == ahead
    system = discounted_system(chain, Fraction(7, 8))
    assert all(isinstance(x, Fraction) for x in system.ravel())
    values = np.linalg.solve(system.astype(float), c.values.astype(float))
    summed = c.values.astype(float) + 7 / 8 * (chain.astype(float) @ values)
    np.testing.assert_allclose(values, summed, rtol=1e-12)


def test_a_batch_of_models_is_its_models():
    """Every layout and one discount a model."""
    cases = [c for c in map(Case, range(60)) if (c.S, c.A) == (2, 3)][:3]
    policy, dynamics, values = (
        np.stack([getattr(c, name) for c in cases]).astype(float) for name in ("policy", "dynamics", "values")
    )
    discount = np.array([0.0, 0.5, 0.9])
    chain, ahead = chain_of(policy, dynamics), expected_following(dynamics, values)
    assert np.array_equal(expected_next(dynamics.reshape(3, 6, 2), values), ahead)
    system = discounted_system(chain, discount)
    shared = expected_following(dynamics[0], values)
    for i in range(3):
        np.testing.assert_allclose(chain[i], chain_of(policy[i], dynamics[i]), rtol=1e-15)
        np.testing.assert_allclose(ahead[i], expected_following(dynamics[i], values[i]), rtol=1e-15)
        np.testing.assert_allclose(shared[i], expected_following(dynamics[0], values[i]), rtol=1e-15)
        np.testing.assert_allclose(system[i], np.eye(2) - discount[i] * chain[i], rtol=1e-15)


@pytest.mark.parametrize("view", [Floats(), Tensors()], ids=["floats", "tensors"])
@pytest.mark.parametrize("seed", range(10))
def test_floats_and_tensors(seed, view):
    case = Case(seed)
    marginals, slopes, mean = case.walked(view)
    exact = (*case.listed()[0], *case.listed()[1], case.expected_mean())
    for found, expected in zip((*marginals, *slopes, mean), exact, strict=True):
        np.testing.assert_allclose(np.asarray(found), expected.astype(float), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("seed", range(10))
def test_balls_hold_the_exact_numbers(seed):
    case = Case(seed)
    expected = (*case.listed()[0], *case.listed()[1], case.expected_mean())
    with precision(128):
        marginals, slopes, mean = case.walked(Intervals())
        for found, exact in zip((*marginals, *slopes, mean), expected, strict=True):
            assert found.shape == exact.shape
            for (low, high), number in zip(Balls(found.data).bounds(), exact.ravel(), strict=True):
                assert low <= number <= high
                assert high - low < Fraction(1, 10**30)


def test_a_batch_is_walked_row_by_row():
    cases = [c for c in map(Case, range(40)) if (c.S, c.A) == (2, 3)][:2]
    assert len(cases) == 2
    stacked = [np.stack([getattr(c, name) for c in cases]).astype(float) for name in ("policy", "dynamics", "start")]
    chain = chain_of(stacked[0], stacked[1])
    moved = chain_slopes(stacked[0], stacked[1], chain)
    found = next_marginal_slopes(moved * 0, stacked[2], chain, moved)
    for i, case in enumerate(cases):
        np.testing.assert_allclose(found[i], case.listed()[1][1].astype(float), atol=1e-15)
