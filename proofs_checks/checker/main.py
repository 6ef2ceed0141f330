"""Check certificates of refuted and ill-posed claims, alone: this file needs Python and python-flint, nothing else.

    python -I proofs_checks/checker/main.py FILE...

A certificate names a claim, an instance in exact rationals, and the two sides of the claimed relation.  The checker
reads the instance, holds it against the assumptions that the source prints, evaluates both sides afresh in ball
arithmetic at rising precision, and accepts only if the relation is certainly false and both printed values are the true
ones.  It shares no code with the library: this is the project's one deliberate second copy of its formulas, derived
from the source again in the most direct way, by plain loops over trajectories.

The file reads from top to bottom: exact input, certain comparisons, the source's quantities, one function a claim, the
table of claims, and the verdict on a file.  The format is described in README.md beside it.

Notation of the source (ECPO): n trajectories rho, a reference policy, returns r, temperatures tau and tau', and
eta = tau + tau'.  The lift q(rho) is proportional to reference exp{(r - tau' log reference) / eta}, that is to
exp{(r + tau log reference) / eta}; with tau > 0 it is zero where the reference is zero.  Logarithms are natural, and
0 log 0 = 0.

A second source, soft Q-learning, is the paper Reinforcement Learning with Deep Energy-Based Policies; its claims begin
with `soft_q`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from flint import arb, arb_mat, ctx, fmpq, fmpz

SCHEMA = "exactrl.certificate/1"
KEYS = ("schema", "claim", "reading", "verdict", "instance", "condition", "component", "left", "relation", "right",
        "precision", "reason")  # fmt: skip
REASONS = ("0 * inf", "inf - inf", "division by 0", "inf / inf", "log of a negative number")
LADDER = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
DIGITS = 20  # significant digits of the two sides

MAX_BYTES = 1_000_000
MAX_DIGITS = 5_000  # of a numerator or a denominator
MAX_SIZE = 64  # of an axis of an array
MAX_TRAJECTORIES = 4_096  # of a two-step decision process
MAX_HORIZON = 200
MAX_SAMPLES = 8
MAX_TUPLES = 1_000_000  # n^samples


class Rejected(Exception):
    """The certificate does not show what it says; the message tells why."""


class Uncertain(Exception):
    """This precision cannot tell; the next one may."""


class Undefined(Exception):
    """An operation on extended reals has no value; the message is one of REASONS."""


# ------------------------------------------------------------------------------------------------------ exact input


def quoted(value: object) -> str:
    """Show a value of the file on one line of printable characters, shortened."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def parse(data: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no floats, no NaN, no long integers, no deep nesting."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, count in Counter(name for name, _ in items).most_common(1):
            if count > 1:
                raise Rejected(f"key {quoted(name)} stands twice")
        return dict(items)

    def integer(text: str) -> int:
        if len(text) > 9 or text == "-0":
            raise Rejected(f"integer {quoted(text)} is not canonical or too long")
        return int(text)

    def refuse(text: str) -> Any:
        raise Rejected(f"number {quoted(text)} is not allowed: values are integers or strings of rationals")

    if len(data) > MAX_BYTES:
        raise Rejected(f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=refuse, parse_constant=refuse)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Rejected(f"not JSON: {error}") from None
    except RecursionError:
        raise Rejected("not a certificate: nested too deeply") from None


def rational(where: str, value: object) -> fmpq:
    """Read '-?digits' or '-?digits/digits' in lowest terms, in the one canonical spelling."""
    match = re.fullmatch(r"(-?[0-9]+)(?:/([0-9]+))?", value) if isinstance(value, str) else None
    if match is None:
        raise Rejected(f"{where}: {quoted(value)} is not an exact rational such as '3', '-1/2'")
    if max(len(part or "") for part in match.groups()) > MAX_DIGITS:
        raise Rejected(f"{where}: more than {MAX_DIGITS} digits")
    top, bottom = fmpz(match[1]), fmpz(match[2] or "1")
    number = fmpq(top, bottom) if bottom != 0 else None
    if number is None or value != (f"{number.p}" if number.q == 1 else f"{number.p}/{number.q}"):
        raise Rejected(f"{where}: {quoted(value)} is not canonical: lowest terms, no leading zeros, no '-0'")
    return number


def whole(where: str, value: object) -> int:
    """Read a JSON integer; true and false are not integers."""
    if type(value) is not int:
        raise Rejected(f"{where}: {quoted(value)} is not an integer")
    return value


@dataclass(frozen=True)
class Field:
    """What an instance holds under a name: an array of rationals with named or fixed axes, or a count, and its rule."""

    rule: str
    axes: tuple[str | int, ...] = ()
    least: int = 1
    most: int = 1

    def read(self, where: str, value: object, sizes: dict[str | int, int]) -> Any:
        """Read the value exactly and hold it against the rule; `sizes` collects the lengths of the named axes."""
        if self.rule == "count":
            number = whole(where, value)
            if not self.least <= number <= self.most:
                raise Rejected(f"{where}: {number} is not between {self.least} and {self.most}")
            return number
        array = read_array(where, value, self.axes, sizes)
        for place, row in rows(where, array, len(self.axes)):
            for i, entry in enumerate(row):
                name = f"{place}[{i}]" if self.axes else place
                if self.rule in ("positive", "positive distribution") and not entry > 0:
                    raise Rejected(f"{name}: must be > 0")
                if self.rule in ("nonnegative", "distribution") and not entry >= 0:
                    raise Rejected(f"{name}: must be >= 0")
                if self.rule == "within 1" and not -1 <= entry <= 1:
                    raise Rejected(f"{name}: must be between -1 and 1")
                if self.rule == "discount" and not 0 <= entry < 1:
                    raise Rejected(f"{name}: must be at least 0 and below 1")
            if self.rule.endswith("distribution") and sum(row, fmpq(0)) != 1:
                raise Rejected(f"{place}: probabilities do not sum to 1 exactly")
        return array


