r"""Random problems with an arbitrary policy class: finite families over the trajectories of a deterministic model.

The Project step is a comparison there, so that it is solved globally whatever the family.
Shapes: B problems, M members, N trajectories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exactrl.entries import FloatArray
from exactrl.formulas import (
    expectation,
    log_boltzmann,
    log_lift,
    nearest_forward,
    nearest_reverse,
    soft_policy_value,
    surrogate,
)
from exactrl.studies.methods import Method, Settings
from exactrl.studies.paths import ROUNDING, Paths, went_down

__all__ = ["FAMILY_METHODS", "Families", "follow_families", "random_families"]

#: Methods that need no logits.
FAMILY_METHODS = ("ecpo", "ecpo-no-entropy", "pmd", "pmd-entropy")


@dataclass(frozen=True, eq=False)
class Families:
    """B problems: log_members (B, M, N), returns (B, N); each starts at its first member."""

    log_members: FloatArray
    returns: FloatArray


def random_families(count: int, members: int, n: int, rng: np.random.Generator) -> Families:
    """Returns uniform in [-1, 1], members with probabilities of widely different sizes."""
    logits = rng.standard_normal((count, members, n)) * rng.uniform(0.1, 3.0, size=(count, members, 1))
    return Families(log_boltzmann(logits, 1.0), rng.uniform(-1.0, 1.0, size=(count, n)))


def follow_families(families: Families, method: Method, settings: Settings, steps: int) -> Paths:
    """Iterate a method with its globally solved Project step, and watch the three objectives.

    Source: ECPO, Eqs. 3 and 4; Propositions 1 and 2; Theorem 2.
    """
    own, nearest = method.own(settings), nearest_reverse if method.key.startswith("pmd") else nearest_forward
    policies = [families.log_members[:, 0]]
    for _ in range(steps):
        lifted = log_lift(policies[-1], families.returns, own.tau, own.tau_prime)
        policies.append(np.asarray(nearest(lifted, families.log_members)))
    path = np.stack(policies)
    values = {
        "return": expectation(path, families.returns),
        "return+entropy": soft_policy_value(path, families.returns, settings.tau_prime),
        "surrogate": surrogate(path, families.returns, own.tau, own.tau_prime),
    }
    moved = np.abs(np.diff(np.exp(path), axis=0)).max(axis=-1) > ROUNDING
    size = (settings.tau + settings.tau_prime) * np.log(path.shape[-1])
    return Paths(values, moved, {key: went_down(row, size) for key, row in values.items()})
