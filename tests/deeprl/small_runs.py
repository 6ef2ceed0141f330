"""Small environments, small configurations, and how two runs are compared, for the tests of training."""

import fcntl
import os
import pty
import struct
import termios
import threading
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import torch

from deeprl import checkpoints
from deeprl.config import CONFIGS

HERE = "tests.deeprl.small_runs:"
ROOT = Path(__file__).parents[2]


class Small(gymnasium.Env):
    """Observes the step, the episode's random number and the last action; ends as `ends` says after `length` steps.

    ends: "truncated", "terminated", or "either" (drawn at the reset). wrong: from which step of the environment's life
    on the reward is `reward`, or, with `blind`, the observation is NaN.
    """

    def __init__(self, length=5, ends="truncated", wrong=None, reward=1.0, blind=False, actions=None):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = actions or gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([3, 10]))
        self.length, self.ends, self.wrong, self.reward, self.blind = length, ends, wrong, reward, blind
        self.life = 0

    def _observation(self, action=0.0):
        return np.array([self.step_of_episode, self.number, action])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_of_episode, self.number = 0, self.np_random.random()
        return self._observation(), {}

    def step(self, action):
        self.life += 1
        self.step_of_episode += 1
        over = self.step_of_episode == self.length
        terminates = self.ends == "terminated" or (self.ends == "either" and self.number < 0.5)
        wrong = self.wrong is not None and self.life >= self.wrong
        observation = self._observation(float(np.ravel(action)[0]))
        if wrong and self.blind:
            observation[1] = np.nan
        reward = self.reward if wrong else 0.1 * self.number
        return observation, reward, over and terminates, over and not terminates, {}


class Drawn(Small):
    """Draws a grey square."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        return np.full((32, 32, 3), 127, np.uint8)


class OtherSpaces(gymnasium.Env):
    """Observations that no algorithm here takes."""

    def __init__(self, observations):
        self.observation_space = observations
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,))


BOX = gymnasium.spaces.Box
VARIANTS = {
    "Plain-v0": (Small, {}),
    "Either-v0": (Small, {"ends": "either"}),
    "NanReward-v0": (Small, {"wrong": 55, "reward": float("nan")}),
    "NanObservation-v0": (Small, {"wrong": 55, "blind": True}),
    "HugeReward-v0": (Small, {"wrong": 0, "reward": 1e12}),
    "InfiniteLoss-v0": (Small, {"wrong": 0, "reward": 1e30}),
    "Three-v0": (Small, {"actions": gymnasium.spaces.Discrete(3, start=2)}),
    "Drawn-v0": (Drawn, {}),
    "Pixels-v0": (OtherSpaces, {"observations": BOX(0, 255, (8, 8, 3), np.uint8)}),
    "Dictionary-v0": (OtherSpaces, {"observations": gymnasium.spaces.Dict(x=BOX(-1, 1, (2,)))}),
}
for _name, (_kind, _keywords) in VARIANTS.items():
    if _name not in gymnasium.registry:
        gymnasium.register(_name, _kind, kwargs=_keywords)


def small(algorithm="sac", **changes):
    """A configuration that trains in about a second: the replay wraps around, checkpoints fall between log rows."""
    settings = {
        "env_id": "Pendulum-v1",
        "total_timesteps": 300,
        "learning_starts": 40,
        "buffer_size": 90,
        "batch_size": 16,
        "hidden_sizes": (16, 16),
        "evaluation_interval": 110,
        "evaluation_episodes": 1,
        "log_interval": 30,
        "checkpoint_interval": 40,
        "tensorboard": False,
    }
    if algorithm == "ecac":
        settings |= {"train_frequency": 10, "gradient_steps": 10}
    return CONFIGS[algorithm](**(settings | changes))


def options(config):
    """The command line of a configuration."""
    words = [config.algorithm]
    for name, value in config.as_dict().items():
        option = name.replace("_", "-")
        if name == "algorithm" or value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


def bits(value):
    """A payload with every tensor as its bytes, to be compared exactly (NaN and -0.0 too)."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {name: bits(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return repr(value)


def final_state(folder):
    """The newest checkpoint of a run, every number of it."""
    return bits(checkpoints.load_newest(Path(folder) / "checkpoints").payload)


def tables(folder):
    """The two tables of a run, or of every seed of a run."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.csv"))}


def rows(path):
    """A table as a list of dicts of text."""
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def tree(folder):
    """Every file with its bytes and the time it was written."""
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


class Terminal:
    """A pseudo-terminal of 100 columns: `file` is its end for a program, `text()` all that was shown."""

    def __init__(self):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.file = os.fdopen(slave, "w")
        self._shown = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                self._shown.append(os.read(self._master, 4096))
            except OSError:  # nobody has the other end open any more
                return

    def text(self):
        """Close the program's end and return what it wrote."""
        self.file.close()
        self._reader.join(timeout=10)
        return b"".join(self._shown).decode()
