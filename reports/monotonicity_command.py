"""What `exactrl report monotonicity` does: the problems of its families, their studies, and the page of both."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.studies import improvement as second
from exactrl.studies import monotonicity as first
from exactrl.studies.discounted import DiscountedProblem, discounted, read_discount
from exactrl.studies.problems import StudyProblem, check_source, choose_problem
from reports.commands import _prepare, _progress, _settings
from reports.improvement import improvement_section
from reports.monotonicity import monotonicity_section
from reports.study_page import Report

__all__ = ["FAMILIES", "run"]

FAMILIES = ("all", "ecpo", "mpo")


def run(
    problem: str | None, env_id: str | None, mdp: Path | None, horizon: int | None, discount: float | None, family: str,
    options: first.MonotonicityOptions, improvement: second.ImprovementOptions, source: dict[str, Any], out: Path,
) -> tuple[Report, dict[str, Any]]:  # fmt: skip
    """Return the page's content and the studies as data.

    Raises ExactRLError for an unknown family, a bad discount, and whatever is wrong with the problem, before any work.
    """
    if family not in FAMILIES:
        raise ExactRLError(f"--family is {family!r}: expected one of {', '.join(FAMILIES)}")
    read_discount(discount)
    name, chosen, endless = _problems(problem, env_id, mdp, horizon, discount, family, options.seed)
    if endless is not None:
        second.refuse_large(endless)
    _prepare(out)
    sections, study = [], dict[str, Any]()
    pieces = (first.pieces_of(chosen) if chosen else 0) + (second.pieces_of(improvement) if endless else 0)
    with _progress(pieces) as advance:
        if chosen is not None:
            episodes = first.study_monotonicity(chosen, options, advance)
            study |= asdict(episodes)
            sections.append(monotonicity_section(chosen, options, episodes))
        if endless is not None:
            rises = second.study_improvement(endless, improvement, advance)
            study["improvement"] = asdict(rises)
            sections.append(improvement_section(endless, improvement, rises))
    given = source | {"horizon": horizon, **asdict(options), "family": family, "alpha": improvement.alpha}
    given |= {"discount": discount, "discounted_problems": improvement.problems}
    settings = _settings("monotonicity", name, given)
    return Report("What rises and what falls, step by step", [], "", [], [], settings, tuple(sections)), study


def _problems(
    problem: str | None, env_id: str | None, mdp: Path | None, horizon: int | None, discount: float | None, family: str,
    seed: int,
) -> tuple[str, StudyProblem | None, DiscountedProblem | None]:  # fmt: skip
    """What to call the problem; it in episodes for ECPO and PMD, and without a horizon for MPO and policy iteration.

    A model of the user's own that has no horizon is one for MPO as it stands.
    """
    if family == "mpo" and mdp is not None:
        check_source(problem, env_id, mdp, horizon)
        return mdp.name, None, discounted(mdp.name, FiniteMDP.load(mdp), discount)
    advice = "give --horizon T for ECPO and PMD, or --family mpo for MPO and policy iteration, which need none"
    chosen = choose_problem(problem, env_id, mdp, horizon=horizon, seed=seed, advice=advice)
    endless = None if family == "ecpo" else discounted(chosen.name, chosen.mdp, discount)
    return chosen.name, None if family == "mpo" else chosen, endless
