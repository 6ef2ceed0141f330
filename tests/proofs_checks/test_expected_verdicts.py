"""Every claim has a verdict that some test expects, and exactly one test file expects it."""

from __future__ import annotations

from collections import Counter

from proofs_checks.claim import registry
from tests.proofs_checks import (
    test_mpo_proposition3_verdicts,
    test_mpo_section3_verdicts,
    test_mpo_steps_verdicts,
    test_mpo_verdicts,
    test_soft_q_appendix_verdicts,
    test_soft_q_particles,
    test_soft_q_sections,
    test_soft_q_verdicts,
)

TABLES = {
    "mpo": [test_mpo_verdicts, test_mpo_section3_verdicts, test_mpo_steps_verdicts, test_mpo_proposition3_verdicts],
    "soft_q": [test_soft_q_verdicts, test_soft_q_sections, test_soft_q_appendix_verdicts, test_soft_q_particles],
}


def test_every_claim_of_a_paper_has_one_expected_verdict() -> None:
    for source, modules in TABLES.items():
        expected = Counter(id for module in modules for id in module.LITERAL_AND_INTENDED)
        assert set(expected) == {id for id, claim in registry().items() if claim.source == source}
        assert set(expected.values()) == {1}
