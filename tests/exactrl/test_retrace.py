"""Retrace: fixed point, contraction, truncation, sampled targets by enumeration; and what the print forgets."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from exactrl import ExactRLError, FiniteMDP
from exactrl.formulas.retrace import (
    retrace_coefficients,
    retrace_kernel,
    retrace_operator,
    retrace_targets,
    temporal_differences,
)
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision
from exactrl.off_policy import retrace
from exactrl.sources import garnet


def model(seed=0, states=4, actions=3, discount=0.8):
    rng = np.random.default_rng(seed)
    mdp = garnet(states, actions, 2, seed=seed, discount=discount)
    policy, behaviour = rng.dirichlet(np.ones(actions), (2, states))
    return mdp, policy, behaviour, rng.normal(size=(states, actions))


def true_values(mdp, policy):
    """Q^pi by one linear system over pairs."""
    size = mdp.n_states * mdp.n_actions
    chain = (mdp.transitions[..., None] * policy).reshape(size, size)
    return np.linalg.solve(np.eye(size) - mdp.discount * chain, mdp.expected_rewards.ravel()).reshape(policy.shape)


@pytest.mark.parametrize("steps", [1, 3, None])
@pytest.mark.parametrize("decay", [1.0, 0.5, 0.0])
def test_the_fixed_point_is_the_value_and_the_operator_contracts(steps, decay):
    for seed in range(5):
        mdp, policy, behaviour, q = model(seed)
        if seed == 1:
            behaviour = np.eye(3)[[0, 1, 2, 0]]  # actions never taken
        if seed == 2:
            behaviour = policy
        true = true_values(mdp, policy)
        options = {"steps": steps, "trace_decay": decay}
        np.testing.assert_allclose(retrace(mdp, true, policy, behaviour, **options), true, rtol=1e-12)
        far = np.abs(q - true).max()
        assert np.abs(retrace(mdp, q, policy, behaviour, **options) - true).max() <= mdp.discount * far * (1 + 1e-12)


def test_the_truncated_operator_becomes_the_whole_and_one_step_is_bellmans():
    mdp, policy, behaviour, q = model(1)
    ahead = mdp.transitions @ (policy * q).sum(axis=1)
    bellman = mdp.expected_rewards + mdp.discount * ahead
    np.testing.assert_allclose(retrace(mdp, q, policy, behaviour, steps=1), bellman, rtol=1e-14)
    np.testing.assert_allclose(retrace(mdp, q, policy, behaviour, trace_decay=0), bellman, rtol=1e-14)
    whole = retrace(mdp, q, policy, behaviour)
    np.testing.assert_allclose(retrace(mdp, q, policy, behaviour, steps=400), whole, rtol=1e-12)
    np.testing.assert_allclose(retrace(mdp, q, policy, policy), true_values(mdp, policy), rtol=1e-12)
    sparse = mdp.sparse()
    np.testing.assert_allclose(retrace(sparse, q, policy, behaviour), whole, rtol=1e-13)


def test_the_print_forgets_a_discount_so_that_its_fixed_point_is_another_one():
    """One state, one action, r = 1, gamma = 1/2: Q = 2; the printed operator takes 2 to (2 + 1 + 1/2 + ...) = 4."""
    mdp = FiniteMDP([[[1]]], [[1]], discount=Fraction(1, 2))
    one = np.ones((1, 1))
    assert retrace(mdp, [[2.0]], one, one)[0, 0] == 2.0
    assert retrace(mdp, [[2.0]], one, one, as_printed=True)[0, 0] == 4.0
    assert retrace(mdp, [[2.0]], one, one, steps=1, as_printed=True)[0, 0] == 3.0
    difference = temporal_differences(np.array([1.0]), np.array([2.0]), np.array([2.0]), 0.5, as_printed=True)
    assert difference[0] == 1.0


def averaged_targets(mdp, policy, behaviour, q, start, length, **options):
    """The first target averaged over every trajectory of `length` steps from a pair, each a path weighted by b."""
    paths = itertools.product(range(mdp.n_states), *[range(mdp.n_actions), range(mdp.n_states)] * (length - 1))
    total = mass = 0.0
    for path in paths:
        s, a = start
        states, actions, weight = [s], [a], 1.0
        for t in range(length):
            following = path[2 * t]
            weight *= mdp.transitions[states[-1], actions[-1], following]
            states.append(following)
            if t < length - 1:
                actions.append(path[2 * t + 1])
                weight *= behaviour[following, actions[-1]]
        if weight == 0:
            continue
        s, a = np.array(states[:-1]), np.array(actions)
        with np.errstate(divide="ignore"):
            traces = retrace_coefficients(np.log(policy[s, a]), np.log(behaviour[s, a]))
        ahead = (policy * q).sum(axis=1)[states[1:]]
        targets = retrace_targets(mdp.expected_rewards[s, a], q[s, a], ahead, traces, mdp.discount, **options)
        total, mass = total + weight * targets[0], mass + weight
    assert mass == pytest.approx(1.0, rel=1e-12)
    return total


@pytest.mark.parametrize("as_printed", [False, True])
def test_sampled_targets_average_to_the_operator(as_printed):
    mdp, policy, behaviour, q = model(3, states=2, actions=2, discount=0.9)
    behaviour = np.array([[1.0, 0.0], [0.3, 0.7]])
    for steps in (1, 2, 3, 4):
        operator = retrace(mdp, q, policy, behaviour, steps=steps, as_printed=as_printed)
        for start in np.ndindex(2, 2):
            whole = averaged_targets(mdp, policy, behaviour, q, start, steps, as_printed=as_printed)
            assert whole == pytest.approx(operator[start], rel=1e-12)
            cut = averaged_targets(mdp, policy, behaviour, q, start, 4, steps=steps, as_printed=as_printed)
            assert cut == pytest.approx(operator[start], rel=1e-12)


def test_targets_are_the_printed_double_sum():
    rng = np.random.default_rng(2)
    r, q, ahead = rng.normal(size=(3, 2, 6))
    c, gamma = rng.uniform(size=(2, 6)), 0.7
    for steps in (None, 1, 2, 6, 9):
        expected = np.empty((2, 6))
        for b, t in np.ndindex(2, 6):
            ends = min(6, t + (steps or 6))
            expected[b, t] = q[b, t] + sum(
                gamma ** (j - t) * np.prod(c[b, t + 1 : j + 1]) * (r[b, j] + gamma * ahead[b, j] - q[b, j])
                for j in range(t, ends)
            )
        np.testing.assert_allclose(retrace_targets(r, q, ahead, c, gamma, steps=steps), expected, rtol=1e-13)


def test_the_coefficients_are_cut_at_one():
    c = retrace_coefficients(np.log([0.5, 0.2]), np.log([0.25, 0.8]), 0.5)
    np.testing.assert_allclose(c, [0.5, 0.125])
    with np.errstate(divide="ignore"):
        assert retrace_coefficients(np.log([0.0]), np.log([0.3]))[0] == 0.0


def test_three_number_systems_agree():
    mdp, policy, behaviour, q = model(5)
    behaviour[0] = [0.5, 0.5, 0.0]
    with np.errstate(divide="ignore"):
        logs = np.log(policy), np.log(behaviour)
    table = mdp.transitions.reshape(-1, 4)
    floats = retrace_operator(q, mdp.expected_rewards, table, *logs, mdp.discount, steps=3)
    given = [torch.tensor(np.array(x)) for x in (q, mdp.expected_rewards, table, *logs)]
    np.testing.assert_allclose(retrace_operator(*given, mdp.discount, steps=3).numpy(), floats, rtol=1e-13)
    r, taken, ahead, c = np.random.default_rng(0).uniform(size=(4, 5))
    tensors = [torch.tensor(x) for x in (r, taken, ahead, c)]
    with precision(128):
        xp = namespace(Balls(0))
        exact = [Balls(np.array(x)) for x in (q, mdp.expected_rewards, table)] + [xp.log(Balls(policy))]
        exact.append(xp.log(Balls(behaviour)))
        for enclosed, found in (
            (retrace_operator(*exact, Balls(mdp.discount), steps=3), floats),
            (retrace_kernel(exact[2], *exact[3:], 1), retrace_kernel(table, *logs)),
            *(
                (retrace_targets(*(Balls(x) for x in (r, taken, ahead, c)), Balls(0.9), steps=n), targets)
                for n in (None, 2)
                for targets in (retrace_targets(r, taken, ahead, c, 0.9, steps=n),)
            ),
        ):
            bounds = np.array([float(low) for low, _ in enclosed.bounds()])
            np.testing.assert_allclose(bounds, np.ravel(found), rtol=1e-13, atol=1e-300)
    for n in (None, 2):
        np.testing.assert_allclose(
            retrace_targets(*tensors, 0.9, steps=n).numpy(), retrace_targets(r, taken, ahead, c, 0.9, steps=n)
        )


def test_bad_input_is_named():
    mdp, policy, behaviour, q = model()
    with pytest.raises(ExactRLError, match=r"q_values have shape \(3, 3\): expected \(4, 3\)"):
        retrace(mdp, q[:3], policy, behaviour)
    with pytest.raises(ExactRLError, match="steps is 0: expected a positive number of terms"):
        retrace(mdp, q, policy, behaviour, steps=0)
    with pytest.raises(ExactRLError, match=r"trace_decay is 1\.5"):
        retrace(mdp, q, policy, behaviour, trace_decay=1.5)
    with pytest.raises(ExactRLError, match="sums to"):
        retrace(mdp, q, policy * 0.9, behaviour)
    with pytest.raises(ExactRLError, match="the model has a horizon of 3"):
        retrace(mdp.replace(horizon=3), q, policy, behaviour)
