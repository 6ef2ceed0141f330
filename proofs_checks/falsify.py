"""The search for violations: seeded batches in float64, then mutation of the worst instances.

Violations of sharp bounds often sit where many entries are equal (one likely trajectory, many unlikely ones alike), on
a set of measure 0 that independent entries never meet; so a second, shorter search keeps entries equal.

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

    `draws` instances in floats and half as many with mostly equal entries, for both kinds `generations` of mutations of
    a `population`, and `swept` instances that go to balls whatever floats say of them, because at extreme sizes floats
    say nothing; the `suspects` worst of both kinds are certified.
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


def tightness(checks: list[Check], batch: int) -> NDArray[np.float64]:
    """Return how near each instance comes to equality in proportion to its sides, whatever the size of other terms.

    Sides that are small beside the terms they are the sum of say nothing: 1.
    """
    tightest = np.ones(batch)
    for check in checks:
        if not check.asserted:
            continue
        left, right, scale = (np.asarray(x, dtype=np.float64) for x in (check.left, check.right, check.scale))
        scale = scale.reshape(scale.shape + (1,) * (max(left.ndim, right.ndim) - scale.ndim)) if scale.ndim else scale
        with np.errstate(invalid="ignore"):
            telling = np.abs(left) + np.abs(right) > 1e-4 * scale
        ratio = np.where(telling, _margin(replace(check, scale=0.0, given=())), 1.0)
        ratio = ratio.reshape(ratio.shape[0], -1).min(axis=1) if ratio.ndim else np.full(batch, ratio)
        tightest = np.fmin(tightest, ratio)
    return tightest


def evaluate(reading: Reading, batch: Batch) -> NDArray[np.float64]:
    """Return the margins of a batch in float64."""
    with np.errstate(all="ignore"):
        return margins(reading.checks(batch.problem()), len(batch))


def search(reading: Reading, seed: np.random.SeedSequence, budget: Budget) -> Search:
    """Search the space of a reading for violations.

    Two searches for each combination of sizes: one of arbitrary instances, driven by their margin, and a shorter one of
    instances most of whose entries are equal, driven by how tight they are in proportion; each has its own stream.
    """
    found = Search()
    rng = np.random.default_rng(seed)
    apart = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 1)))
    for sizes in reading.space.combinations():
        _search_arbitrary(reading, rng, sizes, budget, found)
        _search_levelled(reading, apart, sizes, budget, found)
    found.suspects.sort(key=lambda pair: (np.isnan(pair[0]), pair[0]))
    return found


def _search_arbitrary(
    reading: Reading, rng: np.random.Generator, sizes: dict[str, int], budget: Budget, found: Search
) -> None:
    best = _Best(budget)
    for batch in _draws(reading, rng, sizes, budget.draws):
        margin = evaluate(reading, batch)
        best.add(batch, margin, _ranked(margin), found)
    for _ in range(budget.generations):
        children = best.parents(rng, budget).mutated(rng)
        margin = evaluate(reading, children)
        best.add(children, margin, _ranked(margin), found)
    found.suspects += best.suspects()
    sweep = reading.space.draw(rng, budget.swept, sizes)
    found.swept += [sweep.exact(i) for i in range(len(sweep))]


def _search_levelled(
    reading: Reading, rng: np.random.Generator, sizes: dict[str, int], budget: Budget, found: Search
) -> None:
    best = _Best(budget)

    def add(batch: Batch) -> None:
        with np.errstate(all="ignore"):
            checks = reading.checks(batch.problem())
            margin = margins(checks, len(batch))
            rank = np.where(np.isposinf(margin), np.inf, tightness(checks, len(batch)))
        best.add(batch, margin, rank, found)

    for batch in _draws(reading, rng, sizes, max(1, budget.draws // 2)):
        add(levelled(batch, rng))
    for _ in range(budget.generations):
        parents = best.parents(rng, budget)
        add(with_ties_of(parents, parents.mutated(rng)))
    found.suspects += best.suspects()


def levelled(batch: Batch, rng: np.random.Generator) -> Batch:
    """Make the entries of every field of an instance equal, all but a few: one trajectory against many alike."""
    raw = {}
    for name, old in batch.raw.items():
        entries = old.reshape(len(old), -1, 2)
        count = entries.shape[1]
        alike = entries[np.arange(len(entries)), rng.integers(0, count, size=len(entries))][:, None]
        different = rng.random(entries.shape[:2]) < rng.choice([0.0, 1.0, 2.0], size=(len(entries), 1)) / count
        raw[name] = batch.space.fields[name].repair(np.where(different[..., None], entries, alike).reshape(old.shape))
    return replace(batch, raw=raw)


def with_ties_of(parents: Batch, children: Batch) -> Batch:
    """Give entries of a child's field that are equal in its parent one value: that of the first of them."""
    raw = {}
    for name, new in children.raw.items():
        old = parents.raw[name].reshape(len(new), -1, 2)
        first = (old[:, :, None] == old[:, None]).all(axis=-1).argmax(axis=-1)
        entries = np.take_along_axis(new.reshape(old.shape), first[..., None], axis=1)
        raw[name] = children.space.fields[name].repair(entries.reshape(new.shape))
    return replace(children, raw=raw)


def _draws(reading: Reading, rng: np.random.Generator, sizes: dict[str, int], draws: int) -> Iterator[Batch]:
    for start in range(0, draws, 2_000):
        yield reading.space.draw(rng, min(2_000, draws - start), sizes)


def _ranked(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank by the margin; an undefined one counts as 0."""
    return np.where(np.isnan(margin), 0.0, margin)


class _Best:
    """The instances of least rank seen so far of one combination of sizes."""

    def __init__(self, budget: Budget) -> None:
        self.keep = max(8, budget.population // 16)
        self.limit = budget.suspects
        self.batch: Batch | None = None
        self.margin: NDArray[np.float64] = np.empty(0)
        self.rank: NDArray[np.float64] = np.empty(0)

    def add(self, batch: Batch, margin: NDArray[np.float64], rank: NDArray[np.float64], found: Search) -> None:
        found.instances += len(batch)
        settled = margin[~np.isnan(margin)]
        if settled.size:
            found.worst_margin = min(found.worst_margin, float(settled.min()))
        if self.batch is not None:
            raw = {name: np.concatenate([self.batch.raw[name], batch.raw[name]]) for name in batch.raw}
            batch = Batch(batch.space, batch.sizes, raw)
            margin, rank = np.concatenate([self.margin, margin]), np.concatenate([self.rank, rank])
        order = np.argsort(rank, kind="stable")[: self.keep]
        self.batch, self.margin, self.rank = batch.take(order), margin[order], rank[order]

    def parents(self, rng: np.random.Generator, budget: Budget) -> Batch:
        assert self.batch is not None
        return self.batch.take(rng.integers(0, len(self.batch), size=budget.population // 4))

    def suspects(self) -> list[tuple[float, Any]]:
        if self.batch is None:
            return []
        rows = [i for i, m in enumerate(self.margin) if m < SUSPICIOUS or np.isnan(m)][: self.limit]
        return [(float(self.margin[i]), self.batch.exact(i)) for i in rows]
