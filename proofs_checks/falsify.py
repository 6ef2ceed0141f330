"""The search for violations: seeded batches in float64, then mutation of the worst instances.

A violation in floats is only a suspicion; `certify` decides.  Budgets count evaluations, never seconds, so that the
same seed and profile give the same search on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs_checks.claim import Check, Reading
from proofs_checks.instances import Batch, Instance

SUSPICIOUS = -1e-11


@dataclass(frozen=True)
class Budget:
    """How much is tried for each combination of sizes.

    `draws` instances in floats, `generations` of mutations of a `population`, and `swept` instances that go to balls
    whatever floats say of them, because at extreme sizes floats say nothing; the `suspects` worst of all are certified.
    """

    draws: int
    generations: int
    population: int
    suspects: int = 4
    swept: int = 6

    def share(self, effort: float) -> Budget:
        """Return the part of the budget that a costly reading gets."""
        draws, generations = (max(1, round(x * effort)) for x in (self.draws, self.generations))
        return replace(self, draws=draws, generations=generations)


QUICK = Budget(draws=2_000, generations=12, population=1_000)
FULL = Budget(draws=30_000, generations=60, population=4_000, swept=60)
PROFILES = {"quick": QUICK, "full": FULL}


@dataclass
class Search:
    """What a search saw: instances, worst margin, suspicious instances (worst first), and those meant for balls."""

    instances: int = 0
    worst_margin: float = np.inf
    suspects: list[tuple[float, Instance]] = field(default_factory=list)
    swept: list[Instance] = field(default_factory=list)


def margins(checks: list[Check], batch: int) -> NDArray[np.float64]:
    """Return the worst signed margin of each instance, relative to the size of its terms; negative where violated.

    NaN where a side is undefined in floats; +inf where nothing is asserted.
    """
    worst = np.full(batch, np.inf)
    for check in checks:
        margin = _margin(check)
        margin = margin.reshape(margin.shape[0], -1).min(axis=1) if margin.ndim else np.full(batch, margin)
        for left, relation, right in check.given:
            holds: Any = _margin(Check("given", left, relation, right, scale=0.0)) >= 0
            holds = holds.reshape(batch, -1).all(axis=1) if holds.ndim else holds
            margin = np.where(holds, margin, np.inf)
        worst = np.where(np.isnan(margin) | np.isnan(worst), np.nan, np.minimum(worst, margin))
    return worst


def _margin(check: Check) -> NDArray[np.float64]:
    left, right = np.asarray(check.left, dtype=np.float64), np.asarray(check.right, dtype=np.float64)
    scale = np.asarray(check.scale, dtype=np.float64)
    scale = scale.reshape(scale.shape + (1,) * (max(left.ndim, right.ndim) - scale.ndim)) if scale.ndim else scale
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = np.where(left == right, 0.0, left - right)
        size = np.abs(left) + np.abs(right) + scale
        relative = np.where(
            difference == 0, 0.0, np.where(np.isinf(difference), np.sign(difference), difference / size)
        )
    signed = {"<=": -relative, "<": -relative, ">=": relative, ">": relative, "==": -np.abs(relative)}[check.relation]
    if check.relation in ("<", ">"):
        signed = np.where(signed == 0, -1.0, signed)
    return np.asarray(signed)


def evaluate(reading: Reading, batch: Batch) -> NDArray[np.float64]:
    """Return the margins of a batch in float64."""
    with np.errstate(all="ignore"):
        return margins(reading.checks(batch.problem()), len(batch))


def search(reading: Reading, seed: np.random.SeedSequence, budget: Budget) -> Search:
    """Search the space of a reading for violations."""
    found = Search()
    rng = np.random.default_rng(seed)
    for sizes in reading.space.combinations():
        best = _Best(budget)
        for batch in _draws(reading, rng, sizes, budget.draws):
            best.add(batch, evaluate(reading, batch), found)
        for _ in range(budget.generations):
            if best.batch is None:
                break
            parents = rng.integers(0, len(best.batch), size=budget.population // 4)
            children = best.batch.take(parents).mutated(rng)
            best.add(children, evaluate(reading, children), found)
        found.suspects += best.suspects()
        sweep = reading.space.draw(rng, budget.swept, sizes)
        found.swept += [sweep.exact(i) for i in range(len(sweep))]
    found.suspects.sort(key=lambda pair: (np.isnan(pair[0]), pair[0]))
    return found


def _draws(reading: Reading, rng: np.random.Generator, sizes: dict[str, int], draws: int) -> Iterator[Batch]:
    for start in range(0, draws, 2_000):
        yield reading.space.draw(rng, min(2_000, draws - start), sizes)


class _Best:
    """The worst instances seen so far of one combination of sizes."""

    def __init__(self, budget: Budget) -> None:
        self.keep = max(8, budget.population // 16)
        self.limit = budget.suspects
        self.batch: Batch | None = None
        self.margin: NDArray[np.float64] = np.empty(0)

    def add(self, batch: Batch, margin: NDArray[np.float64], found: Search) -> None:
        found.instances += len(batch)
        settled = margin[~np.isnan(margin)]
        if settled.size:
            found.worst_margin = min(found.worst_margin, float(settled.min()))
        if self.batch is not None:
            raw = {name: np.concatenate([self.batch.raw[name], batch.raw[name]]) for name in batch.raw}
            batch, margin = Batch(batch.space, batch.sizes, raw), np.concatenate([self.margin, margin])
        order = np.argsort(np.where(np.isnan(margin), 0.0, margin), kind="stable")[: self.keep]
        self.batch, self.margin = batch.take(order), margin[order]

    def suspects(self) -> list[tuple[float, Any]]:
        if self.batch is None:
            return []
        rows = [i for i, m in enumerate(self.margin) if m < SUSPICIOUS or np.isnan(m)][: self.limit]
        return [(float(self.margin[i]), self.batch.exact(i)) for i in rows]