def read_array(where: str, value: object, axes: tuple[str | int, ...], sizes: dict[str | int, int]) -> Any:
    """Read nested lists of rationals."""
    if not axes:
        return rational(where, value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIZE:
        raise Rejected(f"{where}: not a list of 1 to {MAX_SIZE} entries")
    expected = sizes.setdefault(axes[0], len(value)) if isinstance(axes[0], str) else axes[0]
    if len(value) != expected:
        raise Rejected(f"{where}: {len(value)} entries where {expected} are expected")
    return [read_array(f"{where}[{i}]", entry, axes[1:], sizes) for i, entry in enumerate(value)]


def rows(where: str, array: Any, depth: int) -> Iterator[tuple[str, list[fmpq]]]:
    """Yield the rows along the last axis, each with its place; a scalar is a row of one."""
    if depth <= 1:
        yield where, array if depth else [array]
    else:
        for i, part in enumerate(array):
            yield from rows(f"{where}[{i}]", part, depth - 1)


# ---------------------------------------------------------------------------------------------- certain comparisons

#: relation -> (certainly false, certainly true, how it fails), judged on the ball of left - right
RELATIONS: dict[str, tuple[Callable[[arb], bool], Callable[[arb], bool], str]] = {
    "==": (lambda gap: gap.is_finite() and not gap.contains(0), lambda gap: gap.is_zero(), "is not equal to"),
    "<=": (lambda gap: gap > 0, lambda gap: gap <= 0, "is not at most"),
    ">": (lambda gap: gap <= 0, lambda gap: gap > 0, "is not above"),
}


def decimal(x: arb, last: bool) -> str | None:
    """Round to nearest at 20 significant digits, the same for every number of the ball; None if that is not certain.

    With 10^e <= |x| < 10^(e+1) the digits are floor(|x| 10^(19-e) + 1/2), halves away from zero.  Rounding is monotone,
    so one answer for both ends holds for the ball.  At the last precision a ball that still contains 0 counts as 0.
    """
    if x.is_zero() or (last and x.is_finite() and x.contains(0)):
        return "0"
    if not x.is_finite() or x.contains(0):
        return None
    size, sign = abs(x), "-" if x < 0 else ""
    with ctx.workprec(ctx.prec + 256):
        guess = (size.lower().log() / arb(10).log()).mid().floor().unique_fmpz()
        for exponent in () if guess is None else (int(guess) + 1, int(guess), int(guess) - 1):
            k = DIGITS - 1 - exponent
            scaled = size * arb(10) ** k if k >= 0 else size / arb(10) ** -k
            if scaled >= 10 ** (DIGITS - 1):  # certainly: a ball around a power of ten is taken one place lower
                digits = (scaled + fmpq(1, 2)).floor().unique_fmpz()
                return None if digits is None else sign + spell(str(digits), exponent)
    return None


def spell(digits: str, exponent: int) -> str:
    """Write digits 10^(exponent - 19) as 'd.ddd' without trailing zeros, then 'e' and the exponent."""
    exponent += len(digits) - DIGITS  # 9.99...9 may have become 10
    tail = digits[1:].rstrip("0")
    return digits[0] + ("." + tail if tail else "") + f"e{exponent}"


def settle(sides: Callable[[], tuple[Any, Any]], relation: str) -> tuple[str, str]:
    """Evaluate both sides at rising precision until the relation is certainly false and both roundings are certain.

    A side that is infinite is the float inf, never a ball, so that a ball without bounds is not taken for it.
    """
    certainly_false, certainly_true, _ = RELATIONS[relation]
    for precision in LADDER:
        with ctx.workprec(precision):
            try:
                values = sides()
            except Uncertain:
                continue
            left, right = map(arb, values)
            if certainly_true(left - right):
                raise Rejected("the relation holds on this instance")
            if not certainly_false(left - right):
                continue
            printed = [
                "inf" if isinstance(value, float) else decimal(side, last=precision == LADDER[-1])
                for value, side in zip(values, (left, right), strict=True)
            ]
            if printed[0] is not None and printed[1] is not None:
                return printed[0], printed[1]
    raise Rejected(f"not settled at {LADDER[-1]} bits: no certain violation, or digits that stay open")


# ------------------------------------------------------------------------------------------ the source's quantities
# A logarithm of zero is None: such a trajectory carries no weight.

Logs = list[Any]


def log(x: Any) -> arb:
    """Log of a positive rational or ball."""
    return arb(x).log()


def total(terms: Iterable[Any]) -> arb:
    """Sum of balls and rationals."""
    return sum(terms, arb(0))


def largest(values: Iterable[arb]) -> arb:
    """Largest midpoint, an exact number: what exponents are shifted by before exp."""
    mids = [value.mid() for value in values]
    best = mids[0]
    for mid in mids[1:]:
        best = mid if mid > best else best
    return best


def log_sum_exp(logs: Logs) -> arb:
    """log of the sum of exp."""
    finite = [x for x in logs if x is not None]
    shift = largest(finite)
    return shift + log(total((x - shift).exp() for x in finite))


def scores(log_reference: Logs, returns: list[fmpq], tau: Any, eta: Any) -> Logs:
    """(r + tau log reference) / eta for each trajectory."""
    return [None if lp is None else (r + tau * lp) / eta for lp, r in zip(log_reference, returns, strict=True)]


def log_lift(log_reference: Logs, returns: list[fmpq], tau: Any, eta: Any) -> Logs:
    """Log of the lift, Eq. 5: scores less the log of their normaliser."""
    unnormalised = scores(log_reference, returns, tau, eta)
    log_z = log_sum_exp(unnormalised)
    return [None if x is None else x - log_z for x in unnormalised]


def logs(probabilities: list[fmpq]) -> Logs:
    """Log of each probability, None for zero."""
    return [log(p) if p > 0 else None for p in probabilities]


def exps(log_values: Logs) -> list[arb]:
    """Undo `logs`."""
    return [arb(0) if x is None else x.exp() for x in log_values]


def divergence(p: list[fmpq], log_q: Logs) -> Any:
    """KL(p || q), the float inf where p > 0 = q."""
    pairs = [(x, log_y) for x, log_y in zip(p, log_q, strict=True) if x > 0]
    if any(log_y is None for _, log_y in pairs):
        return math.inf
    return total(x * (log(x) - log_y) for x, log_y in pairs)


def uniform(n: int) -> list[fmpq]:
    """The uniform policy on n trajectories."""
    return [fmpq(1, n)] * n


def score_function(policy: list[fmpq], rho: int, j: int) -> fmpq:
    """d log pi(rho) / d logit_j of a softmax policy with one logit a trajectory: 1[rho = j] - pi(j)."""
    return (1 if rho == j else 0) - policy[j]


def self_normalised(chance: dict[Any, arb], omega: dict[Any, arb], grad: dict[Any, arb], samples: int) -> arb:
    """The expectation of -sum_k exp(omega_k) grad_k / sum_j exp(omega_j) over all K-tuples of independent samples.

    The order of the samples does not matter, so tuples are taken sorted, each with the number of its orders.
    """
    shift = largest(omega.values())
    weight = {rho: (value - shift).exp() for rho, value in omega.items()}
    expectation = arb(0)
    for drawn in itertools.combinations_with_replacement(chance, samples):
        orders = math.factorial(samples) // math.prod(math.factorial(count) for count in Counter(drawn).values())
        probability = math.prod((chance[rho] for rho in drawn), start=arb(orders))
        estimate = -total(weight[rho] * grad[rho] for rho in drawn) / total(weight[rho] for rho in drawn)
        expectation += probability * estimate
    return expectation


def summed_regret(start: list[fmpq], returns: list[fmpq], horizon: int, horizon_at: Callable[[int], int]) -> arb:
    """Regret of Theorem 1 on the simplex, where projection is the identity: max r - E r = E (max r - r), summed."""
    log_n, log_policy, summed = log(len(start)), logs(start), arb(0)
    for t in range(1, horizon + 1):
        summed += total(p * (max(returns) - r) for p, r in zip(exps(log_policy), returns, strict=True))
        if t < horizon:
            tau, eta = schedule(horizon_at(t), log_n)
            log_policy = log_lift(log_policy, returns, tau, eta)
    return summed


def schedule(h: int, log_n: arb) -> tuple[arb, arb]:
    """Theorem 1: tau' = 1 / sqrt(h log n) and eta = sqrt h / sqrt(2 log n), returned as tau and eta."""
    eta = arb(h).sqrt() / (2 * log_n).sqrt()
    return eta - 1 / (h * log_n).sqrt(), eta


def two_steps(x: Any) -> Iterator[tuple[tuple[int, int, int], fmpq, fmpq, fmpq]]:
    """Trajectories (a1, s2, a2) of a two-step process in order: dynamics f, reference density (no f), return."""
    A, S = len(x.first), len(x.second)
    for a, s, b in itertools.product(range(A), range(S), range(A)):
        yield (a, s, b), x.transitions[a][s], x.first[a] * x.second[s][b], x.first_rewards[a] + x.second_rewards[s][b]


def two_step_lift(x: Any) -> tuple[dict[tuple[int, int, int], arb], arb]:
    """The lift of Lemma 8 in a two-step process: log of its density where that is not 0, log of its normaliser.

    The density is exp{(r + tau log reference) / eta} / Z with Z = sum of f exp{(r + tau log reference) / eta}.
    """
    eta = x.tau + x.tau_prime
    score = {rho: (r + x.tau * log(ref)) / eta for rho, _, ref, r in two_steps(x) if ref > 0}
    log_z = log_sum_exp([log(f) + score[rho] for rho, f, ref, _ in two_steps(x) if ref > 0])
    return {rho: value - log_z for rho, value in score.items()}, log_z


# ------------------------------------------------------------------------ refuted claims: the two sides of each one
# Each function takes the instance x and the component, and returns the left and the right side.


def pmd_convergence(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of E r under PMD on the simplex, against the largest return.

    Projection is the identity there, so that pi_t is proportional to pi_1 exp{(t - 1) r / tau}.  With tau > 0 it comes
    to lie on the trajectories of the largest return among those with pi_1 > 0; elsewhere it stays 0.
    """
    return max(r for r, p in zip(x.returns, x.start, strict=True) if p > 0), max(x.returns)


def prop2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """PMD at theta = 0 of the class pi_theta proportional to (p_1 e^{u_1 theta}, ..., p_n e^{u_n theta}, theta^2).

    The last trajectory has probability 0 there, and so it has in the lift (tau > 0).  For theta != 0 it has mass, so
    KL(pi_theta || lift) is infinite, and the exact Project step stays at theta = 0.  The derivative of theta^2 is 0;
    what is left is the derivative of E r: sum of p_i (u_i - E_p u) r_i.
    """
    mean = sum((p * u for p, u in zip(x.policy, x.tangent, strict=True)), start=fmpq(0))
    rise = sum((p * (u - mean) * r for p, u, r in zip(x.policy, x.tangent, x.returns, strict=True)), start=fmpq(0))
    return rise, 0


def thm2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """ECPO with tau' = tau at theta = 0 of the class pi_theta = (theta^2, 1) / (1 + theta^2).

    The lift of (0, 1) is (0, 1), and KL((0, 1) || pi_theta) = log(1 + theta^2) is least, with derivative 0, at 0.  With
    eta = 2 tau: SR = eta log(|theta| e^{r_1 / eta} + e^{r_2 / eta}) - tau log(1 + theta^2), whose slope to the right
    of 0 is eta e^{(r_1 - r_2) / eta}, and to the left its negative.
    """
    eta = 2 * x.tau
    return arb(eta) * arb((x.returns[0] - x.returns[1]) / eta).exp(), 0


def sec3_nonzero(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The smallest probability of the lift, against 0."""
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, x.tau + x.tau_prime))
    smallest = q[0]
    for value in q[1:]:
        smallest = smallest.min(value)
    return smallest, 0


