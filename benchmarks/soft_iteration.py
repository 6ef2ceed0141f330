"""Proven optimal values, hard and soft, beside plain NumPy: value iteration with a sup-norm stop, policy iteration.

python benchmarks/soft_iteration.py            the full run, some minutes (plain value iteration is slow)
python benchmarks/soft_iteration.py --quick    smaller and fewer

Everybody is asked for values within 1e-8. exactrl returns lower and upper bounds that hold with rounding; the others a
point. quantecon joins where it is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import _measure as m
import numpy as np
import scipy.sparse

from exactrl import FiniteMDP
from exactrl.soft_balls import soft_enclosure
from exactrl.soft_iteration import soft_policy_iteration, soft_value_iteration
from exactrl.sources import garnet

TOLERANCE = 1e-8
DISCOUNT = 0.99


# The models


def dense_model(n_states: int) -> FiniteMDP:
    rng = np.random.default_rng(0)
    transitions = rng.random((n_states, 10, n_states))
    transitions /= transitions.sum(axis=-1, keepdims=True)
    return FiniteMDP(transitions, rng.normal(size=(n_states, 10)), discount=DISCOUNT)


def sparse_model(n_states: int) -> FiniteMDP:
    """Five successors of every state and action, drawn at random."""
    rng = np.random.default_rng(1)
    rows = n_states * 10
    columns = (rng.integers(0, n_states, (rows, 1)) + np.array([0, 1, 7, 100, 1000])) % n_states
    entries = (rng.dirichlet(np.ones(5), rows).ravel(), columns.ravel(), np.arange(0, 5 * rows + 1, 5))
    table = scipy.sparse.csr_array(entries, shape=(rows, n_states))
    return FiniteMDP(table, rng.normal(size=(n_states, 10)), discount=DISCOUNT)


def ring_model(n_states: int) -> FiniteMDP:
    """Two directions round a ring: a chain that mixes slowly, where a span does not fall faster than the discount."""
    table = np.zeros((n_states, 2, n_states))
    here = np.arange(n_states)
    for action, step in enumerate((1, -1)):
        table[here, action, (here + step) % n_states] = 0.9
        table[here, action, here] += 0.1
    return FiniteMDP(table, np.random.default_rng(2).normal(size=(n_states, 2)), discount=DISCOUNT)


# The baselines: what one would write in plain NumPy


def plain_value_iteration(matrix: Any, rewards: np.ndarray, alpha: float) -> np.ndarray:
    """V <- TV from zero until the sup-norm of a step proves the tolerance."""
    values = np.zeros(len(rewards))
    while True:
        q = rewards + DISCOUNT * (matrix @ values).reshape(rewards.shape)
        top = q.max(axis=1)
        new = top + alpha * np.log(np.exp((q - top[:, None]) / alpha).sum(axis=1)) if alpha else top
        distance = np.abs(new - values).max()
        values = new
        if 2 * DISCOUNT / (1 - DISCOUNT) * distance <= TOLERANCE:
            return values


def plain_policy_iteration(matrix: np.ndarray, rewards: np.ndarray, alpha: float) -> np.ndarray:
    """Evaluate by a linear solve, improve, until the policy (hard) or the value (soft) stays."""
    states, actions = rewards.shape
    table = matrix.reshape(states, actions, states)
    values = np.zeros(states)
    while True:
        q = rewards + DISCOUNT * (matrix @ values).reshape(rewards.shape)
        if alpha:
            policy = np.exp((q - q.max(axis=1, keepdims=True)) / alpha)
            policy /= policy.sum(axis=1, keepdims=True)
            kernel = np.einsum("ij,ijk->ik", policy, table)
            with np.errstate(divide="ignore", invalid="ignore"):
                bonus = np.where(policy > 0, policy * np.log(policy), 0.0).sum(axis=1)
            earned = (policy * rewards).sum(axis=1) - alpha * bonus
        else:
            best = q.argmax(axis=1)
            kernel, earned = table[np.arange(states), best], rewards[np.arange(states), best]
        new = np.linalg.solve(np.eye(states) - DISCOUNT * kernel, earned)
        if np.abs(new - values).max() <= TOLERANCE * (1 - DISCOUNT):
            return new
        values = new


def quantecon_competitors(mdp: FiniteMDP) -> dict[str, Callable[[], np.ndarray]]:
    """Modified policy iteration of quantecon, where it is installed."""
    try:
        from quantecon.markov import DiscreteDP
    except ImportError:
        return {}
    states, actions = np.divmod(np.arange(mdp.n_states * mdp.n_actions), mdp.n_actions)
    matrix = mdp.transitions if mdp.is_sparse else mdp.transitions.reshape(-1, mdp.n_states)
    table = scipy.sparse.csr_matrix(matrix) if mdp.is_sparse else matrix
    problem = DiscreteDP(mdp.expected_rewards.ravel(), table, DISCOUNT, states, actions)
    return {"quantecon": lambda: problem.solve(method="mpi", epsilon=TOLERANCE).v}


# The comparisons


def compare(name: str, mdp: FiniteMDP, alpha: float, repeats: int) -> dict[str, Any]:
    """CPU seconds of each, and how far their answers lie from the proven bounds."""
    rewards = mdp.expected_rewards
    matrix = mdp.transitions if mdp.is_sparse else mdp.transitions.reshape(-1, mdp.n_states)
    competitors: dict[str, Callable[[], Any]] = {
        "soft_value_iteration": lambda: soft_value_iteration(mdp, alpha, tolerance=TOLERANCE),
        "soft_policy_iteration": lambda: soft_policy_iteration(mdp, alpha, tolerance=TOLERANCE),
        "plain value iteration": lambda: plain_value_iteration(matrix, rewards, alpha),
    }
    if not mdp.is_sparse:
        competitors["plain policy iteration"] = lambda: plain_policy_iteration(matrix, rewards, alpha)
    if not alpha:
        competitors.update(quantecon_competitors(mdp))
    found = {key: run() for key, run in competitors.items()}
    proven = found["soft_policy_iteration"]
    times = m.interleaved(competitors, repeats)
    ours = [min(pair) for pair in zip(times["soft_value_iteration"], times["soft_policy_iteration"], strict=True)]
    others = [key for key in competitors if not key.startswith("soft")]
    return {
        "name": name, "states": mdp.n_states, "actions": mdp.n_actions, "alpha": alpha, "tolerance": TOLERANCE,
        "sweeps": {key: found[key].sweeps for key in ("soft_value_iteration", "soft_policy_iteration")},
        "width": {key: found[key].width for key in ("soft_value_iteration", "soft_policy_iteration")},
        "distance": {key: float(np.abs(found[key] - proven.values).max()) for key in others},
        "seconds": {key: m.summary(samples) for key, samples in times.items()},
        "ratio": {key: m.ratio(times[key], ours) for key in others},
        "limit_seconds": proven_limit(mdp),
        "limit": "one pass over the transitions at the machine's matrix-vector rate; a proof needs at least two",
    }  # fmt: skip


def proven_limit(mdp: FiniteMDP) -> float:
    matrix = mdp.transitions if mdp.is_sparse else mdp.transitions.reshape(-1, mdp.n_states)
    values = np.ones(mdp.n_states)
    return m.seconds_per(lambda: matrix @ values, 1)


def balls(repeats: int) -> dict[str, Any]:
    """Enclosures at 128 bits of a small model, from its exact values."""
    mdp = garnet(10, 5, 5, seed=0, discount="99/100", exact=True)
    times = m.interleaved({"soft_enclosure": lambda: soft_enclosure(mdp, "1/2")}, repeats)
    widths = [float(2 * x.rad()) for x in soft_enclosure(mdp, "1/2").values.data]
    return {"bits": 128, "width": max(widths), "seconds": m.summary(times["soft_enclosure"])}


# What is shown


def table(figures: dict[str, Any]) -> str:
    rows = [
        "| model | alpha | value iteration, ms | policy iteration, ms | beside it, ms | ratio to the best | pass, ms |"
    ]
    rows.append("|---|---|---|---|---|---|---|")
    for part in figures["models"]:
        seconds = {key: m.spread(samples, 1e3, 1) for key, samples in part["seconds"].items()}
        beside = "; ".join(f"{key} {seconds[key]}" for key in part["ratio"])
        ratios = "; ".join(m.spread(x, 1, 1) for x in part["ratio"].values())
        rows.append(
            f"| {part['name']}, S = {part['states']:,}, A = {part['actions']} | {part['alpha']:g} | "
            f"{seconds['soft_value_iteration']} ({part['sweeps']['soft_value_iteration']} sweeps) | "
            f"{seconds['soft_policy_iteration']} ({part['sweeps']['soft_policy_iteration']} sweeps) | {beside} | "
            f"{ratios} | {part['limit_seconds'] * 1e3:.1f} |"
        )
    small = figures["balls"]
    rows.append(
        f"| S = 10, A = 5 in {small['bits']}-bit balls, width {small['width']:.0e} | 0.5 | | "
        f"{m.spread(small['seconds'], 1e3, 1)} | | | |"
    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    quick = parser.parse_args().quick
    small, large, repeats = (200, 2000, 3) if quick else (1000, 10_000, 3)
    models = [("dense", dense_model(small)), ("sparse", sparse_model(large)), ("ring", ring_model(small))]
    figures = {
        "profile": "quick" if quick else "full",
        "models": [compare(name, mdp, alpha, repeats) for name, mdp in models for alpha in (0.0, 0.1)],
        "balls": balls(repeats),
    }
    path = m.write("soft_iteration", figures)
    print(table(figures))
    print(f"\nWritten to {path.as_posix()}")


if __name__ == "__main__":
    main()
