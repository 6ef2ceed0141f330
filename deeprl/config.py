"""One frozen dataclass an algorithm: its whole configuration, its command line, what is written beside every result.

Names are those of the field (CleanRL, Stable-Baselines3).  Nothing here imports torch, so that `--help` comes at once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exactrl.errors import ExactRLError


def option(
    default: Any, help: str, *, least: float | None = None, most: float | None = None, choices: Any = None
) -> Any:
    """Declare a field with what the command line says of it and the values it may take."""
    return field(default=default, metadata={"help": help, "least": least, "most": most, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every off-policy algorithm is told.  Raises ExactRLError for a value out of range, naming the option."""

    algorithm: ClassVar[str]

    env_id: str = option("HalfCheetah-v5", "a gymnasium environment")
    seed: int = option(
        1, "the seed of everything random in this run; with --seeds N the first of N", least=0, most=2**32 - 1
    )
    seeds: int = option(1, "how many seeds to train: seed, seed + 1, ...", least=1)
    jobs: int = option(0, "how many of the seeds at once, a process of one thread each (0: one a core)", least=0)
    total_timesteps: int = option(1_000_000, "environment steps in all", least=1)
    num_envs: int = option(1, "copies of the environment stepped side by side", least=1)
    learning_starts: int = option(10_000, "steps with uniformly random actions before the first update", least=0)
    buffer_size: int = option(1_000_000, "transitions that are sampled from: the newest ones", least=1)
    batch_size: int = option(256, "transitions an update", least=1)
    train_frequency: int = option(1, "environment steps between rounds of updates", least=1)
    gradient_steps: int = option(1, "updates a round", least=1)
    hidden_sizes: tuple[int, ...] = option((256, 256), "widths of the hidden layers, separated by commas")
    learning_rate: float = option(3e-4, "of all the networks", least=0)
    optimizer: str = option("adam", "of all the networks", choices=("adam", "sgd"))
    gamma: float = option(0.99, "discount factor", least=0, most=1)
    tau: float = option(0.005, "how far a target network moves towards its network at each update", least=0, most=1)
    evaluation_interval: int = option(10_000, "steps between evaluations (0: none)", least=0)
    evaluation_episodes: int = option(10, "episodes an evaluation, of the same seeds every time", least=1)
    log_interval: int = option(1_000, "steps between rows of metrics.csv", least=1)
    checkpoint_interval: int = option(10_000, "steps between checkpoints (0: none, the run cannot be resumed)", least=0)
    q_limit: float = option(1e6, "stop when the mean Q-value of a batch is further from 0 than this", least=0)
    device: str = option("cpu", "cpu or cuda", choices=("cpu", "cuda"))
    compile: bool = option(False, "compile the update: half a minute or more, once for a machine, then faster")
    threads: int = option(1, "torch's threads in a process", least=1)
    tensorboard: bool = option(True, "write TensorBoard events")
    capture_video: bool = option(False, "record one episode at every evaluation")
    track: bool = option(False, "log to Weights & Biases as well")

    # What may be another value when a run is taken up: the numbers do not depend on it.
    FREE: ClassVar[tuple[str, ...]] = ("jobs", "q_limit", "tensorboard", "capture_video", "track")

    def __post_init__(self) -> None:
        widths: Any = self.hidden_sizes
        if isinstance(widths, list):
            object.__setattr__(self, "hidden_sizes", tuple(widths))
        for entry in dataclasses.fields(self):
            _check(entry, _kinds(type(self))[entry.name], getattr(self, entry.name))
        if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in self.hidden_sizes):
            raise ExactRLError(
                f"hidden_sizes is {self.hidden_sizes}: expected integers of at least 1, such as (256, 256)"
            )
        if self.buffer_size < self.num_envs:
            raise ExactRLError(
                f"buffer_size is {self.buffer_size}: expected at least num_envs, which is {self.num_envs}"
            )

    def resolved(self) -> Config:
        """Return the configuration with every default that depends on the environment filled in."""
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, the name of the algorithm first, as `config.json` holds them."""
        return {"algorithm": self.algorithm, **dataclasses.asdict(self)}

    def replace(self, **changes: Any) -> Any:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@functools.cache
def _kinds(config: Any) -> dict[str, tuple[type, ...]]:
    """The types that a value of each field may have: `float | None` is (float, NoneType)."""
    hints = typing.get_type_hints(config)
    names = [entry.name for entry in dataclasses.fields(config)]
    return {name: typing.get_args(hints[name]) or (hints[name],) for name in names if name != "hidden_sizes"} | {
        "hidden_sizes": (tuple,)
    }


_EXPECTED = {bool: "True or False", int: "an integer", float: "a finite number", str: "a text", tuple: "widths (N, N)"}


def _check(entry: dataclasses.Field[Any], kinds: tuple[type, ...], value: Any) -> None:
    limits = entry.metadata
    choices, least, most = limits["choices"], limits["least"], limits["most"]
    if value is None and type(None) in kinds:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and float in kinds and math.isfinite(value)) and type(value) not in set(kinds) - {float}:
        raise ExactRLError(f"{entry.name} is {value!r}: expected {_EXPECTED[kinds[0]]}")
    if choices is not None and value not in choices:
        raise ExactRLError(f"{entry.name} is {value!r}: expected one of {', '.join(map(str, choices))}")
    if not number:
        return
    if (least is not None and value < least) or (most is not None and value > most):
        wanted = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ExactRLError(f"{entry.name} is {value}: expected {wanted}")


@dataclass(frozen=True, kw_only=True)
class SACConfig(Config):
    """Soft actor-critic, the policy's gradient through the sampled action."""

    algorithm: ClassVar[str] = "sac"

    autotune: bool = option(True, "adapt the temperature to the target entropy")
    alpha: float = option(1.0, "the temperature, with autotune the first one", least=0)
    target_entropy: float | None = option(
        None, "wanted entropy; by default -1 an action coordinate, log(n)/2 of n actions"
    )
    policy: str = option("tanh-gaussian", "distribution over actions of a box", choices=("tanh-gaussian", "gaussian"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.autotune and not self.alpha > 0:
            raise ExactRLError(f"alpha is {self.alpha}: expected more than 0, for autotune adapts its logarithm")


@dataclass(frozen=True, kw_only=True)
class SACScoreConfig(SACConfig):
    """Soft actor-critic with the score-function gradient, the ECPO paper's SAC without reparameterisation."""

    algorithm: ClassVar[str] = "sac-score"

    policy_samples: int = option(
        4, "actions a state for the policy's gradient; each one's baseline is the mean of the others", least=2
    )


@dataclass(frozen=True, kw_only=True)
class DDPGConfig(Config):
    """Deep deterministic policy gradient."""

    algorithm: ClassVar[str] = "ddpg"

    exploration_noise: float = option(0.1, "deviation of the Gaussian noise on actions in [-1, 1]", least=0)


@dataclass(frozen=True, kw_only=True)
class TD3Config(DDPGConfig):
    """Twin delayed deep deterministic policy gradient."""

    algorithm: ClassVar[str] = "td3"

    policy_frequency: int = option(2, "critic updates for one of the policy and the targets", least=1)
    policy_noise: float = option(0.2, "deviation of the noise on the target action", least=0)
    noise_clip: float = option(0.5, "where that noise is clipped", least=0)


# tau, tau', learning rate of ECPO's Table 4, by the environment's name without its version.
ECAC_TABLE = {
    "Walker2d": (1.5, 0.2, 5e-4),
    "Hopper": (0.5, 0.05, 5e-4),
    "HalfCheetah": (0.5, 0.2, 3e-4),
    "Ant": (1.0, 0.1, 3e-4),
    "Humanoid": (2.0, 0.05, 3e-4),
}
# An environment that the table does not know gets Hopper's row.
ECAC_OTHERWISE = "Hopper"


@dataclass(frozen=True, kw_only=True)
class ECACConfig(Config):
    """Exploratory conservative actor-critic, the repaired update unless --as-printed."""

    algorithm: ClassVar[str] = "ecac"

    hidden_sizes: tuple[int, ...] = option((300, 300), "widths of the hidden layers, separated by commas")
    tau: float = option(0.01, "lag of the target value network (the paper's alpha)", least=0, most=1)
    learning_rate: float | None = option(None, "of all the networks; by default the paper's Table 4", least=0)  # type: ignore[assignment]
    train_frequency: int = option(100, "environment steps between rounds of updates", least=1)
    gradient_steps: int = option(100, "updates a round with one reference policy (the paper's M)", least=1)
    kl_temperature: float | None = option(None, "the paper's tau; by default its Table 4", least=0)
    entropy_temperature: float | None = option(None, "the paper's tau'; by default its Table 4", least=0)
    entropy: bool = option(True, "without: tau' = 0")
    projection: bool = option(True, "without: the reference is the policy itself, one gradient step an iteration")
    value_regression: str = option(
        "consistent", "how the value is learned: the two repairs of Eq. 9", choices=("consistent", "exponential")
    )
    as_printed: bool = option(False, "learn the value on one-sample targets of the reference, as Eq. 9 has it")
    max_log_weight: float = option(5.0, "cap on the logarithm of an action's importance weight", least=0)
    policy: str = option("tanh-gaussian", "distribution over actions of a box", choices=("tanh-gaussian", "gaussian"))

    def resolved(self) -> ECACConfig:
        """Fill in Table 4; `--no-entropy` sets tau' to 0."""
        name = self.env_id.rsplit("/", 1)[-1].rsplit("-v", 1)[0]
        tau, tau_prime, rate = ECAC_TABLE.get(name, ECAC_TABLE[ECAC_OTHERWISE])
        chosen = self.replace(
            kl_temperature=tau if self.kl_temperature is None else self.kl_temperature,
            entropy_temperature=0.0
            if not self.entropy
            else (tau_prime if self.entropy_temperature is None else self.entropy_temperature),
            learning_rate=rate if self.learning_rate is None else self.learning_rate,
        )
        if not chosen.kl_temperature + chosen.entropy_temperature > 0:
            raise ExactRLError("kl_temperature + entropy_temperature is 0: ECAC divides by it; give one of them")
        return typing.cast(ECACConfig, chosen)


CONFIGS: dict[str, type[Config]] = {
    config.algorithm: config for config in (SACConfig, SACScoreConfig, TD3Config, DDPGConfig, ECACConfig)
}


def from_dict(values: dict[str, Any]) -> Config:
    """Return the configuration that `as_dict` wrote.  Raises ExactRLError for an unknown algorithm or option."""
    values = dict(values)
    name = values.pop("algorithm", None)
    if not isinstance(name, str) or name not in CONFIGS:
        raise ExactRLError(f"the algorithm is {name!r}: expected one of {', '.join(CONFIGS)}")
    known = {entry.name for entry in dataclasses.fields(CONFIGS[name])}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ExactRLError(f"{name} has no option {', '.join(unknown)}: it has {', '.join(sorted(known))}")
    return CONFIGS[name](**values)
