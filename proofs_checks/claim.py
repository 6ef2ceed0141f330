r"""Claims: what a source states, in which readings, on which instances, and what would make it false.

A claim is a short function from a problem to the two sides of a relation.  Its decorator says where it stands; its
readings say under which assumptions, on which space of rational instances::

    @claim("ecpo.thm2.monotone", where="Theorem 2.1", shape=POINTWISE, statement=r"$SR(\pi_{t+1})\ge SR(\pi_t)$", ...)
    def the_surrogate_never_falls(step):
        return surrogate(step.log_new, ...), ">=", surrogate(step.log_old, ...)

    the_surrogate_never_falls.reading("literal", space=..., assumptions=[...])

Claims register themselves on import; packages of claims are found through the entry-point group `exactrl.claims`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from exactrl.errors import ExactRLError
from proofs_checks.instances import Instance, Problem, Space

Relation = Literal["==", "<=", ">=", "<", ">"]
Given = tuple[tuple[Any, Relation, Any], ...]
ReadingName = Literal["literal", "intended"]

POINTWISE = "pointwise"
OPTIMALITY = "optimality"
EXPECTATION = "expectation"
LIMIT = "limit"
CONVERGENCE = "convergence"
EXISTENCE = "existence"


@dataclass(frozen=True)
class Check:
    """One relation that a claim asserts of a problem.

    `left` and `right` have the batch shape, or more axes whose every component must satisfy the relation.  `scale` is
    the size of the terms that were added up, so that rounding is not mistaken for a violation.  `given` are further
    relations without which the check says nothing.  A check that is not `asserted` guards our own closed form (a rate
    bound that certifies a limit): its failure means `undecided`, never `refuted`.
    """

    name: str
    left: Any
    relation: Relation
    right: Any
    scale: Any = 1.0
    given: Given = ()
    asserted: bool = True


Sides = Callable[[Problem], "tuple[Any, Relation, Any] | Check | Sequence[Check]"]


@dataclass(frozen=True)
class Printed:
    """The printed expression, evaluated literally in extended reals on every instance of a space.

    `evaluate` raises `extended.Undefined` where the expression has no value.
    """

    space: Space
    evaluate: Callable[[Instance], object]


@dataclass(frozen=True)
class Reading:
    """A claim under a list of assumptions.

    `effort` is the share of the budget that it gets: less than 1 where a single instance costs many steps.
    """

    claim: str
    name: ReadingName
    assumptions: tuple[str, ...]
    space: Space
    sides: Sides
    condition: str
    printed: Printed | None = None
    proof: Callable[[], str] | None = None
    effort: float = 1.0

    def checks(self, problem: Problem) -> list[Check]:
        """Evaluate both sides on a problem."""
        result = self.sides(problem)
        if isinstance(result, Check):
            return [result]
        if isinstance(result, tuple) and len(result) == 3 and isinstance(result[1], str):
            return [Check(self.condition, *result)]
        return list(result)


@dataclass
class Claim:
    """A statement of a source with its readings."""

    id: str
    source: str
    where: str
    title: str
    statement: str
    kind: str
    shape: str
    sides: Sides
    condition: str
    explanation: str = ""
    hand_check: str = ""
    intended_statement: str = ""
    readings: dict[ReadingName, Reading] = field(default_factory=dict)
    amends: str | None = None

    def reading(
        self,
        name: ReadingName,
        *,
        space: Space,
        assumptions: Sequence[str] = (),
        adds: Sequence[str] = (),
        sides: Sides | None = None,
        printed: Printed | None = None,
        proof: Callable[[], str] | None = None,
        effort: float = 1.0,
    ) -> None:
        """Declare a reading: `assumptions` as printed, `adds` what a friendly expert adds to them."""
        if name == "intended" and not assumptions and "literal" in self.readings:
            assumptions = self.readings["literal"].assumptions
        self.readings[name] = Reading(
            self.id, name, (*assumptions, *adds), space, sides or self.sides, self.condition, printed, proof, effort
        )

    def both_readings(self, *, space: Space, assumptions: Sequence[str] = (), **options: Any) -> None:
        """Declare that the intended reading adds nothing to the literal one."""
        self.reading("literal", space=space, assumptions=assumptions, **options)
        self.readings["intended"] = self.readings["literal"]


_REGISTRY: dict[str, Claim] = {}


def claim(
    id: str,
    *,
    where: str,
    title: str,
    statement: str,
    kind: str,
    shape: str,
    condition: str,
    explanation: str = "",
    hand_check: str = "",
    intended_statement: str = "",
    amends: str | None = None,
) -> Callable[[Sides], Claim]:
    """Register the decorated function as the sides of a claim."""

    def register(sides: Sides) -> Claim:
        if id in _REGISTRY:
            raise ExactRLError(f"the claim {id} is defined twice")
        _REGISTRY[id] = Claim(
            id, id.split(".")[0], where, title, statement, kind, shape, sides, condition,
            explanation, hand_check, intended_statement, amends=amends,
        )  # fmt: skip
        return _REGISTRY[id]

    return register


@cache
def registry() -> dict[str, Claim]:
    """Return all claims by id, in the order of their sources."""
    for entry in sorted(entry_points(group="exactrl.claims"), key=lambda e: e.name):
        entry.load()
    return dict(_REGISTRY)


def select(patterns: Iterable[str]) -> list[Claim]:
    """Return the claims with the given ids, or of the given sources; all when there are none.

    Raises ExactRLError for an id that is neither, with the nearest ids.
    """
    known = registry()
    sources = {c.source for c in known.values()}
    chosen: dict[str, Claim] = {}
    for pattern in patterns:
        if pattern in known:
            chosen[pattern] = known[pattern]
        elif pattern in sources:
            chosen |= {id: c for id, c in known.items() if c.source == pattern}
        else:
            near = [id for id in known if id.startswith(pattern)][:3] if pattern else []
            near = near or difflib.get_close_matches(pattern.lower().strip(), [*known, *sources], n=3, cutoff=0.0)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ExactRLError(
                f"no claim has the id {pattern!r} and no source is called so{hint} (`exactrl claims` lists them)"
            )
    return [known[id] for id in known if id in chosen] if chosen else list(known.values())


def amendments_of(claim: Claim) -> list[Claim]:
    """Return the claims that amend the given one."""
    return [c for c in registry().values() if c.amends == claim.id]
