"""Spaces of rational instances, and the problem that a claim sees when an instance enters a number system."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.errors import ExactRLError
from exactrl.number_systems.rationals import as_fractions
from proofs_checks.fields import Field, Raw, Simplex, normalise

Instance = dict[str, Any]  # field name -> Fraction or object array of Fractions; count name -> int


class Problem:
    """One instance (balls) or a batch of them (float64), by attribute.

    `problem.reference` are the values of the field, `problem.log_reference` their logarithms,
    `problem.support_reference` the exact positions of positive entries; dimensions and counts are integers.
    """

    def __init__(self, sizes: Mapping[str, int], arrays: Mapping[str, Any]) -> None:
        self._sizes, self._arrays = dict(sizes), dict(arrays)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._sizes:
            return self._sizes[name]
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(f"the instance has no {name!r}: it has {sorted(self._arrays)}") from None


@dataclass(frozen=True)
class Batch:
    """Instances of equal sizes in raw form."""

    space: Space
    sizes: dict[str, int]
    raw: dict[str, Raw]

    def __len__(self) -> int:
        return len(next(iter(self.raw.values())))

    def problem(self) -> Problem:
        """Return the batch in float64, batch axis first."""
        arrays: dict[str, Any] = {}
        for name, kind in self.space.fields.items():
            arrays[name] = kind.values(self.raw[name])
            if kind.low >= 0:
                arrays[f"log_{name}"] = kind.logs(self.raw[name])
                arrays[f"support_{name}"] = kind.support(self.raw[name])
        return Problem(self.sizes, arrays)

    def exact(self, i: int) -> Instance:
        """Return instance i as exact rationals."""
        instance: Instance = {name: kind.exact(self.raw[name][i]) for name, kind in self.space.fields.items()}
        return instance | {name: self.sizes[name] for name in self.space.counts}

    def take(self, rows: Any) -> Batch:
        """Return the rows as a batch."""
        return replace(self, raw={name: raw[rows] for name, raw in self.raw.items()})

    def mutated(self, rng: np.random.Generator) -> Batch:
        """Return a batch in which every instance differs a little in about one field."""
        chosen = rng.integers(0, len(self.raw), size=len(self))
        raw = {}
        for k, (name, old) in enumerate(self.raw.items()):
            here = (chosen == k).reshape((-1,) + (1,) * (old.ndim - 1))
            raw[name] = np.where(here, self.space.fields[name].mutate(rng, old), old)
        return replace(self, raw=raw)


@dataclass(frozen=True)
class Space:
    """All instances a reading speaks of: dimensions with the sizes to try, and fields over them.

    `counts` names dimensions that are numbers of the instance itself (a horizon, a number of samples).  `least` is the
    smallest size that the reading permits, where that is less than what the search tries.
    """

    fields: dict[str, Field]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)

    def combinations(self) -> Iterator[dict[str, int]]:
        """Yield the combinations of sizes, small ones first."""
        names = list(self.sizes)
        combinations = itertools.product(*(self.sizes[name] for name in names))
        yield from (dict(zip(names, c, strict=True)) for c in sorted(combinations, key=lambda c: (sum(c), c)))

    def draw(self, rng: np.random.Generator, batch: int, sizes: dict[str, int]) -> Batch:
        """Draw a batch of instances of the given sizes."""
        raw = {name: kind.draw(rng, batch, self._shape(kind, sizes)) for name, kind in self.fields.items()}
        return Batch(self, sizes, raw)

    def problem(self, instance: Instance) -> Problem:
        """Return one exact instance in balls, at the current precision."""
        from exactrl.number_systems.balls import BallNamespace, Balls

        arrays: dict[str, Any] = {}
        for name, kind in self.fields.items():
            arrays[name] = Balls(instance[name])
            if kind.low >= 0:
                arrays[f"log_{name}"] = BallNamespace().log(arrays[name])
                arrays[f"support_{name}"] = np.asarray(np.asarray(instance[name], dtype=object) > 0, dtype=bool)
        return Problem(self._sizes_of(instance), arrays)

    def refuse_faults(self, instance: Instance) -> None:
        """Raise ExactRLError naming the first entry of an instance that the space does not permit."""
        if set(instance) != set(self.fields) | set(self.counts):
            raise ExactRLError(
                f"the instance has fields {sorted(instance)}: expected {sorted(set(self.fields) | set(self.counts))}"
            )
        sizes = self._sizes_of(instance)
        for name, kind in self.fields.items():
            shape = np.asarray(instance[name], dtype=object).shape
            if shape != self._shape(kind, sizes):
                raise ExactRLError(f"{name} has shape {shape}: expected {self._shape(kind, sizes)}")
            wrong = kind.fault(instance[name])
            if wrong:
                raise ExactRLError(f"{name} {wrong}")
        for name, size in sizes.items():
            least = self.least.get(name, min(self.sizes[name]))
            if size < least:
                raise ExactRLError(f"{name} is {size}: expected at least {least}")

    def permits(self, instance: Instance) -> bool:
        """Whether the instance is one of the space."""
        try:
            self.refuse_faults(instance)
        except ExactRLError:
            return False
        return True

    def smaller(self, instance: Instance) -> Iterator[Instance]:
        """Propose simpler instances: fewer entries first, then simpler numbers."""
        for name, size in self._sizes_of(instance).items():
            if name in self.counts:
                yield from (instance | {name: n} for n in self.sizes[name] if n < size)
            else:
                yield from (self._without(instance, name, i) for i in range(size) if size > 1)
        for name, kind in self.fields.items():
            yield from (instance | {name: value} for value in kind.simpler(instance[name]))

    def to_json(self, instance: Instance) -> dict[str, Any]:
        """Return the instance with rationals as canonical strings."""
        return {name: strings(value) for name, value in instance.items()}

    def from_json(self, data: Mapping[str, Any]) -> Instance:
        """Read an instance; raises ExactRLError for what the space does not permit."""
        instance: Instance = {}
        for name, value in data.items():
            if name in self.counts:
                if not isinstance(value, int) or isinstance(value, bool):
                    raise ExactRLError(f"{name} is {value!r}: expected a whole number")
                instance[name] = value
                continue
            try:
                array = as_fractions(value)
            except (TypeError, ValueError, ArithmeticError) as error:
                raise ExactRLError(f'{name} is no array of rationals such as "1/3": {error}') from None
            instance[name] = array if array.shape else array[()]
        self.refuse_faults(instance)
        return instance

    @staticmethod
    def _shape(kind: Field, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sizes[d] if isinstance(d, str) else d for d in kind.shape)

    def _sizes_of(self, instance: Instance) -> dict[str, int]:
        sizes = {name: int(instance[name]) for name in self.counts}
        for name, kind in self.fields.items():
            shape = np.asarray(instance[name], dtype=object).shape
            for dimension, size in zip(kind.shape, shape, strict=False):
                if isinstance(dimension, str):
                    sizes.setdefault(dimension, size)
        return {name: sizes[name] for name in self.sizes if name in sizes}

    def _without(self, instance: Instance, dimension: str, i: int) -> Instance:
        smaller = dict(instance)
        for name, kind in self.fields.items():
            if dimension not in kind.shape:
                continue
            value = np.asarray(instance[name], dtype=object)
            for axis in (a for a, d in enumerate(kind.shape) if d == dimension):
                value = np.delete(value, i, axis=axis)
            if isinstance(kind, Simplex) and kind.shape[-1] == dimension:
                if not all(row.sum() > 0 for row in value.reshape(-1, value.shape[-1])):
                    return instance
                value = normalise(value)
            smaller[name] = value
        return smaller


def strings(value: Any) -> Any:
    """Return rationals, alone or in arrays, as canonical strings."""
    if isinstance(value, np.ndarray):
        return [strings(v) for v in value]
    return str(value) if isinstance(value, Fraction) else value
