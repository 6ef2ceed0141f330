"""Sums over all trajectories: recursion, balls and enumeration beside plain NumPy; and how long the imports take.

python benchmarks/trajectories.py            the full run, a minute or two
python benchmarks/trajectories.py --quick    smaller and fewer
python benchmarks/trajectories.py --readme   also write the table into benchmarks/README.md
"""

from __future__ import annotations

import argparse
from typing import Any

import _measure as m
import numpy as np
from flint import arb
from scipy.special import logsumexp

from exactrl import FiniteMDP, TrajectorySpace
from exactrl.formulas import backward_log_partition
from exactrl.number_systems.balls import Balls, precision
from exactrl.sources import garnet

TAU, TAU_PRIME = 0.5, 0.25
ETA = TAU + TAU_PRIME
_CALLS_A_STEP = 5


# The baselines: what one would write in plain NumPy


def textbook_surrogate(mdp: FiniteMDP, policy: np.ndarray, log_transitions: np.ndarray) -> float:
    """The backward loop of the textbook, with SciPy's logsumexp over successors and over actions."""
    scores = (mdp.rewards + TAU * np.log(policy)) / ETA
    values = np.zeros(mdp.n_states)
    for _ in range(mdp.horizon):
        expected = logsumexp(log_transitions + values, axis=-1)
        values = logsumexp(scores + expected, axis=-1)
    return ETA * logsumexp(np.log(mdp.initial) + values)


def matrix_surrogate(mdp: FiniteMDP, policy: np.ndarray) -> float:
    """The same loop by one matrix-vector product a step, shifted by the maximum: the better plain NumPy."""
    scores = (mdp.rewards + TAU * np.log(policy)) / ETA
    matrix = mdp.transitions.reshape(-1, mdp.n_states)
    values = np.zeros(mdp.n_states)
    for _ in range(mdp.horizon):
        top = values.max()
        total = scores + np.log(matrix @ np.exp(values - top)).reshape(scores.shape)
        peak = total.max(axis=1)
        values = top + peak + np.log(np.exp(total - peak[:, None]).sum(axis=1))
    top = values.max()
    return ETA * (top + np.log(mdp.initial @ np.exp(values - top)))


def layered_surrogate(mdp: FiniteMDP, policy: np.ndarray) -> float:
    """All trajectories, expanded layer by layer into flat arrays; then one logsumexp."""
    source, action, target = np.nonzero(mdp.transitions)
    gain = (mdp.rewards + TAU * np.log(policy))[source, action] / ETA + np.log(mdp.transitions[source, action, target])
    out = np.bincount(source, minlength=mdp.n_states)
    first = np.cumsum(out) - out
    states = np.arange(mdp.n_states)
    scores = np.log(mdp.initial)
    for _ in range(mdp.horizon):
        entry = np.repeat(np.arange(len(states)), out[states])
        edge = np.arange(len(entry)) - (np.cumsum(out[states]) - out[states] - first[states])[entry]
        scores = scores[entry] + gain[edge]
        states = target[edge]
    return ETA * logsumexp(scores)


# The comparisons


