"""One reference run of Stable-Baselines3 with the settings of `exactrl train`, as a CSV that `exactrl compare` reads.

    python benchmarks/peers/stable_baselines3_run.py sac --env-id HalfCheetah-v5 --seed 1 --out runs/sb3-sac-1

It needs an environment of its own with `stable_baselines3` beside the versions of constraints.txt. Where defaults
differ, those of `exactrl train` are set here: networks of 256-256, 10,000 random steps, a rate of 3e-4, for td3
Gaussian exploration of 0.1. Everything else is Stable-Baselines3's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

EVALUATION_SEED = 1_000_000


def make_model(algorithm: str, env_id: str, seed: int, learning_starts: int):
    env = gym.make(env_id)
    shared = dict(
        learning_rate=3e-4,
        learning_starts=learning_starts,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )
    if algorithm == "sac":
        return SAC("MlpPolicy", env, **shared)
    actions = env.action_space.shape[0]
    noise = NormalActionNoise(np.zeros(actions), 0.1 * np.ones(actions))
    return TD3("MlpPolicy", env, action_noise=noise, **shared)


class Evaluate(BaseCallback):
    """Every `interval` steps, the greedy policy's return in episodes whose seeds are the same at every evaluation."""

    def __init__(self, env_id: str, seed: int, interval: int, episodes: int, out: Path) -> None:
        super().__init__()
        self.env = gym.make(env_id)
        self.seed, self.interval, self.episodes, self.out = seed, interval, episodes, out
        self.rows: list[tuple[int, int, float, int]] = []
        self.started = time.perf_counter()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.interval == 0:
            self.evaluate()
        return True

    def evaluate(self) -> None:
        returns = []
        for episode in range(self.episodes):
            observation, _ = self.env.reset(seed=EVALUATION_SEED + 1000 * self.seed + episode)
            total, length, over = 0.0, 0, False
            while not over:
                action, _ = self.model.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = self.env.step(action)
                total, length, over = total + float(reward), length + 1, terminated or truncated
            self.rows.append((self.num_timesteps, episode, total, length))
            returns.append(total)
        seconds = time.perf_counter() - self.started
        print(
            f"step {self.num_timesteps}: return {np.mean(returns):.1f} after {seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        with open(self.out.with_suffix(".tmp"), "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["global_step", "episode", "return", "length"])
            writer.writerows(self.rows)
        os.replace(self.out.with_suffix(".tmp"), self.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithm", choices=["sac", "td3"])
    parser.add_argument("--env-id", default="HalfCheetah-v5")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=100_000)
    parser.add_argument("--learning-starts", type=int, default=10_000)
    parser.add_argument("--evaluation-interval", type=int, default=10_000)
    parser.add_argument("--evaluation-episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    model = make_model(args.algorithm, args.env_id, args.seed, args.learning_starts)
    evaluate = Evaluate(
        args.env_id, args.seed, args.evaluation_interval, args.evaluation_episodes, args.out / "evaluations.csv"
    )
    record = {
        "algorithm": f"Stable-Baselines3 {args.algorithm}",
        "env_id": args.env_id,
        "seed": args.seed,
        "total_timesteps": args.total_timesteps,
        "learning_starts": args.learning_starts,
        "versions": {name: version(name) for name in ("stable_baselines3", "torch", "gymnasium", "mujoco", "numpy")},
    }
    (args.out / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    model.learn(args.total_timesteps, callback=evaluate)


if __name__ == "__main__":
    main()
