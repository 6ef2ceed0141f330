"""A user's own problem put into a claim: one instance, or a model that fixes some fields of the instances."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from exactrl.entries import read_number
from exactrl.errors import ExactRLError
from exactrl.files import read_json
from exactrl.mdp import FiniteMDP
from exactrl.number_systems.rationals import float_logs
from proofs_checks.claim import Claim, Reading
from proofs_checks.fields import Exact, Field, Floats, Raw
from proofs_checks.instances import Instance, Space

MOST_TRAJECTORIES = 64


@dataclass(frozen=True)
class Fixed(Field):
    """A field whose value the user gave; nothing is drawn and nothing shrinks."""

    kind: Field = field(default_factory=Field)
    value: Any = None

    def draw(self, rng: np.random.Generator, batch: int, shape: tuple[int, ...]) -> Raw:
        return np.zeros((batch, *shape, 2), dtype=np.int64)

    def mutate(self, rng: np.random.Generator, raw: Raw) -> Raw:
        return raw

    def values(self, raw: Raw) -> Floats:
        floats = np.asarray(self.value, dtype=object).astype(np.float64)
        return np.broadcast_to(floats, raw.shape[:-1])

    def logs(self, raw: Raw) -> Floats:
        return np.broadcast_to(float_logs(self.value), raw.shape[:-1])

    def support(self, raw: Raw) -> Any:
        positive = np.asarray(np.asarray(self.value, dtype=object) > 0, dtype=bool)
        return np.broadcast_to(positive, raw.shape[:-1])

    def exact(self, raw: Raw) -> Exact:
        return self.value

    def fault(self, value: Exact) -> str | None:
        if np.asarray(value, dtype=object).tolist() != np.asarray(self.value, dtype=object).tolist():
            return "is fixed by the model"
        return self.kind.fault(value)

    def simpler(self, value: Exact) -> Any:
        return iter(())


def read_instance(path: Path, claim: Claim) -> dict[str, Instance]:
    """Read an instance file and return {reading: instance} for the readings that permit it.

    Raises ExactRLError naming the entry when no reading does.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise ExactRLError(f'{path}: expected an object of fields such as {{"returns": ["0", "1/2"], "tau": "1"}}')
    for entry, value in data.items():
        _refuse_other_than_numbers(f"{path}: {entry}", value)
    permitted: dict[str, Instance] = {}
    faults = []
    for name, reading in _distinct(claim):
        for space in _spaces(reading):
            try:
                permitted[name] = space.from_json(data)
                break
            except ExactRLError as error:
                faults.append(f"{name} reading: {error}")
    if not permitted:
        raise ExactRLError(f"{path} is no instance of {claim.id}: {'; '.join(dict.fromkeys(faults))}")
    return permitted


