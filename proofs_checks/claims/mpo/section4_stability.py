r"""Section 4, footnote 2: Retrace with function approximation, a family of examples in which it diverges.

Two states, two actions; action a leads to state a, whatever the state.  The policy always takes the second action, the
behaviour takes it with probability $\beta$, and rewards are 0, so that $Q^\pi=0$.  One feature: the second action is
worth w in the first state and 2w in the second, the first action nothing; so $Q^\pi$ is in the class, at w = 0.
The states of the buffer are distributed as under the behaviour, $(1-\beta,\beta)$ at every time.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.formulas import retrace_operator
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, Check, claim
from proofs_checks.fields import NonNegative, Positive
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import fitted_retrace_growth

FEATURE = ((0, 1), (0, 2))
NEXT_STATES = ((1, 0), (0, 1), (1, 0), (0, 1))  # rows (s, a)
GROWTH = Fraction(66, 65)  # at a discount of 11/12 and beta = 1/2, where it is least


def example(patience: Any, rarity: Any) -> tuple[Any, Any]:
    """The discount, 11/12 or more, and the behaviour's probability of the second action, 1/2 or less."""
    return 1 - 1 / (12 + patience), 1 / (2 + rarity)


def _weights(chance: Any) -> Any:
    """Of the pairs under the behaviour, (S, A): state a comes after action a."""
    xp = namespace(chance)
    taken = xp.stack([1 - chance, chance], axis=-1)
    return taken[:, None] * taken


def _fitted(weights: Any, targets: Any) -> Any:
    """The parameter with the least squared loss of Eq. 13: the mean of feature times target over that of its square."""
    xp = namespace(targets)
    feature = xp.asarray(np.array(FEATURE))
    return xp.sum(xp.sum(weights * feature * targets)) / xp.sum(xp.sum(weights * feature * feature))


def _next_parameter(parameter: Any, discount: Any, chance: Any, *, steps: int) -> Any:
    """One round of Eq. 13: targets from the old parameter, then the fit."""
    xp = namespace(parameter)
    q_values = parameter * xp.asarray(np.array(FEATURE))
    log_policy = xp.log(xp.asarray(np.array([[0, 1], [0, 1]])))
    row = xp.stack([1 - chance, chance], axis=-1)
    log_behaviour = xp.log(xp.stack([row, row], axis=0))
    transitions = xp.asarray(np.array(NEXT_STATES))
    targets = retrace_operator(q_values, q_values * 0, transitions, log_policy, log_behaviour, discount, steps=steps)
    return _fitted(_weights(chance), targets)


@claim(
    "mpo.sec4.footnote2",
    where="Sec. 4, footnote 2",
    title="Retrace with function approximation may diverge",
    statement=r"Retrace may not be guaranteed to be stable with function approximation $Q_\phi$.",
    kind="existence",
    shape=EXISTENCE,
    condition="grows",
    explanation=r"A family of witnesses, each of them checked: two states, the second of which the policy never leaves, one linear feature that is twice as large there, "
    r"rewards 0, and data distributed as under the behaviour. The true values are 0 and representable, yet the fit of Eq. (13) to its own targets (with the $\gamma$ that Eq. (13) "
    r"lacks), exact expectations throughout, multiplies the parameter by at least $66/65$ in every round, however many terms are summed. With a table of values the same targets converge.",
    hand_check=r"$\gamma$ above $10/11$, $\beta=1/2$: $\mathcal RQ(s,a_2)=\frac\gamma{2-\gamma}Q(2,a_2)=\frac{2\gamma}{2-\gamma}w$, and the fit on the two pairs with feature 1 and 2 is "
    r"$w'=\frac{1+2}{1+4}\cdot\frac{2\gamma}{2-\gamma}w=\frac{6\gamma}{5(2-\gamma)}w$.",
)
def the_parameter_grows(p: Problem) -> list[Check]:
    """One round from a positive parameter, one instance after the other."""
    xp = namespace(p.parameter)
    examples = (p.parameter, *example(p.patience, p.rarity))
    if p.parameter.ndim == 0:
        after = _next_parameter(*examples, steps=p.steps)
    else:
        after = xp.stack(
            [_next_parameter(*map(xp.asarray, one), steps=p.steps) for one in zip(*examples, strict=True)], axis=-1
        )
    return [
        Check("grows", after, ">", p.parameter),
        Check("by a factor", after, ">=", p.parameter * xp.asarray(GROWTH)),
    ]


the_parameter_grows.both_readings(
    space=Space(
        {
            "parameter": Positive(),
            "patience": NonNegative(exponents=(-3, 3)),
            "rarity": NonNegative(exponents=(-3, 3)),
        },
        {"steps": (1, 2, 5)},
        counts=("steps",),
    ),
    assumptions=[
        "a linear function with one feature, fitted by exact least squares (Eq. 13) to targets from the last parameter",
        "Retrace with gamma before the expectation (the print of Eq. 13 lacks it)",
        "gamma = 1 - 1/(12 + patience), beta = 1/(2 + rarity)",
    ],
    proof=fitted_retrace_growth(FEATURE, example, GROWTH),
    effort=0.03,
)
