"""The discounted model of a study: a built-in one, a toy-text environment, or the user's own, without a horizon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.studies.problems import check_source, maker_named, seed_of

__all__ = ["DISCOUNTED", "DiscountedProblem", "choose_discounted", "discounted", "read_discount"]

DISCOUNT = 0.9
MOST_STATES = 2_000
MOST_DENSE = 2 * 10**6
ARMS, STATES, ACTIONS, BRANCHING = 5, 12, 3, 3


@dataclass(frozen=True, eq=False)
class DiscountedProblem:
    """A model without a horizon, and what to call it; dense where that is small, since it is quicker to solve.

    Raises ExactRLError where it is too large to be solved often.
    """

    name: str
    mdp: FiniteMDP

    def __post_init__(self) -> None:
        if self.mdp.n_states > MOST_STATES:
            raise ExactRLError(
                f"{self.name} has {self.mdp.n_states:,} states, and every iteration solves its equations: "
                f"expected at most {MOST_STATES:,}"
            )
        if self.mdp.is_sparse and self.mdp.n_states**2 * self.mdp.n_actions <= MOST_DENSE:
            object.__setattr__(self, "mdp", self.mdp.dense())

    def description(self) -> str:
        """One sentence: sizes, dynamics and discount."""
        counts = ((self.mdp.n_states, "state"), (self.mdp.n_actions, "action"))
        sizes = ", ".join(f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in counts)
        kind = "deterministic" if self.mdp.is_deterministic else "stochastic"
        return f"{self.name}: {sizes}, {kind}, discount {self.mdp.discount:g}, no horizon"


def choose_discounted(
    problem: str | None, env_id: str | None, mdp: Path | None, *, discount: float | None, seed: int
) -> DiscountedProblem:
    """The discounted problem of exactly one of the three sources; without any the built-in random model.

    discount: None for the model's own, or 0.9 where it is given no discount of its own.
    Raises ExactRLError for two sources at once, an unknown name (with near ones), a discount that is none, a model of
    the user's own that has a horizon while no discount is given, and whatever is wrong with the model itself.
    """
    check_source(problem, env_id, mdp)
    gamma = read_discount(discount)
    if env_id is not None:
        from exactrl.sources import toy_text

        return DiscountedProblem(env_id, toy_text(env_id, discount=DISCOUNT if gamma is None else gamma, sparse=True))
    if mdp is not None:
        return _own(mdp, gamma)
    return maker_named(problem or "garnet", DISCOUNTED)(DISCOUNT if gamma is None else gamma, seed)


def discounted(name: str, mdp: FiniteMDP, discount: float | None) -> DiscountedProblem:
    """The same model with its horizon dropped, under the discount given, its own, or 0.9 where its own is 1.

    Raises ExactRLError for a discount that is none.
    """
    gamma = read_discount(discount)
    own = mdp.discount if mdp.discount < 1 else DISCOUNT
    return DiscountedProblem(name, mdp.replace(horizon=None, discount=own if gamma is None else gamma))


def read_discount(discount: float | None) -> float | None:
    """A discount, at least 0 and below 1, or None.  Raises ExactRLError for anything else."""
    if discount is not None and not 0 <= discount < 1:
        raise ExactRLError(f"--discount is {discount}: expected at least 0 and below 1, the operator contracts by it")
    return discount


def _own(path: Path, discount: float | None) -> DiscountedProblem:
    mdp = FiniteMDP.load(path)
    if discount is None and mdp.horizon is not None:
        raise ExactRLError(
            f"the model in {path} has a horizon of {mdp.horizon}: give --discount, e.g. --discount 0.9, to study it "
            "without one"
        )
    return discounted(path.name, mdp, discount)


def _garnet(discount: float, seed: int) -> DiscountedProblem:
    from exactrl.sources import garnet

    mdp = garnet(STATES, ACTIONS, BRANCHING, seed=seed, discount=discount)
    return DiscountedProblem(f"random model of {STATES} states", mdp)


def _chain(discount: float, seed: int) -> DiscountedProblem:
    from exactrl.sources import chain

    return DiscountedProblem("chain of 5 states", chain(5, discount=discount))


def _river(discount: float, seed: int) -> DiscountedProblem:
    from exactrl.sources import river_swim

    return DiscountedProblem("river swim of 6 states", river_swim(6, discount=discount))


def _bandit(discount: float, seed: int) -> DiscountedProblem:
    from exactrl.sources import bandit

    mdp = bandit(seed_of(seed, "bandit").uniform(-1.0, 1.0, size=ARMS))
    return discounted(f"bandit with {ARMS} arms, pulled for ever", mdp, discount)


def _tree(discount: float, seed: int) -> DiscountedProblem:
    from exactrl.sources import tree

    return discounted("tree of depth 4", tree(4, 3, seed=seed, sparse=True), discount)


DISCOUNTED: dict[str, Callable[[float, int], DiscountedProblem]] = {
    "garnet": _garnet, "chain": _chain, "river-swim": _river, "bandit": _bandit, "tree": _tree,
}  # fmt: skip
