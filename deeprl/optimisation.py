"""One fused optimiser step over all the parameters that an update trains, with its moments in the open.

PyTorch's own functional Adam does the arithmetic; an optimiser object would hide the state that a checkpoint must hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.adam import adam

from deeprl.networks import Parameters

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Moments:
    """Adam's moments (laid out like the parameters) and one step counter a leaf."""

    first: Parameters
    second: Parameters
    steps: Tensor
    counters: tuple[Tensor, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counters", tuple(self.steps.unbind()))

    @staticmethod
    def zeros(parameters: Parameters) -> Moments:
        def empty() -> Parameters:
            return Parameters(torch.zeros_like(parameters.flat), parameters.shapes)

        steps = torch.zeros(len(parameters.shapes), dtype=torch.float32, device=parameters.flat.device)
        return Moments(empty(), empty(), steps)

    def clone(self) -> Moments:
        return Moments(self.first.clone(), self.second.clone(), self.steps.clone())

    def to(self, device: torch.device | str) -> Moments:
        return Moments(self.first.to(device), self.second.to(device), self.steps.to(device))


@torch.no_grad()
def adam_step(
    parameters: Sequence[Parameters], moments: Sequence[Moments], gradients: Sequence[Tensor], learning_rate: float
) -> None:
    """Take one step of Adam, in place, in one fused call."""
    leaves = [leaf for one in parameters for leaf in one.leaves]
    adam(
        leaves,
        list(gradients),
        [view for one in moments for view in one.first.constants],
        [view for one in moments for view in one.second.constants],
        [],
        [counter for one in moments for counter in one.counters],
        fused=True,
        capturable=leaves[0].is_cuda,
        amsgrad=False,
        beta1=BETAS[0],
        beta2=BETAS[1],
        lr=learning_rate,
        weight_decay=0.0,
        eps=EPSILON,
        maximize=False,
    )


@torch.no_grad()
def gradient_step(parameters: Sequence[Parameters], gradients: Sequence[Tensor], learning_rate: float) -> None:
    """Take one step of plain gradient descent, in place."""
    torch._foreach_add_([leaf for one in parameters for leaf in one.leaves], list(gradients), alpha=-learning_rate)