def _refuse_other_than_numbers(where: str, value: Any) -> None:
    """Raise ExactRLError for the first entry of nested lists that is no number; true and false are none."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            _refuse_other_than_numbers(f"{where}[{index}]", part)
    elif isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ExactRLError(f'{where} is {json.dumps(value)[:60]}: expected a rational such as "1/3"')
    elif isinstance(value, str):
        read_number(value, where)


def _distinct(claim: Claim) -> list[tuple[str, Reading]]:
    return [(name, r) for name, r in claim.readings.items() if r.name == name]


def _spaces(reading: Reading) -> list[Space]:
    return [reading.space, *([reading.printed.space] if reading.printed else [])]


def read_model(path: Path, claim: Claim) -> dict[str, dict[str, Any]]:
    """Read a model and return {reading: fields that it fixes} for the readings that permit it.

    Raises ExactRLError when the claim has nothing that the model fixes, or no reading permits it.
    """
    mdp = FiniteMDP.load(path)
    fixed: dict[str, dict[str, Any]] = {}
    faults = []
    for name, reading in _distinct(claim):
        try:
            fields = _fields_of(mdp, reading.space)
            for entry, value in fields.items():
                wrong = reading.space.fields[entry].fault(value)
                if wrong:
                    raise ExactRLError(f"{entry} {wrong}")
            fixed[name] = fields
        except ExactRLError as error:
            faults.append(f"{name} reading: {error}")
    if not fixed:
        raise ExactRLError(f"{path} cannot enter {claim.id}: {'; '.join(dict.fromkeys(faults))}")
    return fixed


def with_fixed(reading: Reading, fields: Mapping[str, Any]) -> Reading:
    """Return the reading on the instances that have the given values in the given fields."""
    space = reading.space
    sizes = dict(space.sizes)
    for name, value in fields.items():
        for dimension, size in zip(space.fields[name].shape, np.asarray(value, dtype=object).shape, strict=True):
            if isinstance(dimension, str):
                sizes[dimension] = (size,)
    kinds = {
        name: Fixed(shape=kind.shape, low=kind.low, kind=kind, value=fields[name]) if name in fields else kind
        for name, kind in space.fields.items()
    }
    return replace(reading, space=Space(kinds, sizes, space.counts), printed=None)


def _fields_of(mdp: FiniteMDP, space: Space) -> dict[str, Any]:
    if {"transitions", "first_rewards"} <= set(space.fields):
        return _two_steps(mdp)
    if "second_rewards" in space.fields:
        return _two_step_tree(mdp)
    if "returns" in space.fields and space.fields["returns"].shape == ("n",):
        return {"returns": _trajectory_returns(mdp)}
    dynamics = next((name for name, kind in space.fields.items() if _moves_between_states(kind)), None)
    if dynamics:
        return _stationary(mdp, space, dynamics)
    raise ExactRLError("its instances have neither dynamics, nor returns of trajectories, nor rewards of two steps")


def _moves_between_states(kind: Field) -> bool:
    """Whether a field has the shape (states, actions, states), whatever its claim calls them."""
    return len(kind.shape) == 3 and isinstance(kind.shape[0], str) and kind.shape[0] == kind.shape[2]


def _stationary(mdp: FiniteMDP, space: Space, dynamics: str) -> dict[str, Any]:
    """The dynamics of the model, and what else of it the instances have: rewards, discount, first states."""
    fields: dict[str, Any] = {dynamics: np.asarray(mdp.dense().transitions_exact, dtype=object)}
    if "rewards" in space.fields:
        fields["rewards"] = _rewards_of_pairs(mdp)
    if "initial" in space.fields:
        fields["initial"] = np.asarray(mdp.initial_exact, dtype=object)
    if "discount" in space.fields:
        if mdp.horizon is not None:
            raise ExactRLError(
                f"the model has horizon {mdp.horizon}: the claim is about infinite sums; "
                "leave the horizon out and give a discount below 1"
            )
        fields["discount"] = mdp.discount_exact
    return fields


def _rewards_of_pairs(mdp: FiniteMDP) -> Any:
    rewards = np.asarray(mdp.dense().rewards_exact, dtype=object)
    if rewards.ndim == 3:
        raise ExactRLError("the rewards depend on the next state: expected rewards[state, action]")
    return rewards


def _successors(mdp: FiniteMDP, state: int, action: int) -> list[tuple[int, Fraction]]:
    row = np.asarray(mdp.dense().transitions_exact, dtype=object)[state, action]
    return [(s, p) for s, p in enumerate(row.tolist()) if p > 0]


def _start(mdp: FiniteMDP) -> int:
    starts = [s for s, p in enumerate(mdp.initial_exact.tolist()) if p > 0]
    if len(starts) != 1:
        raise ExactRLError(f"the model starts in {len(starts)} states: expected one, e.g. initial=0")
    return starts[0]


def _reward(mdp: FiniteMDP, state: int, action: int, following: int) -> Fraction:
    rewards = np.asarray(mdp.dense().rewards_exact, dtype=object)
    value: Fraction = rewards[state, action] if rewards.ndim == 2 else rewards[state, action, following]
    return value


def _only_successor(mdp: FiniteMDP, state: int, action: int) -> int:
    successors = _successors(mdp, state, action)
    if len(successors) != 1:
        raise ExactRLError(
            f"transitions[{state}, {action}] has {len(successors)} successors: "
            "the claim is about deterministic transitions (Sec. 1.1); try a claim of Appendix D"
        )
    return successors[0][0]


def _horizon(mdp: FiniteMDP) -> int:
    if mdp.horizon is None:
        raise ExactRLError("the model has no horizon: give one, so that its trajectories are finite")
    return mdp.horizon


def _trajectory_returns(mdp: FiniteMDP) -> Any:
    """The returns of all trajectories of a deterministic model, exactly."""
    horizon = _horizon(mdp)
    if mdp.n_actions**horizon > MOST_TRAJECTORIES:
        raise ExactRLError(
            f"the model has {mdp.n_actions}^{horizon} trajectories: expected at most {MOST_TRAJECTORIES}; "
            "shorten the horizon"
        )
    returns = []
    for actions in itertools.product(range(mdp.n_actions), repeat=horizon):
        state, total, weight = _start(mdp), Fraction(0), Fraction(1)
        for action in actions:
            following = _only_successor(mdp, state, action)
            total += weight * _reward(mdp, state, action, following)
            weight *= mdp.discount_exact
            state = following
        returns.append(total)
    return np.array(returns, dtype=object)


def _refuse_other_horizons(mdp: FiniteMDP) -> None:
    if _horizon(mdp) != 2:
        raise ExactRLError(f"the model has horizon {mdp.horizon}: the claim is judged on two-step models, horizon 2")
    if mdp.discount_exact != 1:
        raise ExactRLError(f"the model has discount {mdp.discount}: the claim is about gamma = 1")


def _two_step_tree(mdp: FiniteMDP) -> dict[str, Any]:
    _refuse_other_horizons(mdp)
    start, actions = _start(mdp), range(mdp.n_actions)
    following = [_only_successor(mdp, start, a) for a in actions]
    second = [[_reward(mdp, s, b, _only_successor(mdp, s, b)) for b in actions] for s in following]
    first = [_reward(mdp, start, a, s) for a, s in zip(actions, following, strict=True)]
    return {"first_rewards": np.array(first, dtype=object), "second_rewards": np.array(second, dtype=object)}


def _two_steps(mdp: FiniteMDP) -> dict[str, Any]:
    _refuse_other_horizons(mdp)
    _rewards_of_pairs(mdp)
    start, actions = _start(mdp), range(mdp.n_actions)
    reached = sorted({s for a in actions for s, _ in _successors(mdp, start, a)})
    rows = np.asarray(mdp.dense().transitions_exact, dtype=object)[start][:, reached]
    zeros = np.argwhere(rows == 0)
    if len(zeros):
        a, b = zeros[0].tolist()
        raise ExactRLError(f"transitions[{start}, {a}, {reached[b]}] is 0: the claim asks f > 0 for every trajectory")
    return {
        "transitions": rows,
        "first_rewards": np.array([_reward(mdp, start, a, 0) for a in actions], dtype=object),
        "second_rewards": np.array([[_reward(mdp, s, b, 0) for b in actions] for s in reached], dtype=object),
    }