def lemma1(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The expectation of the estimator over all K-tuples of samples, against the gradient of KL(q || pi)."""
    (j,) = component
    eta = x.tau + x.tau_prime
    support = [rho for rho, p in enumerate(x.reference) if p > 0]
    chance = {rho: arb(x.reference[rho]) for rho in support}
    omega = {rho: (x.returns[rho] - x.tau_prime * log(x.reference[rho])) / eta for rho in support}
    grad = {rho: arb(score_function(x.policy, rho, j)) for rho in support}
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, eta))
    gradient = -total(w * score_function(x.policy, rho, j) for rho, w in enumerate(q))
    return self_normalised(chance, omega, grad, x.samples), gradient


def regret(x: Any, horizon_at: Callable[[int], int]) -> tuple[Any, Any]:
    """Regret on the simplex, against 4 sqrt(T log n)."""
    bound = 4 * (x.horizon * log(len(x.start))).sqrt()
    return summed_regret(x.start, x.returns, x.horizon, horizon_at), bound


def thm1_lemma4_wlog(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Lemma 4 for any returns; pi and its lift q are zero at the same places, where 0 log 0 = 0."""
    eta = x.tau + x.tau_prime
    log_q = log_lift(logs(x.policy), x.returns, x.tau, eta)
    change = total((p - q) * log(p) for p, q in zip(x.policy, exps(log_q), strict=True) if p > 0)
    return divergence(x.policy, log_q), 1 / (2 * eta * eta) + x.tau_prime / eta * change


def thm1_start(x: Any, _: list[int]) -> tuple[Any, Any]:
    """KL(pi || pi_1), against log n."""
    return divergence(x.member, logs(x.start)), log(len(x.start))


def thm1_sum_bound(n: int, T: int) -> arb:
    """The last line of the proof: sqrt(2 T log n) + (1 / tau)(1 / sqrt 2 + 1) + sqrt(T log n)."""
    log_n = log(n)
    tau, _ = schedule(T, log_n)
    return (2 * T * log_n).sqrt() + (1 / arb(2).sqrt() + 1) / tau + (T * log_n).sqrt()


def thm1_sum(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Regret on the simplex from the uniform policy, against that bound; `far` plays no part."""
    n = len(x.far)
    return summed_regret(uniform(n), x.returns, x.horizon, lambda t: x.horizon), thm1_sum_bound(n, x.horizon)


def thm1_sum_on_a_segment(x: Any, _: list[int]) -> tuple[Any, Any]:
    """One step on the segment from the uniform policy to `far`: a linear function is largest at an end."""
    n = len(x.far)
    ends = [sum((p * r for p, r in zip(end, x.returns, strict=True)), fmpq(0)) for end in (uniform(n), x.far)]
    return max(ends) - ends[0], thm1_sum_bound(n, 1)


def lemma2_limit0(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR as the temperatures vanish: the largest return on the support of the policy.

    With tau > 0 a trajectory of probability zero adds nothing to SR.  On the support, eta log of a sum of n terms
    exp(s / eta) lies within eta log n of the largest s = r + tau log pi, and that one lies within tau max |log pi| of
    the largest return there.
    """
    return max(r for r, p in zip(x.returns, x.policy, strict=True) if p > 0), max(x.returns)


def lemma2_softmax(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR as tau vanishes and tau' > 0 stays, against the softmax value over all trajectories.

    A trajectory of probability zero adds nothing to SR while tau > 0.  On the support tau log pi vanishes and eta comes
    to be tau', so that finitely many terms have the limits exp{r / tau'}.
    """
    everywhere = [arb(r) / x.tau_prime for r in x.returns]
    support = [value if p > 0 else None for value, p in zip(everywhere, x.policy, strict=True)]
    return x.tau_prime * log_sum_exp(support), x.tau_prime * log_sum_exp(everywhere)


def sec4_onesample(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The mean of Q - tau' log reference over one action from the reference, against the soft optimal value."""
    eta = x.tau + x.tau_prime
    pairs = zip(x.reference, x.action_values, strict=True)
    mean = total(p * (Q - x.tau_prime * log(p)) for p, Q in pairs if p > 0)
    return mean, eta * log_sum_exp(scores(logs(x.reference), x.action_values, x.tau, eta))


def eq9(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The derivative E (V - [Q - tau' log reference]) of the loss at V = V*, which vanishes at a minimum."""
    mean, optimal = sec4_onesample(x, _)
    return optimal - mean, 0


def lemma7(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The gradient of L = sum of p log p - p log pi, against the gradient of Eq. 26 as printed."""
    (j,) = component
    eta = x.tau + x.tau_prime
    left = right = arb(0)
    for a, (ref, Q) in enumerate(zip(x.reference, x.action_values, strict=True)):
        if ref > 0:
            p = ((Q + x.tau * log(ref) - x.value) / eta).exp()
            left -= p * score_function(x.policy, a, j)
            weight = ((Q - x.tau_prime * log(ref) - x.value) / eta).exp()
            right += ref * weight * score_function(x.policy, a, j)
    return left, right


def sec1_wlog(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The largest value of E [r - tau' log pi] - tau KL over policies, against the one over densities, SR_f.

    Over policies: backwards, each state on its own, since log pi(rho) = log pi(a1) + log pi(a2 | s2) and likewise for
    the reference; E_pi [Q + tau log ref - eta log pi] has the largest value eta log sum exp{(Q + tau log ref) / eta}.
    """
    eta = x.tau + x.tau_prime
    second = zip(x.second, x.second_rewards, strict=True)
    V = [eta * log_sum_exp(scores(logs(ref), r, x.tau, eta)) for ref, r in second]
    ahead = [total(f * v for f, v in zip(row, V, strict=True)) for row in x.transitions]
    Q = [r + value for r, value in zip(x.first_rewards, ahead, strict=True)]
    return eta * log_sum_exp(scores(logs(x.first), Q, x.tau, eta)), eta * two_step_lift(x)[1]


def appd_policy(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The density of Lemma 8, summed over the last action, after (a1, s2) and after (a1, 0).

    A policy has density pi(a1) pi(a2 | s2), and its sum over a2 is pi(a1) whatever s2.
    """
    a1, s2 = component
    if s2 == 0:
        raise Rejected("component: the state compared with state 0 must be another one")
    density = {rho: value.exp() for rho, value in two_step_lift(x)[0].items()}
    after = [total(density.get((a1, s, b), arb(0)) for b in range(len(x.first))) for s in (s2, 0)]
    return after[0], after[1]


def appd_prop4_i(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR_f as the temperatures vanish: the largest return where the policy is not 0; see lemma2_limit0."""
    return max(r for _, _, ref, r in two_steps(x) if ref > 0), max(r for _, _, _, r in two_steps(x))


def appd_thm4(x: Any, component: list[int]) -> tuple[Any, Any]:
    """Lemma 1 for samples from reference and dynamics, in the logits of the first action."""
    (j,) = component
    eta = x.tau + x.tau_prime
    log_density, _ = two_step_lift(x)
    chance, omega, grad, gradient = {}, {}, {}, arb(0)
    for rho, f, ref, r in two_steps(x):
        if ref > 0:
            chance[rho] = arb(ref * f)
            omega[rho] = (r - x.tau_prime * log(ref)) / eta
            grad[rho] = arb(score_function(x.policy, rho[0], j))
            gradient -= f * log_density[rho].exp() * grad[rho]
    return self_normalised(chance, omega, grad, x.samples), gradient


# Soft Q-learning: a policy pi on a model with dynamics P(s' | s, a), rewards r and a discount; sums for integrals.


def shannon(policy: list[fmpq]) -> arb:
    """H(pi) = -sum of pi log pi."""
    return -total(p * log(p) for p in policy if p > 0)


def soft_action_values(x: Any) -> list[list[arb]]:
    """Eq. 15, with the entropy parameter 1: Q(s, a) = r + discount sum of P V, where V = H(pi) + sum of pi Q.

    So V - discount P_pi V = r_pi + H(pi), a linear system that is solved in balls.
    """
    S, A = len(x.rewards), len(x.rewards[0])
    system, right = [], []
    for s in range(S):
        right.append(total(x.policy[s][a] * x.rewards[s][a] for a in range(A)) + shannon(x.policy[s]))
        for t in range(S):
            chance = sum((x.policy[s][a] * x.dynamics[s][a][t] for a in range(A)), fmpq(0))
            system.append(arb((1 if s == t else 0) - x.discount * chance))
    try:
        V = arb_mat(S, S, system).solve(arb_mat(S, 1, right)).entries()
    except ZeroDivisionError:
        raise Uncertain from None
    ahead = [[total(p * v for p, v in zip(row, V, strict=True)) for row in of_state] for of_state in x.dynamics]
    return [[x.rewards[s][a] + x.discount * ahead[s][a] for a in range(A)] for s in range(S)]


def soft_q_eq10(x: Any, _: list[int]) -> tuple[Any, Any]:
    """alpha log of the sum of exp(Q / alpha), against the same sum over the actions that the proposal takes.

    E_q [exp(Q / alpha) / q] is the sum of q exp(Q / alpha) / q over the actions with q > 0.
    """
    every = [arb(Q / x.alpha) for Q in x.action_values]
    taken = [score for score, q in zip(every, x.proposal, strict=True) if q > 0]
    return x.alpha * log_sum_exp(every), x.alpha * log_sum_exp(taken)


def soft_q_eq20(x: Any, component: list[int]) -> tuple[Any, Any]:
    """discount^2 E_{s2} of H(pi) + E_pi Q, against that of H(pi) + E_q Q with q proportional to exp Q.

    s2 is reached from (s, a) by way of s1 and an action of q.
    """
    s, a = component
    Q = soft_action_values(x)
    q = [exps([value - log_sum_exp(row) for value in row]) for row in Q]

    def value(law: list[Any], s2: int) -> arb:
        return shannon(x.policy[s2]) + total(p * v for p, v in zip(law, Q[s2], strict=True))

    left = right = arb(0)
    for s1, first in enumerate(x.dynamics[s][a]):
        for a1, chance in enumerate(q[s1]):
            for s2, second in enumerate(x.dynamics[s1][a1]):
                weight = x.discount * x.discount * first * second * chance
                left += weight * value(x.policy[s2], s2)
                right += weight * value(q[s2], s2)
    return left, right


def soft_q_eq28(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The derivative of E H(pi(. | s2)) in one logit of a softmax policy, against the printed expectation.

    E H = sum over s1, a1, s2 of start pi(a1 | s1) P(s2 | s1, a1) H(s2).  The logit j of state s changes pi(a | s) at
    the rate pi(a | s) (1[a = j] - pi(j | s)), and H(s) = -sum of pi log pi at the rate -sum of d pi (log pi + 1).
    """
    s, j = component
    slope = [p * score_function(x.policy[s], a, j) for a, p in enumerate(x.policy[s])]
    left = right = arb(0)
    for s1, start in enumerate(x.initial):
        for a1, following in enumerate(x.dynamics[s1]):
            for s2, chance in enumerate(following):
                if s1 == s:
                    left += start * slope[a1] * chance * shannon(x.policy[s2])
                if s2 == s:
                    weight = start * x.policy[s1][a1] * chance
                    left -= weight * total(d * (log(p) + 1) for d, p in zip(slope, x.policy[s], strict=True))
                    for a, p in enumerate(x.policy[s]):
                        right -= weight * p * score_function(x.policy[s], a, j) * (1 + log(p))
    return left, right


# ------------------------------------------------------------------------------- refuted claims of the MPO paper
# States s of weight mu(s), a policy pi(a | s), values Q(s, a), a radius epsilon; multipliers eta and gamma.


def states(x: Any) -> Iterator[tuple[fmpq, list[fmpq], list[fmpq]]]:
    """Weight, policy and values of each state."""
    yield from zip(x.weights, x.policy, x.q_values, strict=True)


def best_actions(policy: list[fmpq], values: list[fmpq]) -> fmpq:
    """The probability of the actions of largest value among those that the policy takes."""
    best = max(v for p, v in zip(policy, values, strict=True) if p > 0)
    return sum((p for p, v in zip(policy, values, strict=True) if p > 0 and v == best), fmpq(0))


def mpo_greedy(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The least divergence of a policy that is optimal without the constraint, against epsilon.

    Such a policy takes only the best actions A of its state, and of these pi(. | A) is nearest, at -log pi(A).
    A policy proportional to pi e^{Q / eta} stays below this divergence, which it has in the limit eta to 0 only; so the
    slope of the dual, epsilon - divergence, is positive everywhere if epsilon is at least as large.
    """
    return total(-mu * log(best_actions(policy, values)) for mu, policy, values in states(x) if mu > 0), x.epsilon


def mpo_greedy_domain(x: Any, _: str) -> None:
    """Where Q is constant on every policy nothing depends on eta, and nothing is claimed."""
    if all(mu == 0 or best_actions(policy, values) == 1 for mu, policy, values in states(x)):
        raise Rejected("q_values: constant among the actions of the policy in every state of positive weight")


def log_partition(policy: list[fmpq], values: list[fmpq], eta: Any) -> arb:
    """log of the sum of pi exp(Q / eta)."""
    return log_sum_exp([log(p) + arb(v) / eta for p, v in zip(policy, values, strict=True) if p > 0])


def mpo_retrace(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The printed target summed over paths of up to `steps` terms, at Q = Q^pi, against Q.

    Q is the value of pi under the rewards r = Q - gamma E[E_pi Q].  From (s, a) the bracket has the mean
    r + E[E_pi Q] - Q; the next pair comes with P b, and its trace min(1, pi / b) makes that P min(b, pi).
    """
    s0, a0 = component
    pairs = list(itertools.product(range(len(x.policy)), range(len(x.policy[0]))))
    both = zip(x.policy, x.q_values, strict=True)
    mean = [sum((p * q for p, q in zip(policy, values, strict=True)), fmpq(0)) for policy, values in both]
    bracket = {}
    for s, a in pairs:
        ahead = sum((f * v for f, v in zip(x.transitions[s][a], mean, strict=True)), fmpq(0))
        reward = x.q_values[s][a] - x.discount * ahead
        bracket[s, a] = reward + ahead - x.q_values[s][a]
    weight, target = {(s0, a0): fmpq(1)}, x.q_values[s0][a0]
    for _ in range(x.steps):
        target += sum((w * bracket[pair] for pair, w in weight.items()), fmpq(0))
        following = {pair: fmpq(0) for pair in pairs}
        for (s, a), w in weight.items():
            for t, b in pairs:
                following[t, b] += w * x.discount * x.transitions[s][a][t] * min(x.behaviour[t][b], x.policy[t][b])
        weight = following
    return target, x.q_values[s0][a0]


def mpo_retrace_domain(x: Any, _: str) -> None:
    """A discount below 1, and little work."""
    if not x.discount < 1:
        raise Rejected("discount: must be < 1")
    if len(x.policy) * len(x.policy[0]) > 16:
        raise Rejected("policy: more than 16 pairs of a state and an action")


def mpo_joint(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The value of masses m(s, a) = mu(s) q(a | s) that sum to 1 over all pairs, against the dual at eta."""
    value = fmpq(0)
    for mass, chosen, values in zip(x.masses, x.challenger, x.q_values, strict=True):
        value += mass * sum((c * v for c, v in zip(chosen, values, strict=True)), fmpq(0))
    soft = total(mu * log_partition(policy, values, x.eta) for mu, policy, values in states(x))
    return value, x.eta * (x.epsilon + soft)


def mpo_joint_domain(x: Any, _: str) -> None:
    """The divergence, the sum of m log(m / (mu pi)), is certainly below epsilon."""
    pairs = []
    for mu, mass, chosen, policy in zip(x.weights, x.masses, x.challenger, x.policy, strict=True):
        pairs += [(mass * c, mu * p) for c, p in zip(chosen, policy, strict=True) if mass * c > 0]
    if any(base == 0 for _, base in pairs):
        raise Rejected("challenger: mass where the policy has none, so that the divergence is infinite")
    for precision in LADDER:
        with ctx.workprec(precision):
            gap = total(m * (log(m) - log(base)) for m, base in pairs) - x.epsilon
            if gap < 0:
                return
            if gap >= 0:
                break
    raise Rejected("epsilon: the divergence of the challenger is not certainly below it")


def mpo_tangent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The rise of the Lagrangian from the first q to the second, against that of the printed tangent at the first.

    L is concave in q, so that a derivative at the first q lies above the rise.
    """
    rise = linear = arb(0)
    for s, (mu, policy, values) in enumerate(states(x)):
        for p, v, q, r in zip(policy, values, x.first[s], x.second[s], strict=True):
            for sign, z in ((1, r), (-1, q)):
                rise += sign * mu * z * (v - x.eta * (log(z) - log(p)) - x.multiplier)
            slope = v - x.eta * log(q) + x.eta * log(p) - (x.eta - x.multiplier)
            linear += mu * (r - q) * slope
    return rise, linear


def mpo_normaliser(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The average over states of the log mass of pi e^{Q / eta} Z, where Z, the printed factor, is its sum."""
    return 2 * total(mu * log_partition(policy, values, x.eta) for mu, policy, values in states(x)), 0


def mpo_taylor(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Second derivatives for two actions, logits 0 and c theta: of theta^2 / F, and of the divergence, F = c^2 p q."""
    information = x.feature * x.feature * x.policy[0] * x.policy[1]
    return 2 / information, information


def mpo_prior(x: Any, _: list[int]) -> tuple[Any, Any]:
    """-1/2 d' (F / lambda)^-1 d, against -lambda d' F^-1 d, for F = L L': d' F^-1 d is the square of L^-1 d."""
    solved: list[fmpq] = []
    for i, d in enumerate(x.step):
        known = sum((x.below[i][j] * solved[j] for j in range(i)), fmpq(0))
        solved.append((d - known) / x.diagonal[i])
    length = x.penalty * sum((z * z for z in solved), fmpq(0))
    return -length / 2, -length


def mpo_reward(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The least denominator of q / pi among the actions that q takes."""
    return min(p for p, q in zip(x.policy, x.q, strict=True) if q > 0), 0


def mpo_parts(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The printed C_mu of two Gaussians of one mean and diagonal covariances: 1/2 (tr - n + log |S| / |S_i|)."""
    trace = sum(((i / j) ** 2 for i, j in zip(x.diagonal_i, x.diagonal, strict=True)), fmpq(-len(x.diagonal)))
    return total([trace, *(2 * log(j / i) for i, j in zip(x.diagonal_i, x.diagonal, strict=True))]) / 2, 0


def mpo_descent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """E_q log N(a; m, sigma^2) - multiplier (m - m_i)^2 / (2 sigma^2) before and after a step of descent in m.

    The derivative is (E_q a - m - multiplier (m - m_i)) / sigma^2; the step size is sigma^2 / (1 + multiplier).
    """
    pull = sum((q * a for q, a in zip(x.target, x.actions, strict=True)), fmpq(0)) - x.mean
    pull -= x.multiplier * (x.mean - x.mean_i)

    def lagrangian(mean: fmpq) -> arb:
        squares = sum((q * (a - mean) ** 2 for q, a in zip(x.target, x.actions, strict=True)), fmpq(0))
        squares += x.multiplier * (mean - x.mean_i) ** 2
        return arb(-squares / (2 * x.deviation**2)) - log(x.deviation) - (2 * arb.pi()).log() / 2

    return lagrangian(x.mean), lagrangian(x.mean - pull / (1 + x.multiplier))


# -------------------------------------------------------------------- ill-posed claims: the printed expressions
# Extended reals: rationals, balls for other finite values, and the floats inf and -inf.  Conventions: log 0 = -inf,
# exp(-inf) = 0, exp(inf) = inf; x log y is 0 at x = 0, and nothing else that is undefined is given a value.

Extended = Any


def plus(x: Extended, y: Extended) -> Extended:
    """x + y."""
    if isinstance(x, float) and isinstance(y, float) and x != y:
        raise Undefined("inf - inf")
    return x if isinstance(x, float) else y if isinstance(y, float) else x + y


def minus(x: Extended, y: Extended) -> Extended:
    """x - y."""
    return plus(x, -y)


def times(x: fmpq, y: Extended) -> Extended:
    """x y for a rational x."""
    if not isinstance(y, float):
        return x * y
    if x == 0:
        raise Undefined("0 * inf")
    return y if x > 0 else -y


def over(x: Extended, y: fmpq) -> Extended:
    """x / y for a rational y."""
    if y == 0:
        raise Undefined("division by 0")
    return x / y if not isinstance(x, float) else x if y > 0 else -x


def exp(x: Extended) -> Extended:
    """exp x."""
    if isinstance(x, float):
        return math.inf if x > 0 else fmpq(0)
    return arb(x).exp()


def scaled_log(scale: fmpq, x: fmpq) -> Extended:
    """scale * log x for x >= 0, which is 0 for scale = 0 by convention."""
    if scale == 0:
        return fmpq(0)
    return times(scale, log(x) if x > 0 else -math.inf)


def lift_numerators(x: Any, trajectories: Iterable[tuple[fmpq, fmpq]]) -> None:
    """reference * exp{(r - tau' log reference) / (tau + tau')}, one trajectory after the other."""
    for reference, r in trajectories:
        times(reference, exp(over(minus(r, scaled_log(x.tau_prime, reference)), x.tau + x.tau_prime)))


def surrogate(x: Any) -> None:
    """SR = eta log of the sum of exp{(r + tau log pi) / eta}.

    Once the exponents are defined so is the rest: at least one is finite, since the policy sums to 1, and none is +inf.
    """
    for p, r in zip(x.policy, x.returns, strict=True):
        over(plus(r, scaled_log(x.tau, p)), x.tau + x.tau_prime)


def lemma2_upper(x: Any) -> None:
    """SR, then rhat = r - tau' log pi and its largest absolute value, then the sum of pi (rhat - rhat_inf)^2.

    The term E rhat is read as E r + tau' H(pi), where 0 log 0 = 0; the squares leave no such reading.
    """
    surrogate(x)
    rhat = [minus(r, scaled_log(x.tau_prime, p)) for p, r in zip(x.policy, x.returns, strict=True)]
    if any(isinstance(value, float) for value in rhat):  # otherwise everything is finite
        summed: Extended = fmpq(0)
        for p, value in zip(x.policy, rhat, strict=True):
            distance = minus(value, math.inf)
            summed = plus(summed, times(p, math.inf if isinstance(distance, float) else distance * distance))


def extended_divergence(p: list[fmpq], log_q: Logs) -> Extended:
    """KL(p || q), the sum over trajectories of p log p - p log q, both 0 at p = 0."""
    summed: Extended = fmpq(0)
    for x, log_y in zip(p, log_q, strict=True):
        if x > 0:
            summed = plus(summed, minus(x * log(x), times(x, -math.inf if log_y is None else log_y)))
    return summed


def sec4_temporal(x: Any) -> None:
    """E_{a ~ pi} of r + O(pi, s') + tau log reference - eta log pi, each product of a probability and a term alone."""
    eta = x.tau + x.tau_prime

    def consistent(policy: list[fmpq], reference: list[fmpq], rewards: list[Extended]) -> Extended:
        summed: Extended = fmpq(0)
        for p, b, r in zip(policy, reference, rewards, strict=True):
            summed = plus(summed, times(p, r))
            if p > 0:
                summed = plus(summed, times(x.tau * p, log(b) if b > 0 else -math.inf))
                summed = minus(summed, eta * p * log(p))
        return summed

    rows = zip(x.policy_second, x.second, x.second_rewards, strict=True)
    later = [consistent(policy, reference, list(rewards)) for policy, reference, rewards in rows]
    consistent(x.policy_first, x.first, [plus(r, v) for r, v in zip(x.first_rewards, later, strict=True)])


def thm1_step(x: Any) -> Extended:
    """KL(pi || pi_t) - KL(pi || lift); on the simplex the lift is the next policy.  All else in the bound is finite."""
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau + x.tau_prime)
    return minus(extended_divergence(x.member, logs(x.policy)), extended_divergence(x.member, lift))


def thm1_threepoint(x: Any) -> None:
    """KL(pi || pi_t) - KL(pi || lift) + KL(pi_t || lift).

    Where this is defined, pi is 0 wherever pi_t is, and (pi - pi_t) log pi_t is 0 there by convention: all is finite.
    """
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau + x.tau_prime)
    plus(thm1_step(x), extended_divergence(x.policy, lift))


def tangent(x: Any) -> list[fmpq]:
    """The derivative of pi_theta along logits that move by u = first_tangent: pi (u - E u)."""
    mean = sum((p * u for p, u in zip(x.policy, x.first_tangent, strict=True)), fmpq(0))
    return [p * (u - mean) for p, u in zip(x.policy, x.first_tangent, strict=True)]


def prop2_condition(x: Any) -> None:
    """Eq. 14: the sum of [log pi - log lift + 1] d pi, where lift is that of PMD."""
    summed: Extended = fmpq(0)
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau)
    for lp, lq, d in zip(logs(x.policy), lift, tangent(x), strict=True):
        difference = minus(*(-math.inf if value is None else value for value in (lp, lq)))
        summed = plus(summed, times(d, plus(difference, fmpq(1))))


def thm2_condition(x: Any) -> None:
    """Eq. 16: the sum of exp{(r + tau log pi) / eta} (1 / pi) d pi."""
    summed: Extended = fmpq(0)
    for p, r, d in zip(x.policy, x.returns, tangent(x), strict=True):
        weight = exp(over(plus(r, scaled_log(x.tau, p)), x.tau + x.tau_prime))
        summed = plus(summed, times(d, times(over(fmpq(1), p), weight)))


# ------------------------------------------------------------------------------------------------ the table of claims

REAL, POSITIVE, NONNEGATIVE = Field("real"), Field("positive"), Field("nonnegative")
TEMPERATURES = {"tau": POSITIVE, "tau_prime": NONNEGATIVE}
ANY_TEMPERATURES = {"tau": NONNEGATIVE, "tau_prime": NONNEGATIVE}
REALS_N, REALS_2 = Field("real", ("n",)), Field("real", (2,))
FULL_FIRST, FULL_SECOND = Field("positive distribution", ("A",)), Field("positive distribution", ("S", "A"))
PROBABILITIES, FULL_SUPPORT = Field("distribution", ("n",)), Field("positive distribution", ("n",))
HORIZON = Field("count", least=1, most=MAX_HORIZON)
SAMPLES, MANY_SAMPLES = (Field("count", least=least, most=MAX_SAMPLES) for least in (1, 2))
WITHIN_1 = Field("within 1", ("n",))
TWO_STEPS = {
    "first": Field("distribution", ("A",)),
    "transitions": Field("positive distribution", ("A", "S")),
    "second": Field("distribution", ("S", "A")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("S", "A")),
    **TEMPERATURES,
}

TREE = {
    "first": Field("distribution", ("A",)),
    "second": Field("distribution", ("A", "L")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("A", "L")),
    "policy_first": Field("distribution", ("A",)),
    "policy_second": Field("distribution", ("A", "L")),
    **TEMPERATURES,
}

THEOREM4 = {**TWO_STEPS, "policy": FULL_FIRST, "samples": SAMPLES}


def enough_work(x: Any, _: str) -> None:
    """Bound the enumerations."""
    n = len(x.first) ** 2 * len(x.second) if hasattr(x, "first") else len(getattr(x, "reference", ()))
    if n > MAX_TRAJECTORIES:
        raise Rejected(f"first: more than {MAX_TRAJECTORIES} trajectories")
    if hasattr(x, "samples") and n**x.samples > MAX_TUPLES:
        raise Rejected(f"samples: more than {MAX_TUPLES} tuples")


def regret_domain(x: Any, claim: str) -> None:
    """log n > 0; where tau is negative at the first step, the lift needs a start without zeros."""
    if len(x.start) < 2:
        raise Rejected("start: at least two trajectories are needed, since log 1 = 0")
    if claim.endswith("anytime") and x.horizon >= 2 and min(x.start) == 0:
        raise Rejected("start: must be strictly positive, since tau < 0 at step 1")


def sum_domain(x: Any, _: str) -> None:
    """log n > 0."""
    if len(x.far) < 2:
        raise Rejected("far: at least two trajectories are needed, since log 1 = 0")


def segment_domain(x: Any, claim: str) -> None:
    """The first policy is given; the later ones need a projection, which is not computed here."""
    sum_domain(x, claim)
    if x.horizon > 1:
        raise Rejected("horizon: on a segment only a horizon of 1 is checked, since no policy is projected here")


def small_model(x: Any, _: str) -> None:
    """Bound the sums over two steps."""
    if len(x.dynamics) ** 2 * len(x.dynamics[0]) ** 2 > MAX_TRAJECTORIES:
        raise Rejected(f"dynamics: more than {MAX_TRAJECTORIES} pairs of steps")


@dataclass(frozen=True)
class Refuted:
    """A claimed relation: the fields of an instance under each reading, the two sides, their names in a sentence."""

    relation: str
    fields: dict[str, dict[str, Field]]
    sides: Callable[[Any, list[int]], tuple[Any, Any]]
    left: str
    right: str
    component: tuple[str, ...] = ()
    domain: Callable[[Any, str], None] = enough_work
    verdict: ClassVar[str] = "refuted"


@dataclass(frozen=True)
class IllPosed:
    """A printed expression: the fields of an instance under each reading, and its evaluation in extended reals."""

    fields: dict[str, dict[str, Field]]
    evaluate: Callable[[Any], None]
    domain: Callable[[Any, str], None] = enough_work
    verdict: ClassVar[str] = "ill-posed"
    relation: ClassVar[str] = "undefined"
    component: ClassVar[tuple[str, ...]] = ()


def readings(literal: dict[str, Field], **intended: Field) -> dict[str, dict[str, Field]]:
    """The fields of both readings; the intended one, if there is one, narrows some of them."""
    return {"literal": literal} | ({"intended": literal | intended} if intended else {})


LEMMA1 = {"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES, "policy": FULL_SUPPORT, "samples": SAMPLES}
THEOREM1 = {"start": PROBABILITIES, "returns": REALS_N, "horizon": HORIZON}
LIMIT = {"policy": PROBABILITIES, "returns": REALS_N, "tau_rate": POSITIVE, "tau_prime_rate": NONNEGATIVE}
ONE_SAMPLE = {"action_values": REALS_N, "reference": PROBABILITIES, **TEMPERATURES}
SUM = {"far": PROBABILITIES, "returns": WITHIN_1, "horizon": HORIZON}
ONE_POLICY = {"policy": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}
TANGENTS = {"policy": PROBABILITIES, "returns": REALS_N, "first_tangent": REALS_N, "second_tangent": REALS_N}
MODEL = {
    "dynamics": Field("distribution", ("S", "A", "S")),
    "rewards": Field("real", ("S", "A")),
    "discount": Field("discount"),
    "policy": Field("distribution", ("S", "A")),
}
SECOND_STEP = {
    "initial": Field("distribution", ("S",)),
    "dynamics": Field("distribution", ("S", "A", "S")),
    "policy": Field("positive distribution", ("S", "A")),
}
LEMMA7 = {"action_values": REALS_N, "reference": PROBABILITIES, "policy": FULL_SUPPORT, "value": REAL, **TEMPERATURES}

STATES_MPO = {
    "policy": Field("distribution", ("s", "a")),
    "q_values": Field("real", ("s", "a")),
    "weights": Field("distribution", ("s",)),
}
GREEDY_MPO = {**STATES_MPO, "epsilon": POSITIVE}
FULL_MPO, MASSES_MPO = Field("positive distribution", ("s", "a")), Field("positive", ("s", "a"))

#: (claim, condition) -> what is shown
TABLE: dict[tuple[str, str], Refuted | IllPosed] = {
    ("ecpo.pmd.convergence", "optimal"): Refuted(
        "==", readings({"start": PROBABILITIES, "returns": REALS_N, "tau": POSITIVE}),
        pmd_convergence, "the limit of the expected return under PMD", "the largest return",
    ),
    ("ecpo.prop2.fixed", "stationary"): Refuted(
        "==", readings({"policy": FULL_SUPPORT, "tangent": REALS_N, "returns": REALS_N, "tau": POSITIVE}),
        prop2_fixed, "the derivative of the expected return at a fixed point of PMD", "",
    ),
    ("ecpo.thm2.fixed", "stationary"): Refuted(
        "==", readings({"returns": REALS_2, "tau": POSITIVE}),
        thm2_fixed, "the slope of SR to the right of a fixed point of ECPO", "",
    ),
    ("ecpo.sec3.nonzero", "nonzero"): Refuted(
        ">", readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        sec3_nonzero, "the smallest probability of the lifted distribution", "",
    ),
    ("ecpo.lemma1", "unbiased"): Refuted(
        "==", readings(LEMMA1, reference=FULL_SUPPORT, samples=MANY_SAMPLES),
        lemma1, "the expectation of the estimator", "the gradient", component=("n",),
    ),
    ("ecpo.thm1.fixed", "regret"): Refuted(
        "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: x.horizon),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.thm1.anytime", "regret"): Refuted(
        "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: t),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.thm1.lemma4.wlog", "divergence"): Refuted(
        "<=", readings(ONE_POLICY),
        thm1_lemma4_wlog, "the divergence of the policy from its lift", "the bound of Lemma 4",
    ),
    ("ecpo.thm1.start", "start"): Refuted(
        "<=", readings({"member": PROBABILITIES, "start": PROBABILITIES}),
        thm1_start, "the divergence from the first policy", "log n",
    ),
    ("ecpo.thm1.sum", "sum"): Refuted(
        "<=", readings(SUM), thm1_sum, "the regret on the simplex", "the bound", domain=sum_domain,
    ),
    ("ecpo.thm1.sum", "sum on a segment"): Refuted(
        "<=", readings(SUM), thm1_sum_on_a_segment, "the regret on the segment", "the bound", domain=segment_domain,
    ),
    ("ecpo.lemma2.limit0", "limit"): Refuted(
        "==", readings(LIMIT),
        lemma2_limit0, "the limit of SR", "the largest return",
    ),
    ("ecpo.lemma2.softmax", "limit"): Refuted(
        "==", readings({**ONE_POLICY, "tau_prime": POSITIVE}),
        lemma2_softmax, "the limit of SR", "the softmax value over all trajectories",
    ),
    ("ecpo.sec4.onesample", "unbiased"): Refuted(
        "==", readings(ONE_SAMPLE, reference=FULL_SUPPORT),
        sec4_onesample, "the expectation of the one-sample estimate", "the soft optimal value",
    ),
    ("ecpo.eq9", "stationary"): Refuted(
        "==", readings(ONE_SAMPLE, reference=FULL_SUPPORT),
        eq9, "the derivative of the loss at the soft optimal value", "",
    ),
    ("ecpo.lemma7", "gradient"): Refuted(
        "==", readings(LEMMA7),
        lemma7, "the gradient of the loss", "the printed gradient", component=("n",),
    ),
    ("ecpo.sec1.wlog", "value"): Refuted(
        "==", readings(TWO_STEPS),
        sec1_wlog, "the largest value over policies", "the largest value over densities of trajectories",
    ),
    ("ecpo.appd.policy", "policy"): Refuted(
        "==", readings(TWO_STEPS, first=FULL_FIRST, second=FULL_SECOND),
        appd_policy, "the lifted density summed over the last action", "the same sum after state 0",
        component=("A", "S"),
    ),
    ("ecpo.appd.prop4.i", "limit"): Refuted(
        "==", readings(TWO_STEPS), appd_prop4_i, "the limit of SR_f", "the largest return",
    ),
    ("ecpo.appd.thm4", "unbiased"): Refuted(
        "==", readings(THEOREM4, first=FULL_FIRST, second=FULL_SECOND, samples=MANY_SAMPLES),
        appd_thm4, "the expectation of the estimator", "the gradient", component=("A",),
    ),
    ("soft_q.eq10", "soft value"): Refuted(
        "==", readings({"action_values": REALS_N, "proposal": PROBABILITIES, "alpha": POSITIVE}),
        soft_q_eq10, "the soft value", "its expectation under the proposal",
    ),
    ("soft_q.eq20", "second step"): Refuted(
        "<=", readings(MODEL), soft_q_eq20,
        "the second step under the policy", "the second step as printed", component=("S", "A"), domain=small_model,
    ),
    ("soft_q.eq28", "gradient"): Refuted(
        "==", readings(SECOND_STEP), soft_q_eq28,
        "the gradient of the expected entropy", "the printed expectation", component=("S", "A"), domain=small_model,
    ),
    ("mpo.eq8", "of the printed form"): Refuted(
        ">", readings(GREEDY_MPO), mpo_greedy,
        "the least divergence of an optimal policy without the constraint", "epsilon", domain=mpo_greedy_domain,
    ),
    ("mpo.eq9.minimiser", "a minimiser exists"): Refuted(
        ">", readings(GREEDY_MPO), mpo_greedy,
        "the divergence that those of Eq. 8 stay below", "epsilon", domain=mpo_greedy_domain,
    ),
    ("mpo.eq13.retrace", "fixed point"): Refuted(
        "==", readings({
            "policy": Field("distribution", ("s", "a")), "behaviour": Field("distribution", ("s", "a")),
            "transitions": Field("distribution", ("s", "a", "s")), "q_values": Field("real", ("s", "a")),
            "discount": NONNEGATIVE, "steps": Field("count", least=1, most=MAX_HORIZON),
        }),
        mpo_retrace, "the printed target at the values of the policy", "their value",
        component=("s", "a"), domain=mpo_retrace_domain,
    ),
    ("mpo.appa.reward", "denominator"): Refuted(
        ">", readings({"policy": Field("distribution", ("a",)), "q": Field("positive distribution", ("a",))}),
        mpo_reward, "the least probability under pi of an action that q takes", "",
    ),
    ("mpo.appd2.program", "no joint challenger is better"): Refuted(
        "<=", readings({
            **GREEDY_MPO, "masses": Field("distribution", ("s",)), "challenger": Field("distribution", ("s", "a")),
            "eta": POSITIVE,
        }),
        mpo_joint, "the value of the challenger", "the dual", domain=mpo_joint_domain,
    ),
    ("mpo.appd2.derivative", "tangent"): Refuted(
        "<=", readings({
            **STATES_MPO, "policy": FULL_MPO, "first": MASSES_MPO, "second": MASSES_MPO, "eta": POSITIVE,
            "multiplier": REAL,
        }),
        mpo_tangent, "the rise of the Lagrangian", "that of its printed tangent",
    ),
    ("mpo.appd2.normaliser", "printed factor"): Refuted(
        "==", readings({**STATES_MPO, "eta": POSITIVE}),
        mpo_normaliser, "the logarithm of the mass with the printed factor", "",
    ),
    ("mpo.appd3.prior", "log prior"): Refuted(
        "==", readings({
            "diagonal": Field("positive", ("n",)), "below": Field("real", ("n", "n")), "step": REALS_N,
            "penalty": POSITIVE,
        }),
        mpo_prior, "the rise of the log prior", "that of the printed penalty",
    ),
    ("mpo.appd3.taylor", "second derivatives"): Refuted(
        "==", readings({"policy": Field("positive distribution", (2,)), "feature": POSITIVE}),
        mpo_taylor, "the second derivative of the printed form", "that of the divergence",
    ),
    ("mpo.eq27.parts", "equal means"): Refuted(
        "==", readings({
            "mean": REALS_N, "diagonal_i": Field("positive", ("n",)), "diagonal": Field("positive", ("n",)),
        }),
        mpo_parts, "the printed part of the mean for equal means", "",
    ),
    ("mpo.alg2.theta", "descent is better"): Refuted(
        "<=", readings({
            "target": Field("distribution", ("a",)), "actions": Field("real", ("a",)), "mean": REAL, "mean_i": REAL,
            "deviation": POSITIVE, "multiplier": NONNEGATIVE,
        }),
        mpo_descent, "the Lagrangian before the step", "that after it",
    ),
    ("ecpo.eq5.lift", "defined"): IllPosed(
        readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        lambda x: lift_numerators(x, zip(x.reference, x.returns, strict=True)),
    ),
    ("ecpo.appd.lemma8", "defined"): IllPosed(
        readings(TWO_STEPS), lambda x: lift_numerators(x, ((ref, r) for _, _, ref, r in two_steps(x))),
    ),
    ("ecpo.sec4.temporal", "defined"): IllPosed(readings(TREE), sec4_temporal),
    ("ecpo.sec4.logexp", "defined"): IllPosed(
        readings(ONE_SAMPLE), lambda x: lift_numerators(x, zip(x.reference, x.action_values, strict=True)),
    ),
    ("ecpo.lemma2.lower", "defined"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), surrogate,
    ),
    ("ecpo.lemma2.upper", "defined"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), lemma2_upper,
    ),
    ("ecpo.thm1.step", "defined"): IllPosed(
        readings({"member": PROBABILITIES, **ONE_POLICY, "returns": WITHIN_1}), thm1_step,
    ),
    ("ecpo.thm1.threepoint", "defined"): IllPosed(
        readings({"member": PROBABILITIES, **ONE_POLICY}), thm1_threepoint,
    ),
    ("ecpo.prop2.condition", "defined"): IllPosed(readings({**TANGENTS, "tau": POSITIVE}), prop2_condition),
    ("ecpo.thm2.condition", "defined"): IllPosed(readings({**TANGENTS, **TEMPERATURES}), thm2_condition),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ the verdict on a file


def same(name: str, found: object, expected: object) -> None:
    """Reject a value that is not the expected one; 1 is not true, and nothing is compared loosely."""
    if type(found) is not type(expected) or found != expected:
        raise Rejected(f"{name}: {quoted(found)} where {quoted(expected)} is expected")


def exact_keys(where: str, found: object, expected: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object, if its keys are the expected ones."""
    if not isinstance(found, dict):
        raise Rejected(f"{where}: not an object")
    for name in expected:
        if name not in found:
            raise Rejected(f"{where}: key '{name}' is missing")
    for name in found.keys() - set(expected):
        raise Rejected(f"{where}: key {quoted(name)} is unknown")
    return found


def check(data: bytes) -> str:
    """Return one sentence on what the certificate shows, or raise Rejected."""
    file = exact_keys("certificate", parse(data), KEYS)
    same("schema", file["schema"], SCHEMA)
    for name in ("claim", "reading", "verdict", "condition"):
        if not isinstance(file[name], str):
            raise Rejected(f"{name}: {quoted(file[name])} is not a string")
    rows_of = {
        condition: row
        for (name, condition), row in TABLE.items()
        if (name, row.verdict) == (file["claim"], file["verdict"]) and file["reading"] in row.fields
    }
    if not rows_of:
        named = " ".join(file[name] for name in ("claim", "reading", "verdict"))
        raise Rejected(f"claim: nothing is known of {quoted(named)}")
    claim = rows_of.get(file["condition"])
    if claim is None:
        expected = " or ".join(f"'{condition}'" for condition in rows_of)
        raise Rejected(f"condition: {quoted(file['condition'])} where {expected} is expected")
    same("relation", file["relation"], claim.relation)
    if whole("precision", file["precision"]) not in LADDER:
        raise Rejected(f"precision: {file['precision']} is not a power of two between {LADDER[0]} and {LADDER[-1]}")
    fields = claim.fields[file["reading"]]
    given = exact_keys("instance", file["instance"], fields)
    sizes: dict[str | int, int] = {}
    x = SimpleNamespace(**{name: kind.read(name, given[name], sizes) for name, kind in fields.items()})
    claim.domain(x, file["claim"])
    component = file["component"]
    if not isinstance(component, list) or len(component) != len(claim.component):
        raise Rejected(f"component: {quoted(component)} is not a list of {len(claim.component)} integers")
    for i, axis in zip(component, claim.component, strict=True):
        if not 0 <= whole("component", i) < sizes[axis]:
            raise Rejected(f"component: {i} is not between 0 and {sizes[axis] - 1}")
    shown = refute(claim, x, file) if isinstance(claim, Refuted) else expose(claim, x, file)
    return f"{file['claim']} {file['reading']} {file['verdict']}: {shown}, where {describe(given)}."


def refute(claim: Refuted, x: Any, file: dict[str, Any]) -> str:
    """Evaluate both sides and compare them with the printed ones."""
    same("reason", file["reason"], None)
    left, right = settle(lambda: claim.sides(x, file["component"]), claim.relation)
    same("left", file["left"], left)
    same("right", file["right"], right)
    where = f", component {file['component']}," if file["component"] else ""
    beyond = f"{claim.right} = {right}" if claim.right else right
    return f"{claim.left}{where} = {left} {RELATIONS[claim.relation][2]} {beyond}"


def expose(claim: IllPosed, x: Any, file: dict[str, Any]) -> str:
    """Evaluate the printed expression and compare its first undefined operation with the stated one."""
    for name in ("left", "right"):
        same(name, file[name], None)
    same("precision", file["precision"], LADDER[0])
    if file["reason"] not in REASONS:
        raise Rejected(f"reason: {quoted(file['reason'])} is not one of {', '.join(REASONS)}")
    try:
        with ctx.workprec(LADDER[0]):
            claim.evaluate(x)
    except Undefined as undefined:
        same("reason", file["reason"], str(undefined))
        return f"the printed expression asks for {undefined}"
    raise Rejected("every operation of the printed expression is defined on this instance")


def describe(given: dict[str, Any]) -> str:
    """Write the instance as plain text, long numbers shortened."""

    def show(value: Any) -> str:
        if isinstance(value, list):
            return "(" + ", ".join(map(show, value)) + ")"
        text = str(value)
        return text if len(text) <= 40 else f"{text[:16]}...{text[-16:]}"

    return ", ".join(f"{name} = {show(value)}" for name, value in given.items())


EXAMPLE = """\
example:
  python -I proofs_checks/checker/main.py build/verify/certificates/*.json

exit status: 0 all accepted, 1 one or more rejected, 2 wrong usage or a file that cannot be read"""


def main(arguments: list[str] | None = None) -> int:
    """Check the files named on the command line, one line each on standard output, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Check certificates of refuted and ill-posed claims by code of its own, in ball arithmetic.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a certificate, as JSON")
    status = 0
    for path in parser.parse_args(arguments).files:
        shown = ascii(path)[1:-1]
        try:
            with open(path, "rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            print(f"cannot read {shown}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            status = 2
            continue
        try:
            print(f"ok  {shown}  {check(data)}")
        except Rejected as why:
            print(f"REJECTED {shown}: {why}")
            status = max(status, 1)
        except Exception as error:  # whatever cannot be evaluated is not accepted
            print(f"REJECTED {shown}: the sides cannot be evaluated ({type(error).__name__})")
            status = max(status, 1)
    return status


if __name__ == "__main__":
    sys.exit(main())
