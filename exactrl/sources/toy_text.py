"""Gymnasium's toy-text environments as models: their own tables P, read exactly as they stand.

P[s][a] lists (probability, next state, reward, terminated). After a transition with `terminated` the episode is over:
no further reward. Where the table's own terminal states already absorb without reward (FrozenLake) they are kept; where
they do not (CliffWalking's goal walks on, Taxi's terminal states are also passed through) terminating transitions lead
to one state more, the last, which absorbs without reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from exactrl.entries import read_numbers
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.sources.building import Law, build

__all__ = ["toy_text"]

Outcomes = list[tuple[float, int, float, bool]]
TransitionTable = list[list[Outcomes]]


def toy_text(
    env_id: str, *, horizon: int | None = None, discount: Any = 1.0, sparse: bool = False, **make_kwargs: Any
) -> FiniteMDP:
    """The model of FrozenLake-v1, CliffWalking-v1, Taxi-v4, ... : transitions (S, A, S), rewards per next state.

    Entries with the same next state are merged: probabilities add up and rewards are averaged by them, in exact
    arithmetic rounded once. Probabilities are kept as they are, in floats. `make_kwargs` go to gymnasium.make
    (is_slippery=False, map_name="8x8", is_rainy=True ...). The time limit of gymnasium's wrapper is no part of the
    table: say horizon=T or a discount below 1.

    Raises ExactRLError where gymnasium is missing, the id unknown (with near ids), or the table is not the whole truth.
    """
    env = _make(env_id, make_kwargs)
    try:
        table, initial = _tables(env.unwrapped, env_id)
        limit = getattr(env.spec, "max_episode_steps", None)
    finally:
        env.close()
    if horizon is None and discount == 1:
        hint = f"horizon={limit} is the limit of its own episodes" if limit else "it has no limit of its own"
        raise ExactRLError(f"{env_id} needs horizon=T or a discount below 1, expected one of them ({hint})")
    law = _law(table)
    if initial is not None:
        initial = [*initial, *[0.0] * (law.n_states - len(initial))]
    return build(law, sparse=sparse, horizon=horizon, discount=discount, initial=initial)


def _make(env_id: Any, make_kwargs: Mapping[str, Any]) -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise ExactRLError("toy_text() needs gymnasium, which is not installed: pip install gymnasium") from error
    if not isinstance(env_id, str):
        raise ExactRLError(f"env_id is {env_id!r}, expected a string such as 'FrozenLake-v1'")
    if env_id not in gymnasium.registry:
        near = _near(env_id, gymnasium.registry)
        raise ExactRLError(f"gymnasium {gymnasium.__version__} has no environment {env_id!r}, expected e.g. {near}")
    try:
        return gymnasium.make(env_id, **make_kwargs)
    except Exception as error:  # a foreign constructor may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ExactRLError(f"gymnasium cannot make {env_id!r} with {dict(make_kwargs)}: {reason}") from error


def _near(env_id: str, registry: Mapping[str, Any]) -> str:
    """The registered ids most like this one; without any, the toy-text ones."""
    import difflib

    toys = [name for name, spec in registry.items() if "toy_text" in str(spec.entry_point)]
    near = difflib.get_close_matches(env_id, toys, n=3) or difflib.get_close_matches(env_id, list(registry), n=3)
    return ", ".join(near or toys)


def _tables(env: Any, env_id: str) -> tuple[TransitionTable, list[float] | None]:
    """P as nested lists of plain numbers, and the law of the first state where the environment has one."""
    if not isinstance(getattr(env, "P", None), Mapping):
        raise ExactRLError(f"{env_id} has no table P, expected an environment like FrozenLake-v1 or Taxi-v4")
    if getattr(env, "fickle_passenger", False):
        raise ExactRLError(f"{env_id} with fickle_passenger=True is not described by its table P: leave it False")
    table: TransitionTable = [
        [[(float(p), int(to), float(r), bool(end)) for p, to, r, end in env.P[s][a]] for a in range(len(env.P[s]))]
        for s in range(len(env.P))
    ]
    law = getattr(env, "initial_state_distrib", None)
    return table, None if law is None else read_numbers(law, f"{env_id}'s initial_state_distrib").floats.tolist()


def _law(table: TransitionTable) -> Law:
    """The law of the table, with one absorbing state more where its terminal states do not absorb without reward."""
    n_states, n_actions = len(table), len(table[0])
    ends = {to for row in table for outcomes in row for _, to, _, end in outcomes if end}
    kept = all(_absorbs(table, state) for state in ends)
    law = Law(n_states if kept else n_states + 1, n_actions)
    for state, row in enumerate(table):
        for action, outcomes in enumerate(row):
            for to, (probability, reward) in _merged(outcomes, None if kept else n_states).items():
                law.add(state, action, float(probability), to, float(reward))
    if not kept:
        law.absorb(n_states)
    return law


def _absorbs(table: TransitionTable, state: int) -> bool:
    return all(to == state and reward == 0 for outcomes in table[state] for _, to, reward, _ in outcomes)


def _merged(outcomes: Outcomes, end_state: int | None) -> dict[int, tuple[Fraction, Fraction]]:
    """Exact probability and mean reward of each next state; terminating outcomes lead to `end_state` if given."""
    sums: dict[int, tuple[Fraction, Fraction]] = {}
    for probability, to, reward, terminated in outcomes:
        if probability > 0:
            key = end_state if terminated and end_state is not None else to
            mass, earned = sums.get(key, (Fraction(0), Fraction(0)))
            weight = Fraction(probability)
            sums[key] = (mass + weight, earned + weight * Fraction(reward))
    return {to: (mass, earned / mass) for to, (mass, earned) in sums.items()}
