r"""How fast soft and hard iterations approach their fixed point, and how tight the bounds of the distance are.

With $\mathcal TQ=r+\gamma PV_Q$ and $V_Q=\alpha\log\sum_ab(a)e^{Q/\alpha}$ (the hard maximum for $\alpha=0$):

    value iteration    $Q_{n+1}=\mathcal TQ_n$
    policy iteration   $Q_{n+1}=Q^{\pi_{n+1}}$, $\pi_{n+1}$ the soft greedy policy of $Q_n$
    a priori           $\lVert Q_n-Q^*\rVert\le\gamma^n\lVert Q_0-Q^*\rVert$
    a posteriori       $\lVert Q_n-Q^*\rVert\le\frac\gamma{1-\gamma}\lVert Q_n-Q_{n-1}\rVert$
    enclosure          MacQueen's bounds of $Q^*$ from $Q_n$, by one application of the operator

The first two bound the maximum norm and hold for both iterations; for policy iteration because
$Q_n\le\mathcal TQ_n\le Q_{n+1}\le Q^*$ from its first policy on.  The enclosure contains $Q^*$, not $Q_n$: half its
width says how far its middle may be from $Q^*$, which is often far less than how far $Q_n$ is.
The limit: $V_\alpha-V_0$ lies between bounds proportional to alpha (`formulas.soft_bellman.temperature_gap`).

Every $Q^*$ is known between proven bounds (`soft_policy_iteration`, as narrow as floats allow); its width, the
`resolution`, also covers what rounding does to the iterates.  A distance of less is not told from 0.
Source: soft Q-learning, Theorems 3 and 4, App. A.1 and A.2; MacQueen 1966; Howard 1960.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.evaluation import evaluate
from exactrl.formulas.soft_bellman import log_soft_greedy, soft_maximum, temperature_gap
from exactrl.mdp import FiniteMDP
from exactrl.model_tables import LEAST_TEMPERATURE, MOST_TEMPERATURE, FloatTables
from exactrl.soft_iteration import SoftBounds, soft_bounds, soft_policy_iteration
from exactrl.studies.discounted import DiscountedProblem
from exactrl.studies.problems import seed_of

__all__ = ["Approach", "ContractionOptions", "ContractionStudy", "Gap", "pieces_of", "study_contraction"]

MOST_TEMPERATURES = 5
LIMIT = tuple(float(x) for x in np.logspace(-3, 2, 11))
MEASURES = ("counting", "normalised")


@dataclass(frozen=True)
class ContractionOptions:
    """Temperatures (the hard limit 0 is always there), iterations, the first Q, and the seed."""

    temperatures: tuple[float, ...] = (0.1, 1.0, 10.0)
    iterations: int = 100
    start: str = "zero"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.temperatures) <= MOST_TEMPERATURES:
            raise ExactRLError(
                f"{len(self.temperatures)} temperatures were given: expected 1 to {MOST_TEMPERATURES}, as many as a "
                "picture can tell apart; the hard limit 0 is drawn beside them"
            )
        for alpha in self.temperatures:
            if not LEAST_TEMPERATURE <= alpha <= MOST_TEMPERATURE:
                raise ExactRLError(
                    f"the temperature {alpha:g} is no finite number above 0; the hard limit, 0, is always there"
                )
        if self.iterations < 1:
            raise ExactRLError(f"iterations is {self.iterations}: expected at least 1")
        if self.start not in ("zero", "random"):
            raise ExactRLError(f"start is {self.start!r}: expected zero or random")


@dataclass(frozen=True)
class Approach:
    r"""One iteration at one temperature, up to where distances are no longer told from rounding.

    distances, rate_bounds, step_bounds, half_widths: $\lVert Q_n-Q^*\rVert$, $\gamma^n\lVert Q_0-Q^*\rVert$,
    $\frac\gamma{1-\gamma}\lVert Q_n-Q_{n-1}\rVert$ (inf at n = 0) and half the width of the enclosure that $Q_n$
    proves, n = 0, 1, ...
    reached: the n at which the distance is at most the resolution, None where that is later; the lists end before it.
    exceeded: the bounds that a distance certainly exceeds, name and n.
    """

    method: str
    temperature: float
    distances: list[float]
    rate_bounds: list[float]
    step_bounds: list[float | None]
    half_widths: list[float]
    resolution: float
    reached: int | None
    exceeded: list[tuple[str, int]]

    @property
    def contraction(self) -> float | None:
        """The geometric mean of the factors by which the steps shown shrank the distance, None without a step."""
        steps = len(self.distances) - 1
        return float((self.distances[-1] / self.distances[0]) ** (1 / steps)) if steps > 0 else None


@dataclass(frozen=True)
class Gap:
    r"""The hard limit under one base measure: for each alpha the least and the greatest $V_\alpha-V_0$ over states.

    lower, upper: the proven bounds of the difference; resolution: how well it is known; exceeded: the alphas at which
    it is certainly outside.
    """

    measure: str
    temperatures: list[float]
    least: list[float]
    greatest: list[float]
    lower: list[float]
    upper: list[float]
    resolution: list[float]
    exceeded: list[float]


@dataclass(frozen=True)
class ContractionStudy:
    """Everything that the report shows."""

    discount: float
    approaches: list[Approach]
    gaps: list[Gap]


def pieces_of(options: ContractionOptions) -> int:
    """How many pieces of work `study_contraction` reports as it goes."""
    return len(options.temperatures) + 1 + len(MEASURES) * len(LIMIT)


def study_contraction(
    problem: DiscountedProblem, options: ContractionOptions, progress: Callable[[], object] = lambda: None
) -> ContractionStudy:
    """Run the whole study; the same problem and options give the same numbers.

    Raises ExactRLError where values exceed floats.
    """
    mdp, approaches = problem.mdp, list[Approach]()
    start = np.zeros((mdp.n_states, mdp.n_actions))
    if options.start == "random":
        reach = max(float(np.abs(mdp.expected_rewards).max()), 1.0) / (1 - mdp.discount)
        start = seed_of(options.seed, "first Q").uniform(-reach, reach, size=start.shape)
    for alpha in (0.0, *options.temperatures):
        target = soft_policy_iteration(mdp, alpha, tolerance=None)
        for method, step in (("value iteration", _backed_up), ("policy iteration", _evaluated)):
            first = start if method == "value iteration" else step(mdp, start, alpha)
            approaches.append(_approach(mdp, method, alpha, target, first, step, options.iterations))
        progress()
    hard = soft_policy_iteration(mdp, 0, tolerance=None)
    return ContractionStudy(mdp.discount, approaches, [_gap(mdp, measure, hard, progress) for measure in MEASURES])


Step = Callable[[FiniteMDP, FloatArray, float], FloatArray]


def _backed_up(mdp: FiniteMDP, q: FloatArray, alpha: float) -> FloatArray:
    """The soft Bellman operator.  Source: soft Q-learning, Theorem 3."""
    return np.asarray(FloatTables(mdp).lookahead(soft_maximum(q, alpha)))


def _evaluated(mdp: FiniteMDP, q: FloatArray, alpha: float) -> FloatArray:
    """The values of the (soft) greedy policy; ties of hard values go to the first action.

    Source: soft Q-learning, Eq. 17; Howard 1960.
    """
    policy = np.exp(log_soft_greedy(q, alpha))
    policy = policy / policy.sum(axis=-1, keepdims=True)
    return np.asarray(evaluate(mdp, policy, alpha=alpha).action_values)


def _approach(
    mdp: FiniteMDP, method: str, alpha: float, target: SoftBounds, first: FloatArray, step: Step, iterations: int
) -> Approach:
    q, before = first, list[FloatArray]()
    factor, width = mdp.discount / (1 - mdp.discount), target.width
    rows, exceeded, initial = list[tuple[float, float, float | None, float]](), list[tuple[str, int]](), 0.0
    reached = None
    for n in range(iterations + 1):
        distance = float(np.abs(q - target.action_values).max())
        initial = distance if n == 0 else initial
        if distance <= width:
            reached = n
            break
        found = soft_bounds(mdp, soft_maximum(q, alpha), alpha)
        half = float((found.action_values_upper - found.action_values_lower).max()) / 2
        moved = factor * float(np.abs(q - before[-1]).max()) if before else None
        rows.append((distance, mdp.discount**n * initial, moved, half))
        exceeded += _exceeded(n, *rows[-1][:3], width)
        if not _overlap(found, target):
            exceeded.append(("enclosure", n))
        before, q = [q], step(mdp, q, alpha)
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return Approach(method, alpha, columns[0], columns[1], columns[2], columns[3], width, reached, exceeded)


def _exceeded(n: int, distance: float, rate: float, moved: float | None, width: float) -> list[tuple[str, int]]:
    """Which bounds the distance exceeds for certain, whatever rounding did."""
    bounds = (("a priori", rate), ("a posteriori", math.inf if moved is None else moved))
    return [(name, n) for name, bound in bounds if distance - width > bound + width]


def _overlap(one: SoftBounds, other: SoftBounds) -> bool:
    """Whether two enclosures of the same values have a point in common."""
    apart = (one.action_values_lower > other.action_values_upper) | (
        one.action_values_upper < other.action_values_lower
    )
    return not bool(apart.any())


def _gap(mdp: FiniteMDP, measure: str, hard: SoftBounds, progress: Callable[[], object]) -> Gap:
    length = 1 / (1 - mdp.discount)
    weight = 0.0 if measure == "counting" else -math.log(mdp.n_actions)
    log_base = np.full(mdp.n_actions, weight)
    rows, exceeded = [], []
    for alpha in LIMIT:
        soft = soft_policy_iteration(mdp, alpha, measure=measure, tolerance=None)
        difference = soft.values - hard.values
        least, greatest = float(difference.min()), float(difference.max())
        low, high = (float(x) for x in temperature_gap(alpha, log_base, length))
        known = (soft.width + hard.width) / 2
        slack = known + 1e-14 * max(abs(low), abs(high))
        if least + slack < low or greatest - slack > high:
            exceeded.append(alpha)
        rows.append((alpha, least, greatest, low, high, known))
        progress()
    alphas, least_of, most_of, lows, highs, widths = (list(column) for column in zip(*rows, strict=True))
    return Gap(measure, alphas, least_of, most_of, lows, highs, widths, exceeded)
