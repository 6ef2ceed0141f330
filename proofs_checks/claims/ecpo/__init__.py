"""On Principled Entropy Exploration in Policy Optimization (ECPO), in the order of the paper."""

from proofs_checks.claims.ecpo import (  # isort: skip
    section1 as section1,
    section2 as section2,
    pmd_convergence as pmd_convergence,
    section3 as section3,
    theorem1 as theorem1,
    theorem2 as theorem2,
    lemma2 as lemma2,
    proposition3 as proposition3,
    section4 as section4,
    section4_losses as section4_losses,
    appendix_a2 as appendix_a2,
    theorem1_lemmas as theorem1_lemmas,
    theorem1_proof as theorem1_proof,
    theorem2_proof as theorem2_proof,
    lemma2_proof as lemma2_proof,
    appendix_d as appendix_d,
    appendix_d_limits as appendix_d_limits,
)
