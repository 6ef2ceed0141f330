"""The queue of learning runs: Pendulum, HalfCheetah beside Stable-Baselines3, Hopper, and the runs of a million steps.

python benchmarks/reference_runs.py --list                       what there is, and how far it has come
python benchmarks/reference_runs.py --jobs 2                     run what is missing; stopped, it takes up where it was
python benchmarks/reference_runs.py --only halfcheetah --peers-python PATH    PATH: a python with stable_baselines3

Runs live in build/reference-runs/.  What has finished is copied to benchmarks/reference/ as configuration and
evaluations, a few kilobytes a run, and compared on a page with `exactrl compare`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprl.environments import describe, make
from deeprl.evaluation import evaluate, random_policy
from exactrl.files import write_text_atomically

# Relative, so that the pages name no folder of this machine.
HERE = Path(os.path.relpath(Path(__file__).parent))
FINISHED = HERE / "reference"
RUNNING = Path("build/reference-runs")
EXACTRL = str(Path(sys.executable).with_name("exactrl"))
KEPT = ("config.json", "evaluations.csv")
SMALL = ("--hidden-sizes", "64,64", "--learning-starts", "1000", "--evaluation-interval", "2000")
LARGE = ("--checkpoint-interval", "50000", "--evaluation-interval", "20000")
MUJOCO = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5")


@dataclass(frozen=True)
class Job:
    """One seed of one algorithm: SUITE/LABEL/seed-N, under build/ while it runs, beside this file when it is over."""

    suite: str
    label: str
    seed: int
    algorithm: str
    env_id: str
    steps: int
    options: tuple[str, ...] = ()
    peer: bool = False

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.label}/seed-{self.seed}"

    @property
    def finished(self) -> bool:
        return all((FINISHED / self.name / file).exists() for file in KEPT)

    def command(self, peers_python: str | None) -> list[str] | None:
        """The command that runs or resumes this job; None for a peer without its environment."""
        folder = RUNNING / self.name
        if self.peer:
            if peers_python is None:
                return None
            script = str(HERE / "peers" / "stable_baselines3_run.py")
            return [peers_python, script, self.algorithm, *self._shared(), "--out", str(folder)]
        if (folder / "config.json").exists():
            return [EXACTRL, "train", "--resume", str(folder)]
        return [EXACTRL, "train", self.algorithm, *self._shared(), *self.options, "--out", str(folder)]

    def _shared(self) -> list[str]:
        return ["--env-id", self.env_id, "--seed", str(self.seed), "--total-timesteps", str(self.steps)]

    def keep(self) -> None:
        """Copy what has finished to its place, by way of a temporary folder: it is there whole or not at all."""
        target = FINISHED / self.name
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for file in KEPT:
            shutil.copyfile(RUNNING / self.name / file, temporary / file)
        temporary.rename(target)


def jobs() -> list[Job]:
    """All of them, the cheapest suites first."""
    found = []
    variants = {
        "sac": ("sac", ()),
        "sac-score": ("sac-score", ()),
        "td3": ("td3", ()),
        "ddpg": ("ddpg", ()),
        "ecac": ("ecac", ()),
        "ecac-as-printed": ("ecac", ("--as-printed",)),
        # Its Q-values diverge on Hopper: the limit is out of the way, so that the run is seen to the end.
        "ecac-exponential": ("ecac", ("--value-regression", "exponential", "--q-limit", "1e12")),
        "ecac-no-entropy": ("ecac", ("--no-entropy",)),
        "ecac-no-projection": ("ecac", ("--no-projection",)),
    }
    for label, (algorithm, options) in variants.items():
        for seed in (1, 2, 3):
            found.append(Job("pendulum-20k", label, seed, algorithm, "Pendulum-v1", 20_000, (*SMALL, *options)))
    for seed in (1, 2, 3):
        for algorithm in ("td3", "sac"):
            shared = ("halfcheetah-100k", seed, algorithm, "HalfCheetah-v5", 100_000)
            found.append(Job(shared[0], f"sb3-{algorithm}", *shared[1:], peer=True))
            found.append(Job(shared[0], algorithm, *shared[1:], options=("--compile",)))
    for label in ("ecac", "ecac-as-printed", "ecac-exponential"):
        for seed in (1, 2, 3):
            found.append(Job("hopper-50k", label, seed, "ecac", "Hopper-v5", 50_000, variants[label][1]))
    for env_id in MUJOCO:
        for label, (algorithm, options) in variants.items():
            if label not in ("ddpg", "ecac-exponential"):
                for seed in (1, 2, 3):
                    suite = f"{env_id.split('-')[0].lower()}-1m"
                    found.append(Job(suite, label, seed, algorithm, env_id, 1_000_000, (*LARGE, *options)))
    return found


def run(queue: Sequence[Job], at_once: int, peers_python: str | None) -> int:
    """Run the jobs, `at_once` side by side, each pinned to one thread; return how many failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    waiting, running, failed = list(queue), {}, 0
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop(0)
            command = job.command(peers_python)
            if command is None:
                print(f"{job.name}: left out, --peers-python is not given", file=sys.stderr)
                continue
            log = RUNNING / f"{job.name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "ab") as output:
                running[job] = (
                    subprocess.Popen(command, stdout=output, stderr=output, env=environment),
                    time.monotonic(),
                )
            print(f"{job.name}: started", file=sys.stderr, flush=True)
        time.sleep(1)
        for job, (process, started) in list(running.items()):
            if process.poll() is None:
                continue
            del running[job]
            minutes = (time.monotonic() - started) / 60
            if process.returncode == 0:
                job.keep()
                print(f"{job.name}: finished, {minutes:.0f} min; {len(waiting)} wait", file=sys.stderr, flush=True)
            else:
                failed += 1
                print(f"{job.name}: failed, see {RUNNING / job.name}.log", file=sys.stderr, flush=True)
    return failed


