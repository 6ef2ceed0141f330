"""One competitor of `benchmarks/deep_throughput.py`: warms up, then trains as many steps as a line on stdin asks for.

    python benchmarks/peers/throughput_worker.py LIBRARY ALGORITHM CORE [--compile]

Libraries: exactrl, sb3 (Stable-Baselines3), sbx.  HalfCheetah-v5, batch 256, two layers of 256, one update a step, one
thread on one core.  Answers are lines of JSON: seconds of wall clock and of CPU, and the peak of memory so far.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable

ENVIRONMENT = "HalfCheetah-v5"
LEARNING_STARTS = 256


def exactrl(algorithm: str, options: list[str]) -> Callable[[int], None]:
    from deeprl.config import CONFIGS
    from deeprl.training import Trainer

    config = CONFIGS[algorithm](
        env_id=ENVIRONMENT,
        learning_starts=LEARNING_STARTS,
        evaluation_interval=0,
        checkpoint_interval=0,
        tensorboard=False,
        hidden_sizes=(256, 256),
        compile="--compile" in options,
        threads=1,
    )
    trainer = Trainer(config)
    trainer.open()

    def steps(count: int) -> None:
        for _ in range(count):
            trainer.advance()

    return steps


def sb3(algorithm: str, options: list[str]) -> Callable[[int], None]:
    import gymnasium as gym
    import numpy as np
    import stable_baselines3
    import torch
    from stable_baselines3.common.noise import NormalActionNoise

    torch.set_num_threads(1)
    return _baselines(stable_baselines3, gym, np, NormalActionNoise, algorithm, device="cpu")


def sbx(algorithm: str, options: list[str]) -> Callable[[int], None]:
    import gymnasium as gym
    import numpy as np
    import sbx as library
    from stable_baselines3.common.noise import NormalActionNoise

    return _baselines(library, gym, np, NormalActionNoise, algorithm)


def _baselines(library, gym, np, noise, algorithm: str, **more) -> Callable[[int], None]:
    env = gym.make(ENVIRONMENT)
    actions = env.action_space.shape[0]
    if algorithm == "td3":
        more["action_noise"] = noise(np.zeros(actions), 0.1 * np.ones(actions))
    model = getattr(library, algorithm.upper())(
        "MlpPolicy",
        env,
        learning_rate=3e-4,
        learning_starts=LEARNING_STARTS,
        batch_size=256,
        policy_kwargs={"net_arch": [256, 256]},
        train_freq=1,
        gradient_steps=1,
        seed=1,
        **more,
    )
    # The first call sets the model up; later ones go on with the same environment and replay.
    started = False

    def steps(count: int) -> None:
        nonlocal started
        model.learn(count, reset_num_timesteps=not started)
        started = True

    return steps


def main() -> None:
    library, algorithm, core, *options = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.sched_setaffinity(0, {int(core)})
    steps = {"exactrl": exactrl, "sb3": sb3, "sbx": sbx}[library](algorithm, options)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes elsewhere
    steps(LEARNING_STARTS + 60)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        steps(int(line))
        answer = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
