"""Maximum a Posteriori Policy Optimisation (MPO), in the order of the paper."""

from proofs_checks.claims.mpo import (  # isort: skip
    section3 as section3,
    section31 as section31,
    section31_guarantee as section31_guarantee,
    section32_objective as section32_objective,
    section32 as section32,
    section33 as section33,
    section4 as section4,
    section4_stability as section4_stability,
    appendix_a1 as appendix_a1,
    appendix_a1_propositions as appendix_a1_propositions,
    appendix_a2 as appendix_a2,
    appendix_a2_step1 as appendix_a2_step1,
    appendix_a2_step2 as appendix_a2_step2,
    appendix_a2_step3 as appendix_a2_step3,
    appendix_d as appendix_d,
    appendix_d2 as appendix_d2,
    appendix_d3 as appendix_d3,
    appendix_d3_gaussians as appendix_d3_gaussians,
    appendix_d4 as appendix_d4,
    appendix_e as appendix_e,
)
