r"""The regret of ECPO, PMD and their ablations under Theorem 1's schedule, exactly.

The first policy takes every action alike, T policies are played, and the regret is
$\max_\pi\sum_{k\le T}\mathbb E_\pi r_k-\sum_{k\le T}\mathbb E_{\pi_k}r_k$, the best policy being chosen in hindsight.
Rewards are scaled so that returns span an interval of length 2, as [-1, 1] does; the constant that would centre it
changes neither the updates nor the regret.  On deterministic models with one start these are the iterates on the
simplex of all trajectories, of which Theorem 1 speaks; on stochastic models the theorem says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.studies.adversaries import Sequences, reward_pool, search_worst, starting_sequences
from exactrl.studies.methods import Method, Settings, methods_for
from exactrl.studies.problems import StudyProblem, rescaled, seed_of
from exactrl.studies.schedules import bound_for, temperatures_for
from exactrl.studies.stacked import Stack, stack_of
from exactrl.studies.sweeps import best_return, expected_return
from exactrl.trajectories import TrajectorySpace

__all__ = [
    "AdversarialRegret",
    "RegretOptions",
    "RegretStudy",
    "fitted_rate",
    "fixed_regret",
    "sequence_regret",
    "study_regret",
]

MOST_NUMBERS = 2 * 10**4
SCALES = tuple(float(x) for x in np.logspace(0.0, 3.0, 13))


@dataclass(frozen=True)
class RegretOptions:
    """Largest T with fixed and with adversarial rewards, T of the sweeps over n and over scales, sequences, rounds."""

    steps: int = 256
    adversarial_steps: int = 64
    sweep_steps: int = 64
    sequences: int = 16
    rounds: int = 4
    step_size: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 2),
            ("adversarial_steps", 2),
            ("sweep_steps", 2),
            ("sequences", 2),
            ("rounds", 0),
        ):
            if getattr(self, name) < least:
                raise ExactRLError(f"{name} is {getattr(self, name)}: expected at least {least}")
        if not 0 < self.step_size < np.inf:
            raise ExactRLError(f"step_size is {self.step_size}: expected a positive finite number")


@dataclass(frozen=True)
class AdversarialRegret:
    """Regrets at each T over random sequences, their mean and their largest, and the largest that a search found."""

    steps: list[int]
    mean: list[float]
    largest: list[float]
    found: list[float]


@dataclass(frozen=True)
class RegretStudy:
    """Everything that the report shows; regrets in units of the rescaled reward.

    fixed, by_size, by_scale: method name -> values along `steps`, `sizes` and `SCALES`.  counts: n of the sizes.
    bound, adversarial_bound, size_bound: Theorem 1's 4 sqrt(T log n) beside them; factor: what rewards were scaled by.
    """

    steps: list[int]
    fixed: dict[str, list[float]]
    bound: list[float]
    adversarial: dict[str, AdversarialRegret]
    adversarial_bound: list[float]
    sizes: list[str]
    counts: list[int]
    by_size: dict[str, list[float]]
    size_bound: list[float]
    by_scale: dict[str, list[float]]
    scale_bound: float
    factor: float
    rates: dict[str, float | None]


def pieces_of(problem: StudyProblem, options: RegretOptions) -> int:
    """How many pieces of work `study_regret` reports as it goes."""
    methods = methods_for(problem.stack)
    return len(methods) + len(methods) * len(_doubling(options.adversarial_steps)) + len(problem.siblings()) + 2


def study_regret(
    problem: StudyProblem, options: RegretOptions, progress: Callable[[], object] = lambda: None
) -> RegretStudy:
    """Run the whole study; the same problem and options give the same numbers."""
    methods, n = methods_for(problem.stack), problem.n_trajectories
    rewards, factor = rescaled(problem.stack)
    steps = _doubling(options.steps)
    fixed = {}
    for method in methods:
        fixed[method.name] = fixed_regret(problem.stack, rewards, method, steps, n, options.step_size)
        progress()
    adversarial = {method.name: _adversarial(problem, rewards, method, options, progress) for method in methods}
    sizes, counts, by_size = _over_sizes(problem, methods[:2], options, progress)
    by_scale = {}
    for method in methods[:2]:
        by_scale[method.name] = _over_scales(problem, rewards, method, options)
        progress()
    return RegretStudy(
        steps=steps,
        fixed=fixed,
        bound=[bound_for(T, n) for T in steps],
        adversarial=adversarial,
        adversarial_bound=[bound_for(T, n) for T in _doubling(options.adversarial_steps)],
        sizes=sizes,
        counts=counts,
        by_size=by_size,
        size_bound=[bound_for(options.sweep_steps, count) for count in counts],
        by_scale=by_scale,
        scale_bound=bound_for(options.sweep_steps, n),
        factor=float(factor[0]),
        rates={name: fitted_rate(steps, values) for name, values in fixed.items()},
    )


def fixed_regret(
    stack: Stack, rewards: FloatArray, method: Method, steps: list[int], n: int, step_size: float = 1.0
) -> list[float]:
    """The regret after T steps for each T, each run with the schedule of its T; rewards (1, S, A, K) throughout."""
    many = stack.repeated(len(steps))
    tables = np.repeat(rewards, len(steps), axis=0)
    earned = _play(many, method, _settings(steps, n, step_size), lambda k: tables, max(steps))
    best = best_return(many, tables)
    return [float(np.sum(best[i] - earned[:T, i])) for i, T in enumerate(steps)]


def sequence_regret(
    stack: Stack, pool: FloatArray, sequences: Sequences, method: Method, n: int, step_size: float = 1.0
) -> FloatArray:
    """The regrets of reward sequences (B, T), indices into a pool (M, S, A, K), against the best in hindsight: (B,)."""
    count, steps = sequences.shape
    many = stack.repeated(count)
    settings = _settings([steps] * count, n, step_size)
    earned = _play(many, method, settings, lambda k: pool[sequences[:, k]], steps)
    uses = np.stack([np.bincount(row, minlength=len(pool)) for row in sequences]).astype(np.float64)
    best = best_return(many, np.tensordot(uses, pool, axes=1))
    return np.asarray(best - earned.sum(axis=0))


def fitted_rate(steps: list[int], regrets: list[float]) -> float | None:
    """The exponent p of the least-squares fit regret = c T^p on the upper half of the T's; None without two points."""
    half = [(T, x) for T, x in zip(steps, regrets, strict=True)][len(steps) // 2 :]
    points = np.log([(T, x) for T, x in half if x > 1e-12]).reshape(-1, 2)
    return float(np.polyfit(points[:, 0], points[:, 1], 1)[0]) if len(points) > 1 else None


def _doubling(most: int) -> list[int]:
    """Return 2, 4, 8, ... up to `most`, which comes last."""
    return [*(2**k for k in range(1, (most - 1).bit_length())), most]


def _settings(steps: list[int], n: int, step_size: float) -> Settings:
    tau, tau_prime = np.array([temperatures_for(T, n) for T in steps]).T
    return Settings(tau, tau_prime, step_size)


def _play(
    stack: Stack, method: Method, settings: Settings, rewards_at: Callable[[int], FloatArray], steps: int
) -> FloatArray:
    """The expected returns of the T policies played, from the uniform one on: (T, B)."""
    own, policy, earned = method.own(settings), stack.uniform(), []
    for k in range(steps):
        rewards = rewards_at(k)
        earned.append(expected_return(stack, rewards, policy))
        if k + 1 < steps:
            policy = method.step(stack, rewards, policy, own)
    return np.array(earned)


def _adversarial(
    problem: StudyProblem, rewards: FloatArray, method: Method, options: RegretOptions, progress: Callable[[], object]
) -> AdversarialRegret:
    stack, n = problem.stack, problem.n_trajectories
    pool = reward_pool(stack, rewards, seed_of(options.seed, "pool"))
    count = max(2, min(options.sequences, MOST_NUMBERS // stack.target.size))
    result = AdversarialRegret(_doubling(options.adversarial_steps), [], [], [])
    for T in result.steps:
        rng = seed_of(options.seed, f"sequences {T}")
        drawn, first = rng.integers(len(pool), size=(count, T)), starting_sequences(count, T, len(pool), rng)

        def regret(sequences: Sequences) -> FloatArray:
            return sequence_regret(stack, pool, sequences, method, n, options.step_size)

        regrets = regret(drawn)
        found, _ = search_worst(regret, first, tables=len(pool), rounds=options.rounds, rng=rng)
        result.mean.append(float(regrets.mean()))
        result.largest.append(float(regrets.max()))
        result.found.append(max(found, result.largest[-1]))
        progress()
    return result


def _over_sizes(
    problem: StudyProblem, methods: list[Method], options: RegretOptions, progress: Callable[[], object]
) -> tuple[list[str], list[int], dict[str, list[float]]]:
    """Regret with fixed rewards after T steps on models of the same kind, from small to large."""
    labels, counts, regrets = [], [], {method.name: list[float]() for method in methods}
    for label, mdp in problem.siblings():
        stack, n = stack_of([mdp]), TrajectorySpace(mdp).count
        if n >= 2:
            labels.append(label)
            counts.append(n)
            for method in methods:
                values = fixed_regret(stack, rescaled(stack)[0], method, [options.sweep_steps], n, options.step_size)
                regrets[method.name] += values
        progress()
    return labels, counts, regrets


def _over_scales(problem: StudyProblem, rewards: FloatArray, method: Method, options: RegretOptions) -> list[float]:
    """Regret with rewards c times larger than the amended statement allows, for every c of `SCALES`."""
    T, scales = options.sweep_steps, np.array(SCALES)
    many = problem.stack.repeated(len(scales))
    tables = rewards * scales[:, None, None, None]
    settings = _settings([T] * len(scales), problem.n_trajectories, options.step_size)
    earned = _play(many, method, settings, lambda k: tables, T)
    return [float(x) for x in np.sum(best_return(many, tables) - earned, axis=0)]
