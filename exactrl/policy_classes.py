r"""Policy classes: sets $\Pi$ of distributions over N trajectories, on which the Project step acts.

| class | the set | convex |
|---|---|---|
| `Simplex(n)` | every distribution over n trajectories | yes |
| `Segment(a, b)` | the mixtures of two distributions | yes |
| `Polytope(vertices)` | the mixtures of M distributions | yes |
| `FiniteFamily(members)` | M distributions, nothing between them | no |
| `SoftmaxFamily(features)` | $\pi_\theta\propto\exp\{\Phi\theta\}$, $\theta\in\mathbb R^d$ | no |

Members may be given as floats or as rationals; they are held as logarithms, so that a probability 10^-1000 stays in the
support.  All classes are immutable and checked when they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from exactrl.distributions import finite_array, log_distributions
from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError

__all__ = ["FiniteFamily", "PolicyClass", "Polytope", "Segment", "Simplex", "SoftmaxFamily", "log_extreme_points"]


@dataclass(frozen=True)
class Simplex:
    """All distributions over n trajectories.  Raises ExactRLError unless n is a positive integer."""

    n: int

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)) or self.n < 1:
            raise ExactRLError(f"n is {self.n!r}: expected a positive number of trajectories")


def _log_rows(name: str, rows: Any) -> FloatArray:
    logs = log_distributions(name, rows)
    if logs.ndim != 2:
        raise ExactRLError(f"{name} has shape {logs.shape}: expected (M, N), one distribution a row")
    return logs


@dataclass(frozen=True, init=False, eq=False)
class Polytope:
    """The mixtures of M distributions.

    Shapes: vertices (M, N).  Raises ExactRLError naming the row that is no distribution.
    """

    log_vertices: FloatArray

    def __init__(self, vertices: Any) -> None:
        object.__setattr__(self, "log_vertices", _log_rows("vertices", vertices))

    @property
    def n(self) -> int:
        """The number N of trajectories."""
        return int(self.log_vertices.shape[1])


@dataclass(frozen=True, init=False, eq=False)
class Segment(Polytope):
    """The mixtures of two distributions.  Shapes: a, b (N,).  Raises ExactRLError naming the entry or the shapes."""

    def __init__(self, a: Any, b: Any) -> None:
        ends = log_distributions("a", a), log_distributions("b", b)
        if ends[0].ndim != 1 or ends[0].shape != ends[1].shape:
            raise ExactRLError(f"a has shape {ends[0].shape} and b {ends[1].shape}: expected (N,) for both")
        log_vertices = np.stack(ends)
        log_vertices.setflags(write=False)
        object.__setattr__(self, "log_vertices", log_vertices)


@dataclass(frozen=True, init=False, eq=False)
class FiniteFamily:
    """M distributions and nothing between them: an arbitrary parametrisation on which the Project step is a comparison.

    Shapes: members (M, N).  Raises ExactRLError naming the row that is no distribution.
    """

    log_members: FloatArray

    def __init__(self, members: Any) -> None:
        object.__setattr__(self, "log_members", _log_rows("members", members))

    @property
    def n(self) -> int:
        """The number N of trajectories."""
        return int(self.log_members.shape[1])


@dataclass(frozen=True, init=False, eq=False)
class SoftmaxFamily:
    r"""One-layer softmax over trajectories, $\pi_\theta(\rho)\propto\exp\{\phi(\rho)^\top\theta\}$.

    Shapes: features (N, d).  Raises ExactRLError naming the entry that is not finite.
    Source: ECPO, Proposition 3.
    """

    features: FloatArray

    def __init__(self, features: Any) -> None:
        features = finite_array("features", features)
        if features.ndim != 2 or features.size == 0:
            raise ExactRLError(f"features have shape {features.shape}: expected (N, d), neither of them 0")
        object.__setattr__(self, "features", features)

    @property
    def n(self) -> int:
        """The number N of trajectories."""
        return int(self.features.shape[0])


PolicyClass: TypeAlias = Simplex | Polytope | FiniteFamily | SoftmaxFamily


def log_extreme_points(policy_class: PolicyClass) -> FloatArray:
    """Return log-distributions among which every linear function attains its maximum over the class.

    Shapes: -> (M, N): the point masses, the vertices, or the members.
    Raises ExactRLError for a softmax family, whose supremum need not be attained.
    """
    if isinstance(policy_class, Simplex):
        return np.where(np.eye(policy_class.n, dtype=bool), 0.0, -np.inf)
    if isinstance(policy_class, Polytope):
        return policy_class.log_vertices
    if isinstance(policy_class, FiniteFamily):
        return policy_class.log_members
    raise ExactRLError(
        f"a {type(policy_class).__name__} has no list of extreme points: "
        "give the comparator as a distribution, or a FiniteFamily of softmax members"
    )
