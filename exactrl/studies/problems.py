"""The problem of a study: a built-in one, a toy-text environment, or the user's own model; and its smaller siblings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.studies.stacked import Stack, stack_of
from exactrl.studies.sweeps import return_range
from exactrl.trajectories import TrajectorySpace

__all__ = ["BUILT_IN", "StudyProblem", "check_source", "choose_problem", "maker_named", "rescaled", "seed_of"]

Maker = TypeVar("Maker")
ARMS, TREE_DEPTH, TREE_BRANCHING, CHAIN_LENGTH, HORIZON = 64, 4, 3, 5, 10
LARGEST_LIFTED_CHAIN = 100
MOST_SIZES = 10


@dataclass(frozen=True, eq=False)
class StudyProblem:
    """A model, what to call it, how many trajectories it has, and models of the same kind from small to large."""

    name: str
    mdp: FiniteMDP
    stack: Stack = field(init=False)
    n_trajectories: int = field(init=False)
    siblings: Callable[[], list[tuple[str, FiniteMDP]]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stack", stack_of([self.mdp]))
        object.__setattr__(self, "n_trajectories", TrajectorySpace(self.mdp).count)
        if self.n_trajectories < 2:
            raise ExactRLError(
                f"{self.name} has a single trajectory: expected at least 2, or there is nothing to learn"
            )

    def description(self) -> str:
        """One sentence: sizes, horizon, dynamics, and the number of trajectories."""
        kind = "deterministic" if self.stack.deterministic else "stochastic"
        states, actions = (
            _plural(n, word) for n, word in ((self.mdp.n_states, "state"), (self.mdp.n_actions, "action"))
        )
        steps = _plural(self.stack.horizon, "action")
        return (
            f"{self.name}: {states}, {actions}, {kind}, episodes of {steps}, {_count(self.n_trajectories)} trajectories"
        )


def choose_problem(
    problem: str | None, env_id: str | None, mdp: Path | None, *, horizon: int | None, seed: int,
    advice: str = "give --horizon T",
) -> StudyProblem:  # fmt: skip
    """The problem of exactly one of the three sources; without any the built-in tree.

    advice: what to do about a model of the user's own that has no horizon.
    Raises ExactRLError for two sources at once, an unknown name (with near ones), a model without a horizon, and
    whatever is wrong with the model itself.
    """
    check_source(problem, env_id, mdp, horizon)
    if env_id is not None:
        return _toy_text(env_id, horizon or HORIZON)
    if mdp is not None:
        return _own(mdp, horizon, advice)
    return maker_named(problem or "tree", BUILT_IN)(horizon, seed)


def check_source(problem: str | None, env_id: str | None, mdp: Path | None, horizon: int | None = None) -> None:
    """Raise ExactRLError for two sources at once, and for a horizon that is no positive number."""
    given = [f"--{flag}" for flag, x in (("problem", problem), ("env-id", env_id), ("mdp", mdp)) if x is not None]
    if len(given) > 1:
        raise ExactRLError(f"{' and '.join(given)} were given together: expected one of them")
    if horizon is not None and horizon < 1:
        raise ExactRLError(f"--horizon is {horizon}: expected a positive number of actions")


def maker_named(name: str, makers: Mapping[str, Maker]) -> Maker:
    """What makes the built-in problem of that name.  Raises ExactRLError for an unknown one, with a near one."""
    if name not in makers:
        near = difflib.get_close_matches(name, makers, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ExactRLError(f"--problem is {name!r}: expected one of {', '.join(makers)}{hint}")
    return makers[name]


def rescaled(stack: Stack) -> tuple[FloatArray, FloatArray]:
    """Rewards (B, S, A, K) of which returns span an interval of length 2, and the factor (B,) that made them so.

    The constant that would move the interval to [-1, 1] is left out: neither updates nor regret depend on it.
    """
    least, greatest = return_range(stack, stack.reward)
    width = greatest - least
    factor = np.where(width > 0, 2 / np.where(width > 0, width, 1), 1.0)
    return np.asarray(stack.reward * factor[:, None, None, None]), factor


def seed_of(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose, independent of the draws for any other."""
    return np.random.default_rng([seed, *purpose.encode()])


def _bandit(horizon: int | None, seed: int) -> StudyProblem:
    from exactrl.sources import bandit

    if horizon not in (None, 1):
        raise ExactRLError(f"--horizon is {horizon}: a bandit has one decision; leave it out")
    rewards = seed_of(seed, "bandit").uniform(-1.0, 1.0, size=4096)
    sizes = [2**k for k in range(1, 13)]
    return StudyProblem(
        f"bandit with {ARMS} arms", bandit(rewards[:ARMS]), lambda: [(f"{n} arms", bandit(rewards[:n])) for n in sizes]
    )


def _tree(horizon: int | None, seed: int) -> StudyProblem:
    from exactrl.sources import tree

    depth = horizon or TREE_DEPTH
    mdp = tree(depth, TREE_BRANCHING, seed=seed, sparse=True)
    return StudyProblem(f"tree of depth {depth}", mdp, lambda: _shortened(mdp, depth))


def _chain(horizon: int | None, seed: int) -> StudyProblem:
    from exactrl.sources import chain

    mdp = chain(CHAIN_LENGTH, horizon=horizon or HORIZON)
    return StudyProblem(
        f"chain of {CHAIN_LENGTH} states", mdp, lambda: _shortened(mdp, max(horizon or HORIZON, LARGEST_LIFTED_CHAIN))
    )


BUILT_IN: dict[str, Callable[[int | None, int], StudyProblem]] = {"bandit": _bandit, "tree": _tree, "chain": _chain}


def _toy_text(env_id: str, horizon: int) -> StudyProblem:
    from exactrl.sources import toy_text

    mdp = toy_text(env_id, horizon=horizon, sparse=True)
    return StudyProblem(env_id, mdp, lambda: _shortened(mdp, horizon))


def _own(path: Path, horizon: int | None, advice: str) -> StudyProblem:
    mdp = FiniteMDP.load(path)
    if horizon is not None:
        mdp = mdp.replace(horizon=horizon)
    if mdp.horizon is None:
        raise ExactRLError(f"the model in {path} has no horizon, so its trajectories are infinite: {advice}")
    longest = mdp.horizon
    return StudyProblem(path.name, mdp, lambda: _shortened(mdp, longest))


def _shortened(mdp: FiniteMDP, longest: int) -> list[tuple[str, FiniteMDP]]:
    """The same model over shorter horizons, at most `MOST_SIZES` of them, evenly spread on a logarithmic scale."""
    horizons = sorted({round(longest**k) for k in np.linspace(0.0, 1.0, MOST_SIZES)})
    return [(f"horizon {h}", mdp.replace(horizon=h)) for h in horizons]


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _count(n: int) -> str:
    return f"{n:,}" if n < 10**7 else f"about 10^{math.log10(n):.0f}"
