"""The symbolic proofs hold, fail when a piece of them is spoilt, and agree with plain numbers."""

import math
import random
from fractions import Fraction

import pytest
import sympy

from proofs_checks import symbolic
from proofs_checks.claim import registry
from proofs_checks.claims.mpo import section4_stability

GROWTH = (section4_stability.FEATURE, section4_stability.example, section4_stability.GROWTH)
PROOFS = {
    "lift, tau' = 0": symbolic.lift_identity(entropy=False, dynamics=False),
    "lift": symbolic.lift_identity(entropy=True, dynamics=False),
    "pmd monotone": symbolic.pmd_monotone_identity,
    "pmd slope": symbolic.pmd_slope_identity,
    "ecpo slope": symbolic.ecpo_slope_identity,
    "three points": symbolic.three_point_identity,
    "softmax hessian": symbolic.softmax_hessian,
    "tree recursion": symbolic.tree_recursion_identity,
    "retrace growth": symbolic.fitted_retrace_growth(*GROWTH),
}
SIZES = dict.fromkeys(PROOFS, "n = 2, 3, 4") | {
    "softmax hessian": "2, 3 and 4 actions",
    "tree recursion": "two-step trees with 2 and 3 actions",
    "retrace growth": "2 states and 2 actions",
}


@pytest.mark.parametrize("name", PROOFS)
def test_each_proof_goes_through_and_says_what_it_covers(name):
    text = PROOFS[name]()
    assert text.startswith(f"SymPy, {SIZES[name]}")
    assert text.endswith(".")


@pytest.mark.parametrize("name", PROOFS)
def test_each_proof_fails_when_its_sums_forget_a_term(name, monkeypatch):
    honest = symbolic._require_zero
    seen = []

    def spoilt(expression, what):
        seen.append(what)
        free = sorted(sympy.sympify(expression).free_symbols, key=str)
        honest(expression + (free[0] if free else sympy.Integer(1)) ** 2, what)

    monkeypatch.setattr(symbolic, "_require_zero", spoilt)
    with pytest.raises(symbolic.NotProved, match="the difference of the two sides is"):
        PROOFS[name]()
    assert seen


@pytest.mark.parametrize("name", ["lift, tau' = 0", "lift", "pmd monotone", "pmd slope"])
def test_proofs_that_rest_on_probabilities_need_them_to_sum_to_one(name, monkeypatch):
    monkeypatch.setattr(symbolic, "_sum_to_one", lambda n, letter="p": symbolic._symbols(letter, n))
    with pytest.raises(symbolic.NotProved):
        PROOFS[name]()


def test_a_difference_that_is_not_zero_is_named():
    x = sympy.Symbol("x")
    symbolic._require_zero((x + 1) ** 2 - x**2 - 2 * x - 1, "the square")
    with pytest.raises(symbolic.NotProved, match=r"^the square: the difference of the two sides is x, not 0$"):
        symbolic._require_zero((x + 1) ** 2 - x**2 - x - 1, "the square")


def test_every_proof_of_a_claim_is_one_of_these():
    proofs = {r.proof for c in registry().values() for r in c.readings.values() if r.proof is not None}
    names = {getattr(p, "__qualname__", "").split(".")[0] for p in proofs}
    assert names <= {getattr(p, "__qualname__", "").split(".")[0] for p in PROOFS.values()}
    assert len(names) >= 4


def test_the_growth_of_fitted_retrace_is_proved_and_no_larger_one():
    feature, example, growth = GROWTH
    assert f"less {growth} is a quotient" in PROOFS["retrace growth"]()
    with pytest.raises(symbolic.NotProved, match=r"^the growth factor less 67/65 is .* with positive coefficients$"):
        symbolic.fitted_retrace_growth(feature, example, Fraction(67, 65))()


def test_the_growth_is_that_of_this_feature_and_this_family():
    """Three times as large in the second state, or a discount from 10/11 on, and the words no longer fit."""
    feature, example, growth = GROWTH
    with pytest.raises(symbolic.NotProved, match=r"^the growth factor: the difference of the two sides is"):
        symbolic.fitted_retrace_growth(((0, 1), (0, 3)), example, growth)()
    with pytest.raises(symbolic.NotProved, match="with positive coefficients"):
        symbolic.fitted_retrace_growth(feature, lambda x, y: (1 - 1 / (11 + x), 1 / (2 + y)), growth)()


def test_a_quotient_of_nonnegative_polynomials():
    x, y = sympy.symbols("x y", nonnegative=True)
    symbolic._require_nonnegative((x + y**2) / (1 + x), (x, y), "the quotient")
    for negative in ((x - y) / (1 + x), 1 / (x - 1), -1 / (1 + x), 1 / x):
        with pytest.raises(symbolic.NotProved, match=r"^the quotient is .*, not a quotient of polynomials"):
            symbolic._require_nonnegative(negative, (x, y), "the quotient")


# ------------------------------------------------------------------------------ the same identities in plain numbers


def policy(rng, n):
    weights = [rng.random() + 0.01 for _ in range(n)]
    return [w / sum(weights) for w in weights]


def mean(p, x):
    return sum(a * b for a, b in zip(p, x, strict=True))


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def lift(reference, r, tau, tau_prime):
    eta = tau + tau_prime
    weights = [b ** (tau / eta) * math.exp(x / eta) for b, x in zip(reference, r, strict=True)]
    return [w / sum(weights) for w in weights], sum(weights)


@pytest.mark.parametrize("seed", range(5))
def test_the_lift_identity_in_numbers(seed):
    rng = random.Random(seed)
    n = 2 + seed % 3
    p, b, r = policy(rng, n), policy(rng, n), [rng.uniform(-2, 2) for _ in range(n)]
    tau, tau_prime = rng.uniform(0.2, 2), rng.uniform(0, 2) * (seed > 1)
    target, z = lift(b, r, tau, tau_prime)
    objective = mean(p, r) - tau * kl(p, b) - tau_prime * mean(p, [math.log(x) for x in p])
    assert objective == pytest.approx((tau + tau_prime) * (math.log(z) - kl(p, target)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_monotone_identity_in_numbers(seed):
    rng = random.Random(seed)
    n = 2 + seed % 3
    new, old, r, tau = policy(rng, n), policy(rng, n), [rng.uniform(-2, 2) for _ in range(n)], rng.uniform(0.2, 2)
    target, _ = lift(old, r, tau, 0)
    rise = tau * (kl(old, target) - kl(new, target) + kl(new, old))
    assert mean(new, r) - mean(old, r) == pytest.approx(rise, abs=1e-12)