def recursion(n_states: int, horizon: int, repeats: int, calls: int) -> dict[str, Any]:
    """Float recursion beside two loops; the limit is the kernel's arithmetic and the dispatch of a few calls."""
    mdp = garnet(n_states, 10, n_states, seed=0, horizon=horizon)
    policy = np.random.default_rng(0).dirichlet(np.ones(10), size=n_states)
    space = TrajectorySpace(mdp)
    with np.errstate(divide="ignore"):
        log_transitions = np.log(mdp.transitions)
    competitors = {
        "exactrl": lambda: space.surrogate(policy, tau=TAU, tau_prime=TAU_PRIME),
        "textbook": lambda: textbook_surrogate(mdp, policy, log_transitions),
        "matrix": lambda: matrix_surrogate(mdp, policy),
    }
    values = {name: run() for name, run in competitors.items()}
    times = m.interleaved(competitors, repeats, calls)
    few = np.ones(n_states)
    wide = np.ones((2048, 512))
    kernel = m.seconds_per(lambda: wide @ wide[0], wide.size) * n_states**2
    dispatch = horizon * _CALLS_A_STEP * m.seconds_per(lambda: np.add(few, few), 1)
    return {
        "states": n_states, "actions": 10, "horizon": horizon, "log10_trajectories": len(str(space.count)) - 1,
        "relative_difference": abs(values["exactrl"] / values["textbook"] - 1),
        "seconds": {name: m.summary(samples) for name, samples in times.items()},
        "ratio": m.ratio(times["textbook"], times["exactrl"]),
        "ratio_matrix": m.ratio(times["matrix"], times["exactrl"]),
        "limit_seconds": 10 * kernel + horizon * kernel + dispatch,
        "limit": "one pass over the transitions and T over the S x S kernel, at the machine's matrix-vector rate, "
        f"and {_CALLS_A_STEP} NumPy calls a step",
        "limit_of_dispatch_seconds": dispatch,
    }  # fmt: skip


def balls(repeats: int, bits: int = 128) -> dict[str, Any]:
    """Rigorous bounds of the same surrogate, beside the formula in balls; the limit is their multiplications."""
    mdp = garnet(10, 10, 10, seed=0, horizon=50)
    policy = np.random.default_rng(0).dirichlet(np.ones(10), size=10)
    space = TrajectorySpace(mdp)

    def formula() -> Balls:
        with precision(bits):
            scores = Balls((mdp.rewards + TAU * np.log(policy)) / ETA)
            return backward_log_partition([scores] * 50, Balls(mdp.transitions.reshape(100, 10)), Balls(mdp.initial))

    bounds = space.surrogate_enclosure(policy, tau=TAU, tau_prime=TAU_PRIME, bits=bits)
    competitors = {
        "surrogate_enclosure": lambda: space.surrogate_enclosure(policy, tau=TAU, tau_prime=TAU_PRIME, bits=bits),
        "backward_log_partition": formula,
    }
    times = m.interleaved(competitors, repeats)
    with precision(bits):
        numbers = np.array([arb(2).sqrt() for _ in range(1000)], dtype=object)
        each = m.seconds_per(lambda: numbers * numbers, 1000) + m.seconds_per(lambda: np.add.reduce(numbers), 1000)
    return {
        "bits": bits,
        "width": float(bounds[1] - bounds[0]),
        "contains_float_within": abs(space.surrogate(policy, tau=TAU, tau_prime=TAU_PRIME) - float(bounds[0])),
        "seconds": {name: m.summary(samples) for name, samples in times.items()},
        "limit_seconds": 50 * 1000 * each,
        "limit": "T x S A S multiplications and additions of balls, at the rate of NumPy's object loops",
    }


def enumeration(horizon: int, repeats: int) -> dict[str, Any]:
    """Trajectories per second beside plain layers; the limit is one exponential each."""
    mdp = garnet(4, 4, 4, seed=0, horizon=horizon)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), size=4)
    space = TrajectorySpace(mdp)
    competitors = {
        "exactrl": lambda: space.surrogate(policy, tau=TAU, tau_prime=TAU_PRIME, method="enumeration"),
        "layers": lambda: layered_surrogate(mdp, policy),
    }
    values = {name: run() for name, run in competitors.items()}
    times = m.interleaved(competitors, repeats)
    block = np.linspace(-5.0, 0.0, 1 << 15)
    return {
        "trajectories": space.count,
        "relative_difference": abs(values["exactrl"] / values["layers"] - 1),
        "per_second": {name: m.summary([space.count / x for x in samples]) for name, samples in times.items()},
        "ratio": m.ratio(times["layers"], times["exactrl"]),
        "limit_per_second": 1 / m.seconds_per(lambda: np.exp(block), block.size),
        "limit": "one exponential a trajectory, on blocks that stay in cache",
    }


