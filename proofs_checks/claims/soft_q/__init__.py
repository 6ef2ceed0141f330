"""Reinforcement Learning with Deep Energy-Based Policies (soft Q-learning), in the order of the paper."""

from proofs_checks.claims.soft_q import (  # isort: skip
    section1 as section1,
    section21 as section21,
    section22 as section22,
    section2 as section2,
    section31 as section31,
    section3 as section3,
    section32 as section32,
    section33 as section33,
    section4 as section4,
    appendix_a_objective as appendix_a_objective,
    appendix_a as appendix_a,
    appendix_a1 as appendix_a1,
    appendix_a1_iteration as appendix_a1_iteration,
    appendix_a2 as appendix_a2,
    appendix_a2_unique as appendix_a2_unique,
    appendix_b_gradients as appendix_b_gradients,
    appendix_b as appendix_b,
    appendix_b_learning as appendix_b_learning,
    appendix_c as appendix_c,
)