def random_return(env_id: str, episodes: int = 50) -> float:
    """The mean return of uniformly random actions, over the seeds of the first evaluation and those after it."""
    environment = make(env_id)
    policy = random_policy(describe(environment), np.random.default_rng(0))
    found = evaluate(policy, env_id, episodes=episodes, seed=1_001_000, environment=environment)
    environment.close()
    return float(np.mean([episode.total for episode in found]))


def write_pages(suites: Sequence[str]) -> None:
    """Compare what has finished, a page and a JSON a suite; note what has not."""
    everything = jobs()
    for suite in suites:
        labels = sorted({job.label for job in everything if job.suite == suite and job.finished})
        if labels:
            runs = [f"{label}={FINISHED / suite / label}" for label in labels]
            subprocess.run([EXACTRL, "compare", *runs, "--html", str(FINISHED / suite / "page")], check=True)
    lines = ["# Learning runs", "", "| suite | finished | return of the random policy | missing |", "|---|---|---|---|"]
    for suite in dict.fromkeys(job.suite for job in everything):
        mine = [job for job in everything if job.suite == suite]
        missing = [f"{job.label} {job.seed}" for job in mine if not job.finished]
        random = f"{random_return(mine[0].env_id):.0f}" if len(missing) < len(mine) else ""
        rest = "none" if not missing else "all" if len(missing) == len(mine) else ", ".join(missing)
        done = len(mine) - len(missing)
        lines.append(f"| {suite} | {done} of {len(mine)} | {random} | {rest} |")
    write_text_atomically(FINISHED / "README.md", "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="TEXT", help="only jobs whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each (1)")
    parser.add_argument("--peers-python", metavar="PATH", help="python of an environment with stable_baselines3")
    parser.add_argument("--list", action="store_true", help="say what there is and what has finished")
    parser.add_argument("--pages", action="store_true", help="only write the pages of what has finished")
    args = parser.parse_args()
    chosen = [job for job in jobs() if not args.only or any(text in job.name for text in args.only)]
    if args.list:
        print(json.dumps({job.name: "finished" if job.finished else "missing" for job in chosen}, indent=2))
        return
    failed = 0 if args.pages else run([job for job in chosen if not job.finished], args.jobs, args.peers_python)
    FINISHED.mkdir(exist_ok=True)
    write_pages(list(dict.fromkeys(job.suite for job in chosen)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
