r"""Does the objective that a method is said to increase ever go down?  Along one problem, and over many random ones.

PMD is said never to lower the expected return (Proposition 2), ECPO never its surrogate SR (Theorem 2; SR_f with
stochastic dynamics, Theorem 3); PMD + entropy never lowers return plus tau' times entropy, by the argument of
Proposition 2.  Nothing is said of other pairs, nor of single gradient steps of finite size.

The sweep draws two kinds of problems: Garnet models with stochastic dynamics and all time-dependent policies, and
finite families of distributions over the trajectories of a deterministic model, where the class is arbitrary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from exactrl.errors import ExactRLError
from exactrl.formulas import total_temperature
from exactrl.sources import garnet
from exactrl.studies.families import FAMILY_METHODS, follow_families, random_families
from exactrl.studies.methods import METHODS, Settings, methods_for
from exactrl.studies.paths import OBJECTIVES, Paths, follow
from exactrl.studies.problems import StudyProblem, seed_of
from exactrl.studies.stacked import Stack, stack_of

__all__ = ["MonotonicityOptions", "MonotonicityStudy", "Parting", "Share", "Track", "study_monotonicity"]

KINDS = {"garnet": "random stochastic models, all policies", "family": "random finite policy classes"}
KINDS_SINGULAR = {"garnet": "random stochastic model", "family": "random finite policy class"}


@dataclass(frozen=True)
class MonotonicityOptions:
    """Temperatures, iterations on the problem, random problems of each kind and iterations on them, step size, seed."""

    tau: float = 0.2
    tau_prime: float = 0.05
    iterations: int = 30
    problems: int = 200
    sweep_iterations: int = 10
    step_size: float = 1.0
    start: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("tau", "tau_prime"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ExactRLError(f"{name} is {getattr(self, name)}: expected a finite number, at least 0")
        total_temperature(self.tau, self.tau_prime)
        for name in ("iterations", "problems", "sweep_iterations"):
            if getattr(self, name) < 1:
                raise ExactRLError(f"{name} is {getattr(self, name)}: expected at least 1")
        if not 0 < self.step_size < np.inf:
            raise ExactRLError(f"step_size is {self.step_size}: expected a positive finite number")
        if self.start not in ("random", "uniform"):
            raise ExactRLError(f"start is {self.start!r}: expected random or uniform")


@dataclass(frozen=True)
class Track:
    """A method on the problem: objective -> values (iterations + 1), and the steps k at which it fell, 1 the first."""

    method: str
    rises: tuple[str, ...]
    values: dict[str, list[float]]
    falls: dict[str, list[int]]


@dataclass(frozen=True)
class Share:
    """Of the steps that changed the policy, the share that lowered the objective; and the largest fall.

    claimed: whether the method is said never to lower it.
    """

    kind: str
    method: str
    objective: str
    claimed: bool
    steps: int
    falling: int
    largest_fall: float

    @property
    def percent(self) -> float:
        """The share in per cent."""
        return 100.0 * self.falling / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Parting:
    """ECPO on one problem, return and surrogate: where the return fell most."""

    title: str
    track: Track
    tau: float
    tau_prime: float


@dataclass(frozen=True)
class MonotonicityStudy:
    """Everything that the report shows: the problem's tracks, the partings of return and surrogate, the sweep."""

    tracks: list[Track]
    partings: list[Parting]
    shares: list[Share]


def pieces_of(problem: StudyProblem) -> int:
    """How many pieces of work `study_monotonicity` reports as it goes."""
    return len(methods_for(problem.stack)) + len(METHODS) + len(FAMILY_METHODS)


def study_monotonicity(
    problem: StudyProblem, options: MonotonicityOptions, progress: Callable[[], object] = lambda: None
) -> MonotonicityStudy:
    """Run the whole study; the same problem and options give the same numbers."""
    tracks, one = [], np.ones(1)
    stack = problem.stack
    settings = Settings(one * options.tau, one * options.tau_prime, options.step_size)
    start = stack.uniform() if options.start == "uniform" else stack.random_policy(seed_of(options.seed, "start"))
    for method in methods_for(stack):
        paths = follow(stack, method, start, settings, options.iterations)
        tracks.append(_track(paths, 0, method.name, method.rises))
        progress()
    shares, partings = [], [Parting(problem.name, tracks[0], options.tau, options.tau_prime)]
    for kind, runs in (("garnet", _garnet_paths), ("family", _family_paths)):
        settings, results = runs(options)
        for key, paths in results.items():
            shares += [_share(kind, key, objective, paths) for objective in OBJECTIVES]
            if key == "ecpo":
                partings.append(_largest_fall(kind, paths, settings))
            progress()
    return MonotonicityStudy(tracks, partings, shares)


def _track(paths: Paths, b: int, name: str, rises: tuple[str, ...]) -> Track:
    values = {key: [float(x) for x in row[:, b]] for key, row in paths.values.items()}
    falls = {key: [int(k) + 1 for k in np.flatnonzero(row[:, b])] for key, row in paths.falls.items()}
    return Track(name, rises, values, falls)


def _largest_fall(kind: str, paths: Paths, settings: Settings) -> Parting:
    """The problem whose return fell most in one step, in units of 1 + tau + tau'."""
    drops = -np.diff(paths.values["return"], axis=0).min(axis=0) / (1 + settings.tau + settings.tau_prime)
    b, ecpo = int(np.argmax(drops)), METHODS["ecpo"]
    track = _track(paths, b, ecpo.name, ecpo.rises)
    return Parting(f"a {KINDS_SINGULAR[kind]}", track, float(settings.tau[b]), float(settings.tau_prime[b]))


def _share(kind: str, key: str, objective: str, paths: Paths) -> Share:
    method, falls = METHODS[key], paths.falls[objective] & paths.moved
    largest = float(np.max(-np.diff(paths.values[objective], axis=0)[falls], initial=0.0))
    steps, falling = int(paths.moved.sum()), int(falls.sum())
    return Share(kind, method.name, objective, objective in method.rises, steps, falling, largest)


def _temperatures(options: MonotonicityOptions, rng: np.random.Generator) -> Settings:
    """Temperatures from 0.01 to 10 for each problem; in one of four tau' is 0."""
    tau, tau_prime = 10 ** rng.uniform(-2.0, 1.0, size=(2, options.problems))
    return Settings(tau, np.where(rng.random(options.problems) < 0.25, 0.0, tau_prime), options.step_size)


def _garnet_paths(options: MonotonicityOptions) -> tuple[Settings, dict[str, Paths]]:
    rng = seed_of(options.seed, "garnet")
    seeds = rng.integers(2**31, size=options.problems).tolist()
    stack: Stack = stack_of([garnet(4, 3, 2, seed=seed, horizon=4) for seed in seeds])
    settings, start = _temperatures(options, rng), stack.random_policy(rng)
    steps = options.sweep_iterations
    return settings, {key: follow(stack, method, start, settings, steps) for key, method in METHODS.items()}


def _family_paths(options: MonotonicityOptions) -> tuple[Settings, dict[str, Paths]]:
    rng = seed_of(options.seed, "family")
    families = random_families(options.problems, 24, 6, rng)
    settings = _temperatures(options, rng)
    steps = options.sweep_iterations
    return settings, {key: follow_families(families, METHODS[key], settings, steps) for key in FAMILY_METHODS}
