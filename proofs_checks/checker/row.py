"""A row of the table of claims: what an instance holds under each reading, and what is evaluated on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from .exact_input import Field, Rejected

MAX_TRAJECTORIES = 4_096  # of a two-step decision process
MAX_HORIZON = 200
MAX_SAMPLES = 8
MAX_TUPLES = 1_000_000  # n^samples

REAL, POSITIVE, NONNEGATIVE = Field("real"), Field("positive"), Field("nonnegative")
REALS_N, REALS_2 = Field("real", ("n",)), Field("real", (2,))
PROBABILITIES, FULL_SUPPORT = Field("distribution", ("n",)), Field("positive distribution", ("n",))
MODEL = {
    "dynamics": Field("distribution", ("S", "A", "S")),
    "rewards": Field("real", ("S", "A")),
    "discount": Field("discount"),
    "policy": Field("distribution", ("S", "A")),
}


def enough_work(x: Any, _: str) -> None:
    """Bound the enumerations."""
    n = len(x.first) ** 2 * len(x.second) if hasattr(x, "first") else len(getattr(x, "reference", ()))
    if n > MAX_TRAJECTORIES:
        raise Rejected(f"first: more than {MAX_TRAJECTORIES} trajectories")
    if hasattr(x, "samples") and n**x.samples > MAX_TUPLES:
        raise Rejected(f"samples: more than {MAX_TUPLES} tuples")


def small_model(x: Any, _: str) -> None:
    """Bound the sums over two steps."""
    if len(x.dynamics) ** 2 * len(x.dynamics[0]) ** 2 > MAX_TRAJECTORIES:
        raise Rejected(f"dynamics: more than {MAX_TRAJECTORIES} pairs of steps")


@dataclass(frozen=True)
class Refuted:
    """A claimed relation: the fields of an instance under each reading, the two sides, their names in a sentence."""

    relation: str
    fields: dict[str, dict[str, Field]]
    sides: Callable[[Any, list[int]], tuple[Any, Any]]
    left: str
    right: str
    component: tuple[str, ...] = ()
    domain: Callable[[Any, str], None] = enough_work
    verdict: ClassVar[str] = "refuted"


@dataclass(frozen=True)
class IllPosed:
    """A printed expression: the fields of an instance under each reading, and its evaluation in extended reals."""

    fields: dict[str, dict[str, Field]]
    evaluate: Callable[[Any], None]
    domain: Callable[[Any, str], None] = enough_work
    verdict: ClassVar[str] = "ill-posed"
    relation: ClassVar[str] = "undefined"
    component: ClassVar[tuple[str, ...]] = ()


def readings(literal: dict[str, Field], **intended: Field) -> dict[str, dict[str, Field]]:
    """The fields of both readings; the intended one, if there is one, narrows some of them."""
    return {"literal": literal} | ({"intended": literal | intended} if intended else {})
