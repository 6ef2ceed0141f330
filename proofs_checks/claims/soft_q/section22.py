"""Section 2.2: energy-based policies, and the policy that Theorem 1 calls optimal."""

from __future__ import annotations

from exactrl.formulas import log_boltzmann, mixture, total_variation
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, Check, Given, claim
from proofs_checks.claims.soft_q.common import FINITE, INFINITE_HORIZON, TEMPERATURE, policy_field
from proofs_checks.claims.soft_q.optimal_models import (
    DRAWN_BY_SOLUTION,
    known_size,
    known_space,
    of_equation_4,
    rewards_of,
    values_of,
)
from proofs_checks.claims.soft_q.two_steps import (
    most_entropic,
    objective,
    two_step_size,
    two_step_space,
)
from proofs_checks.claims.terms import row
from proofs_checks.fields import Discount, Simplex, Unit
from proofs_checks.instances import Problem, Space

_ACTIONS = {"actions": (1, 2, 3, 5)}


@claim(
    "soft_q.eq3.any",
    where="Sec. 2.2, Eq. 3; App. B after Eq. 26",
    title="Energy-based policies represent any distribution",
    statement=r"Energy-based policies $\pi(a_t\mid s_t)\propto\exp(-\mathcal E(s_t,a_t))$ are the most general class: with a universal "
    r"function approximator for $\mathcal E$ any distribution $\pi(a_t\mid s_t)$ can be represented (App. B, in the convention "
    r"$\pi=\exp(\mathcal E-\bar{\mathcal E})$: energy $\log p$ for any given $p$).",
    kind="existence",
    shape=EXISTENCE,
    condition="represented",
    intended_statement=r"Any distribution $\pi(a_t\mid s_t)$ has an energy, $-\log\pi$, which is infinite where $\pi=0$; and energies that are finite "
    "come as near to it as one likes.",
    explanation=r"An energy function with real values, such as a network has and such as the soft $Q$-function is, gives every action positive "
    r"probability. So a distribution with a 0 in it, a deterministic policy for one, is no energy-based policy: the energy $\log p$ of App. B "
    r"is $-\infty$ there. It is the condition of positivity that Gibbs distributions come with. With infinite energies admitted, as App. B may mean, or "
    "with distributions represented as nearly as one likes, as a universal approximator does, the sentence is true.",
    hand_check=r"Two actions, $\pi=(1,0)$: $\exp(-\mathcal E(a_2))/(\exp(-\mathcal E(a_1))+\exp(-\mathcal E(a_2)))>0$ for any two numbers.",
)
def a_distribution_is_a_policy_of_some_energy(p: Problem) -> Check:
    """What finite energies represent is positive everywhere, and what is positive has the energy -log pi."""
    xp = namespace(p.policy)
    return Check("represented", xp.min(p.policy), ">", 0, scale=0.0)


def a_distribution_is_near_a_policy_of_some_energy(p: Problem) -> list[Check]:
    """The energy of App. B in extended reals, and finite energies within any distance."""
    xp = namespace(p.policy)
    uniform = (p.policy * 0 + 1) / p.actions
    finite = xp.log(mixture(p.policy, uniform, p.distance))
    away = total_variation(log_boltzmann(finite, 1), p.log_policy)
    positive: Given = ((p.distance, ">", 0),)
    return [
        Check("energy log p", xp.exp(log_boltzmann(p.log_policy, 1)), "==", p.policy),
        Check("finite energies", xp.min(finite), ">", float("-inf"), scale=0.0, given=positive),
        Check("as near as one likes", away, "<=", p.distance, given=positive),
    ]


a_distribution_is_a_policy_of_some_energy.reading(
    "literal",
    space=Space({"policy": Simplex(("actions",))}, _ACTIONS),
    assumptions=["finitely many actions"],
)
a_distribution_is_a_policy_of_some_energy.reading(
    "intended",
    space=Space({"policy": Simplex(("actions",)), "distance": Unit()}, _ACTIONS),
    adds=[
        "an energy may be infinite where pi = 0; otherwise pi is represented as nearly as one likes, in total variation"
    ],
    sides=a_distribution_is_near_a_policy_of_some_energy,
)


