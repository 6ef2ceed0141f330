"""Maximum a Posteriori Policy Optimisation (MPO), in the order of the paper."""

from proofs_checks.claims.mpo import (  # isort: skip
    section32 as section32,
    section4 as section4,
    appendix_a1 as appendix_a1,
    appendix_d2 as appendix_d2,
    appendix_d3 as appendix_d3,
    appendix_d3_gaussians as appendix_d3_gaussians,
    appendix_e as appendix_e,
)
