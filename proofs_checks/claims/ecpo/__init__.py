"""On Principled Entropy Exploration in Policy Optimization (ECPO), in the order of the paper."""

from proofs_checks.claims.ecpo import (  # isort: skip
    section2 as section2,
    section3 as section3,
    theorem1 as theorem1,
    theorem2 as theorem2,
    lemma2 as lemma2,
    proposition3 as proposition3,
    section4 as section4,
    theorem1_lemmas as theorem1_lemmas,
    appendix_d as appendix_d,
)
