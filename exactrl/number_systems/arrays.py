"""The closed namespace over NumPy arrays and PyTorch tensors, through array-api-compat."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np


class ArrayNamespace:
    """The functions of `protocol.Namespace` for one array library.

    Zero probabilities are ordinary here: log 0 is -inf without a warning, and `xlogy`, `scaled_log` and `weighted`
    give 0 for a zero factor whatever stands beside it.
    """

    def __init__(self, name: str, api: ModuleType) -> None:
        self.name = name
        self._api = api

    def _quiet(self) -> contextlib.AbstractContextManager[Any]:
        if self.name == "float64":
            return np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
        return contextlib.nullcontext()

    @property
    def bisections(self) -> int:
        """How many halvings of [0, 1] the precision is worth."""
        return 60

    @property
    def log_two(self) -> float:
        """The constant log 2, which a formula cannot take from `math`: in balls that would not enclose it."""
        return math.log(2)

    @property
    def log_two_pi(self) -> float:
        """The constant log 2 pi, for the same reason."""
        return math.log(2 * math.pi)

    def asarray(self, x: Any) -> Any:
        """Return x as an array of this system; a Fraction becomes the nearest float."""
        if isinstance(x, Fraction):
            x = float(x)
        if self.name == "float64":
            return np.asarray(x, dtype=np.float64)
        if hasattr(x, "requires_grad"):
            return x if x.is_floating_point() else x.to(self._api.float64)
        return self._api.asarray(x, dtype=self._api.float64)

    def identity(self, size: int) -> Any:
        """Return the identity matrix in integers: beside them Fractions stay exact, and single precision single."""
        return self._api.eye(size, dtype=self._api.int64)

    def per_row(self, x: Any) -> Any:
        """Return a scalar unchanged and an array of shape (...) as (..., 1), to meet arrays of shape (..., N)."""
        if isinstance(x, (int, float)):
            return x
        x = self.asarray(x)
        return x[..., None] if x.ndim else x

    def exp(self, x: Any) -> Any:
        with self._quiet():
            return self._api.exp(x)

    def expm1(self, x: Any) -> Any:
        with self._quiet():
            return self._api.expm1(x)

    def log(self, x: Any) -> Any:
        with self._quiet():
            return self._api.log(x)

    def log1p(self, x: Any) -> Any:
        with self._quiet():
            return self._api.log1p(x)

    def sqrt(self, x: Any) -> Any:
        return self._api.sqrt(x)

    def abs(self, x: Any) -> Any:
        return self._api.abs(x)

    def softplus(self, x: Any) -> Any:
        """Return log(1 + exp(x)) without overflow."""
        if self.name == "tensors":
            # -log sigmoid(-x): one kernel each way; PyTorch's own softplus turns into the identity above a threshold.
            return -self._api.nn.functional.logsigmoid(-x)
        return self.maximum(x, 0.0) + self.log1p(self.exp(-self.abs(x)))

    def sum(self, x: Any, axis: int = -1, keepdims: bool = False) -> Any:
        with self._quiet():
            return self._api.sum(x, axis=axis, keepdims=keepdims)

    def max(self, x: Any, axis: int = -1, keepdims: bool = False) -> Any:
        return self._api.max(x, axis=axis, keepdims=keepdims)

    def min(self, x: Any, axis: int = -1, keepdims: bool = False) -> Any:
        return self._api.min(x, axis=axis, keepdims=keepdims)

    def matmul(self, x: Any, y: Any) -> Any:
        return self._api.matmul(x, y)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        x, y = self._beside(x, y), self._beside(y, x)
        return self._api.where(condition, x, y)

    def _beside(self, x: Any, other: Any) -> Any:
        """Return x as an array of the precision of the other one: a constant promotes nothing."""
        if self.name == "tensors" and not hasattr(x, "requires_grad") and hasattr(other, "requires_grad"):
            return self._api.asarray(float(x), dtype=other.dtype)
        return self.asarray(x)

    def maximum(self, x: Any, y: Any) -> Any:
        return self._api.maximum(x, self._beside(y, x))

    def minimum(self, x: Any, y: Any) -> Any:
        return self._api.minimum(x, self._beside(y, x))

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return self.minimum(self.maximum(x, low), high)

    def logsumexp(self, x: Any, axis: int = -1, keepdims: bool = False) -> Any:
        """Return log sum exp, shifted by the maximum; rows of -inf alone give -inf, a row with +inf gives +inf."""
        if self.name == "tensors":
            return self._api.logsumexp(x, dim=axis, keepdim=keepdims)
        top = np.max(x, axis=axis, keepdims=True)
        shift = np.where(np.isfinite(top), top, 0.0)
        with self._quiet():
            total = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
        return total if keepdims else np.squeeze(total, axis=axis)

    def xlogy(self, x: Any, y: Any) -> Any:
        """Return x log y, 0 where x is 0."""
        return self.weighted(x, self.log(self.where(x == 0, 1.0, y)))

    def weighted(self, weight: Any, x: Any) -> Any:
        """Return weight * x, 0 where the weight is 0 even if x is infinite or undefined."""
        with self._quiet():
            return weight * self.where((weight == 0) & ~self._api.isfinite(x), 0.0, x)

    def weighted_by_log(self, log_weight: Any, x: Any) -> Any:
        """Return exp(log_weight) * x, 0 where log_weight is -inf; elsewhere an infinite x stays infinite.

        The weight may underflow: a probability of 10^-1000 still is one.
        """
        with self._quiet():
            x = self.where(log_weight == -np.inf, 0.0, x)
            endless = self._api.isinf(x)
            return self.where(endless, x, self.exp(log_weight) * self.where(endless, 0.0, x))

    def scaled_log(self, scale: Any, log_x: Any) -> Any:
        """Return scale * log_x, 0 where the scale is 0 (so that 0 log 0 = 0)."""
        if isinstance(scale, (int, float)):
            return scale * log_x if scale != 0 else self.where(log_x == 0, log_x, 0.0)
        with self._quiet():
            endless = log_x == -np.inf
            fixed = scale.detach() if hasattr(scale, "requires_grad") else scale
            product = self.where(endless, fixed * log_x, scale * self.where(endless, 0.0, log_x))
            return self.where(scale == 0, 0.0, product)

    def stack(self, xs: Sequence[Any], axis: int = 0) -> Any:
        return self._api.stack(list(xs), axis=axis)

    def concat(self, xs: Sequence[Any], axis: int = 0) -> Any:
        return self._api.concat(list(xs), axis=axis)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self._api.reshape(x, shape)

    def moveaxis(self, x: Any, source: int, destination: int) -> Any:
        return (
            np.moveaxis(x, source, destination)
            if self.name == "float64"
            else self._api.moveaxis(x, source, destination)
        )

    def argmin(self, x: Any) -> Any:
        """Return the position of the least entry on the last axis (the first of equals)."""
        return self._api.argmin(x, axis=-1)

    def select(self, x: Any, index: Any) -> Any:
        """Return the rows x[..., index, :] of x (..., M, N) for index (...)."""
        if self.name == "float64":
            return np.take_along_axis(x, np.asarray(index)[..., None, None], axis=-2)[..., 0, :]
        return self._api.take_along_dim(x, index[..., None, None], dim=-2)[..., 0, :]

    def midpoint(self, x: Any) -> Any:
        """Return x: a float is its own midpoint."""
        return x

    def enclosure(self, low: Any, high: Any) -> Any:
        """Return the middle of a bracket."""
        return (low + high) / 2
