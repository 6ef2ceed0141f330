"""Functional networks over flat parameters: one seed or a stack of seeds, one critic or twins, by the same lines.

A network of `copies` members for each of S seeds keeps N = S * copies members, seed by seed, in one flat tensor; every
layer is one batched product over all of them.  Shapes: S seeds, C copies, N = S C members, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Parameters:
    """One flat tensor and the views into it: `leaves` collect gradients, `constants` are the same numbers without."""

    flat: Tensor
    shapes: tuple[tuple[int, ...], ...]
    leaves: tuple[Tensor, ...] = field(init=False, repr=False)
    constants: tuple[Tensor, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        views, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            views.append(self.flat[start : start + size].view(shape))
            start += size
        object.__setattr__(self, "constants", tuple(views))
        object.__setattr__(self, "leaves", tuple(view.detach().requires_grad_() for view in views))

    def clone(self) -> Parameters:
        return Parameters(self.flat.clone(), self.shapes)

    def to(self, device: torch.device | str) -> Parameters:
        return Parameters(self.flat.to(device), self.shapes)

    def of_seed(self, seed: int, seeds: int) -> Parameters:
        """Return a copy of what belongs to one seed of the stack."""
        parts, shapes = [], []
        for view in self.constants:
            copies = view.shape[0] // seeds
            part = view[seed * copies : (seed + 1) * copies]
            parts.append(part.reshape(-1))
            shapes.append(tuple(part.shape))
        return Parameters(torch.cat(parts), tuple(shapes))

    @staticmethod
    def stack(members: Sequence[Parameters]) -> Parameters:
        """Put the seeds' parameters on one stack, the inverse of `of_seed`."""
        layers = [torch.cat(views) for views in zip(*(member.constants for member in members), strict=True)]
        return Parameters(torch.cat([layer.reshape(-1) for layer in layers]), tuple(tuple(x.shape) for x in layers))

    @staticmethod
    def constant(value: float, dtype: torch.dtype) -> Parameters:
        """A single trainable number, shape (1,)."""
        return Parameters(torch.full((1,), value, dtype=dtype), ((1,),))


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron of the given sizes with ReLU between its layers; without hidden layers it is linear.

    `features` turns the inputs (S, B, ...) into (S, B, sizes[0]); by default they are concatenated.
    """

    sizes: tuple[int, ...]
    copies: int = 1
    bias: bool = True
    features: Callable[..., Tensor] | None = None

    def initial(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Parameters:
        """Draw one seed's parameters, uniform in +-1/sqrt(fan-in) as PyTorch's linear layers have them."""
        layers = []
        for width, following in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            bound = 1 / math.sqrt(width)
            shapes = [(self.copies, width, following)] + ([(self.copies, 1, following)] if self.bias else [])
            # Drawn in single precision whatever the dtype, so that both precisions start from the same numbers.
            layers += [torch.empty(shape).uniform_(-bound, bound, generator=generator).to(dtype) for shape in shapes]
        return Parameters(torch.cat([layer.reshape(-1) for layer in layers]), tuple(tuple(x.shape) for x in layers))

    def __call__(self, layers: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        """Apply the members to inputs (S, B, ...): (N, B, sizes[-1]).  `layers` are the leaves or the constants."""
        x = self.features(*inputs) if self.features else inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=-1)
        if self.copies > 1:
            seeds, *rest = x.shape
            x = x.unsqueeze(1).expand(seeds, self.copies, *rest).reshape(seeds * self.copies, *rest)
        step = 2 if self.bias else 1
        for index in range(0, len(layers), step):
            x = _affine(x, layers[index], layers[index + 1] if self.bias else None)
            if index + step < len(layers):
                x = torch.relu_(x)
        return x

    def by_seed(self, output: Tensor) -> Tensor:
        """Bring the output (N, B, 1) of scalar members to (S, C, B)."""
        return output.reshape(-1, self.copies, output.shape[1])


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W + b, member by member.  A single output column as a product and a sum: matrix libraries are slow at it."""
    if weight.shape[-1] == 1:
        column = (x * weight.mT).sum(dim=-1, keepdim=True)
        return column if bias is None else column + bias
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)
