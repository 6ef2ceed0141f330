"""Shrinking: from a counterexample that a search found to the smallest one that a person can check by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from proofs_checks.instances import Instance, Space


def complexity(space: Space, instance: Instance) -> tuple[int, int]:
    """Order instances: fewer numbers first, then shorter ones; equal odds before unequal ones."""
    entries = sum(int(instance[name]) for name in space.counts)
    entries += sum(np.asarray(instance[name], dtype=object).size for name in space.fields)
    return entries, sum(kind.weight(instance[name]) for name, kind in space.fields.items())


def shrink(space: Space, instance: Instance, holds: Callable[[Instance], bool], *, attempts: int = 600) -> Instance:
    """Return a simplest instance reached by steps that keep `holds` true; `attempts` bounds the evaluations."""
    seen: set[Any] = set()
    improved = True
    while improved and attempts > 0:
        improved = False
        current = complexity(space, instance)
        candidates = [c for c in space.smaller(instance) if complexity(space, c) < current]
        for candidate in sorted(candidates, key=lambda c: complexity(space, c)):
            key = repr(space.to_json(candidate))
            if key in seen or not space.permits(candidate):
                continue
            seen.add(key)
            attempts -= 1
            if holds(candidate):
                instance, improved = candidate, True
                break
            if attempts <= 0:
                break
    return instance
