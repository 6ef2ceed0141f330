"""MPO's E-step: the dual by Newton within a bracket, beside an exponential cone program (cvxpy with Clarabel).

python benchmarks/mpo_estep.py            the full run, a minute
python benchmarks/mpo_estep.py --quick    fewer rounds
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import _measure as m
import cvxpy as cp
import numpy as np

from exactrl.estep import EStep, solve_estep
from exactrl.estep_enclosure import enclose_estep

STATES, ACTIONS, EPSILON = 1000, 10, 0.1


def problem(states: int = STATES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A Dirichlet policy, normal action values, uniform weights."""
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(ACTIONS), states), rng.normal(size=(states, ACTIONS)), np.full(states, 1 / states)


def cone_program(policy: np.ndarray, values: np.ndarray, mu: np.ndarray) -> Callable[[], Any]:
    """The program, compiled once: each call changes Q and solves again."""
    q, gains = cp.Variable(policy.shape, nonneg=True), cp.Parameter(policy.shape)
    away = cp.sum(cp.multiply(mu[:, None], cp.rel_entr(q, policy)))
    rules = [cp.sum(q, axis=1) == 1, away <= EPSILON]
    program = cp.Problem(cp.Maximize(cp.sum(cp.multiply(gains, q))), rules)

    def solve() -> Any:
        gains.value = mu[:, None] * values
        program.solve(solver="CLARABEL")
        return program.value, q.value

    return solve


def residual(q: np.ndarray, policy: np.ndarray, mu: np.ndarray) -> float:
    """By how much the divergence of q misses epsilon."""
    kept = np.maximum(q, 1e-300)
    return float(mu @ (q * np.log(kept / policy)).sum(axis=1)) - EPSILON


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    policy, values, mu = problem()
    log_policy = np.log(policy)
    cone = cone_program(policy, values, mu)

    def ours() -> EStep:
        return solve_estep(log_policy, values, mu, epsilon=EPSILON)

    competitors = {"exactrl": ours, "cvxpy with Clarabel": cone}
    found, (value, q) = ours(), cone()
    times = m.interleaved(competitors, 3 if options.quick else 9, calls=5)
    shapes = np.exp(log_policy)
    seconds = {name: m.summary(samples) for name, samples in times.items()}
    small = problem(20)
    figures = {
        "states": STATES, "actions": ACTIONS, "epsilon": EPSILON,
        "seconds": seconds,
        "ratio": m.ratio(times["cvxpy with Clarabel"], times["exactrl"]),
        "residual": {"exactrl": found.residual, "cvxpy with Clarabel": residual(q, policy, mu)},
        "value": {"lower": found.lower, "upper": found.upper, "cvxpy with Clarabel": float(value)},
        "limit_seconds": 4 * m.seconds_per(lambda: np.exp(shapes), 1),
        "limit": "four exponentials of the table: three evaluations of the dual and the policy",
        "enclosure_of_20_states_seconds": m.seconds_per(lambda: enclose_estep(*small, epsilon=EPSILON), 1, 3),
    }  # fmt: skip
    path = m.write("mpo_estep", figures)
    print(table(figures))
    print(f"\nWritten to {path.as_posix()}")


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table: medians with quartiles."""
    rows = ["| E-step, 1000 states x 10 actions, epsilon .1 | CPU ms | residual of the divergence |", "|---|---|---|"]
    for name, samples in figures["seconds"].items():
        rows.append(f"| {name} | {m.spread(samples, 1e3)} | {figures['residual'][name]:.0e} |")
    gap = figures["value"]["upper"] - figures["value"]["lower"]
    return "\n".join(
        [
            *rows,
            f"\nratio {m.spread(figures['ratio'], 1, 0)}; the limit is {figures['limit_seconds'] * 1e3:.2f} ms "
            f"({figures['limit']})",
            f"width of the rigorous bracket {gap:.0e}; "
            f"in balls, 20 states, {figures['enclosure_of_20_states_seconds'] * 1e3:.0f} ms",
        ]
    )


if __name__ == "__main__":
    main()