def imports(repeats: int) -> dict[str, Any]:
    """What `import exactrl` adds to `import numpy`, and `exactrl --help` to that."""
    commands = {
        "numpy": ["-c", "import numpy"],
        "exactrl": ["-c", "import numpy, exactrl"],
        "classes": ["-c", "import numpy; from exactrl import FiniteMDP, TrajectorySpace"],
        "help": ["-c", "import sys; sys.argv = ['exactrl', '--help']; from exactrl.cli import main; main()"],
    }
    times = m.interleaved_commands(commands, repeats)
    return {
        "seconds": {name: m.summary(samples) for name, samples in times.items()},
        "exactrl_adds": m.difference(times["exactrl"], times["numpy"]),
        "classes_add": m.difference(times["classes"], times["numpy"]),
        "help_adds": m.difference(times["help"], times["exactrl"]),
        "limits": {"exactrl_adds": 0.1, "help_adds": 0.2},
    }


# What is shown


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table: medians with quartiles."""
    rows = ["| quantity | exactrl | beside it | ratio | limit |", "|---|---|---|---|---|"]
    for part in figures["recursion"]:
        seconds = {name: m.spread(samples, 1e3) for name, samples in part["seconds"].items()}
        rows.append(
            f"| surrogate over 10^{part['log10_trajectories']} trajectories, S = {part['states']}, "
            f"A = {part['actions']}, T = {part['horizon']}, ms | {seconds['exactrl']} | "
            f"textbook loop {seconds['textbook']}; matrix-vector loop {seconds['matrix']} | "
            f"{m.spread(part['ratio'], 1, 1)}; {m.spread(part['ratio_matrix'], 1, 1)} | "
            f"{part['limit_seconds'] * 1e3:.3f} |"
        )
    rigorous = figures["balls"]
    ours, formula = rigorous["seconds"]["surrogate_enclosure"], rigorous["seconds"]["backward_log_partition"]
    rows.append(
        f"| the first in {rigorous['bits']}-bit balls, ms | {m.spread(ours, 1e3, 1)} | the formula in balls "
        f"{m.spread(formula, 1e3, 1)} | | {rigorous['limit_seconds'] * 1e3:.1f} |"
    )
    part = figures["enumeration"]
    ours, theirs = part["per_second"]["exactrl"], part["per_second"]["layers"]
    rows.append(
        f"| enumeration of {part['trajectories']:,}, million/s on one core | {m.spread(ours, 1e-6, 1)} | plain layers "
        f"{m.spread(theirs, 1e-6, 1)} | {m.spread(part['ratio'], 1, 1)} | {part['limit_per_second'] / 1e6:.0f} |"
    )
    added = figures["imports"]
    for key, name in (("exactrl_adds", "`import exactrl`"), ("classes_add", "its classes"), ("help_adds", "`--help`")):
        base = "`import exactrl`" if key == "help_adds" else "`import numpy`"
        wanted = f"{added['limits'][key]:g} s wanted" if key in added["limits"] else ""
        rows.append(f"| {name} on top of {base}, s | {m.spread(added[key], 1, 3)} | | | {wanted} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    parser.add_argument("--readme", action="store_true", help="write the table into benchmarks/README.md as well")
    options = parser.parse_args()
    quick = options.quick
    sizes = [(10, 50, 20)] if quick else [(10, 50, 20), (100, 50, 3), (300, 50, 1)]
    figures = {
        "profile": "quick" if quick else "full",
        "recursion": [recursion(n_states, horizon, 7, calls) for n_states, horizon, calls in sizes],
        "balls": balls(5 if quick else 9),
        "enumeration": enumeration(4 if quick else 5, 5 if quick else 9),
        "imports": imports(7 if quick else 11),
    }
    path = m.write("trajectories", figures)
    text = table(figures)
    print(text)
    print(f"\nWritten to {path.as_posix()}")
    if options.readme:
        m.write_table("trajectories", text)


if __name__ == "__main__":
    main()
