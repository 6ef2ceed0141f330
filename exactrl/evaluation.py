r"""Values, advantages, occupancies and policy gradients of a tabular policy, in floats, in rationals and in balls.

Without a horizon a model is discounted: with $P_\pi$ and $r_\pi$ the chain and the reward that the policy makes of it,
$V=(I-\gamma P_\pi)^{-1}r_\pi$ and the visits are $d=(I-\gamma P_\pi^\top)^{-1}\mu$.  With a horizon T the same numbers
come step by step, discounted too where the model has a discount: $Q_t=r+\gamma PV_{t+1}$, $V_{T+1}=0$.

With a temperature $\alpha>0$ all of them are soft: the policy earns $-\alpha D_{KL}(\pi(\cdot\mid s)\Vert b)$ at every
step, the first included, so that $V=\mathbb E_\pi Q-\alpha D_{KL}(\pi\Vert b)$ while Q holds no bonus of its own step.
The base measure b is `"counting"` (b = 1, a bonus of $\alpha\mathcal H(\pi)$), `"normalised"` (b = 1/A), or weights
(A,) or (S, A).

Number systems: `"floats"` (float64); `"rationals"` (arrays of Fractions, exact; only for $\alpha=0$, since logarithms
are not rational); `"balls"` (`Balls` at `bits` of precision, each of which provably contains the true value).  The
last two take floats at their binary values, so that a row of floats may miss 1 by a rounding.
Shapes: S states, A actions, T horizon.  A policy is (S, A), or with a horizon also (T, S, A).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from exactrl.entries import Numbers, entry, read_numbers, short
from exactrl.errors import ExactRLError
from exactrl.formulas.evaluation import (
    policy_average,
    policy_gradient,
    soft_logit_gradient,
    soft_policy_gradient,
    through_softmax,
)
from exactrl.formulas.soft_bellman import soft_policy_value
from exactrl.mdp import FiniteMDP
from exactrl.model_tables import (
    Measure,
    NumberSystem,
    read_measure,
    read_temperature,
    tables_of,
    working_precision,
)
from exactrl.number_systems import namespace
from exactrl.policies import Policy, as_log_policy

__all__ = ["Evaluation", "Measure", "NumberSystem", "evaluate", "occupancy", "return_gradient", "state_occupancy"]


# A policy on a model


class _Problem:
    """A policy, a temperature and a base measure on a model, in one number system."""

    def __init__(self, mdp: FiniteMDP, policy: Any, alpha: Any, measure: Measure, numbers: NumberSystem) -> None:
        self.system = tables_of(mdp, numbers)
        self.horizon = mdp.horizon
        temperature = read_temperature(alpha)
        base = read_measure(measure, mdp.n_states, mdp.n_actions)
        self.alpha = self.system.temperature(temperature) if temperature else 0
        self.policy, self.log_policy = self._read_policy(mdp, policy, numbers, soft=temperature > 0)
        self.log_base = None if base is None or not temperature else self.system.logs(base)
        if base is not None and temperature:
            self._refuse_outside(base)

    def _read_policy(self, mdp: FiniteMDP, policy: Any, numbers: NumberSystem, *, soft: bool) -> tuple[Any, Any]:
        """Probabilities and logarithms (those only where they are needed), (S, A) or (T, S, A)."""
        steps = mdp.horizon or 1
        logs = as_log_policy(policy, horizon=steps, n_states=mdp.n_states, n_actions=mdp.n_actions)
        if isinstance(policy, Policy):
            if numbers != "floats":
                raise ExactRLError(
                    f"policy is a {type(policy).__name__}, whose logarithms are rounded: "
                    "expected an array of probabilities, floats or rationals"
                )
            self.logs = logs[0] if self.horizon is None or logs.strides[0] == 0 else logs
            return np.exp(self.logs), self.logs
        table = read_numbers(policy, "policy")
        self.logs = logs[0] if len(table.shape) == 2 else logs
        if len(table.shape) == 3 and self.horizon is None:
            raise ExactRLError(f"policy has shape {table.shape} and the model no horizon: expected (S, A)")
        if not soft:
            return self.system.read(table), None
        return self.system.read(table), self.logs if numbers == "floats" else self.system.logs(table)

    def _refuse_outside(self, base: Numbers) -> None:
        outside = np.argwhere(np.isfinite(self.logs) & base.is_zero())
        if len(outside):
            where = outside[0].tolist()
            raise ExactRLError(
                f"{entry('policy', where)} is positive where the base measure is 0: its soft value is -inf, "
                "expected a policy within the measure"
            )

    def at(self, t: int) -> tuple[Any, Any]:
        """Probabilities and logarithms of step t, (S, A) each."""
        if len(self.policy.shape) == 2:
            return self.policy, self.log_policy
        return self.policy[t], None if self.log_policy is None else self.log_policy[t]

    def average(self, values: Any, t: int = 0) -> Any:
        """The (soft) average of action values over the policy, (S,)."""
        policy, log_policy = self.at(t)
        if not self.soft:
            return policy_average(policy, values)
        return soft_policy_value(log_policy, values, self.alpha, self.log_base)

    @property
    def soft(self) -> bool:
        return not isinstance(self.alpha, int)

    def values(self) -> tuple[Any, Any]:
        """V and Q: (S,) and (S, A), or (T + 1, S) and (T, S, A)."""
        system = self.system
        if self.horizon is None:
            values = system.solve(system.kernel(self.policy), self.average(system.rewards))
            return values, system.lookahead(values)
        values, action_values = [system.rewards[..., 0] * 0], []
        for t in reversed(range(self.horizon)):
            action_values.append(system.lookahead(values[-1]))
            values.append(self.average(action_values[-1], t))
        xp = namespace(values[0])
        return xp.stack(values[::-1]), xp.stack(action_values[::-1])

    def visits(self) -> Any:
        """Discounted expected visits, not normalised: (S,), or by step (T, S)."""
        system = self.system
        xp = namespace(system.initial)
        if self.horizon is None:
            return system.solve(_transposed(system.kernel(self.policy)), system.initial)
        visits = [system.initial]
        for t in range(self.horizon - 1):
            visits.append(system.discount * system.next_mass(visits[-1][..., None] * self.at(t)[0]))
        return xp.stack(visits)

    def length(self) -> Any:
        """The sum of all discounts."""
        if self.horizon is None:
            return 1 / (1 - self.system.discount)
        return sum((self.system.discount**t for t in range(self.horizon)), self.system.discount * 0)


def _transposed(kernel: Any) -> Any:
    return kernel.T if hasattr(kernel, "T") else namespace(kernel).moveaxis(kernel, 0, 1)


# What is asked


@dataclass(frozen=True, eq=False)
class Evaluation:
    r"""What a policy is worth, in one number system.

    Shapes: values V (S,), action_values Q and advantages Q - V (S, A); with a horizon (T + 1, S), (T, S, A), (T, S, A),
    where V_{T+1} = 0.  expected_return: $\sum_s\mu(s)V(s)$, ().
    """

    values: Any
    action_values: Any
    advantages: Any
    expected_return: Any


def evaluate(
    mdp: FiniteMDP, policy: Any, *, alpha: Any = 0, measure: Measure = "counting",
    numbers: NumberSystem = "floats", bits: int = 128,
) -> Evaluation:  # fmt: skip
    r"""Values, action values, advantages and expected return of a policy, soft where alpha > 0.

    Raises ExactRLError for a malformed policy, temperature or measure, and for alpha > 0 in rationals.
    Source: soft Q-learning, Eqs. 4 and 15 (soft); Bellman 1957.
    """
    with working_precision(numbers, bits):
        problem = _Problem(mdp, policy, alpha, measure, numbers)
        values, action_values = problem.values()
        if numbers == "floats" and not np.isfinite(values).all():
            raise ExactRLError("the values exceed float64: scale rewards and alpha down, or take numbers='balls'")
        first, now = (values, values) if mdp.horizon is None else (values[0], values[:-1])
        xp = namespace(values)
        return Evaluation(values, action_values, action_values - now[..., None], xp.sum(problem.system.initial * first))


def state_occupancy(
    mdp: FiniteMDP, policy: Any, *, normalised: bool, numbers: NumberSystem = "floats", bits: int = 128
) -> Any:
    r"""Discounted state occupancy $\sum_t\gamma^t\Pr(s_t=s)$, (S,), over the horizon where there is one.

    normalised: divided by the sum of the discounts, which is to multiply by $1-\gamma$ without a horizon.
    Raises ExactRLError for a malformed policy.
    Source: Puterman 1994, Sec. 6.9; soft Q-learning, App. A ($\rho_\pi$, there without a discount).
    """
    with working_precision(numbers, bits):
        problem = _Problem(mdp, policy, 0, "counting", numbers)
        visits = problem.visits()
        total = visits if mdp.horizon is None else namespace(visits).sum(visits, axis=0)
        return total / problem.length() if normalised else total


def occupancy(
    mdp: FiniteMDP, policy: Any, *, normalised: bool, numbers: NumberSystem = "floats", bits: int = 128
) -> Any:
    r"""Discounted occupancy $\sum_t\gamma^t\Pr(s_t=s,a_t=a)$, (S, A), over the horizon where there is one.

    normalised: divided by the sum of the discounts, which is to multiply by $1-\gamma$ without a horizon.
    Raises ExactRLError for a malformed policy.
    Source: Puterman 1994, Sec. 6.9.
    """
    with working_precision(numbers, bits):
        problem = _Problem(mdp, policy, 0, "counting", numbers)
        joint = problem.visits()[..., None] * problem.policy
        total = joint if mdp.horizon is None else namespace(joint).sum(joint, axis=0)
        return total / problem.length() if normalised else total


def return_gradient(
    mdp: FiniteMDP, policy: Any, *, wrt: Literal["policy", "logits"], alpha: Any = 0, measure: Measure = "counting",
    numbers: NumberSystem = "floats", bits: int = 128,
) -> Any:  # fmt: skip
    r"""Gradient of the expected return, regularised where alpha > 0, in the policy table or in softmax logits.

    Of the shape of the policy: (S, A), or (T, S, A) for one that depends on time.  In the table every entry counts as
    independent, and with alpha > 0 the slope is +inf where the policy is 0; in logits it is 0 there.
    Raises ExactRLError for malformed input, and for alpha > 0 in rationals.
    Source: Sutton, McAllester, Singh, Mansour 2000, Theorem 1; soft Q-learning, Eqs. 27-29.
    """
    if wrt not in ("policy", "logits"):
        raise ExactRLError(f"wrt is {short(wrt)}: expected 'policy' or 'logits'")
    with working_precision(numbers, bits):
        problem = _Problem(mdp, policy, alpha, measure, numbers)
        visits, (_, action_values) = problem.visits(), problem.values()
        if problem.soft:
            slope = soft_policy_gradient if wrt == "policy" else soft_logit_gradient
            gradient = slope(visits, problem.log_policy, action_values, problem.alpha, problem.log_base)
        else:
            gradient = policy_gradient(visits, action_values)
            gradient = gradient if wrt == "policy" else through_softmax(problem.policy, gradient)
        summed = len(gradient.shape) > len(problem.policy.shape)
        return namespace(gradient).sum(gradient, axis=0) if summed else gradient
