"""What the algorithms share: a state, one optimiser step, targets that follow.  Their mathematics is elsewhere.

`update(state, batch, noise)` changes the tensors of `state` in place and depends on nothing else: all randomness comes
in as noise, so a bridge test calls the very function that trains.
Shapes: S seeds, B batch, C critics, O numbers of an observation, A of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from deeprl.distributions import Categorical, Gaussian
from deeprl.networks import Network, Parameters
from deeprl.optimisation import Moments, adam_step, gradient_step

Batch = Mapping[str, Tensor]
Noise = Mapping[str, Tensor]
Metrics = dict[str, Tensor]


@dataclass
class State:
    """Everything that training changes: parameters, the optimiser's moments, the count of updates."""

    seeds: int
    parameters: dict[str, Parameters]
    moments: dict[str, Moments]
    updates: int = 0

    def clone(self) -> State:
        return State(
            self.seeds,
            {name: one.clone() for name, one in self.parameters.items()},
            {name: one.clone() for name, one in self.moments.items()},
            self.updates,
        )

    def to(self, device: torch.device | str) -> State:
        return State(
            self.seeds,
            {name: one.to(device) for name, one in self.parameters.items()},
            {name: one.to(device) for name, one in self.moments.items()},
            self.updates,
        )

    def of_seed(self, seed: int) -> State:
        """Return a copy of one seed's part (its step counters are those of the stack)."""
        return State(
            1,
            {name: one.of_seed(seed, self.seeds) for name, one in self.parameters.items()},
            {
                name: Moments(
                    one.first.of_seed(seed, self.seeds), one.second.of_seed(seed, self.seeds), one.steps.clone()
                )
                for name, one in self.moments.items()
            },
            self.updates,
        )

    @staticmethod
    def stack(states: list[State]) -> State:
        """Put states of single seeds on one stack."""
        first = states[0]
        return State(
            len(states),
            {name: Parameters.stack([one.parameters[name] for one in states]) for name in first.parameters},
            {
                name: Moments(
                    Parameters.stack([one.moments[name].first for one in states]),
                    Parameters.stack([one.moments[name].second for one in states]),
                    moments.steps.clone(),
                )
                for name, moments in first.moments.items()
            },
            first.updates,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the flat tensors under plain names: what a checkpoint holds."""
        found = {f"parameters.{name}": one.flat for name, one in self.parameters.items()}
        for name, one in self.moments.items():
            found[f"first.{name}"], found[f"second.{name}"] = one.first.flat, one.second.flat
            found[f"steps.{name}"] = one.steps
        return found

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Copy the numbers of `tensors()` into this state."""
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])
        self.updates = updates


