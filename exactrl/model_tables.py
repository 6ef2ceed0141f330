r"""The tables of a model in one of three number systems, and the few operations in which the systems differ.

`"floats"`: float64 arrays, transitions dense or sparse.  `"rationals"`: arrays of Fractions, exact.  `"balls"`: `Balls`
at the precision in force.  The exact systems take floats at their binary values.
Shapes: S states, A actions; rewards (S, A), transitions (S*A, S) with row s*A + a, initial (S,).
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from exactrl.entries import Numbers, entry, read_number, read_numbers, short
from exactrl.errors import ExactRLError
from exactrl.formulas.chains import discounted_system, expected_next, next_mass, policy_kernel
from exactrl.formulas.evaluation import lookahead
from exactrl.mdp import FiniteMDP
from exactrl.number_systems import namespace

__all__ = [
    "BallTables",
    "FloatTables",
    "Measure",
    "NumberSystem",
    "RationalTables",
    "read_measure",
    "read_temperature",
    "tables_of",
    "working_precision",
]

NumberSystem: TypeAlias = Literal["floats", "rationals", "balls"]
Measure: TypeAlias = Any
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-300, 1e300
_MOST_BITS = 1_000_000
_DIRECT, _DENSE = 300, 1000


# What the caller gives


def read_temperature(alpha: Any) -> Fraction | float:
    """A temperature, at least 0 and finite.  Raises ExactRLError for anything else."""
    value = read_number(alpha, "alpha")
    if not ((isinstance(value, Fraction) or math.isfinite(value)) and value >= 0):
        raise ExactRLError(f"alpha is {value}: expected a finite temperature, at least 0")
    return value


def read_measure(measure: Measure, n_states: int, n_actions: int) -> Numbers | None:
    """The base measure as numbers (A,) or (S, A); None for the counting measure.

    Raises ExactRLError naming the weight that is negative or no finite number, or the state without any mass.
    """
    if isinstance(measure, str):
        if measure not in ("counting", "normalised"):
            raise ExactRLError(f"measure is {measure!r}: expected 'counting', 'normalised' or weights (A,) or (S, A)")
        return None if measure == "counting" else read_numbers([Fraction(1, n_actions)] * n_actions, "measure")
    weights = read_numbers(measure, "measure")
    if weights.shape not in ((n_actions,), (n_states, n_actions)):
        raise ExactRLError(f"measure has shape {weights.shape}: expected ({n_actions},) or ({n_states}, {n_actions})")
    wrong = np.argwhere(~np.isfinite(weights.floats) | weights.is_negative())
    if len(wrong):
        where = tuple(wrong[0].tolist())
        raise ExactRLError(
            f"{entry('measure', where)} is {weights.floats[where]}: expected a finite weight, at least 0"
        )
    empty = np.argwhere(weights.is_zero().all(axis=-1))
    if len(empty):
        raise ExactRLError(f"{entry('measure', empty[0].tolist())} is 0 for every action: expected some mass")
    return weights


# The three number systems


class FloatTables:
    """The tables of a model in float64, dense or sparse, with the few operations that differ between systems."""

    def __init__(self, mdp: FiniteMDP) -> None:
        self.mdp = mdp
        self.rewards: Any = mdp.expected_rewards
        self.initial: Any = mdp.initial
        self.discount: Any = mdp.discount
        self.transitions: Any = mdp.transitions if mdp.is_sparse else mdp.transitions.reshape(-1, mdp.n_states)

    def read(self, numbers: Numbers) -> Any:
        """The numbers in this system."""
        return numbers.floats

    def temperature(self, alpha: Fraction | float) -> Any:
        """A positive temperature in this system.  Raises ExactRLError where floats are too coarse for it."""
        if not LEAST_TEMPERATURE <= alpha <= MOST_TEMPERATURE:
            raise ExactRLError(
                f"alpha is {_shown(alpha)}: expected 0 (the hard maximum) or {LEAST_TEMPERATURE:g} to "
                f"{MOST_TEMPERATURE:g} in floats; take numbers='balls' for others"
            )
        return float(alpha)

    def logs(self, numbers: Numbers) -> Any:
        """Their logarithms, -inf for an exact zero."""
        return numbers.logs()

    def lookahead(self, values: Any) -> Any:
        """Q = r + gamma P V, (S, A)."""
        if self.mdp.is_sparse:
            return lookahead(self.rewards, self.discount, (self.transitions @ values).reshape(self.rewards.shape))
        return lookahead(self.rewards, self.discount, expected_next(self.transitions, values))

    def next_mass(self, mass: Any) -> Any:
        """The mass that arrives in each state from an occupancy (S, A)."""
        return self.transitions.T @ mass.reshape(-1) if self.mdp.is_sparse else next_mass(mass, self.transitions)

    def kernel(self, policy: Any) -> Any:
        """The chain of a policy (S, A): dense (S, S), or sparse where the model is."""
        if not self.mdp.is_sparse:
            return policy_kernel(policy, self.transitions)
        from scipy.sparse import csr_array

        rows = np.arange(0, policy.size + 1, self.mdp.n_actions)
        chosen = csr_array((policy.flatten(), np.arange(policy.size), rows), (len(policy), policy.size))
        chosen.eliminate_zeros()
        return chosen @ self.transitions

    def solve(self, kernel: Any, right: Any, *, accuracy: float = 1e-14) -> Any:
        """The x with x - gamma kernel x = right: by GMRES to the accuracy where that is quick, or by elimination."""
        states = len(right)
        if states > _DIRECT and (accuracy > 1e-9 or states > _DENSE):
            from scipy.sparse.linalg import LinearOperator, gmres

            operator = LinearOperator((states, states), lambda x: x - self.discount * (kernel @ x), dtype=np.float64)
            found, missed = gmres(operator, right, rtol=accuracy, restart=40, maxiter=2)
            if not missed:
                return found
        if self.mdp.is_sparse and states > _DIRECT:
            from scipy.sparse import eye_array
            from scipy.sparse.linalg import spsolve

            return spsolve((eye_array(states) - self.discount * kernel).tocsc(), right)
        dense = kernel.toarray() if self.mdp.is_sparse else kernel
        return np.linalg.solve(discounted_system(dense, self.discount), right)


class RationalTables(FloatTables):
    """The exact values as arrays of Fractions."""

    def __init__(self, mdp: FiniteMDP) -> None:
        self.mdp = mdp
        self.rewards = mdp.expected_rewards_exact
        self.initial = mdp.initial_exact
        self.discount = mdp.discount_exact
        self.transitions = mdp.transitions_exact.reshape(-1, mdp.n_states)

    def read(self, numbers: Numbers) -> Any:
        """The exact values."""
        return numbers.fractions()

    def temperature(self, alpha: Fraction | float) -> Any:
        """Refuse a positive temperature: raises ExactRLError."""
        raise ExactRLError("alpha is positive and logarithms are not rational: take numbers='balls', or alpha = 0")

    def lookahead(self, values: Any) -> Any:
        """Q = r + gamma P V, exactly."""
        return lookahead(self.rewards, self.discount, expected_next(self.transitions, values))

    def next_mass(self, mass: Any) -> Any:
        """The mass that arrives in each state, exactly."""
        return next_mass(mass, self.transitions)

    def kernel(self, policy: Any) -> Any:
        """The chain of a policy (S, A), (S, S)."""
        return policy_kernel(policy, self.transitions)

    def solve(self, kernel: Any, right: Any, *, accuracy: float = 0) -> Any:
        """The solution x of x - gamma kernel x = right, by elimination."""
        from flint import fmpq, fmpq_mat

        def matrix(rows: int, columns: int, values: Any) -> Any:
            return fmpq_mat(rows, columns, [fmpq(x.numerator, x.denominator) for x in values.reshape(-1).tolist()])

        size = len(right)
        found = matrix(size, size, discounted_system(kernel, self.discount)).solve(matrix(size, 1, right))
        return np.array([Fraction(int(x.numer()), int(x.denom())) for x in found.entries()] + [None], dtype=object)[:-1]


class BallTables(RationalTables):
    """The exact values as balls, at the precision in force."""

    def __init__(self, mdp: FiniteMDP) -> None:
        super().__init__(mdp)
        self.rewards, self.initial = self._balls(self.rewards), self._balls(self.initial)
        self.transitions = self._balls(self.transitions)

    @staticmethod
    def _balls(values: Any) -> Any:
        from exactrl.number_systems.balls import Balls

        return Balls(values)

    def read(self, numbers: Numbers) -> Any:
        """Enclosures of the exact values."""
        return self._balls(numbers.fractions())

    def temperature(self, alpha: Fraction | float) -> Any:
        """A positive temperature, enclosed."""
        return self._balls(Fraction(alpha))

    def logs(self, numbers: Numbers) -> Any:
        """Enclosures of the logarithms, -inf for an exact zero."""
        values = self.read(numbers)
        return namespace(values).log(values)

    def solve(self, kernel: Any, right: Any, *, accuracy: float = 0) -> Any:
        """The solution x of x - gamma kernel x = right, by elimination."""
        from flint import arb_mat

        system = discounted_system(kernel, self.discount)
        found = system.matrix().solve(arb_mat(len(right), 1, right.data.tolist()))
        return self._balls(np.array(found.entries(), dtype=object))


def _shown(alpha: Fraction | float) -> str:
    return f"{alpha:g}" if isinstance(alpha, float) else short(alpha)


def tables_of(mdp: FiniteMDP, numbers: NumberSystem) -> FloatTables:
    """The model in one of the three number systems.  Raises ExactRLError for another name, or without python-flint."""
    kinds: dict[str, type[FloatTables]] = {"floats": FloatTables, "rationals": RationalTables, "balls": BallTables}
    if numbers not in kinds:
        raise ExactRLError(f"numbers is {short(numbers)}: expected 'floats', 'rationals' or 'balls'")
    return kinds[numbers](mdp)


def working_precision(numbers: NumberSystem, bits: Any) -> contextlib.AbstractContextManager[None]:
    """The context in which a number system computes.  Raises ExactRLError for a precision that is no sensible int."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= _MOST_BITS:
        raise ExactRLError(f"bits is {short(bits)}: expected an integer between 2 and {_MOST_BITS:,}")
    if numbers != "balls":
        return contextlib.nullcontext()
    from exactrl.number_systems.balls import precision

    return precision(bits)
