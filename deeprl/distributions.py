"""Policies as distributions over one action: an output of the network and noise from outside give a sample.

Actions of a box are in [-1, 1] here; the environment's own bounds are the business of `deeprl.environments`.
Shapes: S seeds, B batch, A coordinates of an action (or A discrete actions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from exactrl.formulas import gaussian_log_density, squash_log_jacobian

# A policy of standard deviation e^-20 is deterministic in single precision, one of e^2 fills any box.
LOG_DEVIATION = (-20.0, 2.0)


class Sample(NamedTuple):
    """An action (S, B, A) as the critic and the environment take it, where it came from, and its log density (S, B)."""

    action: Tensor
    origin: Tensor
    log_density: Tensor


class Distribution(Protocol):
    """What a policy must be able to do."""

    actions: int
    noise_width: int
    uniform_noise: bool

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for one state."""

    def sample(self, output: Tensor, noise: Tensor) -> Sample:
        """Draw with the given noise; where the action is continuous, differentiably in the output."""

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Draw an action alone, without its density: what a step of the environment takes."""

    def log_density(self, output: Tensor, origin: Tensor) -> Tensor:
        """Log density of the action that has this origin."""

    def mode(self, output: Tensor) -> Tensor:
        """The action that is taken when nothing is explored."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal coordinates; `squash` sends them through tanh into (-1, 1)."""

    actions: int
    squash: bool = True
    uniform_noise = False

    @property
    def outputs(self) -> int:
        return 2 * self.actions

    @property
    def noise_width(self) -> int:
        return self.actions

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_deviation = output.chunk(2, dim=-1)
        return mean, log_deviation.clamp(*LOG_DEVIATION)

    def sample(self, output: Tensor, noise: Tensor) -> Sample:
        mean, log_deviation = self._split(output)
        origin = mean + log_deviation.exp() * noise
        log_density = gaussian_log_density(noise, log_deviation)
        if not self.squash:
            return Sample(origin, origin, log_density)
        return Sample(torch.tanh(origin), origin, log_density - squash_log_jacobian(origin))

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        mean, log_deviation = self._split(output)
        origin = mean + log_deviation.exp() * noise
        return torch.tanh(origin) if self.squash else origin

    def log_density(self, output: Tensor, origin: Tensor) -> Tensor:
        mean, log_deviation = self._split(output)
        log_density = gaussian_log_density((origin - mean) * torch.exp(-log_deviation), log_deviation)
        return log_density - squash_log_jacobian(origin) if self.squash else log_density

    def mode(self, output: Tensor) -> Tensor:
        mean, _ = self._split(output)
        return torch.tanh(mean) if self.squash else mean.clamp(-1, 1)


@dataclass(frozen=True)
class Categorical:
    """One of A actions as a one-hot row; the noise, one uniform number, picks it by the distribution function."""

    actions: int
    noise_width = 1
    uniform_noise = True

    @property
    def outputs(self) -> int:
        return self.actions

    def sample(self, output: Tensor, noise: Tensor) -> Sample:
        action = self.draw(output.detach(), noise)
        return Sample(action, action, self.log_density(output, action))

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        below = output.softmax(dim=-1).cumsum(dim=-1)[..., :-1] <= noise
        # Not `one_hot`, which looks at its argument: a trace of the update cannot wait for numbers.
        places = torch.arange(self.actions, device=output.device)
        return (below.sum(dim=-1, keepdim=True) == places).to(output.dtype)

    def log_density(self, output: Tensor, origin: Tensor) -> Tensor:
        # Where the origin is 0 the logarithm may be -inf: picked out, not multiplied away.
        chosen = origin.argmax(dim=-1, keepdim=True)
        return output.log_softmax(dim=-1).gather(-1, chosen)[..., 0]

    def mode(self, output: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(output.argmax(dim=-1), self.actions).to(output.dtype)


@dataclass(frozen=True)
class Deterministic:
    """A single action tanh(output); noise is added to it and clipped by whoever explores."""

    actions: int
    uniform_noise = False

    @property
    def outputs(self) -> int:
        return self.actions

    @property
    def noise_width(self) -> int:
        return self.actions

    def mode(self, output: Tensor) -> Tensor:
        return torch.tanh(output)
