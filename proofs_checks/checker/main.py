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
from typing import Any

from flint import arb, ctx, fmpq, fmpz

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
    """Evaluate both sides at rising precision until the relation is certainly false and both roundings are certain."""
    certainly_false, certainly_true, _ = RELATIONS[relation]
    for precision in LADDER:
        with ctx.workprec(precision):
            try:
                left, right = map(arb, sides())
            except Uncertain:
                continue
            if certainly_true(left - right):
                raise Rejected("the relation holds on this instance")
            if not certainly_false(left - right):
                continue
            printed = [decimal(side, last=precision == LADDER[-1]) for side in (left, right)]
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


def score_function(policy: list[fmpq], rho: int, j: int) -> fmpq:
    """d log pi(rho) / d logit_j of a softmax policy with one logit a trajectory: 1[rho = j] - pi(j)."""
    return (1 if rho == j else 0) - policy[j]


# ------------------------------------------------------------------------ refuted claims: the two sides of each one
# Each function takes the instance x and the component, and returns the left and the right side.


def squares(theta: fmpq) -> tuple[list[fmpq], list[fmpq]]:
    """The class pi_theta = (theta^2, 1) / (1 + theta^2) and its derivative; theta and -theta are the same policy."""
    scale = 1 + theta * theta
    slope = 2 * theta / (scale * scale)
    return [theta * theta / scale, 1 / scale], [slope, -slope]


def require_step(derivative: arb) -> None:
    """The gradient step of size 2 theta / F'(theta) > 0 goes from theta to -theta, if F'(theta) > 0."""
    if derivative <= 0:
        raise Rejected("F'(theta) > 0 fails: no step of positive size leads from theta to -theta")
    if not derivative > 0:
        raise Uncertain


def prop2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """PMD: F(t) = KL(pi_t || q), so F' = sum of pi' (log pi - log q + 1); the derivative of E r at the fixed point."""
    policy, slope = squares(x.theta)
    q = log_lift(logs(policy), x.returns, x.tau, x.tau)
    require_step(total(d * (lp - lq + 1) for d, lp, lq in zip(slope, logs(policy), q, strict=True)))
    return total(d * r for d, r in zip(slope, x.returns, strict=True)), 0


def thm2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """ECPO: F(t) = KL(q || pi_t), so F' = -sum of q pi' / pi; SR' = eta sum e^s (tau / eta)(pi' / pi) / sum e^s."""
    policy, slope = squares(x.theta)
    eta = x.tau + x.tau_prime
    q = exps(log_lift(logs(policy), x.returns, x.tau, eta))
    require_step(-total(w * d / p for w, d, p in zip(q, slope, policy, strict=True)))
    raw = scores(logs(policy), x.returns, x.tau, eta)
    weights = [(s - largest(raw)).exp() for s in raw]
    change = total(w * (x.tau / eta) * (d / p) for w, d, p in zip(weights, slope, policy, strict=True))
    return eta * change / total(weights), 0


def sec3_nonzero(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The smallest probability of the lift, against 0."""
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, x.tau + x.tau_prime))
    smallest = q[0]
    for value in q[1:]:
        smallest = smallest.min(value)
    return smallest, 0


def lemma1(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The expectation of the estimator over all K-tuples of samples, against the gradient of KL(q || pi).

    The order of the samples does not matter, so tuples are taken sorted, each with the number of its orders.
    """
    (j,) = component
    eta = x.tau + x.tau_prime
    support = [rho for rho, p in enumerate(x.reference) if p > 0]
    omega = {rho: (x.returns[rho] - x.tau_prime * log(x.reference[rho])) / eta for rho in support}
    weight = {rho: (omega[rho] - largest(omega.values())).exp() for rho in support}
    chance = {rho: arb(x.reference[rho]) for rho in support}
    grad = {rho: arb(score_function(x.policy, rho, j)) for rho in support}
    expectation = arb(0)
    for samples in itertools.combinations_with_replacement(support, x.samples):
        orders = math.factorial(x.samples) // math.prod(math.factorial(samples.count(rho)) for rho in set(samples))
        probability = math.prod((chance[rho] for rho in samples), start=arb(orders))
        estimate = -total(weight[rho] * grad[rho] for rho in samples) / total(weight[rho] for rho in samples)
        expectation += probability * estimate
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, eta))
    return expectation, -total(w * score_function(x.policy, rho, j) for rho, w in enumerate(q))


def regret(x: Any, horizon_at: Callable[[int], int]) -> tuple[Any, Any]:
    """Regret on the simplex (projection is the identity), max r - E r = E (max r - r), against 4 sqrt(T log n)."""
    log_n = log(len(x.start))
    log_policy = logs(x.start)
    summed = arb(0)
    for t in range(1, x.horizon + 1):
        summed += total(p * (max(x.returns) - r) for p, r in zip(exps(log_policy), x.returns, strict=True))
        if t < x.horizon:
            h = horizon_at(t)
            tau_prime = 1 / (h * log_n).sqrt()
            eta = arb(h).sqrt() / (2 * log_n).sqrt()
            log_policy = log_lift(log_policy, x.returns, eta - tau_prime, eta)
    return summed, 4 * (x.horizon * log_n).sqrt()


