"""The rigorous surrogate: the truth lies between the bounds, which are as close as the bits promise."""

import builtins
import math
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from exactrl import ExactRLError, TrajectorySpace
from exactrl.sources import bandit, chain, garnet, toy_text, tree
from tests.exactrl.brute_force import BruteForce
from tests.exactrl.test_trajectories import MODELS, TEMPERATURES, policies

HALF = Fraction(1, 2)


@pytest.mark.parametrize("name", MODELS)
def test_the_truth_lies_between_the_bounds(name):
    mdp = MODELS[name]
    space = TrajectorySpace(mdp)
    for policy in policies(mdp):
        brute = BruteForce(mdp, policy)
        for tau, tau_prime in TEMPERATURES[:5]:
            expected, _ = brute.surrogate_and_lifted_return(tau, tau_prime)
            if expected == math.inf:
                with pytest.raises(ExactRLError, match=r"policy\[.*\] is 0 and tau is -3/8: the surrogate is \+inf"):
                    space.surrogate_enclosure(policy, tau=tau, tau_prime=tau_prime)
                continue
            lower, upper = space.surrogate_enclosure(policy, tau=tau, tau_prime=tau_prime)
            assert upper - lower < Fraction(1, 10**33)
            with mpmath.workdps(40):
                bounds = [mpmath.mpf(x.numerator) / x.denominator for x in (lower, upper)]
                assert bounds[0] - mpmath.mpf(10) ** -35 <= expected <= bounds[1] + mpmath.mpf(10) ** -35


def test_exact_logarithms_at_any_precision():
    # SR = log(e^0 + e^0) = log 2 at tau = 0, tau' = 1.
    space = TrajectorySpace(bandit([0, 0]))
    for bits in (20, 64, 128, 400):
        lower, upper = space.surrogate_enclosure([["1/2", "1/2"]], tau=0, tau_prime=1, bits=bits)
        assert 0 < upper - lower < Fraction(8, 2**bits)
        with mpmath.workdps(200):
            assert mpmath.mpf(lower.numerator) / lower.denominator <= mpmath.log(2)
            assert mpmath.mpf(upper.numerator) / upper.denominator >= mpmath.log(2)


def test_the_width_grows_slowly_with_the_horizon():
    policy = np.full((10, 10), 0.1)
    for horizon in (50, 400):
        space = TrajectorySpace(garnet(10, 10, 10, seed=0, horizon=horizon))
        lower, upper = space.surrogate_enclosure(policy, tau=0.5, tau_prime=0.25, bits=128)
        assert upper - lower < Fraction(1, 10**33)
        assert float(lower) == pytest.approx(space.surrogate(policy, tau=0.5, tau_prime=0.25), rel=1e-12)


def test_floats_are_taken_at_their_exact_value():
    space = TrajectorySpace(bandit([0.1, 0.3]))
    exact = TrajectorySpace(bandit(["1/10", "3/10"]))
    policy = [[HALF, HALF]]
    assert space.surrogate_enclosure(policy, tau=0.5, tau_prime=0.25) != exact.surrogate_enclosure(
        policy, tau=0.5, tau_prime=0.25
    )


def test_the_real_tables():
    space = TrajectorySpace(toy_text("FrozenLake-v1", horizon=40, discount=0.95, sparse=True))
    policy = np.full((16, 4), 0.25)
    lower, upper = space.surrogate_enclosure(policy, tau=0.5, tau_prime=0.25)
    assert lower < upper < lower + Fraction(1, 10**30)
    assert space.surrogate(policy, tau=0.5, tau_prime=0.25) == pytest.approx(float(lower), rel=1e-12)


def test_scores_beyond_float64_are_enclosed():
    space = TrajectorySpace(bandit([1, 0]))
    lower, upper = space.surrogate_enclosure([[HALF, HALF]], tau="1e-9", tau_prime=0)
    assert 1 - Fraction(1, 10**8) < lower < upper < 1


def test_bad_input_is_refused():
    space, policy = TrajectorySpace(tree(2, 2, seed=0)), np.full((7, 2), 0.5)
    for bits in (0, 1, -5, 64.0, True, None):
        with pytest.raises(ExactRLError, match=r"bits is .*: expected an integer"):
            space.surrogate_enclosure(policy, tau=1, tau_prime=0, bits=bits)
    for tau, tau_prime, message in (
        (-1, 1, "tau_prime is 0"),
        (math.nan, 1, "tau is nan"),
        (1, "x", "tau_prime is 'x'"),
    ):
        with pytest.raises(ExactRLError, match=message):
            space.surrogate_enclosure(policy, tau=tau, tau_prime=tau_prime)
    with pytest.raises(ExactRLError, match=r"policy\[0, 0\] is nan"):
        space.surrogate_enclosure(policy * math.nan, tau=1, tau_prime=0)
    from exactrl.policies import TabularPolicy

    with pytest.raises(ExactRLError, match="policy is a TabularPolicy, whose logarithms are rounded"):
        space.surrogate_enclosure(TabularPolicy(policy), tau=1, tau_prime=0)


def test_a_zero_out_of_reach_is_no_infinity():
    space = TrajectorySpace(chain(5, horizon=2))
    policy = [[HALF, HALF]] * 2 + [[1, 0]] * 3
    lower, _ = space.surrogate_enclosure(policy, tau=-HALF, tau_prime=1)
    assert float(lower) == pytest.approx(space.surrogate(policy, tau=-0.5, tau_prime=1.0), rel=1e-12)


def test_without_flint_the_extra_is_named(monkeypatch):
    genuine = builtins.__import__

    def missing(name, *rest, **options):
        if name == "exactrl.enclosure":
            raise ModuleNotFoundError("No module named 'flint'", name="flint")
        return genuine(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "exactrl.enclosure", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ExactRLError, match=r"needs python-flint: pip install 'exactrl\[proofs\]'"):
        TrajectorySpace(bandit([1, 2])).surrogate_enclosure([[HALF, HALF]], tau=1, tau_prime=0)
