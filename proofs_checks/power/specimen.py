"""A statement whose truth value is known beforehand, built like the reading of a claim but kept out of the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proofs_checks.claim import Check, Reading, Sides, registry
from proofs_checks.fields import Field
from proofs_checks.instances import Problem, Space


@dataclass(frozen=True)
class Specimen:
    """A statement of a shape, why it is true or false, and the reading that the search gets to see."""

    id: str
    shape: str
    statement: str
    why: str
    reading: Reading


class Collection:
    """Specimens in the order in which they were added, by id."""

    def __init__(self) -> None:
        self._specimens: dict[str, Specimen] = {}

    def add(
        self, id: str, *, shape: str, statement: str, why: str, space: Space, effort: float = 1.0
    ) -> Callable[[Sides], Sides]:
        """Add the decorated function as the sides of a specimen."""

        def keep(sides: Sides) -> Sides:
            assert id not in self._specimens, f"the specimen {id} is defined twice"
            reading = Reading(id, "literal", (), space, sides, id, effort=effort)
            self._specimens[id] = Specimen(id, shape, statement, why, reading)
            return sides

        return keep

    def __iter__(self) -> Iterator[Specimen]:
        return iter(self._specimens.values())

    def __len__(self) -> int:
        return len(self._specimens)

    def __getitem__(self, id: str) -> Specimen:
        return self._specimens[id]

    def __contains__(self, id: object) -> bool:
        return id in self._specimens


#: filled by the modules `truths` and `falsehoods`, and by those that continue them
TRUTHS, FALSEHOODS = Collection(), Collection()


def over(sizes: Mapping[str, tuple[int, ...]], counts: tuple[str, ...] = (), **fields: Field) -> Space:
    """Return the space of the named fields over the given sizes."""
    kinds: dict[str, Any] = dict(fields)
    return Space(kinds, sizes, counts=counts)


def space_of(claim: str, **sizes: tuple[int, ...]) -> Space:
    """Return the space of the intended reading of a claim, with other sizes where given."""
    space = registry()[claim].readings["intended"].space
    return replace(space, sizes={**space.sizes, **sizes})


def check_of(claim: str, name: str, p: Problem) -> Check:
    """Return a check of the intended reading of a claim by its name."""
    return next(check for check in registry()[claim].readings["intended"].checks(p) if check.name == name)