@claim(
    "soft_q.thm1",
    where="Sec. 2.2, Theorem 1, Eqs. 4-6",
    title="The policy of the soft Q-function is optimal",
    statement=r"The optimal policy for (2) is $\pi^*_{MaxEnt}(a_t\mid s_t)=\exp\left(\frac1\alpha(Q^*_{soft}(s_t,a_t)-V^*_{soft}(s_t))\right)$ "
    r"with $Q^*_{soft}(s_t,a_t)=r_t+\mathbb E_{(s_{t+1},\dots)\sim\rho_\pi}\left[\sum_{l=1}^\infty\gamma^l(r_{t+l}+\alpha\mathcal H("
    r"\pi^*_{MaxEnt}(\cdot\mid s_{t+l})))\right]$, $V^*_{soft}(s_t)=\alpha\log\int_A\exp\left(\frac1\alpha Q^*_{soft}(s_t,a')\right)da'$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no policy has more",
    intended_statement=r"The same for Eq. (2) with a discount, $\mathbb E\left[\sum_t\gamma^t(r_t+\alpha\mathcal H(\pi(\cdot\mid s_t)))\right]$, from "
    "every first state, and so from every distribution of it.",
    explanation=r"Eq. (2) has no discount, and Eq. (4) has one: the two are at odds wherever a policy can trade the present for the future. The "
    "paper says that it uses the discount from here on and leaves the discounted objective to Appendix A, so that the theorem was not meant for Eq. (2) "
    r"as it is printed; without a discount ($\gamma=1$) it is true of Eq. (2) on episodes that end. "
    r"Refuted on models of two steps; an episode that ends is an infinite one that goes on in a state whose actions all earn $-\alpha\log\lvert A\rvert$. The discounted objective of the intended reading "
    "is that of the first state; the one that Appendix A writes down, which weights every later state anew, is another claim. "
    "For the intended reading: " + DRAWN_BY_SOLUTION,
    hand_check=r"The first action earns 1 now and 0 at the next step, the second 0 now and 2 at the next step, whatever is done there; then the episode "
    r"ends. Both lead to the same later entropy. With $\gamma=\frac25$ and $\alpha=\frac1{100}$, $Q^*_{soft}$ prefers $1$ to $\frac25\cdot2$, and Theorem 1 "
    r"takes the first with probability $1-2\cdot10^{-9}$; in Eq. (2) the second is worth nearly 1 more.",
)
def the_policy_of_the_theorem_is_optimal(p: Problem) -> Check:
    """Eq. 2 as printed, for the policy that solves it, and for that of Theorem 1, which discounts the second step."""
    left, right = (objective(p, x) for x in (most_entropic(p), most_entropic(p, row(p.discount))))
    return Check("no policy has more", left, "<=", right, scale=two_step_size(p))


def the_policy_of_the_theorem_is_optimal_with_a_discount(p: Problem) -> list[Check]:
    """The discounted objective of a challenger in every state, and that the drawn policy is that of Eqs. 4-6."""
    _, value = values_of(p, p.log_challenger, rewards_of(p))
    scale = known_size(p, row(row(p.alpha)) * p.log_challenger)
    return [Check("no policy has more", value, "<=", p.values, scale=scale), of_equation_4(p)]


the_policy_of_the_theorem_is_optimal.reading(
    "literal",
    space=two_step_space(actions=(1, 2), discount=Discount()),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE],
    effort=0.25,
)
the_policy_of_the_theorem_is_optimal.reading(
    "intended",
    space=known_space(challenger=policy_field()),
    adds=["Eq. (2) with the discount of Eq. (4), from any first state"],
    sides=the_policy_of_the_theorem_is_optimal_with_a_discount,
    effort=0.5,
)
