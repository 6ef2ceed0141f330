"""Reinforcement Learning with Deep Energy-Based Policies (soft Q-learning), in the order of the paper."""

from proofs_checks.claims.soft_q import (  # isort: skip
    section2 as section2,
    section3 as section3,
    appendix_a as appendix_a,
    appendix_a1 as appendix_a1,
    appendix_a2 as appendix_a2,
    appendix_b as appendix_b,
)
