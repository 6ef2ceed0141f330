"""Training steps a second on one core and on two, beside Stable-Baselines3 and SBX; memory, start, the FLOP floor.

python benchmarks/deep_throughput.py --peers-python PATH     PATH: a python with stable_baselines3 and sbx-rl
python benchmarks/deep_throughput.py --quick                 fewer rounds; without --peers-python exactrl alone
python benchmarks/deep_throughput.py --readme                also write the table into benchmarks/README.md

HalfCheetah-v5, batch 256, two layers of 256, one update a step.  Every competitor is a process pinned to one core; they
take turns within one run, each in every round: a slow minute of the machine hits all of them.  Ratios are of CPU
seconds, round by round; compiled updates are timed warm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _measure as m

WORKER = str(Path(__file__).parent / "peers" / "throughput_worker.py")
ALGORITHMS = ("sac", "td3")


class Worker:
    """A competitor's process; `ask` lets it train some steps and `answer` waits for what that took."""

    def __init__(self, python: str, library: str, algorithm: str, core: int, *options: str) -> None:
        self.process = subprocess.Popen(
            [python, WORKER, library, algorithm, str(core), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(
                f"{library} {algorithm} did not start; run it alone: {python} {WORKER} {library} {algorithm} 0"
            )

    def ask(self, steps: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def competitors(peers: str | None) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Name -> (python, library, options)."""
    found = {
        "exactrl": (sys.executable, "exactrl", ()),
        "exactrl --compile": (sys.executable, "exactrl", ("--compile",)),
    }
    if peers:
        found |= {"Stable-Baselines3": (peers, "sb3", ()), "SBX": (peers, "sbx", ())}
    return found


def one_core(algorithm: str, peers: str | None, rounds: int, steps: int, core: int) -> dict[str, Any]:
    """Steps per second and peak memory of each competitor on one core, and its speed relative to Stable-Baselines3."""
    m.say(f"{algorithm}: starting the competitors, --compile takes half a minute or more the first time")
    workers = {
        name: Worker(python, library, algorithm, core, *options)
        for name, (python, library, options) in competitors(peers).items()
    }
    cpu: m.Times = {name: [] for name in workers}
    wall: m.Times = {name: [] for name in workers}
    peak = {}
    for turn in range(rounds):
        for name in list(workers) if turn % 2 == 0 else list(reversed(workers)):
            workers[name].ask(steps)
            answer = workers[name].answer()
            cpu[name].append(answer["cpu"] / steps)
            wall[name].append(answer["wall"] / steps)
            peak[name] = answer["peak_mb"]
        m.say(f"{algorithm}: round {turn + 1} of {rounds}")
    for worker in workers.values():
        worker.close()
    return {
        name: {
            "cpu_seconds_a_step": m.summary(cpu[name]),
            "steps_a_second": m.summary([1 / seconds for seconds in wall[name]]),
            "peak_mb": peak[name],
            "times_stable_baselines3": m.ratio(cpu["Stable-Baselines3"], cpu[name]) if peers else None,
            "times_sbx": m.ratio(cpu["SBX"], cpu[name]) if peers else None,
        }
        for name in workers
    }


def two_cores(peers: str, rounds: int, steps: int) -> dict[str, Any]:
    """Two seeds of sac side by side, a pinned process each: seed-steps per second of wall clock."""
    m.say("two cores: starting the competitors")
    names = ("exactrl", "exactrl --compile", "Stable-Baselines3")
    known = competitors(peers)
    pairs = {
        name: [Worker(known[name][0], known[name][1], "sac", core, *known[name][2]) for core in (0, 1)]
        for name in names
    }
    seconds: m.Times = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            for worker in pairs[name]:
                worker.ask(steps)
            seconds[name].append(max(worker.answer()["wall"] for worker in pairs[name]) / (2 * steps))
    for pair in pairs.values():
        for worker in pair:
            worker.close()
    return {
        name: {
            "steps_a_second": m.summary([1 / s for s in seconds[name]]),
            "times_stable_baselines3": m.ratio(seconds["Stable-Baselines3"], seconds[name]),
        }
        for name in names
    }


def start(rounds: int, *more: str) -> dict[str, float]:
    """Seconds of wall clock from the command to the end of a run of one training step: no less than to that step.

    One round is not counted: there the disk is cold, and with --compile the machine code may have to be made.
    """
    samples = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            exactrl = str(Path(sys.executable).with_name("exactrl"))
            options = ["--total-timesteps", "257", "--learning-starts", "256", "--evaluation-interval", "0", *more]
            before = time.perf_counter()
            subprocess.run(
                [exactrl, "train", "sac", "--env-id", "HalfCheetah-v5", *options, "--out", f"{folder}/run"],
                check=True,
                capture_output=True,
            )
            samples.append(time.perf_counter() - before)
    return m.summary(samples[1:])


def floors(cpu: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """FLOPs of an update's matrix products, the rate of those products alone, and the share of that limit reached."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from deeprl.algorithms import ALGORITHMS as KINDS
    from deeprl.config import CONFIGS

    torch.set_num_threads(1)
    rate = _product_rate(torch)
    found = {}
    for name in ("sac", "sac-score", "td3", "ddpg", "ecac"):
        config = CONFIGS[name](hidden_sizes=(256, 256)).resolved()
        algorithm = KINDS[name](config, 17, 6)
        state = algorithm.initial_state(torch.Generator().manual_seed(0))
        wide, narrow = (1, 256, 17), (1, 256)
        batch = {
            "observation": torch.randn(wide),
            "next_observation": torch.randn(wide),
            "action": torch.randn(1, 256, 6),
        }
        batch |= {"reward": torch.randn(narrow), "terminated": torch.zeros(narrow)}
        flops, updates = 0, 2  # td3 trains its policy in one update of two
        seconds = []
        for turn in range(40):
            noise = {k: v[None] for k, v in algorithm.draw_noise(torch.Generator().manual_seed(turn), 256).items()}
            if turn < updates:
                with FlopCounterMode(display=False) as counter:
                    algorithm.update(state, batch, noise)
                flops += counter.get_total_flops()
            else:
                before = time.process_time()
                algorithm.update(state, batch, noise)
                seconds.append(time.process_time() - before)
        mean = [(a + b) / 2 for a, b in zip(seconds[::2], seconds[1::2], strict=True)]
        floor = flops / updates / rate
        found[name] = {
            "mflop_an_update": flops / updates / 1e6,
            "floor_ms": 1e3 * floor,
            "update_ms": 1e3 * m.summary(mean)["median"],
            "fraction_of_limit": floor / m.summary(mean)["median"],
        }
    found["gflops_of_a_product"] = rate / 1e9
    for name, figures in cpu.items():
        if name in found:
            step = figures["exactrl --compile"]["cpu_seconds_a_step"]["median"]
            found[name]["fraction_of_limit_whole_step_compiled"] = found[name]["floor_ms"] / 1e3 / step
    return found


def _product_rate(torch: Any) -> float:
    """FLOPs a second of the products that make up most of an update: two of 256 x 256 by 256 x 256."""
    x, w = torch.randn(2, 256, 256), torch.randn(2, 256, 256)
    samples = []
    for _ in range(60):
        before = time.process_time()
        for _ in range(5):
            torch.bmm(x, w)
        samples.append((time.process_time() - before) / 5)
    return float(2 * 2 * 256**3 / sorted(samples)[len(samples) // 2])


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| one core | steps/s | CPU time beside Stable-Baselines3 | beside SBX | peak MB |",
        "|---|---|---|---|---|",
    ]
    for algorithm, rows in result["one_core"].items():
        for name, figures in rows.items():
            ratios = [figures["times_stable_baselines3"], figures["times_sbx"]]
            cells = [m.spread(figures["steps_a_second"], digits=1), *(m.spread(x) if x else "" for x in ratios)]
            lines.append(f"| {algorithm}, {name} | {' | '.join(cells)} | {figures['peak_mb']:.0f} |")
    both = result.get("two_cores_two_seeds_sac", {})
    if both:
        lines += ["", "| two cores, two seeds of sac | seed-steps/s | beside Stable-Baselines3 |", "|---|---|---|"]
    for name, figures in both.items():
        cells = m.spread(figures["steps_a_second"], digits=1), m.spread(figures["times_stable_baselines3"])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| update | MFLOP | floor, ms | measured, ms | reached | with the whole step, compiled |",
        "|---|---|---|---|---|---|",
    ]
    floors = dict(result["floors"])
    rate = floors.pop("gflops_of_a_product")
    for name, figures in floors.items():
        whole = figures.get("fraction_of_limit_whole_step_compiled")
        cells = [f"{figures['mflop_an_update']:.0f}", f"{figures['floor_ms']:.2f}", f"{figures['update_ms']:.2f}"]
        cells += [f"{figures['fraction_of_limit']:.0%}", "" if whole is None else f"{whole:.0%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    plain, compiled = (m.spread(result[name]) for name in ("start_seconds", "start_seconds_compiled"))
    lines += [
        "",
        f"The floor is that of the matrix products at the {rate:.0f} GFLOP/s of a product alone on this core.",
    ]
    lines.append(f"From the command to the end of the first training step: {plain} s, with --compile {compiled} s.")
    return "\n".join([*lines, f"{result['rounds']} rounds of {result['steps_a_round']} steps."])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers-python", metavar="PATH", help="python of an environment with stable_baselines3 and sbx-rl"
    )
    parser.add_argument("--quick", action="store_true", help="4 rounds instead of 15")
    parser.add_argument("--core", type=int, default=0, help="the core of the single-core part (0)")
    parser.add_argument("--readme", action="store_true", help="write the table into benchmarks/README.md as well")
    args = parser.parse_args(arguments)
    rounds, steps = (4, 60) if args.quick else (15, 100)
    single = {name: one_core(name, args.peers_python, rounds, steps, args.core) for name in ALGORITHMS}
    result: dict[str, Any] = {"rounds": rounds, "steps_a_round": steps, "one_core": single}
    if args.peers_python and len(os.sched_getaffinity(0)) > 1:
        result["two_cores_two_seeds_sac"] = two_cores(args.peers_python, rounds, steps)
    result["start_seconds"] = start(2 if args.quick else 5)
    result["start_seconds_compiled"] = start(2 if args.quick else 5, "--compile")
    result["floors"] = floors(single)
    m.write("deep_throughput", result)
    text = table(result)
    print(text)
    if args.readme:
        m.write_table("deep_throughput", text)


if __name__ == "__main__":
    main()
