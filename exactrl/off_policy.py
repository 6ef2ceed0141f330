r"""Retrace on a finite model: the operator with its whole sum, by one linear system, or truncated to n steps.

    $\mathcal RQ=Q+(I-\gamma P^{cb})^{-1}(r+\gamma P^\pi Q-Q)$,
    $P^{cb}(s'a'\mid sa)=\lambda P(s'\mid s,a)\min\{b,\pi\}(a'\mid s')$

Shapes: S states, A actions; Q, policy and behaviour (S, A).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.distributions import finite_array
from exactrl.entries import FloatArray, read_number
from exactrl.errors import ExactRLError
from exactrl.formulas.chains import discounted_system
from exactrl.formulas.retrace import retrace_kernel, retrace_operator
from exactrl.mdp import FiniteMDP
from exactrl.policies import as_log_policy

__all__ = ["retrace"]


def retrace(
    mdp: FiniteMDP,
    q_values: Any,
    policy: Any,
    behaviour: Any,
    *,
    steps: int | None = None,
    trace_decay: float = 1.0,
    as_printed: bool = False,
) -> FloatArray:
    r"""Apply the Retrace operator once, with all its terms or with the first `steps` of them.

    Its fixed point is $Q^\pi$, and $\lVert\mathcal RQ-Q^\pi\rVert_\infty\le\gamma\lVert Q-Q^\pi\rVert_\infty$; neither
    is true of the formula as MPO prints it (`as_printed=True`), which forgets a discount.
    Shapes: q_values (S, A); policy and behaviour a policy object or probabilities (S, A) -> (S, A).
    Raises ExactRLError for a model with a horizon, a shape or entry that does not fit, steps below 1, and a trace decay
    outside [0, 1].
    Source: MPO, Eq. 13; Munos et al. (2016), Eqs. 3 and 4.
    """
    if mdp.horizon is not None:
        raise ExactRLError(f"the model has a horizon of {mdp.horizon}: expected a discounted model without one")
    shape = (mdp.n_states, mdp.n_actions)
    values = finite_array("q_values", q_values)
    if values.shape != shape:
        raise ExactRLError(f"q_values have shape {values.shape}: expected {shape}, that is (S, A)")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1):
        raise ExactRLError(f"steps is {steps!r}: expected a positive number of terms, or None for all")
    decay = float(read_number(trace_decay, "trace_decay"))
    if not 0.0 <= decay <= 1.0:
        raise ExactRLError(f"trace_decay is {decay}: expected a number from 0 to 1")
    sizes = {"horizon": 1, "n_states": mdp.n_states, "n_actions": mdp.n_actions}
    log_policy, log_behaviour = (as_log_policy(x, **sizes)[0] for x in (policy, behaviour))
    model = mdp.dense()
    table = model.transitions.reshape(-1, mdp.n_states)

    def truncated(terms: int) -> FloatArray:
        return retrace_operator(
            values, mdp.expected_rewards, table, log_policy, log_behaviour, mdp.discount,
            steps=terms, trace_decay=decay, as_printed=as_printed,
        )  # fmt: skip

    if steps is not None:
        return truncated(int(steps))
    first = truncated(1) - values
    system = discounted_system(retrace_kernel(table, log_policy, log_behaviour, decay), mdp.discount)
    total = np.linalg.solve(system, first.ravel())
    return values + total.reshape(shape)
