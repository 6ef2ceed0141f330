r"""The surrogate between rational bounds: the backward recursion in balls, from the exact values of everything.

With $Z_{T+1}=1$ and $Z_t(s)=\sum_{a,s'}P(s'\mid s,a)\exp\{\gamma^{t-1}r(s,a,s')/\eta\}\,\pi_t(a\mid s)^{\tau/\eta}
Z_{t+1}(s')$ the surrogate is $\eta\log\sum_s\mu(s)Z_1(s)$.  Balls have exponents without bounds, so the sums stay as
they are; their relative width grows only linearly with the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.edges import Edges, Ints
from exactrl.entries import Numbers, entry, read_number, read_numbers
from exactrl.errors import ExactRLError, Uncertain
from exactrl.formulas import total_temperature
from exactrl.mdp import FiniteMDP
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, ball, precision
from exactrl.policies import Policy, as_log_policy

MOST_BITS = 1_000_000


def surrogate_bounds(
    edges: Edges, mdp: FiniteMDP, policy: Any, tau: Any, tau_prime: Any, bits: int
) -> tuple[Fraction, Fraction]:
    """Return exact rational lower and upper bounds of the surrogate; see `TrajectorySpace.surrogate_enclosure`."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= MOST_BITS:
        raise ExactRLError(f"bits is {bits!r}: expected an integer between 2 and {MOST_BITS:,}, the working precision")
    tau, tau_prime = _exact("tau", tau), _exact("tau_prime", tau_prime)
    temperature = total_temperature(tau, tau_prime)
    table = _exact_policy(policy, mdp)
    _refuse_unbounded(edges, table, tau, mdp.horizon or 1)
    with precision(bits):
        try:
            value = _surrogate(edges, mdp, table, tau, temperature)
            (bounds,) = value.bounds()
        except (Uncertain, ValueError, OverflowError) as error:
            raise ExactRLError(
                f"the surrogate cannot be enclosed at {bits} bits: give more, or rewards of another scale ({error})"
            ) from error
    return bounds


def _surrogate(edges: Edges, mdp: FiniteMDP, table: Numbers, tau: Fraction, temperature: Fraction) -> Balls:
    xp = namespace(Balls(0))
    continuation = Balls(np.ones(mdp.n_states, dtype=object))
    padded, target = _padded(edges)
    for weights in _weights(edges, mdp, table, tau, temperature):
        terms = xp.concat([weights, Balls([0])])[padded] * continuation[target]
        continuation = xp.sum(terms)
    partition = xp.sum(Balls(_values(edges.initial)) * continuation)
    return Balls(temperature) * xp.log(partition)


def _weights(edges: Edges, mdp: FiniteMDP, table: Numbers, tau: Fraction, temperature: Fraction) -> Iterator[Balls]:
    """Yield the weights (E,) of the edges from the last step to the first; what stays the same is computed once."""
    xp = namespace(Balls(0))
    probability = Balls(_values(edges.probability))
    distinct, which = _distinct(edges.reward)
    scores = Balls(distinct) / Balls(temperature)
    discounts = _powers(mdp.discount_exact, mdp.horizon or 1)
    policies = _values(table) if len(table.shape) == 3 else _values(table)[None]
    for t in reversed(range(len(discounts))):
        last = t == len(discounts) - 1
        if last or mdp.discount_exact != 1:
            earned = xp.exp(Balls(discounts[t]) * scores)[which] * probability
        if last or len(policies) > 1:
            chosen = _power(policies[t % len(policies)], tau / temperature)[edges.source, edges.action]
        if last or mdp.discount_exact != 1 or len(policies) > 1:
            weights = earned * chosen
        yield weights


def _power(policy: Any, exponent: Fraction) -> Balls:
    """Return policy ** exponent; a zero has the exact power 0 or 1 (a negative exponent meets no zero in reach)."""
    xp = namespace(Balls(0))
    zero = np.asarray(policy == 0, dtype=np.bool_)
    powers: Balls = xp.exp(Balls(exponent) * xp.log(Balls(np.where(zero, 1, policy))))
    return powers * Balls((~zero | (exponent == 0)).astype(np.int64))


def _powers(discount: Fraction, horizon: int) -> list[Any]:
    """Return 1, gamma, gamma^2, ... as balls."""
    factor = ball(discount)
    powers = [ball(1)]
    for _ in range(horizon - 1):
        powers.append(powers[-1] * factor)
    return powers


def _padded(edges: Edges) -> tuple[Ints, Ints]:
    """Return the edges of every state and their targets as rectangles (S, B), filled with an edge E of weight 0."""
    column = np.arange(len(edges.source)) - edges.first[edges.source]
    padded = np.full((len(edges.out), int(edges.out.max())), len(edges.source), dtype=np.int64)
    padded[edges.source, column] = np.arange(len(edges.source))
    return padded, np.append(edges.target, 0)[padded]


def _distinct(numbers: Numbers) -> tuple[Any, Ints]:
    """Return the different values among the numbers, and for each number the place of its value."""
    places: dict[Any, int] = {}
    which = [places.setdefault(value, len(places)) for value in _values(numbers).tolist()]
    distinct = np.empty(len(places), dtype=object)
    distinct[:] = list(places)
    return distinct, np.array(which, dtype=np.int64)


def _values(numbers: Numbers) -> Any:
    """Return the exact values: floats as they are, or Fractions."""
    return numbers.floats if numbers.given is None else numbers.given


def _exact_policy(policy: Any, mdp: FiniteMDP) -> Numbers:
    if isinstance(policy, Policy):
        raise ExactRLError(
            f"policy is a {type(policy).__name__}, whose logarithms are rounded: "
            "expected an array (S, A) or (T, S, A) of probabilities, floats or rationals"
        )
    as_log_policy(policy, horizon=mdp.horizon or 1, n_states=mdp.n_states, n_actions=mdp.n_actions)
    return read_numbers(policy, "policy")


def _refuse_unbounded(edges: Edges, table: Numbers, tau: Fraction, horizon: int) -> None:
    if tau >= 0:
        return
    wrong = np.argwhere(edges.reachable(horizon)[:-1, :, None] & table.is_zero())
    if len(wrong):
        index = wrong[0][-len(table.shape) :].tolist()
        raise ExactRLError(
            f"{entry('policy', index)} is 0 and tau is {tau}: the surrogate is +inf, expected a finite one to enclose"
        )


def _exact(name: str, value: Any) -> Fraction:
    number = read_number(value, name)
    if not math.isfinite(number):
        raise ExactRLError(f"{name} is {number}: expected a finite number")
    return Fraction(number)
