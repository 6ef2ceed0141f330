"""Three number systems under one closed set of functions: float64 (NumPy), tensors (PyTorch) and balls (python-flint).

`namespace(x, ...)` returns the functions for the arrays at hand, so that a formula is written once.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from exactrl.number_systems.arrays import ArrayNamespace
from exactrl.number_systems.protocol import A, Array, Namespace

__all__ = ["A", "Array", "Namespace", "namespace"]


@cache
def _float64() -> ArrayNamespace:
    import array_api_compat.numpy as api

    return ArrayNamespace("float64", api)


# Kept by hand: torch.compile traces through a global, and would warn of a cached function.
_kept_tensors: ArrayNamespace | None = None


def _tensors() -> ArrayNamespace:
    global _kept_tensors
    if _kept_tensors is None:
        import array_api_compat.torch as api

        _kept_tensors = ArrayNamespace("tensors", api)
    return _kept_tensors


@cache
def _balls() -> Any:
    from exactrl.number_systems.balls import BallNamespace

    return BallNamespace()


def namespace(first: A, *others: Any) -> Namespace[A]:
    """Return the namespace that the arguments share; plain numbers fit every system, alone they are float64.

    Raises TypeError when balls and tensors are mixed.
    """
    loaded_balls = sys.modules.get("exactrl.number_systems.balls")
    torch = sys.modules.get("torch")
    arrays = (first, *others)
    found_balls = loaded_balls is not None and any(isinstance(x, loaded_balls.Balls) for x in arrays)
    found_tensors = torch is not None and any(isinstance(x, torch.Tensor) for x in arrays)
    if found_balls and found_tensors:
        raise TypeError("balls and tensors do not mix in one formula")
    if found_balls:
        chosen: Namespace[A] = _balls()
    else:
        chosen = _tensors() if found_tensors else _float64()
    return chosen