def lemma2_limit0(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR as the temperatures vanish: the largest return on the support of the policy.

    With tau > 0 a trajectory of probability zero adds nothing to SR.  On the support, eta log of a sum of n terms
    exp(s / eta) lies within eta log n of the largest s = r + tau log pi, and that one lies within tau max |log pi| of
    the largest return there.
    """
    return max(r for r, p in zip(x.returns, x.policy, strict=True) if p > 0), max(x.returns)


def sec4_onesample(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The mean of Q - tau' log reference over one action from the reference, against the soft optimal value."""
    eta = x.tau + x.tau_prime
    pairs = zip(x.reference, x.action_values, strict=True)
    mean = total(p * (Q - x.tau_prime * log(p)) for p, Q in pairs if p > 0)
    return mean, eta * log_sum_exp(scores(logs(x.reference), x.action_values, x.tau, eta))


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


def two_steps(x: Any) -> Iterator[tuple[tuple[int, int, int], fmpq, fmpq, fmpq]]:
    """Trajectories (a1, s2, a2) of a two-step process in order: dynamics f, reference density (no f), return."""
    A, S = len(x.first), len(x.second)
    for a, s, b in itertools.product(range(A), range(S), range(A)):
        yield (a, s, b), x.transitions[a][s], x.first[a] * x.second[s][b], x.first_rewards[a] + x.second_rewards[s][b]


def appd_policy(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The density of Lemma 8, summed over the last action, after (a1, s2) and after (a1, 0).

    A policy has density pi(a1) pi(a2 | s2), and its sum over a2 is pi(a1) whatever s2.
    """
    a1, s2 = component
    if s2 == 0:
        raise Rejected("component: the state compared with state 0 must be another one")
    eta = x.tau + x.tau_prime
    score = {rho: (r + x.tau * log(ref)) / eta for rho, _, ref, r in two_steps(x) if ref > 0}
    log_z = log_sum_exp([log(f) + score[rho] for rho, f, ref, _ in two_steps(x) if ref > 0])
    density = {rho: (s - log_z).exp() for rho, s in score.items()}
    after = [total(density.get((a1, s, b), arb(0)) for b in range(len(x.first))) for s in (s2, 0)]
    return after[0], after[1]


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


# ------------------------------------------------------------------------------------------------ the table of claims

REAL, POSITIVE, NONNEGATIVE = Field("real"), Field("positive"), Field("nonnegative")
TEMPERATURES = {"tau": POSITIVE, "tau_prime": NONNEGATIVE}
ANY_TEMPERATURES = {"tau": NONNEGATIVE, "tau_prime": NONNEGATIVE}
REALS_N, REALS_2 = Field("real", ("n",)), Field("real", (2,))
FULL_FIRST, FULL_SECOND = Field("positive distribution", ("A",)), Field("positive distribution", ("S", "A"))
PROBABILITIES, FULL_SUPPORT = Field("distribution", ("n",)), Field("positive distribution", ("n",))
HORIZON = Field("count", least=1, most=MAX_HORIZON)
SAMPLES = Field("count", least=1, most=MAX_SAMPLES)
TWO_STEPS = {
    "first": Field("distribution", ("A",)),
    "transitions": Field("positive distribution", ("A", "S")),
    "second": Field("distribution", ("S", "A")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("S", "A")),
    **TEMPERATURES,
}


def enough_work(x: Any, _: str) -> None:
    """Bound the enumerations."""
    if hasattr(x, "samples") and len(x.reference) ** x.samples > MAX_TUPLES:
        raise Rejected(f"samples: more than {MAX_TUPLES} tuples")
    if hasattr(x, "first") and len(x.first) ** 2 * len(x.second) > MAX_TRAJECTORIES:
        raise Rejected(f"first: more than {MAX_TRAJECTORIES} trajectories")


def regret_domain(x: Any, claim: str) -> None:
    """log n > 0; where tau is negative at the first step, the lift needs a start without zeros."""
    if len(x.start) < 2:
        raise Rejected("start: at least two trajectories are needed, since log 1 = 0")
    if claim.endswith("anytime") and x.horizon >= 2 and min(x.start) == 0:
        raise Rejected("start: must be strictly positive, since tau < 0 at step 1")


@dataclass(frozen=True)
class Refuted:
    """A claimed relation: the fields of an instance under each reading, the two sides, their names in a sentence."""

    condition: str
    relation: str
    fields: dict[str, dict[str, Field]]
    sides: Callable[[Any, list[int]], tuple[Any, Any]]
    left: str
    right: str
    component: tuple[str, ...] = ()
    domain: Callable[[Any, str], None] = enough_work


@dataclass(frozen=True)
class IllPosed:
    """A printed expression: the fields of an instance under each reading, and its evaluation in extended reals."""

    fields: dict[str, dict[str, Field]]
    evaluate: Callable[[Any], None]
    domain: Callable[[Any, str], None] = enough_work
    condition: str = "defined"
    relation: str = "undefined"
    component: tuple[str, ...] = ()


def readings(literal: dict[str, Field], **intended: Field) -> dict[str, dict[str, Field]]:
    """The fields of both readings; the intended one, if there is one, narrows some of them."""
    return {"literal": literal} | ({"intended": literal | intended} if intended else {})


LEMMA1 = {"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES, "policy": FULL_SUPPORT, "samples": SAMPLES}
THEOREM1 = {"start": PROBABILITIES, "returns": REALS_N, "horizon": HORIZON}
LIMIT = {"policy": PROBABILITIES, "returns": REALS_N, "tau_rate": POSITIVE, "tau_prime_rate": NONNEGATIVE}
ONE_SAMPLE = {"action_values": REALS_N, "reference": PROBABILITIES, **TEMPERATURES}
LEMMA7 = {"action_values": REALS_N, "reference": PROBABILITIES, "policy": FULL_SUPPORT, "value": REAL, **TEMPERATURES}

TABLE: dict[tuple[str, str], Refuted | IllPosed] = {
    ("ecpo.prop2.fixed", "refuted"): Refuted(
        "stationary", "==", readings({"theta": POSITIVE, "returns": REALS_2, "tau": POSITIVE}),
        prop2_fixed, "the derivative of the expected return at a fixed point of PMD", "",
    ),
    ("ecpo.thm2.fixed", "refuted"): Refuted(
        "stationary", "==", readings({"theta": POSITIVE, "returns": REALS_2, **TEMPERATURES}),
        thm2_fixed, "the derivative of SR at a fixed point of ECPO", "",
    ),
    ("ecpo.sec3.nonzero", "refuted"): Refuted(
        "nonzero", ">", readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        sec3_nonzero, "the smallest probability of the lifted distribution", "",
    ),
    ("ecpo.lemma1", "refuted"): Refuted(
        "unbiased", "==", readings(LEMMA1, reference=FULL_SUPPORT, samples=Field("count", least=2, most=MAX_SAMPLES)),
        lemma1, "the expectation of the estimator", "the gradient", component=("n",),
    ),
    ("ecpo.thm1.fixed", "refuted"): Refuted(
        "regret", "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: x.horizon),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.thm1.anytime", "refuted"): Refuted(
        "regret", "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: t),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.lemma2.limit0", "refuted"): Refuted(
        "limit", "==", readings(LIMIT),
        lemma2_limit0, "the limit of SR", "the largest return",
    ),
    ("ecpo.sec4.onesample", "refuted"): Refuted(
        "unbiased", "==", readings(ONE_SAMPLE, reference=FULL_SUPPORT),
        sec4_onesample, "the expectation of the one-sample estimate", "the soft optimal value",
    ),
    ("ecpo.lemma7", "refuted"): Refuted(
        "gradient", "==", readings(LEMMA7),
        lemma7, "the gradient of the loss", "the printed gradient", component=("n",),
    ),
    ("ecpo.appd.policy", "refuted"): Refuted(
        "policy", "==", readings(TWO_STEPS, first=FULL_FIRST, second=FULL_SECOND),
        appd_policy, "the lifted density summed over the last action", "the same sum after state 0",
        component=("A", "S"),
    ),
    ("ecpo.eq5.lift", "ill-posed"): IllPosed(
        readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        lambda x: lift_numerators(x, zip(x.reference, x.returns, strict=True)),
    ),
    ("ecpo.appd.lemma8", "ill-posed"): IllPosed(
        readings(TWO_STEPS), lambda x: lift_numerators(x, ((ref, r) for _, _, ref, r in two_steps(x))),
    ),
    ("ecpo.lemma2.lower", "ill-posed"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), surrogate,
    ),
    ("ecpo.lemma2.upper", "ill-posed"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), lemma2_upper,
    ),
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
    for name in ("claim", "reading", "verdict"):
        if not isinstance(file[name], str):
            raise Rejected(f"{name}: {quoted(file[name])} is not a string")
    claim = TABLE.get((file["claim"], file["verdict"]))
    if claim is None or file["reading"] not in claim.fields:
        named = " ".join(file[name] for name in ("claim", "reading", "verdict"))
        raise Rejected(f"claim: nothing is known of {quoted(named)}")
    same("condition", file["condition"], claim.condition)
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
