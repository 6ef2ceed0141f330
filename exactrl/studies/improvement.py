r"""Which objective rises along MPO's expectation maximisation and along soft and hard policy iteration?

On discounted models, with exact evaluation, three objectives of the policies $\pi_i$ are followed:

    return         $\mathbb E_{\pi_i}\sum_t\gamma^tr_t$
    soft return    the same with $\alpha\mathcal H(\pi_i(\cdot\mid s_t))$ added to every reward
    bound          $\mathcal J(\theta_i,q_i)$, MPO's lower bound after its E-step

| method | said never to fall | where |
|---|---|---|
| full E-step, exact M-step | bound, over any class; return, over all tables | coordinate ascent; Eq. 20 |
| one-step E-step, exact M-step | bound and return, over all tables | Eq. 20 with Proposition 1 |
| one-step E-step, gradient M-step | bound, for steps small enough | MPO, Proposition 3, Eq. 21 |
| soft policy iteration | soft return | soft Q-learning, Theorem 4, Eq. 21 |
| hard policy iteration | return | Howard 1960 |

Over all tables an exact M-step returns $q_i$ wherever it is visited, so that
$\mathcal J(\theta_{i+1},q_{i+1})\ge V^{q_i}\ge\mathcal J(\theta_i,q_i)\ge V^{\pi_i}$.  The shared class gives pairs of
states one distribution over actions; nothing is said there of the return, nor of the bound after a one-step E-step and
an exact M-step.
Source: MPO, Sec. 3 and App. A; soft Q-learning, App. A.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.evaluation import Evaluation, state_occupancy
from exactrl.expectation_maximisation import (
    FullEStep,
    GradientMStep,
    PenalisedMStep,
    SoftEStep,
    expectation_maximisation,
)
from exactrl.formulas.evaluation import policy_average
from exactrl.formulas.soft_bellman import log_soft_greedy, soft_policy_value
from exactrl.mdp import FiniteMDP
from exactrl.model_tables import FloatTables
from exactrl.mstep import AliasedTables, Tables
from exactrl.sources import garnet
from exactrl.studies.discounted import DiscountedProblem
from exactrl.studies.monotonicity import Share, Track
from exactrl.studies.paths import ROUNDING, went_down
from exactrl.studies.problems import seed_of

__all__ = [
    "IMPROVEMENT_METHODS",
    "IMPROVEMENT_OBJECTIVES",
    "ImprovementMethod",
    "ImprovementOptions",
    "ImprovementStudy",
    "follow_improvement",
    "pieces_of",
    "refuse_large",
    "shared_observations",
    "study_improvement",
]

IMPROVEMENT_OBJECTIVES = {
    "return": "expected return",
    "soft return": "return + α · entropy",
    "bound": "bound J(θ, q)",
}
#: The gradient steps of the sweep, as multiples of the step size.
SCALES = (1.0, 0.01, 0.0001)
MOST_PARAMETERS = 4_000


@dataclass(frozen=True)
class ImprovementOptions:
    """Temperature, size of a gradient M-step, iterations on the problem, random problems and iterations on them."""

    alpha: float = 0.2
    step_size: float = 1.0
    iterations: int = 30
    problems: int = 20
    sweep_iterations: int = 10
    start: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("alpha", "step_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise ExactRLError(f"{name} is {getattr(self, name)}: expected a positive finite number")
        for name in ("iterations", "problems", "sweep_iterations"):
            if getattr(self, name) < 1:
                raise ExactRLError(f"{name} is {getattr(self, name)}: expected at least 1")
        if self.start not in ("random", "uniform"):
            raise ExactRLError(f"start is {self.start!r}: expected random or uniform")


@dataclass(frozen=True)
class ImprovementMethod:
    """A method: how it steps, over which class, and what it is said never to lower.

    estep: "full", "one step", or None for policy iteration; mstep: "exact" or "gradient"; shared: the class of pairs.
    rises: never lowered; rises_when_small: not lowered by steps small enough.
    """

    name: str
    estep: str | None
    mstep: str | None = None
    shared: bool = False
    rises: tuple[str, ...] = ()
    rises_when_small: tuple[str, ...] = ()


IMPROVEMENT_METHODS = {
    method.name: method
    for method in (
        ImprovementMethod("EM, full E-step", "full", "exact", rises=("bound", "return")),
        ImprovementMethod("EM, one-step E-step", "one step", "exact", rises=("bound", "return")),
        ImprovementMethod("gradient M-step", "one step", "gradient", rises_when_small=("bound",)),
        ImprovementMethod("soft policy iteration", None, rises=("soft return",)),
        ImprovementMethod("hard policy iteration", None, rises=("return",)),
        ImprovementMethod("EM, full E-step, shared", "full", "exact", shared=True, rises=("bound",)),
        ImprovementMethod("EM, one-step E-step, shared", "one step", "exact", shared=True),
        ImprovementMethod("gradient M-step, shared", "one step", "gradient", shared=True, rises_when_small=("bound",)),
    )
}


@dataclass(frozen=True)
class ImprovementStudy:
    """Everything that the report shows: the problem's tracks, and the sweep's shares (kind: the step's multiple)."""

    tracks: list[Track]
    shares: list[Share]


def pieces_of(options: ImprovementOptions) -> int:
    """How many pieces of work `study_improvement` reports as it goes."""
    return len(IMPROVEMENT_METHODS) + options.problems


def study_improvement(
    problem: DiscountedProblem, options: ImprovementOptions, progress: Callable[[], object] = lambda: None
) -> ImprovementStudy:
    """Run the whole study; the same problem and options give the same numbers.

    Raises ExactRLError where values exceed floats, and for a model with too many parameters of a softmax table.
    """
    refuse_large(problem)
    mdp, tracks = problem.mdp, []
    for method in IMPROVEMENT_METHODS.values():
        start = _start(mdp, method, options.start, seed_of(options.seed, "start"))
        values, _ = follow_improvement(mdp, method, start, options.alpha, options.step_size, options.iterations)
        tracks.append(_track(method, values, mdp, options.alpha))
        progress()
    return ImprovementStudy(tracks, _sweep(options, progress))


def refuse_large(problem: DiscountedProblem) -> None:
    """Raise ExactRLError for a model whose softmax table has too many parameters, before any work."""
    pairs = problem.mdp.n_states * problem.mdp.n_actions
    if pairs > MOST_PARAMETERS:
        raise ExactRLError(
            f"{problem.name} has {pairs:,} state-action pairs, the parameters of a softmax table: expected at most "
            f"{MOST_PARAMETERS:,}; leave MPO out with --family ecpo"
        )


def follow_improvement(
    mdp: FiniteMDP, method: ImprovementMethod, start: FloatArray, alpha: float, step_size: float, steps: int
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Objective -> values (steps + 1,) along a method, and by how much each step moved the policy (steps,).

    The bound is left out for policy iteration.  start: log-policy (S, A), of the shared class where the method is.
    """
    values_of = _Values(mdp)
    if method.estep is None:
        soft_steps = alpha if method.name.startswith("soft") else 0.0
        policies, bound = _policy_iteration(values_of, start, soft_steps, steps), None
    else:
        path = _expectation_maximisation(mdp, method, start, alpha, step_size, steps + 1)
        policies, bound = np.exp(path.log_policies[:-1]), path.after_estep
    returns, soft = (np.array([values_of(x, alpha=a).expected_return for x in policies]) for a in (0.0, alpha))
    values = {"return": returns, "soft return": soft} | ({} if bound is None else {"bound": bound})
    return values, np.abs(np.diff(policies, axis=0)).max(axis=(1, 2))


def shared_observations(n_states: int) -> list[int]:
    """The observation of each state of the shared class: neighbours in the list of states look alike."""
    return [state // 2 for state in range(n_states)]


def _expectation_maximisation(
    mdp: FiniteMDP, method: ImprovementMethod, start: FloatArray, alpha: float, step_size: float, steps: int
) -> Any:
    estep = FullEStep(alpha) if method.estep == "full" else SoftEStep(alpha)
    seen = shared_observations(mdp.n_states) if method.shared else list(range(mdp.n_states))
    mstep: PenalisedMStep | GradientMStep = PenalisedMStep(0.0, AliasedTables(seen) if method.shared else Tables())
    if method.mstep == "gradient":
        # Eq. 18 sums the visits without normalising them; the weights here are normalised.
        mstep = GradientMStep(_indicators(seen, mdp.n_actions), step_size / (1 - mdp.discount))
    visits = partial(state_occupancy, mdp, normalised=True)
    return expectation_maximisation(start, _Values(mdp), visits, estep=estep, mstep=mstep, steps=steps)


class _Values:
    """`exactrl.evaluation.evaluate` in floats for one model, without reading the policy anew at every call.

    Where the measure underflows to 0 the policy counts as 0 too: its probability there is of that size.
    """

    def __init__(self, mdp: FiniteMDP) -> None:
        self.tables = FloatTables(mdp)

    def __call__(self, policy: FloatArray, *, alpha: float, measure: Any = "counting") -> Evaluation:
        tables, earned = self.tables, policy_average(policy, self.tables.rewards)
        if alpha:
            base = None if isinstance(measure, str) else measure
            policy = policy if base is None else np.where(base > 0, policy, 0.0)
            with np.errstate(divide="ignore"):
                log_policy, log_base = np.log(policy), None if base is None else np.log(base)
            earned = soft_policy_value(log_policy, tables.rewards, alpha, log_base)
        values = np.asarray(tables.solve(tables.kernel(policy), earned))
        q = np.asarray(tables.lookahead(values))
        return Evaluation(values, q, q - values[:, None], float(tables.initial @ values))


def _indicators(seen: list[int], actions: int) -> FloatArray:
    """Features (S, A, d) of a softmax table: one parameter for each observation and action."""
    states = np.eye(max(seen) + 1)[seen]
    return np.asarray(np.einsum("so,ab->saob", states, np.eye(actions)).reshape(len(seen), actions, -1))


def _policy_iteration(values_of: _Values, start: FloatArray, alpha: float, steps: int) -> FloatArray:
    """The policies (steps + 1, S, A) of soft policy iteration, for alpha = 0 of hard policy iteration.

    Source: soft Q-learning, Eq. 17; Howard 1960.
    """
    policies = [np.exp(start)]
    for _ in range(steps):
        q = np.asarray(values_of(policies[-1], alpha=alpha).action_values)
        policies.append(np.exp(log_soft_greedy(q, alpha)))
    return np.array(policies)


def _start(mdp: FiniteMDP, method: ImprovementMethod, start: str, rng: np.random.Generator) -> FloatArray:
    """The first log-policy (S, A), the same for all methods of a class: uniform, or drawn uniformly in each state."""
    draws = rng.standard_exponential((mdp.n_states, mdp.n_actions))
    table = np.full_like(draws, 1.0) if start == "uniform" else draws
    table = table / table.sum(axis=-1, keepdims=True)
    seen = shared_observations(mdp.n_states) if method.shared else list(range(mdp.n_states))
    first = [seen.index(observation) for observation in seen]
    return np.asarray(np.log(table[first]))


def _size(mdp: FiniteMDP, alpha: float) -> float:
    """The size of what is added up in a value: all rewards, and all entropies."""
    return float(np.abs(mdp.expected_rewards).max() + alpha * math.log(mdp.n_actions + 1)) / (1 - mdp.discount)


def _fell(values: FloatArray, mdp: FiniteMDP, alpha: float) -> NDArray[np.bool_]:
    """Which steps lower a value by more than rounding, (steps,)."""
    return went_down(values[:, None], _size(mdp, alpha))[:, 0]


def _track(method: ImprovementMethod, values: dict[str, FloatArray], mdp: FiniteMDP, alpha: float) -> Track:
    falls = {key: [int(k) + 1 for k in np.flatnonzero(_fell(row, mdp, alpha))] for key, row in values.items()}
    return Track(method.name, method.rises, {key: [float(x) for x in row] for key, row in values.items()}, falls)


def _sweep(options: ImprovementOptions, progress: Callable[[], object]) -> list[Share]:
    """Shares over random models; gradient methods with their step at every scale."""
    rng = seed_of(options.seed, "discounted")
    tallies: dict[tuple[str, str, str], list[tuple[int, int, float]]] = {}
    for seed in rng.integers(2**31, size=options.problems).tolist():
        mdp = garnet(4, 3, 2, seed=seed, discount=float(rng.choice([0.5, 0.9])))
        alpha = float(10 ** rng.uniform(-1.5, 0.5))
        for method in IMPROVEMENT_METHODS.values():
            start = _start(mdp, method, "random", np.random.default_rng(seed))
            for scale in SCALES if method.mstep == "gradient" else (1.0,):
                size = scale * options.step_size
                values, moves = follow_improvement(mdp, method, start, alpha, size, options.sweep_iterations)
                for key, row in values.items():
                    falls = _fell(row, mdp, alpha) & (moves > ROUNDING)
                    largest = float(np.max(-np.diff(row)[falls], initial=0.0))
                    tally = (int((moves > ROUNDING).sum()), int(falls.sum()), largest)
                    tallies.setdefault((method.name, key, f"{scale:g}"), []).append(tally)
        progress()
    return [_share(*key, rows) for key, rows in tallies.items()]


def _share(name: str, objective: str, scale: str, rows: list[tuple[int, int, float]]) -> Share:
    steps, falling, drops = zip(*rows, strict=True)
    claimed = objective in IMPROVEMENT_METHODS[name].rises
    return Share(scale, name, objective, claimed, sum(steps), sum(falling), max(drops))
