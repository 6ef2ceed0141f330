"""What the page of a source says that neither its claims nor their verdicts can: its title, and its update rules.

A rule names the claims that an implementer meets when copying it; which of them may be copied, the verdicts tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.algorithm_facts import ECPO, Step
from reports.algorithm_facts_ecac import ECAC

__all__ = ["SOURCES", "Source", "source_of"]


@dataclass(frozen=True)
class Source:
    """A source of claims: its title, whole reference, and update rules (steps of which only claims and place count)."""

    title: str
    reference: str
    rules: tuple[Step, ...] = ()


def rule(title: str, place: str, *claims: str) -> Step:
    """An update rule of a source: where it stands, and the claims that it copies into a program."""
    return Step(title, (), place, claims=claims)


SOURCES = {
    "ecpo": Source(
        "Exploratory conservative policy optimisation (ECPO)",
        ECPO,
        (
            rule("Lift", "Sec. 3.1, Eq. 5; App. B, Eqs. 20-21", "ecpo.eq5.lift", "ecpo.lemma6.eq21"),
            rule("Project", "Sec. 2 and 3.2", "ecpo.prop1", "ecpo.prop3.convex", "ecpo.prop3.global"),
            rule("Gradient from samples", "Sec. 3.1, Lemma 1, Eq. 6", "ecpo.lemma1", "ecpo.lemma1.ratio"),
            rule("Temperatures over time", "Sec. 3.2, Theorem 1", "ecpo.thm1.fixed", "ecpo.thm1.anytime"),
            rule("Stochastic transitions", "App. D", "ecpo.appd.lemma8", "ecpo.appd.policy", "ecpo.appd.thm4"),
            *(
                rule(f"ECAC: {step.title[0].lower()}{step.title[1:]}", "App. C, Algorithm 2", *step.claims)
                for step in ECAC.steps
            ),
        ),
    ),
    "mpo": Source(
        "Maximum a posteriori policy optimisation (MPO)",
        "Abdolmaleki, Springenberg, Tassa, Munos, Heess and Riedmiller, Maximum a Posteriori Policy Optimisation, ICLR "
        "2018 (MPO)",
        (
            rule("E-step", "Sec. 3.2, Eqs. 6-8", "mpo.eq6.objective", "mpo.eq6.reason", "mpo.eq8"),
            rule(
                "Temperature of the E-step",
                "Sec. 3.2, Eq. 9; Algorithm 2, line 16",
                "mpo.eq9.convex",
                "mpo.eq9.duality",
                "mpo.eq9.minimiser",
                "mpo.alg2.eta",
            ),
            rule("M-step", "Sec. 3.3, Eqs. 10-12", "mpo.eq10", "mpo.eq12.rewrite"),
            rule("Prior of the M-step", "App. D.3, Eq. 25", "mpo.appd3.prior", "mpo.appd3.taylor"),
            rule("Trust region of Gaussian policies", "App. D.3, Eq. 27", "mpo.eq27.split", "mpo.eq27.parts"),
            rule("Gradient step on the M-step", "Algorithm 2, line 20", "mpo.alg2.theta"),
            rule("M-step of a parametric E-step", "App. D.4", "mpo.appd4.mstep"),
            rule("Factor of the covariance", "App. D", "mpo.appd.softplus"),
            rule("Policy evaluation", "Sec. 4, Eq. 13", "mpo.eq13.retrace", "mpo.sec4.footnote2"),
            rule(
                "Joint policy gradient",
                "App. A.2, Eqs. 18-21",
                "mpo.prop3.eq19",
                "mpo.prop3.eq21",
                "mpo.prop3.nondecreasing",
            ),
        ),
    ),
    "soft_q": Source(
        "Soft Q-learning",
        "Haarnoja, Tang, Abbeel and Levine, Reinforcement Learning with Deep Energy-Based Policies, ICML 2017 (soft "
        "Q-learning)",
        (
            rule("Soft Bellman backup", "Eqs. 7-9", "soft_q.thm2", "soft_q.thm3", "soft_q.appa2.contraction"),
            rule("Policy of the soft values", "Theorem 1; Eqs. 6 and 17", "soft_q.thm1", "soft_q.thm4"),
            rule(
                "Soft value from samples",
                "Sec. 3.2, Eq. 10; App. C.2",
                "soft_q.eq10",
                "soft_q.sec32.unbiased",
                "soft_q.appc2.optimal",
                "soft_q.eq33",
            ),
            rule("Loss of the action values", "Sec. 3.2, Eq. 11", "soft_q.sec32.residual", "soft_q.eq11"),
            rule(
                "Sampler",
                "Sec. 3.3, Eqs. 13-14; App. C.1",
                "soft_q.eq13.direction",
                "soft_q.eq14",
                "soft_q.eq14.descent",
                "soft_q.sec4.map",
                "soft_q.appc1",
            ),
            rule("Temperature in the rewards", "App. A, after Eq. 15", "soft_q.eq15.scaling"),
            rule(
                "Policy gradient with entropy",
                "App. B, Eqs. 27-29",
                "soft_q.eq27",
                "soft_q.eq28",
                "soft_q.eq29",
                "soft_q.appb.shift",
            ),
            rule("Gradient of the Bellman error", "App. B, Eqs. 30-32", "soft_q.eq32", "soft_q.appb.recover"),
        ),
    ),
    "parpi": Source(
        "Particle-based stochastic policy optimisation (ParPI)",
        "Particle Based Stochastic Policy Optimization, submitted to ICLR 2022 (ParPI)",
    ),
    "lecture": Source("Advanced policy optimisation, a lecture", "Lecture 9, Advanced Policy Optimization"),
}


def source_of(name: str) -> Source:
    """The source of that name; one of a package of claims that this table does not know has no update rules."""
    return SOURCES.get(name, Source(name, f"The source {name}"))