@dataclass
class Algorithm:
    """An algorithm for `observation_size` numbers of an observation and `actions` coordinates (or kinds) of an action.

    The networks may be handed in (a linear critic on one-hot features, say); by default they are perceptrons of
    `config.hidden_sizes`.
    """

    config: Any
    observation_size: int
    actions: int
    discrete: bool = False
    dtype: torch.dtype = torch.float32
    networks: dict[str, Network] = field(default_factory=dict)

    continuous_actions = True
    discrete_actions = False
    # Target network -> the network it follows.
    targets: ClassVar[dict[str, str]] = {"target_critic": "critic"}

    def __post_init__(self) -> None:
        self.policy = self._policy()
        self.networks = {**self._networks(), **self.networks}
        # `gradients`, or the same compiled.
        self.differentiate: Callable[..., tuple[tuple[Tensor, ...], Metrics]] = self.gradients

    # ------------------------------------------------------------------------------------ what an algorithm fills in

    def _policy(self) -> Any:
        if self.discrete:
            return Categorical(self.actions)
        return Gaussian(self.actions, squash=self.config.policy == "tanh-gaussian")

    def _networks(self) -> dict[str, Network]:
        hidden = self.config.hidden_sizes
        return {
            "actor": Network((self.observation_size, *hidden, self.policy.outputs)),
            "critic": Network((self.observation_size + self.actions, *hidden, 1), copies=2),
        }

    def scalars(self) -> dict[str, float]:
        """Single trainable numbers and their first values."""
        return {}

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """The arrays of noise that an update takes: name -> shape for one seed."""
        raise NotImplementedError

    def trained(self, updates: int) -> tuple[str, ...]:
        """Which parameters the update after `updates` updates trains."""
        return ("critic", "actor")

    def metric_names(self) -> tuple[str, ...]:
        """The names of what `losses` reports, in the order of the columns of `metrics.csv`."""
        raise NotImplementedError

    def losses(self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]) -> tuple[Tensor, Metrics]:
        """The sum of all losses, and what is worth logging, each of shape (S,)."""
        raise NotImplementedError

    def explore(self, state: State, observations: Tensor, noise: Tensor) -> Tensor:
        """The actions (S, B, A) taken while training."""
        output = self.networks["actor"](state.parameters["actor"].constants, observations)
        return self.policy.draw(output, noise)

    # -------------------------------------------------------------------------------------------------- what is shared

    def initial_state(self, generator: torch.Generator) -> State:
        """Draw the networks of one seed, in the order of their names; targets start as copies."""
        parameters = {name: network.initial(generator, self.dtype) for name, network in self.networks.items()}
        parameters |= {name: Parameters.constant(value, self.dtype) for name, value in self.scalars().items()}
        moments = {name: Moments.zeros(one) for name, one in parameters.items()}
        parameters |= {target: parameters[source].clone() for target, source in self.targets.items()}
        return State(1, parameters, moments)

    def draw_noise(self, generator: torch.Generator, batch_size: int) -> dict[str, Tensor]:
        """Draw one seed's noise for one update."""
        draw = torch.rand if self.policy.uniform_noise else torch.randn
        return {
            name: draw(shape, generator=generator, dtype=self.dtype) for name, shape in self.noise(batch_size).items()
        }

    def update(self, state: State, batch: Batch, noise: Noise) -> Metrics:
        """Take one update.  batch: observation, next_observation, action (S, B, ...); reward, terminated (S, B)."""
        self.before_update(state)
        metrics = self.step(state, batch, noise, self.trained(state.updates))
        state.updates += 1
        return metrics

    def step(self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]) -> Metrics:
        """The part of an update that runs on the device: gradients, one optimiser step, targets."""
        gradients, metrics = self.differentiate(state, batch, noise, trained)
        self._apply(state, gradients, trained)
        return metrics

    def before_update(self, state: State) -> None:
        """Do what happens between updates and needs no gradient."""

    def gradients(
        self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]
    ) -> tuple[tuple[Tensor, ...], Metrics]:
        """The gradients of the losses, one a leaf of what is trained, and the metrics."""
        loss, metrics = self.losses(state, batch, noise, trained)
        leaves = [leaf for name in trained for leaf in state.parameters[name].leaves]
        gradients = torch.autograd.grad(loss, leaves)
        return gradients, {name: value.detach() for name, value in metrics.items()}

    def _apply(self, state: State, gradients: tuple[Tensor, ...], trained: tuple[str, ...]) -> None:
        parameters = [state.parameters[name] for name in trained]
        if self.config.optimizer == "adam":
            adam_step(parameters, [state.moments[name] for name in trained], gradients, self.config.learning_rate)
        else:
            gradient_step(parameters, gradients, self.config.learning_rate)
        self.follow(state, trained)

    def follow(self, state: State, trained: tuple[str, ...]) -> None:
        """Move every target a fraction tau towards its network, if that was trained."""
        for target, source in self.targets.items():
            if source in trained:
                state.parameters[target].flat.lerp_(state.parameters[source].flat, self.config.tau)

    def act(self, state: State, observations: Tensor) -> Tensor:
        """The action without exploration, (S, B, O) -> (S, B, A), in [-1, 1]."""
        with torch.inference_mode():
            return self.policy.mode(self.networks["actor"](state.parameters["actor"].constants, observations))

    # ---------------------------------------------------------------------------------------- pieces of several losses

    def action_values(
        self, state: State, name: str, observations: Tensor, actions: Tensor, *, learn: bool = False
    ) -> Tensor:
        """Q of every member of a critic, (S, C, B); with `learn` gradients reach its parameters."""
        network = self.networks[self.targets.get(name, name)]
        parameters = state.parameters[name]
        output = network(parameters.leaves if learn else parameters.constants, observations, actions)
        return network.by_seed(output)


def per_seed(losses: Tensor) -> Tensor:
    """Mean over the batch (last axis), sum over everything but the seeds: (S, ..., B) -> (S,)."""
    means = losses.mean(dim=-1)
    return means.flatten(1).sum(dim=1) if means.ndim > 1 else means
